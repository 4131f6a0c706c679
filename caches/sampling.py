"""A replay of some pages of a long copy: systematic sampling with functional warming (docs/sampling.md)."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caches.config import CoreConfig
from caches.estimate import Estimate, Floats, systematic_mean, without_interruptions
from caches.replaying import Replay, replay
from caches.state import Ints
from caches.warming import Touches, leads_of, warmed
from traces.outcome import Outcome
from traces.schema import Mark, MemoryType
from traces.trace import Trace

LEVEL = 0.95

TARGET = 0.004
"""Standard error that the number of units aims at, of the mean."""

PILOT_PAGES = 64
"""Pages that are replayed before the sampled ones: they say how pages vary, and how far ahead prefetchers get."""
LOOKED_AT = 32
"""The last of them, at whose ends prefetchers are looked at."""

WARMING_ALLOWANCE = 0.005
"""Added to the half of an interval, of the mean: what functional warming leaves out (docs/sampling.md), measured."""

UNIT_PAGES = 8
UNMEASURED_PAGES = 2
"""Replayed before each unit, for what warming does not carry: pipeline, buffers, rows of DRAM, streams under way."""

LEAST_UNITS = 24
LEAST_PAGES = 1024
"""A shorter copy is replayed in full."""
MOST_OF_ALL = 0.5
"""Share of the pages beyond which sampling would save little."""

_TURNOVERS = 2.0
"""How often the largest cache is to be filled anew before a unit, where pages are many: bounded warming."""
_LINES_OF_A_PAGE = 128
"""Of its source and its destination."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The pages of a copy: where each begins, and the execution after the last one."""

    starts: Ints
    stop: int


def replay_sampled(
    trace: Trace,
    config: CoreConfig,
    copy: Copy,
    *,
    ablate: Iterable[str] = (),
    initial: str = "cold",
    seed: int = 1,
    checkpoints: Sequence[int] | NDArray[np.uint64] = (),
) -> Outcome:
    """Return the Outcome of the whole run, some pages of the copy standing for the others.

    The options are those of `caches.replay`; `details["sampling"]` says how it was done (the object of `run --json`).
    A copy that is short, or does what warming does not know, is replayed in full; so is one whose pages are known to
    cost the same (caches.steady), which is quicker.
    """
    options: dict[str, Any] = {"ablate": tuple(ablate), "initial": initial, "seed": seed}
    asked = [int(at) for at in checkpoints]
    touches, reason = _judge(trace, copy, asked)
    if touches is not None:
        sample = _Sample(trace, config, copy, touches, asked, options)
        if sample.pilot():
            return sample.outcome()
        reason = "its pages differ so much that more than half of them would be needed"
    whole = replay(trace, config, checkpoints=asked, **options)
    pages = len(copy.starts)
    skipped = int(whole.details.get("pages_skipped", 0))
    facts = {
        "method": "steady" if skipped else "full",
        "reason": reason,
        "pages": pages,
        "replayed_pages": pages - skipped,
    }
    return _with_sampling(whole, facts, 0.0)


def _with_sampling(outcome: Outcome, facts: Mapping[str, Any], half: float) -> Outcome:
    """Add the interval of all cycles to an Outcome."""
    cycles = outcome.cycles
    low, high = round(cycles - half), round(cycles + half)
    hertz = outcome.frequency_hz
    sampling = {
        "units": 0,
        "unit_pages": 0,
        **facts,
        "level": LEVEL if half else 1.0,
        "cycles": {"low": low, "high": high},
        "seconds": {"low": low / hertz, "high": high / hertz},
        "relative_half_width": half / cycles if cycles else 0.0,
    }
    return dataclasses.replace(outcome, details={**outcome.details, "sampling": sampling})


def _judge(trace: Trace, copy: Copy, asked: Sequence[int]) -> tuple[Touches | None, str]:
    """Return what the copy touches, or None and why it is replayed in full."""
    if len(copy.starts) < LEAST_PAGES:
        return None, f"{len(copy.starts)} pages are replayed as quickly as sampled"
    begin, end = int(copy.starts[0]), copy.stop
    at = trace.marks["at"]
    held = trace.marks[(trace.marks["kind"] == Mark.EPOCH) & (at <= begin)]
    regime = trace.epochs[int(held["a"][-1]) if len(held) else 0]
    if not (regime["stage1"] or regime["stage2"]) and regime["flat_type"] <= MemoryType.DEVICE_GRE:
        return None, "pages that are known to cost the same are added up"
    if ((at > begin) & (at < end)).any() or any(copy.starts[PILOT_PAGES] < one < end for one in asked):
        return None, "something happens in the midst of the copy"
    executed = np.flatnonzero(np.bincount(trace.executions[begin:end], minlength=len(trace.blocks)))
    touches = Touches.of(trace, executed)
    return touches, "" if touches else "its pages do what warming does not know"


