"""What an input costs is bounded, and the fuzzer says which input went beyond: loops, waits, bombs, sudden ends."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from fuzz.attempt import attempt, bounded
from fuzz.drawn import kind
from fuzz.minimised import minimised
from fuzz.slate import Slate, watch
from fuzz.targets import Target

ROOT = Path(__file__).parents[2]


def target(read) -> Target:
    return Target("planted", (), lambda: (b"",), read)


def endless(_: bytes) -> None:
    while True:
        pass


def test_a_loop_is_ended_and_reported():
    failure = attempt(target(endless), b"x", seconds=0.2)
    assert failure is not None
    assert "took more than 0.2 s" in failure.what
    assert "endless" not in failure.what
    assert Path(__file__).name in kind(failure)  # where it hung, not where the alarm was raised


def test_a_bomb_is_reported_each_time():
    """Also the second one, which needs no more than the process has had already."""
    bomb = target(lambda data: len(bytearray(len(data) * (300 << 20))) and None)
    for _ in range(2):
        failure = attempt(bomb, b"x")
        assert failure is not None
        assert "MiB of memory" in failure.what
    assert attempt(bomb, b"") is None


def test_a_claim_of_terabytes_is_reported_and_not_met():
    with bounded():
        failure = attempt(target(lambda _: bytearray(1 << 42)), b"x")
    assert failure is not None
    assert "MemoryError" in failure.what


@pytest.mark.parametrize(
    ("last_words", "said"),
    [
        ("time.sleep(600)", "nothing could interrupt it"),
        ("os.kill(os.getpid(), 9)", "ended the process (status -9)"),
        ("os.abort()", "ended the process (status -6)"),
        ("pass", ""),
    ],
)
def test_the_input_is_known_that_ended_or_stopped_the_process(last_words: str, said: str, tmp_path: Path):
    child = tmp_path / "child.py"
    child.write_text(
        textwrap.dedent(f"""
        import os, sys, time
        from pathlib import Path
        sys.path.insert(0, {str(ROOT)!r})
        from fuzz.slate import Slate
        slate = Slate(Path(sys.argv[1]))
        slate.note(b"harmless")
        slate.note(b"the one")
        {last_words}
    """)
    )
    slate = Slate(tmp_path / "slate")
    began = time.monotonic()
    _, ended = watch([sys.executable, str(child), str(slate.path)], slate, silence_seconds=3)
    assert said in ended
    assert bool(said) == bool(ended)
    assert slate.last() == (2, b"the one")
    assert time.monotonic() - began < 60


def test_a_failing_input_is_made_short():
    def dislikes(data: bytes) -> None:
        if b"bad" in data:
            raise ZeroDivisionError

    failure = attempt(target(dislikes), b"x" * 1000 + b"bad" + b"y" * 1000)
    assert failure is not None
    assert minimised(target(dislikes), failure).data == b"bad"


def test_the_command_line_runs_a_target_in_a_process_of_its_own(tmp_path: Path):
    command = [sys.executable, "-m", "fuzz", "gdb-packets", "--inputs", "50", "--failures", str(tmp_path / "kept")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "gdb-packets: 50 inputs" in done.stdout
    assert not (tmp_path / "kept").exists()
