"""TOML as everything here reads it: what Python's reader cannot take, for whatever reason, is one line."""

import tomllib
from typing import Any

from traces.errors import InputError


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Return a TOML document; InputError names the file `where` for what is none."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only its own error: an integer may have too many digits
        raise InputError(f"{where}: not TOML: {' '.join(str(error).split())}") from None
    if _is_beyond(document):
        raise InputError(f"{where}: not TOML: a whole number may have {_INTEGER_BITS} bits")
    return document


_INTEGER_BITS = 64


def _is_beyond(value: Any) -> bool:
    """Whether there is a larger number anywhere in it, which could not even be printed."""
    if isinstance(value, dict):
        return any(map(_is_beyond, value.values()))
    if isinstance(value, list):
        return any(map(_is_beyond, value))
    return isinstance(value, int) and value.bit_length() > _INTEGER_BITS
