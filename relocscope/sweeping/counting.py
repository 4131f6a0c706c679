"""A sweep that asks for counts alone: one pass over what a level is asked for, instead of a replay for each point."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relocscope.sweeping.keys import bare
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.points import Side
from relocscope.sweeping.sweep import Means, Progress, Sweep, local
from relocscope.sweeping.table import Table
from traces.errors import InputError

if TYPE_CHECKING:
    from caches import CoreConfig

_SHAPE = ("size", "entries", "ways")

_Numbers = Mapping[str, int]


def counted_levels(plan: Plan) -> tuple[str, ...]:
    """Return the levels whose shape a plan sweeps. Raises InputError where none of which counts can be had is."""
    from caches.exactness import LEVELS

    swept = {bare(name) for name in plan.swept}
    found = tuple(level for level in LEVELS if swept & {f"{level}.{name}" for name in _SHAPE})
    if not found:
        shapes = "l1d, l2 or l3 .size or .ways, dtlb.entries or .ways"
        raise InputError(f"--counts-only: sweep the shape of what is to be counted: {shapes}")
    if plan.sample or plan.question is not None:
        raise InputError("--counts-only: a sample and a question are of times, and nothing is timed")
    return found


def count(plan: Plan, directory: Path, means: Means, progress: Progress | None = None) -> Table:
    """Count accesses, hits and misses of the levels that are swept, and write the table there; nothing is timed.

    Captures are kept as those of any sweep. Raises InputError where one pass is not exact (docs/misses.md).
    """
    started = time.perf_counter()
    levels = counted_levels(plan)
    sweep = Sweep(plan, directory)
    # Of one case the case unchanged is only there for speed-ups.
    sweep.base = None
    _check_exact(sweep, levels)
    sweep.store.prepare()
    with ExitStack() as stack:
        here = stack.enter_context(local(Means(means.workers), directory))
        sweep.check(here, progress)
        sweep.capture(here, progress)
    rows, passes = _rows(sweep, levels, progress)
    host = {
        "seconds": round(time.perf_counter() - started, 3),
        "captured": sweep.computed["capture"],
        "replayed": 0,
        "reused": 0,
        "passes": passes,
        "by": {who: n for who, n in sorted(sweep.computed.items()) if who != "capture"},
    }
    table = Table(plan=plan, rows=rows, base=None, captures=len(sweep.captures()), model=sweep.model, host=host)
    table.write(directory)
    return table


def _check_exact(sweep: Sweep, levels: Sequence[str]) -> None:
    """Refuse a plan at a point of which one pass is not exact, naming everything that would have to be set."""
    from caches.exactness import conditions

    for point in sweep.points:
        for side in point.sides:
            if side.replayed is None:
                continue
            config = side.replayed.config
            for level in levels:
                _shape(config, level)
            failed = {each.key: each for level in levels for each in conditions(config, level)}
            wanted = [f"--set {key}={each.needed} (it is {each.value})" for key, each in failed.items()]
            if side.replayed.initial != "cold" and levels != ("dtlb",):
                wanted.append(f"--set initial=cold (it is {side.replayed.initial})")
            if wanted:
                raise InputError(f"--counts-only: {point.label}: exact only with {', '.join(wanted)}")


def _rows(sweep: Sweep, levels: Sequence[str], progress: Progress | None) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of the table, and how many streams they were counted in."""
    asked: dict[tuple[str, str, str], list[Side]] = {}
    keys: dict[int, list[tuple[str, str, str]]] = {}
    for point in sweep.points:
        for side in point.sides:
            trace = (sweep.store.capture(side.capture) or {}).get("trace") if side.replayed else None
            if trace is None or side.replayed is None:
                continue
            keys[id(side)] = [(trace, level, _asked_by(side.replayed.config, level)) for level in levels]
            for key in keys[id(side)]:
                asked.setdefault(key, []).append(side)
    counted: dict[tuple[str, str, str], dict[tuple[int, int], _Numbers] | str] = {}
    for done, (key, sides) in enumerate(asked.items(), 1):
        counted[key] = _counted(sweep, key, sides)
        if progress:
            progress("counting", done, len(asked))
    rows = []
    for point in sweep.points:
        for name, side in zip("ab", point.sides, strict=False):
            rows.append(_row(sweep, point.index, side, keys.get(id(side), []), counted) | {"side": name})
    return rows, len(asked)


def _asked_by(config: "CoreConfig", level: str) -> str:
    """Return what of a core says what the level is asked for: equal text, equal streams."""
    from caches.exactness import CACHES

    if level == "dtlb":
        return repr((config.dtlb.sizes, config.maintenance.zva))
    if level == "l1d":
        return repr((config.maintenance.zva, config.nc.write_through_is_nc))
    below = CACHES[CACHES.index(level) :]
    same = {name: dataclasses.replace(getattr(config, name), size=0, ways=1) for name in below}
    tables = {
        each.name: same.get(each.name, getattr(config, each.name))
        for each in dataclasses.fields(config)
        if each.name not in ("name", "title", "calibrated", "provenance", "dram", "device", "kernel")
    }
    return repr(tables)


def _counted(sweep: Sweep, key: tuple[str, str, str], sides: Sequence[Side]) -> dict[tuple[int, int], _Numbers] | str:
    """Return the counts of every shape that is asked for there, by sets and ways; or why there are none."""
    from caches.stack_distances import hits, hits_of_one_set
    from relocscope.miss_curves import stream_at

    trace, level, _ = key
    configs = [side.replayed.config for side in sides if side.replayed is not None]
    try:
        stream = stream_at(sweep.store.trace(trace), configs[0], level)
    except InputError as error:
        return str(error)
    shapes = sorted({_shape(config, level) for config in configs})
    sets = sorted({number for number, ways in shapes if number > 1})
    found = dict(zip(sets, hits(stream, sets), strict=True))
    one_set = hits_of_one_set(stream) if shapes[0][0] == 1 else None

    def numbers(number: int, ways: int) -> _Numbers:
        hit = found[number][ways - 1] if one_set is None or number > 1 else one_set[min(ways, len(one_set)) - 1]
        return {"accesses": stream.accesses, "hits": int(hit), "misses": stream.accesses - int(hit)}

    return {shape: numbers(*shape) for shape in shapes}


def _shape(config: "CoreConfig", level: str) -> tuple[int, int]:
    """Return sets and ways. Raises InputError for more ways than are followed."""
    from caches.kernels.stack_distances import DEPTH

    part = getattr(config, level)
    number = part.entries // part.ways if level == "dtlb" else part.sets
    if number > 1 and part.ways > DEPTH:
        raise InputError(f"{level}.ways: {part.ways} ways of several sets are not followed: must be at most {DEPTH}")
    return number, part.ways


def _row(
    sweep: Sweep,
    point: int,
    side: Side,
    keys: Sequence[tuple[str, str, str]],
    counted: Mapping[tuple[str, str, str], dict[tuple[int, int], _Numbers] | str],
) -> dict[str, Any]:
    """Return one row of the table: counts, and nothing of what takes time."""
    row = sweep.described(point, side) | {"outcome": None}
    if row["status"] != "ok" or side.replayed is None:
        return row
    if not keys:
        known = sweep.store.capture(side.capture) or {"error": sweep.failed.get(side.capture)}
        return row | {"status": "failed", "error": known["error"]}
    row["trace"] = keys[0][0]
    for key in keys:
        found = counted[key]
        if isinstance(found, str):
            return row | {"status": "failed", "error": found}
        shape = _shape(side.replayed.config, key[1])
        row |= {f"count.{key[1]}.{name}": value for name, value in found[shape].items()}
    return row
