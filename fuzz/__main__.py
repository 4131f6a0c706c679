"""`python -m fuzz`: feed readers with damaged inputs; a failing one becomes a file, and the status 1."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from fuzz.attempt import Failure
from fuzz.drawn import inputs
from fuzz.one import keep_input
from fuzz.reached import INPUTS, reached
from fuzz.slate import Slate, watch
from fuzz.targets import BY_NAME, TARGETS, Target


def main() -> int:
    """Run the targets that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(BY_NAME)}; default: all")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="a target (default: 1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="where failing inputs go")
    parser.add_argument("--guided", action="store_true", help="by what inputs reach (atheris: the extra `fuzz`)")
    parser.add_argument(
        "--corpus", type=Path, default=Path("fuzz-corpus"), help="where --guided keeps what reached more"
    )
    parser.add_argument(
        "--reached", action="store_true", help="say how much of each reader a bounded run, or the corpus, comes through"
    )
    given = parser.parse_args()
    unknown = set(given.targets) - set(BY_NAME)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    failed = 0
    for target in [BY_NAME[name] for name in given.targets] or TARGETS:
        if given.reached:
            _say_reached(target, given)
        else:
            failed += _fuzzed(target, given)
    return 1 if failed else 0


def _say_reached(target: Target, given: argparse.Namespace) -> None:
    drawn = inputs(target, INPUTS // 10 if target.is_slow else INPUTS, given.seed)
    kept = (file.read_bytes() for file in sorted((given.corpus / target.name).iterdir())) if given.guided else drawn
    sys.stdout.write(f"{target.name} = {int(reached(target, kept))}\n")
    sys.stdout.flush()


def _fuzzed(target: Target, given: argparse.Namespace) -> bool:
    """Fuzz one reader in a process of its own; return whether it failed."""
    failures = given.failures.absolute()
    with tempfile.TemporaryDirectory(prefix="relocscope-fuzz-") as folder:
        slate = Slate(Path(folder) / "slate")
        command = [sys.executable, "-m", "fuzz.one", target.name, "--inputs", str(given.inputs), "--seed", str(given.seed),
                   "--slate", str(slate.path), "--failures", str(failures)]  # fmt: skip
        if given.guided:
            command += ["--corpus", str(given.corpus.absolute() / target.name)]
        began = time.monotonic()
        status, ended = watch(command, slate)
        took, (count, last) = time.monotonic() - began, slate.last()
    if ended:
        keep_input(failures, Failure(target.name, last, ended), "")
    sys.stdout.write(f"{target.name}: {count:,} inputs, {took:.0f} s, {count / took:,.0f} a second\n")
    sys.stdout.flush()
    return status != 0


if __name__ == "__main__":
    sys.exit(main())
