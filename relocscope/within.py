"""Inside one group: what each of its mechanisms has to do with the group's contribution, by Owen's value.

The other groups come and go whole, as for the group's own Shapley value; inside it, every order of its mechanisms
counts the same. So the parts sum to the contribution.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import factorial

from caches.mechanisms import GROUPS, mechanism_names
from relocscope.contributions import Contribution, Piece, Steps, cost, pieces
from relocscope.runs import Run
from relocscope.shapley import largest_remainder, subsets
from traces.errors import InputError

SLICE_EXECUTIONS = 1 << 12
"""Shorter than for the groups: a group of six mechanisms is replayed two thousand times a side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one mechanism has to do with the difference; `share` of it, None where there is none."""

    mechanism: str
    cycles: int
    share: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Within:
    """One group's contribution, taken apart; largest part first."""

    mechanism: str
    parts: tuple[Part, ...]


def check_group(group: str) -> str:
    """Return the group; InputError where there is none of that name."""
    if group not in GROUPS:
        raise InputError(f"--within: {group!r} must be one of {', '.join(GROUPS)}")
    return group


def within(a: Run, b: Run, whole: Contribution, progress: Callable[[int, int], None] | None = None) -> Within:
    """Take the contribution of one group apart; the integers sum to it exactly."""
    group = check_group(whole.mechanism)
    members = tuple(sorted(mechanism_names([group])))
    cut = [(run, piece) for run in (a, b) for piece in pieces(run, SLICE_EXECUTIONS)]
    live = [_live(run, piece, group, members) for run, piece in cut]
    steps = Steps(progress, sum(1 << len(GROUPS) - 1 + len(names) for names in live))
    exact = dict.fromkeys(members, 0.0)
    for (run, piece), names in zip(cut, live, strict=True):
        for name, value in _owen(run, piece, group, names, frozenset(members), steps).items():
            exact[name] += value if run is a else -value
    rest, size = whole.cycles - sum(exact.values()), sum(abs(value) for value in exact.values())
    if size:
        exact = {name: value + rest * abs(value) / size for name, value in exact.items()}
    else:
        exact[members[0]] = whole.cycles
    difference = a.cycles - b.cycles
    parts = [
        Part(mechanism=name, cycles=cycles, share=cycles / difference if difference else None)
        for name, cycles in largest_remainder(exact, whole.cycles).items()
    ]
    return Within(mechanism=group, parts=tuple(sorted(parts, key=lambda one: -abs(one.cycles))))


def _live(run: Run, piece: Piece, group: str, members: tuple[str, ...]) -> tuple[str, ...]:
    """Return the mechanisms that make a difference alone, last, or last of their group; the others have no part."""
    others = frozenset(GROUPS) - {group}
    everything = frozenset((*others, *members))

    def matters(member: str) -> bool:
        return any(
            cost(run, piece.trace, free | {member}) != cost(run, piece.trace, free - {member})
            for free in (frozenset[str](), others, everything)
        )

    return tuple(member for member in members if matters(member))


def _owen(
    run: Run, piece: Piece, group: str, members: tuple[str, ...], silent: frozenset[str], steps: Steps
) -> Mapping[str, float]:
    """Return the Owen value of each mechanism of the group, in cycles of the whole run."""
    scale = piece.cycles / (cost(run, piece.trace, frozenset()) or 1)
    values = dict.fromkeys(members, 0.0)
    others = [name for name in GROUPS if name != group]
    for costing, weight in _weighted(others, len(GROUPS)):
        worth: dict[frozenset[str], int] = {}
        for on in subsets(members):
            free = (frozenset(others) - costing) | (silent - on)
            worth[on] = cost(run, piece.trace, free)
            steps.step()
        for member in members:
            rest = [name for name in members if name != member]
            for on, inner in _weighted(rest, len(members)):
                values[member] += scale * weight * inner * (worth[on | {member}] - worth[on])
    return values


def _weighted(others: list[str], count: int) -> Iterator[tuple[frozenset[str], float]]:
    """Yield every set of the others, with the share of the `count`! orders in which it comes just before one."""
    for chosen in subsets(others):
        yield chosen, factorial(len(chosen)) * factorial(count - len(chosen) - 1) / factorial(count)
