"""Pure folds over a Trace: how much it did, as what memory type, where it copied; and a slice of it as a Trace."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.expand import CHUNK_EXECUTIONS, chunks, executed_counts, execution_epochs, value_cursor
from traces.schema import EXCEPTION, MARK, Access, Mark, MemoryType, Phase, Role
from traces.trace import Records, Trace

_DATA = (Access.LOAD, Access.STORE, Access.LOAD_STORE, Access.ZERO)
_STORES = (Access.STORE, Access.LOAD_STORE, Access.ZERO)


@dataclass(frozen=True, kw_only=True, slots=True)
class CopySite:
    """Where a run copied: what its stores into DESTINATION ranges say, and nothing else."""

    first: int
    """First execution that stored into a destination."""
    last: int
    """Last one."""
    epoch: int
    """Row of the epoch under which most of those bytes were stored."""
    block: int
    """Row of the block that stored most of them."""
    insn: int
    """Row of the store that moved most of them."""
    stored_bytes: int
    """All bytes stored into destinations between first and last."""


def stretches(trace: Trace, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield (epoch row, first execution, end) of each stretch under one epoch, in order, none empty."""
    stop = len(trace.executions) if stop is None else stop
    switches = trace.marks[trace.marks["kind"] == Mark.EPOCH]
    bounds = np.unique(np.clip(switches["at"].astype(np.int64), start, stop)).tolist()
    edges = sorted({start, stop, *bounds})
    for first, end in pairwise(edges):
        yield int(execution_epochs(trace, first, first + 1)[0]), first, end


def instruction_count(trace: Trace, start: int = 0, stop: int | None = None) -> int:
    """Count the instructions retired."""
    return int(_retired(trace, start, len(trace.executions) if stop is None else stop).sum())


def _retired(trace: Trace, start: int, stop: int) -> NDArray[np.int64]:
    """Count the instructions that executions of each block retired; in pieces, for a run is longer than its tables."""
    retired = np.zeros(len(trace.blocks), np.int64)
    for at in range(start, stop, CHUNK_EXECUTIONS):
        until = min(at + CHUNK_EXECUTIONS, stop)
        counts = executed_counts(trace, at, until)
        # Whole numbers of less than 2**53: exact.
        retired += np.bincount(trace.executions[at:until], counts, len(retired)).astype(np.int64)
    return retired


def access_count(trace: Trace, start: int = 0, stop: int | None = None) -> int:
    """Count the executed loads and stores: a pair is one; fetch, walks, prefetch and maintenance are none."""
    return sum(_data_accesses(trace, first, end) for _, first, end in stretches(trace, start, stop))


def data_types(trace: Trace, start: int = 0, stop: int | None = None) -> dict[MemoryType, int]:
    """Count the same accesses by the memory type that they had."""
    counts: Counter[MemoryType] = Counter()
    for epoch, first, end in stretches(trace, start, stop):
        only = _only_type(trace, epoch)
        if only is not None:
            counts[only] += _data_accesses(trace, first, end)
            continue
        for table in chunks(trace, start=first, stop=end):
            kinds = table["memory_type"][np.isin(table["access"], _DATA)]
            for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
                counts[MemoryType(int(kind))] += int(count)
    return _sorted(counts)


def fetch_types(trace: Trace, start: int = 0, stop: int | None = None) -> dict[MemoryType, int]:
    """Count retired instructions by the memory type of their fetch."""
    counts: Counter[MemoryType] = Counter()
    of_code = trace.translations[np.isin(trace.translations["page"], trace.blocks["va"] >> np.uint64(12))]
    pages = {(int(t["epoch"]), int(t["page"])): int(t["fetch_type"]) for t in of_code}
    for epoch, first, end in stretches(trace, start, stop):
        regime = trace.epochs[epoch]
        flat = not (regime["stage1"] or regime["stage2"])
        retired = _retired(trace, first, end)
        for block in np.flatnonzero(retired):
            page = (epoch, int(trace.blocks[block]["va"]) >> 12)
            kind = int(regime["flat_fetch_type"]) if flat else pages.get(page, int(regime["flat_fetch_type"]))
            counts[MemoryType(kind)] += int(retired[block])
    return _sorted(counts)


