"""Pages of the current epoch: walked, and recorded, when they are first touched."""

import numpy as np
from numba import carray, njit

from emu.kernels.host import INNER, add, get, pointer, put
from emu.kernels.outside import call_attend, call_walk_page
from emu.kernels.places import (
    C_ATTENDED,
    C_EPOCH,
    C_FLAT,
    C_FLAT_TYPE,
    C_FOUND_PA,
    C_FOUND_TYPE,
    C_PA_BITS,
    C_PAGES_AT,
    C_PAGES_LIMIT,
    C_PAGES_MASK,
    C_PAGES_USED,
    C_READS_AT,
    C_READS_BEFORE,
    C_READS_LIMIT,
    C_READS_USED,
    C_REGIME_AT,
    C_REGIONS_AT,
    C_REGIONS_COUNT,
    C_RESULT_AT,
    C_ROWS_AT,
    C_ROWS_LIMIT,
    C_ROWS_USED,
    NOWHERE,
    OFFSET,
    P_PA,
    P_PAGE,
    P_TYPE,
    PAGE_NUMBERS,
    PAGES_COLUMNS,
    PENDING_ROOM,
    READ_COLUMNS,
    REASON_WALK,
    ROW_COLUMNS,
    ROW_CONTIGUOUS,
    ROW_EPOCH,
    ROW_FETCH_TYPE,
    ROW_GLOBAL,
    ROW_LEAF2_LOG2,
    ROW_LEAF_LOG2,
    ROW_MEMORY_TYPE,
    ROW_PA,
    ROW_PAGE,
    ROW_SHAREABILITY,
    ROW_WALK_COUNT,
    ROW_WALK_FIRST,
    WT_TABLE,
)
from emu.kernels.tables import place_of
from emu.kernels.walk import walk
from emu.kernels.walk_words import (
    FAULT_NONE,
    MAINTAIN_WRITE,
    R_CONTIGUOUS,
    R_FETCH_TYPE,
    R_GLOBAL,
    R_LEAF2_LOG2,
    R_LEAF_LOG2,
    R_MEMORY_TYPE,
    R_PA,
    R_READ,
    R_READS,
    R_SHAREABILITY,
    RESULT_WORDS,
    SH_NON,
    W_UNPRIVILEGED,
)
from emu.kernels.watching import pend, watch_lines


@njit(**INNER)
def note_translation(control, page, result):
    """Append a page's translation and its walk, and watch the descriptors it came from."""
    first, count = get(control, C_READS_USED), result[R_READS]
    row = get(control, C_ROWS_AT) + 8 * ROW_COLUMNS * get(control, C_ROWS_USED)
    put(row, ROW_EPOCH, get(control, C_EPOCH))
    put(row, ROW_PAGE, page)
    put(row, ROW_PA, result[R_PA] & ~OFFSET)
    put(row, ROW_MEMORY_TYPE, result[R_MEMORY_TYPE])
    put(row, ROW_FETCH_TYPE, result[R_FETCH_TYPE])
    # 1 is reserved; it acts as Non-shareable here (emu.walker).
    put(row, ROW_SHAREABILITY, SH_NON if result[R_SHAREABILITY] == 1 else result[R_SHAREABILITY])
    put(row, ROW_LEAF_LOG2, result[R_LEAF_LOG2])
    put(row, ROW_LEAF2_LOG2, result[R_LEAF2_LOG2])
    put(row, ROW_CONTIGUOUS, result[R_CONTIGUOUS])
    put(row, ROW_GLOBAL, result[R_GLOBAL])
    put(row, ROW_WALK_COUNT, count)
    put(row, ROW_WALK_FIRST, get(control, C_READS_BEFORE) + first)
    for read in range(count):
        here = get(control, C_READS_AT) + 8 * READ_COLUMNS * (first + read)
        for column in range(READ_COLUMNS):
            put(here, column, result[R_READ + 3 * read + column])
        watch_lines(control, result[R_READ + 3 * read], 8, WT_TABLE)
    add(control, C_ROWS_USED, 1)
    add(control, C_READS_USED, count)
    if get(control, C_ROWS_USED) > get(control, C_ROWS_LIMIT) or first + count > get(control, C_READS_LIMIT):
        pend(control, PENDING_ROOM)


def walk_page(control, va, kind):
    """Walk for an address of the current epoch, and enter its page when it is new: the fault code."""
    regime = carray(pointer(get(control, C_REGIME_AT)), (W_UNPRIVILEGED + 1,), np.int64)
    regions = carray(pointer(get(control, C_REGIONS_AT)), (get(control, C_REGIONS_COUNT), 3), np.uint64)
    result = carray(pointer(get(control, C_RESULT_AT)), (RESULT_WORDS,), np.int64)
    fault = walk(regime, regions, va, kind, result)
    if fault != FAULT_NONE and get(control, C_ATTENDED) != 0 and call_attend(control, np.int64(REASON_WALK), va) == 0:
        fault = walk(regime, regions, va, kind, result)
    if fault != FAULT_NONE:
        return fault
    page = (va >> 12) & PAGE_NUMBERS
    row = place_of(get(control, C_PAGES_AT), get(control, C_PAGES_MASK), PAGES_COLUMNS, page)
    if get(row, P_PAGE) == NOWHERE:
        put(row, P_PAGE, page)
        put(row, P_PA, result[R_PA] & ~OFFSET)
        put(row, P_TYPE, result[R_MEMORY_TYPE])
        add(control, C_PAGES_USED, 1)
        if get(control, C_PAGES_USED) > get(control, C_PAGES_LIMIT):
            pend(control, PENDING_ROOM)
        if get(control, C_FLAT) == 0:
            note_translation(control, page, result)
    return FAULT_NONE


@njit(cache=True)
def resolve(control, va, kind):
    """Translate one address in the current epoch: fault code; C_FOUND_PA (of the page) and C_FOUND_TYPE.

    A page is walked, and its row appended, when it is first touched. Permissions are judged by that first walk, and of
    DC IVAC and unprivileged accesses always: what else may be refused later, Unicorn refuses.
    """
    if get(control, C_FLAT) != 0 and va >> get(control, C_PA_BITS) == 0:
        put(control, C_FOUND_PA, va & ~OFFSET)
        put(control, C_FOUND_TYPE, get(control, C_FLAT_TYPE))
        return FAULT_NONE
    page = (va >> 12) & PAGE_NUMBERS
    row = place_of(get(control, C_PAGES_AT), get(control, C_PAGES_MASK), PAGES_COLUMNS, page)
    if get(row, P_PAGE) == NOWHERE or kind >= MAINTAIN_WRITE:
        fault = call_walk_page(control, va, kind)
        if fault != FAULT_NONE:
            return fault
    put(control, C_FOUND_PA, get(row, P_PA))
    put(control, C_FOUND_TYPE, get(row, P_TYPE))
    return FAULT_NONE
