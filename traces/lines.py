"""LineHistory: what a run did to each line of some memory, by address: stores through and past the caches, maintenance.

Nothing here needs a cache: what was never cleaned by address may be anywhere, since an eviction is luck.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from traces.expand import NO_PA, chunks
from traces.schema import PAGE_BYTES, Access, Maintenance, MemoryType
from traces.trace import Records, Trace

LINE_BYTES = 64
"""Of every core that is modelled, and of every arm64 machine that kexec is known to run on."""

LINES_MAX = 1 << 28
"""Of more memory than these hold (16 GiB) the rest is left out."""

_STORES = (Access.STORE, Access.LOAD_STORE, Access.ZERO)


class Event(IntEnum):
    """What happened to a line. Set/way maintenance is none: it reaches this core's own levels at best."""

    NONE = 0
    STORE_CACHED = 1
    """As Normal-WB: the newest data may be in a cache only."""
    STORE_THROUGH = 2
    """As Normal-WT: in a cache and in memory."""
    STORE_UNCACHED = 3
    """As Device or Normal-NC: in memory, whatever a cache holds."""
    CLEAN = 4
    """To the PoC, invalidating or not."""
    INVALIDATE = 5
    """DC IVAC that does not clean. Under HCR_EL2.VM or DC, EL1's acts as DC CIVAC (Arm ARM D7.5.9)."""
    CLEAN_TO_POU = 6


class Deed(IntFlag):
    """What happened to a line at least once."""

    STORED_CACHED = 1
    STORED_UNCACHED = 2
    MAINTAINED = 4
    """Cleaned to the PoC or invalidated."""
    CLEANED_TO_POU = 8
    LOST = 16
    """Invalidated straight after a store through the caches."""
    MIXED = 32
    """Stored past the caches straight after a store through them."""
    UNPREPARED = 64
    """Stored past the caches before anything else happened to it."""
    INVALIDATED_FIRST = 128
    """Invalidated before anything else happened to it."""


_MAINTENANCE: Mapping[Maintenance, Event] = {
    Maintenance.DC_IVAC: Event.INVALIDATE,
    Maintenance.DC_CVAC: Event.CLEAN,
    Maintenance.DC_CIVAC: Event.CLEAN,
    Maintenance.DC_CVAP: Event.CLEAN,
    Maintenance.DC_CVAU: Event.CLEAN_TO_POU,
}


