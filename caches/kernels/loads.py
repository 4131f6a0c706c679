"""Loads, by memory type."""

from numba.types import int64

from caches.kernels.billing import segment, wait_for_line
from caches.kernels.calendars import buffer_start, hold
from caches.kernels.codes import NC, NGNRE, WB, WT
from caches.kernels.dram import bus_slot
from caches.kernels.hierarchy import fill_l1d, origin, read_l2, take_origin, use_prefetched
from caches.kernels.layout import (
    ACCESSES,
    BARRIER,
    BASE,
    COUNTED,
    DEVICE_LOAD,
    DEVICE_STORE,
    DRAM_BANDWIDTH,
    DRAM_LATENCY,
    DTLB,
    HITS,
    L1D,
    LEAF_L1D,
    MISS,
    MISSES,
    NOBODY,
    PREFETCHED,
    ROW_DEVICE,
    ROW_NC,
    STALE,
    TLB_WALK,
)
from caches.kernels.prefetch import train
from caches.kernels.sets import lookup, touch
from caches.kernels.streaming import flush_merge
from caches.kernels.translation import translate
from caches.kernels.truth import observe_read, report_stale
from caches.state import MACHINE_TYPE, OP_TYPE
from caches.views import inlined, outlined


@inlined
def forwarded(s, va):
    """Whether one of the last stores was to the same 16 bytes."""
    block = (va >> 4) + 1
    found = False
    for at in range(8):
        found = found or s["recent_stores"][at] == block
    return found


@outlined(int64, MACHINE_TYPE, int64, int64, int64, int64)
def miss_l1d(s, va, line, cycle, hit):
    """Carry out a load that L1D does not hold."""
    s["counters"][L1D, MISSES] += 1
    if s["merging"] > 0:
        flush_merge(s, line, cycle)
        index = lookup(s, L1D, line)
        if index != MISS:
            # Part of it was being merged, and has had the rest fetched.
            ready = max(hit, s["lines"][index]["ready"])
            take_origin(s, index)
            wait_for_line(s, hit, ready, LEAF_L1D)
            return ready
    if s["track_line"] == line:
        s["stream_lines"] = 0
    start = buffer_start(s, s["level_buffer_base"][L1D], s["level_buffers"][L1D], hit, s["dram_cycles"])
    slot = s["slot"]
    ready = read_l2(s, line, start, COUNTED)
    hold(s, slot, start, ready)
    if s["inherited"] & STALE:
        report_stale(s, line)
    leaf = s["leaf"]
    queue = s["queue"]
    fill_l1d(s, line, ready, origin(s), start)
    train(s, 0, va >> 6, line, cycle)
    s["leaf"] = leaf
    s["queue"] = queue
    wait_for_line(s, hit, ready, LEAF_L1D)
    return ready


@inlined
def load_cached(s, va, line, cycle):
    """Load from Normal cacheable memory; returns load-to-use, and bills its segments."""
    if s["on_cacheable"] == 0:
        return cycle + 1
    hit = cycle + max(1, s["level_hit_cycles"][L1D] * s["on_l1d"])
    s["counters"][L1D, ACCESSES] += 1
    index = lookup(s, L1D, line)
    if index != MISS:
        s["counters"][L1D, HITS] += 1
        if s["tags"][index] & STALE:
            report_stale(s, line)
        if s["tags"][index] & PREFETCHED:
            use_prefetched(s, L1D, index)
            train(s, 0, va >> 6, line, cycle)
        touch(s, L1D, index)
        if s["lines"][index]["ready"] <= hit:
            segment(s, hit, LEAF_L1D)
            return hit
        if forwarded(s, va):
            segment(s, hit, LEAF_L1D)
            return hit
        take_origin(s, index)
        ready = s["lines"][index]["ready"]
        wait_for_line(s, hit, ready, LEAF_L1D)
        return ready
    return miss_l1d(s, va, line, cycle, hit)


@inlined
def load_noncacheable(s, line, cycle):
    """Load from Normal-NC memory: a transaction, or the line that the last ones left in a read buffer."""
    s["counters"][ROW_NC, ACCESSES] += 1
    observe_read(s, line)
    hit = cycle + s["level_hit_cycles"][L1D]
    if s["on_noncacheable"] == 0:
        return hit
    if s["nc_forward"] >= 64:
        for at in range(s["nc_outstanding"]):
            if s["nc_lines"][at, 0] == line + 1:
                s["counters"][ROW_NC, HITS] += 1
                ready = max(hit, s["nc_lines"][at, 1])
                segment(s, hit, LEAF_L1D)
                segment(s, ready, DRAM_LATENCY)
                return ready
    s["counters"][ROW_NC, MISSES] += 1
    start = buffer_start(s, s["nc_base"], s["nc_outstanding"], cycle, s["nc_cycles"])
    slot = s["slot"]
    ready = bus_slot(s, line, start + s["nc_cycles"])
    hold(s, slot, start, ready)
    # Nobody's buffer (`miss_buffers` off) keeps its line in the first row.
    at = slot - s["nc_base"] if slot != NOBODY else 0
    s["nc_lines"][at, 0] = line + 1
    s["nc_lines"][at, 1] = ready
    segment(s, start + s["nc_cycles"], DRAM_LATENCY)
    segment(s, ready, DRAM_BANDWIDTH)
    return ready


@inlined
def load_device(s, line, size, kind, cycle):
    """Load from Device memory: when it is certain to happen and (nGnR) older Device accesses are done."""
    observe_read(s, line)
    s["counters"][ROW_DEVICE, ACCESSES] += 1
    if s["on_device_order"] == 0:
        return cycle + s["level_hit_cycles"][L1D]
    pieces = max(1, (size + s["device_bytes"] - 1) // s["device_bytes"])
    start = cycle
    if kind <= NGNRE:
        # Everything older has retired: no branch is open, no older access can fault.
        start = max(start, s["retire"])
        segment(s, start, BASE)
        if s["device_load_waits"] == 1 and s["device_stored"] > start:
            start = s["device_stored"]
            segment(s, start, DEVICE_STORE)
    else:
        start = max(start, s["branch_resolved"])
    done = start
    for _ in range(pieces):
        begin = buffer_start(s, s["device_read_base"], s["device_reads"], done, s["device_cycles"])
        if kind <= NGNRE:
            begin = max(begin, done)
        hold(s, s["slot"], begin, begin + s["device_cycles"])
        done = begin + s["device_cycles"]
    segment(s, done, DEVICE_LOAD)
    return done


@outlined(int64, MACHINE_TYPE, OP_TYPE, int64, int64)
def load(s, op, va, cycle):
    """Execute a load at its issue cycle; returns when its data are usable."""
    size = op["size"]
    done = cycle
    last = (va + max(size, 1) - 1) >> 6
    piece = va
    cycle = max(cycle, s["memory_after"])
    segment(s, cycle, BARRIER)
    while True:
        known = translate(s, piece, cycle, DTLB)
        segment(s, known, TLB_WALK)
        kind = s["type"]
        line = s["pa"] >> 6
        if kind == WB or (kind == WT and s["wt_is_nc"] == 0):
            ready = load_cached(s, piece, line, known)
        elif kind >= NC:
            ready = load_noncacheable(s, line, known)
            for _ in range(1, op["nc_pieces"]):
                ready = max(ready, load_noncacheable(s, line, known))
        else:
            ready = load_device(s, line, size, kind, known)
        done = max(done, ready)
        piece = ((piece >> 6) + 1) << 6
        if piece >> 6 > last:
            break
    return done
