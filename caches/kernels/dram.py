"""DRAM: refresh, banks and rows, the channels' buses."""

from caches.kernels.calendars import quotient, remainder, reserve
from caches.kernels.layout import (
    ACCESSES,
    BUSY_FROM,
    BUSY_UNTIL,
    CALENDAR_DRAM,
    CALENDAR_WRITES,
    DRAM_LATENCY,
    HITS,
    MISSES,
    OPEN_ROW,
    REFRESHES,
    ROW_DRAM,
    WRITE_BACKS,
)
from caches.views import inlined

# What there was of a row when it was asked for: the row itself, none, or another one in its bank.
OPEN, CLOSED, OTHER = 0, 1, 2


@inlined
def refreshes_before(s, cycle):
    """How many refreshes have begun up to that cycle; clock.refreshed: when the last of them did.

    Half an interval off, so that a run does not begin with one. Most cycles are between the same two as the last one.
    """
    interval = s["refresh_interval"]
    if s["on_dram_refresh"] == 0 or interval == 0:
        return 0
    if cycle < s["refreshed"] or cycle >= s["refreshed"] + interval:
        s["refreshes"] = (cycle + (interval >> 1)) // interval
        s["refreshed"] = s["refreshes"] * interval - (interval >> 1)
    return s["refreshes"]


@inlined
def after_refresh(s, cycle):
    """Return the cycle, or the end of the refresh that it falls into: until then no bank of the rank answers."""
    if s["on_dram_refresh"] == 0 or s["refresh_interval"] == 0:
        return cycle
    refreshes_before(s, cycle)
    return max(cycle, s["refreshed"] + s["refresh_cycles"])


@inlined
def channel_of(s, line):
    """DRAM channel of a line."""
    return remainder(line >> s["interleave_lines_log2"], s["channels"], s["channels_log2"])


@inlined
def bus_slot(s, line, cycle):
    """Move one line over its channel's data bus at or after that cycle; return the cycle it is through."""
    if s["on_dram_bandwidth"] == 0:
        return cycle
    calendar = CALENDAR_DRAM + channel_of(s, line)
    # Sixteenths of a cycle: a burst is rarely a whole number of core cycles.
    slot = reserve(s, calendar, (cycle * 16) // s["burst_sixteenths"])
    return max(cycle, (slot * s["burst_sixteenths"]) // 16)


@inlined
def write_slot(s, cycle):
    """Pass what takes writes at less than the bus's rate, where there is such a thing; return when it has the line."""
    if s["write_sixteenths"] == 0:
        return cycle
    slot = reserve(s, CALENDAR_WRITES, (cycle * 16) // s["write_sixteenths"])
    return max(cycle, (slot * s["write_sixteenths"]) // 16)


@inlined
def open_row(s, line, cycle):
    """Open the row of a line; returns the waiting for its bank, and says in clock.row_was what there was before.

    All banks of a rank are refreshed together, which closes their rows.
    """
    local = quotient(line >> s["interleave_lines_log2"], s["channels"], s["channels_log2"])
    wide = (local << s["interleave_lines_log2"]) + (line & ((1 << s["interleave_lines_log2"]) - 1))
    row = wide >> s["row_lines_log2"]
    # Upper bits are folded in, as controllers do, so that power-of-two strides do not share one bank.
    bank = (row ^ (row >> 5) ^ (row >> 10)) & (s["bank_count"] - 1)
    at = channel_of(s, line) * s["bank_count"] + bank
    refreshes = refreshes_before(s, cycle)
    s["row_was"] = CLOSED
    if s["banks"][at, OPEN_ROW] != 0 and s["banks"][at, REFRESHES] == refreshes:
        s["row_was"] = OTHER
        if s["banks"][at, OPEN_ROW] == row + 1:
            s["row_was"] = OPEN
            return 0
    wait = 0
    if s["banks"][at, BUSY_FROM] <= cycle < s["banks"][at, BUSY_UNTIL]:
        wait = s["banks"][at, BUSY_UNTIL] - cycle
    s["banks"][at, OPEN_ROW] = row + 1
    s["banks"][at, REFRESHES] = refreshes
    s["banks"][at, BUSY_FROM] = cycle + wait
    s["banks"][at, BUSY_UNTIL] = cycle + wait + s["bank_busy"]
    return wait


@inlined
def row_latency(s, line, cycle):
    """Latency of a read by the state of its bank; opens the row. Leaves the waiting for the bank in clock.queue."""
    s["queue"] = 0
    latency = s["dram_cycles"]
    if s["on_dram_rows"] == 0:
        return latency - s["row_hit_saves"]
    wait = open_row(s, line, cycle)
    if s["row_was"] == OPEN:
        s["counters"][ROW_DRAM, HITS] += 1
        return latency - s["row_hit_saves"]
    s["counters"][ROW_DRAM, MISSES] += 1
    if s["row_was"] == OTHER:
        latency += s["row_conflict_adds"]
    s["queue"] = wait
    return latency + wait


@inlined
def dram_read(s, line, cycle):
    """Read a line; return when it is there, and leave its leaf and its queueing in the clock."""
    s["counters"][ROW_DRAM, ACCESSES] += 1
    s["leaf"] = DRAM_LATENCY
    s["inherited"] = 0
    s["queue"] = 0
    if s["on_dram_latency"] == 0:
        return bus_slot(s, line, cycle)
    started = after_refresh(s, cycle)
    idle = started + row_latency(s, line, started)
    ready = bus_slot(s, line, idle)
    s["queue"] += ready - idle
    return ready


@inlined
def dram_write(s, line, cycle):
    """Hand a line to memory; return when the controller has it.

    Writes are drained a batch at a time: each batch turns the bus round, and opens the row of its last line.
    """
    s["counters"][ROW_DRAM, WRITE_BACKS] += 1
    s["writes"] += 1
    drains = s["writes"] % s["write_batch"] == 0
    if drains and s["on_dram_rows"] == 1:
        open_row(s, line, cycle)
    if s["on_dram_bandwidth"] == 0:
        return cycle
    if drains and s["on_dram_turnaround"] == 1:
        for _ in range(s["turnaround_slots"]):
            bus_slot(s, line, cycle)
    return bus_slot(s, line, write_slot(s, cycle))
