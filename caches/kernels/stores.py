"""Stores, by memory type, committed in order after they have retired, and the store buffer that hides them."""

from numba.types import int64, void

from caches.kernels.calendars import buffer_start, hold
from caches.kernels.codes import GRE, NC, NGNRE, WB, WT, ZERO
from caches.kernels.dram import dram_write
from caches.kernels.hierarchy import use_prefetched
from caches.kernels.layout import (
    ACCESSES,
    DEVICE_STORE,
    DIRTY,
    DTLB,
    HITS,
    L1D,
    L2,
    MISS,
    MISSES,
    OLD,
    ROW_DEVICE,
    ROW_NC,
    ROW_STORE,
    STORE_BUFFER,
    WRITE_BACKS,
)
from caches.kernels.prefetch import train
from caches.kernels.sets import lookup, touch
from caches.kernels.streaming import allocate_store, merge_store
from caches.kernels.translation import translate
from caches.kernels.truth import code_written, observe_write
from caches.state import MACHINE_TYPE, OP_TYPE
from caches.views import inlined, outlined


@inlined
def word_mask(va, size):
    """Which 4-byte words of the line at `va` the bytes [va, va + size) cover wholly; they end with the line at most."""
    low = va & 63
    first = (low + 3) >> 2
    last = (low + size) >> 2
    if last <= first:
        return 0
    return ((1 << (last - first)) - 1) << first


@inlined
def track(s, line, mask):
    """Count consecutive full lines: what write streaming goes by."""
    if s["track_line"] == line:
        s["track_mask"] |= mask
        return
    if s["track_missed"] == 1:
        if s["track_mask"] == 0xFFFF:
            s["stream_lines"] += 1
        else:
            s["stream_lines"] = 0
    s["track_line"] = line
    s["track_mask"] = mask
    s["track_missed"] = 0


@inlined
def store_cached(s, va, line, size, hint, cycle):
    """Commit a store to Normal cacheable memory; returns when its store buffer entry is free."""
    if s["on_cacheable"] == 0:
        return cycle
    mask = word_mask(va, size)
    track(s, line, mask)
    code_written(s, line)
    s["changes"] += 1
    s["counters"][L1D, ACCESSES] += 1
    index = lookup(s, L1D, line)
    if index != MISS:
        s["counters"][L1D, HITS] += 1
        use_prefetched(s, L1D, index)
        s["tags"][index] = (s["tags"][index] & ~OLD) | DIRTY
        touch(s, L1D, index)
        return max(cycle, s["lines"][index]["ready"])
    s["counters"][L1D, MISSES] += 1
    s["track_missed"] = 1
    streaming = s["stream_l1"] > 0 and s["stream_lines"] >= s["stream_l1"]
    if (streaming and s["on_streaming"] == 1) or (hint == 1 and s["non_temporal_streams"] == 1):
        s["counters"][ROW_STORE, MISSES] += 1  # reported as "streamed"
        return merge_store(s, line, mask, cycle)
    if s["write_allocate"] == 0 and lookup(s, L2, line) == MISS:
        return merge_store(s, line, mask, cycle)
    ready = allocate_store(s, line, cycle)
    if s["prefetch_stores"] == 1:
        train(s, s["stream_count"], va >> 6, line, cycle)
    return ready


@inlined
def store_noncacheable(s, line, cycle):
    """Commit a store to Normal-NC memory: stores to one line gather, each line takes a write buffer."""
    s["counters"][ROW_NC, WRITE_BACKS] += 1  # reported as "writes"
    observe_write(s, line)
    if s["on_noncacheable"] == 0 or s["gather_line"] == line + 1:
        return cycle
    s["gather_line"] = line + 1
    for at in range(s["nc_outstanding"]):
        if s["nc_lines"][at, 0] == line + 1:
            s["nc_lines"][at, 0] = 0
    start = buffer_start(s, s["nc_write_base"], s["nc_writes"], cycle, s["nc_cycles"])
    slot = s["slot"]
    done = dram_write(s, line, start) + s["nc_cycles"]
    hold(s, slot, start, done)
    s["stores_done"] = max(s["stores_done"], done)
    return start


@inlined
def store_device(s, line, size, kind, cycle):
    """Commit a store to Device memory; returns when its entry is free: at the acknowledgement its type asks for."""
    s["counters"][ROW_DEVICE, WRITE_BACKS] += 1  # reported as "stores"
    observe_write(s, line)
    if s["on_device_order"] == 0:
        return cycle
    if kind == GRE and s["device_gathers"] == 1:
        if s["gather_line"] == line + 1:
            return cycle
        s["gather_line"] = line + 1
    trip = s["device_cycles"]
    if kind >= NGNRE:
        trip = s["device_early_cycles"]
    pieces = max(1, (size + s["device_bytes"] - 1) // s["device_bytes"])
    done = cycle
    for _ in range(pieces):
        begin = buffer_start(s, s["device_write_base"], s["device_writes"], cycle, trip)
        if kind <= NGNRE:
            begin = max(begin, s["device_store_begun"])
            s["device_store_begun"] = begin
        hold(s, s["slot"], begin, begin + trip)
        done = max(done, begin + trip)
        s["stores_done"] = max(s["stores_done"], begin + s["device_cycles"])
    s["device_stored"] = max(s["device_stored"], done)
    return done


@inlined
def enter_store_buffer(s, va, release, leaf):
    """Note when the entry of this store becomes free; a store to the block of the last one shares its entry."""
    s["recent_stores"][s["stores"] & 7] = (va >> 4) + 1
    s["stores"] += 1
    block = (va >> s["merge_log2"]) + 1
    if leaf == STORE_BUFFER and block == s["merge_block"] and s["merge_log2"] > 3:
        at = s["entry"]
    else:
        at = s["entry"] + 1
        if at >= s["store_entries"]:
            at = 0
        s["entry"] = at
    s["merge_block"] = block
    s["entries"][at, 0] = release
    s["entries"][at, 1] = leaf


@outlined(void, MACHINE_TYPE, OP_TYPE, int64, int64)
def store(s, op, va, cycle):
    """Commit a store after it has retired at `cycle`, in order; its waiting is felt through the store buffer only."""
    size = op["size"]
    if op["access"] == ZERO:
        size = s["zva_bytes"]
        va = va & ~(size - 1)
    s["counters"][ROW_STORE, ACCESSES] += 1
    leaf = STORE_BUFFER
    release = max(cycle, s["drained"])
    end = va + max(size, 1)
    piece = va
    while piece < end:
        until = min(end, ((piece >> 6) + 1) << 6)
        known = translate(s, piece, cycle, DTLB)
        kind = s["type"]
        line = s["pa"] >> 6
        if kind == WB or (kind == WT and s["wt_is_nc"] == 0):
            done = store_cached(s, piece, line, until - piece, op["non_temporal"], known)
        elif kind >= NC:
            done = store_noncacheable(s, line, known)
        else:
            done = store_device(s, line, until - piece, kind, known)
            leaf = DEVICE_STORE
        release = max(release, done)
        piece = until
    s["drained"] = release
    s["stores_done"] = max(s["stores_done"], release)
    enter_store_buffer(s, va, release, leaf)
