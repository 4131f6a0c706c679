"""`--sample`: some pages of a long copy stand for the others (docs/sampling.md)."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces.fold import CopySite
from traces.outcome import Outcome
from traces.pages import page_starts
from traces.trace import Trace

if TYPE_CHECKING:
    from caches import CoreConfig


def replay_sampled(
    trace: Trace, config: "CoreConfig", site: CopySite, checkpoints: NDArray[np.uint64], **options: Any
) -> Outcome:
    """Return the Outcome of the whole run; `details["sampling"]` is what `run --json` has as `sampling`.

    `checkpoints`: executions whose starting cycles are wanted, ascending, as `caches.replay` takes them.
    """
    from caches import sampling

    copy = sampling.Copy(starts=page_starts(trace, site), stop=site.last + 1)
    return sampling.replay_sampled(trace, config, copy, checkpoints=checkpoints, **options)
