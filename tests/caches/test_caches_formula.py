"""Times that follow from the configuration by a formula: the model must give them, within the tolerance stated."""

import numpy as np
import pytest
import traces_synthetic as synthetic
from traces_synthetic import DEVICE, NC, WB, Builder

import caches
from traces.schema import Barrier, InsnClass, Maintenance, MemoryType

BASE = 0x1_0000_0000
QUIET = {"prefetch.streams": 0, "dram.refresh_ns": 0, "fetch.prefetch_lines": 0}


def core(name="stingray", **changes):
    return caches.core(name).override(QUIET | {key.replace("__", "."): value for key, value in changes.items()})


def chase(size, *, turns=3, step=64, leaf_log2=None, seed=1):
    """A dependent chain of loads over `size` bytes in random order; the first turn warms."""
    order = np.random.default_rng(seed).permutation(size // step) * step
    build = Builder(stage1=int(leaf_log2 is not None))
    if leaf_log2:
        build.page(0x4000_0000, 0x4000_0000)
        for va in range(BASE, BASE + size, 4096):
            tables = (0x1000, 0x2000 + (va >> 30) * 8, 0x40_0000 + (va >> 21) * 8, 0x80_0000 + (va >> 12) * 8)
            build.page(va, va, tables=tables[: 4 if leaf_log2 == 12 else 3], leaf_log2=leaf_log2)
    block = build.block([synthetic.load(0, 0, 0)], 1)
    for _ in range(turns):
        for offset in order:
            build.run(block, BASE + int(offset))
    return build.trace(), len(order)


def steady(trace, count, config, **kwargs):
    """Cycles of one access in the last turn."""
    total = len(trace.executions)
    outcome = caches.replay(trace, config, checkpoints=[total - count, total], **kwargs)
    return float(np.diff(outcome.checkpoint_cycles)[0]) / count


@pytest.mark.parametrize(("size", "level"), [(16 << 10, "l1d"), (256 << 10, "l2"), (2 << 20, "l3"), (8 << 20, "dram")])
def test_latency_ladder(size, level):
    config = core(l2__replacement="lru", l2__size="512KiB", l3__size="2MiB", l3__replacement="lru")
    trace, count = chase(size, turns=2)
    latency = steady(trace, count, config)
    if level == "dram":
        low = config.l3.hit_cycles + config.cycles(config.dram.latency_ns - config.dram.row_hit_saves_ns)
        high = config.l3.hit_cycles + config.cycles(config.dram.latency_ns + config.dram.row_conflict_adds_ns + 10)
        assert low <= latency <= high
    else:
        assert latency == pytest.approx(config.value(f"{level}.hit_cycles"), rel=0.05)


@pytest.mark.parametrize(("leaf_log2", "pages", "misses"), [(12, 32, False), (12, 64, True), (21, 64, False)])
def test_dtlb_reach(leaf_log2, pages, misses):
    config = core()
    size = pages * 4096
    trace, count = chase(size, step=4096 + 64 * 3, leaf_log2=leaf_log2)
    trace, count = chase(size // 4096 * 4096, step=4096, leaf_log2=leaf_log2)
    outcome = caches.replay(trace, config)
    # 64 pages under 2 MiB leaves are one 1 MiB entry of this core's DTLB.
    assert (outcome.counters["dtlb"]["misses"] > count) == misses


def test_an_l2_tlb_hit_costs_its_cycles():
    config = core()
    near, count = chase(64 * 4096, step=4096, leaf_log2=21)
    far, _ = chase(64 * 4096, step=4096, leaf_log2=12)
    extra = steady(far, count, config) - steady(near, count, config)
    assert extra == pytest.approx(config.l2tlb.hit_cycles, rel=0.15)


def device_loop(kind, turns=50, size=16):
    build = Builder(kind, WB)
    block = build.block([
        synthetic.load((0, 1), 21, 0, 0, size), synthetic.store(20, 1, 0, size, src=(0, 1)), synthetic.branch_back(32),
    ], 2)  # fmt: skip
    for turn in range(turns):
        build.run(block, BASE + 64 * turn, BASE + (1 << 20) + 64 * turn)
    return build.trace()


def per_turn(trace, config, turns=50):
    return caches.replay(trace, config).cycles / turns


def test_a_device_ngnrne_pair_is_two_round_trips():
    config = core(device__round_trip_ns=100)
    assert per_turn(device_loop(DEVICE), config) == pytest.approx(2 * 300, rel=0.03)


def test_a_pair_that_the_bus_splits_takes_twice_as_long():
    config = core(device__round_trip_ns=100, device__access_bytes=8)
    assert per_turn(device_loop(DEVICE), config) == pytest.approx(4 * 300, rel=0.03)


def test_each_device_rule_that_is_relaxed_saves_time():
    config = core(device__round_trip_ns=100, device__early_ack_ns=20, device__outstanding_reads=4)
    times = [per_turn(device_loop(kind), config) for kind in MemoryType if kind.is_device]
    assert times[0] > times[1] > times[2] >= times[3]
    # nGnRE: the store is acknowledged early; nGRE: loads need not wait for it, nor for each other.
    assert times[1] == pytest.approx(300 + 60, rel=0.05)
    assert times[2] < 200


def test_posted_device_stores_leave_the_loads():
    config = core(device__round_trip_ns=100, device__outstanding_writes=16, device__load_waits_for_stores=False)
    assert per_turn(device_loop(DEVICE), config) == pytest.approx(300, rel=0.05)


def test_device_loads_are_not_speculative():
    """A slow chain before a Device load delays it; before an NC load it does not."""

    def cycles(kind):
        build = Builder(kind, WB)
        block = build.block([
            *(synthetic.insn(InsnClass.MUL, dst=(5,), src=(5 if at else 30,)) for at in range(15)),
            synthetic.load(0, 1, 0),
        ], 1)  # fmt: skip
        for turn in range(20):
            build.run(block, BASE + 4096 * turn)
        return caches.replay(build.trace(), core(device__round_trip_ns=30, nc__latency_ns=30)).cycles / 20

    assert cycles(DEVICE) > 1.3 * cycles(NC)


@pytest.mark.parametrize("forward", [0, 64])
def test_noncacheable_reads_forward_a_line_or_pay_each(forward):
    config = core(nc__latency_ns=100, nc__outstanding=1, nc__forward_bytes=forward)
    build = Builder(NC, WB)
    block = build.block([synthetic.load(0, 0, 0, 16 * at, 16) for at in range(4)], 1)
    for turn in range(30):
        build.run(block, BASE + 64 * turn)
    cost = caches.replay(build.trace(), config).cycles / 30
    assert cost == pytest.approx(300 * (1 if forward else 4), rel=0.1)


def test_uncached_fetch_pays_for_each_group():
    config = core(fetch__uncached_ns=100, fetch__buffer_groups=0)
    build = Builder(WB, NC)
    block = build.block([synthetic.alu(at, 30) for at in range(11)] + [synthetic.branch_back(32)])
    for _ in range(20):
        build.run(block)
    outcome = caches.replay(build.trace(), config)
    assert outcome.cycles / 20 == pytest.approx(3 * 300, rel=0.05)  # 48 bytes: three groups
    assert outcome.cycle_stack["fetch"] > 0.9 * outcome.cycles
    tight = caches.replay(build.trace(), config.override({"fetch.buffer_groups": 3}))
    assert tight.cycles < outcome.cycles / 5


def test_dispatch_width_and_dependent_chains():
    def cycles(insns):
        build = Builder()
        block = build.block(insns)
        for _ in range(200):
            build.run(block)
        return caches.replay(build.trace(), core(pipeline__alu_ports=3), ablate={"fetch"}).cycles / 200

    assert cycles([synthetic.alu(at, 30) for at in range(12)]) == pytest.approx(4, rel=0.05)
    assert cycles([synthetic.alu(0, 0) for _ in range(12)]) == pytest.approx(12, rel=0.05)


def test_an_in_order_core_stalls_where_the_other_goes_on():
    build = Builder()
    block = build.block([synthetic.load(0, 1, 0), synthetic.alu(2, 0), *(synthetic.alu(3, 3) for _ in range(20))], 1)
    for turn in range(50):
        build.run(block, BASE + 4096 * turn)
    cycles = {
        flag: caches.replay(build.trace(), core(pipeline__in_order=flag)).cycles / 50 for flag in ("false", "true")
    }
    assert cycles["true"] > 1.5 * cycles["false"]


def test_miss_buffers_limit_what_overlaps():
    build = Builder()
    block = build.block([synthetic.load(at, 20, 0, 8192 * at) for at in range(12)], 1)
    for turn in range(40):
        build.run(block, BASE + 8192 * 12 * turn + 64 * (turn % 8))
    few, many = (caches.replay(build.trace(), core(l1d__miss_buffers=count)).cycles for count in (1, 6))
    assert 3 < few / many <= 6.5


def test_instruction_misses_overlap_as_far_as_l1i_has_buffers():
    build = Builder(WB, WB)
    for line in range(400):
        build.run(build.block([synthetic.alu(0, 30), synthetic.alu(1, 30)], va=0x4000_0000 + 4096 * line))
    two, three, many = (
        caches.replay(build.trace(), core(l1i__miss_buffers=count), ablate={"l2tlb", "walk"}).cycles
        for count in (2, 3, 64)
    )
    assert 1.3 < two / three < 1.6
    assert many < three
    assert caches.replay(build.trace(), core(l1i__miss_buffers=2), ablate={"miss_buffers"}).cycles < three


def copy(lines, **kwargs):
    build = Builder(WB, WB, **kwargs)
    block = build.block(synthetic.copy_block(), 2)
    for line in range(lines):
        build.run(block, BASE + 64 * line, BASE + (1 << 28) + 64 * line)
    return build.trace()


def ns_per_line(outcome, lines):
    return outcome.seconds * 1e9 / lines


def test_streaming_writes_do_not_read_what_they_overwrite():
    lines, config = 4000, caches.core("stingray")
    with_it, without = (
        caches.replay(copy(lines), config.override({"store.stream_l1_lines": count})) for count in (4, 0)
    )
    assert with_it.counters["dram"]["reads"] < 1.05 * lines
    assert without.counters["dram"]["reads"] > 1.9 * lines
    assert with_it.cycles < without.cycles


def test_prefetching_hides_latency():
    lines, config = 4000, caches.core("stingray")
    with_it = caches.replay(copy(lines), config)
    without = caches.replay(copy(lines), config.override({"prefetch.streams": 0}))
    assert with_it.cycles < 0.8 * without.cycles
    assert with_it.counters["l2"]["prefetches_useless"] < 0.1 * with_it.counters["l2"]["prefetches"]


def test_what_l1d_prefetches_out_of_l2_was_not_prefetched_in_vain():
    """Nearly every line of a stream is used; a small L2 evicts each of them in the end."""
    counted = caches.replay(copy(4000), caches.core("stingray").override({"l2.size": "128KiB"})).counters["l2"]
    assert counted["evictions"] > 1000
    assert counted["prefetches_used"] > 0.9 * counted["prefetches"]
    assert counted["prefetches_useless"] < 0.1 * counted["prefetches"]


@pytest.mark.parametrize("gbps", [2, 4])
def test_a_copy_cannot_beat_the_memory(gbps):
    config = caches.core("rpi4").override({"dram.bandwidth_gbps": gbps})
    lines = 4000
    moved = ns_per_line(caches.replay(copy(lines), config), lines)
    floor = 2 * 64 / gbps
    assert 0.98 * floor <= moved <= 1.35 * floor  # the last writes are still on their way


def test_refresh_turnaround_and_rows_cost_something():
    trace, config = copy(4000), caches.core("rpi4").override({"dram.bandwidth_gbps": 3})
    assert caches.replay(trace, config, ablate={"dram_turnaround"}).cycles < caches.replay(trace, config).cycles
    scattered, _ = chase(16 << 20, step=4096 + 64, turns=1)
    whole = caches.replay(scattered, config).cycles
    for mechanism in ("dram_refresh", "dram_rows"):
        assert caches.replay(scattered, config, ablate={mechanism}).cycles < whole


def test_dsb_waits_for_maintenance_and_only_then_costs_itself():
    config = caches.core("stingray")
    build = Builder(WB, WB)
    clean = build.block([synthetic.dc(Maintenance.DC_CIVAC, 0)], 1)
    wait = build.block([synthetic.barrier(Barrier.DSB)])
    for turn in range(20):
        for line in range(16):
            build.run(clean, BASE + 4096 * turn + 64 * line)
        build.run(wait)
    stack = caches.replay(build.trace(), config, ablate={"fetch"}).cycle_stack
    assert stack["barrier"] == 20 * config.maintenance.dsb_cycles
    assert stack["maintenance"] >= 20 * config.maintenance.dc_clean_cycles


def test_isb_makes_fetch_begin_anew():
    config = caches.core("stingray")
    build = Builder(WB, WB)
    block = build.block([synthetic.barrier(Barrier.ISB), synthetic.alu(0, 0)])
    for _ in range(1000):
        build.run(block)
    assert caches.replay(build.trace(), config).cycles / 1000 == pytest.approx(config.cycles(13), rel=0.1)


def test_mispredicted_branches_cost_their_penalty():
    def cycles(pattern):
        build = Builder()
        head = build.block([synthetic.alu(0, 30), synthetic.branch_back(32)])
        other = build.block([synthetic.alu(1, 30), synthetic.branch_back(32)])
        for taken in pattern:
            build.run(head)
            if not taken:
                build.run(other)
        return caches.replay(build.trace(), core())

    steady_loop, surprising = cycles([True] * 400), cycles([True, True, True, False] * 100)
    assert steady_loop.counters["branch"]["misses"] <= 2
    assert surprising.cycle_stack["branch"] > 90 * caches.core("stingray").branch.mispredict_cycles


def test_stingray_with_the_mmu_off_is_what_it_was_calibrated_on():
    trace = synthetic.relocation(20, before=Maintenance.DC_IVAC)
    assert ns_per_line(caches.replay(trace, caches.core("stingray")), 20 * 64) == pytest.approx(605.4, rel=0.01)


def test_thunderx2_with_the_mmu_off_is_what_it_was_calibrated_on():
    trace = synthetic.relocation(20, before=Maintenance.DC_IVAC)
    assert ns_per_line(caches.replay(trace, caches.core("thunderx2")), 20 * 64) == pytest.approx(5706, rel=0.01)
