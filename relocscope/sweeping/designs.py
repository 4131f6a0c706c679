"""Designs: which values are tried together. Every one gives rows, each a mapping of keys to values.

Values are written as on the command line: `A,B,C` is a list; `LOW..HIGH` a range, which `:N` cuts into N values with
equal steps, `:log:N` with equal ratios, `:xF` into LOW, LOW*F, LOW*F*F ... and `:+STEP` into LOW, LOW+STEP ... up to
HIGH. `LOW..HIGH` and `LOW..HIGH:log` alone are for samples.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from relocscope.sweeping.extras import imported
from relocscope.sweeping.keys import bare, key
from traces.errors import InputError
from traces.sizes import parse_size

Row = Mapping[str, Any]

MOST_POINTS = 1_000_000
"""More than that is a slip of the pen."""

_MOST_DIGITS = 7

SAMPLERS = ("latin-hypercube", "sobol", "morris", "sobol-indices", "one-at-a-time")
"""From the third on they are for `relocscope.answers.indices`, which tells what the times hang on."""

ASKING = SAMPLERS[2:]
GROUPED = ("morris", "sobol-indices")


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers from low to high, evenly or by equal ratios."""

    low: float
    high: float
    log: bool = False

    def at(self, share: float) -> float:
        """Return the number at that share (0 to 1) of the way."""
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


def values(name: str, given: object) -> "list[Any] | Range":
    """Read the values of one key: a list, or text as the module's first lines say."""
    kind = key(bare(name)).kind
    if isinstance(given, Range):
        return given
    if isinstance(given, str) and ".." in given:
        return _spanned(name, given, kind)
    if isinstance(given, str):
        listed: list[Any] = [part.strip() for part in given.split(",")]
        if "" in listed:
            raise InputError(f"{name}: {given!r}: must be values with commas between them")
    else:
        listed = list(given) if isinstance(given, Sequence) else [given]
    if not listed:
        raise InputError(f"{name}: must have at least one value")
    return listed


def _spanned(name: str, text: str, kind: type) -> "list[Any] | Range":
    ends, *ways = text.split(":")
    low_text, _, high_text = ends.partition("..")
    low, high = (_number(name, text, end, kind) for end in (low_text, high_text))
    if not low < high:
        raise InputError(f"{name}: {text!r}: a range must begin below its end")
    log = ways[:1] == ["log"]
    if log and low <= 0:
        raise InputError(f"{name}: {text!r}: a range by ratios must begin above 0")
    ways = ways[1:] if log else ways
    span = Range(low, high, log)
    if not ways:
        return span
    if len(ways) > 1:
        raise InputError(f"{name}: {text!r}: must be LOW..HIGH[:log][:N], LOW..HIGH:xF or LOW..HIGH:+STEP")
    return _cut(name, text, span, ways[0], kind)


def _cut(name: str, text: str, span: Range, way: str, kind: type) -> list[Any]:
    if way[:1] == "x" and not span.log:
        factor = _number(name, text, way[1:], float)
        if factor <= 1 or span.low <= 0:
            raise InputError(f"{name}: {text!r}: must begin above 0 and multiply by more than 1")
        count = math.floor(math.log(span.high / span.low) / math.log(factor) + 1e-9) + 1
        found = [span.low * factor**step for step in range(_few(name, text, count))]
    elif way[:1] == "+" and not span.log:
        step_by = _number(name, text, way[1:], kind)
        if step_by <= 0:
            raise InputError(f"{name}: {text!r}: the step must be above 0")
        count = math.floor(min((span.high - span.low) / step_by, 2.0 * MOST_POINTS) + 1e-9) + 1
        found = [span.low + step * step_by for step in range(_few(name, text, count))]
    else:
        if not way.isdecimal() or len(way) > _MOST_DIGITS or not 2 <= int(way) <= MOST_POINTS:
            raise InputError(f"{name}: {text!r}: the number of values must be a whole number, at least 2")
        found = [span.at(step / (int(way) - 1)) for step in range(int(way))]
    return list(dict.fromkeys(_of_kind(value, kind) for value in found))


