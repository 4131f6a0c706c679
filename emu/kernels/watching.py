"""Lines that descriptors or instructions of this epoch came from: who watches them, and stores that hit them."""

import numpy as np
from numba import njit

from emu.kernels.host import INNER, add, get, put
from emu.kernels.places import (
    C_GROUPS_AT,
    C_GROUPS_USED,
    C_PENDING,
    C_WATCH_AT,
    C_WATCH_LIMIT,
    C_WATCH_MASK,
    C_WATCH_USED,
    G_PAGE,
    GROUP_COLUMNS,
    NOWHERE,
    OFFSET,
    PENDING_CODE,
    PENDING_JUDGE,
    PENDING_ROOM,
    PENDING_TABLE,
    WATCH_COLUMNS,
    WT_CODE,
    WT_PAGE,
    WT_TABLE,
)
from emu.kernels.tables import place_of


@njit(**INNER)
def pend(control, reason):
    """Have someone look before the next block."""
    put(control, C_PENDING, get(control, C_PENDING) | reason)


@njit(**INNER)
def forget_pages(control):
    """Make every group look its page up again: a page that it stores to may just have become watched."""
    for place in range(get(control, C_GROUPS_USED)):
        put(get(control, C_GROUPS_AT) + 8 * GROUP_COLUMNS * place, G_PAGE, NOWHERE)


@njit(**INNER)
def watched(control, page):
    """Row of a physical page in the watch table, or the free row for it."""
    return place_of(get(control, C_WATCH_AT), get(control, C_WATCH_MASK), WATCH_COLUMNS, page)


@njit(cache=True)
def watch_lines(control, pa, size, column):
    """Note that lines of one page hold descriptors, or code."""
    row = watched(control, pa >> 12)
    if get(row, WT_PAGE) == NOWHERE:
        if get(control, C_WATCH_USED) >= get(control, C_WATCH_MASK):  # cannot be: PENDING_ROOM comes first
            return
        put(row, WT_PAGE, pa >> 12)
        add(control, C_WATCH_USED, 1)
        if get(control, C_WATCH_USED) > get(control, C_WATCH_LIMIT):
            pend(control, PENDING_ROOM)
        forget_pages(control)
    for line in range((pa & OFFSET) >> 6, ((pa & OFFSET) + size + 63) >> 6):
        lines = get(row, column)
        if lines >> line & 1 == 0:
            put(row, column, lines | np.int64(1) << line)
            pend(control, PENDING_JUDGE)


@njit(**INNER)
def note_store(control, pa, size):
    """Set PENDING_... if a store within one page hits a watched line; return whether the page is watched."""
    row = watched(control, pa >> 12)
    if get(row, WT_PAGE) == NOWHERE:
        return False
    for line in range((pa & OFFSET) >> 6, ((pa & OFFSET) + size + 63) >> 6):
        if get(row, WT_TABLE) >> line & 1 != 0:
            pend(control, PENDING_TABLE)
        if get(row, WT_CODE) >> line & 1 != 0:
            pend(control, PENDING_CODE)
    return True
