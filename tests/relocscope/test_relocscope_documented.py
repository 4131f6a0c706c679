"""Every command that a page shows in a block of its own is run, in the page's order, and so is every whole program."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
SIZED = ("explain", "run", "report", "sensitivity", "sweep", "trace")
OWN_KERNEL = "a kernel of one's own; tests/relocscope/test_relocscope_causes_kernels.py has real ones"
OWN_DUMP = "a dump of one's own machine; tests/relocscope/test_relocscope_ram.py makes some"
SYNOPSIS = "a synopsis"
SCREEN = "a full screen; tests/relocscope/test_relocscope_screen.py"
# Commands that are not run here, and why. One that is on no page any more has to go.
NOT_RUN = {
    "relocscope cases --run-all": "minutes; docs/cases.md is made of it",
    "relocscope explain A B": SYNOPSIS,
    "relocscope explain image:/boot/vmlinuz-A@nvhe image:/boot/vmlinuz-B@nvhe": OWN_KERNEL,
    "relocscope report image:/boot/vmlinuz-A@nvhe image:/boot/vmlinuz-B@nvhe -o mine.html": OWN_KERNEL,
    "relocscope run --kernel /boot/vmlinuz-6.1.0-arm64 --boot nvhe": OWN_KERNEL,
    "relocscope run --ram before.elf --regs regs.txt": OWN_DUMP,
    "relocscope run --ram before.elf --regs regs.txt --core rpi4": OWN_DUMP,
    "relocscope run --ram before.raw@0x40000000 --regs regs.txt": OWN_DUMP,
    "relocscope explain ram:before-5.10.elf,regs-5.10.txt ram:before-6.12.elf,regs-6.12.txt": OWN_DUMP,
    "relocscope step": SCREEN,
    "relocscope step rfc-v1-nvhe --size 1MiB --gdb 127.0.0.1:3333": "serves; test_relocscope_gdb_client.py",
    "relocscope theories --core C --observed SIZE=SECONDS:off --observed SIZE=SECONDS:on ...": SYNOPSIS,
    "relocscope check --iomem iomem.txt --kexec-debug kexec.txt --dmesg dmesg.txt --dtb machine.dtb": (
        "a machine's own device tree; tests/relocscope/test_relocscope_check.py"
    ),
}
TINYMEMBENCH = """\
tinymembench v0.4.9 (simple benchmark for memory throughput and latency)

 ARM LDP/STP copy                                     :   4439.8 MB/s
 ARM STP fill                                         :  12446.0 MB/s (0.6%)
"""
LMBENCH = """\
$ lat_mem_rd -t 64M 128
"stride=128
64.00000 149.2
$ bw_mem 64M bcopy
67.11 4440.12
"""


def _blocks(page: str) -> list[tuple[str, str]]:
    """Return language and text of each block of code; what is output of a command is none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"<!-- output of:.*?<!-- end of output -->", "", text, flags=re.DOTALL)
    fence = r"^```(?P<language>\S*)\n(?P<text>.*?)^```$|(?P<indented>(?:^    \S.*\n)+)"
    found = re.finditer(fence, text, re.MULTILINE | re.DOTALL)
    return [(match["language"] or "", match["text"] or match["indented"]) for match in found]


def _commands(page: str) -> list[str]:
    blocks = [
        re.sub(r"\\\n\s*", "", text) for language, text in _blocks(page) if language in ("", "sh", "bash", "console")
    ]
    return [line.strip() for text in blocks for line in text.splitlines() if re.match(r"\s*relocscope \S", line)]


def _bare(line: str) -> str:
    """Leave out the comment."""
    return re.split(r"\s+#", line)[0]


def _programs(page: str) -> list[str]:
    """Return the blocks of Python that are whole: they import what they use."""
    return [text for language, text in _blocks(page) if language == "python" and re.search(r"^import ", text, re.M)]


def _arguments(line: str) -> list[str]:
    """Return what comes behind `relocscope`, before a pipe; without a size on the page, cases are run small."""
    words = shlex.split(_bare(line))[1:]
    words = words[: words.index("|")] if "|" in words else words
    own = any(word.startswith(("trace:", "program:", "--elf", "--plan")) for word in words)
    if words[0] in SIZED and "--size" not in words and not own:
        words += ["--size", "64KiB"]
    return words


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with what pages take as given: a machine's files, measurements, a plan, a trace, examples."""
    for name, of in (("iomem", "iomem"), ("kexec", "kexec-debug")):
        shutil.copy(ROOT / "tests" / "data" / f"qemu-virt-6.1.{of}.txt", tmp_path / f"{name}.txt")
    (tmp_path / "tm.txt").write_text(TINYMEMBENCH, encoding="utf-8")
    (tmp_path / "lmbench.txt").write_text(LMBENCH, encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (plan,) = [text for language, text in _blocks("docs/sweep.md") if language == "toml"]
    (tmp_path / "plan.toml").write_text(plan, encoding="utf-8")
    return tmp_path


def _run(program: str, arguments: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment; `python -m` would take directories that pages make for packages of ours."""
    command = [Path(sys.executable).with_name(program), *arguments]
    return subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page) or _programs(page)])
def test_what_a_page_shows_runs(page: str, place: Path):
    if any("trace:reboot.trace" in line for line in _commands(page)):
        record = ["trace", "record", "v5.17-nvhe", "--size", "64KiB", "-o", "reboot.trace"]
        assert _run("relocscope", record, place).returncode == 0
    for line in _commands(page):
        if _bare(line) in NOT_RUN:
            continue
        status = int(found[1]) if (found := re.search(r"# status (\d)", line)) else 0
        done = _run("relocscope", _arguments(line), place)
        assert (done.returncode, done.stderr) == (status, ""), line
        assert done.stdout or {"-o", "--json", "--repl"} & set(done.args), line
    for number, program in enumerate(_programs(page)):
        path = place / f"example{number}.py"
        path.write_text(program, encoding="utf-8")
        done = _run("python", [path.name], place)
        assert (done.returncode, done.stderr) == (0, ""), program


def test_what_is_not_run_is_on_a_page_and_nothing_is_missed():
    shown = {_bare(line) for page in PAGES for line in _commands(page)}
    assert set(NOT_RUN) <= shown
    assert len(shown - set(NOT_RUN)) > 30
    for page in PAGES:  # a command in a block of another language would be passed over
        text = (ROOT / page).read_text(encoding="utf-8")
        assert len(re.findall(r"^\s*(?:\$ )?relocscope [a-z]", text, re.M)) == len(_commands(page)), page
