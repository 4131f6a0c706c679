"""The block and the instruction callback: capture an execution that is about to begin, or stop before it."""

import numpy as np
from numba import njit

from emu.kernels.checks import judge_stores_again, record_row
from emu.kernels.host import INNER, add, get, host_of, pointer, put, put_half
from emu.kernels.outside import call_attend, call_check_slowly, uc_emu_stop, uc_reg_read
from emu.kernels.places import (
    C_ATTENDED,
    C_BUDGET,
    C_CURRENT,
    C_CURRENT_VALUES,
    C_EXECUTIONS_AT,
    C_EXECUTIONS_LIMIT,
    C_EXECUTIONS_USED,
    C_GROUPS_AT,
    C_INSTRUCTIONS,
    C_LATE_AT,
    C_LOOKUP_AT,
    C_LOOKUP_MASK,
    C_PASS,
    C_PC,
    C_PENDING,
    C_RAISE,
    C_REASON,
    C_SCRATCH,
    C_SIZE,
    C_STOP_PC,
    C_VALUES_AT,
    C_VALUES_LIMIT,
    C_VALUES_USED,
    G_BASE,
    G_EXTEND,
    G_INDEX,
    G_LOW,
    G_MASK,
    G_PAGE,
    G_SHIFT,
    G_SLOT,
    G_SPAN,
    GROUP_COLUMNS,
    L_RECORD,
    L_SIZE,
    L_VA,
    LATE_COLUMNS,
    LOOKUP_COLUMNS,
    LT_GROUP,
    LT_INSN,
    NOWHERE,
    OFFSET,
    PAGE_NUMBERS,
    PASS_NOTHING,
    PASS_RAISE,
    PENDING_FULL,
    PENDING_JUDGE,
    RAISE_NONE,
    RC_AFTER,
    RC_BLOCK,
    RC_COUNT,
    RC_GROUP_COUNT,
    RC_GROUP_FIRST,
    RC_LATE_COUNT,
    RC_LATE_FIRST,
    RC_MARKED,
    RC_STOP_INSN,
    RC_VA,
    RC_VALUES,
    REASON_AT_PC,
    REASON_BUDGET,
    REASON_MARKED,
    REASON_PENDING,
    REASON_RAISE,
    REASON_RAISE_LATE,
    REASON_UNKNOWN,
)
from emu.kernels.tables import hashed
from emu.kernels.watching import pend


@njit(**INNER)
def captured_sum(engine, control, group):
    """X[base] + (extend(X[index]) << shift)."""
    uc_reg_read(engine, np.int32(get(group, G_BASE)), pointer(control + 8 * C_SCRATCH))
    base = get(control, C_SCRATCH)
    uc_reg_read(engine, np.int32(get(group, G_INDEX)), pointer(control + 8 * C_SCRATCH))
    index, extend = get(control, C_SCRATCH), get(group, G_EXTEND)
    if extend == 1:
        index &= 0xFFFF_FFFF
    elif extend == 2:
        index = (index << 32) >> 32
    return base + (index << get(group, G_SHIFT))


@njit(**INNER)
def capture_group(engine, control, group, values):
    """Read the value of a group into its slot, and check the operands formed from it."""
    slot = get(group, G_SLOT)
    if slot < 0:
        value = np.int64(0)
    else:
        if get(group, G_INDEX) < 0:
            uc_reg_read(engine, np.int32(get(group, G_BASE)), pointer(values + 8 * slot))
        else:
            put(values, slot, captured_sum(engine, control, group))
        value = get(values, slot)
    low = value + get(group, G_LOW)
    if (
        (low >> 12) & PAGE_NUMBERS != get(group, G_PAGE)
        or (low & OFFSET) + get(group, G_SPAN) > 4096
        or value & get(group, G_MASK) != 0
    ):
        call_check_slowly(control, group, value)


@njit(**INNER)
def halted(engine, control, reason, pc, size):
    """Say what is the matter before this block, or this instruction, and stop; False if it was seen to at once."""
    put(control, C_REASON, reason)
    put(control, C_PC, pc)
    put(control, C_SIZE, size)
    if get(control, C_ATTENDED) != 0 and call_attend(control, np.int64(reason), pc) == 0:
        return False
    uc_emu_stop(engine)
    return True


@njit(cache=True)
def note_record(lookup, mask, va, size, record):
    """Enter a block into the lookup table, which has a free place."""
    place = hashed(va, mask)
    while get(lookup + 8 * LOOKUP_COLUMNS * place, L_RECORD) != NOWHERE:
        place = (place + 1) & mask
    row = lookup + 8 * LOOKUP_COLUMNS * place
    put(row, L_VA, va)
    put(row, L_SIZE, size)
    put(row, L_RECORD, record)


