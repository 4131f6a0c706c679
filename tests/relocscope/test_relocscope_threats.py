"""What docs/threats.md promises: no shell, no eval, no pickle, no network, no steering of terminals, no bombs."""

import ast
import gzip
import io
import json
import lzma
import os
import socket
import sys
import tracemalloc
import zlib
from pathlib import Path

import kernel_files
import pytest
import synthetic

import relocscope.render
from asm import container
from relocscope import cli
from traces.errors import InputError
from traces.exports.din_trace import trace_of_din
from traces.files import load, save
from traces.names import Names
from traces.replacing import replacing

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("asm", "emu", "caches", "traces", "relocscope")
STEERING = "\x1b]0;owned\x07\x1b[2J\u202e"

# -- What the source may not hold -------------------------------------------------------------------------------------

CALLS = {"eval", "exec", "os.system", "os.popen", "os.execv", "os.spawnv", "__import__", "builtins.eval"}
MODULES = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "pty", "code", "urllib", "requests", "http",
           "ftplib", "smtplib", "xmlrpc"}  # fmt: skip
KEYWORDS = {("shell", "True"), ("allow_pickle", "True")}
SHELLS = {"sh", "bash", "/bin/sh"}
SOCKETS = {"relocscope/gdb/server.py", "relocscope/sweeping/tasks.py", "relocscope/sweeping/workers.py"}
"""The port that --gdb names; the name of this host, for what was computed where."""


def forbidden(source: str) -> list[str]:
    """Name what of a module is not allowed."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names if each.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found += [name] if name in CALLS else []
            named = {(word.arg, ast.unparse(word.value)) for word in node.keywords}
            found += [f"{name}={value}" for name, value in named & KEYWORDS]
        elif isinstance(node, ast.List | ast.Tuple):
            words = [each.value for each in node.elts[:2] if isinstance(each, ast.Constant)]
            found += [str(words)] if len(words) == 2 and words[0] in SHELLS and str(words[1]).startswith("-") else []
    return found


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_no_module_evaluates_unpickles_or_runs_a_shell():
    assert len(sources()) > 200
    assert {path: found for path in sources() if (found := forbidden(path.read_text()))} == {}


@pytest.mark.parametrize(
    "text",
    ["eval('1')", "import pickle", "from marshal import loads", "run('x', shell=True)", "os.system('x')",
     "run(['sh', '-c', x])", "np.load(x, allow_pickle=True)", "import urllib.request"],
)  # fmt: skip
def test_each_of_them_would_be_seen(text: str):
    assert forbidden(text)


def test_only_the_gdb_server_knows_sockets():
    assert {str(path.relative_to(ROOT)) for path in sources() if "import socket" in path.read_text()} == SOCKETS


# -- The network ------------------------------------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing reach for another host, or ask for one's address."""

    def refused(*_args: object, **_named: object) -> None:
        pytest.fail("reached for the network")

    plain = socket.socket.__init__

    def only_local(self: socket.socket, family: int = socket.AF_INET, *args: object, **named: object) -> None:
        if family not in (socket.AF_UNIX,):
            refused()
        plain(self, family, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "__init__", only_local)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refused)


