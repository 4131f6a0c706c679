"""Windows: a stretch of a run from one instruction to another, and its instructions one row each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.expand import NO_PA, NO_TYPE, chunks, executed_counts, execution_epochs
from traces.schema import PAGE_BYTES, Access, Role
from traces.trace import Records, Trace

CHUNK_EXECUTIONS = 1 << 15
"""Executions unfolded at a time: some 300,000 instructions of a copy loop."""

_COUNTED_EXECUTIONS = 1 << 20

_STORES = (Access.STORE, Access.LOAD_STORE, Access.ZERO)


class Place(NamedTuple):
    """Before an instruction: that many into that execution of a block."""

    execution: int
    insns: int


@dataclass(frozen=True, slots=True)
class Window:
    """The instructions from one place of a run up to another."""

    first: Place
    stop: Place
    number: int
    """Instructions of the run before `first`."""
    instructions: int


EXECUTED = np.dtype(
    [
        ("number", "<u8"),  # instructions of the run before it
        ("execution", "<u8"),  # index in Trace.executions
        ("insn", "<u4"),  # row of Trace.insns
        ("epoch", "<u4"),  # row of Trace.epochs
        ("va", "<u8"),  # of its access; 0 where it makes none
        ("pa", "<u8"),  # the same; NO_PA without a translation
        ("size", "<u2"),  # bytes that it moves; 0 for maintenance
        ("access", "u1"),  # Access; NONE where it forms no address
        ("memory_type", "u1"),  # MemoryType of the access; NO_TYPE without
    ]
)
"""One executed instruction, with the access that it makes."""


def whole(trace: Trace) -> Window:
    """Return the window of the whole run."""
    end = len(trace.executions)
    return between(trace, Place(0, 0), Place(end, 0))


def between(trace: Trace, first: Place, stop: Place) -> Window:
    """Return the window from one place up to another."""
    number = _before(trace, first)
    return Window(first, stop, number, _before(trace, stop) - number)


def by_instructions(trace: Trace, first: int, stop: int) -> Window:
    """Return the window of instructions first..stop of the run, counted from 0."""
    return Window(_place(trace, first), _place(trace, stop), first, stop - first)


def by_pages(trace: Trace, first: int, stop: int) -> Window:
    """Return the window in which pages first..stop of the copy, counted from 0, were stored.

    A page begins behind the execution of the last store into the one before it, the first one with its own first store.
    Raises InputError where fewer pages were copied.
    """
    begins, end, seen = {}, 0, 0
    for begin, last in _stored_pages(trace):
        if seen in (first, stop):
            begins[seen] = begin
        end, seen = last + 1, seen + 1
        if stop in begins:
            break
    if stop == seen:
        begins[stop] = end
    if stop not in begins:
        raise InputError(f"pages {first}:{stop}: the run copied {seen}")
    return between(trace, Place(begins[first], 0), Place(begins[stop], 0))


def executed(trace: Trace, window: Window) -> Iterator[Records]:
    """Yield the instructions of a window as EXECUTED rows, in order, in pieces that fit in memory."""
    start, end = window.first.execution, window.stop.execution + (window.stop.insns > 0)
    first = trace.blocks["first"].astype(np.int64)
    number = window.number - window.first.insns
    at = start
    for table in chunks(trace, CHUNK_EXECUTIONS, start, end):
        until = min(at + CHUNK_EXECUTIONS, end)
        counts = executed_counts(trace, at, until)
        owner = np.repeat(np.arange(until - at), counts)
        before = np.cumsum(counts) - counts
        rows = np.zeros(len(owner), EXECUTED)
        rows["number"] = number + np.arange(len(owner))
        rows["execution"] = owner + at
        blocks = first[trace.executions[at:until]]
        rows["insn"] = blocks[owner] + np.arange(len(owner)) - before[owner]
        rows["epoch"] = execution_epochs(trace, at, until)[owner]
        rows["pa"], rows["memory_type"] = NO_PA, NO_TYPE
        of = table["execution"].astype(np.int64) - at
        place = before[of] + table["insn"].astype(np.int64) - blocks[of]
        for name in ("va", "pa", "size", "access", "memory_type"):
            rows[name][place] = table[name]
        number += len(rows)
        at = until
        inside = (rows["number"] >= window.number) & (rows["number"] < window.number + window.instructions)
        yield rows if inside.all() else rows[inside]


def _before(trace: Trace, place: Place) -> int:
    """Count the instructions before a place."""
    return sum(int(counts.sum()) for _, counts in _counted(trace, place.execution)) + place.insns


def _counted(trace: Trace, stop: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for at in range(0, stop, _COUNTED_EXECUTIONS):
        yield at, executed_counts(trace, at, min(at + _COUNTED_EXECUTIONS, stop))


def _place(trace: Trace, number: int) -> Place:
    passed = 0
    for at, counts in _counted(trace, len(trace.executions)):
        total = int(counts.sum())
        if number < passed + total:
            ends = np.cumsum(counts)
            within = int(np.searchsorted(ends, number - passed, side="right"))
            return Place(at + within, number - passed - int(ends[within] - counts[within]))
        passed += total
    if number > passed:
        raise InputError(f"instruction {number}: the run has {passed}")
    return Place(len(trace.executions), 0)


def _stored_pages(trace: Trace) -> Iterator[tuple[int, int]]:
    """Yield (first execution, last execution that stored into it) of each page of a destination, as it was stored."""
    ranges = np.sort(trace.ranges[trace.ranges["role"] == Role.DESTINATION], order="pa")
    if not len(ranges):
        return
    page, begin, last = -1, 0, -1
    for table in chunks(trace, CHUNK_EXECUTIONS):
        stores = table[np.isin(table["access"], _STORES) & (table["pa"] != NO_PA)]
        place = np.searchsorted(ranges["pa"], stores["pa"], side="right") - 1
        stores = stores[(place >= 0) & (stores["pa"] - ranges["pa"][place] < ranges["size"][place])]
        if not len(stores):
            continue
        pages = (stores["pa"] // np.uint64(PAGE_BYTES)).astype(np.int64)
        executions = stores["execution"].astype(np.int64)
        for at in np.flatnonzero(np.concatenate([[pages[0] != page], pages[1:] != pages[:-1]])).tolist():
            if at:
                last = int(executions[at - 1])
            if page >= 0:
                yield begin, last
            page, begin = int(pages[at]), (last + 1 if page >= 0 else int(executions[at]))
        last = int(executions[-1])
    if page >= 0:
        yield begin, last
