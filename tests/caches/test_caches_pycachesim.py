"""Hits, misses, evictions and write-backs against pycachesim, access by access.

pycachesim (AGPL) is a program of others: what it calls differently is said here, where it is undone. Its conventions,
read in its backend.c and tried:

1. A store that hits neither counts as a hit nor makes the line younger. A store is given to it as a load and a store.
2. EVICT counts dirty victims only: our write-backs. Evictions are what came in, less what the level grew by.
3. A dirty victim that the next level lacks is read there first, as if the core had missed. With us a whole line needs
   no reading. LOAD tells how many misses were such; below two levels the reading would change what is held.
4. A dirty victim that the next level holds does not become younger there; with us it does. FIFO does not care.

So `Hierarchy` is pycachesim's own, of two levels, the second FIFO; `Joined` takes levels from pycachesim and passes
lines between them itself, for three levels and for LRU throughout.
"""

import numpy as np
import pytest
import traces_synthetic as synthetic
from cachesim import Cache
from hypothesis import given, settings
from hypothesis import strategies as st
from traces_captured import captured
from traces_synthetic import WB, Builder

import caches
from caches.replaying import Replay
from caches.state import level_ways
from traces.expand import NO_PA, accesses
from traces.schema import Access, MemoryType

NAMES = ("l1d", "l2", "l3")
BASE_LINE = 0x8000_0000 >> 6


class Hierarchy:
    """pycachesim's own hierarchy of two levels."""

    def __init__(self, geometry, policies):
        second, first = (
            {"sets": sets, "ways": ways, "cl_size": 64, "replacement_policy": policy.upper()}
            for (sets, ways), policy in zip(reversed(geometry), reversed(policies), strict=True)
        )
        self.whole = [Cache("l2", **second)]
        self.whole.insert(0, Cache("l1d", **first, load_from=self.whole[0], store_to=self.whole[0]))
        self.levels = [one.backend for one in self.whole]

    def access(self, line, store):
        self.levels[0].iterload([line << 6])
        if store:
            self.levels[0].iterstore([line << 6])

    def counts(self):
        rows, asked = [], None
        for one in self.levels:
            held = one.sets * one.ways - one.count_invalid_entries()
            written = 0 if asked is None else one.LOAD_count - asked
            rows.append((one.HIT_count, one.MISS_count - written, one.MISS_count - held, one.EVICT_count))
            asked = one.MISS_count
        return rows


class Joined:
    """Levels of pycachesim, each alone; what one misses or gives up is passed on here."""

    def __init__(self, geometry, policies):
        self.levels, self.victims, self.whole = [], [], []
        self.written = [[0, 0] for _ in geometry]  # hits and misses of victims of the level above
        for name, (sets, ways), policy in zip(NAMES, geometry, policies, strict=False):
            victim = Cache("victim", 1, 1, 64, "FIFO", write_allocate=False)
            one = Cache(name, sets, ways, 64, policy.upper(), store_to=victim)
            self.whole += [victim, one]
            self.levels.append(one.backend)
            self.victims.append(victim.backend)

    def read(self, at, line):
        """Read a line into a level; returns whether it was there, and the dirty line that had to go."""
        one = self.levels[at]
        missed, evicted = one.MISS_count, one.EVICT_count
        one.iterload([line << 6])
        missed = one.MISS_count > missed
        return not missed, min(self.victims[at].cached) >> 6 if one.EVICT_count > evicted else None

    def demand(self, at, line):
        hit, victim = self.read(at, line)
        if at + 1 < len(self.levels):
            if not hit:
                self.demand(at + 1, line)
            if victim is not None:
                self.write_back(at + 1, victim)

    def write_back(self, at, line):
        hit, victim = self.read(at, line)
        self.written[at][not hit] += 1
        self.levels[at].iterstore([line << 6])
        if victim is not None and at + 1 < len(self.levels):
            self.write_back(at + 1, victim)

    def access(self, line, store):
        self.demand(0, line)
        if store:
            self.levels[0].iterstore([line << 6])

    def counts(self):
        rows = []
        for one, (hits, misses) in zip(self.levels, self.written, strict=True):
            held = one.sets * one.ways - one.count_invalid_entries()
            rows.append((one.HIT_count - hits, one.MISS_count - misses, one.MISS_count - held, one.EVICT_count))
        return rows


def plain_core(geometry, policies):
    """A core whose levels do what pycachesim's do: no prefetch, no streaming, no inclusion; no fetch or walk in L2."""
    changes = {
        "prefetch.streams": 0, "fetch.prefetch_lines": 0, "store.stream_l1_lines": 0, "l3.size": 0,
        "walk.through_l1d": False, "l1d.hit_cycles": 3, "l2.hit_cycles": 10, "l3.hit_cycles": 30,
    }  # fmt: skip
    for name, (sets, ways), policy in zip(NAMES, geometry, policies, strict=False):
        changes |= {f"{name}.size": sets * ways * 64, f"{name}.ways": ways, f"{name}.replacement": policy}
        changes |= {f"{name}.inclusion": "non-inclusive"}
    return caches.core("stingray").override(changes)


