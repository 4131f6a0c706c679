"""Stage 2 of a walk."""

from numba import njit

from emu.kernels.descriptors import (
    bits,
    descriptor_at,
    end_with,
    is_table,
    is_too_wide,
    judge,
    leaf_log2_at,
    output_address,
    stage2_type,
    table_address,
)
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
    R_IPA,
    R_LEAF2_LOG2,
    R_PA,
    R_SHAREABILITY2,
    R_TYPE2,
    STAGE_2,
    STORE,
    TABLE_READ,
    W_GRANULE2_LOG2,
    W_HARDWARE_AF2,
    W_HARDWARE_DIRTY2,
    W_OUT2,
    W_PA_BITS,
    W_PROTECTED_WALK,
    W_START_LEVEL2,
    W_T0SZ2,
    W_VTTBR,
)


@njit(cache=True)
def stage2_forbids(descriptor, kind, unprivileged, hardware_dirty):
    """Whether a stage 2 leaf's S2AP and XN refuse the access; a table read counts as a load."""
    readable = descriptor >> 6 & 1 != 0
    writable = descriptor >> 7 & 1 != 0 or (hardware_dirty and descriptor >> 51 & 1 != 0)
    if kind == FETCH:
        return descriptor >> 54 & 1 != 0
    if kind in (STORE, MAINTAIN_WRITE):
        return not writable
    if kind == MAINTAIN and not unprivileged:
        return False
    return not readable


@njit(cache=True)
def leave_stage2(words, descriptor, level, low, ipa, kind, unprivileged, result):
    """Judge a stage 2 leaf and note what it gives."""
    if descriptor >> 10 & 1 == 0 and words[W_HARDWARE_AF2] == 0:
        return end_with(result, FAULT_ACCESS_FLAG, level, STAGE_2)
    if stage2_forbids(descriptor, kind, unprivileged, words[W_HARDWARE_DIRTY2] != 0):
        return end_with(result, FAULT_PERMISSION, level, STAGE_2)
    memory_type = stage2_type(descriptor >> 2 & 15)
    if kind == TABLE_READ and words[W_PROTECTED_WALK] != 0 and memory_type < NORMAL_NC:
        return end_with(result, FAULT_PERMISSION, level, STAGE_2)  # HCR_EL2.PTW: no tables in Device memory
    result[R_PA] = output_address(descriptor, low, words[W_OUT2]) | ipa & (1 << low) - 1
    result[R_LEAF2_LOG2] = low
    result[R_TYPE2] = memory_type
    result[R_SHAREABILITY2] = descriptor >> 8 & 3
    return FAULT_NONE


@njit(cache=True)
def walk_stage2(words, regions, ipa, kind, unprivileged, result):
    """Translate an IPA: fault code; sets R_PA, R_LEAF2_LOG2, R_TYPE2, R_SHAREABILITY2, appends its reads."""
    granule_log2, output_bits, pa_bits = words[W_GRANULE2_LOG2], words[W_OUT2], words[W_PA_BITS]
    input_bits = 64 - words[W_T0SZ2]
    level = words[W_START_LEVEL2]
    result[R_IPA] = ipa
    if level < 0 or ipa >> input_bits != 0:
        return end_with(result, FAULT_TRANSLATION, LEVEL_0, STAGE_2)
    if is_too_wide(words[W_VTTBR], output_bits):
        return end_with(result, FAULT_ADDRESS_SIZE, LEVEL_0, STAGE_2)
    table = table_address(words[W_VTTBR], level, input_bits, granule_log2, output_bits)
    top = input_bits  # concatenated tables: the first lookup resolves all that is left
    while True:
        low = leaf_log2_at(level, granule_log2)
        fault, descriptor = descriptor_at(regions, table | bits(ipa, low, top - low) << 3, level, STAGE_2, result)
        if fault != FAULT_NONE:
            return fault
        fault = judge(descriptor, level, granule_log2, output_bits, pa_bits)
        if fault != FAULT_NONE:
            return end_with(result, fault, level, STAGE_2)
        if not is_table(descriptor, level):
            break
        table = output_address(descriptor, granule_log2, output_bits)
        top = low
        level += 1
    return leave_stage2(words, descriptor, level, low, ipa, kind, unprivileged, result)
