"""Progress of work that takes longer than two seconds, for people: on stderr, if that is a terminal."""

import sys
import threading
import time
from types import TracebackType
from typing import Self

QUIET_SECONDS = 2.0
_REFRESH_SECONDS = 0.25


class Progress:
    """Context of one piece of work: one line, rewritten and at last wiped. Elsewhere stderr is for errors alone."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = 0
        self._total = 0
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._finished.set()
        if self._thread.is_alive():
            self._thread.join()

    def step(self, done: int, total: int) -> None:
        """Say how far the work is."""
        self._done, self._total = done, total

    def _watch(self) -> None:
        started = time.monotonic()
        if self._finished.wait(QUIET_SECONDS):
            return
        while True:
            far = f" {100 * self._done // self._total}%" if self._total else ""
            sys.stderr.write(f"\r\x1b[K{self._what} ...{far} ({time.monotonic() - started:.0f} s)")
            sys.stderr.flush()
            if self._finished.wait(_REFRESH_SECONDS):
                break
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
