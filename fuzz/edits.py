"""Edits: how a valid input is damaged. An input is a seed and a few edits, so that fewer edits are a smaller input."""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

LONGEST_BYTES = 1 << 18
"""No input grows beyond this."""

MOST_EDITS = 6

_NUMBER = re.compile(rb"0[xX][0-9a-fA-F]+|\d+")
_HEXADECIMAL = re.compile(rb"[0-9a-fA-F]{4,}+")
_QUOTED = re.compile(rb'"[^"\n]*+"')
_NUMBERS = (b"0", b"1", b"-1", b"2", b"7", b"255", b"4095", b"65536", b"2147483648", b"4294967295",
            b"9223372036854775807", b"18446744073709551615", b"18446744073709551616", b"1" + b"0" * 30,
            b"0xffffffffffffffff", b"0x10000000000000000", b"0x" + b"f" * 5000, b"1e400", b"nan", b"inf", b"9" * 5000, b"1_0", b"")  # fmt: skip
_FIELDS = (0, 1, 2, 3, 0x7F, 0xFF, 0x1000, 0x7FFF, 0xFFFF, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1,
           (1 << 52), (1 << 64) - 0x1000)  # fmt: skip


class Edit(NamedTuple):
    """One damage: which kind, where, and with what; each number is taken modulo what there is."""

    kind: int
    at: int
    value: int


def apply(seed: bytes, edits: Sequence[Edit], seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return the seed with all edits made, one after the other. The same arguments give the same bytes."""
    data = seed
    for edit in edits:
        data = KINDS[edit.kind % len(KINDS)](data, edit.at, edit.value, (seeds, words))[:LONGEST_BYTES]
    return data


def draw(random_: random.Random) -> list[Edit]:
    """Draw a few edits; one alone every third time, which the first check is least likely to refuse."""
    count = max(1, random_.randint(-MOST_EDITS // 2 + 1, MOST_EDITS))
    return [Edit(random_.getrandbits(8), random_.getrandbits(32), random_.getrandbits(32)) for _ in range(count)]


_Pool = tuple[Sequence[bytes], Sequence[bytes]]


def _flip(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    if not data:
        return data
    at %= len(data)
    return data[:at] + bytes((data[at] ^ 1 << value % 8,)) + data[at + 1 :]


def _byte(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    if not data:
        return data
    at %= len(data)
    return data[:at] + bytes((value & 0xFF,)) + data[at + 1 :]


def _truncate(data: bytes, at: int, _value: int, _: _Pool) -> bytes:
    return data[: at % (len(data) + 1)]


def _cut(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    at %= len(data) + 1
    return data[:at] + data[at + 1 + value % 64 :]


def _repeat(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    at %= len(data) + 1
    return data[:at] + data[at : at + 1 + value % 64] * (2 + value // 64 % 14) + data[at:]


def _splice(data: bytes, at: int, value: int, pool: _Pool) -> bytes:
    other = pool[0][value % len(pool[0])]
    return data[: at % (len(data) + 1)] + other[value // 7 % (len(other) + 1) :]


def _move(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    """Exchange a line for another."""
    lines = data.split(b"\n")
    one, other = at % len(lines), value % len(lines)
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _again(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    """Put a line elsewhere, too."""
    lines = data.split(b"\n")
    lines.insert(at % len(lines), lines[value % len(lines)])
    return b"\n".join(lines)


def _word(data: bytes, at: int, value: int, pool: _Pool) -> bytes:
    if not pool[1]:
        return _byte(data, at, value, pool)
    at %= len(data) + 1
    return data[:at] + pool[1][value % len(pool[1])] + data[at:]


def _other_word(data: bytes, at: int, value: int, pool: _Pool) -> bytes:
    """Replace a word of the format that stands there by another one."""
    present = [word for word in pool[1] if word in data]
    if not present:
        return _word(data, at, value, pool)
    old = present[at % len(present)]
    return data.replace(old, pool[1][value % len(pool[1])], 1)


def _number(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    """Replace a written number by a nasty one."""
    found = list(_NUMBER.finditer(data[:8192]))
    if not found:
        return data
    one = found[at % len(found)]
    return data[: one.start()] + _NUMBERS[value % len(_NUMBERS)] + data[one.end() :]


def _quoted(data: bytes, at: int, value: int, pool: _Pool) -> bytes:
    """Replace a quoted text by an empty one, a word of the format or a number."""
    found = list(_QUOTED.finditer(data[:8192]))
    if not found:
        return _word(data, at, value, pool)
    one = found[at % len(found)]
    texts = (b"", *_NUMBERS, *(word.strip(b'"') for word in pool[1]))
    return data[: one.start()] + b'"' + texts[value % len(texts)] + b'"' + data[one.end() :]


def _hexadecimal(data: bytes, at: int, value: int, pool: _Pool) -> bytes:
    """Replace a number of four or more bare hexadecimal digits: addresses as machines print them."""
    found = list(_HEXADECIMAL.finditer(data[:8192]))
    if not found:
        return _word(data, at, value, pool)
    one = found[at % len(found)]
    return data[: one.start()] + b"%x" % _FIELDS[value % len(_FIELDS)] + data[one.end() :]


def _field(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    """Replace a binary field of 2, 4 or 8 bytes, in either order, by a nasty number or one near the input's length."""
    width = (2, 4, 8)[value % 3]
    order = ("little", "big")[value // 3 % 2]
    values = (*_FIELDS, len(data), len(data) - 1, len(data) + 1)
    at = at % max(1, len(data)) // 2 * 2 if at & 0x80 else at % min(max(1, len(data)), 128) // 2 * 2
    number = values[value // 6 % len(values)] & (1 << 8 * width) - 1
    return data[:at] + number.to_bytes(width, "little" if order == "little" else "big") + data[at + width :]


def _nudge(data: bytes, at: int, value: int, _: _Pool) -> bytes:
    """Add a little to a byte: lengths and offsets that are off by one."""
    if not data:
        return data
    at %= len(data)
    return data[:at] + bytes(((data[at] + (1, -1, 4, -4, 8, 16)[value % 6]) & 0xFF,)) + data[at + 1 :]


KINDS = (
    _flip,
    _byte,
    _truncate,
    _cut,
    _repeat,
    _splice,
    _move,
    _again,
    _word,
    _other_word,
    _number,
    _number,
    _hexadecimal,
    _quoted,
    _field,
    _field,
    _nudge,
)
