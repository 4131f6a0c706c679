"""Each mechanism alone: a trace that shows it, and nothing of it where it is off or the core has not got it."""

import pytest
import traces_synthetic as synthetic
from traces_synthetic import WB, Builder

import caches
from traces.schema import Barrier, Maintenance, MemoryType, Role

BASE = 0x1_0000_0000
CODE = 0x4000_0000
QUIET = {"prefetch.streams": 0, "dram.refresh_ns": 0, "fetch.prefetch_lines": 0}
GRE, NGRE, NGNRE = MemoryType.DEVICE_GRE, MemoryType.DEVICE_NGRE, MemoryType.DEVICE_NGNRE


def core(name="stingray", **changes):
    return caches.core(name).override(QUIET | {key.replace("__", "."): value for key, value in changes.items()})


def device_stores(kind, offsets, config, **options):
    """Cycles of stores of 16 bytes at these offsets, DSB behind them."""
    build = Builder(kind, WB)
    write = build.block([synthetic.store(1, 0, size=16, src=(2, 3))], 1)
    for offset in offsets:
        build.run(write, BASE + offset)
    build.run(build.block([synthetic.barrier(Barrier.DSB)]))
    return caches.replay(build.trace(), config, ablate={"fetch"}, **options).cycles


def test_device_gre_gathers_stores_to_a_line_and_no_others():
    config = core(device__outstanding_writes=1)
    line = [16 * at for at in range(4)] * 8
    lines = [64 * at for at in range(32)]
    apart = device_stores(GRE, lines, config)
    assert device_stores(GRE, line, config) < apart / 10
    assert device_stores(NGRE, line, config) == pytest.approx(apart, rel=0.02)
    never = config.override({"device.gathers": False})
    assert device_stores(GRE, line, never) == device_stores(NGRE, line, never)


def test_a_dsb_ends_what_gathers():
    config = core()
    build = Builder(GRE, WB)
    write = build.block([synthetic.store(1, 0, size=16, src=(2, 3))], 1)
    wait = build.block([synthetic.barrier(Barrier.DSB)])
    for at in range(4):
        build.run(write, BASE + 16 * at)
        build.run(wait)
    cycles = caches.replay(build.trace(), config, ablate={"fetch"}).cycles
    assert cycles >= 4 * config.cycles(config.device.round_trip_ns)


def test_stores_keep_their_order_where_the_type_has_no_r():
    """nGnRE: each begins no earlier than the one before. nGRE: what is ready first goes first."""

    def late_first(kind):
        config = core(device__outstanding_writes=4, device__round_trip_ns=100, device__early_ack_ns=100, l3__size=0)
        build = Builder(kind, WB, stage1=1)
        build.page(CODE, CODE, tables=())
        for at in range(8):
            tables = tuple(0x8000_0000 + 0x100_0000 * at + 0x1000 * level for level in range(3)) if at % 2 == 0 else ()
            build.page(BASE + 4096 * at, BASE + 4096 * at, kind, tables=tables)
        write = build.block([synthetic.store(1, 0, src=(2,))], 1)
        for at in range(8):
            build.run(write, BASE + 4096 * at)
        build.run(build.block([synthetic.barrier(Barrier.DSB)]))
        return caches.replay(build.trace(), config, ablate={"fetch"}).cycles

    assert late_first(NGRE) <= late_first(NGNRE)


