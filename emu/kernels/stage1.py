"""Stage 1 of a walk: TTBR0 and TTBR1, permissions, attributes."""

import numpy as np
from numba import njit

from emu.kernels.descriptors import (
    attribute_type,
    bits,
    descriptor_at,
    end_with,
    first_level,
    is_table,
    is_too_wide,
    judge,
    leaf_log2_at,
    output_address,
    table_address,
)
from emu.kernels.stage2 import walk_stage2
from emu.kernels.walk_words import (
    FAULT_ACCESS_FLAG,
    FAULT_ADDRESS_SIZE,
    FAULT_NONE,
    FAULT_PERMISSION,
    FAULT_TRANSLATION,
    FETCH,
    LEVEL_0,
    MAINTAIN,
    MAINTAIN_WRITE,
    NORMAL_NC,
    R_CONTIGUOUS,
    R_FETCH_TYPE,
    R_GLOBAL,
    R_IPA,
    R_LEAF_LOG2,
    R_LEVEL,
    R_MEMORY_TYPE,
    R_ON_WALK,
    R_PA,
    R_SHAREABILITY,
    RANGE_WORDS,
    STAGE_1,
    STORE,
    TABLE_READ,
    W_DATA_NC,
    W_DISABLED_0,
    W_FETCH_NC,
    W_FLAT_FETCH_TYPE,
    W_FLAT_SHAREABILITY,
    W_FLAT_TYPE,
    W_GRANULE_LOG2_0,
    W_HARDWARE_AF,
    W_HARDWARE_DIRTY,
    W_HPD_0,
    W_LVA,
    W_MAIR,
    W_OUT_0,
    W_PA_BITS,
    W_STAGE2,
    W_TBI_0,
    W_TBI_1,
    W_TSZ_0,
    W_TTBR_0,
    W_TWO_RANGES,
    W_WXN,
)


@njit(cache=True)
def select_range(words, va):
    """First word of the range that `va` lies in; -1 where it lies in none, or its table is disabled."""
    select = (va >> 55 & 1) if words[W_TWO_RANGES] != 0 else 0
    first = W_TTBR_0 + RANGE_WORDS * select
    offset = first - W_TTBR_0
    tsz = words[W_TSZ_0 + offset]
    least = 12 if words[W_LVA] != 0 and words[W_GRANULE_LOG2_0 + offset] == 16 else 16
    # A size out of range is CONSTRAINED UNPREDICTABLE; we take the fault (Arm ARM D8.2.7).
    if not least <= tsz <= 39 or words[W_DISABLED_0 + offset] != 0:
        return np.int64(-1)
    if words[W_TBI_0 + offset] != 0:
        va = (va << 8) >> 8
    if va >> (64 - tsz) != -select:
        return np.int64(-1)
    return np.int64(first)


@njit(cache=True)
def stage1_forbids(words, descriptor, limits, kind, unprivileged):
    """Whether a stage 1 leaf, under the limits of its tables, refuses the access (Arm ARM D8.4, WXN included).

    `limits` has the table descriptors' bits 62:59 OR'ed together.
    """
    read_only = (descriptor >> 7 | limits >> 62) & 1 != 0
    if words[W_HARDWARE_DIRTY] != 0 and descriptor >> 51 & 1 != 0:
        read_only = limits >> 62 & 1 != 0
    never = (descriptor >> 54 | limits >> 60) & 1 != 0
    readable = True
    if words[W_TWO_RANGES] != 0:
        for_el0 = descriptor >> 6 & 1 != 0 and limits >> 61 & 1 == 0
        if unprivileged:
            readable = for_el0
        else:
            # What EL0 can write, EL1 never executes.
            never = (descriptor >> 53 | limits >> 59) & 1 != 0 or (for_el0 and not read_only)
    writable = readable and not read_only
    if kind == FETCH:
        return never or (writable and words[W_WXN] != 0)
    if kind in (STORE, MAINTAIN_WRITE):
        return not writable
    if kind == MAINTAIN and not unprivileged:
        return False
    return not readable


