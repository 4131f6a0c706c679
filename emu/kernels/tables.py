"""Open-addressing tables of rows, keyed by column 0."""

from numba import njit

from emu.kernels.host import INNER, get, put
from emu.kernels.places import NOWHERE

_HASH = 0x9E3779B97F4A7C15 - (1 << 64)


@njit(**INNER)
def hashed(key, mask):
    """Where to begin looking for a key."""
    product = key * _HASH
    return (product ^ (product >> 29) ^ (product >> 47)) & mask


@njit(**INNER)
def place_of(table, mask, columns, key):
    """Row of a key in an open-addressing table keyed by column 0; the free row for it, if it is not there."""
    place = hashed(key, mask)
    row = table + 8 * columns * place
    while get(row, 0) != key and get(row, 0) != NOWHERE:
        place = (place + 1) & mask
        row = table + 8 * columns * place
    return row


@njit(cache=True)
def carry_over(old, old_rows, new, new_rows, columns):
    """Copy the rows of an open-addressing table into a larger and empty one."""
    for place in range(old_rows):
        row = old + 8 * columns * place
        if get(row, 0) != NOWHERE:
            free = place_of(new, new_rows - 1, columns, get(row, 0))
            for column in range(columns):
                put(free, column, get(row, column))
