"""TOML as everything here reads it: what Python's reader cannot take, for whatever reason, is one line."""

import re
import tomllib
from typing import Any

from traces.errors import InputError

DEEPEST = 32
"""Tables and lists in one another; nothing of ours has more than five."""

_INTEGER_BITS = 64
_LONG_KEY = re.compile(rf"""(?:(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEEPEST}}}""")
"""Looked for before anything is parsed: Python's reader takes the square of a key's parts, hours for a megabyte."""


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Return a TOML document; InputError names the file `where` for what is none."""
    if _LONG_KEY.search(text):
        raise InputError(f"{where}: not TOML of ours: {DEEPEST} or more names joined by dots")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only its own error: an integer may have too many digits
        raise InputError(f"{where}: not TOML: {' '.join(str(error).split())}") from None
    _check(document, where, DEEPEST)
    return document


def _check(value: Any, where: str, deeper: int) -> None:
    """Refuse what would overflow readers that recurse, and a number that could not even be printed."""
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        raise InputError(f"{where}: not TOML: a whole number may have {_INTEGER_BITS} bits")
    if isinstance(value, dict | list):
        if not deeper:
            raise InputError(f"{where}: not TOML of ours: more than {DEEPEST} tables or lists in one another")
        for inside in value.values() if isinstance(value, dict) else value:
            _check(inside, where, deeper - 1)
