"""Estimated: the numbers of a core that are only estimated and move the time of a case, and the values of each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relocscope.ranges import Estimate, Step, estimates, moved, responses
from relocscope.runs import Run
from relocscope.sensitivity import Side
from relocscope.sweeping.designs import Range
from traces.errors import InputError

if TYPE_CHECKING:
    from caches import CoreConfig


def estimated_ranges(runs: Sequence[Run], step: Step = lambda _done, _total: None) -> dict[str, Any]:
    """Return the values of each estimate that moves what one of the runs costs, by slices of them, as a plan has them.

    Numbers go by ratios where both ends are above 0; where what lies between the ends makes no core (the sizes of most
    caches), by the doublings that do. Of two runs on different cores the keys have `a.` or `b.` before them. InputError
    where a run has no copy that ends, or no estimate moves any.
    """
    one_core = len({run.config.name for run in runs}) == 1
    found: dict[str, Any] = {}
    for number, run in enumerate(runs):
        if run.outcome != "completed" or run.site is None:
            raise InputError(f"{run.case}: it copies nothing, or never arrives: name what is to be moved with --range")
        for one in _moving(run, step):
            found.setdefault(one.key if one_core else f"{'ab'[number]}.{one.key}", values_of(run.config, one))
    if not found:
        raise InputError("core: none of its estimated numbers moves a time: name what is to be moved with --range")
    return found


def _moving(run: Run, step: Step) -> list[Estimate]:
    everything = estimates(run.config)
    keys = {one.estimate.key for one in responses(run.config, Side(run).slices, everything, step)}
    return [one for one in everything if one.key in keys]


def values_of(config: "CoreConfig", one: Estimate) -> "list[Any] | Range":
    """Return the values that an estimate may have: its range, its choices, or those in its range that make a core."""
    from relocscope.sweeping.points import plain_value

    if not one.is_number:
        return [plain_value(value) for value in (one.value, *one.others)]
    low, high = min(one.value, *one.others), max(one.value, *one.others)
    span = Range(low, high, log=low > 0)
    whole = isinstance(one.value, int)
    between = [round(span.at(share)) if whole else span.at(share) for share in (0.25, 0.4, 0.6, 0.75)]
    if all(moved(config, {one.key: value}) is not None for value in between):
        return span
    doublings = [low << step for step in range(64) if whole and low > 0 and low << step < high]
    values = sorted({low, one.value, high, *doublings})
    return [value for value in values if moved(config, {one.key: value}) is not None]
