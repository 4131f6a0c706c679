"""What it takes to reach a time, for people."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from relocscope.answers.reaching import Change, Missed, Reach, Reached
from relocscope.answers.sentences import value
from relocscope.quantities import seconds
from relocscope.render import plain_table


def show_reach(out: Console, found: Reach) -> None:
    """Show the changes that reach the target, smallest first, and how near the others come."""
    usual, target = seconds(found.usual_seconds), seconds(found.target_seconds)
    ratio = found.usual_seconds / found.target_seconds
    out.print(
        f"{escape(found.case)} on {escape(found.core)}: {usual}; to be reached: {target} ({ratio:.3g} times as fast)"
    )
    if ratio <= 1:
        out.print("It is as fast as that already.")
        return
    out.print()
    _show_reached(out, found)
    _show_missed(out, found)
    if found.without_effect:
        out.print(f"without effect: {escape(', '.join(found.without_effect))}")


def _show_reached(out: Console, found: Reach) -> None:
    if not found.reached:
        named = "None of these numbers reaches it" if found.missed else "Nothing that was tried changes the time."
        out.print(f"{named} within its range, alone or two together." if found.missed else named)
        out.print()
        return
    shown = plain_table("number", "is", "must be", "change", "then", right=(1, 3, 4))
    for each in found.reached:
        for number, change in enumerate(each.changes):
            then = seconds(each.seconds) if number == len(each.changes) - 1 else "and"
            shown.add_row(change.key, *map(escape, (_text(change, change.usual), _must(change), _times(change))), then)
    out.print(shown)
    for line in (*map(_broken, found.reached), *map(_uneven, found.reached)):
        if line:
            out.print(escape(line))
    out.print()


def _must(change: Change) -> str:
    if change.times is None or change.until is not None:
        return _text(change, change.value)
    return f"{'at least' if change.value > change.usual else 'at most'} {_text(change, change.value)}"


def _times(change: Change) -> str:
    return "-" if change.times is None else f"x{change.times:.3g}"


def _text(change: Change, of: Any) -> str:
    text = value(change.key, of)
    return text if len(text) <= 18 else text[:17] + "…"


def _names(each: Reached | Missed) -> str:
    return " with ".join(change.key for change in each.changes)


def _broken(each: Reached) -> str:
    """Say up to where it holds, if not all the way."""
    if each.changes[0].until is None:
        return ""
    upto = ", ".join(f"{_text(change, change.until)}" for change in each.changes)
    return f"{_names(each)}: looked at beyond that, it holds to {upto} and not farther"


def _uneven(each: Reached) -> str:
    return "" if each.evenly else f"{_names(each)}: the time does not fall evenly on the way; looked at more finely"


def _show_missed(out: Console, found: Reach) -> None:
    if not found.missed:
        return
    out.print("Cannot reach it within their range, however near they come:")
    shown = plain_table("number", "is", "best is", "then", right=(1, 3))
    near = [each for each in found.missed if each.in_full]
    for each in near:
        for number, change in enumerate(each.changes):
            then = seconds(each.seconds) if number == len(each.changes) - 1 else "and"
            shown.add_row(change.key, *map(escape, (_text(change, change.usual), _text(change, change.value))), then)
    out.print(shown)
    if len(found.missed) > len(near):
        out.print(f"and {len(found.missed) - len(near)} more, which come less near")
    out.print()
