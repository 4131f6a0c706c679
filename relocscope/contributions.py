"""Where a difference comes from: Shapley values over the mechanism groups of the model, exact to the last cycle.

For each run, the worth of a set of groups is what the run costs when only those groups cost anything; the Shapley value
of a group is its average marginal worth over all orders. What is left when every group is free is `instructions`.
Long runs are replayed on a slice from their middle and scaled to the whole run's cycles.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import factorial

from caches.mechanisms import GROUPS
from relocscope.runs import Run
from traces.fold import cut
from traces.trace import Trace

INSTRUCTIONS = "instructions"

SLICE_EXECUTIONS = 1 << 15
"""Executions of the slice: some 250 pages of a copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contribution:
    """What one mechanism has to do with the difference; `share` of it, None where there is none."""

    mechanism: str
    cycles: int
    share: float | None


def contributions(a: Run, b: Run, progress: Callable[[int, int], None] | None = None) -> list[Contribution]:
    """Decompose `a.cycles - b.cycles`; the integers sum to it exactly, largest first."""
    sides = [_parts(run, progress, index) for index, run in enumerate((a, b))]
    exact = {name: sides[0][name] - sides[1][name] for name in (*GROUPS, INSTRUCTIONS)}
    difference = a.cycles - b.cycles
    rounded = largest_remainder(exact, difference)
    found = [
        Contribution(mechanism=name, cycles=cycles, share=_share(cycles, difference))
        for name, cycles in rounded.items()
    ]
    return sorted(found, key=lambda one: -abs(one.cycles))


def _share(cycles: int, difference: int) -> float | None:
    if not difference:
        return None
    return cycles / difference if cycles else 0.0  # not the -0.0 of a negative difference


def shapley(worth: Mapping[frozenset[str], float]) -> dict[str, float]:
    """Return each group's average marginal worth over all orders; `worth` has every subset of GROUPS."""
    count = len(GROUPS)
    values = dict.fromkeys(GROUPS, 0.0)
    for group in GROUPS:
        others = [other for other in GROUPS if other != group]
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for chosen in combinations(others, size):
                with_group = frozenset((*chosen, group))
                values[group] += weight * (worth[with_group] - worth[frozenset(chosen)])
    return values


def largest_remainder(exact: Mapping[str, float], total: int) -> dict[str, int]:
    """Round to integers that sum to `total`: floors, then one more where the remainder is largest.

    The exact values must sum to `total` up to rounding of floating point.
    """
    floors = {name: int(value // 1) for name, value in exact.items()}
    missing = total - sum(floors.values())
    order = sorted(exact, key=lambda name: floors[name] - exact[name])
    for step in range(abs(missing)):
        floors[order[step % len(order)]] += 1 if missing > 0 else -1
    return floors


def subsets() -> Iterator[frozenset[str]]:
    """Yield every set of groups."""
    for size in range(len(GROUPS) + 1):
        for chosen in combinations(GROUPS, size):
            yield frozenset(chosen)


def _parts(run: Run, progress: Callable[[int, int], None] | None, side: int) -> dict[str, float]:
    from caches import replay

    trace = slice_of(run)
    worth: dict[frozenset[str], float] = {}
    count = 1 << len(GROUPS)
    for done, costing in enumerate(subsets()):
        free = frozenset(GROUPS) - costing
        worth[costing] = replay(trace, run.config, ablate=free, initial=run.initial, seed=run.seed).cycles
        if progress:
            progress(side * count + done + 1, 2 * count)
    whole = worth[frozenset(GROUPS)]
    scale = run.cycles / whole if whole else 0.0
    parts = {name: value * scale for name, value in shapley(worth).items()}
    return parts | {INSTRUCTIONS: run.cycles - sum(parts.values())}


def slice_of(run: Run, executions: int = SLICE_EXECUTIONS) -> Trace:
    """Return the whole trace where it is short, else a slice around the middle of the copy, or of the run."""
    total = len(run.trace.executions)
    if total <= executions:
        return run.trace
    middle = (run.site.first + run.site.last) // 2 if run.site else total // 2
    start = min(max(0, middle - executions // 2), total - executions)
    return cut(run.trace, start, start + executions)
