"""Phases: the stretches of a run that have a name, and what each of them cost. They sum to the whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from traces.fold import instruction_count
from traces.outcome import Outcome
from traces.schema import Mark, Phase
from traces.trace import Trace

AT_LOAD = frozenset({Phase.TABLES.label})
"""Phases that are over before the reboot begins: the kernel goes through them when an image is loaded."""

SET_UP = frozenset({Phase.TABLES.label, Phase.LIST_FLUSH.label})
"""What the old kernel does before the relocation, whatever the relocation then gains by it."""

USUAL = frozenset({Phase.SOFT_RESTART.label, Phase.RELOCATE.label})
"""Phases that are the relocation itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Executions first..stop of a trace, and the phase that they are."""

    name: str
    first: int
    stop: int


def stretches(trace: Trace) -> list[Stretch]:
    """Cut a run where its phases begin; what lies before the first mark is of the relocation. At least one."""
    marks = trace.marks[trace.marks["kind"] == Mark.PHASE]
    begins = [(0, Phase.RELOCATE), *((int(mark["at"]), Phase(int(mark["a"]))) for mark in marks)]
    ends = [*(at for at, _ in begins[1:]), len(trace.executions)]
    found = [
        Stretch(name=phase.label, first=first, stop=stop)
        for (first, phase), stop in zip(begins, ends, strict=True)
        if stop > first
    ]
    return found or [Stretch(name=Phase.RELOCATE.label, first=0, stop=0)]


def costs_of(
    trace: Trace, found: Sequence[Stretch], cycles_at: Mapping[int, int], costs: Outcome
) -> tuple[Mapping[str, object], ...]:
    """Return {name, when, cycles, seconds, instructions} of each stretch; `cycles_at`: when an execution began."""
    starts = [0, *(cycles_at[each.first] for each in found[1:]), costs.cycles]
    return tuple(
        {
            "name": each.name,
            "when": "load" if each.name in AT_LOAD else "reboot",
            "cycles": end - begin,
            "seconds": (end - begin) / costs.frequency_hz,
            "instructions": instruction_count(trace, each.first, each.stop),
        }
        for each, begin, end in zip(found, starts[:-1], starts[1:], strict=True)
    )
