"""Progress of work that takes longer than two seconds, on stderr; nothing at all for what is quicker."""

import sys
import threading
import time
from types import TracebackType
from typing import Self

QUIET_SECONDS = 2.0
_REFRESH_SECONDS = 0.25


class Progress:
    """Context of one piece of work. On a terminal one line that is rewritten and wiped; elsewhere one line, once."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = 0
        self._total = 0
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._finished.set()
        self._thread.join()

    def step(self, done: int, total: int) -> None:
        """Say how far the work is."""
        self._done, self._total = done, total

    def _watch(self) -> None:
        started = time.monotonic()
        if self._finished.wait(QUIET_SECONDS):
            return
        if not sys.stderr.isatty():
            sys.stderr.write(f"relocscope: {self._what} ...\n")
            return
        while True:
            far = f" {100 * self._done // self._total}%" if self._total else ""
            sys.stderr.write(f"\r\x1b[K{self._what} ...{far} ({time.monotonic() - started:.0f} s)")
            sys.stderr.flush()
            if self._finished.wait(_REFRESH_SECONDS):
                break
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
