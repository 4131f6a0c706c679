"""What of a sampled sweep is replayed in full: the best points, and those beside which two cases change places."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from relocscope.sweeping.designs import ASKING
from relocscope.sweeping.keys import bare
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.table import best_of

Row = Mapping[str, Any]


def to_confirm(plan: Plan, rows: Sequence[Row]) -> set[int]:
    """Return the points to be replayed in full: the ten best, and of two cases those at a crossing."""
    if plan.ranges and plan.design in ASKING:  # what it asks about are all of its points, timed in one way
        return set()
    chosen = {row["point"] for row in best_of(plan, rows)}
    if len(plan.cases) > 1:
        chosen |= _crossings(plan, [row for row in rows if row["side"] == "b" and row["speedup"] is not None])
    return chosen


def _crossings(plan: Plan, rows: Sequence[Row]) -> set[int]:
    """Return points whose neighbour along one swept key is on the other side of a speed-up of 1."""
    swept = list(dict.fromkeys(map(bare, plan.swept)))
    found: set[int] = set()
    for name in swept:
        lines: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            lines.setdefault(tuple(row[other] for other in swept if other != name), []).append(row)
        for line in lines.values():
            for one, next_one in pairwise(line):
                if (one["speedup"] > 1) != (next_one["speedup"] > 1):
                    found |= {one["point"], next_one["point"]}
    return found
