"""Reaching: the smallest change of one number, or of two, with which a case takes no longer than asked for."""

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path as Directory
from typing import Any

from relocscope.answers.paths import Path, Settings, paths_of
from relocscope.answers.probing import Look, Probe, Progress
from relocscope.answers.searching import Ask, Found
from relocscope.sweeping.keys import key
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.points import Resolver
from relocscope.sweeping.sweep import Means, local
from traces.errors import InputError

SCHEMA = "relocscope/reach/1"

SPENT = 0.01
"""Share of the time from which on what a leaf of the cycle stack is about is looked at."""

NEAREST = 8
"""Changes that do not reach the target of which the best is timed in full, single ones and pairs."""

PAIRED = 6
"""Keys that are tried in pairs where none reaches the target alone: those that come nearest."""

TABLES: Mapping[str, tuple[str, ...]] = {
    "base": ("pipeline",),
    "branch": ("branch",),
    "fetch": ("fetch", "l1i"),
    "device_load": ("device",),
    "device_store": ("device",),
    "l1d": ("l1d",),
    "l2": ("l2", "prefetch"),
    "l3": ("l3", "prefetch"),
    "dram_latency": ("l1d", "l2", "l3", "nc", "prefetch", "dram"),
    "dram_bandwidth": ("l2", "l3", "store", "prefetch", "dram"),
    "store_buffer": ("store", "l2", "l3", "nc", "dram"),
    "tlb_walk": ("dtlb", "l2tlb", "walk", "prefetch", "l2"),
    "maintenance": ("maintenance",),
    "barrier": ("maintenance",),
    "exception": ("pipeline",),
}
"""Tables of a core that can make each leaf of the cycle stack shorter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A key that is moved: the value with which the target is reached, and the nearest one with which it is not."""

    key: str
    usual: Any
    value: Any
    short: Any
    until: Any
    """The farthest value that still reaches it; None where every one looked at beyond `value` does."""

    @property
    def times(self) -> float | None:
        """How many times the usual value; None of choices, and of 0."""
        numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (self.usual, self.value))
        return self.value / self.usual if numbers and self.usual > 0 and self.value > 0 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """Keys that, moved together, are the smallest change along their path that reaches the target."""

    changes: tuple[Change, ...]
    seconds: float
    short_seconds: float
    """With the values just before, which do not reach it."""
    evenly: bool
    """Nowhere on the way was a step that takes longer than the one before."""

    @property
    def order(self) -> tuple[float, float]:
        """By which these are sorted: the largest of the changes, as a logarithm, choices last; then the time."""
        return max(abs(math.log(each.times)) if each.times else math.inf for each in self.changes), self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Missed:
    """Keys that do not reach the target within their range, and the best that they do."""

    changes: tuple[Change, ...]
    """`value` is the best one."""
    seconds: float
    in_full: bool
    """`seconds` is of a full replay: of those that come nearest (NEAREST)."""
    evenly: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """What it takes for a case to take no longer than `target_seconds`."""

    case: str
    core: str
    settings: Settings
    usual_seconds: float
    target_seconds: float
    reached: tuple[Reached, ...]
    """Single keys, or pairs where no single key reaches it; the smallest change first."""
    missed: tuple[Missed, ...]
    """Single keys, then pairs: of each those timed in full first, the soonest first."""
    without_effect: tuple[str, ...]
    """Keys that change nothing, or of which no value can be."""
    host: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the object of `reach --json`."""
        return {
            "schema": SCHEMA,
            "case": self.case,
            "core": self.core,
            "set": dict(self.settings),
            "usual_seconds": self.usual_seconds,
            "target_seconds": self.target_seconds,
            "reached": [_json(each) for each in self.reached],
            "missed": [_json(each) for each in self.missed],
            "without_effect": list(self.without_effect),
            "host": dict(self.host),
        }


def _json(found: Reached | Missed) -> dict[str, Any]:
    facts = dataclasses.asdict(found)
    named = [
        {**change, "times": each.times, "unit": key(each.key).unit}
        for change, each in zip(facts["changes"], found.changes, strict=True)
    ]
    return {**facts, "changes": named}


def reach(
    plan: Plan,
    target: "Target",
    keys: Sequence[str],
    directory: Directory,
    means: Means,
    progress: Progress = lambda _what, _done, _total: None,
) -> Reach:
    """Look for the smallest changes. `plan` is the case as it is, one point; `keys` are `KEY` or `KEY=VALUES`.

    Without keys: `default_keys`. Raises InputError where the case does not arrive as it is, or a key cannot be so.
    """
    started = time.perf_counter()
    given = _given(keys)
    ways = _ways(plan, given)
    with local(means, directory) as executor:
        probe = Probe(plan, directory, executor)
        base = probe.rows([{}], sample=False)[0]
        if base["outcome"] != "completed":
            raise InputError(f"{plan.cases[0]}: does not arrive as it is: {base['error'] or base['outcome']}")
        wanted = target.of(base["seconds"])
        found: list[Found] = []
        if base["seconds"] > wanted:
            ways = ways or _ways(plan, dict.fromkeys(default_keys(base)))
            found = _searched(Look(probe, base["seconds"], wanted, progress), ways)
        missed = _nearest(probe, [each for each in found if each.reached is None])
    reached = sorted((_reached(each) for each in found if each.reached is not None), key=lambda each: each.order)
    told: list[Reached | Missed] = [*reached, *missed]
    changing = {change.key for each in told for change in each.changes}
    return Reach(
        case=plan.cases[0],
        core=base["core"],
        settings=plan.settings,
        usual_seconds=base["seconds"],
        target_seconds=wanted,
        reached=tuple(reached),
        missed=tuple(missed),
        without_effect=tuple(name for name in ways if name not in changing) if found else (),
        host={"seconds": round(time.perf_counter() - started, 3), "replayed": probe.computed},
    )


def _searched(look: Look, ways: Mapping[str, Sequence[Path]]) -> list[Found]:
    """Search every way of every key, and pairs of keys where none reaches the target alone."""
    singles = _of_each_key(look.along(list(chain.from_iterable(ways.values())), "trying one number at a time"))
    if any(each.reached is not None for each in singles):
        return singles
    return singles + look.along(_pairs(singles), "trying two numbers at a time")


@dataclass(frozen=True, slots=True)
class Target:
    """A time, or a speed-up over the case as it is."""

    seconds: float | None = None
    speedup: float | None = None

    def of(self, usual_seconds: float) -> float:
        """Return the time that is to be reached."""
        return usual_seconds / self.speedup if self.speedup is not None else float(self.seconds or 0.0)


def default_keys(row: Mapping[str, Any]) -> list[str]:
    """Return the numbers and choices of a core that what the run spends its time on may depend on."""
    from caches.parts import PARTS

    tables = dict.fromkeys(
        table for leaf, named in TABLES.items() if row[f"stack.{leaf}"] > SPENT * row["cycles"] for table in named
    )
    return [
        f"{table}.{entry.name}"
        for table in tables
        for entry in dataclasses.fields(PARTS[table])
        if isinstance(entry.type, type) and entry.name != "line"
    ]


def _given(keys: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for text in keys:
        name, equals, values = (part.strip() for part in text.partition("="))
        if name in found:
            raise InputError(f"--key: {name} is given twice")
        if equals and not values:
            raise InputError(f"--key: {text!r} must be KEY, KEY=LOW..HIGH or KEY=V1,V2,...")
        key(name)
        found[name] = values or None
    return found


def _ways(plan: Plan, named: Mapping[str, str | None]) -> dict[str, list[Path]]:
    """Return the paths of each key from its value in force."""
    side = Resolver(plan).base()
    if side is None or side.impossible:
        raise InputError(side.impossible if side else "CASE: must be one")
    usual = {name: side.value(name) for name in named}
    for name, value in usual.items():
        if key(name).kind is float and value is not None:
            usual[name] = float(value)
    return {name: paths_of(name, usual[name], values) for name, values in named.items()}


def _of_each_key(found: Iterable[Found]) -> list[Found]:
    """Return of every key its best way: the smallest change that reaches the target, or the soonest."""
    ways: dict[str, list[Found]] = {}
    for each in found:
        ways.setdefault(each.path.moves[0].key, []).append(each)
    return [
        min(of_key, key=lambda one: (one.reached is None, *_reached(one).order, one.best_seconds or math.inf))
        for of_key in ways.values()
    ]


def _pairs(singles: Sequence[Found]) -> list[Path]:
    """Return the paths of two keys, each to where it is best alone; of the keys that come nearest."""
    near = sorted((each for each in singles if each.best is not None), key=lambda one: one.best_seconds or math.inf)
    ends = []
    for each in near[:PAIRED]:
        (move,) = each.path.moves
        best = move.at(each.best or 1.0)
        upto = tuple(move.values[: move.values.index(best) + 1]) if move.values else ()
        ends.append(dataclasses.replace(move, end=best, values=upto))
    return [Path(pair) for pair in combinations(ends, 2)]


def _nearest(probe: Probe, missed: Sequence[Found]) -> list[Missed]:
    """Return what nowhere reaches the target; single keys and pairs that come nearest are timed in full there."""
    told: list[Missed] = []
    for count in (1, 2):
        alike = [each for each in missed if len(each.path.moves) == count and each.best is not None]
        alike.sort(key=lambda each: each.best_seconds or math.inf)
        near = alike[:NEAREST]
        times = probe.seconds([Ask(each.path.at(each.best or 0.0), in_full=True) for each in near])
        whole = [_missed(each, seconds) for each, seconds in zip(near, times, strict=True)]
        told += sorted(whole, key=lambda each: each.seconds)
        told += [_missed(each, None) for each in alike[NEAREST:]]
    return told


def _changes(found: Found, place: float) -> tuple[Change, ...]:
    return tuple(
        Change(
            key=move.key,
            usual=move.usual,
            value=move.at(place),
            short=move.usual if not found.short else move.at(found.short),
            until=None if found.until is None else move.at(found.until),
        )
        for move in found.path.moves
    )


def _reached(found: Found) -> Reached:
    return Reached(
        changes=_changes(found, found.reached or 0.0),
        seconds=found.seconds or 0.0,
        short_seconds=found.short_seconds or 0.0,
        evenly=found.evenly,
    )


def _missed(found: Found, in_full: float | None) -> Missed:
    return Missed(
        changes=_changes(found, found.best or 0.0),
        seconds=in_full or found.best_seconds or 0.0,
        in_full=in_full is not None,
        evenly=found.evenly,
    )
