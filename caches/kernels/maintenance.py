"""DC, IC and TLBI: what they do to lines and entries, and what they cost."""

from numba.types import int64, void

from caches.kernels.calendars import buffer_start, hold
from caches.kernels.codes import (
    DC_CISW,
    DC_CIVAC,
    DC_CSW,
    DC_CVAC,
    DC_CVAP,
    DC_CVAU,
    DC_ISW,
    DC_IVAC,
    IC_IALLU,
    IC_IALLUIS,
    IC_IVAU,
    TLBI_ALLE1,
    TLBI_ALLE1IS,
    TLBI_ALLE2,
    TLBI_ALLE2IS,
    TLBI_FIRST,
    TLBI_LAST,
)
from caches.kernels.dram import dram_write
from caches.kernels.hierarchy import write_l2, write_l3
from caches.kernels.layout import (
    ACCESSES,
    DIRTY,
    DTLB,
    FLAGS,
    L1D,
    L1I,
    L3,
    MAINTENANCE,
    MISS,
    OLD,
    ROW_MAINTENANCE,
    STALE,
    WRITE_BACKS,
)
from caches.kernels.sets import lookup
from caches.kernels.stores import enter_store_buffer
from caches.kernels.streaming import flush_merge
from caches.kernels.translation import tlb_invalidate, translate
from caches.kernels.truth import report_lost
from caches.state import MACHINE_TYPE, OP_TYPE
from caches.views import inlined, outlined


@inlined
def clean_line(s, line, cycle, to_pou, invalidate, keep):
    """Apply a DC by VA to every level before its point; returns when a write-back it made is taken, else `cycle`.

    `keep` is 0 where dirty data are thrown away (IVAC).
    """
    dirty = 0
    last = 3
    if to_pou:
        last = 1
    for level in range(last):
        if s["level_present"][level] == 0 or s["level_behind_poc"][level] == 1:
            continue
        index = lookup(s, level, line)
        if index == MISS:
            continue
        dirty |= s["lines"][index]["info"] & FLAGS
        s["lines"][index]["info"] &= ~(DIRTY | OLD)
        if invalidate:
            s["tags"][index] = 0
            s["lines"][index]["age"] = 0
    if dirty & DIRTY == 0:
        return cycle
    s["counters"][ROW_MAINTENANCE, WRITE_BACKS] += keep
    if keep == 0:
        if dirty & OLD == 0:
            report_lost(s, line)
        else:
            s["old_discarded"] += 1
        return cycle
    if to_pou:
        write_l2(s, line, dirty, cycle)
        return cycle
    if dirty & STALE:
        report_lost(s, line)
    if s["level_present"][L3] == 1 and s["level_behind_poc"][L3] == 1:
        return write_l3(s, line, DIRTY, cycle)
    return dram_write(s, line, cycle) + s["write_ack"]


@inlined
def maintain_address(s, op, va, cycle):
    """DC by VA, in order after older stores; returns when its store buffer entry is free."""
    kind = op["maintenance"]
    saved = s["segments"]
    known = translate(s, va, cycle, DTLB)
    line = s["pa"] >> 6
    s["segments"] = saved
    if s["merging"] > 0:
        flush_merge(s, line, known)
    s["counters"][ROW_MAINTENANCE, ACCESSES] += 1
    keep = 1
    if kind == DC_IVAC and s["ivac_cleans"] == 0 and s["stage2"] == 0:
        keep = 0
    invalidate = kind in (DC_IVAC, DC_CIVAC)
    start = max(known, s["maintenance_next"])
    start = buffer_start(s, s["dc_base"], s["dc_outstanding"], start, s["dc_clean"])
    slot = s["slot"]
    taken = clean_line(s, line, start, kind == DC_CVAU, invalidate, keep)
    done = start + s["dc_clean"]
    if taken != start:
        done = max(taken, start + s["dc_dirty"])
    if s["on_dc"] == 0:
        return cycle
    s["maintenance_next"] = start + s["dc_interval"]
    hold(s, slot, start, done)
    s["maintenance_done"] = max(s["maintenance_done"], done)
    return start + s["dc_interval"]


