"""Cores as TOML files: `base = "..."` inheritance, and beside each number its source or `estimated` with a range."""

import dataclasses
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from caches.config import CoreConfig, Provenance
from caches.parts import PARTS
from caches.values import build_part
from traces.errors import InputError, named_input
from traces.reading import read_text
from traces.sizes import parse_size
from traces.toml import parse_toml

CORE_NAMES = (
    "stingray",
    "lx2160a",
    "rpi4",
    "rk3399-big",
    "graviton1",
    "seattle",
    "jetson-nano",
    "rpi3",
    "rk3328",
    "thunderx2",
    "altra",
    "graviton2",
    "rpi5",
)
"""The machines of DESIGN section 5; the cores they are built from (`cortex-a72`, ...) load by name too."""

_TOP_KEYS = ("name", "title", "base", "calibrated")


_DEEPEST = 16
"""Files that build on each other, at most."""


def core_names() -> tuple[str, ...]:
    """Names of the machines that ship with the project."""
    shipped = {entry.name for entry in (files("caches") / "presets").iterdir()}
    return tuple(name for name in CORE_NAMES if f"{name}.toml" in shipped)


@cache
def core(name: str) -> CoreConfig:
    """Return the preset of that name; InputError if there is none."""
    return _complete(_preset(name), f"{name}.toml")


def core_named(text: str) -> CoreConfig:
    """Return the core that `--core` names: a file where it ends in .toml, else a preset."""
    return load_core(text) if text.endswith(".toml") else core(text)


def load_core(path: str | Path) -> CoreConfig:
    """Return a core from a TOML file, which may build on any preset."""
    return _complete(parse_toml(read_text(Path(path)), str(path)), str(path))


def _preset(name: str) -> dict[str, Any]:
    directory = files("caches") / "presets"
    if f"{name}.toml" not in {entry.name for entry in directory.iterdir()}:
        known = ", ".join(core_names())
        raise InputError(f"core {name!r}: no such preset, and no file (my.toml) either; known: {known}")
    return parse_toml((directory / f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml")


def _inherit(document: dict[str, Any], where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the document over its base, a preset or a file as named from this one: tables merge field by field."""
    base = document.get("base")
    if base is None:
        return document
    if not isinstance(base, str) or base in seen or len(seen) >= _DEEPEST:
        raise InputError(f"{where}: base = {base!r}: must name another preset, and not go round in a circle")
    if base.endswith(".toml"):
        file = Path(where).parent / base
        merged = _inherit(parse_toml(read_text(file), str(file)), str(file), (*seen, base))
    else:
        merged = _inherit(_preset(base), f"{base}.toml", (*seen, base))
    for key, value in document.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merged[key] | value
        else:
            merged[key] = value
    return merged


def _complete(document: dict[str, Any], where: str) -> CoreConfig:
    merged = _inherit(document, where)
    provenance: dict[str, Provenance] = {}
    parts: dict[str, Any] = {}
    for key in merged:
        if key not in PARTS and key not in _TOP_KEYS:
            raise InputError(f"{where}: {key}: no such table; known: {', '.join(PARTS)}")
    for table in PARTS:
        if not isinstance(merged.get(table), dict):
            raise InputError(f"{where}: {table}: the table is missing")
        values: dict[str, Any] = {}
        for name, entry in merged[table].items():
            values[name], provenance[f"{table}.{name}"] = _entry(entry, f"{where}: {table}.{name}")
        with named_input(where):
            parts[table] = build_part(table, values)
    name, title = merged.get("name"), merged.get("title")
    if not isinstance(name, str) or not isinstance(title, str):
        raise InputError(f"{where}: name and title: must be given, as text")
    calibrated = merged.get("calibrated", [])
    if not isinstance(calibrated, list):
        raise InputError(f"{where}: calibrated = {calibrated!r}: must be a list of keys")
    with named_input(where):
        return CoreConfig(name=name, title=title, calibrated=tuple(calibrated), provenance=provenance, **parts)


def _entry(entry: Any, where: str) -> tuple[Any, Provenance]:
    """Return a value and where it comes from: `{ value, source }` or `{ value, estimated = [low, high], why }`."""
    if not isinstance(entry, dict) or "value" not in entry:
        raise InputError(
            f"{where}: must be {{ value = ..., source = ... }} or {{ value = ..., estimated = [low, high] }}"
        )
    unknown = set(entry) - {"value", "source", "estimated", "why"}
    if unknown:
        raise InputError(f"{where}: {', '.join(sorted(unknown))}: no such field of an entry")
    if "estimated" in entry:
        span = entry["estimated"]
        if not _covers(span, entry["value"], where):
            raise InputError(f"{where}: estimated = {span!r}: must be [low, high], or the choices, around the value")
        return entry["value"], Provenance(source=entry.get("why", ""), estimated=tuple(span))
    if not isinstance(entry.get("source"), str) or not entry["source"]:
        raise InputError(f"{where}: source: must be given (or estimated = [low, high])")
    return entry["value"], Provenance(source=entry["source"])


def _covers(span: Any, value: Any, where: str) -> bool:
    """Whether the range of an estimate holds its value."""
    if not isinstance(span, list) or len(span) < 2:
        return False
    if isinstance(value, str) and all(isinstance(end, str) and end[:1].isdigit() for end in span):
        low, at, high = (parse_size(text, where) for text in (span[0], value, span[1]))
        return low <= at <= high
    if isinstance(value, int | float) and not isinstance(value, bool):
        numbers = all(isinstance(end, int | float) for end in span)
        return numbers and len(span) == 2 and bool(span[0] <= value <= span[1])
    return value in span


def without_provenance(config: CoreConfig) -> CoreConfig:
    """Return the same core with its sources left out: what a sweep hands to other processes."""
    return dataclasses.replace(config, provenance={})
