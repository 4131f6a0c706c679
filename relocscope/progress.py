"""Progress of work that takes longer than two seconds, for people: on stderr, if that is a terminal."""

import sys
import threading
import time
from types import TracebackType
from typing import Self

from traces.visible import visible

QUIET_SECONDS = 2.0
_REFRESH_SECONDS = 0.25


class Progress:
    """Context of one piece of work: one line, rewritten and at last wiped. Elsewhere stderr is for errors alone."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = 0
        self._total = 0
        self._began = time.monotonic()
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

    def stage(self, what: str, done: int, total: int) -> None:
        """Say what is being done, of several things one after another, and how far it is."""
        if what != self._what:
            self._what, self._began = what, time.monotonic()
        self.step(done, total)

    def step(self, done: int, total: int) -> None:
        """Say how far the work is."""
        self._done, self._total = done, total

    def _watch(self) -> None:
        started = time.monotonic()
        if self._finished.wait(QUIET_SECONDS):
            return
        while True:
            far = f" {100 * self._done // self._total}%" if self._total else ""
            took = f"{time.monotonic() - started:.0f} s{self._left()}"
            sys.stderr.write(f"\r\x1b[K{visible(self._what)} ...{far} ({took})")
            sys.stderr.flush()
            if self._finished.wait(_REFRESH_SECONDS):
                break
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    def _left(self) -> str:
        """Guess how long it still takes, once a twentieth is done."""
        done, total = self._done, self._total
        if not 0 < done < total or 20 * done < total:
            return ""
        seconds = (time.monotonic() - self._began) * (total - done) / done
        return f", about {seconds:.0f} s left"
