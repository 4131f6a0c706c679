"""TLBs and table walks: an address and a cycle go in, the PA, its type and when they are known come out."""

from numba.types import int64

from caches.kernels.calendars import buffer_start, hold
from caches.kernels.codes import NC, WB
from caches.kernels.hierarchy import read_l2
from caches.kernels.layout import (
    ACCESSES,
    ASID,
    COUNTED,
    FAILURE_NO_TRANSLATION,
    HITS,
    ITLB,
    KEPT,
    L1D,
    L2TLB,
    LEAF,
    MISS,
    MISSES,
    REGIME,
    ROW_ITLB,
    ROW_L2TLB,
    ROW_WALK,
    SHIFT,
    STALE,
    TAG,
    TLB_AGE,
    TLB_READY,
    WALK_REGIME,
    WRITE_BACKS,
)
from caches.kernels.sets import lookup, touch
from caches.kernels.truth import observe_read, report_stale
from caches.state import MACHINE_TYPE
from caches.views import inlined, outlined


@inlined
def translation_row(s, page):
    """Row of the page in Trace.translations under the current epoch, or MISS."""
    epoch = s["epoch"]
    memo = page & 63
    if s["memo"][memo, 0] == page and s["memo"][memo, 1] == epoch:
        return s["memo"][memo, 2]
    mask = s["translation_mask"]
    at = (page ^ (page >> 17) ^ (epoch << 7) ^ epoch) & mask
    while s["translations"][at]["slot"] >= 0:
        row = s["translations"][at]["slot"]
        if s["translations"][row]["page"] == page and s["translations"][row]["epoch"] == epoch:
            s["memo"][memo, 0] = page
            s["memo"][memo, 1] = epoch
            s["memo"][memo, 2] = row
            return row
        at = (at + 1) & mask
    return MISS


@inlined
def tlb_matches(s, index, va, regime, asid):
    """Whether an entry translates that address now."""
    shift = s["tlb"][index, SHIFT]
    return (
        shift > 0
        and s["tlb"][index, TAG] == va >> shift
        and s["tlb"][index, REGIME] == regime
        and (s["tlb"][index, ASID] < 0 or s["tlb"][index, ASID] == asid)
    )


@inlined
def tlb_lookup(s, which, va, regime, asid):
    """Index of the entry that translates the address, or MISS; a hit is made the youngest of its set."""
    base = s["tlb_base"][which]
    ways = s["tlb_ways"][which]
    if s["tlb_sets"][which] == 1:
        memo = (va >> 12) & 15
        index = s["tlb_memo"][which, memo]
        if tlb_matches(s, index, va, regime, asid):
            s["tick"] += 1
            s["tlb"][index, TLB_AGE] = s["tick"]
            return index
        for index in range(base, base + ways):
            if tlb_matches(s, index, va, regime, asid):
                s["tick"] += 1
                s["tlb"][index, TLB_AGE] = s["tick"]
                s["tlb_memo"][which, memo] = index
                return index
        return MISS
    for kind in range(s["tlb_size_count"][which]):
        if s["tlb_sizes"][which, 8 + kind] == 0:
            continue
        shift = s["tlb_sizes"][which, kind]
        first = base + ((va >> shift) % s["tlb_sets"][which]) * ways
        for index in range(first, first + ways):
            if s["tlb"][index, SHIFT] == shift and tlb_matches(s, index, va, regime, asid):
                s["tick"] += 1
                s["tlb"][index, TLB_AGE] = s["tick"]
                return index
    return MISS


@inlined
def tlb_fill(s, which, va, row, ready):
    """Place the translation, at the largest size that the TLB holds and the leaf allows."""
    leaf = s["translations"][row]["leaf_log2"]
    leaf2 = s["translations"][row]["leaf2_log2"]
    if leaf == 0 or (leaf2 != 0 and leaf2 < leaf):
        leaf = leaf2
    shift = 12
    kind = 0
    for at in range(s["tlb_size_count"][which]):
        if s["tlb_sizes"][which, at] <= leaf:
            shift = s["tlb_sizes"][which, at]
            kind = at
    s["tlb_sizes"][which, 8 + kind] = 1
    first = s["tlb_base"][which] + ((va >> shift) % s["tlb_sets"][which]) * s["tlb_ways"][which]
    oldest = first
    for index in range(first, first + s["tlb_ways"][which]):
        if s["tlb"][index, SHIFT] == 0:
            oldest = index
            break
        if s["tlb"][index, TLB_AGE] < s["tlb"][oldest, TLB_AGE]:
            oldest = index
    s["tick"] += 1
    s["tlb"][oldest, TAG] = va >> shift
    s["tlb"][oldest, SHIFT] = shift
    s["tlb"][oldest, REGIME] = s["regime"]
    s["tlb"][oldest, ASID] = s["asid"]
    if s["translations"][row]["is_global"] == 1:
        s["tlb"][oldest, ASID] = -1
    s["tlb"][oldest, TLB_AGE] = s["tick"]
    s["tlb"][oldest, TLB_READY] = ready
    s["tlb"][oldest, LEAF] = max(shift, s["translations"][row]["leaf_log2"])
    s["tlb_memo"][which, (va >> 12) & 15] = oldest


