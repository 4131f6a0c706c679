"""What of a sampled sweep is replayed in full: the best points, and those beside which two cases change places."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from relocscope.sweeping.keys import bare
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.table import BEST

Row = Mapping[str, Any]


def to_confirm(plan: Plan, rows: Sequence[Row]) -> set[int]:
    """Return the points to be replayed in full: the ten best, and those at a crossing."""
    arrived = [row for row in rows[len(plan.cases) - 1 :: len(plan.cases)] if row["speedup"] is not None]
    by_gain = len(plan.cases) > 1
    best = sorted(arrived, key=lambda row: (-row["speedup"] if by_gain else row["seconds"], row["point"]))[:BEST]
    return {row["point"] for row in best} | _crossings(plan, arrived)


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
