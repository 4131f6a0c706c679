"""What no input may do to a reader: raise anything but InputError, say two lines, hang, or take much memory."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import FrameType

from fuzz.targets import Target
from traces.errors import InputError

LONGEST_SECONDS = 5.0
"""Of processor time for one input: a thousand times what the slowest seed takes."""

MOST_BYTES = 256 << 20
"""That one input may add to what the process has resident."""

ADDRESS_SPACE_BYTES = 8 << 30
"""Beyond what the process has when `bounded` begins: what is asked for at once and never touched."""


class HangError(BaseException):
    """Raised in a reader that takes longer than LONGEST_SECONDS; no `except Exception` of its own catches it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that was broken."""

    target: str
    data: bytes
    what: str
    cause: BaseException | None = None


def attempt(target: Target, data: bytes, *, seconds: float = LONGEST_SECONDS) -> Failure | None:
    """Give a reader one input. Return what it did that it may not; None for a result or a refusal of one line."""
    _forget_peak()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _no_longer_than(seconds):
            target.read(data)
    except InputError as error:
        said = str(error)
        if "\n" in said or "\r" in said or not said.strip():
            return Failure(target.name, data, f"InputError must be one line: {said!r:.200}")
    except HangError as error:
        return Failure(target.name, data, f"took more than {seconds} s", error)
    except RecursionError as error:
        return Failure(target.name, data, "RecursionError", error)
    except Exception as error:
        return Failure(target.name, data, f"{type(error).__name__}: {error}", error)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    if grown > MOST_BYTES:
        return Failure(target.name, data, f"took {grown >> 20} MiB of memory")
    return None


@cache
def _references() -> int | None:
    try:
        return os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return None


def _forget_peak() -> None:
    """Let the largest resident size begin anew (proc(5)), or a large input would hide those after it."""
    if (file := _references()) is not None:
        os.pwrite(file, b"5", 0)


@contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    def over(_number: int, _frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def bounded() -> Iterator[None]:
    """Bound the address space of this process inside the block: a claim of terabytes fails instead of succeeding."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - no file of anybody's
        now = int(statm.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + ADDRESS_SPACE_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
