"""Lines: which of them a run stored through write-back caches, and which of those it cleaned by address afterwards."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from traces.expand import NO_PA, chunks
from traces.schema import PAGE_BYTES, Access, Maintenance, MemoryType
from traces.trace import Records, Trace

LINE_BYTES = 64
"""Of every core that is modelled, and of every arm64 machine that kexec is known to run on."""

_STORES = (Access.STORE, Access.LOAD_STORE, Access.ZERO)


def stored_and_uncleaned(
    trace: Trace, ranges: Records, cleans: Collection[Maintenance]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the lines of `ranges` that were stored as Normal-WB, and those of them not cleaned since their last store.

    Physical addresses of lines, ascending. Only maintenance by address counts, of the kinds in `cleans`: set/way
    reaches this core's own levels at best, and an eviction is luck.
    """
    lines: tuple[list[NDArray[np.uint64]], list[NDArray[np.uint64]]] = ([], [])
    order: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    position = 0
    for table in chunks(_grouped(trace, cleans)):
        at = position + np.arange(len(table), dtype=np.int64)
        position += len(table)
        cleaning = table["access"] == Access.MAINTAIN
        for kind, chosen in ((0, ~cleaning & (table["memory_type"] == MemoryType.NORMAL_WB)), (1, cleaning)):
            first, last = _ends(table[chosen])
            crossing = last != first
            lines[kind].extend((first, last[crossing]))
            order[kind].extend((at[chosen], at[chosen][crossing]))
    stored, stored_at = _latest(lines[0], order[0])
    inside = _inside(stored, ranges)
    stored, stored_at = stored[inside], stored_at[inside]
    cleaned, cleaned_at = _latest(lines[1], order[1])
    if not len(cleaned):
        return stored, stored
    place = np.minimum(np.searchsorted(cleaned, stored), len(cleaned) - 1)
    safe = (cleaned[place] == stored) & (cleaned_at[place] > stored_at)
    return stored, stored[~safe]


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


def _grouped(trace: Trace, cleans: Collection[Maintenance]) -> Trace:
    """Keep as accesses only cleans, and of the stores of one block through one base the first of each 64 bytes.

    The kept store takes the size of those that it stands for: a sixteenth of the unfolding.
    """
    insns = trace.insns.copy()
    insns["access"] = np.where(np.isin(insns["maintenance"], list(cleans)), Access.MAINTAIN, Access.NONE)
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


def _latest(
    lines: list[NDArray[np.uint64]], order: list[NDArray[np.int64]]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return each line once, ascending, with when it was last named."""
    if not lines:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    named, at = np.concatenate(lines), np.concatenate(order)
    if not len(named):
        return named, at
    rank = np.argsort(named, kind="stable")  # mostly ascending already: a copy walks its destination upwards
    named = named[rank]
    begins = np.flatnonzero(np.concatenate([[True], named[1:] != named[:-1]]))
    return named[begins], np.maximum.reduceat(at[rank], begins)


def _inside(lines: NDArray[np.uint64], ranges: Records) -> NDArray[np.bool_]:
    found = np.zeros(len(lines), np.bool_)
    for row in ranges:
        found |= (lines >= row["pa"]) & (lines - row["pa"] < row["size"])
    return found
