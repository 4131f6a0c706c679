"""TOML tables that a person hands in, and one-line errors that name the file."""

from collections.abc import Mapping, Sequence
from typing import Any

from traces.errors import InputError


def known_keys(where: str, table: Any, known: frozenset[str], *, required: frozenset[str] = frozenset()) -> None:
    """Refuse a table with keys that nobody knows, or without those it must have."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: {table!r} must be a table with the keys {', '.join(sorted(known))}")
    for key in table:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; known: {', '.join(sorted(known))}")
    for key in sorted(required):
        if key not in table:
            raise InputError(f"{where}: {key!r} is missing")


def toml_tables(document: Mapping[str, Any], name: str, key: str) -> Sequence[Mapping[str, Any]]:
    """Return the array of tables `key` of a TOML document; InputError, which names the file, when there is none."""
    tables = document.get(key)
    if not isinstance(tables, list) or not tables:
        raise InputError(f"{name}: {key}: expected at least one [[{key}]] table")
    return tables
