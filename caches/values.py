"""Raw values, as TOML and the command line have them, made into the fields of a part."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from caches.parts import PARTS, Inclusion, Part, Replacement
from traces.errors import InputError
from traces.sizes import parse_size

_LONGEST_VALUE = 1000
"""Characters."""


def build_part(table: str, values: Mapping[str, Any]) -> Part:
    """Return the part of that name from a table of raw values; InputError for unknown, missing or wrong ones."""
    kind = PARTS[table]
    names = [entry.name for entry in dataclasses.fields(kind)]
    for name in values:
        if name not in names:
            raise InputError(f"{table}.{name}: no such field; known: {', '.join(names)}")
    for name in names:
        if name not in values:
            raise InputError(f"{table}.{name}: missing")
    fields = {name: read_value(f"{table}.{name}", kind, name, raw) for name, raw in values.items()}
    try:
        return kind(**fields)
    except InputError as error:
        raise InputError(f"{table}.{error}") from None


def read_value(key: str, kind: type[Part], name: str, raw: Any) -> Any:
    """Return a raw value (TOML's, or text) as the type of that field; InputError names the key."""
    entry = next(entry for entry in dataclasses.fields(kind) if entry.name == name)
    if isinstance(raw, str) and len(raw) > _LONGEST_VALUE:
        raise InputError(f"{key} = {raw!r:.80}: longer than any value")
    try:
        return _as_type(key, entry, raw)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError):
        raise InputError(f"{key} = {raw!r}: cannot be read as {getattr(entry.type, '__name__', entry.type)}") from None


def _as_type(key: str, entry: dataclasses.Field[Any], raw: Any) -> Any:
    if entry.type in (Replacement, Inclusion):
        return _member(key, entry.type, raw)
    if entry.name in ("sizes", "granules"):
        items = raw.split(",") if isinstance(raw, str) else raw
        return tuple(sorted(parse_size(item, key) if isinstance(item, str) else int(item) for item in items))
    if not isinstance(raw, str):
        return raw
    readers: dict[Any, Any] = {int: lambda text: int(text, 0), float: float, bool: _BOOLEANS.__getitem__}
    if entry.metadata.get("size"):
        return parse_size(raw, key)
    return readers.get(entry.type, str)(raw)


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _member(key: str, kind: Any, raw: Any) -> Any:
    if isinstance(raw, kind):
        return raw
    name = str(raw).upper().replace("-", "_")
    if name not in kind.__members__:
        known = ", ".join(member.lower().replace("_", "-") for member in kind.__members__)
        raise InputError(f"{key} = {raw!r}: must be one of {known}")
    return kind[name]
