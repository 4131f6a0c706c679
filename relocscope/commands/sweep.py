"""`relocscope sweep`."""

import sys
from collections.abc import Mapping
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

if TYPE_CHECKING:
    from relocscope.sweeping.plan import Plan
    from relocscope.sweeping.table import Table


@click.command(
    short_help="Run a case at many settings, each functional run once.",
    epilog="VALUES: V1,V2,... or LOW..HIGH:N, LOW..HIGH:log:N, LOW..HIGH:x2, LOW..HIGH:+STEP; more in docs/sweep.md.",
)
@click.argument("cases", shell_complete=offered.cases, metavar="[CASE [CASE]]", nargs=-1)
@click.option(
    "--grid",
    metavar="KEY=VALUES",
    shell_complete=offered.keys,
    multiple=True,
    help="Try every value, with every one of the others.",
)
@click.option(
    "--range",
    "ranges",
    metavar="KEY=LOW..HIGH[:log]",
    shell_complete=offered.keys,
    multiple=True,
    help="Draw samples from there.",
)
@click.option("--samples", type=int, default=0, metavar="N", help="How many of them; with --range.")
@click.option("--design", type=click.Choice(["latin-hypercube", "sobol"]), help="How they fill the ranges.")
@click.option("--design-seed", type=int, metavar="N", help="Seed of the design.")
@click.option(
    "--plan",
    "plan_name",
    metavar="FILE",
    shell_complete=offered.plans,
    help="Read all of this from TOML; or a plan that ships (--plans).",
)
@click.option("--plans", is_flag=True, help="List the plans that ship: ready-made questions.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Where results are kept.")
@core_options
@click.option("--sample", is_flag=True, help="Time long copies by a sample; the best are then confirmed in full.")
@click.option("--counts-only", is_flag=True, help="Time nothing: count misses of l1d, l2, l3, dtlb in one pass.")
@click.option("--skip-impossible", is_flag=True, help="Record points that cannot be, instead of refusing them all.")
@workers_option
@scheduler_option
@click.option("--dry-run", is_flag=True, help="Say what would be done and how long it would take; write nothing.")
@click.option("--rate", type=float, metavar="SECONDS", help="Of one replay, for --dry-run; else one is measured.")
@click.option("--front", callback=writable, metavar="FILE", help="Draw bytes of SRAM against time: .svg, .html, ...")
@click.option("--heat-map", callback=writable, metavar="FILE", help="Draw times or speed-ups over two swept keys.")
@json_option
def sweep(
    cases: tuple[str, ...],
    plan_name: str | None,
    output: Path | None,
    *,
    plans: bool,
    workers: int | None,
    scheduler: str | None,
    dry_run: bool,
    rate: float | None,
    front: str | None,
    heat_map: str | None,
    counts_only: bool,
    json_path: str | None,
    **asked: Any,
) -> int:
    """Run a case, or two to compare, at many settings: one functional run for all that only change times.

    What is in DIR is not computed again: after an interruption, the same command goes on. With two cases, speed-ups
    are the second's over the first; with one, over the case unchanged.
    """
    from relocscope.sweeping.sweep import Means, default_workers
    from traces.errors import InputError

    if plans:
        return _list_plans()
    plan = _plan(cases, plan_name, asked)
    pictures = _pictures(plan, {"--front": front, "--heat-map": heat_map})
    means = Means(default_workers() if workers is None else workers, scheduler)
    if counts_only:
        if output is None or scheduler is not None or dry_run or pictures:
            raise InputError("--counts-only: needs -o; and takes no --scheduler, --dry-run or picture of times")
        return _run(plan, output, means, json_path, {}, counts_only=True)
    if dry_run:
        return show_survey_of(plan, output or Path(), means.workers, rate, json_path)
    if output is not None:
        return _run(plan, output, means, json_path, pictures)
    if plan.question is None:
        raise InputError("-o: must be given: the directory in which results are kept")
    with TemporaryDirectory(prefix="relocscope-sweep-") as directory:
        return _run(plan, Path(directory), means, json_path, pictures, kept=False)


def _list_plans() -> int:
    from relocscope.answers.shipped import plan_names, plan_of
    from relocscope.render import console, plain_table

    shown = plain_table("plan", "asks")
    for name in plan_names():
        question = plan_of(name).question
        shown.add_row(name, "" if question is None else question.ask)
    console().print(shown)
    return 0