@njit(cache=True)
def note_attributes(words, descriptor, result):
    """Note a stage 1 leaf's memory types, with SCTLR.C and I applied, and its other attributes."""
    memory_type = attribute_type(words[W_MAIR] >> 8 * (descriptor >> 2 & 7) & 0xFF)
    result[R_MEMORY_TYPE] = min(memory_type, NORMAL_NC) if words[W_DATA_NC] != 0 else memory_type
    result[R_FETCH_TYPE] = min(memory_type, NORMAL_NC) if words[W_FETCH_NC] != 0 else memory_type
    result[R_SHAREABILITY] = descriptor >> 8 & 3
    result[R_CONTIGUOUS] = descriptor >> 52 & 1
    result[R_GLOBAL] = 1 if words[W_TWO_RANGES] == 0 or descriptor >> 11 & 1 == 0 else 0


@njit(cache=True)
def leave_stage1(words, descriptor, limits, output_bits, level, low, va, kind, unprivileged, result):
    """Judge a stage 1 leaf that maps bits `low` and up; note its address and attributes."""
    if descriptor >> 10 & 1 == 0 and words[W_HARDWARE_AF] == 0:
        return end_with(result, FAULT_ACCESS_FLAG, level, STAGE_1)
    if stage1_forbids(words, descriptor, limits, kind, unprivileged):
        return end_with(result, FAULT_PERMISSION, level, STAGE_1)
    result[R_LEVEL] = level
    result[R_LEAF_LOG2] = low
    result[R_IPA] = output_address(descriptor, low, output_bits) | va & (1 << low) - 1
    note_attributes(words, descriptor, result)
    return FAULT_NONE


@njit(cache=True)
def walk_stage1(words, regions, va, kind, unprivileged, result):
    """Translate a VA through TTBR0 or TTBR1: fault code; sets R_IPA and the stage 1 attributes, appends its reads."""
    first = select_range(words, va)
    if first < 0:
        return end_with(result, FAULT_TRANSLATION, LEVEL_0, STAGE_1)
    offset = first - W_TTBR_0
    ttbr, granule_log2 = words[first], words[W_GRANULE_LOG2_0 + offset]
    output_bits, pa_bits = words[W_OUT_0 + offset], words[W_PA_BITS]
    top = 64 - words[W_TSZ_0 + offset]
    if is_too_wide(ttbr, output_bits):
        return end_with(result, FAULT_ADDRESS_SIZE, LEVEL_0, STAGE_1)
    level = first_level(top, granule_log2)
    table = table_address(ttbr, level, top, granule_log2, output_bits)
    limits = np.int64(0)
    while True:
        low = leaf_log2_at(level, granule_log2)
        pa = table | bits(va, low, top - low) << 3
        if words[W_STAGE2] != 0:
            fault = walk_stage2(words, regions, pa, TABLE_READ, unprivileged, result)
            if fault != FAULT_NONE:
                result[R_ON_WALK] = 1
                return fault
            pa = result[R_PA]
        fault, descriptor = descriptor_at(regions, pa, level, STAGE_1, result)
        if fault != FAULT_NONE:
            return fault
        fault = judge(descriptor, level, granule_log2, output_bits, pa_bits)
        if fault != FAULT_NONE:
            return end_with(result, fault, level, STAGE_1)
        if not is_table(descriptor, level):
            break
        if words[W_HPD_0 + offset] == 0:
            limits |= descriptor
        table = output_address(descriptor, granule_log2, output_bits)
        top = low
        level += 1
    return leave_stage1(words, descriptor, limits, output_bits, level, low, va, kind, unprivileged, result)


@njit(cache=True)
def pass_stage1(words, va, result):
    """Stage 1 is off: the VA is the IPA, if it fits the PA size (Arm ARM D8.2.9)."""
    tbi = words[W_TBI_1] if words[W_TWO_RANGES] != 0 and va >> 55 & 1 != 0 else words[W_TBI_0]
    if tbi != 0:
        va = (va << 8) >> 8
    if va >> words[W_PA_BITS] != 0:
        return end_with(result, FAULT_ADDRESS_SIZE, LEVEL_0, STAGE_1)
    result[R_IPA] = va
    result[R_LEAF_LOG2] = words[W_PA_BITS]
    result[R_MEMORY_TYPE] = words[W_FLAT_TYPE]
    result[R_FETCH_TYPE] = words[W_FLAT_FETCH_TYPE]
    result[R_SHAREABILITY] = words[W_FLAT_SHAREABILITY]
    result[R_GLOBAL] = 1
    return FAULT_NONE
