"""Hits of all geometries in one pass: equal to slow twins, and to full replays of cores that have them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces_captured import captured

import caches
from caches.exactness import alone, conditions
from caches.kernels.stack_distances import DEPTH
from caches.line_stream import line_stream, stream_of
from caches.stack_distances import hits, hits_of_one_set
from traces.errors import InputError

ACCESS, DROP, GIVEN_UP = range(3)


def naive_hits(events, sets, ways):
    """One cache of that geometry, its sets as lists of at most so many lines, the last used first."""
    held = [[] for _ in range(sets)]
    count = 0
    for line, what in events:
        lines = held[line % sets]
        if line in lines:
            lines.remove(line)
            count += what == ACCESS
        if what != DROP:
            lines.insert(0, line)
            del lines[ways:]
    return count


def streamed(events):
    """The same events as a stream, as `line_stream` makes one: what follows itself is not noted twice."""
    accesses = sum(what == ACCESS for _, what in events)
    noted, last = [], None
    for line, what in events:
        if what == DROP or line != last:
            noted.append((line, what))
        last = None if what == DROP else line
    lines, kinds = (np.array([pair[at] for pair in noted], np.int64) for at in (0, 1))
    return stream_of(lines, lines, kinds == DROP, kinds == ACCESS, accesses)


EVENTS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([ACCESS, ACCESS, ACCESS, DROP, GIVEN_UP])), max_size=150
)
FEW = st.lists(st.tuples(st.integers(0, 9), st.sampled_from([ACCESS, ACCESS, DROP, GIVEN_UP])), max_size=100)


@given(EVENTS | FEW, st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_one_pass_gives_what_each_cache_alone_gives_with_invalidated_ways(events, sets):
    found = hits(streamed(events), [sets], workers=1)[0]
    assert [found[ways - 1] for ways in range(1, 13)] == [naive_hits(events, sets, ways) for ways in range(1, 13)]


@given(EVENTS | FEW)
@settings(max_examples=200, deadline=None)
def test_a_tree_gives_the_hits_of_every_fully_associative_cache(events):
    found = hits_of_one_set(streamed(events))
    expected = [naive_hits(events, 1, ways) for ways in range(1, 64)]
    assert [int(found[min(ways, len(found)) - 1]) for ways in range(1, 64)] == expected


def test_more_lines_than_the_stacks_are_deep_count_as_missed():
    around = [(line, ACCESS) for line in range(DEPTH + 1)] * 2
    assert hits(streamed(around), [1], workers=1).max() == 0
    assert hits(streamed([*around[1 : DEPTH + 1], *around[1 : DEPTH + 1]]), [1], workers=1)[0, -1] == DEPTH


def test_any_number_of_sets_takes_each_line_to_its_own():
    around = [(line, ACCESS) for line in range(150)] * 2
    sets = range(1, 120)
    found = hits(streamed(around), sets)
    for count, row in zip(sets, found, strict=True):
        assert list(row[:3]) == [naive_hits(around, count, ways) for ways in (1, 2, 3)]


GEOMETRIES = [(1, 1), (1, 2), (1, 32), (3, 2), (4, 4), (16, 1), (16, 8), (64, 2), (100, 5), (128, 4), (512, 16)]


def check_replays(trace, config, level):
    stream = line_stream(trace, config, level)
    found, one_set = hits(stream, [sets for sets, _ in GEOMETRIES]), hits_of_one_set(stream)
    for row, (sets, ways) in zip(found, GEOMETRIES, strict=True):
        shape = {f"{level}.size": sets * ways * 64, f"{level}.ways": ways}
        counters = caches.replay(trace, config.override(shape)).counters[level]
        assert (counters["accesses"], counters["hits"]) == (stream.accesses, row[ways - 1])
        assert sets > 1 or row[ways - 1] == one_set[min(ways, len(one_set)) - 1]
    return stream


@pytest.mark.parametrize("name", ["stingray", "rpi3", "altra"])
@pytest.mark.parametrize("case", ["v5.17-nvhe", "v5.17-vhe", "v4.19-nvhe"])
@pytest.mark.parametrize("level", ["l1d", "l2", "l3"])
def test_the_counts_are_those_of_full_replays(case, name, level):
    config = alone(caches.core(name), level)
    if getattr(config, level).size:
        check_replays(captured(case, 64), config, level)


@pytest.mark.parametrize(
    ("level", "changes"),
    [
        ("l2", {"l1d.size": "1KiB", "l1d.ways": 2, "l1i.size": "256", "l1i.ways": 1, "dtlb.entries": 2}),
        ("l2", {"l1d.size": "2KiB", "l1d.ways": 4, "l1d.replacement": "random", "store.stream_l1_lines": 0}),
        ("l2", {"l3.inclusion": "non-inclusive", "l3.behind_poc": "false", "walk.through_l1d": "true"}),
        ("l3", {"l2.size": "16KiB", "l2.replacement": "random", "l3.behind_poc": "false"}),
        ("l3", {"l2.size": "8KiB", "l1d.size": "512", "l2.inclusion": "inclusive"}),
    ],
)
def test_what_lies_above_a_level_is_as_the_core_has_it(level, changes):
    config = alone(caches.core("stingray").override(changes), level)
    stream = check_replays(captured("v5.17-nvhe", 64), config, level)
    assert stream.accesses > 100


CONDITIONS = [
    ("l1d", "prefetch.streams", 8),
    ("l1d", "store.stream_l1_lines", 4),
    ("l1d", "l1d.replacement", "random"),
    ("l1d", "l2.inclusion", "inclusive"),
    ("l2", "l2.inclusion", "inclusive"),
    ("l2", "store.stream_l2_lines", 12),
    ("l3", "l3.inclusion", "exclusive"),
]


@pytest.mark.parametrize(("level", "key", "value"), CONDITIONS)
def test_each_condition_is_named_and_is_one(level, key, value):
    exact = alone(caches.core("stingray").override({"l2.size": "16KiB", "l3.size": "64KiB"}), level)
    exact = exact.override({"store.stream_l1_lines": 4}) if key == "store.stream_l2_lines" else exact
    assert conditions(exact, level) == ()
    config = exact.override({key: value})
    assert [each.key for each in conditions(config, level)] == [key]
    trace = captured("v5.17-nvhe", 64)
    with pytest.raises(InputError, match=f"{level}: one pass is not exact with {key} = {value}"):
        line_stream(trace, config, level)


def test_what_depends_on_the_geometry_is_refused():
    with pytest.raises(InputError, match="set and way"):
        line_stream(captured("rfc-v2-el1"), alone(caches.core("stingray"), "l1d"))
