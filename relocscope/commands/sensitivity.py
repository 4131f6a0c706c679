"""`relocscope sensitivity`."""

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from relocscope.commands import offered
from relocscope.commands.options import (
    STATUS_INTERRUPTED,
    core_options,
    json_option,
    scheduler_option,
    settings_of,
    wants_text,
    workers_option,
    writable,
    write_json,
)
from relocscope.commands.sweep import pairs, show_survey_of

if TYPE_CHECKING:
    from relocscope.sweeping.plan import Plan

_DESIGNS = {"one-at-a-time": "one-at-a-time", "morris": "morris", "sobol": "sobol-indices"}

_GROUPS = {"one-at-a-time": 1, "morris": 10, "sobol": 64}


@click.command(
    short_help="Which numbers a time, or a speed-up, hangs on.",
    epilog="Without --range: every number of the core that is only estimated and moves a time here, over its range. "
    "More in docs/sensitivity.md.",
)
@click.argument("cases", shell_complete=offered.cases, metavar="CASE [CASE]", nargs=-1, required=True)
@click.option(
    "--range",
    "ranges",
    metavar="KEY=VALUES",
    shell_complete=offered.keys,
    multiple=True,
    help="Move this key: LOW..HIGH[:log], V1,V2.",
)
@click.option(
    "--method", type=click.Choice(list(_DESIGNS)), default="morris", show_default=True,
    help="One key at a time; Morris' elementary effects; or Sobol' indices, which need the most points.",
)  # fmt: skip
@click.option("--groups", type=click.IntRange(1), metavar="N",
              help="Trajectories of Morris (10), samples of Sobol' (64, a power of two).")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the design.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Keep what is computed, and go on."
)
@core_options
@click.option("--sample", is_flag=True, help="Time long copies by a sample: much quicker.")
@workers_option
@scheduler_option
@click.option("--dry-run", is_flag=True, help="Say what would be done and how long it would take.")
@click.option("--tornado", callback=writable, metavar="FILE", help="Draw it: .svg, .html, .png or .pdf.")
@json_option
def sensitivity(
    cases: tuple[str, ...],
    output: Path | None,
    *,
    workers: int | None,
    scheduler: str | None,
    dry_run: bool,
    tornado: str | None,
    json_path: str | None,
    **asked: Any,
) -> int:
    """Tell which numbers the time of a case hangs on, or the times and the speed-up of two.

    The points are those of a sweep: what is in DIR is not computed again, and `sweep.parquet` has all of them.
    """
    from relocscope.answers.indices import sensitivities
    from relocscope.progress import Progress
    from relocscope.sweeping.sweep import Means, default_workers, run

    if tornado is not None:
        from relocscope.sweeping.picture_files import check_suffix

        check_suffix(tornado, "--tornado")
    plan = _plan(cases, asked)
    means = Means(default_workers() if workers is None else workers, scheduler)
    if dry_run:
        return show_survey_of(plan, output or Path(), means.workers, None, json_path)
    with ExitStack() as stack:
        directory = output or Path(stack.enter_context(TemporaryDirectory(prefix="relocscope-sensitivity-")))
        try:
            with Progress("looking at the plan") as progress:
                found = sensitivities(run(plan, directory, means, progress.stage))
        except KeyboardInterrupt:
            rest = "the same command goes on from there" if output else "nothing is kept without -o"
            sys.stderr.write(f"relocscope: interrupted; {rest}\n")
            return STATUS_INTERRUPTED
        found.write(directory)
    if tornado is not None:
        from relocscope.sweeping.picture_files import write_picture
        from relocscope.sweeping.tornado import figure_of

        write_picture(figure_of(found), tornado, "--tornado", title=f"What {' against '.join(cases)} hangs on")
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_sensitivity import show_sensitivities

        show_sensitivities(console(), found)
    write_json(json_path, found.to_json())
    return 0


def _plan(cases: tuple[str, ...], asked: dict[str, Any]) -> "Plan":
    from relocscope.answers.asking import asking_plan
    from relocscope.progress import Progress

    method = asked["method"]
    with Progress("looking for what moves a time") as progress:
        return asking_plan(
            cases,
            core=asked["core"],
            settings=settings_of(asked["settings"], asked["size"]),
            sample=asked["sample"],
            ranges=pairs("--range", asked["ranges"]),
            design=_DESIGNS[method],
            groups=asked["groups"] or _GROUPS[method],
            seed=asked["seed"],
            step=progress.step,
        )
