"""Pace: how a copy went on, page by page: time, rate, what caches and TLBs served, and how long loads waited.

A second replay of the run, stopped where groups of pages begin; counters are differences between two stops. Loads are
stepped through one by one in a few pages only.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relocscope.runs import Run
from traces.expand import NO_PA, accesses
from traces.fold import CopySite
from traces.lines import first_stores
from traces.schema import MARK, PAGE_BYTES, Access, Mark, Role
from traces.trace import Records, Trace

if TYPE_CHECKING:
    from caches.replaying import Replay

MOST_BINS = 256
"""Groups of pages that a copy is told in."""

PARTS = ("l1d", "l2", "l3", "dtlb", "l2tlb")
"""Whose hits are told by page."""

STEPPED_PAGES = 8
"""Pages whose loads are timed one by one."""

_STEPS_A_PAGE = 4096
"""More instructions than copying 4 KiB takes; a page that takes more is timed up to here."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """Some pages of the copy, the next ones in the order of copying."""

    first_page: int
    pages: int
    start_seconds: float
    """Since the copy began."""
    seconds: float
    bytes_per_second: float
    accesses: Mapping[str, int]
    """Of each of PARTS that the core has, look-ups in this bin; `misses` has the same keys."""
    misses: Mapping[str, int]
    source_pa: int | None
    """Where the first page of the bin was read from and stored to; None where the trace does not say."""
    destination_pa: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How one copy went on."""

    bins: tuple[Bin, ...]
    load_latency: Mapping[int, int]
    """Cycles from issue to the data, and how many loads of the stepped pages took so long."""
    stepped_pages: int
    frequency_hz: int


def pace_of(run: Run, progress: Progress | None = None) -> Pace | None:
    """Replay the run by groups of pages. None where nothing was copied, or the run itself is a sample."""
    if run.site is None or (run.operand is not None and run.operand.sample):
        return None
    pages, starts = _page_starts(run.trace, run.site)
    if not len(pages):
        return None
    firsts = np.unique(np.linspace(0, len(pages), min(MOST_BINS, len(pages)), endpoint=False).astype(np.int64))
    edges = [*starts[firsts].tolist(), run.site.last + 1]
    stepped = {int(place) for place in np.linspace(0, len(firsts) - 1, min(STEPPED_PAGES, len(firsts)))}
    replay = _replay(run)
    replay.advance(edges[0])
    sources = _sources(run.trace, run.site, edges[:-1])
    latency: Counter[int] = Counter()
    bins: list[Bin] = []
    began = replay.cycles
    for place, (first, stop) in enumerate(zip(firsts.tolist(), edges[1:], strict=True)):
        before, counted = replay.cycles, _counts(replay)
        count = (int(firsts[place + 1]) if place + 1 < len(firsts) else len(pages)) - first
        if place in stepped:
            until = int(starts[first + 1]) if first + 1 < len(starts) else stop
            latency.update(_stepped(replay, until))
        replay.advance(stop)
        seconds = (replay.cycles - before) / run.config.frequency_hz
        misses = {part: after[1] - counted[part][1] for part, after in _counts(replay).items()}
        looked = {part: after[0] - counted[part][0] for part, after in _counts(replay).items()}
        bins.append(
            Bin(
                first_page=first,
                pages=count,
                start_seconds=(before - began) / run.config.frequency_hz,
                seconds=seconds,
                bytes_per_second=count * PAGE_BYTES / seconds if seconds else 0.0,
                accesses=looked,
                misses=misses,
                source_pa=sources.get(edges[place]),
                destination_pa=int(pages[first]),
            )
        )
        if progress:
            progress(place + 1, len(firsts))
    return Pace(
        bins=tuple(bins),
        load_latency=dict(sorted(latency.items())),
        stepped_pages=len(stepped),
        frequency_hz=run.config.frequency_hz,
    )


def _replay(run: Run) -> "Replay":
    from caches.replaying import Replay

    # Stops this close leave no repetition to skip.
    return Replay(run.trace, run.config, initial=run.initial, seed=run.seed, steady=False)


def _page_starts(trace: Trace, site: CopySite) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the pages of destinations in the order of copying, and the executions that begin to store them."""
    pages, starts = first_stores(trace)
    kept = _within(pages, trace.ranges[trace.ranges["role"] == Role.DESTINATION])
    kept &= (starts >= site.first) & (starts <= site.last)
    pages, starts = pages[kept], starts[kept]
    later = np.concatenate([[True], starts[1:] > starts[:-1]]) if len(starts) else np.zeros(0, np.bool_)
    return pages[later], starts[later]


def _within(pa: NDArray[np.uint64], ranges: Records) -> NDArray[np.bool_]:
    """Tell which addresses lie in ranges, of which there may be many that do not overlap."""
    order = np.argsort(ranges["pa"])
    begins, ends = ranges["pa"][order], (ranges["pa"] + ranges["size"])[order]
    if not len(begins):
        return np.zeros(len(pa), np.bool_)
    place = np.searchsorted(begins, pa, side="right") - 1
    inside: NDArray[np.bool_] = (place >= 0) & (pa < np.maximum.accumulate(ends)[np.maximum(place, 0)])
    return inside


def _counts(replay: "Replay") -> dict[str, tuple[int, int]]:
    """Return look-ups and misses so far of each part that the core has."""
    return {
        part: (replay.count(part, "accesses"), replay.count(part, "misses"))
        for part in PARTS
        if part != "l3" or replay.config.l3.size
    }


def _stepped(replay: "Replay", until: int) -> Counter[int]:
    """Go on one instruction at a time; return how many loads waited how many cycles from their issue to their data."""
    trace, waited = replay.trace, Counter[int]()
    words = replay.state.words[0]
    steps = 0
    while replay.at < until and (steps < _STEPS_A_PAGE or replay.inside):
        insn = trace.insns[int(trace.blocks["first"][int(trace.executions[replay.at])]) + replay.inside]
        replay.step()
        steps += 1
        if insn["access"] == Access.LOAD:
            loaded = [int(words["registers"][at]) for at in insn["dst"] if at < 96 and at not in insn["src"]]
            if loaded:
                waited[max(loaded) - int(words["issued"])] += 1
    return waited


def _sources(trace: Trace, site: CopySite, starts: list[int]) -> dict[int, int]:
    """Return where each of these executions, which begin to store a page, reads it from."""
    consumed = trace.blocks["values"].astype(np.int64)
    values, cursor, at = [], 0, 0
    for start in starts:
        cursor += int(consumed[trace.executions[at:start]].sum())
        at = start
        values.append(trace.values[cursor : cursor + int(consumed[trace.executions[start]])])
    marks = np.zeros(1, MARK)
    marks["kind"], marks["a"] = Mark.EPOCH, site.epoch
    alone = replace(trace, executions=trace.executions[starts], values=np.concatenate(values), marks=marks)
    table = accesses(alone)
    table = table[(table["access"] == Access.LOAD) & (table["pa"] != NO_PA)]
    table = table[_within(table["pa"], trace.ranges[trace.ranges["role"] == Role.SOURCE])]
    which, first = np.unique(table["execution"], return_index=True)
    return {starts[int(place)]: int(table["pa"][row]) for place, row in zip(which, first, strict=True)}
