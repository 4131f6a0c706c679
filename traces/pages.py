"""Where the pages of a copy begin, as executions."""

import numpy as np
from numpy.typing import NDArray

from traces.fold import CopySite
from traces.trace import Trace

PAGE_BYTES = 4096

_TOLERANCE = 0.01


def page_starts(trace: Trace, site: CopySite) -> NDArray[np.int64]:
    """Return the executions at which pages of the copy begin, in order; none where it has no such block.

    A page begins with the block that runs once for as many pages as were stored, to a hundredth: of several, the one
    that runs first.
    """
    ran = trace.executions[site.first : site.last + 1]
    counts = np.bincount(ran, minlength=len(trace.blocks))
    pages = site.stored_bytes / PAGE_BYTES
    likely = np.flatnonzero(np.abs(counts - pages) <= max(1.0, _TOLERANCE * pages))
    starts = [np.flatnonzero(ran == block) for block in likely.tolist()]
    if not starts:
        return np.zeros(0, np.int64)
    chosen: NDArray[np.int64] = min(starts, key=lambda places: int(places[0])) + site.first
    return chosen