def _few(name: str, text: str, count: int) -> int:
    if count > MOST_POINTS:
        raise InputError(f"{name}: {text!r}: more than {MOST_POINTS:,} values")
    return count


def _number(name: str, text: str, part: str, kind: type) -> float:
    if kind not in (int, float):
        raise InputError(f"{name}: {text!r}: its values are no numbers; list them with commas")
    value = math.nan
    with suppress(ValueError):
        value = float(part)
    with suppress(InputError):
        value = float(parse_size(part, name))
    if not math.isfinite(value):
        raise InputError(f"{name}: {text!r}: {part!r} is no number")
    return value


def _of_kind(value: float, kind: type) -> Any:
    """Whole where the key's values are; else to 12 digits, so that what rounding leaves is not in tables."""
    return round(value) if kind is int else float(f"{value:.12g}")


def grid(given: Mapping[str, object]) -> list[Row]:
    """Return every combination; the last key changes quickest."""
    lists = {}
    for name, one in given.items():
        found = values(name, one)
        if isinstance(found, Range):
            raise InputError(f"{name}: {one!r}: a grid needs the number of values: LOW..HIGH:N")
        lists[name] = found
    if math.prod(map(len, lists.values())) > MOST_POINTS:
        raise InputError(f"grid: more than {MOST_POINTS:,} points")
    return [dict(zip(lists, row, strict=True)) for row in product(*lists.values())]


def samples(given: Mapping[str, object], count: int, *, sampler: str, seed: int) -> list[Row]:
    """Return rows that fill the ranges evenly: a Latin hypercube, or Sobol's sequence scrambled by the seed.

    `count` of them; of the designs in GROUPED as many groups of rows, as large as `rows_in_group`; `one-at-a-time` has
    an empty row and one for each listed value, and each end of a range, alone.
    """
    spaces = {name: values(name, one) for name, one in given.items()}
    if sampler not in SAMPLERS:
        raise InputError(f"design: {sampler!r} must be one of {', '.join(SAMPLERS)}")
    if not 1 <= count <= MOST_POINTS:
        raise InputError(f"samples: {count} must be between 1 and {MOST_POINTS}")
    if seed < 0:
        raise InputError(f"seed: {seed} must be 0 or more")
    if len(given) * count > MOST_POINTS and sampler in GROUPED:
        raise InputError(f"samples: {count} groups over {len(given)} keys are more than {MOST_POINTS:,} points")
    if sampler.startswith("sobol") and count & (count - 1):
        raise InputError(f"samples: {count} must be a power of two: Sobol's sequence is even only there")
    if sampler == "one-at-a-time":
        return [{}, *({name: value} for name, space in spaces.items() for value in _ends(name, space))]
    return [
        {name: _picked(name, spaces[name], share) for name, share in zip(spaces, row, strict=True)}
        for row in shares(len(spaces), count, sampler=sampler, seed=seed)
    ]


def rows_in_group(dimensions: int, sampler: str) -> int:
    """Return how many rows belong together: a trajectory of Morris, a sample of Sobol' indices; else each is alone."""
    return {"morris": dimensions + 1, "sobol-indices": dimensions + 2}.get(sampler, 1)


@lru_cache(maxsize=4)
def shares(dimensions: int, count: int, *, sampler: str, seed: int) -> Sequence[Sequence[float]]:
    """Return the design in the unit cube: of each row, how far along each key's values it is (0 to 1)."""
    if sampler in GROUPED:
        from relocscope.sweeping.salib import design

        return design(dimensions, count, method=sampler, seed=seed)
    qmc = imported("scipy.stats.qmc", "statistics")
    kind = qmc.LatinHypercube if sampler == "latin-hypercube" else qmc.Sobol
    found: list[list[float]] = kind(d=dimensions, rng=np.random.default_rng(seed)).random(count).tolist()
    return found


def _ends(name: str, space: "list[Any] | Range") -> list[Any]:
    return [_picked(name, space, share) for share in (0.0, 1.0)] if isinstance(space, Range) else space


def _picked(name: str, space: "list[Any] | Range", share: float) -> Any:
    if isinstance(space, Range):
        return _of_kind(space.at(share), key(bare(name)).kind)
    return space[min(int(share * len(space)), len(space) - 1)]
