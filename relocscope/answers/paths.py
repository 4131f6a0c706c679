"""Paths: ways from a case as it is to other values of its keys, which a search goes along.

A position on a path is a share of the way, 0 (as it is, which belongs to no path) to 1. Numbers move by equal ratios.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from relocscope.sweeping.designs import Range, values
from relocscope.sweeping.keys import key
from traces.errors import InputError

STOPS = 8
"""Places at which a path is looked at first."""

FARTHEST = 16
"""How many times as large or small a number may become where no range is given."""

FINEST = 1.01
"""Ratio below which two numbers that need not be whole are not told apart."""

_CLOSEST = 1e-4

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Move:
    """One key on its way from its usual value to an end, or over listed values."""

    key: str
    usual: Any
    end: Any
    grain: str
    """`any` number, `whole` ones, `doubled`: the usual one times a power of two; `listed`: `values` alone."""
    values: tuple[Any, ...] = ()

    def at(self, share: float) -> Any:
        """Return the value at a share of the way."""
        if self.grain == "listed":
            return self.values[max(0, math.ceil(share * len(self.values) - 1e-9) - 1)]
        if self.grain == "doubled":
            return _doubled(self.usual, round(share * math.log2(self.end / self.usual)))
        if self.usual > 0 and self.end > 0:
            value = self.end if share == 1 else self.usual * (self.end / self.usual) ** share
        else:
            value = self.usual + (self.end - self.usual) * share
        return round(value) if self.grain == "whole" else float(f"{value:.4g}")


@dataclass(frozen=True, slots=True)
class Path:
    """Keys that move together, each by the same share of its own way."""

    moves: tuple[Move, ...]

    def at(self, share: float) -> Settings:
        """Return the settings at a share of the way."""
        return {move.key: move.at(share) for move in self.moves}

    @property
    def is_listed(self) -> bool:
        """Whether somebody said at which values to look: at every one of them."""
        return any(move.grain == "listed" for move in self.moves)

    @property
    def stops(self) -> list[float]:
        """Positions to be looked at first, outward: no two with the same settings, none as it is."""
        count = max([STOPS, *(len(move.values) for move in self.moves)])
        found: list[float] = []
        seen = [{move.key: move.usual for move in self.moves}]
        for step in range(1, count + 1):
            settings = dict(self.at(step / count))
            if settings not in seen:
                found.append(step / count)
                seen.append(settings)
        return found

    def between(self, near: float, far: float) -> float | None:
        """Return a position in the middle whose settings are others than at both; None where they are too close."""
        fine = [move for move in self.moves if move.grain == "any"]
        while far - near > _CLOSEST:
            if fine and all(_close(move.at(near) if near else move.usual, move.at(far)) for move in fine):
                return None
            middle = (near + far) / 2
            if self.at(middle) == self.at(far):
                far = middle
            elif self.at(middle) == (self.at(near) if near else {move.key: move.usual for move in self.moves}):
                near = middle
            else:
                return middle
        return None


def _close(one: float, other: float) -> bool:
    return one == other or (min(one, other) > 0 and max(one, other) / min(one, other) < FINEST)


def paths_of(name: str, usual: Any, given: str | None = None) -> list[Path]:
    """Return the ways that a key can go: downward and upward, or to each choice. [] where it has none.

    `given`: its values or its range, as `relocscope sweep` takes them; without, FARTHEST times either way as far as
    the model takes it.
    """
    if given is not None:
        asked = values(name, given)
        if isinstance(asked, list):
            return _listed(name, usual, [_read(name, each) for each in asked])
        return _ranged(name, usual, asked)
    if isinstance(usual, bool):
        return [_choice(name, usual, not usual)]
    if isinstance(usual, int | float):
        return _ranged(name, usual, _range(name, usual)) if usual > 0 else []
    return [_choice(name, usual, other) for other in _choices(name) if other != usual]


def _range(name: str, usual: float) -> Range:
    """Return the range of a core's number that nobody has given one."""
    low, high = _rule(name)
    least = 1.0 if key(name).kind is int else 0.0
    return Range(max(usual / FARTHEST, low or least), usual * FARTHEST if high is None else min(usual * FARTHEST, high))


def _ranged(name: str, usual: Any, over: Range) -> list[Path]:
    if not isinstance(usual, int | float) or not over.low <= usual <= over.high:
        raise InputError(f"--key: {name}: the range must hold the value that is in force, {usual}")
    grain = "doubled" if _is_doubled(name) else "whole" if key(name).kind is int else "any"
    if grain == "doubled" and over.low <= 0:
        raise InputError(f"--key: {name}: goes by powers of two: a range must begin above 0; or list values")
    ends = [_end(usual, end, grain) for end in (over.low, over.high)]
    return [Path((Move(name, usual, end, grain),)) for end in ends if end != usual]


def _end(usual: Any, end: float, grain: str) -> Any:
    """Return the farthest value of a grain that is not beyond the end of a range."""
    if grain == "any":
        return end
    if grain == "whole":
        return math.ceil(end) if end < usual else math.floor(end)
    return _doubled(usual, math.trunc(math.log2(end / usual) + math.copysign(1e-9, end - usual)))


def _doubled(usual: int, times: int) -> int:
    return usual << times if times >= 0 else usual >> -times


def _listed(name: str, usual: Any, listed: Sequence[Any]) -> list[Path]:
    others = [value for value in dict.fromkeys(listed) if value != usual]
    if not all(_is_number(value) for value in [usual, *others]):
        return [_choice(name, usual, value) for value in others]
    below, above = sorted((v for v in others if v < usual), reverse=True), sorted(v for v in others if v > usual)
    return [Path((Move(name, usual, side[-1], "listed", tuple(side)),)) for side in (below, above) if side]


def _choice(name: str, usual: Any, other: Any) -> Path:
    return Path((Move(name, usual, other, "listed", (other,)),))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(name: str, given: Any) -> Any:
    """Return a listed value as a number where its key has numbers."""
    from traces.sizes import parse_size

    known = key(name)
    if known.kind is int and known.unit == "bytes":
        return parse_size(given, f"--key: {name}")
    if known.kind not in (int, float) or not isinstance(given, str):
        return given
    try:
        return known.kind(given)
    except ValueError:
        raise InputError(f"--key: {name}: {given!r}: must be a number") from None


def _field(name: str) -> "dataclasses.Field[Any] | None":
    from caches.parts import PARTS

    table, _, field = name.partition(".")
    fields = dataclasses.fields(PARTS[table]) if table in PARTS else ()
    return next((entry for entry in fields if entry.name == field), None)


def _rule(name: str) -> tuple[float | None, float | None]:
    entry = _field(name)
    return (None, None) if entry is None else (entry.metadata.get("low"), entry.metadata.get("high"))


def _is_doubled(name: str) -> bool:
    """Whether a number is built in powers of two only: sizes, ways, entries of TLBs, and what the model wants so."""
    entry = _field(name)
    if entry is None:
        return key(name).unit == "bytes"
    return bool(entry.name in ("ways", "entries") or entry.metadata.get("size") or entry.metadata.get("power_of_two"))


def _choices(name: str) -> list[str]:
    entry = _field(name)
    if entry is None or not isinstance(entry.type, type) or not issubclass(entry.type, IntEnum):
        return []
    return [each.name.lower().replace("_", "-") for each in entry.type]
