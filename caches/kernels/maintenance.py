"""DC, IC and TLBI: what they do to lines and entries, and what they cost."""

from numba.types import int64, void

from caches.kernels.calendars import buffer_start, hold
from caches.kernels.codes import (
    AT,
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
)
from caches.kernels.dram import dram_write
from caches.kernels.hierarchy import write_l2, write_l3
from caches.kernels.layout import (
    ACCESSES,
    CODE_MASK,
    DIRTY,
    DTLB,
    FLAGS,
    L1I,
    L2,
    L3,
    MAINTENANCE,
    MISS,
    OLD,
    ROW_MAINTENANCE,
    STALE,
    WRITE_BACKS,
)
from caches.kernels.set_way import maintain_set_way
from caches.kernels.sets import lookup
from caches.kernels.stores import enter_store_buffer
from caches.kernels.streaming import flush_merge
from caches.kernels.tlbi import invalidate_tlbs
from caches.kernels.translation import translate
from caches.kernels.truth import report_lost
from caches.state import MACHINE_TYPE, OP_TYPE
from caches.views import inlined, outlined


@inlined
def clean_line(s, line, cycle, to_pou, invalidate, keep):
    """Apply a DC by VA to every level before its point; returns when a write-back it made is taken, else MISS.

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
        dirty |= s["tags"][index] & FLAGS
        s["tags"][index] &= ~(DIRTY | OLD)
        if invalidate:
            s["tags"][index] = 0
    if dirty & DIRTY == 0:
        return MISS
    s["counters"][ROW_MAINTENANCE, WRITE_BACKS] += keep
    if keep == 0:
        if dirty & OLD == 0:
            report_lost(s, line)
        else:
            s["old_discarded"] += 1
        return MISS
    if to_pou:
        write_l2(s, line, dirty, cycle)
        return cycle
    if dirty & STALE:
        report_lost(s, line)
    if s["level_present"][L3] == 1 and s["level_behind_poc"][L3] == 1:
        return write_l3(s, line, DIRTY, cycle)
    return dram_write(s, line, cycle) + s["write_ack"]


@inlined
def last_asked(s, kind):
    """How long the answer of the last cache that a DC by VA has to ask takes: to the PoU L2's, to the PoC L3's, if any.

    What lies at the PoC or before it must have the request before it is done: other cores' copies hang on it.
    """
    if kind != DC_CVAU and s["level_present"][L3] == 1:
        return s["level_hit_cycles"][L3] * s["on_l3"]
    return s["level_hit_cycles"][L2] * s["on_l2"]


@inlined
def maintain_address(s, op, va, cycle):
    """DC by VA, in order after older stores; returns when its store buffer entry is free."""
    kind = op["maintenance"]
    known = translate(s, va, cycle, DTLB)
    line = s["pa"] >> 6
    if s["merging"] > 0:
        flush_merge(s, line, known)
    s["counters"][ROW_MAINTENANCE, ACCESSES] += 1
    keep = 1
    if kind == DC_IVAC and s["ivac_cleans"] == 0 and s["stage2"] == 0:
        keep = 0
    invalidate = kind in (DC_IVAC, DC_CIVAC)
    asked = last_asked(s, kind)
    start = max(known, s["maintenance_next"])
    start = buffer_start(s, s["dc_base"], s["dc_outstanding"], start, s["dc_clean"])
    slot = s["slot"]
    taken = clean_line(s, line, start + asked, kind == DC_CVAU, invalidate, keep)
    done = start + max(s["dc_clean"], asked)
    if taken != MISS:
        done = max(taken, start + s["dc_dirty"])
    if s["on_dc"] == 0:
        return cycle
    s["maintenance_next"] = start + s["dc_interval"]
    hold(s, slot, start, done)
    s["maintenance_done"] = max(s["maintenance_done"], done)
    return start + s["dc_interval"]


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
            s["code_lines"][line & CODE_MASK] -= 1
        return
    for index in range(s["level_base"][L1I], s["level_base"][L1I] + s["level_sets"][L1I] * s["level_ways"][L1I]):
        s["tags"][index] = 0
    for at in range(CODE_MASK + 1):
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
        release = maintain_set_way(s, op, va if op["slot"] >= 0 else 0, cycle)
    elif kind in (IC_IALLU, IC_IALLUIS, IC_IVAU):
        line = MISS
        if kind == IC_IVAU and op["slot"] >= 0:
            translate(s, va, cycle, DTLB)
            line = s["pa"] >> 6
        clear_l1i(s, line)
        s["maintenance_done"] = max(s["maintenance_done"], cycle + s["ic_cycles"] * s["on_ic"])
    elif kind != AT:
        # Without a register the operand is XZR.
        invalidate_tlbs(s, kind, va if op["slot"] >= 0 else 0)
        s["maintenance_done"] = max(s["maintenance_done"], cycle + s["tlbi_cycles"] * s["on_tlbi"])
    s["drained"] = max(s["drained"], release)
    enter_store_buffer(s, MISS, release, MAINTENANCE)
    s["merge_block"] = 0
