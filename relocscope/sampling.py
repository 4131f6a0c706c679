"""`--sample`: replay a few pages here and there in a long copy, and pass by those between (docs/sampling.md).

Systematic sampling with functional warming: the copy is cut into strata, each stands for a unit of pages in its middle.
What the pages between leave in caches and TLBs is carried out without timing them (`caches.warming`).
"""

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.fold import CopySite
from traces.outcome import Outcome
from traces.schema import Mark
from traces.trace import Trace

if TYPE_CHECKING:
    from caches import CoreConfig
    from caches.replaying import Replay
    from caches.warming import Pages

UNITS = 16
"""Units of a sample."""

UNIT_PAGES = 16
"""Pages of a unit: descriptors and list entries share a line by eight, so that pages differ by their place in it."""

REPLAYED_PAGES = 8
"""Replayed before each unit, for what is not warmed: L1D, stream detectors, open rows of DRAM."""

WARMED_PAGES = 64
"""Warmed before that at least, where pages farther back were jumped over."""

FLAT_PAGES = 4
"""Of a unit, and before it, where nothing is translated: nothing there depends on addresses."""

STUDENT_T = 2.145
"""For UNITS - 2 degrees of freedom, 95 % two-sided."""

ALLOWANCE = 0.01
"""Added to each half of the interval, of what was scaled up: warming is not a replay. Measured (docs/sampling.md)."""

JUMPED_ALLOWANCE = 0.02
"""The same where pages were jumped over as well."""

LEAST_PAGES = 4 * UNITS * (UNIT_PAGES + REPLAYED_PAGES)
"""A copy of fewer is replayed in full: little would be saved."""

REGULAR_SHARE = 0.9
"""Of a copy's executions that must belong to pages that are alike; else it is replayed in full."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Pages that are timed, by their numbers, and how many times as many executions they stand for."""

    first: int
    stop: int
    weight: float


class _Reading(NamedTuple):
    """What a replay has counted up to some point."""

    cycles: int
    insn_cycles: NDArray[np.int64]
    counters: dict[str, dict[str, int]]

    @classmethod
    def of(cls, run: "Replay") -> "_Reading":
        return cls(run.cycles, run.insn_cycles.copy(), run.counters)


def replay_sampled(
    trace: Trace, config: "CoreConfig", site: CopySite, checkpoints: NDArray[np.uint64], **options: Any
) -> Outcome:
    """Return the Outcome of the whole run, with all of the copy but a sample of its pages scaled up from that.

    `checkpoints`: executions outside the middle of the copy, ascending; the copy's first and the one after its last are
    among them.
    """
    from caches import replay
    from caches.replaying import Replay
    from caches.warming import pages_of

    length, end = site.last + 1 - site.first, site.last + 1
    pages = pages_of(trace, site.first, site.last)
    if pages is None or len(pages.starts) < max(LEAST_PAGES, REGULAR_SHARE * length / pages.length):
        return replay(trace, config, checkpoints=checkpoints, **options)
    regime = trace.epochs[site.epoch]
    flat = not (regime["stage1"] or regime["stage2"])
    settling, closing = (len(pages.starts), 0) if flat else _settling_pages(config, len(pages.starts))
    units = units_of(pages, site, settling, FLAT_PAGES if flat else UNIT_PAGES)
    run = Replay(trace, config, checkpoints=checkpoints, steady=False, **options)
    run.advance(site.first)
    before = _Reading.of(run)
    timed = []
    for unit in units:
        replayed = FLAT_PAGES if flat else REPLAYED_PAGES
        _go_on(run, pages, int(pages.starts[unit.first - replayed]), settling, WARMED_PAGES)
        run.advance(int(pages.starts[unit.first]))
        begun = _Reading.of(run)
        run.advance(int(pages.starts[unit.stop]))
        timed.append((begun, _Reading.of(run)))
    _go_on(run, pages, end, settling, closing)
    run.advance(end)
    allowance = JUMPED_ALLOWANCE if settling < len(pages.starts) else ALLOWANCE
    return _scaled(run, trace, site, units, before, timed, allowance)


def _settling_pages(config: "CoreConfig", pages: int) -> tuple[int, int]:
    """Return after how many pages nothing to speak of is left of what caches held; and of those before the PoC.

    A page brings at least 4 KiB into L2, which may replace at random, and takes 8 KiB through L3.
    """
    l2, l3 = 2 * config.l2.size >> 12, config.l3.size >> 13
    if 2 * (l2 + l3) > pages:
        return pages, 0  # no time to speak of is left to be jumped over
    return l2 + l3, l2 // 2 + l3 * (not config.l3.behind_poc)


