"""Sentences that answer a plan's question, each made of the numbers in the sweep's rows."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from relocscope.answers.question import Question
from relocscope.focus import SAME_WITHIN
from relocscope.sweeping.keys import bare, key
from traces.sizes import size_text

if TYPE_CHECKING:
    from relocscope.sweeping.table import Table

SAME = 1 + SAME_WITHIN
"""Times closer than that are the same time (docs/decisions.md, "The verdict looks at deeds")."""

Row = Mapping[str, Any]


def answer(table: "Table", question: Question) -> list[str]:
    """Return the answer, a sentence each; what the rows do not tell is said to be not told."""
    if question.rule == "crossing":
        return [
            _crossing(table, place, rows, question.key, level)
            for place, rows in _lines(table, bare(question.key)).items()
            for level in question.levels
        ]
    return [_effect(table, case, words, keys) for case in table.plan.cases for words, keys in question.factors.items()]


def _effect(table: "Table", case: str, words: str, keys: Sequence[str]) -> str:
    """Say how much the slowest of the factor's values takes over the quickest, where that is most."""
    others = [name for name in _swept(table) if name not in keys]
    places: dict[tuple[Any, ...], list[Row]] = {}
    for row in table.rows:
        if row["case"] == case and row["outcome"] == "completed":
            places.setdefault(tuple(row[name] for name in others), []).append(row)
    spans = []
    for place, rows in places.items():
        ordered = sorted(rows, key=lambda row: (row["seconds"], row["point"]))
        spans.append((ordered[-1]["seconds"] / ordered[0]["seconds"], place, ordered[0], ordered[-1]))
    if not spans or all(low is high for _, _, low, high in spans):
        return f"{case}: what {words} does is not answered: it does not arrive at two values."
    most, place, low, high = max(spans, key=lambda span: span[0])
    where = f" at {settings(others, place)}" if others else ""
    if most < SAME:
        return f"{case}: {words} makes no difference: at most {most:.3f} times as long{where}, within 5 %."
    quick, slow = (settings(keys, [row[name] for name in keys]) for row in (low, high))
    least = min(span[0] for span in spans)
    range_of = f"; elsewhere as little as {least:.2f} times" if len(spans) > 1 and least < most / SAME else ""
    return (
        f"{case}: {words} matters: {slow} takes {most:.2f} times as long as {quick}, "
        f"{milliseconds(high)} for {milliseconds(low)}{where}{range_of}."
    )


def _lines(table: "Table", along: str) -> dict[str, list[Row]]:
    """Return the points with a speed-up in the order of a key, for each place in the other keys, which it names."""
    others = [name for name in _swept(table) if name != along]
    lines: dict[str, list[Row]] = {}
    for row in table.rows:
        if row["side"] == "b" and row[along] is not None:
            line = lines.setdefault(settings(others, [row[name] for name in others]), [])
            if row["speedup"] is not None:
                line.append(row)
    return {place: sorted(rows, key=lambda row: float(row[along])) for place, rows in lines.items()}


def _crossing(table: "Table", place: str, rows: Sequence[Row], along: str, level: float) -> str:
    """Say at which value of the key the speed-up of the second case over the first passes a level."""
    name, (a, b) = bare(along), table.plan.cases
    what = f"{b} {_pace(level)} {a}"
    if place:
        what = f"{place}: {what}"
    if not rows:
        return f"{what}: not answered, the two arrive together nowhere."
    passed = [(one, two) for one, two in pairwise(rows) if (one["speedup"] < level) != (two["speedup"] < level)]
    if not passed:
        ends = " and ".join(f"{_pace(row['speedup'])} {a} at {value(name, row[name])}" for row in (rows[0], rows[-1]))
        return f"{what} at no {name} from {value(name, rows[0][name])} to {value(name, rows[-1][name])}: it {ends}."
    found = [
        f"{value(name, _between(one, two, name, level))} ({value(name, one[name])} to {value(name, two[name])})"
        for one, two in passed
    ]
    direction = "and slower above it" if passed[-1][1]["speedup"] < level else "and faster above it"
    return f"{what} at {name} = about {' and '.join(found)}, {direction if len(passed) == 1 else 'back and forth'}."


def _pace(speedup: float) -> str:
    """Say how fast one is, up to the name of the other: as a multiple of its time where it is slower."""
    if speedup == 1:
        return "is as fast as"
    return f"takes {1 / speedup:.3g} times as long as" if speedup < 1 else f"is {speedup:.3g} times as fast as"


def _between(one: Row, two: Row, name: str, level: float) -> float:
    """Return where a straight line between two points, both axes by ratios, passes the level."""
    share = math.log(level / one["speedup"]) / math.log(two["speedup"] / one["speedup"])
    low, high = float(one[name]), float(two[name])
    if low <= 0:
        return low + (high - low) * share
    return float(low * (high / low) ** share)


def settings(names: Sequence[str], values: Sequence[Any]) -> str:
    """Write keys with their values for people."""
    return ", ".join(f"{name}={value(name, each)}" for name, each in zip(names, values, strict=True))


def value(name: str, of: Any) -> str:
    """Write one value of a key for people: sizes with their unit, numbers to three digits where they are no counts."""
    if of is None or isinstance(of, str | bool):
        return str(of).lower() if isinstance(of, bool) else str(of)
    if key(name).unit == "bytes":
        return size_text(round(of)) if isinstance(of, int) else f"{of / 1024:.3g} KiB"
    unit = key(name).unit
    return f"{of:.3g} {unit}" if isinstance(of, float) and unit else f"{of:g}"


def milliseconds(row: Row) -> str:
    """Write the time of a row in milliseconds."""
    return f"{row['seconds'] * 1e3:.4g} ms"


def _swept(table: "Table") -> list[str]:
    return list(dict.fromkeys(map(bare, table.plan.swept)))
