"""Search: where in a run something happens, found in its trace, forwards or backwards, a window at a time.

A Condition takes a trace and a window of executions and returns the places in it, in order, as rows of
(execution, instructions of it before the one meant).
"""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from traces.expand import accesses, executed_counts
from traces.schema import Mark
from traces.trace import Records, Trace

Places = NDArray[np.int64]
Condition = Callable[[Trace, int, int], Places]

_FIRST_WINDOW, _LAST_WINDOW = 1 << 8, 1 << 17
"""Executions looked at at once; doubled each time that nothing is found."""


def first_after(
    trace: Trace, condition: Condition, place: tuple[int, int], end: tuple[int, int]
) -> tuple[int, int] | None:
    """Return the first place where it holds that is not before `place`, but before `end`; None where there is none."""
    start, window = place[0], _FIRST_WINDOW
    last = min(end[0] + (end[1] > 0), len(trace.executions))
    while start < last:
        stop = min(start + window, last)
        for execution, insns in condition(trace, start, stop).tolist():
            if place <= (execution, insns) < end:
                return execution, insns
        start, window = stop, min(2 * window, _LAST_WINDOW)
    return None


def last_before(
    trace: Trace, condition: Condition, place: tuple[int, int], begin: tuple[int, int] = (0, 0)
) -> tuple[int, int] | None:
    """Return the last place where it holds that is before `place`, but not before `begin`; None where there is none."""
    stop, window = min(place[0] + 1, len(trace.executions)), _FIRST_WINDOW
    while stop > begin[0]:
        start = max(begin[0], stop - window)
        for execution, insns in reversed(condition(trace, start, stop).tolist()):
            if begin <= (execution, insns) < place:
                return execution, insns
        stop, window = start, min(2 * window, _LAST_WINDOW)
    return None


def instructions(chosen: Callable[[Records], NDArray[np.bool_]]) -> Condition:
    """Where an instruction is executed that `chosen` says True of (it is given rows of Trace.insns)."""

    def places(trace: Trace, start: int, stop: int) -> Places:
        blocks = trace.blocks
        marked = np.concatenate([np.zeros(1, np.int64), np.cumsum(chosen(trace.insns))])
        first = blocks["first"].astype(np.int64)
        holds = marked[first + blocks["count"].astype(np.int64)] > marked[first]
        ran = trace.executions[start:stop]
        rows: list[tuple[int, int]] = []
        counts = executed_counts(trace, start, stop)
        for at in np.flatnonzero(holds[ran]).tolist():
            begin = int(first[ran[at]])
            inside = np.flatnonzero(np.diff(marked[begin : begin + int(counts[at]) + 1]))
            rows.extend((start + at, int(each)) for each in inside)
        return _rows(rows)

    return places


def at_address(va: int) -> Condition:
    """Where the instruction at `va` is executed."""
    return instructions(lambda insns: insns["va"] == np.uint64(va))


def touching(chosen: Callable[[Records], NDArray[np.bool_]]) -> Condition:
    """Where an access is made that `chosen` says True of (it is given rows of traces.expand.ACCESS)."""

    def places(trace: Trace, start: int, stop: int) -> Places:
        table = accesses(trace, start, stop)
        table = table[chosen(table)]
        first = trace.blocks["first"].astype(np.int64)[trace.executions[table["execution"].astype(np.int64)]]
        return np.stack([table["execution"].astype(np.int64), table["insn"].astype(np.int64) - first], axis=1)

    return places


def overlapping(start: int, size: int, field: str = "pa") -> Callable[[Records], NDArray[np.bool_]]:
    """Whether an access touches any of [start, start + size), by `pa` or by `va`."""

    def chosen(table: Records) -> NDArray[np.bool_]:
        # Modulo 2**64, so that neither end can overflow.
        into = table[field] - np.uint64(start % (1 << 64))
        back = np.uint64(start % (1 << 64)) - table[field]
        hit: NDArray[np.bool_] = (into < np.uint64(size)) | (back < np.maximum(table["size"], 1).astype(np.uint64))
        return hit

    return chosen


def beginning(
    kinds: Collection[Mark], chosen: Callable[[Trace, Records], NDArray[np.bool_]] | None = None
) -> Condition:
    """Before the execution at which a mark of these kinds stands, that `chosen` says True of."""

    def places(trace: Trace, start: int, stop: int) -> Places:
        marks = trace.marks[np.isin(trace.marks["kind"], [int(kind) for kind in kinds])]
        marks = marks[(marks["at"] >= start) & (marks["at"] < stop)]
        if chosen is not None:
            marks = marks[chosen(trace, marks)]
        return _rows([(int(at), 0) for at in np.unique(marks["at"])])

    return places


def _rows(rows: list[tuple[int, int]]) -> Places:
    return np.array(rows, np.int64).reshape(len(rows), 2)
