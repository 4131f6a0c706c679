"""Instruction fetch: through L1I, or past it a group at a time."""

from numba.types import void

from caches.kernels.billing import segment
from caches.kernels.calendars import buffer_start, hold
from caches.kernels.codes import WT
from caches.kernels.hierarchy import origin, read_l2
from caches.kernels.layout import (
    ACCESSES,
    CODE_MASK,
    COUNTED,
    FETCH,
    HITS,
    ITLB,
    KEPT,
    L1I,
    MISS,
    MISSES,
    ROW_FETCH,
    STALE,
    TLB_WALK,
)
from caches.kernels.prefetch import prefetch_l2
from caches.kernels.sets import count_eviction, held_line, lookup, place, touch, victim
from caches.kernels.translation import translate
from caches.kernels.truth import observe_read, report_stale
from caches.state import MACHINE_TYPE, OP_TYPE
from caches.views import inlined, outlined


@inlined
def redirect(s, cycle, leaf):
    """Fetch begins anew at that cycle, for the reason `leaf`."""
    if cycle > s["redirect"]:
        s["redirect"] = cycle
        s["redirect_leaf"] = leaf
    s["fetch_key"] = MISS


@inlined
def fetch_group(s, key, line, cycle):
    """Fetch past the caches (SCTLR.I = 0, or Device and Normal-NC pages), a group at a time."""
    s["counters"][ROW_FETCH, ACCESSES] += 1
    for at in range(s["buffer_groups"]):
        if s["fetch_groups"][at] == key + 1:
            s["counters"][ROW_FETCH, HITS] += 1
            s["fetch_next"] = cycle
            return cycle
    observe_read(s, line)
    s["counters"][ROW_FETCH, MISSES] += 1
    if s["buffer_groups"] > 0:
        at = s["group"] % s["buffer_groups"]
        s["fetch_groups"][at] = key + 1
        s["group"] = at + 1
    if s["on_uncached_fetch"] == 0:
        return cycle
    start = buffer_start(s, s["fetch_base"], s["fetch_outstanding"], cycle, s["uncached_cycles"])
    hold(s, s["slot"], start, start + s["uncached_cycles"])
    s["fetch_next"] = start
    return start + s["uncached_cycles"]


@inlined
def fetch_line(s, line, cycle):
    """Fetch through L1I. A hit costs nothing beyond the pipeline's depth, which only a redirect shows."""
    s["fetch_next"] = cycle + 1
    if s["on_icache"] == 0 or s["on_cacheable"] == 0:
        return cycle
    s["counters"][L1I, ACCESSES] += 1
    index = lookup(s, L1I, line)
    if index != MISS:
        s["counters"][L1I, HITS] += 1
        if s["tags"][index] & STALE:
            report_stale(s, line)
        touch(s, L1I, index)
        return max(cycle, s["lines"][index]["ready"])
    s["counters"][L1I, MISSES] += 1
    start = buffer_start(s, s["level_buffer_base"][L1I], s["level_buffers"][L1I], cycle, s["dram_cycles"])
    slot = s["slot"]
    ready = read_l2(s, line, start, COUNTED | KEPT)
    hold(s, slot, start, ready)
    index = victim(s, L1I, line)
    if s["tags"][index] != 0:
        count_eviction(s, L1I, 0)
        s["code_lines"][held_line(s, index) & CODE_MASK] -= 1
    place(s, L1I, index, line, ready, origin(s))
    s["code_lines"][line & CODE_MASK] += 1
    if s["on_prefetch"] == 1:
        for ahead in range(1, s["fetch_prefetch"] + 1):
            if ((line + ahead) >> 6) == (line >> 6):
                prefetch_l2(s, line + ahead, cycle)
    return ready


@outlined(void, MACHINE_TYPE, OP_TYPE)
def fetch_next_key(s, op):
    """Fetch what the last line or group did not bring."""
    start = max(s["fetch_next"], s["dispatched"][(s["count"] - s["fetch_queue"]) & s["ring_mask"]])
    if s["redirect"] > 0:
        start = max(start, s["redirect"])
        segment(s, s["redirect"], s["redirect_leaf"])
        s["redirect"] = 0
    known = translate(s, op["va"], start, ITLB)
    segment(s, known, TLB_WALK)
    line = s["pa"] >> 6
    s["fetch_uncached"] = 0
    if s["type"] < WT:
        s["fetch_uncached"] = 1
        key = op["va"] >> s["uncached_log2"]
        ready = fetch_group(s, key, line, known)
    else:
        key = op["va"] >> 6
        ready = fetch_line(s, line, known)
    s["fetch_key"] = key
    s["fetched"] = ready
    segment(s, ready, FETCH)


@inlined
def fetch(s, op):
    """When the instruction is there to be dispatched; bills redirects, ITLB misses and fetches."""
    key = op["va"] >> 6
    if s["fetch_uncached"] == 1:
        key = op["va"] >> s["uncached_log2"]
    if key != s["fetch_key"]:
        fetch_next_key(s, op)
    return s["fetched"]
