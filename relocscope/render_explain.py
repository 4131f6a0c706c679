"""What only `explain` shows: contributions and what they do to each other, set-up that pays, changes that help."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from relocscope import phases
from relocscope.break_even import BreakEven
from relocscope.comparison import speedup
from relocscope.contributions import Contribution, Decomposition
from relocscope.fixes import Fix
from relocscope.quantities import number_text, percent, seconds, signed
from relocscope.render import plain_table
from relocscope.runs import Run
from relocscope.sensitivity import Number, Sensitivity
from relocscope.within import Within

_QUIET = "dim"


def show_phases(out: Console, a: Run, b: Run) -> None:
    """Show what each phase took on both sides, at load time and at the reboot; nothing if only the relocation ran."""
    runs = (a, b)
    names = list(dict.fromkeys(str(phase["name"]) for run in runs for phase in run.phases))
    if set(names) <= phases.USUAL:
        return
    names.sort(key=lambda name: name not in phases.AT_LOAD)
    table = plain_table("phase", "A", "B", "A - B", right=(1, 2, 3))
    for name in names:
        when = " (when the image is loaded)" if name in phases.AT_LOAD else ""
        table.add_row(name + when, *_row([_spent(run, {name}) for run in runs]))
    at_reboot = {name for name in names if name not in phases.AT_LOAD}
    if len(at_reboot) < len(names):
        table.add_row("reboot alone", *_row([_spent(run, at_reboot) for run in runs]), style="bold")
    table.add_row("all", *_row([_spent(run, set(names)) for run in runs]), style="bold")
    out.print()
    out.print(table)


def _spent(run: Run, names: set[str]) -> float | None:
    found = [float(phase["seconds"]) for phase in run.phases if phase["name"] in names]
    return sum(found) if found else None


def _row(spent: Sequence[float | None]) -> list[str]:
    difference = (spent[0] or 0.0) - (spent[1] or 0.0)
    return [*("-" if one is None else seconds(one) for one in spent), f"{difference * 1e3:+.3f} ms"]


def show_contributions(out: Console, a: Run, b: Run, found: Decomposition) -> None:
    """Show what each mechanism has to do with the difference."""
    difference = a.cycles - b.cycles
    out.print()
    if speedup(a, b) is None:
        out.print("[bold]Nothing to decompose:[/] what a run costs that never arrives is no time to compare")
        return
    if not found.contributions:
        out.print(f"[bold]Nothing to decompose:[/] the difference is {signed(difference)} of {a.cycles:,} cycles")
        return
    table = plain_table("mechanism", "cycles", "share", right=(1, 2))
    for one in found.contributions:
        table.add_row(one.mechanism, signed(one.cycles), "-" if one.share is None else percent(one.share))
    out.print(f"[bold]Where the difference of {signed(difference)} cycles comes from[/] (Shapley values, exact sum)")
    out.print(table)
    for pair in found.interactions:
        both = " and ".join(pair.mechanisms)
        words = f"{percent(abs(pair.share))} {'more' if pair.share > 0 else 'less'} of it than one by one"
        out.print(Padding(f"{both} together explain {words}; each has half of that", (0, 0, 0, 2)))
    for one in found.contributions:
        if one.in_full is not None and one.sampled is not None:
            out.print(Padding(_confirmed_words(one, difference), (0, 0, 0, 2)))


def _confirmed_words(one: Contribution, difference: int) -> str:
    return (
        f"[{_QUIET}]with {one.mechanism} free of cost in both whole runs, {signed(difference - (one.in_full or 0))} "
        f"of the difference remain (slices: {signed(difference - (one.sampled or 0))})[/]"
    )


def show_within(out: Console, found: Within | None) -> None:
    """Show the parts of one contribution."""
    if found is None:
        return
    table = plain_table(f"within {found.mechanism}", "cycles", "share", right=(1, 2))
    for part in found.parts:
        if part.cycles:
            table.add_row(part.mechanism, signed(part.cycles), "-" if part.share is None else percent(part.share))
    table.add_row(found.mechanism, signed(sum(part.cycles for part in found.parts)), "", style="bold")
    out.print()
    out.print(table)


def show_break_even(out: Console, found: BreakEven | None) -> None:
    """Show from which size on a set-up pays."""
    if found is None:
        return
    out.print()
    out.print(f"[bold]Break-even[/] (runs at {len(found.points)} sizes)")
    out.print(Padding(f"{found.sentence}.", (0, 0, 0, 2)))


def show_fixes(out: Console, b: Run, found: Sequence[Fix]) -> None:
    """Show changes of B that help, with the settings that make them."""
    out.print()
    if b.operand is None or b.operand.case is None:
        is_program = b.operand is not None and b.operand.program is not None
        why = "B is a program of your own" if is_program else "B is a record of what ran, not a case to run again"
        out.print(f"[bold]No change can be tried:[/] {why}.")
        return
    if not found:
        out.print("[bold]No change that was tried, and no pair of them, makes B faster.[/]")
        return
    out.print("[bold]What would change it[/] (each one simulated)")
    for fix in found:
        out.print(Padding(escape(fix.sentence), (0, 0, 0, 2)))
        out.print(Padding(f"[{_QUIET}]--set: {escape(_settings(fix.set))}[/]", (0, 0, 0, 6)))


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()
    )


def show_sensitivity(out: Console, speedup: float | None, found: Sensitivity) -> None:
    """Show what the estimated numbers of the core do to the speed-up, and whether one of them changes the verdict."""
    out.print()
    counted = f"{found.estimated} numbers of the core are, {found.moving} matter here"
    out.print(f"[bold]What hangs on estimates[/] ({counted})")
    out.print(Padding(escape(found.sentence), (0, 0, 0, 2)))
    if speedup is None or found.low is None or found.high is None or not found.numbers:
        return
    whole = f"Speed-up {speedup:.3g}; all estimates together leave it between {found.low:.3g} and {found.high:.3g}."
    out.print(Padding(whole, (0, 0, 0, 2)))
    table = plain_table("number", "taken as", "may be", "speed-up", right=(1, 2, 3))
    for one in found.numbers:
        reached = sorted((speedup, *(at.speedup for at in one.at)))
        between = f"{reached[0]:.3g} to {reached[-1]:.3g}"
        table.add_row(one.key, number_text(one.value), _span(one), between)
    out.print(table)
    for one in found.numbers:
        for at in one.at:
            if at.in_full is not None:
                looked = f"{one.key} = {number_text(at.value)} in the whole runs: {at.in_full:.3g}"
                out.print(Padding(f"[{_QUIET}]{looked} (slices: {at.speedup:.3g})[/]", (0, 0, 0, 2)))


def _span(number: Number) -> str:
    between = " to " if len(number.span) == 2 else ", "
    return between.join(map(number_text, number.span))
