"""Levels and TLBs against their naive twins, and the invariants that any replacement keeps."""

import numpy as np
import traces_synthetic as synthetic
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive import FullTlb, Level
from traces_synthetic import Builder

import caches
from traces.schema import Maintenance

BASE = 0x8000_0000


def plain_core(**changes):
    """A core whose hierarchy only does what it is told: no prefetch, no L3, no inclusion."""
    return caches.core("stingray").override(
        {
            "prefetch.streams": 0,
            "fetch.prefetch_lines": 0,
            "l3.size": 0,
            "l2.inclusion": "non-inclusive",
            "walk.through_l1d": False,
        }
        | {key.replace("__", "."): value for key, value in changes.items()}
    )


def loads(lines):
    build = Builder()
    block = build.block([synthetic.load(0, 1, 0)], 1)
    for line in lines:
        build.run(block, BASE + 64 * int(line))
    return build.trace()


streams = st.lists(st.integers(0, 40), min_size=1, max_size=300)


@settings(max_examples=60, deadline=None)
@given(streams, st.sampled_from(["lru", "fifo", "tree-plru", "srrip"]), st.sampled_from([1, 2, 4, 8]))
def test_l1d_is_its_naive_twin(lines, policy, ways):
    sets = 4
    core = plain_core(l1d__size=sets * ways * 64, l1d__ways=ways, l1d__replacement=policy)
    counted = caches.replay(loads(lines), core).counters["l1d"]
    twin = Level(sets, ways, policy)
    for line in lines:
        twin.access(BASE // 64 + line)
    assert (counted["hits"], counted["misses"], counted["evictions"]) == (twin.hits, twin.misses, twin.evictions)


def loads_and_drops(accesses):
    build = Builder()
    read = build.block([synthetic.load(0, 1, 0)], 1)
    drop = build.block([synthetic.dc(Maintenance.DC_CIVAC, 0)], 1)
    for line, dropped in accesses:
        build.run(drop if dropped else read, BASE + 64 * int(line))
    return build.trace()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from([False, False, False, True])), min_size=1, max_size=200),
    st.sampled_from(["lru", "fifo", "tree-plru", "srrip"]),
)
@example(
    [(0, False), (2, False), (4, False), (6, False), (4, False), (0, True), (8, False), (10, False), (4, False)],
    "tree-plru",
)
def test_a_dropped_line_leaves_the_order_of_the_others_alone(accesses, policy):
    core = plain_core(l1d__size=2 * 4 * 64, l1d__ways=4, l1d__replacement=policy)
    counted = caches.replay(loads_and_drops(accesses), core).counters["l1d"]
    twin = Level(2, 4, policy)
    for line, dropped in accesses:
        if dropped:
            twin.drop(BASE // 64 + line)
        else:
            twin.access(BASE // 64 + line)
    assert (counted["hits"], counted["misses"], counted["evictions"]) == (twin.hits, twin.misses, twin.evictions)


@settings(max_examples=30, deadline=None)
@given(streams, st.sampled_from(["lru", "fifo"]))
def test_sets_need_not_be_a_power_of_two(lines, policy):
    core = plain_core(l1d__size=3 * 2 * 64, l1d__ways=2, l1d__replacement=policy)
    twin = Level(3, 2, policy)
    for line in lines:
        twin.access(BASE // 64 + line)
    assert caches.replay(loads(lines), core).counters["l1d"]["misses"] == twin.misses


@settings(max_examples=30, deadline=None)
@given(streams)
def test_more_ways_under_lru_never_miss_more(lines):
    misses = [
        caches.replay(loads(lines), plain_core(l1d__size=4 * ways * 64, l1d__ways=ways)).counters["l1d"]["misses"]
        for ways in (1, 2, 3, 4, 8)
    ]
    assert misses == sorted(misses, reverse=True)


def test_random_replacement_is_seeded_and_keeps_counts():
    lines = np.random.default_rng(5).integers(0, 40, 2000)
    core = plain_core(l1d__size=4 * 4 * 64, l1d__ways=4, l1d__replacement="random")
    first, again, other = (caches.replay(loads(lines), core, seed=seed).counters["l1d"] for seed in (1, 1, 2))
    assert first == again
    assert first["misses"] != other["misses"]
    assert first["hits"] + first["misses"] == first["accesses"] == 2000


def test_hit_now_miss_one_way_later():
    core = plain_core(l1d__size=2 * 64, l1d__ways=2)  # one set
    assert caches.replay(loads([0, 1, 0, 1]), core).counters["l1d"]["misses"] == 2
    assert caches.replay(loads([0, 1, 2, 0]), core).counters["l1d"]["misses"] == 4
    assert caches.replay(loads([0, 1, 0, 2, 0]), core).counters["l1d"]["misses"] == 3


def test_an_inclusive_l2_takes_its_copies_along():
    tight = {"l2__size": 4 * 64, "l2__ways": 4, "l1d__size": 8 * 64, "l1d__ways": 8}
    lines = [0, 1, 2, 3, 4, 0]  # 4 evicts 0 from L2
    free = caches.replay(loads(lines), plain_core(**tight, l2__replacement="lru")).counters["l1d"]
    inclusive = caches.replay(loads(lines), plain_core(**tight, l2__replacement="lru", l2__inclusion="inclusive"))
    assert (free["misses"], inclusive.counters["l1d"]["misses"]) == (5, 6)


def test_an_exclusive_l3_is_filled_by_evictions_only():
    core = plain_core(
        l1d__size=2 * 64, l1d__ways=2, l2__size=4 * 64, l2__ways=4, l2__replacement="lru", l3__size=32 * 64,
        l3__ways=32, l3__inclusion="exclusive", l3__replacement="lru",
    )  # fmt: skip
    outcome = caches.replay(loads([0, 1, 2, 3, 4, 5, 0, 1]), core)
    assert outcome.counters["l3"]["hits"] == 2
    assert outcome.counters["dram"]["reads"] == 6 + 1  # and the line of code


def test_dirty_lines_are_written_back_when_they_leave():
    build = Builder()
    write = build.block([synthetic.store(1, 0, src=(2,))], 1)
    read = build.block([synthetic.load(0, 1, 0)], 1)
    build.run(write, BASE)
    for line in range(1, 20):
        build.run(read, BASE + 64 * line)
    core = plain_core(l1d__size=2 * 64, l1d__ways=2, l2__size=4 * 64, l2__ways=4, l2__replacement="lru")
    outcome = caches.replay(build.trace(), core)
    assert outcome.counters["l1d"]["write_backs"] == 1
    assert outcome.counters["l2"]["write_backs"] == 1
    assert outcome.counters["dram"]["writes"] == 1
    assert outcome.dirty_lines.tolist() == []


def tlb_trace(pages):
    build = Builder(stage1=1)
    build.page(0x4000_0000, 0x4000_0000)
    block = build.block([synthetic.load(0, 1, 0)], 1)
    for page in sorted(set(pages)):
        build.page(BASE + 4096 * page, BASE + 4096 * page, tables=(0x1000, 0x2000, 0x3000 + 8 * page))
    for page in pages:
        build.run(block, BASE + 4096 * page)
    return build.trace()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(1, 12))
def test_a_fully_associative_tlb_is_its_naive_twin(pages, entries):
    core = plain_core(dtlb__entries=entries)
    twin = FullTlb(entries)
    for page in pages:
        twin.access(page)
    assert caches.replay(tlb_trace(pages), core).counters["dtlb"]["misses"] == twin.misses