@inlined
def maintain_set_way(s, op, cycle):
    """Clean or invalidate by set and way: the n-th one reaches the n-th way of L1D, as such loops go.

    The operand is not in the trace.
    """
    s["counters"][ROW_MAINTENANCE, ACCESSES] += 1
    index = s["level_base"][L1D] + s["set_way"] % (s["level_sets"][L1D] * s["level_ways"][L1D])
    s["set_way"] += 1
    if s["tags"][index] != 0:
        flags = s["lines"][index]["info"] & FLAGS
        line = s["tags"][index] - 1
        # Under stage 2 (HCR_EL2.VM or DC) ISW is performed as CISW (Arm ARM, DC ISW).
        loses = op["maintenance"] == DC_ISW and s["stage2"] == 0
        if flags & DIRTY:
            if loses:
                report_lost(s, line)
            else:
                write_l2(s, line, flags, cycle)
        s["lines"][index]["info"] &= ~(DIRTY | OLD)
        if op["maintenance"] != DC_CSW:
            s["tags"][index] = 0
            s["lines"][index]["age"] = 0
    if s["on_dc"] == 0:
        return cycle
    start = max(cycle, s["maintenance_next"])
    s["maintenance_next"] = start + s["set_way_cycles"]
    s["maintenance_done"] = max(s["maintenance_done"], start + s["set_way_cycles"])
    return start + s["set_way_cycles"]


@inlined
def clear_l1i(s, line):
    """Drop a line from L1I, or all with MISS, and what fetch has buffered."""
    s["fetch_key"] = MISS
    for at in range(8):
        s["fetch_groups"][at] = 0
    if line != MISS:
        index = lookup(s, L1I, line)
        if index != MISS:
            s["tags"][index] = 0
            s["code_lines"][line & 4095] -= 1
        return
    for index in range(s["level_base"][L1I], s["level_base"][L1I] + s["level_sets"][L1I] * s["level_ways"][L1I]):
        s["tags"][index] = 0
        s["lines"][index]["age"] = 0
    for at in range(4096):
        s["code_lines"][at] = 0


@outlined(void, MACHINE_TYPE, OP_TYPE, int64, int64)
def maintain(s, op, va, cycle):
    """Any DC, IC, TLBI or AT, after it has retired at `cycle`; takes a store buffer entry."""
    kind = op["maintenance"]
    cycle = max(cycle, s["drained"])
    release = cycle
    if kind in (DC_IVAC, DC_CIVAC, DC_CVAC, DC_CVAU, DC_CVAP):
        release = maintain_address(s, op, va, cycle)
    elif kind in (DC_ISW, DC_CSW, DC_CISW):
        release = maintain_set_way(s, op, cycle)
    elif kind in (IC_IALLU, IC_IALLUIS, IC_IVAU):
        line = MISS
        if kind == IC_IVAU and op["slot"] >= 0:
            translate(s, va, cycle, DTLB)
            line = s["pa"] >> 6
        clear_l1i(s, line)
        s["maintenance_done"] = max(s["maintenance_done"], cycle + s["ic_cycles"] * s["on_ic"])
    elif TLBI_FIRST <= kind <= TLBI_LAST:
        regime = s["regime"] & 1
        if kind in (TLBI_ALLE2, TLBI_ALLE2IS):
            regime = 1
        if kind in (TLBI_ALLE1, TLBI_ALLE1IS):
            regime = 0
        tlb_invalidate(s, regime)
        s["maintenance_done"] = max(s["maintenance_done"], cycle + s["tlbi_cycles"] * s["on_tlbi"])
    s["drained"] = max(s["drained"], release)
    enter_store_buffer(s, MISS, release, MAINTENANCE)
    s["merge_block"] = 0