@inlined
def read_descriptor(s, pa, memory_type, cycle):
    """One descriptor read of a walk; returns when it is there."""
    line = pa >> 6
    s["counters"][ROW_WALK, WRITE_BACKS] += 1  # reported as "reads"
    if memory_type != WB:
        observe_read(s, line)
        return cycle + s["nc_cycles"] * s["on_walk"]
    if s["on_cacheable"] == 0:
        return cycle
    start = cycle
    if s["walk_l1d"] == 1:
        index = lookup(s, L1D, line)
        start = cycle + s["level_hit_cycles"][L1D]
        if index != MISS:
            touch(s, L1D, index)
            return max(start, s["lines"][index]["ready"])
    ready = read_l2(s, line, start, COUNTED | KEPT)
    if s["inherited"] & STALE:
        report_stale(s, line)
    return ready


@inlined
def walk(s, row, cycle):
    """Walk the tables for a translation row: the recorded reads, less those that the walk cache knows."""
    first = s["translations"][row]["walk_first"]
    count = s["translations"][row]["walk_count"]
    s["counters"][ROW_WALK, ACCESSES] += 1
    at = first
    for read in range(first + count - 2, first - 1, -1):
        if walk_cache_hit(s, s["walk_reads"][read]["pa"]):
            at = read + 1
            s["counters"][ROW_WALK, HITS] += 1
            break
    start = buffer_start(s, s["walker_base"], s["walkers"], cycle, 40)
    slot = s["slot"]
    ready = start
    for read in range(at, first + count):
        pa = s["walk_reads"][read]["pa"]
        kind = s["walk_type"]
        if s["walk_reads"][read]["stage"] == 2:
            kind = s["walk2_type"]
        ready = read_descriptor(s, pa, kind, ready + s["walk_step"])
        if read < first + count - 1:
            walk_cache_fill(s, pa)
    hold(s, slot, start, ready)
    if s["on_walk"] == 0:
        return cycle
    return ready


@inlined
def walk_cache_hit(s, pa):
    """Whether the walk cache knows the intermediate descriptor at this address."""
    for at in range(s["walk_entries"]):
        if s["walk_cache"][at, 0] == pa + 1 and s["walk_cache"][at, WALK_REGIME] == s["regime"]:
            s["tick"] += 1
            s["walk_cache"][at, 1] = s["tick"]
            return True
    return False


@inlined
def walk_cache_fill(s, pa):
    """Remember an intermediate descriptor, in place of the one used least lately."""
    entries = s["walk_entries"]
    if entries == 0:
        return
    oldest = 0
    for at in range(entries):
        if s["walk_cache"][at, 1] < s["walk_cache"][oldest, 1]:
            oldest = at
    s["tick"] += 1
    s["walk_cache"][oldest, 0] = pa + 1
    s["walk_cache"][oldest, WALK_REGIME] = s["regime"]
    s["walk_cache"][oldest, 1] = s["tick"]


@outlined(int64, MACHINE_TYPE, int64, int64, int64)
def translate_ahead(s, va, row, cycle):
    """When a prefetcher knows the translation of a page: in the L2 TLB, or walked for; MISS where it stops instead."""
    index = tlb_lookup(s, L2TLB, va, s["regime"], s["asid"])
    if index != MISS:
        return max(cycle, s["tlb"][index, TLB_READY])
    if s["prefetch_walks"] == 0:
        return MISS
    ready = walk(s, row, cycle)
    tlb_fill(s, L2TLB, va, row, ready)
    return ready


@outlined(int64, MACHINE_TYPE, int64, int64, int64, int64)
def translate_missed(s, va, cycle, which, row):
    """Return what L2 TLB and walk make of a miss in the first TLB."""
    s["counters"][ROW_ITLB + which, MISSES] += 1
    s["counters"][ROW_L2TLB, ACCESSES] += 1
    index = tlb_lookup(s, L2TLB, va, s["regime"], s["asid"])
    ready = cycle + s["tlb_hit_cycles"][L2TLB] * s["on_l2tlb"]
    if index != MISS:
        s["counters"][ROW_L2TLB, HITS] += 1
        ready = max(ready, s["tlb"][index, TLB_READY])
    else:
        s["counters"][ROW_L2TLB, MISSES] += 1
        ready = walk(s, row, ready)
        tlb_fill(s, L2TLB, va, row, ready)
    tlb_fill(s, which, va, row, ready)
    return ready


@inlined
def translate_timed(s, va, cycle, which, row):
    """Charge what the TLBs make of an access."""
    s["counters"][ROW_ITLB + which, ACCESSES] += 1
    index = tlb_lookup(s, which, va, s["regime"], s["asid"])
    if index != MISS:
        s["counters"][ROW_ITLB + which, HITS] += 1
        return max(cycle, s["tlb"][index, TLB_READY])
    return translate_missed(s, va, cycle, which, row)


@inlined
def translate(s, va, cycle, which):
    """Translate for a data access (DTLB) or fetch (ITLB): clock.pa and clock.type; returns when they are known."""
    if s["flat"] == 1:
        s["pa"] = va
        s["type"] = s["flat_type"]
        if which == ITLB:
            s["type"] = s["flat_fetch_type"]
        return cycle
    row = translation_row(s, (va >> 12) & 0xFFFFFFFFFFFFF)
    if row == MISS:
        s["failure"] = FAILURE_NO_TRANSLATION
        s["failure_va"] = va
        s["pa"] = va & 0xFFFFFFFFFFFF
        s["type"] = NC
        return cycle
    s["pa"] = s["translations"][row]["pa"] | (va & 4095)
    s["type"] = s["translations"][row]["memory_type"]
    if which == ITLB:
        s["type"] = s["translations"][row]["fetch_type"]
    return translate_timed(s, va, cycle, which, row)
