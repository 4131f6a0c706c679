"""Tasks: the pieces of a sweep that any process may do, and what it answers."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relocscope.operand import Operand
from relocscope.sweeping.measured import Subject, captured, check_captured, measured
from relocscope.sweeping.points import Replayed
from relocscope.sweeping.store import Store
from traces.digest import digest
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Check:
    """See whether the machine of a capture can be at all. Answers {}."""

    key: str
    subject: Operand


@dataclass(frozen=True, slots=True)
class Capture:
    """Run a guest and keep its trace in a directory. Answers {"trace"}."""

    key: str
    subject: Operand
    directory: Path


@dataclass(frozen=True, slots=True)
class Replay:
    """Time a trace. Answers {"trace", "result"}."""

    key: str
    trace: str
    how: Replayed


Task = Check | Capture | Replay


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a task; `facts` has `error` instead where it failed."""

    facts: Mapping[str, Any]
    lasting: bool
    """The same would come of it again: worth keeping."""
    by: str
    """Who did it: host and process."""
    seconds: float

    @property
    def error(self) -> str | None:
        """Why it failed, in one line; None where it did not."""
        return self.facts.get("error")


def perform(task: Task, subject_of: Callable[[str], Subject]) -> Answer:
    """Do a task; no exception but an interrupt leaves it. `subject_of` finds a trace by its hash."""
    started, lasting = time.perf_counter(), True
    try:
        facts = _done(task, subject_of)
    except InputError as error:
        facts = {"error": " ".join(str(error).split())}
    except Exception as error:  # whatever it is, the other points go on
        facts = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        lasting = False
    return Answer(facts, lasting, worker_name(), round(time.perf_counter() - started, 6))


def _done(task: Task, subject_of: Callable[[str], Subject]) -> dict[str, Any]:
    if isinstance(task, Check):
        check_captured(task.subject)
        return {}
    if isinstance(task, Capture):
        trace = captured(task.subject)
        name = digest(trace)
        Store(task.directory).keep_trace(name, trace)
        return {"trace": name}
    return {"trace": task.trace, "result": measured(subject_of(task.trace), task.how)}


def worker_name() -> str:
    """Name this process among all that may work for a sweep."""
    return f"{socket.gethostname()}:{os.getpid()}"
