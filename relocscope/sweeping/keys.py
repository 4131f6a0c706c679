"""What a key of `--set` is to a sweep: whether the functional run depends on it, and what kind of values it has."""

import dataclasses
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any

from relocscope.bare_program import PROGRAM_KEYS, BareProgram
from relocscope.case import KEYS, Case, is_functional, unknown_key
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Key:
    """One key: of a case (`map.leaf`) or of a core (`l2.size`)."""

    name: str
    functional: bool
    """A new value is a new functional run; else any number of values replay one trace."""
    kind: type
    """int, float, bool or str: what its values are in tables."""
    unit: str
    """Of its values; empty where they are counts, choices or names."""


@cache
def key(name: str) -> Key:
    """Return what is known of a key; InputError where there is none of that name."""
    if name in KEYS:
        attribute = KEYS[name][0]
        return Key(name, is_functional(attribute), _kind(typing.get_type_hints(Case)[attribute]), _unit(attribute))
    if name in PROGRAM_KEYS:
        attribute = PROGRAM_KEYS[name][0]
        return Key(name, True, _kind(typing.get_type_hints(BareProgram)[attribute]), _unit(attribute))
    from caches.parts import PARTS

    table, _, field = name.partition(".")
    if table not in PARTS:
        raise InputError(f"{name}: {unknown_key(name, KEYS)}")
    for entry in dataclasses.fields(PARTS[table]):
        if entry.name == field:
            return Key(name, False, _kind(entry.type), "bytes" if entry.metadata.get("size") else _unit(field))
    known = tuple(f"{table}.{entry.name}" for entry in dataclasses.fields(PARTS[table]))
    raise InputError(f"{name}: {unknown_key(name, known)}")


def bare(name: str) -> str:
    """Return a key without the `a.` or `b.` that says which of two cases it is for."""
    return name[2:] if name[:2] in ("a.", "b.") else name


def _kind(annotation: Any) -> type:
    """Return int of `int | None` and of `int`; str of all that is written as text."""
    kinds = [kind for kind in (typing.get_args(annotation) or (annotation,)) if kind is not type(None)]
    return kinds[0] if kinds[0] in (int, float, bool) else str


_UNITS = {
    "_ns": "ns",
    "_cycles": "cycles",
    "_bytes": "bytes",
    "_gbps": "10**9 bytes/s",
    "_mhz": "MHz",
    "_lines": "lines",
    "_bits": "bits",
}


def _unit(field: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if field.endswith(ending)), "")
