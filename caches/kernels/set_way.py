"""DC by set and way: one way of one level, as the operand names it in the geometry that the guest was told of."""

from caches.kernels.codes import DC_CSW, DC_ISW
from caches.kernels.dram import dram_write
from caches.kernels.hierarchy import write_l2, write_l3
from caches.kernels.layout import (
    ACCESSES,
    DIRTY,
    FLAGS,
    L1D,
    L2,
    OLD,
    ROW_MAINTENANCE,
    STALE,
    WRITE_BACKS,
)
from caches.kernels.sets import held_line, remove
from caches.kernels.truth import report_lost
from caches.views import inlined

LEVELS = 3


@inlined
def hand_down(s, level, line, flags, cycle):
    """Write a dirty line to the next level, and no further; returns when it is taken."""
    if level == L1D:
        write_l2(s, line, flags, cycle)
        return cycle
    if level == L2:
        return write_l3(s, line, flags, cycle)
    if flags & STALE:
        report_lost(s, line)
    return dram_write(s, line, cycle)


@inlined
def maintain_way(s, kind, level, index, cycle):
    """Clean, invalidate or both what a level holds there; returns when a write-back it made is taken, else `cycle`."""
    if s["tags"][index] == 0:
        return cycle
    line = held_line(s, index)
    flags = s["tags"][index] & FLAGS
    s["tags"][index] &= ~(DIRTY | OLD)
    if kind != DC_CSW:
        s["tags"][index] = 0
        if level > L1D and s["level_inclusion"][level] == 1:
            # An inclusive level cannot give a line up and leave the copy above.
            flags |= remove(s, L1D, line)
            if level > L2:
                flags |= remove(s, L2, line)
    if flags & DIRTY == 0:
        return cycle
    # Under stage 2 (HCR_EL2.VM or DC) ISW is performed as CISW (Arm ARM, DC ISW).
    if kind == DC_ISW and s["stage2"] == 0:
        if flags & OLD == 0:
            report_lost(s, line)
        else:
            s["old_discarded"] += 1
        return cycle
    s["counters"][ROW_MAINTENANCE, WRITE_BACKS] += 1
    return hand_down(s, level, line, flags, cycle)


@inlined
def way_bits(ways):
    """How many of the operand's upper bits name the way."""
    bits = 0
    while 1 << bits < ways:
        bits += 1
    return bits


@inlined
def maintain_named(s, kind, operand, cycle):
    """Do what DC ISW, CSW or CISW with this operand does (Arm ARM, DC ISW); returns when it is through.

    Set and way number the lines of the cache that CCSIDR_EL1 described; a modelled cache of another shape is covered
    by the same loop, each step its share of the lines. What names no line does nothing.
    """
    level = (operand >> 1) & 7
    if level >= LEVELS or s["told"][level, 0] == 0 or s["level_present"][level] == 0:
        return cycle
    if s["level_behind_poc"][level] == 1:
        return cycle
    sets = s["told"][level, 0]
    ways = s["told"][level, 1]
    low_bits = 32 - way_bits(ways)
    way = (operand & 0xFFFFFFFF) >> low_bits
    index = (operand & ((1 << low_bits) - 1)) >> 6
    if way >= ways or index >= sets:
        return cycle
    number = index * ways + way
    lines = s["level_sets"][level] * s["level_ways"][level]
    base = s["level_base"][level]
    done = cycle
    for at in range(base + number * lines // (sets * ways), base + (number + 1) * lines // (sets * ways)):
        done = max(done, maintain_way(s, kind, level, at, cycle))
    return done


@inlined
def maintain_set_way(s, op, operand, cycle):
    """Execute DC by set and way, in order; returns when its store buffer entry is free."""
    s["counters"][ROW_MAINTENANCE, ACCESSES] += 1
    start = max(cycle, s["maintenance_next"])
    taken = maintain_named(s, op["maintenance"], operand, start)
    if s["on_dc"] == 0:
        return cycle
    s["maintenance_next"] = start + s["set_way_cycles"]
    s["maintenance_done"] = max(s["maintenance_done"], taken, start + s["set_way_cycles"])
    return start + s["set_way_cycles"]
