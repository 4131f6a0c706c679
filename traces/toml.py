"""TOML as everything here reads it: what Python's reader cannot take, for whatever reason, is one line."""

import tomllib
from typing import Any

from traces.errors import InputError


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Return a TOML document; InputError names the file `where` for what is none."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only its own error: an integer may have too many digits
        raise InputError(f"{where}: not TOML: {' '.join(str(error).split())}") from None
