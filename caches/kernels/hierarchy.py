"""L1D, L2 and L3: reading through them, filling, evicting and writing back."""

from numba.types import int64, void

from caches.kernels.calendars import buffer_start, hold, reserve_pass
from caches.kernels.dram import dram_read, dram_write
from caches.kernels.layout import (
    ACCESSES,
    CALENDAR_L2,
    CALENDAR_L3,
    COUNTED,
    DIRTY,
    FLAG_BITS,
    FLAGS,
    HITS,
    KEPT,
    L1D,
    L2,
    L3,
    LEAF_L2,
    LEAF_L3,
    MISS,
    MISSES,
    OLD,
    PREFETCH_HITS,
    PREFETCHED,
    STALE,
)
from caches.kernels.sets import count_eviction, held_line, lookup, place, remove, touch, victim
from caches.kernels.truth import report_lost
from caches.state import MACHINE_TYPE
from caches.views import inlined, outlined


@inlined
def leave_l3(s, index, cycle):
    """Evict what L3 holds there."""
    line = held_line(s, index)
    flags = s["tags"][index] & FLAGS
    if s["level_inclusion"][L3] == 1:
        flags |= remove(s, L1D, line) | remove(s, L2, line)
    count_eviction(s, L3, flags)
    if flags & DIRTY:
        if flags & STALE:
            report_lost(s, line)
        dram_write(s, line, cycle)


@inlined
def fill_l3(s, line, ready, info, cycle):
    """Place a line in L3."""
    index = victim(s, L3, line)
    if s["tags"][index] != 0:
        leave_l3(s, index, cycle)
    place(s, L3, index, line, ready, info)


@inlined
def write_l3(s, line, flags, cycle):
    """Take a line that L2 gives up or writes past itself; return when it is accepted."""
    if s["level_present"][L3] == 0:
        if flags & DIRTY:
            if flags & STALE:
                report_lost(s, line)
            return dram_write(s, line, cycle)
        return cycle
    index = lookup(s, L3, line)
    if index != MISS:
        s["tags"][index] |= flags & (DIRTY | OLD | STALE)
        touch(s, L3, index)
    elif flags & DIRTY or s["level_inclusion"][L3] == 2:
        fill_l3(s, line, cycle, flags & (DIRTY | OLD | STALE), cycle)
    return cycle


@inlined
def leave_l2(s, index, cycle):
    """Evict what L2 holds there, and the copy above if L2 is inclusive."""
    line = held_line(s, index)
    flags = s["tags"][index] & FLAGS
    if s["level_inclusion"][L2] == 1:
        flags |= remove(s, L1D, line)
    count_eviction(s, L2, flags)
    if flags & DIRTY or s["level_inclusion"][L3] == 2:
        write_l3(s, line, flags, cycle)


@outlined(void, MACHINE_TYPE, int64, int64, int64, int64)
def fill_l2(s, line, ready, info, cycle):
    """Place a line in L2."""
    index = victim(s, L2, line)
    if s["tags"][index] != 0:
        leave_l2(s, index, cycle)
    place(s, L2, index, line, ready, info)


@inlined
def write_l2(s, line, flags, cycle):
    """Take a dirty line from L1D."""
    index = lookup(s, L2, line)
    if index != MISS:
        s["tags"][index] |= flags & (DIRTY | OLD | STALE)
        touch(s, L2, index)
    else:
        fill_l2(s, line, cycle, flags & (DIRTY | OLD | STALE), cycle)


@outlined(void, MACHINE_TYPE, int64, int64, int64, int64)
def fill_l1d(s, line, ready, info, cycle):
    """Place a line in L1D."""
    index = victim(s, L1D, line)
    if s["tags"][index] != 0:
        flags = s["tags"][index] & FLAGS
        old = held_line(s, index)
        count_eviction(s, L1D, flags)
        if flags & DIRTY or s["level_inclusion"][L2] == 2:
            write_l2(s, old, flags, cycle)
    place(s, L1D, index, line, ready, info)


@inlined
def origin(s):
    """Leaf and queueing of the line that was just read, packed for `place`, with what its copy knew of staleness."""
    return (s["queue"] << (FLAG_BITS + 8)) | (s["leaf"] << FLAG_BITS) | s["inherited"]


