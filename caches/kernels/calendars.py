"""When something shared is free: calendars of ports and buses, intervals of buffers."""

from caches.kernels.layout import BEGIN, END, NOBODY, PREVIOUS_END, SLOTS_MASK
from caches.views import inlined


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
def buffer_start(s, base, count, cycle, length):
    """When a buffer of the group can take a request of `length` cycles; clock.slot says which. Reserves nothing."""
    best = base
    if s["on_miss_buffers"] == 0:
        s["slot"] = NOBODY
        return cycle
    best_start = s["buffers"][base, END]
    for slot in range(base, base + count):
        start = s["buffers"][slot, END]
        if cycle >= start or (
            cycle >= s["buffers"][slot, PREVIOUS_END] and cycle + length <= s["buffers"][slot, BEGIN]
        ):
            best = slot
            best_start = cycle
            break
        if start < best_start:
            best = slot
            best_start = start
    s["slot"] = best
    return best_start


@inlined
def hold(s, slot, start, finish):
    """Keep a buffer busy over [start, finish)."""
    if start >= s["buffers"][slot, END]:
        s["buffers"][slot, PREVIOUS_END] = s["buffers"][slot, END]
        s["buffers"][slot, BEGIN] = start
        s["buffers"][slot, END] = finish
    else:
        s["buffers"][slot, PREVIOUS_END] = finish


@inlined
def has_spare(s, base, count, cycle, spare):
    """Whether more than `spare` buffers of the group are idle at that cycle."""
    for slot in range(base, base + count):
        if cycle >= s["buffers"][slot, END] or s["buffers"][slot, PREVIOUS_END] <= cycle < s["buffers"][slot, BEGIN]:
            spare -= 1
            if spare < 0:
                return True
    return False
