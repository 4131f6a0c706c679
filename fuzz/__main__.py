"""`python -m fuzz`: feed readers with damaged inputs; a failing one becomes a file, and the status 1."""

import argparse
import os
import random
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from fuzz import edits
from fuzz.attempt import Failure, attempt, bounded
from fuzz.reached import INPUTS, reached
from fuzz.targets import BY_NAME, TARGETS, Target, scratch

MOST_FAILURES = 5
"""Of one target, with different words: enough to work on."""


def inputs(target: Target, count: int, seed: int) -> Iterator[bytes]:
    """Yield the seeds, then damaged ones; the same arguments yield the same bytes."""
    found = target.seeds()
    yield from found
    draw = random.Random(f"{target.name} {seed}")
    for _ in range(count - len(found)):
        yield edits.apply(draw.choice(found), edits.draw(draw), found, target.words)


def run(target: Target, count: int, seed: int) -> Iterator[Failure]:
    """Yield what went wrong, each kind once."""
    kinds: set[str] = set()
    for data in inputs(target, count, seed):
        failure = attempt(target, data)
        if failure is not None and (kind := _kind(failure)) not in kinds:
            kinds.add(kind)
            yield failure
            if len(kinds) >= MOST_FAILURES:
                return


def _kind(failure: Failure) -> str:
    """Name the place that an exception came from, or what was said."""
    trail = failure.cause.__traceback__ if failure.cause is not None else None
    while trail is not None and trail.tb_next is not None:
        trail = trail.tb_next
    where = f"{trail.tb_frame.f_code.co_filename}:{trail.tb_lineno}" if trail is not None else ""
    return where or failure.what[:40]


def main() -> int:
    """Run the targets that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(BY_NAME)}; default: all")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="a target (default: 1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="where failing inputs go")
    parser.add_argument("--reached", action="store_true", help="say how much of each reader a bounded run comes through")
    given = parser.parse_args()
    unknown = set(given.targets) - set(BY_NAME)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    chosen = [BY_NAME[name] for name in given.targets] or TARGETS
    if given.reached:
        for target in chosen:
            share = reached(target, inputs(target, INPUTS // 10 if target.is_slow else INPUTS, given.seed))
            sys.stdout.write(f"{target.name} = {int(share)}\n")
        return 0
    folder, failed = given.failures.absolute(), 0
    os.chdir(scratch())  # commands of the stepper that write would write here
    warnings.simplefilter("error")
    with bounded():
        for target in chosen:
            began = time.monotonic()
            for failure in run(target, given.inputs, given.seed):
                failed += 1
                folder.mkdir(parents=True, exist_ok=True)
                file = folder / f"{target.name}-{failed}"
                file.write_bytes(failure.data)
                sys.stdout.write(f"{target.name}: {failure.what[:200]!r} {_kind(failure)}: {file}\n")
            sys.stdout.write(f"{target.name}: {given.inputs:,} inputs, {time.monotonic() - began:.0f} s\n")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
