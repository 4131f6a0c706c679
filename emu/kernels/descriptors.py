"""Descriptors: reading them, what their fields say, which of them end a walk."""

import numpy as np
from numba import njit

from emu.kernels.host import load_word
from emu.kernels.walk_words import (
    FAULT_ADDRESS_SIZE,
    FAULT_EXTERNAL,
    FAULT_NONE,
    FAULT_TRANSLATION,
    NORMAL_NC,
    NORMAL_WB,
    NORMAL_WT,
    R_FAULT,
    R_LEVEL,
    R_READ,
    R_READS,
    R_STAGE,
)


@njit(cache=True)
def bits(value, low, width):
    """Return the field of `width` bits at bit `low`."""
    return (value >> low) & ((1 << width) - 1)


@njit(cache=True)
def host_address(regions, pa):
    """Where the word at `pa` lies in the host; 0 if not in RAM."""
    for row in range(regions.shape[0]):
        offset = pa - np.int64(regions[row, 0])
        if 0 <= offset <= np.int64(regions[row, 1]) - 8:
            return np.int64(regions[row, 2]) + offset
    return np.int64(0)


@njit(cache=True)
def end_with(result, fault, level, stage):
    """Note why the walk ended, and return it."""
    result[R_FAULT] = fault
    result[R_LEVEL] = level
    result[R_STAGE] = stage
    return fault


@njit(cache=True)
def note_read(result, pa, level, stage):
    """Append one descriptor read."""
    at = R_READ + 3 * result[R_READS]
    result[at] = pa
    result[at + 1] = level
    result[at + 2] = stage
    result[R_READS] += 1


@njit(cache=True)
def attribute_half(nibble):
    """Memory type of one half of a Normal MAIR attribute."""
    if nibble in (0, 4):
        return NORMAL_NC
    return NORMAL_WB if nibble & 4 else NORMAL_WT


@njit(cache=True)
def attribute_type(attribute):
    """Memory type of a MAIR byte: `emu.fields.attribute_type`, compiled (a test compares all 256)."""
    if attribute == 0xF0:
        return NORMAL_WB
    if attribute >> 4 == 0:
        return attribute >> 2 & 3
    return min(attribute_half(attribute >> 4), attribute_half(attribute & 15))


@njit(cache=True)
def stage2_type(memattr):
    """Memory type of a stage 2 descriptor's MemAttr[3:0] (Arm ARM D8.5.5, without FEAT_S2FWB)."""
    if memattr >> 2 == 0:
        return memattr & 3
    outer = 3 + (memattr >> 2)
    inner = NORMAL_NC if memattr & 3 == 0 else 3 + (memattr & 3)
    return min(outer, inner)


@njit(cache=True)
def first_level(input_bits, granule_log2):
    """Level of the first lookup of stage 1: as few levels as resolve the input address."""
    stride = granule_log2 - 3
    return 4 - (input_bits - granule_log2 + stride - 1) // stride


@njit(cache=True)
def leaf_log2_at(level, granule_log2):
    """Bytes that one descriptor of `level` maps, as a power of two."""
    return granule_log2 + (granule_log2 - 3) * (3 - level)


@njit(cache=True)
def table_address(ttbr, level, input_bits, granule_log2, output_bits):
    """Table that a TTBR names: aligned to its own size, and to 64 bytes where bits 5:2 carry PA[51:48]."""
    low = 3 + input_bits - leaf_log2_at(level, granule_log2)
    if output_bits == 52:
        low = max(low, 6)
        return bits(ttbr, low, 48 - low) << low | (ttbr >> 2 & 15) << 48
    return bits(ttbr, low, 48 - low) << low


@njit(cache=True)
def output_address(descriptor, low, output_bits):
    """Address bits of a descriptor from bit `low` up; with 52 bits, PA[51:48] lie in bits 15:12."""
    pa = bits(descriptor, low, 48 - low) << low
    if output_bits == 52:
        pa |= (descriptor >> 12 & 15) << 48
    return pa


@njit(cache=True)
def is_table(descriptor, level):
    """Whether a valid descriptor points to a table of the next level."""
    return level < 3 and descriptor & 2 != 0


@njit(cache=True)
def is_invalid(descriptor, level, granule_log2, pa_bits):
    """Whether a descriptor is invalid or reserved: bit 0 clear, or a block where the granule has none."""
    if descriptor & 1 == 0:
        return True
    if level == 3:
        return descriptor & 2 == 0
    if descriptor & 2 != 0:
        return False
    first_block = 1 if granule_log2 == 12 or (granule_log2 == 16 and pa_bits == 52) else 2
    return level < first_block


@njit(cache=True)
def is_too_wide(word, output_bits):
    """Whether bits 47 and down of a TTBR or descriptor have address bits that PS does not allow."""
    return output_bits < 48 and word >> output_bits & (1 << (48 - output_bits)) - 1 != 0


@njit(cache=True)
def judge(descriptor, level, granule_log2, output_bits, pa_bits):
    """Return the fault that a descriptor of any kind ends the walk with, if it does (Arm ARM D8.2.1, D8.3)."""
    if is_invalid(descriptor, level, granule_log2, pa_bits):
        return FAULT_TRANSLATION
    if is_too_wide(descriptor, output_bits):
        return FAULT_ADDRESS_SIZE
    # PA[51:48], which only a PE with 52 address bits looks at.
    if output_bits < 52 and granule_log2 == 16 and pa_bits == 52 and descriptor >> 12 & 15 != 0:
        return FAULT_ADDRESS_SIZE
    return FAULT_NONE


@njit(cache=True)
def descriptor_at(regions, pa, level, stage, result):
    """Read the descriptor at `pa`: (fault, descriptor)."""
    note_read(result, pa, level, stage)
    host = host_address(regions, pa)
    if host == 0:
        return end_with(result, FAULT_EXTERNAL, level, stage), np.int64(0)
    return FAULT_NONE, load_word(host)
