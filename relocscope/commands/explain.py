"""`relocscope explain`."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import click

from relocscope.commands import offered
from relocscope.commands.options import json_option, machine_options, settings_of, wants_text, writable, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from relocscope.comparison import Comparison
    from relocscope.contributions import Decomposition
    from relocscope.runs import Run
    from relocscope.verdict import Verdict


@click.command(
    short_help="Say why B is faster than A, or why it is not.",
    epilog="With no argument: v4.19-nvhe against rfc-v1-nvhe, the question of July 2019.",
)
@click.argument("a", shell_complete=offered.cases, metavar="[A]", required=False)
@click.argument("b", shell_complete=offered.cases, metavar="[B]", required=False)
@click.option(
    "--within",
    "group",
    metavar="GROUP",
    shell_complete=offered.groups,
    help="Take one group apart (`relocscope mechanisms` lists them).",
)
@click.option(
    "--tornado", callback=writable, metavar="FILE", help="Draw the estimates that move the speed-up: .svg, .html, ..."
)
@machine_options
@json_option
def explain(
    a: str | None,
    b: str | None,
    *,
    group: str | None,
    tornado: str | None,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    sample: bool,
    json_path: str | None,
) -> None:
    """Compare two cases and say why B is faster than A, or why it is not.

    A setting is for both sides; a.KEY=VALUE or b.KEY=VALUE is for one. With one argument, it is B, and A is v4.19-nvhe.
    With --set phases=all the old kernel's set-up is run and timed, too.
    """
    from relocscope import render
    from relocscope.comparison import FOUNDING_QUESTION, sides, speedup
    from relocscope.evidence import evidence
    from relocscope.focus import SAME_WITHIN
    from relocscope.progress import Progress
    from relocscope.render_explain import show_phases
    from relocscope.runs import run_operand
    from relocscope.verdict import judge
    from relocscope.within import check_group

    if group is not None:
        check_group(group)
    if tornado is not None:
        from relocscope.sweeping.picture_files import check_suffix

        check_suffix(tornado, "--tornado")
    if a is not None and b is None:
        a, b = FOUNDING_QUESTION[0], a
    subjects = sides(
        a or FOUNDING_QUESTION[0], b or FOUNDING_QUESTION[1], settings_of(settings, size), core=core, sample=sample
    )
    with Progress(f"running {subjects[0].name} and {subjects[1].name}"):
        of_a, of_b = (run_operand(subject) for subject in subjects)
    attributed = cache(lambda: _attributed(of_a, of_b))
    verdict, facts = judge(of_a, of_b, attributed), evidence(of_a, of_b)
    out = render.console() if wants_text(json_path) else None
    if out:
        render.show_heading(out, {"A": of_a, "B": of_b})
        render.show_verdict(out, of_a, of_b, verdict)
        render.show_evidence(out, facts)
        show_phases(out, of_a, of_b)
        render.show_stacks(out, of_a, of_b)
        out.file.flush()
    asked = json_path is not None or group is not None
    differ = speedup(of_a, of_b) is not None and abs(of_a.cycles - of_b.cycles) > SAME_WITHIN * of_a.cycles
    found = _replayed(out, of_a, of_b, verdict, attributed if asked or differ else None, group)
    if tornado is not None:
        _draw(found, tornado)
    if json_path is not None:
        write_json(json_path, found.to_json())


def _draw(found: "Comparison", path: str) -> None:
    from relocscope.sweeping.picture_files import write_picture
    from relocscope.sweeping.tornado import tornado_of_estimates

    axes = tornado_of_estimates(found.speedup, found.sensitivity)
    write_picture(axes.figure, path, "--tornado", title=f"{found.a.case} against {found.b.case}")


def _attributed(a: "Run", b: "Run") -> "Decomposition":
    from relocscope.contributions import attribute
    from relocscope.progress import Progress

    with Progress("replaying with mechanisms switched off") as progress:
        return attribute(a, b, progress.step)


def _replayed(
    out: "Console | None",
    a: "Run",
    b: "Run",
    verdict: "Verdict",
    attributed: "Callable[[], Decomposition] | None",
    group: str | None,
) -> "Comparison":
    """Find what takes replays and runs, and show each part when it is there.

    `attributed` None: two times that are the same are not decomposed.
    """
    from relocscope import render_explain
    from relocscope.break_even import break_even
    from relocscope.comparison import Comparison, part_of, speedup
    from relocscope.contributions import Decomposition, confirm
    from relocscope.evidence import evidence
    from relocscope.fixes import fixes
    from relocscope.progress import Progress
    from relocscope.sensitivity import sensitivity

    parts, apart = Decomposition(contributions=(), interactions=()), None
    if attributed is not None:
        parts = attributed()
        with Progress("replaying the whole runs without the largest contributions") as progress:
            parts = confirm(parts, a, b, progress.step)
    if out:
        render_explain.show_contributions(out, a, b, parts)
        out.file.flush()
    if group is not None:
        with Progress(f"replaying with mechanisms of {group} switched off") as progress:
            apart = part_of(a, b, parts, group, progress.step)
    with Progress("running other sizes") as progress:
        crossing = break_even(a, b, progress.step)
    if out:
        render_explain.show_within(out, apart)
        render_explain.show_break_even(out, crossing)
        out.file.flush()
    with Progress("trying changes") as progress:
        changes = fixes(b, progress.step)
    if out:
        render_explain.show_fixes(out, b, changes)
        out.file.flush()
    with Progress("moving estimates over their ranges") as progress:
        estimates = sensitivity(a, b, progress.step, attributed=None if attributed is None else lambda: parts)
    if out:
        render_explain.show_sensitivity(out, speedup(a, b), estimates)
    return Comparison(
        a=a,
        b=b,
        verdict=verdict,
        evidence=tuple(evidence(a, b)),
        parts=parts,
        fixes=tuple(changes),
        within=apart,
        break_even=crossing,
        sensitivity=estimates,
    )
