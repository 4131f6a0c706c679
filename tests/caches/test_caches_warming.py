"""Pages that are passed by: where they are, and that lines are left as a replay of them leaves them."""

import numpy as np
import pytest

import caches
import relocscope
from caches.kernels.layout import DIRTY
from caches.replaying import Replay
from caches.state import level_ways
from caches.warming import pages_of
from traces.fold import copy_site
from traces.trace import Trace

PAGES = 480


@pytest.fixture(scope="module", params=["v5.17-el1", "rfc-v2-nvhe-xn-clear", "v4.19-el1"])
def trace(request: pytest.FixtureRequest) -> Trace:
    made = relocscope.run(request.param, size="2MiB").trace
    assert made is not None
    return made


def lines_of(run: Replay) -> dict[int, set[int]]:
    """Line and dirtiness of all that L2 and L3 hold, by level."""
    found = {}
    for level in (1, 2):
        ways = level_ways(run.state, level)
        used = ways.tags != 0
        found[level] = set(zip(ways.held[used].tolist(), (ways.flags[used] & DIRTY).tolist(), strict=True))
    return found


def test_pages_run_the_same_blocks_and_cover_the_copy(trace: Trace):
    site = copy_site(trace)
    assert site is not None
    pages = pages_of(trace, site.first, site.last)
    assert pages is not None
    assert PAGES <= len(pages.starts) <= 512
    rows = np.stack([trace.executions[at : at + pages.length] for at in pages.starts.tolist()])
    assert (rows == rows[0]).all()
    runs = list(pages.runs(site.first, site.last + 1))
    assert sum(count for _, count in runs) == len(pages.starts)
    assert all(np.isin(first + np.arange(count) * pages.length, pages.starts).all() for first, count in runs)


@pytest.mark.parametrize("core", ["stingray", "thunderx2", "rk3328"])
def test_warming_leaves_nearly_the_lines_that_a_replay_leaves(trace: Trace, core: str):
    site = copy_site(trace)
    assert site is not None
    pages = pages_of(trace, site.first, site.last)
    assert pages is not None
    replayed, warmed, jumped = (Replay(trace, caches.core(core), initial="kernel-dirty") for _ in range(3))
    start, end = int(pages.starts[8]), int(pages.starts[PAGES - 8])
    for run in (warmed, jumped):
        run.advance(start)
        for first, count in pages.runs(start, end):
            run.advance(first)
            (run.warm if run is warmed else run.jump)(count, pages.length)
    for run in (replayed, warmed, jumped):
        run.advance(end)
        run.advance(int(pages.starts[PAGES]))
    exact, left, without = (set().union(*lines_of(run).values()) for run in (replayed, warmed, jumped))
    common, common_without = (len(lines & exact) / len(lines | exact) for lines in (left, without))
    # Random replacement and a few prefetched lines differ: most in rk3328's L2, which has what a random L1D gives up.
    assert common >= (0.7 if core == "rk3328" else 0.9)
    assert common > common_without
    dirty = [len(run.outcome().dirty_lines) for run in (replayed, warmed)]
    assert dirty[1] == pytest.approx(dirty[0], rel=0.05, abs=50)
    assert warmed.at == replayed.at
    assert warmed.cycles < replayed.cycles / 2


def test_past_the_caches_lines_are_exactly_those_of_a_replay():
    trace = relocscope.run("v4.19-el1", size="2MiB").trace
    assert trace is not None
    site = copy_site(trace)
    assert site is not None
    pages = pages_of(trace, site.first, site.last)
    assert pages is not None
    replayed, warmed = (Replay(trace, caches.core("altra"), initial="kernel-dirty") for _ in range(2))
    held = lines_of(replayed)
    for first, count in pages.runs(site.first, site.last + 1):
        warmed.advance(first)
        warmed.warm(count, pages.length)
    replayed.advance()
    warmed.advance()
    assert lines_of(warmed) == lines_of(replayed) != held
