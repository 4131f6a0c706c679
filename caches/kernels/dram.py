"""DRAM: refresh, banks and rows, the channels' buses."""

from caches.kernels.calendars import reserve
from caches.kernels.layout import ACCESSES, CALENDAR_DRAM, DRAM_LATENCY, HITS, MISSES, ROW_DRAM, WRITE_BACKS
from caches.views import inlined


@inlined
def after_refresh(s, cycle):
    """Return the cycle, or the end of the refresh that it falls into."""
    if s["on_dram_refresh"] == 0 or s["refresh_interval"] == 0:
        return cycle
    # Half an interval off, so that a run does not begin with a refresh.
    phase = (cycle + (s["refresh_interval"] >> 1)) % s["refresh_interval"]
    if phase < s["refresh_cycles"]:
        return cycle + s["refresh_cycles"] - phase
    return cycle


@inlined
def channel_of(s, line):
    """DRAM channel of a line."""
    return (line >> s["interleave_lines_log2"]) % s["channels"]


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
def row_latency(s, line, cycle):
    """Latency of a read by the state of its bank; opens the row. Leaves the waiting for the bank in clock.queue."""
    s["queue"] = 0
    latency = s["dram_cycles"]
    if s["on_dram_rows"] == 0:
        return latency - s["row_hit_saves"]
    local = (line >> s["interleave_lines_log2"]) // s["channels"]
    wide = (local << s["interleave_lines_log2"]) + (line & ((1 << s["interleave_lines_log2"]) - 1))
    row = wide >> s["row_lines_log2"]
    # Upper bits are folded in, as controllers do, so that power-of-two strides do not share one bank.
    bank = (row ^ (row >> 5) ^ (row >> 10)) & (s["bank_count"] - 1)
    at = channel_of(s, line) * s["bank_count"] + bank
    if s["banks"][at, 0] == row + 1:
        s["counters"][ROW_DRAM, HITS] += 1
        return latency - s["row_hit_saves"]
    s["counters"][ROW_DRAM, MISSES] += 1
    wait = 0
    if s["banks"][at, 1] <= cycle < s["banks"][at, 2]:
        wait = s["banks"][at, 2] - cycle
    if s["banks"][at, 0] != 0:
        latency += s["row_conflict_adds"]
    s["banks"][at, 0] = row + 1
    s["banks"][at, 1] = cycle + wait
    s["banks"][at, 2] = cycle + wait + s["bank_busy"]
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
    """Hand a line to memory; return when the controller has it. Each batch of writes turns the bus round."""
    s["counters"][ROW_DRAM, WRITE_BACKS] += 1
    if s["on_dram_bandwidth"] == 0:
        return cycle
    s["writes"] += 1
    if s["on_dram_turnaround"] == 1 and s["writes"] % s["write_batch"] == 0:
        for _ in range(s["turnaround_slots"]):
            bus_slot(s, line, cycle)
    return bus_slot(s, line, cycle)
