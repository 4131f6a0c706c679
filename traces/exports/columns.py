"""Lines of text from arrays: a column is uint8[rows, width] in which 0 stands for no character."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.uint8]

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def lines(*columns: Column | bytes) -> bytes:
    """Join columns side by side, row after row; bytes stand in every row. At least one column is an array."""
    rows = next(len(column) for column in columns if not isinstance(column, bytes))
    parts = [_same(column, rows) if isinstance(column, bytes) else column for column in columns]
    table = np.concatenate(parts, axis=1)
    return bytes(table[table != 0].tobytes())


def decimal(values: NDArray[Any]) -> Column:
    """Write whole numbers in decimal, without leading zeros."""
    values = values.astype(np.int64)
    size = np.abs(values)
    width = len(str(int(size.max(initial=0))))
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    digits = size[:, None] // powers % 10
    written = np.where((size[:, None] >= powers) | (powers == 1), digits + ord("0"), 0)
    sign = np.where(values < 0, ord("-"), 0)[:, None]
    column: Column = np.concatenate([sign, written], axis=1).astype(np.uint8)
    return column


def fixed(values: NDArray[Any], places: int) -> Column:
    """Write whole numbers of 10**-places, none negative, as decimal fractions: 1500 in 3 places is 1.500."""
    whole, part = np.divmod(values.astype(np.int64), 10**places)
    powers = 10 ** np.arange(places - 1, -1, -1, dtype=np.int64)
    fraction = part[:, None] // powers % 10 + ord("0")
    column: Column = np.concatenate([decimal(whole), _same(b".", len(whole)), fraction.astype(np.uint8)], axis=1)
    return column


def hexadecimal(values: NDArray[Any], digits: int = 16, *, short: bool = False) -> Column:
    """Write the low bits of unsigned numbers in so many hexadecimal digits; `short` leaves leading zeros out."""
    values = values.astype(np.uint64)
    shifts = np.arange(4 * (digits - 1), -4, -4).astype(np.uint64)
    nibbles = values[:, None] >> shifts & np.uint64(15)
    written = _DIGITS[nibbles]
    if short:
        leading = (values[:, None] >> shifts == 0) & (shifts > 0)
        written[leading] = 0
    column: Column = written
    return column


def texts(table: Sequence[str], rows: NDArray[Any] | None = None) -> Column:
    """Write for each row the text of that number in a table; without rows, the table itself. Texts are made `plain`."""
    encoded = [plain(text).encode() for text in table] or [b""]
    width = max(1, *(len(text) for text in encoded))
    column: Column = np.frombuffer(b"".join(text.ljust(width, b"\0") for text in encoded), np.uint8).reshape(-1, width)
    return column if rows is None else column[rows.astype(np.int64)]


def plain(text: str) -> str:
    """Return a text fit for one field of one line: what could end either is a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def only(column: Column, wanted: NDArray[np.bool_]) -> Column:
    """Write a column in some rows, nothing in the others."""
    return np.where(wanted[:, None], column, 0).astype(np.uint8)


def beside(columns: Iterable[Column | bytes], rows: int) -> Column:
    """Make one column of several."""
    joined: Column = np.concatenate([_same(c, rows) if isinstance(c, bytes) else c for c in columns], axis=1)
    return joined


def _same(text: bytes, rows: int) -> Column:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (rows, len(text)))