def walk_types(trace: Trace, start: int = 0, stop: int | None = None) -> dict[MemoryType, int]:
    """Count the descriptor reads of the pages first touched under the epochs of the slice, by memory type.

    What a TLB that forgets nothing would read; how often the modelled one does is in the Outcome.
    """
    counts: Counter[MemoryType] = Counter()
    table, reads = trace.translations, trace.walk_reads
    for epoch in sorted({epoch for epoch, _, _ in stretches(trace, start, stop)}):
        regime = trace.epochs[epoch]
        rows = table[table["epoch"] == epoch]
        total = int(rows["walk_count"].astype(np.int64).sum())
        second = 0
        if regime["stage2"]:
            owned = [np.arange(f, f + n) for f, n in zip(rows["walk_first"], rows["walk_count"], strict=True)]
            second = int((reads["stage"][np.concatenate(owned)] == 2).sum()) if owned else 0
        counts[MemoryType(int(regime["walk_type"]))] += total - second
        counts[MemoryType(int(regime["walk2_type"]))] += second
    return _sorted(counts)


def copy_site(trace: Trace) -> CopySite | None:
    """Find where the run copied: by its stores into DESTINATION ranges. None where it stored nothing there.

    What a purgatory stores into its segment, which is a destination, is no copying: the search ends at its phase.
    """
    wanted = trace.ranges[trace.ranges["role"] == Role.DESTINATION]
    if not len(wanted):
        return None
    starts, ends = _merged(wanted)
    groups, first, last = _store_groups(trace), -1, -1
    moved: Counter[tuple[int, int]] = Counter()
    for hit in _store_hits(trace, groups, starts, ends):
        first = hit.first if first < 0 else min(first, hit.first)
        last = max(last, hit.last)
        moved[hit.epoch, hit.insn] += hit.stored_bytes
    if not moved:
        return None
    (epoch, insn), _ = max(moved.items(), key=lambda item: (item[1], -item[0][1]))
    blocks = trace.blocks
    owners = (blocks["first"] <= insn) & (insn < blocks["first"].astype(np.int64) + blocks["count"])
    return CopySite(
        first=first,
        last=last,
        epoch=epoch,
        block=int(np.argmax(owners)),
        insn=insn,
        stored_bytes=sum(moved.values()),
    )


def cut(trace: Trace, start: int, stop: int) -> Trace:
    """Make a Trace of the executions start..stop alone: same tables, and the epoch and phase that held at `start`."""
    cursor = value_cursor(trace, start)
    length = int(trace.blocks["values"].astype(np.int64)[trace.executions[start:stop]].sum())
    rows: list[tuple[int, int, int]] = []
    for kind in (Mark.PHASE, Mark.EPOCH):
        held = trace.marks[(trace.marks["kind"] == kind) & (trace.marks["at"] <= start)]
        if len(held):
            rows.append((0, int(kind), int(held["a"][-1])))
    exceptions: list[np.void] = []
    for mark in trace.marks[(trace.marks["at"] > start) & (trace.marks["at"] <= stop)]:
        target = int(mark["a"])
        if mark["kind"] == Mark.EXCEPTION:
            exceptions.append(trace.exceptions[target].copy())
            exceptions[-1]["at"] -= start
            target = len(exceptions) - 1
        rows.append((int(mark["at"]) - start, int(mark["kind"]), target))
    marks = np.zeros(len(rows), MARK)
    for mark, (at, mark_kind, a) in zip(marks, rows, strict=True):
        mark["at"], mark["kind"], mark["a"] = at, mark_kind, a
    return replace(
        trace,
        executions=trace.executions[start:stop],
        values=trace.values[cursor : cursor + length],
        marks=marks,
        exceptions=np.array(exceptions, EXCEPTION),
    )


def labelled(counts: Mapping[MemoryType, int]) -> dict[str, int]:
    """Return the counts by the names that Arm gives the types."""
    return {kind.label: count for kind, count in counts.items()}


def _sorted(counts: Counter[MemoryType]) -> dict[MemoryType, int]:
    return {kind: counts[kind] for kind in sorted(counts) if counts[kind]}


def _data_accesses(trace: Trace, first: int, end: int) -> int:
    ran = np.bincount(trace.executions[first:end], minlength=len(trace.blocks))
    whole = int(ran @ trace.blocks["accesses"].astype(np.int64))
    cuts = trace.marks[trace.marks["kind"] == Mark.TRUNCATE]
    for mark in cuts[(cuts["at"] > first) & (cuts["at"] <= end)]:
        block = trace.blocks[trace.executions[int(mark["at"]) - 1]]
        rest = trace.insns[int(block["first"]) + int(mark["a"]) : int(block["first"]) + int(block["count"])]
        whole -= int(np.isin(rest["access"], _DATA).sum())
    return whole


def _only_type(trace: Trace, epoch: int) -> MemoryType | None:
    """Return the one type that every access of the epoch can have, or None where it depends on the page."""
    regime = trace.epochs[epoch]
    if not (regime["stage1"] or regime["stage2"]):
        return MemoryType(int(regime["flat_type"]))
    kinds = np.unique(trace.translations["memory_type"][trace.translations["epoch"] == epoch])
    return MemoryType(int(kinds[0])) if len(kinds) == 1 else None


