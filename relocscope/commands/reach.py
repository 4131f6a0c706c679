"""`relocscope reach`."""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from relocscope.commands import offered
from relocscope.commands.options import (
    STATUS_INTERRUPTED,
    core_options,
    json_option,
    settings_of,
    wants_text,
    workers_option,
    write_json,
)
from traces.errors import InputError

if TYPE_CHECKING:
    from relocscope.answers.reaching import Target

_TIME = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(s|ms|us)")


@click.command(
    short_help="Find the smallest change that makes a case quick enough.",
    epilog="relocscope reach v5.17-nvhe --target 4ms --key dram.latency_ns=40..75 --key l2.size=1MiB,2MiB",
)
@click.argument("case", shell_complete=offered.cases, metavar="CASE")
@click.option("--target", metavar="TIME", help="What it may take: 30ms, 0.03s, 250us.")
@click.option("--speedup", type=float, metavar="X", help="Or how many times as fast it must be.")
@click.option(
    "--key",
    "keys",
    metavar="KEY[=VALUES]",
    shell_complete=offered.keys,
    multiple=True,
    help="Move this one: LOW..HIGH or V1,V2,...; else every number that its time may depend on, 16 times either way.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Keep results: go on from there.")
@core_options
@workers_option
@json_option
def reach(
    case: str,
    *,
    target: str | None,
    speedup: float | None,
    keys: tuple[str, ...],
    output: Path | None,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    workers: int | None,
    json_path: str | None,
) -> int:
    """Find which smallest change of one number of core or case makes it take no longer than asked for.

    Two numbers together are tried where none does alone. Every answer is timed in full, there and just before.
    """
    from relocscope.answers.reaching import reach as searched
    from relocscope.progress import Progress
    from relocscope.sweeping.plan import Plan
    from relocscope.sweeping.sweep import Means, default_workers

    wanted = _target(target, speedup)
    plan = Plan(cases=(case,), core=core, settings=settings_of(settings, size), points=[{}])
    means = Means(default_workers() if workers is None else workers)
    with TemporaryDirectory(prefix="relocscope-reach-") as directory:
        try:
            with Progress("looking at the case") as progress:
                found = searched(plan, wanted, keys, output or Path(directory), means, progress.stage)
        except KeyboardInterrupt:
            rest = "the same command goes on from there" if output else "nothing is kept without -o"
            sys.stderr.write(f"relocscope: interrupted; {rest}\n")
            return STATUS_INTERRUPTED
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_reach import show_reach

        show_reach(console(), found)
    write_json(json_path, found.to_json())
    return 0


def _target(target: str | None, speedup: float | None) -> "Target":
    from relocscope.answers.reaching import Target

    if (target is None) == (speedup is None):
        raise InputError("--target, --speedup: give one of them: 30ms, or how many times as fast")
    if speedup is not None:
        if not 0 < speedup < 1e6:
            raise InputError(f"--speedup: {speedup:g}: must be above 0 and below a million")
        return Target(speedup=speedup)
    match = _TIME.fullmatch(str(target).strip())
    if match is None or not float(match[1]) > 0:
        raise InputError(f"--target: {target!r}: must be a time above 0 with its unit: 30ms, 0.03s, 250us")
    return Target(seconds=float(match[1]) * {"s": 1.0, "ms": 1e-3, "us": 1e-6}[match[2]])
