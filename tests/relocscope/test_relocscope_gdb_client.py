"""The founding case from gdb itself: `gdb-multiarch` with a script against `relocscope step --gdb` (slow: .ci/run)."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from relocscope.operand import operand, with_settings
from relocscope.stepping.session import Session

pytestmark = pytest.mark.slow
SIZE = "256KiB"


@contextmanager
def served(*arguments: str) -> Iterator[int]:
    command = [sys.executable, "-m", "relocscope", "step", *arguments, "--gdb", "127.0.0.1:0", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(json.loads(process.stdout.readline())["port"])
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors


def gdb(port: int, tmp_path: Path, script: str, target: str = "remote") -> str:
    """Run a script in gdb; return all that it wrote."""
    commands = tmp_path / "script.gdb"
    begin = f"set pagination off\nset confirm off\ntarget {target} 127.0.0.1:{port}\n"
    commands.write_text(begin + dedent(script))
    done = subprocess.run(
        ["gdb-multiarch", "-nx", "-batch", "-x", str(commands)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Error in sourced command file" not in done.stdout, done.stdout
    return done.stdout


def value(text: str, name: str) -> list[int]:
    """What the script printed as `name=...`, in order."""
    return [int(found, 16) for found in re.findall(rf"^{name}=(?:0x)?([0-9a-f]+)$", text, re.MULTILINE)]


def test_the_founding_case_from_the_soft_restart_to_the_copy_at_el2_and_back(tmp_path: Path):
    session = Session(with_settings(operand("rfc-v1-nvhe"), {"size": SIZE}))
    loop, target = session.symbols["copy_line"], int(session.kimage.destinations[0])
    script = f"""
        printf "el=%x\\n", $CurrentEL
        printf "mmu1=%x\\n", $SCTLR_EL1 & 1
        while $CurrentEL == 4
        stepi
        end
        printf "el=%x\\n", $CurrentEL
        printf "esr=%x\\n", $ESR_EL2
        break *{loop:#x}
        continue
        printf "pc=%lx\\n", $pc
        printf "el=%x\\n", $CurrentEL
        printf "mmu2=%x\\n", $SCTLR_EL2 & 1
        x/i $pc
        monitor cost
        monitor translate x21
        info registers
        delete
        watch *(unsigned long *) {target:#x}
        continue
        printf "pc=%lx\\n", $pc
        printf "x20=%lx\\n", $x20
        reverse-continue
        printf "pc=%lx\\n", $pc
        delete
        stepi
        reverse-stepi
        reverse-stepi
        stepi
        printf "pc=%lx\\n", $pc
        break *{loop:#x}
        reverse-continue
        printf "pc=%lx\\n", $pc
        info registers
        delete
        reverse-continue
        printf "pc=%lx\\n", $pc
        continue
        printf "pc=%lx\\n", $pc
        detach
    """
    with served("rfc-v1-nvhe", "--size", SIZE) as port:
        text = gdb(port, tmp_path, script)
    assert value(text, "el") == [4, 8, 8]
    assert value(text, "mmu1") == [1]
    assert value(text, "mmu2") == [0]
    assert value(text, "esr") == [0x5A000000]
    session.go(0)
    assert value(text, "pc") == [
        loop, loop + 0x18, loop + 0x14, loop + 0x14, loop, session.pc, int(session.kimage.destinations[0]),
    ]  # fmt: skip
    assert value(text, "x20") == [target]
    assert re.search(rf"=> {loop:#x}:\s+ldp\s+x0, x1, \[x21\]", text)
    assert re.search(r"^next: \d+ cycles \(device_load \d+\)$", text, re.MULTILINE)
    assert "Device-nGnRnE (SCTLR_EL2.M = 0" in text
    assert "translates nothing" in text
    assert re.search(r"Hardware watchpoint \d+: .*\n\nOld value = 0\n", text)
    once, again = re.findall(r"^x0 .*?^fpcr .*?$", text, re.MULTILINE | re.DOTALL)
    assert once == again
    assert text.count("No more reverse-execution history") == 2
    assert "the end: completed" in text


def test_gdb_reads_and_writes_registers_memory_and_code(tmp_path: Path):
    script = """
        stepi
        set var $x5 = 0x1234
        stepi
        printf "x5=%lx\\n", $x5
        set var $SCTLR_EL2 = (long) 0x30c50834
        printf "sctlr=%lx\\n", $SCTLR_EL2
        info registers SCTLR_EL2
        set var $v3.q = 5
        printf "v3=%lx\\n", $v3.u[0]
        set var *(int *) $pc = 0xd503201f
        x/i $pc
        python
        for line in ("x/w 0xdead00000000", "set var *(int *) 0xdead00000000 = 1", "set var $MIDR_EL1 = (long) 1"):
            try:
                gdb.execute(line)
            except gdb.error as error:
                print("refused:", error)
        end
        monitor frob
        printf "x5=%lx\\n", $x5
        detach
    """
    with served("rfc-v1-nvhe", "--size", "16KiB") as port:
        text = gdb(port, tmp_path, script)
        assert value(gdb(port, tmp_path, 'printf "x5=%lx\\n", $x5\nkill'), "x5") == [0x1234]
    assert value(text, "x5") == [0x1234, 0x1234]
    assert value(text, "sctlr") == [0x30C50834]
    assert value(text, "v3") == [5]
    assert "[ C EOS EIS ]" in text
    assert re.search(r"=> .*nop", text)
    assert "refused: Cannot access memory at address 0xdead00000000" in text
    assert text.count("refused: ") == 3
    assert "frob: no command" in text


def test_gdb_runs_it_again(tmp_path: Path):
    script = """
        stepi 40
        printf "pc=%lx\\n", $pc
        starti
        printf "pc=%lx\\n", $pc
        kill
        starti
        printf "pc=%lx\\n", $pc
    """
    start = Session(with_settings(operand("v5.17-nvhe"), {"size": "64KiB"})).pc
    with served("v5.17-nvhe", "--size", "64KiB") as port:
        places = value(gdb(port, tmp_path, script, "extended-remote"), "pc")
    assert places[1:] == [start, start]
    assert places[0] != start


def test_gdb_interrupts_a_continue(tmp_path: Path):
    script = """
        python
        import os, signal, threading
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        end
        watch *(int *) 4
        watch *(int *) 8
        watch *(int *) 12
        continue
        monitor where
        detach
    """
    with served("v5.17-nvhe", "--size", "25MiB") as port:
        text = gdb(port, tmp_path, script)
    assert "Program received signal SIGINT" in text
    stood = re.search(r"^#(\d+) ", text, re.MULTILINE)
    assert stood is not None
    assert int(stood[1]) > 0


SESSION = """
info registers CurrentEL SCTLR_EL1 SCTLR_EL2
x/3i $pc
stepi 3
info registers pc CurrentEL SCTLR_EL2 ESR_EL2
monitor info symbols
break *{loop:#x}
continue
x/i $pc
monitor cost
monitor translate x21
stepi
monitor cost
watch -location *(unsigned long *) $x20
continue
reverse-stepi
delete
monitor stack
reverse-continue
detach
"""


def test_the_page_shows_what_gdb_prints(tmp_path: Path):
    # Regenerate with: RELOCSCOPE_REGENERATE=1 pytest tests/relocscope/test_relocscope_gdb_client.py
    page = Path(__file__).parents[2] / "docs" / "gdb.md"
    with served("rfc-v1-nvhe", "--size", "1MiB") as port:
        loop = Session(with_settings(operand("rfc-v1-nvhe"), {"size": "1MiB"})).symbols["copy_line"]
        shown = gdb(port, tmp_path, "set trace-commands on" + SESSION.format(loop=loop))
    typed = [line for line in shown.splitlines() if line and line not in ("+stepi ", "+continue ")]  # of reverse-...
    lines = [f"(gdb) {line[1:]}" if line[:1] == "+" else line for line in typed]
    begin = next(at for at, line in enumerate(lines) if line.startswith("(gdb) info"))
    wanted = "\n".join(["<!-- gdb session -->", "```", *lines[begin:], "```", "<!-- end of gdb session -->"])
    text = page.read_text(encoding="utf-8")
    told = re.sub(r"<!-- gdb session -->.*<!-- end of gdb session -->", lambda _: wanted, text, flags=re.DOTALL)
    if os.environ.get("RELOCSCOPE_REGENERATE"):
        page.write_text(told, encoding="utf-8")
    assert text == told or os.environ.get("RELOCSCOPE_REGENERATE")