def units_of(pages: "Pages", site: CopySite, settling: int, unit_pages: int) -> list[Unit]:
    """Lay units all over the copy, or half of them where caches still settle. None has an odd page within."""
    starts = pages.starts
    bounds = np.linspace(0, len(starts), UNITS + 1)
    if settling < len(starts):
        half = UNITS // 2 + 1
        bounds = np.append(np.linspace(0, settling, half)[:-1], np.linspace(settling, len(starts), half))
    edges = [site.first, *(int(starts[int(bound)]) for bound in bounds[1:-1]), site.last + 1]
    length = unit_pages * pages.length
    units: list[Unit] = []
    for at in range(UNITS):
        first = int(bounds[at] + bounds[at + 1] - unit_pages) // 2
        first = max(first, (units[-1].stop if units else 0) + REPLAYED_PAGES)
        while starts[first + unit_pages] - starts[first] != length:
            first += 1
        units.append(Unit(first, first + unit_pages, (edges[at + 1] - edges[at]) / length))
    return units


def _go_on(run: "Replay", pages: "Pages", stop: int, settling: int, kept: int) -> None:
    """Go on to execution `stop`: pages are warmed while caches settle, then jumped over but for the last `kept`."""
    number = int(np.searchsorted(pages.starts, stop))
    jump_from = int(pages.starts[settling]) if settling < len(pages.starts) else stop
    jump_to = int(pages.starts[max(0, number - kept - 1)])
    for first, count in list(pages.runs(run.at, stop)):
        run.advance(first)
        end = first + count * pages.length
        begin, until = (min(max(at, first), end) for at in (jump_from, jump_to))
        jumped = max(0, until - begin) // pages.length
        warmed = (begin - first) // pages.length if jumped else count
        run.warm(warmed, pages.length)
        run.jump(jumped, pages.length)
        run.warm(count - warmed - jumped, pages.length)
    run.advance(stop)


def _scaled(
    run: "Replay",
    trace: Trace,
    site: CopySite,
    units: list[Unit],
    before: _Reading,
    timed: list[tuple[_Reading, _Reading]],
    allowance: float,
) -> Outcome:
    """Finish the run; return its Outcome, with the copy made of the units."""
    copied = _Reading.of(run)
    run.advance()
    whole, end = run.outcome(), _Reading.of(run)
    weights = np.array([unit.weight for unit in units])
    middle = np.zeros(copied.insn_cycles.shape)
    for weight, (start, stop) in zip(weights, timed, strict=True):
        middle += weight * (stop.insn_cycles - start.insn_cycles)
    insn_cycles = before.insn_cycles + np.rint(middle).astype(np.int64) + end.insn_cycles - copied.insn_cycles
    cycles = int(insn_cycles.sum())
    of_units = np.array([stop.cycles - start.cycles for start, stop in timed], np.float64)
    half = _half_interval(weights, of_units, allowance)
    sampled = {
        "pages": site.stored_bytes >> 12,
        "units": len(units),
        "interval": [max(0.0, cycles - half) / whole.frequency_hz, (cycles + half) / whole.frequency_hz],
    }

    def scaled(part: str, name: str) -> int:
        counted = np.array([stop.counters[part][name] - start.counters[part][name] for start, stop in timed])
        outside = before.counters[part][name] + end.counters[part][name] - copied.counters[part][name]
        return outside + round(float(weights @ counted))

    after = np.arange(len(whole.checkpoint_cycles)) >= np.searchsorted(whole.checkpoint_cycles, copied.cycles)
    return dataclasses.replace(
        whole,
        insn_cycles=insn_cycles[: len(trace.insns)],
        insn_count=_executed(trace),
        checkpoint_cycles=whole.checkpoint_cycles + np.where(after, cycles - end.cycles, 0),
        counters={part: {name: scaled(part, name) for name in names} for part, names in end.counters.items()},
        details={**whole.details, "sampled": sampled},
    )


def _half_interval(weights: NDArray[np.float64], cycles: NDArray[np.float64], allowance: float) -> float:
    """Return half of the 95 % interval, in cycles: Student's t, over the differences of neighbouring units.

    What drifts from unit to unit does so within their strata as well, and is no error of the sum.
    """
    variance = float((np.diff(cycles) ** 2).mean()) / 2
    spread = STUDENT_T * float(np.sqrt(variance * (weights**2).sum()))
    return spread + allowance * float(weights @ cycles)


@lru_cache(maxsize=4)
def _executed(trace: Trace) -> NDArray[np.int64]:
    """[row of Trace.insns]: how often the run executed it; the trace says so exactly."""
    times = np.bincount(trace.executions, minlength=len(trace.blocks))
    count = np.zeros(len(trace.insns), np.int64)
    for block, executed in zip(trace.blocks, times.tolist(), strict=True):
        count[int(block["first"]) : int(block["first"]) + int(block["count"])] += executed
    for mark in trace.marks[trace.marks["kind"] == Mark.TRUNCATE]:
        block = trace.blocks[trace.executions[int(mark["at"]) - 1]]
        first = int(block["first"])
        count[first + int(mark["a"]) : first + int(block["count"])] -= 1
    return count
