"""A calibration for people, as render.py shows runs."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from relocscope.calibration import Calibration
from relocscope.calibration.calibrate import Residual, figure_text
from relocscope.render import plain_table


def show_calibration(out: Console, found: Calibration, target: Path | None) -> None:
    """Show what was fitted from what to what, what is left of each measurement, and what they do not determine."""
    if found.fitted:
        table = plain_table("fitted", "from", "to", "nine tenths", right=(1, 2, 3))
        for one in found.fitted:
            table.add_row(one.key, f"{one.before:g}", f"{one.after:g}", f"{one.low:g} to {one.high:g}")
        out.print(table)
        for one in found.fitted:
            if one.at_bound:
                out.print(
                    Padding(f"[bold yellow]{one.key} went as far as it may: something else is wrong.[/]", (0, 0, 0, 2))
                )
            elif one.outside:
                out.print(Padding(f"{one.key} is outside the range that {escape(found.core)} states.", (0, 0, 0, 2)))
    else:
        out.print("[bold]Nothing could be fitted.[/]")
    out.print()
    _show_residuals(out, found)
    _show_problems(out, found)
    _show_open(out, found)
    if target is not None:
        out.print()
        out.print(
            f"Written to {escape(str(target))}; --core {escape(str(target))} takes it everywhere.", soft_wrap=True
        )


def _show_residuals(out: Console, found: Calibration) -> None:
    table = plain_table("measurement", "measured", "model before", "after", "off by", right=(1, 2, 3, 4))
    for one in found.observations:
        off = f"{one.off_before:+.0%} -> {one.off_after:+.0%}" if one.used else "left out"
        cells = [figure_text(value, one.unit) for value in (one.measured, one.before, one.after)]
        table.add_row(escape(_name(one, found)), *cells, off)
    out.print(table)


def _name(one: Residual, found: Calibration) -> str:
    """Name the file, too, where there are several."""
    several = len({each.source for each in found.observations}) > 2
    return f"{one.name} ({Path(one.source).name})" if several and one.source != "--observed" else one.name


def _show_problems(out: Console, found: Calibration) -> None:
    if found.contradictions:
        out.print()
        out.print("[bold yellow]These measurements contradict each other:[/]")
        for one in found.contradictions:
            out.print(Padding(f"{escape(one['sentence'])}.", (0, 0, 0, 2)))
    far = [one.name for one in found.observations if one.used and abs(one.off_after) > max(0.15, 3 * found.error)]
    if far:
        out.print()
        out.print(f"[bold yellow]Not met:[/] {escape(', '.join(far))}. No number that may be fitted does that.")


def _show_open(out: Console, found: Calibration) -> None:
    why: dict[str, list[str]] = {}
    for one in found.undetermined:
        why.setdefault(one.sentence, []).append(one.key)
    if why:
        out.print()
        out.print("Left as the preset has them:")
        for sentence, keys in why.items():
            out.print(Padding(f"{', '.join(keys)}: {sentence}", (0, 0, 0, 2)))
    aside: dict[str, int] = {}
    for _, reason in found.aside:
        aside[reason] = aside.get(reason, 0) + 1
    for reason, count in aside.items():
        out.print(Padding(f"[dim]{count} not used: {escape(reason)}[/]", (0, 0, 0, 2)))
