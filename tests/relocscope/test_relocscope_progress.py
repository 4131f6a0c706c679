"""Progress: on a terminal, after two seconds, and wiped; nothing elsewhere; Ctrl-C during it leaves no file."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

_WORK = """
import time
from relocscope import progress
progress.QUIET_SECONDS = {quiet}
with progress.Progress("looking") as shown:
    shown.stage("comparing", 1, 4)
    time.sleep(0.4)
"""

_RECORDING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a job in the background inherits is to ignore it
from relocscope import progress
from relocscope.cli import main
progress.QUIET_SECONDS = 0.0
sys.argv = ["relocscope", "trace", "record", "v5.17-nvhe", "--size", "64MiB", "-o", sys.argv[1]]
main()
"""


def _on_a_terminal(code: str, *arguments: str, interrupt: bool = False) -> tuple[int, str]:
    """Run Python with stderr a terminal: (status, what stood there). With `interrupt`, Ctrl-C at the first word."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", code, *arguments]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # how Linux says that nobody has the other end open
            break
        if not data:
            break
        seen += data
        if interrupt and b"..." in seen:
            child.send_signal(signal.SIGINT)
            interrupt = False
    os.close(ours)
    return child.wait(timeout=60), seen.decode()


def test_a_terminal_is_told_how_far_it_is_and_left_clean():
    status, seen = _on_a_terminal(_WORK.format(quiet=0.1))
    assert status == 0
    assert "comparing ... 25% (0 s" in seen
    assert seen.endswith("\r\x1b[K")


def test_what_is_quick_says_nothing():
    assert _on_a_terminal(_WORK.format(quiet=30)) == (0, "")


def test_a_pipe_is_told_nothing():
    command = [sys.executable, "-c", _WORK.format(quiet=0.1)]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""


def test_ctrl_c_on_a_terminal_leaves_no_file(tmp_path: Path):
    status, seen = _on_a_terminal(_RECORDING, str(tmp_path / "x.trace"), interrupt=True)
    assert status == 130
    assert "recording v5.17-nvhe ..." in seen
    assert "Traceback" not in seen
    assert list(tmp_path.iterdir()) == []
