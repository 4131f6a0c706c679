"""`--sample`: time the beginning of a long copy and its end, and take the middle to go on as the beginning did.

The measured stretch is cut into units of equal length, whose spread gives an interval (docs/sampling.md).

Good for what is the same page after page. Lines are counted as stale or lost where the replayed parts made them so,
and as dirty at the end where the copy stored them before the sample and they stayed dirty through it.
"""

import dataclasses
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces.expand import accesses
from traces.fold import CopySite, cut
from traces.outcome import Outcome
from traces.schema import Access
from traces.trace import Trace

if TYPE_CHECKING:
    from caches import CoreConfig
    from caches.replaying import Replay

WARM_EXECUTIONS = 1 << 15
"""Executions of the copy before the measured ones: enough to fill the caches."""

SAMPLE_EXECUTIONS = 1 << 16
"""Executions of the copy that stand for the rest."""

UNITS = 8
"""Equal parts of the measured executions, which are compared."""

STUDENT_T = 2.365
"""For UNITS - 1 degrees of freedom, 95 % two-sided."""

ALLOWANCE = 0.01
"""Added to each half of the interval, of what was scaled up: the middle need not go on as the beginning did. Measured
over cores and cases (docs/sampling.md)."""

UNFILLED_ALLOWANCE = 0.05
"""The same where a cache is still being filled when the sample ends: what follows may be quicker."""

LEAST_EXECUTIONS = 4 * (WARM_EXECUTIONS + SAMPLE_EXECUTIONS)
"""A copy shorter than this is replayed in full: little would be saved."""


def replay_sampled(
    trace: Trace, config: "CoreConfig", site: CopySite, checkpoints: NDArray[np.uint64], **options: Any
) -> Outcome:
    """Return the Outcome of the whole run, with the middle of the copy scaled up from a sample of it.

    `checkpoints`: executions outside the middle of the copy, ascending; the copy's first and the one after its last are
    among them.
    """
    from caches import replay
    from caches.replaying import Replay

    length = site.last + 1 - site.first
    if length < LEAST_EXECUTIONS:
        return replay(trace, config, checkpoints=checkpoints, **options)
    warm, end = site.first + WARM_EXECUTIONS, site.first + WARM_EXECUTIONS + SAMPLE_EXECUTIONS
    before = checkpoints[checkpoints <= site.first]
    after = checkpoints[checkpoints > site.last] - np.uint64(site.last + 1)
    run = Replay(cut(trace, 0, end), config, checkpoints=before, **options)
    run.advance(warm)
    shorter = run.outcome()
    units = _units(run, end)
    longer = run.outcome()
    rest = cut(trace, site.last + 1, len(trace.executions))
    tail = replay(rest, config, checkpoints=after, **{**options, "initial": "cold"})
    times = (site.last + 1 - end) / SAMPLE_EXECUTIONS
    middle = np.rint((longer.insn_cycles - shorter.insn_cycles) * times).astype(np.int64)
    executed = np.rint((longer.insn_count - shorter.insn_count) * times).astype(np.int64)
    copied = int(longer.cycles + middle.sum())
    spread = STUDENT_T * float(units.std(ddof=1)) * np.sqrt(UNITS) * times
    half = spread + _allowance(trace, config, site, (end - site.first) / length) * float(middle.sum())
    cycles = copied + tail.cycles
    sampled = {
        "pages": site.stored_bytes >> 12,
        "units": UNITS,
        "interval": [max(0.0, cycles - half) / config.frequency_hz, (cycles + half) / config.frequency_hz],
    }
    return dataclasses.replace(
        longer,
        insn_cycles=longer.insn_cycles + middle + tail.insn_cycles,
        insn_count=longer.insn_count + executed + tail.insn_count,
        dirty_lines=np.intersect1d(_stored_lines(trace, site.first, warm), longer.dirty_lines),
        checkpoint_cycles=np.concatenate([longer.checkpoint_cycles, copied + tail.checkpoint_cycles]),
        counters={
            part: {
                name: round(value + (value - shorter.counters[part][name]) * times) + tail.counters[part][name]
                for name, value in counters.items()
            }
            for part, counters in longer.counters.items()
        },
        details={**longer.details, "sampled": sampled},
    )


def _allowance(trace: Trace, config: "CoreConfig", site: CopySite, share: float) -> float:
    """Return by what share the rest may differ from the sample, which ends when `share` of the copy has run."""
    regime = trace.epochs[site.epoch]
    cached = bool(regime["stage1"] or regime["stage2"])
    passed_bytes = 2 * site.stored_bytes * share  # from the source, and into the destination
    unfilled = cached and max(config.l2.size, config.l3.size) > passed_bytes
    return UNFILLED_ALLOWANCE if unfilled else ALLOWANCE


def _units(run: "Replay", end: int) -> NDArray[np.int64]:
    """Go on to execution `end` in UNITS steps; return the cycles of each."""
    cycles = [run.cycles]
    for stop in np.linspace(run.at, end, UNITS + 1).astype(np.int64)[1:].tolist():
        run.advance(stop)
        cycles.append(run.cycles)
    return np.array([after - before for before, after in pairwise(cycles)], np.int64)


@lru_cache(maxsize=4)
def _stored_lines(trace: Trace, start: int, stop: int) -> NDArray[np.uint64]:
    insns = trace.insns.copy()
    insns["access"][insns["access"] != Access.STORE] = Access.NONE  # not unfolded: most of the time goes there
    lines = np.sort(accesses(dataclasses.replace(trace, insns=insns), start, stop)["pa"] & ~np.uint64(63))
    distinct: NDArray[np.uint64] = lines[np.diff(lines, prepend=lines[:1] + np.uint64(1)) != 0]
    return distinct
