"""What real relocations leave dirty where the new kernel begins, with the caches off, and why.

RFC v1 cleans nothing after its copy (facts of the series, case R5). Where its lines are at the end is the core's doing:
a core that streams allocates only the first full lines (`stream_l2_lines`), and sends the rest past its caches, to
memory or to a system cache behind the PoC. Those first lines stay dirty in L2 until something evicts them: for a small
image to the end. A page that was loaded where it belongs is read before it is written, so its stores hit, and dirty
it, whatever streams. A core without streaming, or whose last level lies before the PoC, has all that fits dirty.
"""

import numpy as np
import pytest
from traces_captured import captured

import caches
from traces.expand import accesses
from traces.schema import Access, MemoryType, Role


def of_destination(trace, lines):
    """Keep the lines that the image is copied to."""
    ranges = trace.ranges[trace.ranges["role"] == Role.DESTINATION]
    return lines[((lines[:, None] >= ranges["pa"]) & (lines[:, None] < ranges["pa"] + ranges["size"])).any(axis=1)]


def dirty_lines(trace, core="stingray", *, changes=None, **fields):
    """Dirty lines of the destination at the end of the run."""
    return of_destination(trace, caches.replay(trace, caches.core(core).override(changes or {}), **fields).dirty_lines)


def touched(trace, access):
    """Lines that cacheable accesses of one kind reach, in the order of first reaching."""
    rows = accesses(trace)
    rows = rows[(rows["access"] == access) & (rows["memory_type"] == MemoryType.NORMAL_WB)]
    lines, first = np.unique(rows["pa"] & ~np.uint64(63), return_index=True)
    return lines[np.argsort(first)]


@pytest.mark.parametrize("initial", ["cold", "kernel-dirty"])
@pytest.mark.parametrize("core", ["stingray", "rpi4", "thunderx2", "rk3328"])
def test_the_merged_routine_leaves_nothing_dirty(core, initial):
    """It cleans each page to the PoC; 4 MiB are more than L2, so that cleaned lines come back from behind it."""
    assert dirty_lines(captured("v5.17-nvhe", 1024), core, initial=initial).tolist() == []


@pytest.mark.parametrize(
    ("core", "changes", "count"),
    [
        ("stingray", {}, 12),
        ("rpi4", {}, 12),
        ("stingray", {"store.stream_l2_lines": 30}, 30),
        ("stingray", {"store.stream_l2_lines": 0}, 1024),
        ("stingray", {"store.stream_l1_lines": 0}, 1024),
        ("thunderx2", {}, 1024),
    ],
)
def test_without_cleaning_the_lines_before_streaming_stay_dirty(core, changes, count):
    trace = captured("rfc-v1-el1", 16, **{"image.self_copies": 0})
    assert sorted(dirty_lines(trace, core, changes=changes)) == sorted(
        of_destination(trace, touched(trace, Access.STORE))[:count]
    )


def test_a_page_that_is_copied_onto_itself_is_dirty_whatever_streams():
    """4 MiB through an L2 of 1 MiB: of the others hardly one is left, of these many are."""
    trace = captured("rfc-v1-el1", 1024)
    dirty = dirty_lines(trace)
    onto_itself = np.isin(dirty, touched(trace, Access.LOAD))
    assert onto_itself.sum() > 20
    assert (~onto_itself).sum() <= 12
