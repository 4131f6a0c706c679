"""Pages that are skipped: the same result as the whole replay, cycle for cycle, and none where pages do not repeat."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import traces_synthetic as synthetic
from traces_synthetic import DEVICE, NC, WB, Builder

import caches
from caches.kernels import layout
from caches.replaying import Replay
from caches.steady import period, repeats_until
from relocscope.case import override, shipped_case
from relocscope.emulate import emulate
from traces.schema import Barrier, Maintenance, MemoryType, Role


def assert_same(trace, core="stingray", **options):
    """Replay with and without skipping; return how many pages were skipped."""
    config = caches.core(core)
    whole, skipping = Replay(trace, config, steady=False, **options), Replay(trace, config, **options)
    whole.advance()
    skipping.advance()
    one, other = whole.outcome(), skipping.outcome()
    for name in ("insn_cycles", "insn_count", "checkpoint_cycles", "dirty_lines", "stale_lines", "lost_lines"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.counters == other.counters
    assert one.details["old_dirty_lines_discarded"] == other.details["old_dirty_lines_discarded"]
    for name in ("tags", "lines"):
        assert np.array_equal(getattr(whole._state, name), getattr(skipping._state, name)), name
    for name in ("recent_stores", "entries", "registers", "merge_block", "tick", "retire", "stores"):
        now, then = skipping._state.words[0][name], whole._state.words[0][name]
        assert np.array_equal(now, then) or name in ("entries", "registers"), name
    assert one.details["pages_skipped"] == 0
    return other.details["pages_skipped"]


@lru_cache
def shipped(name, size="1MiB"):
    return emulate(override(shipped_case(name), {"size": size}))


@pytest.mark.parametrize("initial", ["cold", "kernel-dirty"])
@pytest.mark.parametrize("core", ["stingray", "rk3328"])
@pytest.mark.parametrize("name", ["v4.19-el1", "v4.19-nvhe", "rfc-v1-nvhe"])
def test_skipped_pages_cost_what_they_cost(name, core, initial):
    pages = assert_same(shipped(name), core, initial=initial)
    # The A53 of rk3328 writes a dirty line back where it is to be invalidated: those pages are replayed.
    assert pages > (0 if (core, initial) == ("rk3328", "kernel-dirty") else 200)


@pytest.mark.parametrize("name", ["v5.17-el1", "rfc-v1-el1"])
def test_nothing_is_skipped_where_the_copy_is_cached(name):
    assert assert_same(shipped(name), initial="kernel-dirty") == 0


def test_contiguous_sources():
    trace = synthetic.relocation(64, before=Maintenance.DC_IVAC, scatter=False)
    assert assert_same(trace) > 40


@pytest.mark.parametrize("kind", [MemoryType.DEVICE_NGNRE, MemoryType.DEVICE_NGRE])
def test_every_device_type(kind):
    assert assert_same(synthetic.relocation(64, before=Maintenance.DC_IVAC, data=kind)) > 40


@pytest.mark.parametrize("core", ["stingray", "rk3328"])
def test_stores_that_gather_depend_on_where_the_last_page_ended(core):
    trace = synthetic.relocation(64, before=Maintenance.DC_IVAC, data=MemoryType.DEVICE_GRE)
    assert assert_same(trace, core) == 0


@pytest.mark.parametrize("group", [*caches.GROUPS, "miss_buffers", "store_buffer", "dsb"])
def test_with_mechanisms_off(group):
    trace = synthetic.relocation(64, before=Maintenance.DC_IVAC)
    assert assert_same(trace, ablate={group}) > 40


def test_checkpoints_and_stops_inside_of_what_repeats():
    trace = synthetic.relocation(96, before=Maintenance.DC_IVAC)
    end = len(trace.executions)
    assert assert_same(trace, checkpoints=[0, 5000, 5001, end - 700, end]) > 20
    whole = caches.replay(trace, caches.core("stingray"), steady=False)
    pieces = Replay(trace, caches.core("stingray"))
    for stop in (1, 4999, 6000, 6001, 9000):
        pieces.advance(stop)
        assert pieces.at == stop
    pieces.advance()
    assert (pieces.outcome().insn_cycles == whole.insn_cycles).all()
    assert pieces.pages_skipped > 20


def with_memory(trace):
    """Memory for kernel-dirty to fill the caches from: the destination itself, so that every page meets copies."""
    build = Builder()
    build.range(0x8000_0000, 1 << 18, Role.DESTINATION)
    build.range(0xC000_0000, 1 << 18, Role.RAM)
    return replace(trace, ranges=np.array(build.ranges))


@pytest.mark.parametrize("kind", [Maintenance.DC_IVAC, Maintenance.DC_CVAC, Maintenance.DC_CIVAC, None])
def test_dirty_copies_are_dropped_outdated_or_written_back_as_in_a_replay(kind):
    trace = with_memory(synthetic.relocation(64, before=kind))
    pages = assert_same(trace, initial="kernel-dirty")
    # A page that writes a line back takes longer than one that does not.
    assert (pages > 40) == (kind in (Maintenance.DC_IVAC, None))


def test_data_that_the_skipped_pages_throw_away_are_lost():
    build = Builder()
    first, second = build.block([synthetic.store(0, 0)] * 4, 1), build.block(synthetic.dc_block(Maintenance.DC_IVAC), 1)
    for line in range(40, 60):
        build.run(first, 0x8000_0000 + 4096 * line + 640)
    build.epoch(DEVICE, NC)
    sync = build.block([barrier()])
    for page in range(80):
        for line in range(64):
            build.run(second, 0x8000_0000 + 4096 * page + 64 * line)
        build.run(sync)
    trace = build.trace()
    assert assert_same(trace) > 40
    assert len(caches.replay(trace, caches.core("stingray")).lost_lines) == 20


def barrier():
    return synthetic.barrier(Barrier.DSB)


def copies(addresses, *, data=DEVICE, before=None):
    """Pages of sixteen stores and a barrier, each store at the address given."""
    build = Builder(data, NC)
    store, sync = build.block([synthetic.store(0, 0, size=16)] * 2, 1), build.block([barrier()] * 2)
    for page in addresses:
        for va in page:
            build.run(store, va)
        build.run(sync)
    return build.trace()


def pages(count, stores=16):
    return [[0x8000_0000 + 4096 * page + 64 * at for at in range(stores)] for page in range(count)]


def test_stores_that_cross_a_line_are_replayed():
    assert assert_same(copies(pages(400))) > 300
    some = pages(400)
    for page in (200, 201, 260):
        some[page][3] += 56
    skipped = assert_same(copies(some))
    assert 250 < skipped < 398
    every = [[va + 56 * (at % 3 == 0) for at, va in enumerate(page)] for page in pages(400)]
    assert assert_same(copies(every)) == 0


def test_pages_of_different_lengths_do_not_repeat():
    draw = np.random.default_rng(3)
    ragged = [page[: draw.integers(1, 16)] for page in pages(400)]
    assert assert_same(copies(ragged)) == 0


def test_normal_memory_does_not_repeat():
    assert assert_same(copies(pages(400), data=NC)) == 0
    assert assert_same(copies(pages(400), data=WB)) == 0


def test_a_store_into_cached_code_is_replayed():
    build = Builder(DEVICE, WB)
    loop = build.block([synthetic.store(0, 0, size=16)] * 2, 1)
    sync = build.block([barrier()] * 2, va=0x4000_1000)
    for page in range(400):
        for at in range(16):
            hit = page == 300 and at == 5
            build.run(loop, 0x4000_0000 if hit else 0x8000_0000 + 4096 * page + 64 * at)
        build.run(sync)
    trace = build.trace()
    assert assert_same(trace) > 200
    assert caches.replay(trace, caches.core("stingray")).stale_lines.tolist() == [0x4000_0000]


def test_periods():
    repeated = np.array([9, 9, 8, *[1, 2, 3, 3, 4] * 20], np.uint32)
    assert period(repeated) == (3, 5)
    assert repeats_until(np.append(repeated, [1, 2, 7, 3, 4]).astype(np.uint32), 3, 5) == len(repeated) + 2
    assert period(np.random.default_rng(1).integers(0, 4, 400).astype(np.uint32)) is None
    assert period(np.arange(12, dtype=np.uint32)) is None
    assert layout.CALENDAR_L2 == 22