class _Sample:
    """One sampled replay on its way."""

    def __init__(
        self,
        trace: Trace,
        config: CoreConfig,
        copy: Copy,
        touches: Touches,
        asked: Sequence[int],
        options: Mapping[str, Any],
    ) -> None:
        self._trace = trace
        self._starts = copy.starts
        self._stop = copy.stop
        self._head = [at for at in asked if at < copy.stop]
        self._tail = [at for at in asked if at >= copy.stop]
        self._touches = touches
        self._seed = int(options["seed"])
        self._replay = Replay(trace, config, steady=False, **options)
        begin, consumed = int(copy.starts[0]), trace.blocks["values"]
        taken = np.add.reduceat(consumed[trace.executions[begin : copy.stop]], copy.starts - begin, dtype=np.int64)
        before = int(consumed.astype(np.int64)[trace.executions[:begin]].sum())
        self._values = before + np.cumsum(taken) - taken
        self._leads: list[tuple[int, int]] = []
        self._draw = np.random.default_rng(self._seed)
        self._units = 0
        self._checkpoints: list[int] = []

    def pilot(self) -> bool:
        """Replay the first pages and plan by them; False if sampling would save little."""
        replay = self._replay
        ends = []
        for page in range(1, PILOT_PAGES + 1):
            end = int(self._starts[page])
            while self._head and self._head[0] <= end:
                replay.advance(self._head.pop(0))
                self._checkpoints.append(replay.cycles)
            replay.advance(end)
            ends.append(replay.cycles)
            if page > PILOT_PAGES - LOOKED_AT:
                self._leads += leads_of(replay.words)
        times = np.array(ends[PILOT_PAGES // 4 :], np.float64)
        costs = self._settled(np.diff(times), np.diff(_refreshed(replay.words, times)))
        deviation = float(costs.std(ddof=1) / costs.mean()) / UNIT_PAGES**0.5
        self._units = max(LEAST_UNITS, round((deviation / TARGET) ** 2))
        return self._units * (UNIT_PAGES + UNMEASURED_PAGES) < MOST_OF_ALL * self._population

    @property
    def _population(self) -> int:
        """Pages that the sampled ones stand for: not the first, nor the last."""
        return len(self._starts) - 1 - PILOT_PAGES

    def outcome(self) -> Outcome:
        """Replay the sampled pages and the end, and scale."""
        replay = self._replay
        base = _Tally.of(replay)
        measured, costs, interrupted = _Tally.zero(base), [], []
        for page in self._places():
            self._go_to(page)
            replay.advance(int(self._starts[page + UNMEASURED_PAGES]))
            before = _Tally.of(replay)
            replay.advance(int(self._starts[page + UNMEASURED_PAGES + UNIT_PAGES]))
            after = _Tally.of(replay)
            self._leads += leads_of(replay.words)
            measured = measured.plus(after.minus(before))
            costs.append(float(after.now - before.now) / UNIT_PAGES)
            refreshed = _refreshed(replay.words, np.array([before.now, after.now], np.float64))
            interrupted.append(float(refreshed[1] - refreshed[0]) / UNIT_PAGES)
        last = len(self._starts) - 1
        self._go_to(last - UNMEASURED_PAGES)
        replay.advance(int(self._starts[last]))
        before = _Tally.of(replay)
        after_copy = []
        for at in self._tail:
            replay.advance(at)
            after_copy.append(replay.cycles - before.now)
        replay.advance()
        tail = _Tally.of(replay).minus(before)
        share = len(costs) * UNIT_PAGES / self._population
        found = systematic_mean(self._settled(np.array(costs), np.array(interrupted)), share=share, level=LEVEL)
        return self._scaled(base, measured, tail, found, after_copy)

    def _settled(self, costs: Floats, interrupted: Floats) -> Floats:
        """Return costs of units without the chance of having met more refreshes than others."""
        words = self._replay.words
        interval = int(words["refresh_interval"])
        if interval == 0 or not words["on_dram_refresh"]:
            return costs
        return without_interruptions(costs, interrupted, int(words["refresh_cycles"]) / interval)

    def _places(self) -> list[int]:
        """First pages of the units: one in each equal part of the copy, where the seed says.

        Not every n-th page: what a copy costs has periods of its own (tables, lists, DRAM), and would be met in phase.
        """
        step = self._population / self._units
        within = self._draw.random(self._units) * (step - UNIT_PAGES - UNMEASURED_PAGES)
        return [PILOT_PAGES + int(unit * step + place) for unit, place in enumerate(within.tolist())]

    def _go_to(self, page: int) -> None:
        """Warm up to the page, as far back as caches can remember."""
        words = self._replay.words
        ways = int((words["level_sets"] * words["level_ways"] * words["level_present"]).max())
        first = page - int(_TURNOVERS * ways / _LINES_OF_A_PAGE)
        if first > 0 and self._starts[first] > self._replay.at:
            self._replay.jump(int(self._starts[first]), int(self._values[first]))
        leads = None
        if self._leads:
            # Whole lines, that come to the mean from one unit to the next.
            one, two = np.floor(np.mean(self._leads, axis=0) + self._draw.random(2)).astype(int).tolist()
            leads = one, two
        warmed(self._replay, int(self._starts[page]), self._touches, leads)

    def _scaled(
        self, base: "_Tally", measured: "_Tally", tail: "_Tally", found: Estimate, after_copy: list[int]
    ) -> Outcome:
        outcome = self._replay.outcome()
        middle = found.mean * self._population
        times = self._population / (self._units * UNIT_PAGES)
        cycles = np.rint(measured.cycles * (middle / measured.cycles.sum())).astype(np.int64)
        scaled = np.rint(measured.counters * times).astype(np.int64)
        counters = base.counters + scaled + tail.counters
        first, last = int(self._starts[PILOT_PAGES]), int(self._starts[-1])
        ran = np.bincount(self._trace.executions[first:last], minlength=len(self._trace.blocks))
        copied = base.now + int(cycles.sum())
        replayed = PILOT_PAGES + self._units * (UNIT_PAGES + UNMEASURED_PAGES) + UNMEASURED_PAGES + 1
        whole = dataclasses.replace(
            outcome,
            insn_cycles=base.cycles + cycles + tail.cycles,
            insn_count=base.count + _instructions(self._trace, ran) + tail.count,
            checkpoint_cycles=np.array([*self._checkpoints, *(copied + after for after in after_copy)], np.int64),
            counters=self._replay.counters_of(counters),
        )
        facts = {
            "method": "systematic",
            "reason": "",
            "pages": len(self._starts),
            "replayed_pages": replayed,
            "units": self._units,
            "unit_pages": UNIT_PAGES,
        }
        return _with_sampling(whole, facts, (found.half + WARMING_ALLOWANCE * found.mean) * self._population)


@dataclass(frozen=True, slots=True)
class _Tally:
    """What a replay has counted so far, or between two moments."""

    now: int
    cycles: Ints
    count: Ints
    counters: Ints

    @classmethod
    def of(cls, replay: Replay) -> "_Tally":
        return cls(replay.cycles, *(one.copy() for one in replay.tallies()))

    @classmethod
    def zero(cls, like: "_Tally") -> "_Tally":
        return like.minus(like)

    def plus(self, other: "_Tally") -> "_Tally":
        return _Tally(
            self.now + other.now,
            self.cycles + other.cycles,
            self.count + other.count,
            self.counters + other.counters,
        )

    def minus(self, other: "_Tally") -> "_Tally":
        return _Tally(
            self.now - other.now,
            self.cycles - other.cycles,
            self.count - other.count,
            self.counters - other.counters,
        )


def _refreshed(words: Any, times: Floats) -> Floats:
    """For how many cycles DRAM has been refreshing by each of these times (kernels.dram.after_refresh)."""
    interval, length = int(words["refresh_interval"]), int(words["refresh_cycles"])
    if interval == 0:
        return np.zeros(len(times))
    shifted = times + interval // 2
    refreshed: Floats = np.floor(shifted / interval) * length + np.minimum(shifted % interval, length)
    return refreshed


def _instructions(trace: Trace, ran: Ints) -> Ints:
    """How often each instruction was executed by that many whole executions of each block."""
    counts = np.zeros(max(1, len(trace.insns)), np.int64)
    for block, times in zip(trace.blocks, ran.tolist(), strict=True):
        counts[int(block["first"]) : int(block["first"]) + int(block["count"])] += times
    return counts