@dataclass(frozen=True, slots=True, eq=False)
class LineHistory:
    """One row a line of the ranges that were asked for, by rising address."""

    pa: NDArray[np.uint64]
    """First address of each stretch of lines."""
    first: NDArray[np.int64]
    """Row of the first line of each stretch; one more at the end: how many rows there are."""
    stored_at: NDArray[np.int64]
    """When it was last stored as Normal-WB, as a count of events; -1: never."""
    cleaned_at: NDArray[np.int64]
    """When it was last cleaned to the PoC."""
    last: NDArray[np.uint8]
    """The last Event, cleans to the PoU left out."""
    deeds: NDArray[np.uint8]
    """Deed."""
    insns: dict[Deed, int]
    """Row of the instruction that did each deed first."""

    def lines(self, chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Return the addresses of the chosen rows."""
        rows = np.flatnonzero(chosen)
        stretch = np.searchsorted(self.first, rows, side="right") - 1
        within = (rows - self.first[stretch]).astype(np.uint64)
        return self.pa[stretch] + within * np.uint64(LINE_BYTES)

    def did(self, deed: Deed) -> NDArray[np.bool_]:
        """Return which lines it happened to."""
        found: NDArray[np.bool_] = self.deeds & np.uint8(deed) != 0
        return found

    @property
    def uncleaned(self) -> NDArray[np.bool_]:
        """Stored as Normal-WB, and not cleaned to the PoC by address since the last such store."""
        return (self.stored_at >= 0) & (self.cleaned_at < self.stored_at)


def line_history(trace: Trace, ranges: Records) -> LineHistory:
    """Follow every line of `ranges` (rows of RANGE) through a run."""
    history = _untouched(ranges)
    kinds = _event_kinds(trace)
    position = 0
    for table in chunks(_grouped(trace, _MAINTENANCE)):
        events = _events(trace, table, kinds)
        first, last = _ends(table)
        crossing = last != first
        rows = np.concatenate([_rows(history, first), _rows(history, last[crossing])])
        at = np.concatenate([np.arange(len(table)), np.flatnonzero(crossing)]).astype(np.int64)
        kept = (rows >= 0) & (events[at] != Event.NONE)
        _append(history, rows[kept], at[kept] + position, events[at[kept]], table["insn"][at[kept]])
        position += len(table)
    return history


def _untouched(ranges: Records) -> LineHistory:
    pas, counts, left = [], [], LINES_MAX
    for pa, end in _merged(ranges):
        count = min((end - pa) // LINE_BYTES, left)
        pas.append(pa)
        counts.append(count)
        left -= count
    total = sum(counts)
    return LineHistory(
        pa=np.array(pas, np.uint64),
        first=np.cumsum([0, *counts]).astype(np.int64),
        stored_at=np.full(total, -1, np.int64),
        cleaned_at=np.full(total, -1, np.int64),
        last=np.zeros(total, np.uint8),
        deeds=np.zeros(total, np.uint8),
        insns={},
    )


def _merged(ranges: Records) -> list[tuple[int, int]]:
    """Return the ranges in whole lines, joined where they touch."""
    joined: list[tuple[int, int]] = []
    for pa, size in sorted((int(row["pa"]), int(row["size"])) for row in ranges):
        start, end = pa & -LINE_BYTES, -(-(pa + size) // LINE_BYTES) * LINE_BYTES
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def _rows(history: LineHistory, lines: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the row of each line; -1 outside."""
    if not len(history.pa):
        return np.full(len(lines), -1, np.int64)
    stretch = np.searchsorted(history.pa, lines, side="right") - 1
    known = np.maximum(stretch, 0)
    within = ((lines - history.pa[known]) // np.uint64(LINE_BYTES)).astype(np.int64)
    row = history.first[known] + within
    return np.where((stretch >= 0) & (within >= 0) & (row < history.first[known + 1]), row, -1)


def _event_kinds(trace: Trace) -> NDArray[np.uint8]:
    """Return by instruction which maintenance it is; NONE for all others."""
    kinds = np.zeros(len(trace.insns), np.uint8)
    for maintenance, event in _MAINTENANCE.items():
        kinds[trace.insns["maintenance"] == maintenance] = event
    return kinds


def _events(trace: Trace, table: Records, kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what each access is to its line."""
    types = table["memory_type"]
    stores = np.select(
        [types == MemoryType.NORMAL_WB, types == MemoryType.NORMAL_WT, types <= MemoryType.NORMAL_NC],
        [Event.STORE_CACHED, Event.STORE_THROUGH, Event.STORE_UNCACHED],
        Event.NONE,
    ).astype(np.uint8)
    maintains = table["access"] == Access.MAINTAIN
    events = np.where(maintains, kinds[table["insn"]], stores)
    cleans = (trace.epochs["stage2"] == 1) & (trace.epochs["el"] <= 1)
    upgraded = (events == Event.INVALIDATE) & cleans[table["epoch"]]
    return np.where(upgraded, np.uint8(Event.CLEAN), events)


def _append(
    history: LineHistory,
    rows: NDArray[np.int64],
    at: NDArray[np.int64],
    events: NDArray[np.uint8],
    insns: NDArray[np.uint32],
) -> None:
    """Put the events of one chunk behind those before it."""
    order = np.lexsort((at, rows))
    rows, at, events, insns = rows[order], at[order], events[order], insns[order]
    stores, cleans = events == Event.STORE_CACHED, events == Event.CLEAN
    # Of a line named twice the last assignment stands: rows are in the order of time within each line.
    history.stored_at[rows[stores]] = at[stores]
    history.cleaned_at[rows[cleans]] = at[cleans]
    to_pou = events == Event.CLEAN_TO_POU
    _note(history, Deed.CLEANED_TO_POU, rows[to_pou], at[to_pou], insns[to_pou])
    rows, at, events, insns = (each[~to_pou] for each in (rows, at, events, insns))
    before = np.zeros(len(events), np.uint8)
    before[1:] = events[:-1]
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = rows[1:] != rows[:-1]
    before[begins] = history.last[rows[begins]]
    uncached, invalidates = events == Event.STORE_UNCACHED, events == Event.INVALIDATE
    for deed, chosen in (
        (Deed.STORED_CACHED, events == Event.STORE_CACHED),
        (Deed.STORED_UNCACHED, uncached),
        (Deed.MAINTAINED, invalidates | (events == Event.CLEAN)),
        (Deed.LOST, invalidates & (before == Event.STORE_CACHED)),
        (Deed.MIXED, uncached & (before == Event.STORE_CACHED)),
        (Deed.UNPREPARED, uncached & (before == Event.NONE)),
        (Deed.INVALIDATED_FIRST, invalidates & (before == Event.NONE)),
    ):
        _note(history, deed, rows[chosen], at[chosen], insns[chosen])
    history.last[rows] = events


def _note(
    history: LineHistory, deed: Deed, rows: NDArray[np.int64], at: NDArray[np.int64], insns: NDArray[np.uint32]
) -> None:
    if len(rows):
        history.deeds[rows] |= np.uint8(deed)
        history.insns.setdefault(deed, int(insns[np.argmin(at)]))


def stored_pages(trace: Trace, bounds: Sequence[int]) -> list[NDArray[np.uint64]]:
    """Return for each stretch of executions between two bounds the addresses of the 4 KiB pages that it stored to."""
    grouped = _grouped(trace, ())
    found = []
    for start, stop in pairwise(bounds):
        pages = [np.zeros(0, np.uint64)]
        for table in chunks(grouped, start=start, stop=stop):
            pages.extend(_ends(table[table["pa"] != NO_PA]))
        found.append(np.unique(np.concatenate(pages) & ~np.uint64(PAGE_BYTES - 1)))
    return found


def first_stores(trace: Trace) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the 4 KiB pages that the run stored to, in the order in which it began to, and the executions that did."""
    pages, executions = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for table in chunks(_grouped(trace, ())):
        rows = table[table["pa"] != NO_PA]
        page = rows["pa"] & ~np.uint64(PAGE_BYTES - 1)
        begins = np.flatnonzero(np.concatenate([[True], page[1:] != page[:-1]])) if len(page) else np.zeros(0, int)
        pages.append(page[begins])
        executions.append(rows["execution"][begins].astype(np.int64))
    every, at = np.concatenate(pages), np.concatenate(executions)
    distinct, first = np.unique(every, return_index=True)
    order = np.argsort(first)
    return distinct[order], at[first[order]]


def _grouped(trace: Trace, maintenance: Collection[Maintenance]) -> Trace:
    """Keep this maintenance, and of the stores of one block through one base the first of each 64 bytes.

    The kept store takes the size of those that it stands for: a sixteenth of the unfolding.
    """
    insns = trace.insns.copy()
    insns["access"] = np.where(np.isin(insns["maintenance"], list(maintenance)), Access.MAINTAIN, Access.NONE)
    slots, offsets = trace.insns["slot"].astype(np.int64), trace.insns["offset"].astype(np.int64)
    for block in trace.blocks:
        rows = np.arange(int(block["first"]), int(block["first"]) + int(block["count"]))
        rows = rows[np.isin(trace.insns["access"][rows], _STORES)]
        leaders: dict[int, tuple[int, int]] = {}
        for row in rows[np.lexsort((offsets[rows], slots[rows]))].tolist():
            insn = trace.insns[row]
            slot, offset, size = int(slots[row]), int(offsets[row]), int(insn["size"])
            leader, begun = leaders.get(slot, (row, offset))
            if slot < 0 or insn["access"] == Access.ZERO or offset + size > begun + LINE_BYTES or leader == row:
                leaders[slot] = row, offset
                insns["access"][row] = insn["access"]
            else:
                insns["size"][leader] = max(int(insns["size"][leader]), offset + size - begun)
    return replace(trace, insns=insns)


def _ends(table: Records) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the first and the last line of each access; DC ZVA and maintenance name the one line that holds `pa`."""
    whole = np.isin(table["access"], (Access.ZERO, Access.MAINTAIN))
    size = np.where(whole, 1, np.maximum(table["size"], 1)).astype(np.uint64)
    mask = ~np.uint64(LINE_BYTES - 1)
    return table["pa"] & mask, (table["pa"] + size - np.uint64(1)) & mask
