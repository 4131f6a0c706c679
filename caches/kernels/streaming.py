"""Full lines on their way past L1D: merging a line's stores, and where it is pushed to."""

from numba.types import int64

from caches.kernels.calendars import buffer_start, hold, reserve_pass
from caches.kernels.dram import dram_write
from caches.kernels.hierarchy import fill_l1d, fill_l2, origin, read_l2, write_l3
from caches.kernels.layout import CALENDAR_L2, CALENDAR_L3, COUNTED, DIRTY, L1D, L2, L3, MISS, OLD, PREFETCHED
from caches.kernels.sets import lookup, touch
from caches.state import MACHINE_TYPE
from caches.views import inlined, outlined


@outlined(int64, MACHINE_TYPE, int64, int64)
def push_line(s, line, cycle):
    """Send a full line past L1D, to where the streaming threshold says; returns when it is taken."""
    index = lookup(s, L2, line)
    full = s["stream_lines"]
    if index != MISS or s["stream_l2"] == 0 or full < s["stream_l2"]:
        start = reserve_pass(s, L2, CALENDAR_L2, cycle)
        if index != MISS:
            s["tags"][index] = (s["tags"][index] & ~(OLD | PREFETCHED)) | DIRTY
            touch(s, L2, index)
        else:
            fill_l2(s, line, start, DIRTY, start)
        return start
    start = buffer_start(s, s["level_buffer_base"][L2], s["level_buffers"][L2], cycle, s["write_ack"])
    slot = s["slot"]
    if s["level_present"][L3] == 1 and (s["stream_l3"] == 0 or full < s["stream_l3"] or lookup(s, L3, line) != MISS):
        taken = reserve_pass(s, L3, CALENDAR_L3, start)
        write_l3(s, line, DIRTY, taken)
    else:
        taken = dram_write(s, line, start)
    hold(s, slot, start, taken + s["write_ack"])
    s["stores_done"] = max(s["stores_done"], taken + s["write_ack"])
    return start


@outlined(int64, MACHINE_TYPE, int64, int64)
def allocate_store(s, line, cycle):
    """Write-allocate: fetch the line and make it dirty; returns when the store is done."""
    start = buffer_start(s, s["level_buffer_base"][L1D], s["level_buffers"][L1D], cycle, s["dram_cycles"])
    slot = s["slot"]
    ready = read_l2(s, line, start, COUNTED)
    hold(s, slot, start, ready)
    fill_l1d(s, line, ready, (origin(s) & ~OLD) | DIRTY, start)
    return ready


@inlined
def close_merge(s, at, cycle):
    """Let go of a merging line: full ones are pushed on, others are allocated and end the streaming."""
    line = s["merge"][at, 0] - 1
    full = s["merge"][at, 1] == 0xFFFF
    s["merge"][at, 0] = 0
    s["merging"] -= 1
    index = lookup(s, L1D, line)
    if index != MISS:
        # A prefetch has brought it meanwhile; a second copy would be one too many.
        s["tags"][index] = (s["tags"][index] & ~OLD) | DIRTY
        return max(cycle, s["lines"][index]["ready"])
    if full:
        return push_line(s, line, cycle)
    s["stream_lines"] = 0
    return allocate_store(s, line, cycle)


@outlined(int64, MACHINE_TYPE, int64, int64)
def flush_merge(s, line, cycle):
    """Close the merging line `line`, or all with MISS; returns when they are taken."""
    done = cycle
    for at in range(s["stream_buffers"]):
        if s["merge"][at, 0] != 0 and (line == MISS or s["merge"][at, 0] == line + 1):
            done = max(done, close_merge(s, at, cycle))
    return done


@inlined
def merge_store(s, line, mask, cycle):
    """Streaming: gather a line's stores, and push it on when it is full."""
    free = MISS
    oldest = 0
    for at in range(s["stream_buffers"]):
        if s["merge"][at, 0] == line + 1:
            s["merge"][at, 1] |= mask
            if s["merge"][at, 1] == 0xFFFF:
                return close_merge(s, at, cycle)
            return cycle
        if s["merge"][at, 0] == 0:
            free = at
        elif s["merge"][at, 2] < s["merge"][oldest, 2] or s["merge"][oldest, 0] == 0:
            oldest = at
    done = cycle
    if free == MISS:
        done = close_merge(s, oldest, cycle)
        free = oldest
    s["tick"] += 1
    s["merge"][free, 0] = line + 1
    s["merge"][free, 1] = mask
    s["merge"][free, 2] = s["tick"]
    s["merging"] += 1
    if mask == 0xFFFF:
        return max(done, close_merge(s, free, cycle))
    return done
