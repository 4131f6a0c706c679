"""What an instruction waited for, and how the cycles since the last retirement are billed to it."""

from caches.kernels.layout import BASE, DRAM_BANDWIDTH
from caches.views import inlined


@inlined
def segment(s, until, leaf):
    """Say that up to that cycle the instruction at hand waited for `leaf`. `charge` bills what is exposed.

    What ends before something else that it waited for, or before the last retirement, is hidden: most segments are.
    """
    at = s["segments"]
    if until > s["covered"] and at < 32:
        s["covered"] = until
        s["segment"][at, 0] = until
        s["segment"][at, 1] = leaf
        s["segments"] = at + 1


@inlined
def wait_for_line(s, cycle, ready, own):
    """Bill the waiting for a line: the queueing part to DRAM's bandwidth, the rest to where it came from."""
    segment(s, cycle, own)
    if ready > cycle:
        queued = min(s["queue"], ready - cycle)
        segment(s, ready - queued, s["leaf"])
        segment(s, ready, DRAM_BANDWIDTH)


@inlined
def charge(s, row, done):
    """Retire: bill the cycles since the last retirement to what the instruction waited for, exactly."""
    last = s["retire"]
    now = max(last, done)
    beside = s["retired_in_cycle"] if now == last else 0
    full = beside >= s["retire_width"]
    now += full
    s["retired_in_cycle"] = 1 if full else beside + 1
    at = last
    for index in range(s["segments"]):
        until = min(s["segment"][index, 0], now)
        s["insn_cycles"][row, s["segment"][index, 1]] += until - at
        at = until
    s["insn_cycles"][row, BASE] += now - at
    s["insn_count"][row] += 1
    s["retire"] = now
    s["retired"][s["count"] & s["ring_mask"]] = now
    s["count"] += 1
    return now
