"""`--sample`: time the beginning of a long copy and its end, and take the middle to go on as the beginning did.

Good for what is the same page after page. Lines are counted as stale or lost where the replayed parts made them so,
and as dirty at the end where the copy stored them before the sample and they stayed dirty through it.
"""

import dataclasses
from functools import lru_cache
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

WARM_EXECUTIONS = 1 << 15
"""Executions of the copy before the measured ones: enough to fill the caches."""

SAMPLE_EXECUTIONS = 1 << 16
"""Executions of the copy that stand for the rest."""

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
    run.advance()
    longer = run.outcome()
    rest = cut(trace, site.last + 1, len(trace.executions))
    tail = replay(rest, config, checkpoints=after, **{**options, "initial": "cold"})
    times = (site.last + 1 - end) / SAMPLE_EXECUTIONS
    middle = np.rint((longer.insn_cycles - shorter.insn_cycles) * times).astype(np.int64)
    executed = np.rint((longer.insn_count - shorter.insn_count) * times).astype(np.int64)
    copied = int(longer.cycles + middle.sum())
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
    )


@lru_cache(maxsize=4)
def _stored_lines(trace: Trace, start: int, stop: int) -> NDArray[np.uint64]:
    table = accesses(trace, start, stop)
    lines: NDArray[np.uint64] = np.unique(table["pa"][table["access"] == Access.STORE] & ~np.uint64(63))
    return lines
