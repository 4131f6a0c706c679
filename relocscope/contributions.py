"""Where a difference comes from: Shapley values over the mechanism groups of the model, exact to the last cycle.

For each run, the worth of a set of groups is what the run costs when only those groups cost anything; the Shapley value
of a group is its average marginal worth over all orders. What is left when every group is free is `instructions`.
Of long runs, a slice of each phase is replayed and scaled to what the phase costs in the whole run; the largest
contributions are then looked at in the whole runs.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from caches.mechanisms import GROUPS
from relocscope import phases
from relocscope.runs import Run
from relocscope.shapley import interaction, largest_remainder, shapley, subsets
from traces.fold import cut
from traces.trace import Trace

INSTRUCTIONS = "instructions"

SLICE_EXECUTIONS = 1 << 15
"""Executions of a slice: some 250 pages of a copy."""

LEAST_PHASE = 0.01
"""A phase that costs less of a run is not replayed: its cycles are taken to be as those of the longest one."""

NAMED_FROM = 0.05
"""Share of the difference from which on an interaction is named."""

CONFIRMED = 2
"""Contributions looked at in the whole runs."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Contribution:
    """What one mechanism has to do with the difference; `share` of it, None where there is none.

    `sampled` is by how much the difference shrinks, as the slices say, when the mechanism is free of cost; `in_full` is
    what the whole runs say of that, None of those that were not looked at.
    """

    mechanism: str
    cycles: int
    share: float | None
    sampled: int | None = None
    in_full: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Interaction:
    """What two mechanisms cost together beyond what they cost one by one; each one's contribution has half of it."""

    mechanisms: tuple[str, str]
    cycles: int
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decomposition:
    """The contributions, largest first, which sum to the difference, and what they do to each other."""

    contributions: tuple[Contribution, ...]
    interactions: tuple[Interaction, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A slice that is replayed, and the cycles of the whole run that it stands for."""

    trace: Trace
    cycles: int


def decompose(a: Run, b: Run, progress: Progress | None = None) -> Decomposition:
    """Decompose `a.cycles - b.cycles`, and look at the largest contributions in the whole runs."""
    return confirm(attribute(a, b, progress), a, b, progress)


def attribute(a: Run, b: Run, progress: Progress | None = None) -> Decomposition:
    """Decompose `a.cycles - b.cycles`; the integers sum to it exactly."""
    count = 1 << len(GROUPS)
    steps = Steps(progress, count * sum(len(pieces(run)) for run in (a, b)))
    of_a, of_b = (worths(run, steps) for run in (a, b))
    worth = {chosen: of_a[chosen] - of_b[chosen] for chosen in of_a}
    difference, everything = a.cycles - b.cycles, frozenset(GROUPS)
    exact = shapley(GROUPS, worth)
    exact[INSTRUCTIONS] = difference - sum(exact.values())
    found = [
        Contribution(
            mechanism=name,
            cycles=cycles,
            share=_share(cycles, difference),
            sampled=round(worth[everything] - worth[everything - {name}]) if name in everything else None,
        )
        for name, cycles in largest_remainder(exact, difference).items()
    ]
    found.sort(key=lambda one: -abs(one.cycles))
    return Decomposition(contributions=tuple(found), interactions=tuple(_interactions(worth, difference)))


class Steps:
    """Counts replays for a progress line."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def step(self, count: int = 1) -> None:
        """Count some."""
        self._done += count
        if self._progress:
            self._progress(min(self._done, self._total), self._total)


def _share(cycles: int, difference: int) -> float | None:
    if not difference:
        return None
    return cycles / difference if cycles else 0.0  # not the -0.0 of a negative difference


def worths(run: Run, steps: Steps) -> dict[frozenset[str], float]:
    """Return what the whole run costs when only these groups cost anything, for each set of groups."""
    total = dict.fromkeys(subsets(GROUPS), 0.0)
    for piece in pieces(run):
        found: dict[frozenset[str], int] = {}
        for costing in subsets(GROUPS):
            found[costing] = cost(run, piece.trace, frozenset(GROUPS) - costing)
            steps.step()
        whole = found[frozenset(GROUPS)]
        scale = piece.cycles / whole if whole else 0.0
        for costing, cycles in found.items():
            total[costing] += cycles * scale
    return total


def cost(run: Run, trace: Trace, free: Iterable[str]) -> int:
    """Replay a slice of a run, or all of it, with these groups or mechanisms free."""
    from caches import replay

    return replay(trace, run.config, ablate=free, initial=run.initial, seed=run.seed).cycles


def pieces(run: Run, executions: int | None = None) -> list[Piece]:
    """Return what of a run is replayed: all of a short one, else a slice of each phase that costs something."""
    executions = executions or SLICE_EXECUTIONS
    if len(run.trace.executions) <= executions:
        return [Piece(trace=run.trace, cycles=run.cycles)]
    stretches = phases.stretches(run.trace)
    costs = [int(phase["cycles"]) for phase in run.phases]
    longest = max(range(len(costs)), key=lambda place: costs[place])
    found: list[Piece] = []
    left = run.cycles
    for place, (stretch, cycles) in enumerate(zip(stretches, costs, strict=True)):
        if place != longest and cycles >= LEAST_PHASE * run.cycles:
            found.append(Piece(trace=_middle(run, stretch, executions), cycles=cycles))
            left -= cycles
    return [Piece(trace=_middle(run, stretches[longest], executions), cycles=left), *found]


def _middle(run: Run, stretch: phases.Stretch, executions: int) -> Trace:
    """Cut a slice around the middle of the copy, if the phase has it, or of the phase."""
    first, stop = stretch.first, stretch.stop
    if run.site and first <= run.site.first < stop:
        middle = (run.site.first + min(run.site.last, stop)) // 2
    else:
        middle = (first + stop) // 2
    length = min(executions, stop - first)
    start = min(max(first, middle - length // 2), stop - length)
    return cut(run.trace, start, start + length)


def confirm(found: Decomposition, a: Run, b: Run, progress: Progress | None = None) -> Decomposition:
    """Look at the largest contributions in the whole runs: by how much the difference shrinks without them.

    Not of runs whose own time is a sample: there is no whole to look at.
    """
    if any(run.operand is not None and run.operand.sample for run in (a, b)):
        return found
    largest = [one for one in found.contributions if one.cycles and one.mechanism in GROUPS][:CONFIRMED]
    steps, difference = Steps(progress, 2 * len(largest)), a.cycles - b.cycles
    checked: list[Contribution] = []
    for one in found.contributions:
        if one not in largest:
            checked.append(one)
            continue
        rest = [cost(run, run.trace, {one.mechanism}) for run in (a, b)]
        steps.step(len(rest))
        checked.append(replace(one, in_full=difference - (rest[0] - rest[1])))
    return replace(found, contributions=tuple(checked))


def _interactions(worth: Mapping[frozenset[str], float], difference: int) -> list[Interaction]:
    """Name the pairs of groups whose interaction is more than NAMED_FROM of the difference, largest first."""
    named: list[Interaction] = []
    for one, other in combinations(GROUPS, 2):
        cycles = round(interaction(GROUPS, worth, one, other))
        if difference and abs(cycles) > NAMED_FROM * abs(difference):
            named.append(Interaction(mechanisms=(one, other), cycles=cycles, share=cycles / difference))
    return sorted(named, key=lambda pair: -abs(pair.cycles))
