"""`relocscope explain`."""

import click

from relocscope.commands.options import json_option, machine_options, settings_of, wants_text, write_json


@click.command(epilog="With no argument: v4.19-nvhe against rfc-v1-nvhe, the question of July 2019.")
@click.argument("a", metavar="[A]", required=False)
@click.argument("b", metavar="[B]", required=False)
@machine_options
@json_option
def explain(
    a: str | None,
    b: str | None,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    sample: bool,
    json_path: str | None,
) -> None:
    """Compare two cases and say why B is faster than A, or why it is not.

    A setting is for both sides; a.KEY=VALUE or b.KEY=VALUE is for one. With one argument, it is B, and A is v4.19-nvhe.
    """
    from relocscope import render
    from relocscope.comparison import FOUNDING_QUESTION, Comparison, sides, speedup
    from relocscope.contributions import Contribution, contributions
    from relocscope.evidence import evidence
    from relocscope.fixes import fixes
    from relocscope.progress import Progress
    from relocscope.runs import run_operand
    from relocscope.verdict import SAME_WITHIN, judge

    if a is not None and b is None:
        a, b = FOUNDING_QUESTION[0], a
    subjects = sides(
        a or FOUNDING_QUESTION[0], b or FOUNDING_QUESTION[1], settings_of(settings, size), core=core, sample=sample
    )
    with Progress(f"running {subjects[0].name} and {subjects[1].name}"):
        of_a, of_b = (run_operand(subject) for subject in subjects)
    verdict, facts = judge(of_a, of_b), evidence(of_a, of_b)
    out = render.console() if wants_text(json_path) else None
    if out:
        render.show_heading(out, {"A": of_a, "B": of_b})
        render.show_verdict(out, of_a, of_b, verdict)
        render.show_evidence(out, facts)
        render.show_stacks(out, of_a, of_b)
        out.file.flush()
    parts: list[Contribution] = []
    arrived = speedup(of_a, of_b) is not None
    if json_path or (arrived and abs(of_a.cycles - of_b.cycles) > SAME_WITHIN * of_a.cycles):
        with Progress("replaying with mechanisms switched off") as progress:
            parts = contributions(of_a, of_b, progress.step)
    if out:
        render.show_contributions(out, of_a, of_b, parts)
        out.file.flush()
    with Progress("trying changes") as progress:
        changes = fixes(of_b, progress.step)
    if out:
        render.show_fixes(out, changes)
    result = Comparison(
        a=of_a, b=of_b, verdict=verdict, evidence=tuple(facts), contributions=tuple(parts), fixes=tuple(changes)
    )
    write_json(json_path, result.to_json())
