"""The first run after an install: the timing model is compiled by a second process while the guest runs in this one.

Nothing depends on it. What the second process compiles it leaves in Numba's cache on disk; if it fails, or is not
allowed to run, this process compiles as it would have.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caches.compiled_from import SOURCES
from relocscope.other_process import python

PATIENCE_SECONDS = 300.0
"""How long to wait for the second process once there is nothing else to do."""

_SET_DEATH_SIGNAL, _SIGKILL = 1, 9  # prctl(PR_SET_PDEATHSIG, SIGKILL): Linux only, like Numba's cache of this project


@contextmanager
def compiled_meanwhile() -> Iterator[None]:
    """Have the timing model compiled, if it is not yet, while the body runs; ends when both are done."""
    if compiled() or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        yield
        return
    nowhere = subprocess.DEVNULL
    second = None
    with suppress(OSError):
        second = python("relocscope.warm", str(os.getpid()), stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        yield
        if second:
            with suppress(subprocess.TimeoutExpired):
                second.wait(PATIENCE_SECONDS)
    finally:
        if second:
            second.kill()
            second.wait()


def compiled() -> bool:
    """Whether Numba's cache has the timing model as it is now; a wrong answer costs a few seconds, no more."""
    with suppress(OSError):
        return any(SOURCES.are_of(index) for place in _places() for index in place.glob(_INDEX))
    return False


_INDEX = "tape.replay-*.nbi"


def _places() -> Iterator[Path]:
    """Yield the directories in which Numba keeps what it compiles."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        yield from Path(chosen).glob("*")
        return
    yield SOURCES.package / "__pycache__"
    yield from Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "numba").glob("*")


def compile_replay(parent: int) -> None:
    """Compile the timing model into Numba's cache; end with the parent process, however that ends."""
    import ctypes

    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, _SIGKILL)
    if os.getppid() != parent:
        return
    from caches.replaying import compile_ahead

    compile_ahead()


if __name__ == "__main__":
    compile_replay(int(sys.argv[1]))
