"""Slate: where a fuzzer notes each input before a reader gets it, so that who watches it knows which one was the last.

What Python cannot interrupt (a loop in C, a wait that never ends, the kernel's memory killer) is found in this way only.
"""

import mmap
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz.edits import LONGEST_BYTES

LONGEST_SILENCE_SECONDS = 60.0
"""Of real time, without another input: a dozen times what `attempt` lets one take of the processor's."""

_START_SECONDS = 600.0
"""Before the first input: compiled code may have to be compiled anew."""

_HEAD = struct.Struct("<QQ")


class Slate:
    """A file in memory that two processes share: how many inputs there were, and the last one."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_HEAD.size + LONGEST_BYTES))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 0)
        self.path = path
        self.count = 0

    def note(self, data: bytes) -> None:
        """Note one more input."""
        self.count += 1
        data = data[:LONGEST_BYTES]
        self._shared[_HEAD.size : _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._shared, 0, self.count, len(data))

    def last(self) -> tuple[int, bytes]:
        """Return the number of inputs that the other side has noted, and the last one."""
        count, length = _HEAD.unpack_from(self._shared)
        return count, self._shared[_HEAD.size : _HEAD.size + length]


def watch(command: Sequence[str], slate: Slate, *, silence_seconds: float = LONGEST_SILENCE_SECONDS) -> tuple[int, str]:
    """Run a fuzzer that notes on that slate. Return its status, and what ended it if it was not it itself, or ""."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as running:
        seen, since = -1, time.monotonic()
        while running.poll() is None:
            count, _ = slate.last()
            if count != seen:
                seen, since = count, time.monotonic()
            if time.monotonic() - since > (silence_seconds if count else _START_SECONDS):
                running.kill()
                running.wait()
                return 1, f"took more than {silence_seconds:.0f} s, and nothing could interrupt it"
            time.sleep(0.05)
    status = running.returncode
    sys.stdout.flush()
    return status, "" if status in (0, 1, 2) else f"ended the process (status {status})"
