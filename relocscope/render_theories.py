"""Ranked hypotheses for people, as render.py shows runs."""

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from relocscope.hypotheses import Theories, Theory
from relocscope.quantities import seconds
from relocscope.render import plain_table

_UNLIKELY = 0.001
"""Hypotheses less probable than this, and not in the first rank, are only listed."""

_COLUMNS = 4
"""Ranks whose times are shown."""


def show_theories(out: Console, found: Theories, *, everything: bool = False) -> None:
    """Show what was measured, the ranks with their probabilities, priors and their reasons, and what would decide."""
    out.print(
        f"{escape(found.core)} booted {found.boot}, {escape(found.case)} meant as MMU-on, measurements within "
        f"{found.error:.0%}"
    )
    out.print()
    _show_table(out, found, everything)
    for theory in found.ranked:
        if _counts(theory, everything):
            out.print()
            out.print(f"[bold]{theory.rank}. {theory.id}[/]  {_percent(theory.probability)}")
            out.print(Padding(escape(theory.sentence), (0, 0, 0, 3)))
            out.print(Padding(f"[dim]Prior {_percent(theory.prior)}:[/] {escape(theory.why)}", (0, 0, 0, 3)))
            if theory.test:
                out.print(Padding(f"[dim]To tell:[/] {escape(theory.test)}", (0, 0, 0, 3)))
    left = [theory.id for theory in found.ranked if not _counts(theory, everything)]
    if left:
        out.print()
        out.print(f"Below {_UNLIKELY:.1%}: {', '.join(left)}")
    if found.unexplained:
        out.print()
        out.print(
            f"[bold yellow]Even the first is {found.ranked[0].deviation:.0f} standard deviations off: no hypothesis "
            "explains all of these times with that error.[/] The probabilities only compare what fails."
        )


def _counts(theory: Theory, everything: bool) -> bool:
    return everything or theory.rank == 1 or theory.probability >= _UNLIKELY


def _show_table(out: Console, found: Theories, everything: bool) -> None:
    shown = [theory for theory in found.ranked if _counts(theory, everything)]
    table = plain_table("rank", "hypothesis", "prior", "probability", right=(2, 3))
    for theory in shown:
        table.add_row(str(theory.rank), theory.id, _percent(theory.prior), _percent(theory.probability))
    out.print(table)
    out.print()
    heads = list({theory.rank: theory for theory in reversed(shown)}.values())[::-1][:_COLUMNS]
    named = [f"rank {theory.rank}" for theory in heads]
    times = plain_table("time of", "measured", *named, right=range(1, 2 + len(heads)))
    for at, seen in enumerate(found.observations):
        told = [theory.predicted[at]["seconds"] for theory in heads]
        cells = ["never" if one is None else seconds(one) for one in told]
        times.add_row(escape(f"{seen.label} {seen.state}"), seconds(seen.seconds), *cells)
    out.print(times)


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= _UNLIKELY or share == 0 else f"<{_UNLIKELY:.1%}"
