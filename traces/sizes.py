"""Sizes and addresses as people write them: `25MiB`, `37MB`, `4096`, `0x8000_0000`."""

import re

from traces.errors import InputError

_UNITS = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_MOST_DIGITS = 64
_SIZE = re.compile(r"(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]*)")


def parse_size(value: object, where: str) -> int:
    """Return the bytes of a size or address given as a number or text; `where` names file and field in the error.

    Decimal and hexadecimal (`0x`) numbers, with a unit of powers of 1000 (`MB`) or of 1024 (`MiB`) or none. A fraction
    (`1.5MiB`) must come to whole bytes. Never negative.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f"{where}: {value!r:.80} is not a size (write 4096, 0x1000, 37MB or 25MiB)")
    if isinstance(value, int):
        if value < 0:
            raise InputError(f"{where}: {value} is negative")
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None or match[2] not in _UNITS or len(match[1]) > _MOST_DIGITS:
        raise InputError(f"{where}: {value!r:.80} is not a size (write 4096, 0x1000, 37MB or 25MiB)")
    number, unit = match[1].replace("_", ""), _UNITS[match[2]]
    if number[:2].lower() == "0x":
        return int(number, 16) * unit
    whole, _, fraction = number.partition(".")
    size, rest = divmod(int(whole + fraction) * unit, int(10 ** len(fraction)))
    if rest:
        raise InputError(f"{where}: {value!r} is not a whole number of bytes")
    return size


def size_text(size: int) -> str:
    """Return the shortest exact way to write `size`: in GiB, MiB, MB, KiB or plain bytes."""
    for unit in ("GiB", "MiB", "MB", "KiB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
