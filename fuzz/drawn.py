"""Drawn: damaged inputs by chance, and what went wrong with them, each kind once."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz import edits
from fuzz.attempt import Failure, attempt
from fuzz.targets import Target, damaged

MOST_FAILURES = 5
"""Of one target, of different kinds: enough to work on."""


def inputs(target: Target, count: int, seed: int) -> Iterator[bytes]:
    """Yield the seeds, then damaged ones; the same arguments yield the same bytes."""
    found = target.seeds()
    yield from found
    draw = random.Random(f"{target.name} {seed}")
    for _ in range(count - len(found)):
        yield damaged(target, draw.choice(found), edits.draw(draw), found)


def run(target: Target, count: int, seed: int, note: Callable[[bytes], None] = lambda _: None) -> Iterator[Failure]:
    """Yield what went wrong, each kind once. `note` is told of every input before it is read."""
    kinds: set[str] = set()
    for data in inputs(target, count, seed):
        note(data)
        failure = attempt(target, data)
        if failure is not None and (found := kind(failure)) not in kinds:
            kinds.add(found)
            yield failure
            if len(kinds) >= MOST_FAILURES:
                return


def kind(failure: Failure) -> str:
    """Name the place that an exception came from, or what was said."""
    trail = failure.cause.__traceback__ if failure.cause is not None else None
    where = failure.what[:40]
    while trail is not None:
        code = trail.tb_frame.f_code
        if Path(code.co_filename).name != "attempt.py":  # the alarm that ends a hang is raised there
            where = f"{code.co_filename}:{trail.tb_lineno}"
        trail = trail.tb_next
    return where
