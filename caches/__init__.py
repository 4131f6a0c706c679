"""The timing model: a Trace and a machine's description go in, an Outcome comes out."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from caches.config import CoreConfig
from caches.mechanisms import GROUPS, Mechanism, mechanisms
from caches.parts import Inclusion, Replacement
from caches.presets import core, core_named, core_names, load_core
from traces.outcome import Outcome
from traces.trace import Trace

__all__ = [
    "GROUPS",
    "CoreConfig",
    "Inclusion",
    "Mechanism",
    "Replacement",
    "core",
    "core_named",
    "core_names",
    "load_core",
    "mechanisms",
    "replay",
]


def replay(
    trace: Trace,
    config: CoreConfig,
    *,
    ablate: Iterable[str] = frozenset(),
    initial: str = "cold",
    seed: int = 1,
    checkpoints: Sequence[int] | NDArray[np.uint64] = (),
    steady: bool = True,
) -> Outcome:
    """Return what the trace costs on that core (`caches.replaying.Replay` is the same, to be stopped and gone on with).

    `ablate` names mechanisms or groups that cost nothing; `initial` is `cold` or `kernel-dirty`; `checkpoints` are
    execution numbers, ascending, whose starting cycles are wanted. With `steady`, pages that are known to cost what the
    one before did are added up instead of replayed; only the time it takes differs (`details["pages_skipped"]`).
    """
    # Numba is loaded when a replay is first asked for, so that listing cores stays quick.
    from caches import replaying

    return replaying.replay(
        trace, config, ablate=ablate, initial=initial, seed=seed, checkpoints=checkpoints, steady=steady
    )
