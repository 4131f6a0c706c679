"""What Unicorn lets pass and the architecture does not, and stores to watched lines."""

import numpy as np
from numba import njit

from emu.kernels.host import INNER, get, put
from emu.kernels.pages import resolve
from emu.kernels.places import (
    C_CURRENT,
    C_CURRENT_VALUES,
    C_FOUND_PA,
    C_FOUND_TYPE,
    C_GROUPS_AT,
    C_INSN,
    C_OPERANDS_AT,
    C_PENDING,
    C_RAISE,
    C_RECORDS_AT,
    C_VA,
    C_VALUES_AT,
    DEVICE_GRE,
    G_COUNT,
    G_FIRST,
    G_LOW,
    G_MASK,
    G_MASK_DEVICE,
    G_MASK_NORMAL,
    G_PAGE,
    G_SLOT,
    G_SPAN,
    GROUP_COLUMNS,
    NOWHERE,
    OFFSET,
    OP_ALIGNMENT,
    OP_EXCLUSIVE,
    OP_FLAGS,
    OP_INSN,
    OP_KIND,
    OP_OFFSET,
    OP_PREFETCH,
    OP_SIZE,
    OP_SP,
    OP_SP_DELTA,
    OP_STRICT,
    OP_UNPRIVILEGED,
    OP_ZERO,
    OPERAND_COLUMNS,
    PAGE_NUMBERS,
    PART_FAULTS,
    PART_KEEP,
    PART_LOOK,
    PENDING_JUDGE,
    RAISE_ALIGNMENT,
    RAISE_EXCLUSIVE,
    RAISE_NONE,
    RAISE_SP_ALIGNMENT,
    RAISE_WALK,
    RC_GROUP_COUNT,
    RC_GROUP_FIRST,
    RC_LATE_COUNT,
    RECORD_COLUMNS,
    ZVA_BLOCK,
)
from emu.kernels.walk_words import FAULT_NONE, MAINTAIN, STORE, UNPRIVILEGED
from emu.kernels.watching import note_store


@njit(**INNER)
def record_row(control, number):
    """Row of a record."""
    return get(control, C_RECORDS_AT) + 8 * RECORD_COLUMNS * number


@njit(**INNER)
def refuse(control, insn, reason, va):
    """Note the earliest instruction of the block that must not be let pass."""
    if get(control, C_RAISE) == RAISE_NONE or insn < get(control, C_INSN):
        put(control, C_INSN, insn)
        put(control, C_RAISE, reason)
        put(control, C_VA, va)


@njit(**INNER)
def check_part(control, operand, va, size):
    """Check the bytes of an operand that lie in one page: PART_KEEP, PART_LOOK or PART_FAULTS."""
    kind, flags, insn = get(operand, OP_KIND), get(operand, OP_FLAGS), get(operand, OP_INSN)
    access = kind | UNPRIVILEGED if flags & OP_UNPRIVILEGED != 0 else kind
    if resolve(control, va, access) != FAULT_NONE:
        if access >= MAINTAIN:  # Unicorn faults other accesses itself
            refuse(control, insn, RAISE_WALK, va)
        return PART_FAULTS
    if get(control, C_FOUND_TYPE) <= DEVICE_GRE and kind < MAINTAIN and flags & (OP_ZERO | OP_EXCLUSIVE) != 0:
        refuse(control, insn, RAISE_ALIGNMENT if flags & OP_ZERO != 0 else RAISE_EXCLUSIVE, va)
        return PART_FAULTS
    if kind == STORE and note_store(control, get(control, C_FOUND_PA) | (va & OFFSET), size):
        return PART_LOOK
    return PART_KEEP


@njit(**INNER)
def check_operand(control, operand, value):
    """Check one operand in full: alignment, then the pages it touches; whether its page may be kept as seen."""
    flags, insn, size = get(operand, OP_FLAGS), get(operand, OP_INSN), get(operand, OP_SIZE)
    va = value + get(operand, OP_OFFSET)
    if flags & OP_SP != 0 and (value + get(operand, OP_SP_DELTA)) & 15 != 0:
        refuse(control, insn, RAISE_SP_ALIGNMENT, va)
        return False
    unaligned = va & get(operand, OP_ALIGNMENT) != 0
    if unaligned and flags & OP_STRICT != 0:
        refuse(control, insn, RAISE_ALIGNMENT, va)
        return False
    if flags & OP_ZERO != 0:
        va &= ~(ZVA_BLOCK - 1)
    first = min(size, 4096 - (va & OFFSET))
    part = check_part(control, operand, va, first)
    device = get(control, C_FOUND_TYPE) <= DEVICE_GRE
    if first < size and part != PART_FAULTS:
        part = min(part, check_part(control, operand, va + first, size - first))
        device = device or get(control, C_FOUND_TYPE) <= DEVICE_GRE
    if unaligned and device and part != PART_FAULTS and get(operand, OP_KIND) < MAINTAIN and flags & OP_PREFETCH == 0:
        refuse(control, insn, RAISE_ALIGNMENT, va)
        return False
    return part == PART_KEEP


def check_slowly(control, group, value):
    """Check every operand of a group, and keep the page as seen if one page has them all."""
    keep = True
    for place in range(get(group, G_FIRST), get(group, G_FIRST) + get(group, G_COUNT)):
        operand = get(control, C_OPERANDS_AT) + 8 * OPERAND_COLUMNS * place
        keep = check_operand(control, operand, value) and keep
    low = value + get(group, G_LOW)
    put(group, G_PAGE, NOWHERE)
    if keep and (low & OFFSET) + get(group, G_SPAN) <= 4096:
        mask = get(group, G_MASK_DEVICE if get(control, C_FOUND_TYPE) <= DEVICE_GRE else G_MASK_NORMAL)
        if mask != -1:
            put(group, G_MASK, mask)
            put(group, G_PAGE, (low >> 12) & PAGE_NUMBERS)
    return 0


@njit(**INNER)
def judge_stores_again(control):
    """Look at the stores of the block begun last once more.

    Lines that a walk of that same block read were not watched yet when its entry was judged.
    """
    put(control, C_PENDING, get(control, C_PENDING) & ~PENDING_JUDGE)
    if get(control, C_CURRENT) == NOWHERE:
        return
    record = record_row(control, get(control, C_CURRENT))
    values = get(control, C_VALUES_AT) + 8 * get(control, C_CURRENT_VALUES)
    first = get(record, RC_GROUP_FIRST)
    for place in range(first, first + get(record, RC_GROUP_COUNT) + get(record, RC_LATE_COUNT)):
        group = get(control, C_GROUPS_AT) + 8 * GROUP_COLUMNS * place
        slot = get(group, G_SLOT)
        value = get(values, slot) if slot >= 0 else np.int64(0)
        for member in range(get(group, G_FIRST), get(group, G_FIRST) + get(group, G_COUNT)):
            operand = get(control, C_OPERANDS_AT) + 8 * OPERAND_COLUMNS * member
            if get(operand, OP_KIND) == STORE:
                check_operand(control, operand, value)