@inlined
def take_origin(s, index):
    """Put the origin of a line on its way into the clock; the inverse of `origin`."""
    where = s["lines"][index]["origin"]
    s["leaf"] = where & 255
    s["queue"] = where >> 8
    s["inherited"] = s["tags"][index] & STALE


@inlined
def use_prefetched(s, level, index):
    """Count the first use of a prefetched line."""
    if s["tags"][index] & PREFETCHED:
        s["tags"][index] &= ~PREFETCHED
        s["counters"][level, PREFETCH_HITS] += 1


@outlined(int64, MACHINE_TYPE, int64, int64, int64)
def read_l3(s, line, cycle, demand):
    """Read a line from L3 or behind; `cycle` is when L2 has missed."""
    if s["level_present"][L3] == 0:
        return dram_read(s, line, cycle)
    extra = (s["level_hit_cycles"][L3] - s["level_hit_cycles"][L2]) * s["on_l3"]
    start = cycle
    if s["on_l3"] == 1:
        start = reserve_pass(s, L3, CALENDAR_L3, cycle)
    index = lookup(s, L3, line)
    s["counters"][L3, ACCESSES] += demand
    if index != MISS:
        s["counters"][L3, HITS] += demand
        use_prefetched(s, L3, index)
        touch(s, L3, index)
        ready = start + extra
        if s["lines"][index]["ready"] > ready:
            ready = s["lines"][index]["ready"]
            take_origin(s, index)
        else:
            s["leaf"] = LEAF_L3
            s["queue"] = 0
        s["inherited"] = s["tags"][index] & STALE
        keeps = s["level_behind_poc"][L3] == 1 and s["tags"][index] & DIRTY != 0
        if s["level_inclusion"][L3] == 2 and not keeps:
            # Exclusive: the line moves up, and takes its dirtiness with it. Behind the PoC it must not: who cleaned it
            # to there relies on its staying clean above, and the system cache keeps it.
            s["inherited"] |= s["tags"][index] & (DIRTY | OLD)
            s["tags"][index] = 0
        return ready
    s["counters"][L3, MISSES] += demand
    start = buffer_start(s, s["level_buffer_base"][L3], s["level_buffers"][L3], start, s["dram_cycles"])
    slot = s["slot"]
    ready = dram_read(s, line, start + extra)
    hold(s, slot, start, ready)
    if s["level_inclusion"][L3] != 2:
        fill_l3(s, line, ready, origin(s), start)
    return ready


@outlined(int64, MACHINE_TYPE, int64, int64, int64)
def read_l2(s, line, cycle, demand):
    """Read a line from L2 or behind; `cycle` is when L1 has missed. Leaf, queueing and staleness are in the clock.

    An exclusive L2 gives its line up to L1D, dirtiness and all, and is filled by L1D evictions, fetches and walks.
    """
    extra = (s["level_hit_cycles"][L2] - s["level_hit_cycles"][L1D]) * s["on_l2"]
    start = cycle
    passes = s["level_inclusion"][L2] == 2 and demand & KEPT == 0
    if s["on_l2"] == 1:
        start = reserve_pass(s, L2, CALENDAR_L2, cycle)
    index = lookup(s, L2, line)
    s["counters"][L2, ACCESSES] += demand & COUNTED
    if index != MISS:
        s["counters"][L2, HITS] += demand & COUNTED
        # L1D's prefetcher uses what L2's brought, too.
        use_prefetched(s, L2, index)
        touch(s, L2, index)
        ready = start + extra
        if s["lines"][index]["ready"] > ready:
            ready = s["lines"][index]["ready"]
            take_origin(s, index)
        else:
            s["leaf"] = LEAF_L2
            s["queue"] = 0
        s["inherited"] = s["tags"][index] & STALE
        if passes:
            s["inherited"] |= s["tags"][index] & (DIRTY | OLD)
            s["tags"][index] = 0
        return ready
    s["counters"][L2, MISSES] += demand & COUNTED
    start = buffer_start(s, s["level_buffer_base"][L2], s["level_buffers"][L2], start, s["dram_cycles"])
    slot = s["slot"]
    ready = read_l3(s, line, start + extra, demand & COUNTED)
    hold(s, slot, start, ready)
    if not passes:
        fill_l2(s, line, ready, origin(s), start)
        s["inherited"] &= STALE
    return ready
