"""One: the process in which one reader is fuzzed. `fuzz.__main__` starts it and watches its slate."""

import argparse
import os
import sys
import warnings
from pathlib import Path

from fuzz.attempt import Failure, bounded
from fuzz.drawn import kind, run
from fuzz.minimised import minimised
from fuzz.slate import Slate
from fuzz.targets import BY_NAME, scratch


def main() -> int:
    """Fuzz the target that is named; say what failed, and keep it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=BY_NAME)
    for name in ("--inputs", "--seed"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--slate", "--failures"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--corpus", type=Path, help="guided by what inputs reach")
    given = parser.parse_args()
    target, slate, failed = BY_NAME[given.target], Slate(given.slate), 0

    def keep(failure: Failure) -> None:
        nonlocal failed
        failed += 1
        keep_input(given.failures, minimised(target, failure), kind(failure))

    os.chdir(scratch())  # commands of the stepper that write would write here
    warnings.simplefilter("error")
    for data in target.seeds():
        target.read(data)  # what is loaded once is not the first input's
    if given.corpus:
        from fuzz import guided

        # The address space stays as it is: beside libFuzzer, Unicorn runs in circles where it is bounded.
        guided.fuzz(target, given.inputs, given.seed, given.corpus, slate.note, keep)
    with bounded():
        for failure in run(target, given.inputs, given.seed, slate.note):
            keep(failure)
    return 1 if failed else 0


def keep_input(folder: Path, failure: Failure, where: str) -> None:
    """Write a failing input to a file of its own, and say so."""
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob(f"{failure.target}-*"))) + 1
    file = folder / f"{failure.target}-{number}"
    file.write_bytes(failure.data)
    sys.stdout.write(f"{failure.target}: {failure.what[:200]!r} {where}: {file}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