@njit(**INNER)
def record_of(control, pc, size):
    """Return the number of the record of a block; NOWHERE if there is none."""
    lookup, mask = get(control, C_LOOKUP_AT), get(control, C_LOOKUP_MASK)
    place = hashed(pc, mask)
    row = lookup + 8 * LOOKUP_COLUMNS * place
    while get(row, L_RECORD) != NOWHERE and (get(row, L_VA) != pc or get(row, L_SIZE) != size):
        place = (place + 1) & mask
        row = lookup + 8 * LOOKUP_COLUMNS * place
    return get(row, L_RECORD)


@njit(**INNER)
def begin(control, record, pc):
    """Append one execution, whose values have been written."""
    used = get(control, C_EXECUTIONS_USED) + 1
    put(control, C_CURRENT_VALUES, get(control, C_VALUES_USED))
    values_used = get(control, C_VALUES_USED) + get(record, RC_VALUES)
    put_half(get(control, C_EXECUTIONS_AT), used - 1, get(record, RC_BLOCK))
    put(control, C_EXECUTIONS_USED, used)
    put(control, C_VALUES_USED, values_used)
    add(control, C_INSTRUCTIONS, get(record, RC_COUNT))
    put(control, C_PASS, PASS_NOTHING)
    for late in range(get(record, RC_LATE_COUNT)):  # theirs are the last slots, and may never be reached
        put(get(control, C_VALUES_AT), values_used - 1 - late, 0)
    pending = get(record, RC_AFTER)
    if used >= get(control, C_EXECUTIONS_LIMIT) or values_used > get(control, C_VALUES_LIMIT):
        pending |= PENDING_FULL
    if pending != 0:
        pend(control, pending)
    if get(record, RC_STOP_INSN) >= 0:
        stop_pc = pc + 4 * get(record, RC_STOP_INSN)
        if get(control, C_STOP_PC) == NOWHERE or stop_pc < get(control, C_STOP_PC):
            put(control, C_STOP_PC, stop_pc)


def on_block(engine, va, size, state):
    """Block callback: capture the execution that is about to begin, or stop before it."""
    control, pc, block_bytes = host_of(state), np.int64(va), np.int64(size)
    if get(control, C_PENDING) & PENDING_JUDGE != 0:
        judge_stores_again(control)
    if get(control, C_PENDING) != 0 and halted(engine, control, REASON_PENDING, pc, block_bytes):
        return
    number = record_of(control, pc, block_bytes)
    if number == NOWHERE:
        if halted(engine, control, REASON_UNKNOWN, pc, block_bytes):
            return
        number = record_of(control, pc, block_bytes)
    record = record_row(control, number)
    if get(record, RC_MARKED) != 0 and get(control, C_PASS) == PASS_NOTHING:
        halted(engine, control, REASON_MARKED, pc, block_bytes)
        return
    if get(control, C_INSTRUCTIONS) + get(record, RC_COUNT) > get(control, C_BUDGET):
        halted(engine, control, REASON_BUDGET, pc, block_bytes)
        return
    values = get(control, C_VALUES_AT) + 8 * get(control, C_VALUES_USED)
    group = get(control, C_GROUPS_AT) + 8 * GROUP_COLUMNS * get(record, RC_GROUP_FIRST)
    put(control, C_RAISE, RAISE_NONE)
    for _ in range(get(record, RC_GROUP_COUNT)):
        capture_group(engine, control, group, values)
        group += 8 * GROUP_COLUMNS
    raises = get(control, C_RAISE) != RAISE_NONE and get(control, C_PASS) != PASS_RAISE
    if raises and halted(engine, control, REASON_RAISE, pc, block_bytes):
        return
    put(control, C_CURRENT, number)
    begin(control, record, pc)


def on_instruction(engine, va, size, state):
    """Code callback, bounded to one address: stop before the instruction there, or read what it captures late."""
    control, pc = host_of(state), np.int64(va)
    if get(control, C_CURRENT) == NOWHERE:
        return
    if pc == get(control, C_STOP_PC):
        halted(engine, control, REASON_AT_PC, pc, np.int64(4))
        return
    record = record_row(control, get(control, C_CURRENT))
    values = get(control, C_VALUES_AT) + 8 * get(control, C_CURRENT_VALUES)
    insn = (pc - get(record, RC_VA)) >> 2
    late = get(control, C_LATE_AT) + 8 * LATE_COLUMNS * get(record, RC_LATE_FIRST)
    for _ in range(get(record, RC_LATE_COUNT)):
        if get(late, LT_INSN) == insn:
            put(control, C_RAISE, RAISE_NONE)
            group = get(control, C_GROUPS_AT) + 8 * GROUP_COLUMNS * get(late, LT_GROUP)
            capture_group(engine, control, group, values)
            if get(control, C_RAISE) != RAISE_NONE and halted(engine, control, REASON_RAISE_LATE, pc, np.int64(4)):
                return
        late += 8 * LATE_COLUMNS
