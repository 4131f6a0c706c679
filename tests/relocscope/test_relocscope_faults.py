"""Faults in the middle of a write: no half file under the name, what was there stays, and the next run works."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from traces.files import load

CASE = ("rfc-v1-nvhe", "--size", "4KiB")

HELD = """
import os, signal, sys
def fsync(_, ready=int(sys.argv.pop(1))):
    os.write(ready, b'x')
    while True:
        signal.pause()
os.fsync = fsync
from relocscope.cli import main
main()
"""
"""A command that stops in its write, just before the file would get its name, and says so."""


def whole_json(path: Path) -> None:
    assert json.loads(path.read_text())


def whole_page(path: Path) -> None:
    assert path.read_text().rstrip().endswith("</html>")


def whole_session(path: Path) -> None:
    assert json.loads(path.read_text())["schema"] == "relocscope/step-session/1"


def whole_summary(path: Path) -> None:
    assert json.loads((path / "summary.json").read_text())
    assert (path / "sweep.parquet").read_bytes()[-4:] == b"PAR1"


COMMANDS: dict[str, tuple[Sequence[str], str, Callable[[Path], object]]] = {
    "json": (("run", *CASE, "--json", "OUT"), "", whole_json),
    "record": (("trace", "record", *CASE, "-o", "OUT"), "", load),
    "export": (("trace", "export", *CASE, "--format", "perfetto", "-o", "OUT"), "", whole_json),
    "report": (("report", *CASE, "-o", "OUT.html"), "", whole_page),
    "session": (("step", *CASE, "--repl"), "s\nsave OUT\nq\n", whole_session),
    "sweep": (("sweep", *CASE, "--grid", "l2.size=1MiB,2MiB", "--workers", "1", "-o", "OUT"), "", whole_summary),
}
FAULTS = {"interrupt": (signal.SIGINT, 130), "terminate": (signal.SIGTERM, 143), "kill": (signal.SIGKILL, -9)}


def target_of(words: Sequence[str], directory: Path) -> Path:
    return directory / ("out.html" if "OUT.html" in words else "out")


def filled(words: Sequence[str], directory: Path) -> list[str]:
    return [word.replace("OUT", str(directory / "out")) for word in words]


def halves(directory: Path) -> list[str]:
    """Every temporary file below."""
    return [path.name for path in directory.rglob(".*") if path.is_file()]


def run(words: Sequence[str], typed: str, **how: object) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    command = [sys.executable, "-m", "relocscope", *words]
    return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=120, check=False, **how)  # type: ignore[call-overload,no-any-return]


def struck(words: Sequence[str], typed: str, number: int) -> tuple[int, str]:
    """Run a command until it is in its write, then send it a signal; return its status and what it said."""
    ready, held = os.pipe()
    command = [sys.executable, "-c", HELD, str(held), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, pass_fds=[held]
    ) as process:
        os.close(held)
        assert process.stdin
        assert process.stderr
        process.stdin.write(typed)
        process.stdin.flush()
        assert os.read(ready, 1) == b"x", process.stderr.read()
        os.close(ready)
        process.send_signal(number)
        said = process.stderr.read()
        return process.wait(60), said


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_in_the_write_leaves_no_half_file_and_the_next_run_works(name: str, fault: str, tmp_path: Path):
    words, typed, check = COMMANDS[name]
    number, status = FAULTS[fault]
    target, given = target_of(words, tmp_path), filled(words, tmp_path)
    typed = typed.replace("OUT", str(tmp_path / "out"))
    ended, said = struck(given, typed, number)
    assert (ended, "Traceback" in said) == (status, False), said
    if fault != "kill":
        assert halves(tmp_path) == []
    if name == "sweep":
        assert not (target / "summary.json").exists()
    else:
        assert not target.exists()
    again = run(given, typed)
    assert again.returncode == 0, again.stderr
    check(target)


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_leaves_what_was_there(name: str, tmp_path: Path):
    words, typed, check = COMMANDS[name]
    target, given = target_of(words, tmp_path), filled(words, tmp_path)
    typed = typed.replace("OUT", str(tmp_path / "out"))
    if name != "sweep":
        target.write_bytes(b"old")
    failed = run(given, typed, preexec_fn=_small_files)
    assert "Traceback" not in failed.stderr
    assert failed.returncode == (0 if name == "session" else 2), failed.stderr  # a REPL goes on
    assert sum("File too large" in line for line in failed.stderr.splitlines()) == 1, failed.stderr
    assert halves(tmp_path) == []
    if name != "sweep":
        assert target.read_bytes() == b"old"
    again = run(given, typed)
    assert again.returncode == 0, again.stderr
    check(target)
