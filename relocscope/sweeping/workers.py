"""Doing tasks: in this process, or in others of this machine that share traces by their files."""

import contextlib
import socket
import subprocess
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from relocscope import warm
from relocscope.other_process import python
from relocscope.sweeping.measured import Subject
from relocscope.sweeping.store import Store
from relocscope.sweeping.tasks import Answer, Task, perform

TRIES = 2
"""A task whose worker ended in the middle is done once more; a second time it is the task's own fault."""

TRACES_KEPT = 2
"""Traces that a worker has in memory."""


class Executor(AbstractContextManager["Executor"], Protocol):
    """Whoever does tasks: each answer comes once, in any order."""

    def perform(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Do all of them."""
        ...


class Inline:
    """Does tasks one after another in this process."""

    def __init__(self, directory: Path) -> None:
        self._subjects = Traces(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left running."""

    def perform(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Do all of them, in their order."""
        for task in tasks:
            yield task, perform(task, self._subjects)


class Traces:
    """Traces of a store by their hash, the last few kept in memory."""

    def __init__(self, directory: Path) -> None:
        store = Store(directory)
        self._of = lru_cache(TRACES_KEPT)(lambda name: Subject.of(store.trace(name)))

    def __call__(self, name: str) -> Subject:
        """Return the trace of that hash, ready for replays."""
        return self._of(name)


class _Child:
    """One process (`sweeping.worker`), and the task that it has."""

    def __init__(self, directory: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # A process group of its own: Ctrl-C at a terminal is for the sweep, which then ends it.
            arguments = ("relocscope.sweeping.worker", str(theirs.fileno()), str(directory))
            self.process = python(*arguments, pass_fds=[theirs.fileno()], process_group=0)
        self.connection = Connection(ours.detach())
        self.task: Task | None = None

    def give(self, task: Task) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # it has ended: `answer` says so
            self.connection.send(task)

    def answer(self) -> Answer | None:
        """Return what it answered; None where it has ended instead."""
        try:
            found: Answer = self.connection.recv()
        except (EOFError, OSError):
            return None
        return found

    def end(self, patience_seconds: float = 0.0) -> None:
        """Make sure that it has ended; of itself, if it does so in time."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_seconds)
        self.process.kill()
        self.process.wait()


class Processes:
    """Does tasks in processes of this machine, each one task at a time; one that is killed is replaced."""

    def __init__(self, count: int, directory: Path) -> None:
        self._count, self._directory = count, directory
        self._children: list[_Child] = []
        self._warm = warm.compiled()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for child in self._children:
            child.end()

    def perform(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Do all of them, the first ones first."""
        waiting, lost = deque(tasks), Counter[str]()
        while waiting or self._busy():
            self._hand_out(waiting)
            ready = wait([child.connection for child in self._busy()])
            for child in [child for child in self._busy() if child.connection in ready]:
                task, answer = child.task, child.answer()
                child.task = None
                if task is None:
                    continue
                if answer is None:
                    answer = self._bury(child, task, lost)
                    if answer is None:
                        waiting.appendleft(task)
                        continue
                self._warm = True
                yield task, answer

    def _busy(self) -> list[_Child]:
        return [child for child in self._children if child.task is not None]

    def _hand_out(self, waiting: deque[Task]) -> None:
        """Give tasks to who is idle. Until the model is compiled, one works alone: the others would compile it, too."""
        allowed = self._count if self._warm else 1
        while waiting and len(self._busy()) < allowed:
            idle = next((child for child in self._children if child.task is None), None)
            if idle is None:
                idle = _Child(self._directory)
                self._children.append(idle)
            idle.give(waiting.popleft())

    def _bury(self, child: _Child, task: Task, lost: Counter[str]) -> Answer | None:
        """See to a process that has ended; None where its task is worth another try."""
        child.end(patience_seconds=1.0)
        self._children.remove(child)
        lost[task.key] += 1
        if lost[task.key] < TRIES:
            return None
        why = f"its process ended with status {child.process.returncode}, {TRIES} times"
        return Answer({"error": why}, lasting=False, by=f"process {child.process.pid}", seconds=0.0)
