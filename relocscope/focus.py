"""Focus: what a verdict is about. The copy, unless most of the difference of two runs lies in another phase."""

from collections.abc import Mapping
from dataclasses import dataclass

from relocscope import phases
from relocscope.runs import Run
from traces.fold import data_types, fetch_types, labelled, stretches, walk_types

COPY = "copy"

SAME_WITHIN = 0.05
"""Two times that differ by less are the same: the model claims no more."""

MOST = 0.5
"""What is more than this share of a difference is most of it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Focus:
    """The copy of a run, or a phase: the epoch that most of it ran under, and its accesses by name of memory type."""

    name: str
    first: int
    """First execution; `last` is the last one."""
    last: int
    epoch: int
    data: Mapping[str, int]
    fetch: Mapping[str, int]
    walk: Mapping[str, int]


def focus_of(run: Run, name: str) -> Focus | None:
    """Return what the run has of that name; None where it has nothing."""
    return _copy(run) if name == COPY else _phase(run, name)


def differing(a: Run, b: Run) -> str:
    """Return the name of what most of the difference lies in: a phase, else the copy with what leads to it."""
    difference = a.seconds - b.seconds
    if abs(difference) <= SAME_WITHIN * b.seconds:
        return COPY
    names = dict.fromkeys(str(phase["name"]) for run in (a, b) for phase in run.phases)
    for name in names:
        if name not in phases.USUAL and (spent(a, name) - spent(b, name)) / difference > MOST:
            return name
    return COPY


def spent(run: Run, name: str) -> float:
    """Return the seconds that the run spends in its phases of that name."""
    return sum(float(phase["seconds"]) for phase in run.phases if phase["name"] == name)


def _copy(run: Run) -> Focus | None:
    if run.site is None or run.copy is None:
        return None
    types: Mapping[str, Mapping[str, int]] = run.copy["memory_types"]
    site = run.site
    return Focus(name=COPY, first=site.first, last=site.last, epoch=site.epoch, **types)


def _phase(run: Run, name: str) -> Focus | None:
    trace = run.trace
    found = [each for each in phases.stretches(trace) if each.name == name]
    if not found:
        return None
    first, stop = found[0].first, found[-1].stop
    longest = max(stretches(trace, first, stop), key=lambda one: one[2] - one[1])
    return Focus(
        name=name,
        first=first,
        last=stop - 1,
        epoch=longest[0],
        data=labelled(data_types(trace, first, stop)),
        fetch=labelled(fetch_types(trace, first, stop)),
        walk=labelled(walk_types(trace, first, stop)),
    )
