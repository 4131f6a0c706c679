"""Hits of every LRU geometry of L1D from one pass over a trace, without replaying it.

What an L1D holds depends on the order of its accesses alone, as long as nothing else fills it or takes lines away: it
starts cold, nothing is prefetched, no full line streams past it, L2 is not inclusive, and walks begin at L2. Then the
counts are those of a replay (`alone` makes such a core).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caches.config import CoreConfig
from traces.errors import InputError
from traces.expand import NO_PA, chunks
from traces.lines import LINE_BYTES
from traces.schema import Access, Maintenance, MemoryType
from traces.trace import Records, Trace

Ints = NDArray[np.int64]

DEPTH = 32
"""The most ways that a level may have."""

_INVALIDATING = (int(Maintenance.DC_IVAC), int(Maintenance.DC_CIVAC))
_SET_WAY = (int(Maintenance.DC_ISW), int(Maintenance.DC_CISW))


@dataclass(frozen=True, slots=True, eq=False)
class LineStream:
    """The accesses of a trace to L1D, in program order."""

    events: Ints
    """`kernels.stack_distances`; those to the line of the one before are left out."""
    accesses: int
    """All of them."""
    repeats: int
    """Those left out: hits everywhere."""


def alone(config: CoreConfig) -> CoreConfig:
    """Return the core with nothing that fills L1D, or takes lines from it, but its own accesses under LRU."""
    changes = {
        "l1d.replacement": "lru",
        "l2.inclusion": "non-inclusive",
        "prefetch.streams": 0,
        "store.stream_l1_lines": 0,
        "store.non_temporal_streams": False,
        "store.write_allocate": True,
        "walk.through_l1d": False,
    }
    return config.override(changes)


def line_stream(trace: Trace, config: CoreConfig) -> LineStream:
    """Return what L1D sees of a trace. Of the core only the size of DC ZVA and the treatment of Write-Through count.

    Raises InputError for what depends on the geometry or on time: set/way maintenance and software prefetches.
    """
    executed = trace.insns
    if np.isin(executed["maintenance"], _SET_WAY).any():
        raise InputError("its guest invalidates by set and way: what that drops depends on the geometry")
    if (executed["access"] == Access.PREFETCH).any():
        raise InputError("its guest prefetches: what comes of that depends on time")
    parts, accessed, last = [], 0, np.int64(-1)
    for table in chunks(trace):
        events = _events(trace, table, config)
        accessed += int((events & 3 == 0).sum())
        kept = np.concatenate([[last], events])
        parts.append(events[(kept[1:] != kept[:-1]) | (events & 3 != 0)])
        last = kept[-1]
    events = np.concatenate([*parts, np.empty(0, np.int64)])
    repeats = accessed - int((events & 3 == 0).sum())
    _, first = np.unique(np.where(events & 3 == 0, events >> 2, -1), return_index=True)
    first = first[events[first] & 3 == 0]
    events[first] |= 1
    return LineStream(events, accessed, repeats)


def _events(trace: Trace, table: Records, config: CoreConfig) -> Ints:
    """Return an event for every line that each access touches; an atomic is two of them."""
    wanted = np.isin(table["memory_type"], _cacheable(config))
    kind = trace.insns["maintenance"][table["insn"]]
    moves = np.isin(table["access"], [Access.LOAD, Access.STORE, Access.LOAD_STORE, Access.ZERO]) & wanted
    drops = np.isin(kind, _INVALIDATING) & (table["access"] == Access.MAINTAIN) & (table["pa"] != NO_PA)
    rows, dropped = table[moves | drops], drops[moves | drops]
    zero = (rows["access"] == Access.ZERO) & ~dropped
    start = np.where(zero, rows["pa"] & ~np.uint64(config.maintenance.zva - 1), rows["pa"])
    size = np.where(zero, config.maintenance.zva, np.maximum(rows["size"], 1)).astype(np.uint64)
    end = start + np.where(dropped, np.uint64(1), size) - np.uint64(1)
    if ((start >> np.uint64(12)) != (end >> np.uint64(12))).any():
        raise InputError("its guest has accesses that cross a page: their second page is not looked up here")
    first, count = (
        (start // LINE_BYTES).astype(np.int64),
        (end // LINE_BYTES - start // LINE_BYTES + 1).astype(np.int64),
    )
    repeats = count * np.where(rows["access"] == Access.LOAD_STORE, 2, 1)
    within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    lines = np.repeat(first, repeats) + within % np.repeat(count, repeats)
    events: Ints = lines << 2 | np.repeat(dropped, repeats) * 2
    return events


def _cacheable(config: CoreConfig) -> list[int]:
    through = [] if config.nc.write_through_is_nc else [int(MemoryType.NORMAL_WT)]
    return [int(MemoryType.NORMAL_WB), *through]


def hits(stream: LineStream, sets: Sequence[int], workers: int | None = None) -> Ints:
    """Return the hits of every geometry: a row for each number of sets, a column for 1, 2, ... 32 ways."""
    from caches.kernels.stack_distances import count_distances

    def row(count: int) -> Ints:
        counts = np.zeros(DEPTH + 1, np.int64)
        count_distances(
            stream.events, count, np.zeros((count, DEPTH), np.int64), np.zeros((count, 2), np.int64), counts
        )
        return np.cumsum(counts[:DEPTH]) + stream.repeats

    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        return np.array(list(pool.map(row, sets)), np.int64).reshape(len(sets), DEPTH)
