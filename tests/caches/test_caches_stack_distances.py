"""Hits of all geometries in one pass: equal to a slow twin, and to full replays of cores that have them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces_captured import captured

import caches
from caches.kernels.stack_distances import FIRST, INVALIDATE
from caches.stack_distances import DEPTH, LineStream, alone, hits, line_stream
from traces.errors import InputError


def naive_hits(stream, sets, ways):
    """One cache of that geometry, its sets as lists of at most so many lines, the last used first."""
    held = [[] for _ in range(sets)]
    count = stream.repeats
    for event in stream.events.tolist():
        line = event >> 2
        lines = held[line % sets]
        if line in lines:
            lines.remove(line)
            count += event & 3 == 0
        if event & 3 != INVALIDATE:
            lines.insert(0, line)
            del lines[ways:]
    return count


def stream_of(pairs):
    seen, events = set(), []
    for line, drops in pairs:
        kind = INVALIDATE if drops else 0 if line in seen else FIRST
        if not drops:
            seen.add(line)
        events.append(line << 2 | kind)
    return LineStream(np.array(events, np.int64), sum(not drops for _, drops in pairs), 0)


@given(st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=120), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_one_pass_gives_what_each_cache_alone_gives_with_invalidated_ways(pairs, sets):
    stream = stream_of(pairs)
    found = hits(stream, [sets], workers=1)[0]
    assert [found[ways - 1] for ways in range(1, 13)] == [naive_hits(stream, sets, ways) for ways in range(1, 13)]


def test_more_lines_than_the_stacks_are_deep_count_as_missed():
    around = [(line, False) for line in range(DEPTH + 1)] * 2
    assert hits(stream_of(around), [1], workers=1).max() == 0
    assert hits(stream_of([*around[1 : DEPTH + 1], *around[1 : DEPTH + 1]]), [1], workers=1)[0, -1] == DEPTH


def replayed(trace, core, sets, ways):
    config = alone(core).override({"l1d.size": sets * ways * 64, "l1d.ways": ways})
    return caches.replay(trace, config).counters["l1d"]


GEOMETRIES = [
    (1, 1),
    (1, 2),
    (1, 32),
    (3, 2),
    (4, 4),
    (16, 1),
    (16, 8),
    (64, 2),
    (100, 5),
    (128, 4),
    (256, 2),
    (512, 16),
]


@pytest.mark.parametrize("name", ["stingray", "rpi3", "altra"])
@pytest.mark.parametrize("case", ["v5.17-nvhe", "v5.17-vhe", "v4.19-nvhe"])
def test_the_counts_are_those_of_full_replays(case, name):
    trace, core = captured(case, 64), caches.core(name)
    stream = line_stream(trace, core)
    found = hits(stream, [sets for sets, _ in GEOMETRIES])
    for row, (sets, ways) in zip(found, GEOMETRIES, strict=True):
        counters = replayed(trace, core, sets, ways)
        assert (counters["accesses"], counters["hits"]) == (stream.accesses, row[ways - 1])


def test_what_depends_on_the_geometry_is_refused():
    with pytest.raises(InputError, match="set and way"):
        line_stream(captured("rfc-v2-el1"), caches.core("stingray"))
