"""When something shared is free: calendars of ports and buses, intervals of buffers."""

from caches.kernels.layout import NEVER, NOBODY, SLOT_BITS, SLOTS_MASK
from caches.lanes import LANES, lanes_at_most, lowest, ones
from caches.views import inlined


@inlined
def quotient(number, divisor, log2):
    """Divide: by a shift where `log2` is not negative, for a division takes the host a dozen cycles."""
    return number >> log2 if log2 >= 0 else number // divisor


@inlined
def remainder(number, divisor, log2):
    """Return what `quotient` leaves over."""
    return number & (divisor - 1) if log2 >= 0 else number % divisor


@inlined
def reserve(s, calendar, slot):
    """Take the first free slot at or after `slot`, and return it. `hint` spans slots known to be taken."""
    low = s["hint"][calendar, 0]
    high = s["hint"][calendar, 1]
    first = slot
    inside = low <= slot < high
    if inside:
        slot = high
    while s["calendar"][calendar, slot & SLOTS_MASK] == slot:
        slot += 1
    s["calendar"][calendar, slot & SLOTS_MASK] = slot
    if inside:
        s["hint"][calendar, 1] = slot + 1
    elif slot >= high:
        s["hint"][calendar, 0] = first
        s["hint"][calendar, 1] = slot + 1
    return slot


@inlined
def reserve_pass(s, level, calendar, cycle):
    """Take the first free pass through a level, one every `interval` cycles; return its cycle."""
    interval = s["level_interval"][level]
    slot = reserve(s, calendar, quotient(cycle, interval, s["level_interval_log2"][level]))
    return max(cycle, slot * interval)


@inlined
def reserve_port(s, first, ports, cycle, slots):
    """Take `slots` cycles of the port of a group that is free soonest; return the first of them."""
    best = first
    if ports > 1:
        for port in range(first, first + ports):
            if s["calendar"][port, cycle & SLOTS_MASK] != cycle:
                best = port
                break
            if s["hint"][port, 1] < s["hint"][best, 1]:
                best = port
    begin = reserve(s, best, cycle)
    for _ in range(1, slots):
        reserve(s, best, begin + 1)
    return begin


@inlined
def idle_from(s, slot, end, cycle, length):
    """Which of the eight buffers from `slot` on, and before `end`, are idle from that cycle on, as bits.

    Idle is a buffer after its last request, or between the last two.
    """
    after = lanes_at_most(s["buffer_end"], slot, cycle)
    between = lanes_at_most(s["buffer_previous"], slot, cycle) & ~lanes_at_most(
        s["buffer_begin"], slot, cycle + length - 1
    )
    return (after | between) & ((1 << min(end - slot, LANES)) - 1)


@inlined
def buffer_start(s, base, count, cycle, length):
    """When a buffer of the group can take a request of `length` cycles; clock.slot says which. Reserves nothing.

    The first that is idle for as long, else the first of those that are idle soonest.
    """
    if s["on_miss_buffers"] == 0:
        s["slot"] = NOBODY
        return cycle
    end = base + count
    for slot in range(base, end, LANES):
        idle = idle_from(s, slot, end, cycle, length)
        if idle != 0:
            s["slot"] = slot + lowest(idle)
            return cycle
    soonest = NEVER
    for slot in range(base, end):
        soonest = min(soonest, (s["buffer_end"][slot] << SLOT_BITS) | slot)
    s["slot"] = soonest & ((1 << SLOT_BITS) - 1)
    return soonest >> SLOT_BITS


@inlined
def hold(s, slot, start, finish):
    """Keep a buffer busy over [start, finish)."""
    if start >= s["buffer_end"][slot]:
        s["buffer_previous"][slot] = s["buffer_end"][slot]
        s["buffer_begin"][slot] = start
        s["buffer_end"][slot] = finish
    else:
        s["buffer_previous"][slot] = finish


@inlined
def has_spare(s, base, count, cycle, spare):
    """Whether more than `spare` buffers of the group are idle at that cycle."""
    idle = 0
    for slot in range(base, base + count, LANES):
        idle += ones(idle_from(s, slot, base + count, cycle, 1))
    return idle > spare
