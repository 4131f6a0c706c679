"""What the times of a sweep hang on, for people."""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from relocscope.answers.indices import Answered, Mover, Sensitivities, listed, weight
from relocscope.quantities import percent
from relocscope.render import plain_table
from relocscope.sweeping.keys import bare, key
from traces.sizes import parse_size, size_text

LISTED = 15
"""Keys shown of each answer."""

MOST_VALUES = 3
"""Values of a key that are shown one by one."""

_METHODS: Mapping[str, str] = {
    "morris": "Morris' elementary effects",
    "sobol-indices": "Sobol' indices",
    "one-at-a-time": "one key at a time",
}


def show_sensitivities(out: Console, found: Sensitivities) -> None:
    """Show each answer with the keys that move it, most first."""
    plan = found.table.plan
    points = len({row["point"] for row in found.table.rows})
    out.print(" against ".join(escape(case) for case in plan.cases))
    out.print(f"{_METHODS[found.method]} of {len(plan.ranges)} keys, {points:,} points{_groups(found)}")
    for answer in found.answers:
        out.print()
        _show_answer(out, found.method, answer)
    out.print()
    out.print(_EXPLAINED[found.method], style="dim")


def _groups(found: Sensitivities) -> str:
    words = {"morris": "trajectories", "sobol-indices": "samples", "one-at-a-time": "points"}[found.method]
    if not found.left_out:
        return "" if found.method == "one-at-a-time" else f" in {found.groups} {words}"
    return f"; {found.left_out} of {found.groups + found.left_out} {words} left out: a point cannot be or has no time"


def _show_answer(out: Console, method: str, answer: Answered) -> None:
    what = "speed-up" if answer.what == "speedup" else f"time of {answer.case}"
    usual = "" if answer.usual is None else f", as it is {amount(answer, answer.usual)}"
    reach = f"{amount(answer, answer.low)} to {amount(answer, answer.high)}"
    if method == "one-at-a-time" and answer.interval is not None:
        low, high = answer.interval
        usual += f", all together {amount(answer, low)} to {amount(answer, high)}"
    out.print(f"[bold]{escape(what)}[/]: {reach}{usual}")
    shown_movers = listed(answer)[:LISTED]
    if not weight(shown_movers[0]):
        out.print("  nothing of it moves that")
        return
    columns = {"morris": ("moves it by", "", "uneven"), "sobol-indices": ("alone", "", "in all", "")}
    heads = ("key", "values", *columns.get(method, ("from", "to")))
    shown = plain_table(*heads, right=range(2, len(heads)))
    for column in (shown.columns[0], *shown.columns[2:]):
        column.no_wrap = True
    for mover in shown_movers:
        shown.add_row(escape(mover.key), escape(_values(mover)), *_figures(method, answer, mover))
    out.print(shown)
    if len(answer.movers) > len(shown_movers):
        out.print(f"and {len(answer.movers) - len(shown_movers)} keys that move it less, or not at all")


def _figures(method: str, answer: Answered, mover: Mover) -> tuple[str, ...]:
    given = mover.numbers
    if method == "morris":
        effect = given["mu_star"]
        direction = "-" if effect and abs(effect + (given["mu"] or 0.0)) < 1e-9 * effect else ""
        direction = "+" if effect and abs(effect - (given["mu"] or 0.0)) < 1e-9 * effect else direction
        return (
            direction + _amount(answer, effect),
            f"±{_amount(answer, given['mu_star_conf'])}",
            _amount(answer, given["sigma"]),
        )
    if method == "sobol-indices":
        return (
            _share(given["s1"]),
            f"±{_share(given['s1_conf'])}",
            _share(given["st"]),
            f"±{_share(given['st_conf'])}",
        )
    return _amount(answer, given["low"]), _amount(answer, given["high"])


def _values(mover: Mover) -> str:
    name = bare(mover.key)
    unit = key(name).unit
    each_value = mover.values.split(",")
    if unit == "bytes" and len(each_value) > 1:
        each_value = [size_text(parse_size(each, name)) for each in each_value]
    if len(each_value) > MOST_VALUES:
        return f"{each_value[0]}, ... {each_value[-1]}"
    if unit == "bytes":
        return ", ".join(each_value)
    text = mover.values.removesuffix(":log").replace("..", " to ").replace(",", ", ")
    return f"{text} {unit}" if unit and " to " in text else text


def _amount(answer: Answered, value: float | None) -> str:
    return "-" if value is None else amount(answer, value)


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def amount(answer: Answered, value: float) -> str:
    """Write an answer, or a part of it, for people."""
    if answer.what == "speedup":
        return f"{value:.3g}"
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * scale >= 1:
            return f"{value * scale:,.3g} {unit}" if value * scale < 1000 else f"{value * scale:,.0f} {unit}"
    return f"{value * 1e9:.3g} ns"


_EXPLAINED: Mapping[str, str] = {
    "morris": "moves it by: what all of a key's values do, the mean of many places of the other keys; + or - where it "
    "goes one way everywhere; ±: 95 % interval. uneven: standard deviation from place to place.",
    "sobol-indices": "alone: share of the variance that a key explains by itself; in all: with what it does together "
    "with others, so that these add up to more than 100 %; ±: 95 % interval.",
    "one-at-a-time": "from, to: with that key alone at each of its values. All together: the keys as independent.",
}