def loads_of(kind, config, count=24):
    build = Builder(kind, WB)
    read = build.block([synthetic.load(at % 8, 20, 0, 64 * at) for at in range(8)], 1)
    for turn in range(count // 8):
        build.run(read, BASE + 512 * turn)
    return caches.replay(build.trace(), config, ablate={"fetch"}).cycles


def test_loads_overlap_where_the_type_lets_them():
    config = core(device__outstanding_reads=4)
    trip = config.cycles(config.device.round_trip_ns)
    assert loads_of(NGNRE, config) >= 24 * trip
    assert loads_of(NGRE, config) == pytest.approx(24 * trip / 4, rel=0.1)
    assert loads_of(GRE, config) == loads_of(NGRE, config)


def test_every_rule_of_device_memory_is_one_switch():
    for kind in MemoryType:
        if kind.is_device:
            assert device_stores(kind, range(0, 640, 64), core()) > 0
            build = Builder(kind, WB)
            build.run(build.block([synthetic.load(0, 1, 0)], 1), BASE)
            off = caches.replay(build.trace(), core(), ablate={"device_order", "fetch"})
            assert off.cycle_stack["device_load"] == 0


# --- DRAM ------------------------------------------------------------------------------------------------------------


def reads(addresses, config, *, between=None, **options):
    """A dependent chain of loads, each from another line; `between` are stores after each."""
    build = Builder(WB, WB)
    read = build.block([synthetic.load(0, 0, 0)], 1)
    write = build.block([synthetic.dc(Maintenance.DC_CIVAC, 0)], 1)
    for at, address in enumerate(addresses):
        build.run(read, address)
        for other in (between or {}).get(at, ()):
            build.run(write, other)
    return caches.replay(build.trace(), config, **options)


def one_row(count):
    return [BASE + 64 * at for at in range(count)]


DRAM = {"l3__size": 0, "dram__channels": 1, "dram__interleave": "4KiB", "dram__row": "8KiB"}


def test_refresh_closes_the_rows_of_every_bank():
    often = core(**DRAM, dram__refresh_interval_ns=2000, dram__refresh_ns=100)
    counted = reads(one_row(100), often).counters["dram"]
    never = reads(one_row(100), often, ablate={"dram_refresh"}).counters["dram"]
    assert never["row_misses"] <= 3  # code, and the row itself
    assert counted["row_misses"] >= 4
    with_it, without = reads(one_row(100), often), reads(one_row(100), often, ablate={"dram_refresh"})
    assert with_it.cycles > without.cycles


def test_no_bank_answers_during_refresh():
    config = core(**DRAM, dram__refresh_interval_ns=1000, dram__refresh_ns=500)
    spread = [BASE + 0x1_0000 * at for at in range(60)]
    whole = reads(spread, config).cycles
    assert whole > 1.3 * reads(spread, config, ablate={"dram_refresh"}).cycles


def writes_between(config, batch):
    """Reads of one row, with uncached writes to another row of the only bank between them."""
    build = Builder(WB, WB, stage1=1)
    other = BASE + 0x10_0000
    build.page(CODE, CODE, tables=())
    build.page(BASE, BASE, tables=())
    build.page(other, other, MemoryType.NORMAL_NC, tables=())
    read = build.block([synthetic.load(0, 0, 0)], 1)
    write = build.block([synthetic.store(1, 0, src=(2,))], 1)
    for at in range(32):
        build.run(write, other + 64 * at)
        build.run(read, BASE + 64 * at)
    config = config.override({"dram.write_batch": batch})
    return caches.replay(build.trace(), config).counters["dram"]["row_misses"]


def test_a_batch_of_writes_opens_the_row_of_its_last_line():
    config = core(**DRAM, dram__banks=1)
    never, each, fourth = (writes_between(config, batch) for batch in (256, 1, 4))
    assert never <= 2  # code, and the row itself
    assert each == pytest.approx(32, abs=3)
    assert fourth == pytest.approx(8, abs=3)


def fills(config, lines=3000, **options):
    build = Builder(WB, WB)
    block = build.block([synthetic.store(1, 0, 16 * at, 16, src=(2,)) for at in range(4)], 1)
    for line in range(lines):
        build.run(block, BASE + 64 * line)
    return caches.replay(build.trace(), config, **options).seconds * 1e9 / lines


def test_writes_can_have_less_than_the_bandwidth():
    config = caches.core("rpi4").override({"dram.bandwidth_gbps": 6.4, "dram.turnaround_ns": 0})
    half = config.override({"dram.write_share": 0.5})
    assert fills(config) == pytest.approx(10, rel=0.1)
    assert fills(half) == pytest.approx(20, rel=0.1)
    assert fills(half, ablate={"dram_bandwidth"}) == pytest.approx(fills(config, ablate={"dram_bandwidth"}))


def test_reads_are_not_slowed_by_what_only_writes_pass():
    config = core(**DRAM)
    spread = [BASE + 0x1_0000 * at for at in range(60)]
    slow = config.override({"dram.write_share": 0.1})
    assert reads(spread, slow).cycles == reads(spread, config).cycles


# --- Prefetch past a page --------------------------------------------------------------------------------------------


def stream(walks, pages=32, **options):
    """Loads through translated pages, a line after the other."""
    config = caches.core("stingray").override({"prefetch.walks": walks, "prefetch.crosses_pages": True})
    build = Builder(WB, WB, stage1=1)
    build.page(CODE, CODE, tables=())
    for page in range(pages):
        va = BASE + 4096 * page
        build.page(va, va, tables=(0x8000_0000, 0x8000_1000, 0x8000_2000 + 8 * page))
    read = build.block([synthetic.load(0, 20, 0)], 1)
    for line in range(64 * pages):
        build.run(read, BASE + 64 * line)
    return caches.replay(build.trace(), config, **options)


def test_a_prefetcher_that_walks_has_the_translation_before_the_load_asks():
    walks, stops = stream(True), stream(False)
    assert walks.counters["l2tlb"]["misses"] <= 4
    assert stops.counters["l2tlb"]["misses"] >= 32
    # Each page is walked for once, by whoever comes first.
    assert walks.counters["walk"]["walks"] == stops.counters["walk"]["walks"]
    assert walks.cycles < stops.cycles


def test_a_prefetcher_that_stops_goes_on_when_the_load_has_had_the_page_translated():
    stops = stream(False)
    assert stops.counters["l2"]["prefetches"] > 32 * 25


# --- The core itself, by switches ------------------------------------------------------------------------------------


def test_the_window_limits_what_overlaps_a_miss():
    build = Builder(WB, WB)
    block = build.block([synthetic.load(0, 20, 0), *(synthetic.alu(1, 30) for _ in range(60))], 1)
    for turn in range(60):
        build.run(block, BASE + 4096 * turn)
    config = core(pipeline__rob_entries=32)
    whole = caches.replay(build.trace(), config, ablate={"fetch"}).cycles
    assert caches.replay(build.trace(), config, ablate={"fetch", "window"}).cycles < whole / 2
    wide = config.override({"pipeline.rob_entries": 256})
    assert caches.replay(build.trace(), wide, ablate={"fetch"}).cycles < whole / 2


def test_ports_are_shared():
    build = Builder(WB, WB)
    block = build.block([synthetic.insn(synthetic.InsnClass.MUL, dst=(at,), src=(30,)) for at in range(12)])
    for _ in range(100):
        build.run(block)
    with_ports = caches.replay(build.trace(), core(), ablate={"fetch"}).cycles / 100
    without = caches.replay(build.trace(), core(), ablate={"fetch", "ports"}).cycles / 100
    assert with_ports == pytest.approx(12, rel=0.05)
    assert without == pytest.approx(4, rel=0.05)


def test_latencies_count_in_a_chain():
    build = Builder(WB, WB)
    block = build.block([synthetic.insn(synthetic.InsnClass.MUL, dst=(0,), src=(0,)) for _ in range(12)])
    for _ in range(100):
        build.run(block)
    config = core()
    assert caches.replay(build.trace(), config, ablate={"fetch"}).cycles / 100 == pytest.approx(
        12 * config.pipeline.multiply_cycles, rel=0.05
    )
    assert caches.replay(build.trace(), config, ablate={"fetch", "latency"}).cycles / 100 == pytest.approx(12, rel=0.05)


def test_branches_in_program_order_while_stage_1_is_off():
    """A branch that waits for a load holds up the one behind it, which needs nothing."""

    def cycles(stage1, **options):
        build = Builder(WB, WB, stage1=stage1)
        build.page(CODE, CODE, tables=())
        for turn in range(40):
            build.page(BASE + 4096 * turn, BASE + 4096 * turn, tables=())
        other = build.block([synthetic.alu(3, 4), synthetic.branch_back(30)], va=CODE)
        head = build.block([synthetic.load(0, 20, 0), synthetic.branch_back(0)], 1, va=CODE + 0x100)
        for turn in range(40):
            build.run(head, BASE + 4096 * turn)
            build.run(other)
        return caches.replay(build.trace(), core(), ablate={"icache", "translation", *options.get("off", ())}).cycles

    assert cycles(1) <= cycles(0)
    assert cycles(0, off=("branch_order",)) == cycles(1, off=("branch_order",))


def test_the_cores_switches_are_no_group():
    with pytest.raises(ValueError, match="instructions"):
        caches.replay(Builder().trace(), core(), ablate={"instructions"})
    assert {one.name for one in caches.mechanisms() if one.group == "instructions"} == {"window", "ports", "latency"}


# --- What a DC has to ask --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "level"), [(Maintenance.DC_CIVAC, "l3"), (Maintenance.DC_CVAU, "l2")])
def test_a_dc_is_not_done_before_the_last_cache_it_asks_has_answered(kind, level):
    config = core(maintenance__dc_clean_cycles=1, l2__hit_cycles=50, l3__hit_cycles=200)
    build = Builder(WB, WB)
    build.run(build.block([synthetic.dc(kind, 0), synthetic.barrier(Barrier.DSB)], 1), BASE)
    stack = caches.replay(build.trace(), config, ablate={"fetch"}).cycle_stack
    assert stack["maintenance"] == pytest.approx(config.value(f"{level}.hit_cycles"), abs=3)


# --- What the kernel left --------------------------------------------------------------------------------------------


def test_shares_of_what_a_running_kernel_left_are_the_cores():
    def shares(**changes):
        build = Builder()
        build.run(build.block([synthetic.alu(0, 0)]))
        build.range(0x8000_0000, 1 << 26, Role.RAM)
        build.range(0x9000_0000, 1 << 26, Role.DESTINATION)
        lines = caches.replay(build.trace(), core("thunderx2", **changes), initial="kernel-dirty").dirty_lines
        return len(lines), (lines >= 0x9000_0000).sum() / max(1, len(lines))

    few, some = shares(kernel__dirty_share=0.1), shares(kernel__dirty_share=0.6)
    assert some[0] == pytest.approx(6 * few[0], rel=0.1)
    assert shares(kernel__destination_share=0.9)[1] == pytest.approx(0.9, abs=0.05)
    assert shares(kernel__destination_share=0.1)[1] == pytest.approx(0.1, abs=0.05)
    assert shares(kernel__dirty_share=0.0)[0] == 0