def _plan(cases: tuple[str, ...], name: str | None, asked: Mapping[str, Any]) -> "Plan":
    """Return the plan that was written; what is given beside a plan file replaces what it says."""
    import dataclasses

    from relocscope.answers.shipped import plan_of
    from relocscope.sweeping.plan import Plan
    from traces.errors import InputError

    given: dict[str, Any] = {
        "cases": cases,
        "core": asked["core"],
        "settings": settings_of(asked["settings"], asked["size"]),
        "sample": asked["sample"],
        "skip_impossible": asked["skip_impossible"],
        "grid": pairs("--grid", asked["grid"]),
        "ranges": pairs("--range", asked["ranges"]),
        "samples": asked["samples"],
        "design": asked["design"],
        "design_seed": asked["design_seed"],
    }
    given = {name: value for name, value in given.items() if value}
    if name is None:
        if not cases:
            raise InputError("CASE: missing; `relocscope cases` lists them, --plan names a plan")
        return Plan(**given)
    plan = plan_of(name)
    for part, option in (("grid", "--grid"), ("ranges", "--range"), ("samples", "--samples")):
        if part in given:
            raise InputError(f"{option}: belongs into the plan file")
    given["settings"] = {**plan.settings, **given.get("settings", {})}
    return dataclasses.replace(plan, **given)


def pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """Read KEY=VALUES of an option that may be repeated."""
    from traces.errors import InputError

    found: dict[str, str] = {}
    for text in texts:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not (key and equals and values):
            raise InputError(f"{option}: {text!r} must be KEY=VALUES")
        if key in found:
            raise InputError(f"{option}: {key} is given twice; write all its values behind one")
        found[key] = values
    return found


def show_survey_of(plan: "Plan", directory: Path, workers: int, rate: float | None, json_path: str | None) -> int:
    """Say what a plan comes to and how long it would take."""
    from relocscope.progress import Progress
    from relocscope.sweeping.survey import survey

    with Progress("looking at the plan, timing one point"):
        found = survey(plan, directory, workers=workers, replay_seconds=rate)
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_sweep import show_survey

        show_survey(console(), found)
    write_json(json_path, found.to_json())
    return 0


def _pictures(plan: "Plan", asked: Mapping[str, str | None]) -> dict[str, str]:
    """Return the files asked for by option; refuse what could not be drawn, before anything runs for it."""
    from relocscope.sweeping.picture_files import check_suffix
    from traces.errors import InputError

    wanted = {option: path for option, path in asked.items() if path is not None}
    for option, path in wanted.items():
        check_suffix(path, option)
    if "--heat-map" in wanted and len(plan.swept) != 2:
        raise InputError(f"--heat-map: needs two swept keys, not {len(plan.swept)}; Table.heat_map in Python chooses")
    return wanted


def _draw(table: "Table", pictures: Mapping[str, str]) -> None:
    from relocscope.sweeping.picture_files import blank, write_picture

    for option, path in pictures.items():
        axes = table.heat_map() if option == "--heat-map" else table.plot_front(axes=blank())
        write_picture(axes.figure, path, option, title=" against ".join(table.plan.cases))


def _run(
    plan: "Plan",
    directory: Path,
    means: Any,
    json_path: str | None,
    pictures: Mapping[str, str],
    *,
    kept: bool = True,
    counts_only: bool = False,
) -> int:
    from relocscope.progress import Progress
    from relocscope.sweeping.counting import count
    from relocscope.sweeping.sweep import run

    far = ("", 0, 0)

    def note(what: str, done: int, total: int) -> None:
        nonlocal far
        far = (what, done, total)
        progress.stage(what, done, total)

    try:
        with Progress("looking at the plan") as progress:
            table = (count if counts_only else run)(plan, directory, means, note)
    except KeyboardInterrupt:
        done = f"{far[0]}: {far[1]:,} of {far[2]:,} done; " if far[0] else ""
        rest = "the same command goes on from there" if kept else "nothing is kept without -o"
        sys.stderr.write(f"relocscope: interrupted; {done}{rest}\n")
        return STATUS_INTERRUPTED
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_sweep import show_answer, show_counts, show_table

        if counts_only:
            show_counts(console(), table, directory)
        elif kept:
            show_table(console(), table, directory)
        show_answer(console(), table)
    write_json(json_path, table.to_json())
    _draw(table, pictures)
    return 0