class _StoreGroup(NamedTuple):
    """Stores that one block makes through one base: they count by the address of the first."""

    block: int
    insn: int
    within: int  # instructions of the block before it
    slot: int
    offset: int
    size: int


class _StoreHit(NamedTuple):
    epoch: int
    insn: int
    first: int
    last: int
    stored_bytes: int


def _store_groups(trace: Trace) -> list[_StoreGroup]:
    """Group the stores of every block. A group that straddles the edge of a destination counts by its first byte."""
    groups: list[_StoreGroup] = []
    for number, block in enumerate(trace.blocks):
        found: dict[int, _StoreGroup] = {}
        for row in range(int(block["first"]), int(block["first"]) + int(block["count"])):
            insn = trace.insns[row]
            slot = int(insn["slot"])
            if insn["access"] not in _STORES or slot < 0:
                continue
            leader = found.get(slot)
            if leader is None:
                within = row - int(block["first"])
                found[slot] = _StoreGroup(number, row, within, slot, int(insn["offset"]), int(insn["size"]))
            else:
                found[slot] = leader._replace(size=leader.size + int(insn["size"]))
        groups += found.values()
    return groups


def _store_hits(
    trace: Trace, groups: list[_StoreGroup], starts: NDArray[np.uint64], ends: NDArray[np.uint64]
) -> Iterator[_StoreHit]:
    """Yield what each group stored into the ranges, a stretch of executions under one epoch at a time."""
    consumed, cursor = trace.blocks["values"].astype(np.int64), 0
    truncated = trace.marks[trace.marks["kind"] == Mark.TRUNCATE]
    phases = trace.marks[(trace.marks["kind"] == Mark.PHASE) & (trace.marks["a"] == Phase.PURGATORY)]
    end = int(phases["at"][0]) if len(phases) else None
    for epoch, start, stop in stretches(trace, 0, end):
        table = trace.translations[trace.translations["epoch"] == epoch]
        table = table[np.argsort(table["page"])]
        for at in range(start, stop, CHUNK_EXECUTIONS):
            ran = trace.executions[at : min(at + CHUNK_EXECUTIONS, stop)]
            taken = np.cumsum(consumed[ran])
            for group in groups:
                places = np.flatnonzero(ran == group.block)
                cut = truncated["at"][truncated["a"] <= group.within].astype(np.int64) - 1 - at
                places = np.setdiff1d(places, cut) if len(cut) else places
                if not len(places):
                    continue
                value = cursor + taken[places] - consumed[group.block] + group.slot
                va = trace.values[value] + np.uint64(group.offset % (1 << 64))
                runs, stored = _runs_inside(va, trace.epochs[epoch], table, starts, ends)
                if stored:
                    yield _StoreHit(
                        epoch, group.insn, at + int(places[runs[0]]), at + int(places[runs[1]]), stored * group.size
                    )
            cursor += int(taken[-1]) if len(taken) else 0


def _runs_inside(
    va: NDArray[np.uint64], regime: np.void, table: Records, starts: NDArray[np.uint64], ends: NDArray[np.uint64]
) -> tuple[tuple[int, int], int]:
    """Return the first and last place whose address lies in the ranges, and how many do. Ranges are whole pages."""
    page = va >> np.uint64(12)
    begin = np.flatnonzero(np.concatenate([np.ones(1, bool), page[1:] != page[:-1]]))
    until = np.append(begin[1:], len(page))
    pa = va[begin]
    known = np.ones(len(begin), bool)
    if regime["stage1"] or regime["stage2"]:
        row = np.searchsorted(table["page"], page[begin])
        known = row < len(table)
        known[known] = table["page"][row[known]] == page[begin][known]
        pa = pa & np.uint64(0xFFF)
        pa[known] |= table["pa"][row[known]]
    place = np.searchsorted(starts, pa, side="right") - 1
    inside = np.flatnonzero(known & (place >= 0) & (pa < ends[place]))
    if not len(inside):
        return (0, 0), 0
    return (int(begin[inside[0]]), int(until[inside[-1]]) - 1), int((until[inside] - begin[inside]).sum())


def _merged(ranges: Records) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return starts and ends of the ranges, sorted and joined where they touch."""
    joined: list[list[int]] = []
    for pa, size in sorted((int(r["pa"]), int(r["size"])) for r in ranges):
        if joined and pa <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], pa + size)
        else:
            joined.append([pa, pa + size])
    return np.array([j[0] for j in joined], np.uint64), np.array([j[1] for j in joined], np.uint64)


__all__ = [
    "CopySite",
    "access_count",
    "copy_site",
    "cut",
    "data_types",
    "fetch_types",
    "instruction_count",
    "labelled",
    "stretches",
    "walk_types",
]