def counted(replay, levels):
    counters = replay.outcome().counters
    return [tuple(counters[name][what] for what in ("hits", "misses", "evictions", "write_backs"))
            for name in NAMES[:levels]]  # fmt: skip


def resident(replay, level):
    ways = level_ways(replay._state, level)
    return set(ways.held[ways.tags != 0].tolist())


def assert_same(stream, geometry, policies, peer):
    """Give (line, store) pairs to both, one by one."""
    build = Builder(WB, WB)
    block = [build.block([synthetic.load(0, 1, 0)], 1), build.block([synthetic.store(1, 0, src=(2,))], 1)]
    for line, store in stream:
        build.run(block[store], line << 6)
    replay = Replay(build.trace(), plain_core(geometry, policies), ablate={"icache"})
    theirs = peer(geometry, policies)
    for at, (line, store) in enumerate(stream):
        replay.advance(at + 1)
        theirs.access(line, store)
        assert counted(replay, len(geometry)) == theirs.counts(), f"access {at}: line {line:#x}, store: {store}"
    for at, one in enumerate(theirs.levels):
        assert resident(replay, at) == {pa >> 6 for pa in one.cached}


streams = st.lists(st.tuples(st.integers(BASE_LINE, BASE_LINE + 40), st.booleans()), min_size=1, max_size=120)
shapes = st.tuples(st.sampled_from([1, 2, 3, 4]), st.integers(1, 4))


@settings(max_examples=25, deadline=None)
@given(streams, st.tuples(shapes, shapes), st.sampled_from(["lru", "fifo"]))
def test_two_levels_are_pycachesims_hierarchy(stream, geometry, policy):
    assert_same(stream, geometry, (policy, "fifo"), Hierarchy)


@settings(max_examples=25, deadline=None)
@given(streams, st.tuples(shapes, shapes, shapes), st.tuples(*[st.sampled_from(["lru", "fifo"])] * 3))
def test_three_levels_are_pycachesims_levels(stream, geometry, policies):
    assert_same(stream, geometry, policies, Joined)


@pytest.mark.parametrize("policy", ["lru", "fifo"])
@pytest.mark.parametrize("seed", [1, 2])
def test_longer_streams(policy, seed):
    draw = np.random.default_rng(seed)
    near = BASE_LINE + draw.integers(0, 200, 1500)
    far = BASE_LINE + 8192 * draw.integers(0, 24, 1500)
    lines = np.where(draw.random(1500) < 0.7, near, far)
    stream = list(zip(lines.tolist(), (draw.random(1500) < 0.4).tolist(), strict=True))
    assert_same(stream, [(8, 2), (32, 4), (64, 8)], [policy] * 3, Joined)
    assert_same(stream, [(8, 2), (32, 4)], [policy, "fifo"], Hierarchy)


def of_run(trace, count):
    """Loads and stores of a run as (line, store), in program order; what crosses a line is two."""
    stream = []
    for one in accesses(trace):
        if one["access"] not in (Access.LOAD, Access.STORE, Access.LOAD_STORE) or one["pa"] == NO_PA:
            continue
        kinds = {Access.LOAD: (False,), Access.STORE: (True,), Access.LOAD_STORE: (False, True)}[one["access"]]
        first, last = int(one["pa"]) >> 6, (int(one["pa"]) + int(one["size"]) - 1) >> 6
        stream += [(line, store) for store in kinds for line in range(first, last + 1)]
        if len(stream) >= count:
            break
    return stream


@pytest.mark.parametrize("case", ["v4.19-nvhe", "v5.17-el1"])
def test_accesses_of_a_real_relocation(case):
    stream = of_run(captured(case), 2500)
    assert sum(store for _line, store in stream) > 1000
    assert_same(stream, [(16, 2), (32, 4), (64, 8)], ["lru", "lru", "lru"], Joined)
    assert_same(stream, [(16, 2), (64, 4)], ["lru", "fifo"], Hierarchy)


def test_a_run_as_it_was_captured():
    """RFC v2 at EL1, MMU on, tables walked, no maintenance before its end: as the replay sees it."""
    trace = captured("rfc-v2-el1")
    geometry, policies = [(64, 2)], ["lru"]
    core = plain_core(geometry, policies).override({"l2.inclusion": "non-inclusive"})
    replay = Replay(trace, core, ablate={"icache"})
    theirs = Joined(geometry, policies)
    cached = [one for one in accesses(trace) if one["memory_type"] == MemoryType.NORMAL_WB]
    assert {int(one["access"]) for one in cached} <= {Access.LOAD, Access.STORE}
    assert len(cached) > 2000
    at = 0
    for execution in range(len(trace.executions)):
        replay.advance(execution + 1)
        while at < len(cached) and cached[at]["execution"] == execution:
            theirs.access(int(cached[at]["pa"]) >> 6, cached[at]["access"] == Access.STORE)
            at += 1
        assert counted(replay, 1) == theirs.counts(), f"execution {execution}"
    assert at == len(cached)