def command(*words: str) -> int:
    """Run a command line in this process; return its status."""
    before = sys.argv
    sys.argv = ["relocscope", *words]
    try:
        cli.main()
    except SystemExit as error:
        return int(error.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.mark.parametrize(
    "words",
    [
        ("cases",),
        ("cores",),
        ("run", "rfc-v1-nvhe", "--size", "4KiB", "--json", "OUT"),
        ("trace", "record", "rfc-v1-nvhe", "--size", "4KiB", "-o", "OUT"),
        ("trace", "export", "rfc-v1-nvhe", "--size", "4KiB", "--format", "perfetto", "-o", "OUT"),
        ("sweep", "rfc-v1-nvhe", "--size", "4KiB", "--grid", "l2.size=1MiB,2MiB", "-o", "OUT", "--workers", "1"),
        pytest.param(("explain", "v4.19-nvhe", "rfc-v1-nvhe", "--size", "4KiB"), marks=pytest.mark.slow),
        pytest.param(("report", "v4.19-nvhe", "--size", "4KiB", "-o", "OUT.md"), marks=pytest.mark.slow),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_a_command_reaches_for_no_network(words: tuple[str, ...], tmp_path: Path, offline: None, capsys):
    assert command(*(word.replace("OUT", str(tmp_path / "out")) for word in words)) == 0, capsys.readouterr().err


# -- Terminals --------------------------------------------------------------------------------------------------------


def harmless(text: str) -> bool:
    return not set(text) & (set(map(chr, range(32))) - {"\n"} | {"\x7f", "\x9b", "\u202e"})


def test_a_refusal_that_names_a_file_steers_no_terminal(capsys):
    assert command("run", f"{STEERING}.toml") == 2
    said = capsys.readouterr().err
    assert harmless(said)
    assert "\\x1b]0;owned\\x07" in said


def test_a_table_and_a_line_steer_no_terminal(tmp_path: Path, capsys):
    case = tmp_path / f"{STEERING.replace('/', '')}.toml"
    case.write_text('base = "rfc-v1-nvhe"\ntitle = "\\u001b[31mred"\nsize = "4KiB"\n')
    assert command("run", str(case)) == 0
    assert harmless(capsys.readouterr().out)
    trace = tmp_path / f"a{STEERING}.trace"
    save(synthetic.copy_trace(pages=1, symbols={}, reason=STEERING), trace)
    for action in ("info", "check"):
        command("trace", action, str(trace))
        shown = capsys.readouterr()
        assert harmless(shown.out + shown.err)
        assert "\\x1b" in shown.out + shown.err


def test_styles_of_our_own_still_reach_a_terminal():
    out = io.StringIO()
    console = relocscope.render._Harmless(file=out, force_terminal=True, highlight=False, color_system="standard")
    console.print("[bold]one[/]\x1b\ntwo")
    assert out.getvalue() == "\x1b[1mone\x1b[0m\\x1b\ntwo\n"


def test_a_symbol_steers_no_terminal():
    names = Names({"symbols": {f"copy{STEERING}": 0x1000}})
    assert harmless(names.place(0x1004))


# -- Bombs ------------------------------------------------------------------------------------------------------------


def zeroes(kind: str, size: int) -> bytes:
    """Compress zeroes without ever having them."""
    packer = {"gzip": zlib.compressobj(9, wbits=31), "lzma": lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=1)}[kind]
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


@pytest.mark.parametrize("kind", ["gzip", "lzma"])
def test_an_image_that_unpacks_without_end_is_refused_at_the_bound(kind: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(container, "LARGEST_IMAGE_BYTES", 8 << 20)
    bomb = tmp_path / "bomb"
    bomb.write_bytes(kernel_files.zboot(b"", kind, packed=zeroes(kind, 64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="unpacks to more than"):
            container.open_kernel(bomb)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_din_that_unpacks_to_one_line_without_end_is_refused(tmp_path: Path):
    bomb = tmp_path / "bomb.din.gz"
    bomb.write_bytes(zeroes("gzip", 256 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="line longer"):
            trace_of_din(bomb)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_trace_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path):
    import zipfile

    trace = tmp_path / "a.trace"
    save(synthetic.copy_trace(pages=1), trace)
    with zipfile.ZipFile(trace) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    header = json.loads(members["header.json"])
    header["arrays"]["values"]["rows"] = 1 << 28
    members["header.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(trace, "w") as lying:
        for name, data in members.items():
            lying.writestr(name, data)
    with pytest.raises(InputError, match="more than"):
        load(trace)


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
def test_a_command_that_unpacks_without_end_is_stopped(kind: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(container, "LARGEST_IMAGE_BYTES", 1 << 20)
    monkeypatch.setattr(container, "_COMMANDS", {kind: ["yes"]})
    file = tmp_path / "image"
    file.write_bytes(kernel_files.zboot(b"", kind, packed=b"x"))
    with pytest.raises(InputError, match="does not unpack to a kernel image"):
        container.open_kernel(file)


# -- Names of outputs -------------------------------------------------------------------------------------------------


def written(path: Path) -> None:
    with replacing(path, "-o") as stream:
        stream.write(b"x")


def test_a_link_into_nothing_is_refused(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="which does not exist"):
        written(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_of_another_user_is_refused(tmp_path: Path, monkeypatch):
    (tmp_path / "mine").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    os.lchown(tmp_path / "link", 54321, -1) if os.getuid() == 0 else monkeypatch.setattr(os, "geteuid", lambda: -1)
    with pytest.raises(InputError, match="of another user"):
        written(tmp_path / "link")
    assert (tmp_path / "mine").read_bytes() == b"old"


def test_a_link_in_a_circle_is_refused(tmp_path: Path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError):
        written(tmp_path / "a")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "\x00", ""])
def test_names_inside_files_lead_nowhere_else(name: str, tmp_path: Path):
    from caches.presets import load_core
    from relocscope.case import case_from_toml, shipped_case

    with pytest.raises(InputError):
        shipped_case(name)
    with pytest.raises(InputError):
        case_from_toml(f"base = {json.dumps(name)}", name="x", where="x.toml")
    (tmp_path / "core.toml").write_text(f"base = {json.dumps(name)}\n")
    with pytest.raises(InputError):
        load_core(tmp_path / "core.toml")


def test_an_empty_gzip_is_no_traceback(tmp_path: Path):
    (tmp_path / "x").write_bytes(gzip.compress(b""))
    with pytest.raises(InputError):
        container.open_kernel(tmp_path / "x")


# -- Names and places that are no files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("run", "NAME"),
        ("run", "v5.17-nvhe", "--core", "NAME"),
        ("run", "--kernel", "NAME", "--boot", "nvhe"),
        ("run", "v5.17-nvhe", "--size", "4KiB", "--json", "NAME"),
        ("run", "--elf", "NAME", "--entry", "main"),
        ("run", "--ram", "NAME", "--regs", "NAME"),
        ("sweep", "--plan", "NAME"),
        ("trace", "check", "NAME"),
        ("trace", "record", "v5.17-nvhe", "--size", "4KiB", "-o", "NAME"),
        ("calibrate", "--core", "rpi4", "--tinymembench", "NAME"),
        ("check", "--iomem", "NAME", "--kexec-debug", "NAME"),
    ],
    ids=lambda words: "-".join(words[:3]),
)
def test_a_name_too_long_for_a_file_is_refused_in_one_line(words: tuple[str, ...], capsys):
    assert command(*(word.replace("NAME", "n" * 5000) for word in words)) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/full", "pipe"])
def test_a_trace_that_is_no_file_is_refused_at_once(place: str, tmp_path: Path, capsys):
    """A zip is looked for from the end; /dev/zero has none, and a pipe waits for its writer."""
    if place == "pipe":
        place = str(tmp_path / "pipe")
        os.mkfifo(place)
    assert command("trace", "check", place) == 2
    assert "not a regular file" in capsys.readouterr().err
