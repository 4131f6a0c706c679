"""What is dirty, stale and lost: the model's account of where the newest data are."""

import pytest
import traces_synthetic as synthetic
from traces_synthetic import DEVICE, NC, WB, Builder

import caches
from traces.schema import Barrier, InsnClass, Maintenance, Role

LINE = 0x8000_0000


def run(build, core="thunderx2", **changes):
    return caches.replay(build.trace(), caches.core(core).override(changes))


def stored(then=None, **fields):
    """A cached store to LINE, then one maintenance operation on it."""
    build = Builder(WB, WB, **fields)
    build.run(build.block([synthetic.store(1, 0, src=(2,))], 1), LINE)
    if then is not None:
        build.run(build.block([synthetic.dc(then, 0), synthetic.barrier(Barrier.DSB)], 1), LINE)
    return build


def test_a_cached_store_is_dirty_at_the_end():
    assert run(stored()).dirty_lines.tolist() == [LINE]


@pytest.mark.parametrize("then", [Maintenance.DC_CVAC, Maintenance.DC_CIVAC, Maintenance.DC_CVAP])
def test_cleaning_to_the_poc_makes_it_clean(then):
    outcome = run(stored(then))
    assert outcome.dirty_lines.tolist() == []
    assert outcome.lost_lines.tolist() == []
    assert outcome.counters["dram"]["writes"] == 1


def test_cleaning_to_the_pou_leaves_it_dirty_in_l2():
    assert run(stored(Maintenance.DC_CVAU)).dirty_lines.tolist() == [LINE]


def test_invalidating_loses_what_was_dirty():
    outcome = run(stored(Maintenance.DC_IVAC))
    assert outcome.dirty_lines.tolist() == []
    assert outcome.lost_lines.tolist() == [LINE]


def test_under_stage_2_invalidate_cleans():
    build = Builder(WB, WB, stage2=1)
    build.page(LINE, LINE)
    build.page(0x4000_0000, 0x4000_0000)
    build.run(build.block([synthetic.store(1, 0, src=(2,))], 1), LINE)
    build.run(build.block([synthetic.dc(Maintenance.DC_IVAC, 0)], 1), LINE)
    assert run(build).lost_lines.tolist() == []


def test_a_core_whose_ivac_cleans_loses_nothing():
    assert run(stored(Maintenance.DC_IVAC), core="altra").lost_lines.tolist() == []


@pytest.mark.parametrize("kind", [DEVICE, NC])
def test_an_uncached_read_of_a_dirty_line_is_stale(kind):
    build = stored()
    build.epoch(kind, WB)
    build.run(build.block([synthetic.load(0, 1, 0)], 1), LINE)
    build.run(build.block([synthetic.load(0, 1, 0)], 1), LINE + 4096)
    assert run(build).stale_lines.tolist() == [LINE]


def test_a_cached_read_of_what_was_written_past_the_cache_is_stale():
    build = Builder(WB, WB)
    read = build.block([synthetic.load(0, 1, 0)], 1)
    build.run(read, LINE)
    build.epoch(DEVICE, WB)
    build.run(build.block([synthetic.store(1, 0, src=(2,))], 1), LINE)
    build.epoch(WB, WB)
    build.run(read, LINE)
    assert run(build).stale_lines.tolist() == [LINE]


def test_invalidating_first_makes_the_read_fresh():
    build = Builder(WB, WB)
    read = build.block([synthetic.load(0, 1, 0)], 1)
    build.run(read, LINE)
    build.run(build.block([synthetic.dc(Maintenance.DC_IVAC, 0)], 1), LINE)
    build.epoch(DEVICE, WB)
    build.run(build.block([synthetic.store(1, 0, src=(2,))], 1), LINE)
    build.epoch(WB, WB)
    build.run(read, LINE)
    assert run(build).stale_lines.tolist() == []


def test_an_old_dirty_line_written_over_newer_memory_is_lost():
    build = stored()
    build.epoch(DEVICE, WB)
    build.run(build.block([synthetic.store(1, 0, src=(2,))], 1), LINE)
    build.epoch(WB, WB)
    build.run(build.block([synthetic.dc(Maintenance.DC_CIVAC, 0)], 1), LINE)
    assert run(build).lost_lines.tolist() == [LINE]


def many_stores(lines):
    build = Builder(WB, WB)
    block = build.block([synthetic.store(1, 0, 16 * at, 16, src=(2,)) for at in range(4)], 1)
    for line in range(lines):
        build.run(block, LINE + 64 * line)
    return build


def test_a_system_cache_behind_the_poc_is_seen_by_uncached_readers():
    lines = 3 * 256 * 16  # thrice L2
    before = run(many_stores(lines), **{"store.stream_l1_lines": 0})
    behind = run(many_stores(lines), **{"store.stream_l1_lines": 0, "l3.behind_poc": True})
    assert len(before.dirty_lines) == lines
    assert 0 < len(behind.dirty_lines) < lines


def test_set_way_reaches_l1_only():
    build = many_stores(2000)
    clean = synthetic.insn(InsnClass.MAINTENANCE, src=(0,), maintenance=Maintenance.DC_CISW, slot=0)
    sweep = build.block([clean], 1)
    for line in range(512):  # thunderx2: 64 sets of 8 ways
        build.run(sweep, line // 8 << 6 | line % 8 << 29)
    outcome = run(build, **{"store.stream_l1_lines": 0, "l3.size": 0})
    assert len(outcome.dirty_lines) == 2000  # all moved to L2, none to the PoC


def test_code_written_after_it_was_fetched_is_stale_until_invalidated():
    def fetched_again(invalidate):
        build = Builder(WB, WB)
        code = build.block([synthetic.alu(0, 0)], va=LINE)
        write = build.block([synthetic.store(1, 0, src=(2,))], 1, va=LINE + 0x1000)
        clear = build.block([synthetic.system(Maintenance.IC_IALLU), synthetic.barrier(Barrier.DSB)], va=LINE + 0x2000)
        build.run(code)
        build.run(write, LINE)
        if invalidate:
            build.run(clear)
        build.run(code)
        return run(build).stale_lines.tolist()

    assert fetched_again(invalidate=False) == [LINE]
    assert fetched_again(invalidate=True) == []


def test_kernel_dirty_lines_of_the_destination_are_discarded_not_lost():
    build = Builder(WB, WB)
    build.range(LINE, 1 << 20, Role.DESTINATION)
    build.range(LINE, 1 << 22, Role.RAM)
    clear = build.block([synthetic.dc(Maintenance.DC_IVAC, 0)], 1)
    for line in range(1 << 14):
        build.run(clear, LINE + 64 * line)
    outcome = caches.replay(build.trace(), caches.core("thunderx2"), initial="kernel-dirty")
    assert outcome.lost_lines.tolist() == []
    assert outcome.details["old_dirty_lines_discarded"] > 100
    assert ((outcome.dirty_lines < LINE) | (outcome.dirty_lines >= LINE + (1 << 20))).all()


def test_kernel_dirty_lines_are_never_of_code_that_the_run_fetches():
    build = Builder(WB, NC)
    build.range(LINE, 1 << 14, Role.OLD_KERNEL)
    for at in range(256):
        build.run(build.block([synthetic.alu(0, 0)], va=LINE + 64 * at))
    outcome = caches.replay(build.trace(), caches.core("thunderx2"), initial="kernel-dirty")
    assert outcome.stale_lines.tolist() == []


def test_relocations_leave_what_the_mails_say():
    """The merged routine cleans to the PoC; RFC v2's shape, without maintenance, leaves dirty lines."""
    merged = synthetic.relocation(4, after=Maintenance.DC_CIVAC, translated=True)
    bare = synthetic.relocation(4, translated=True)
    core = caches.core("thunderx2")
    assert caches.replay(merged, core).dirty_lines.tolist() == []
    assert len(caches.replay(bare, core).dirty_lines) > 100


def test_tlbi_empties_the_tlbs_of_its_regime():
    build = Builder(WB, WB, stage1=1)
    build.page(LINE, LINE)
    build.page(0x4000_0000, 0x4000_0000)
    read = build.block([synthetic.load(0, 1, 0)], 1)
    clear = build.block([synthetic.system(Maintenance.TLBI_VMALLE1), synthetic.barrier(Barrier.DSB)])
    other = build.block([synthetic.system(Maintenance.TLBI_ALLE2), synthetic.barrier(Barrier.DSB)])
    for between in (other, clear):
        build.run(read, LINE)
        build.run(between)
    build.run(read, LINE)
    assert run(build).counters["dtlb"]["misses"] == 2


def test_asids_keep_entries_apart_unless_global():
    def misses(is_global):
        build = Builder(WB, WB, stage1=1, asid=1)
        for asid in (1, 2, 1):
            if asid == 2 or len(build.executions):
                build.epoch(WB, WB, stage1=1, asid=asid)
            build.page(LINE, LINE, is_global=is_global)
            build.page(0x4000_0000, 0x4000_0000)
            read = build.block([synthetic.load(0, 1, 0)], 1)
            build.run(read, LINE)
        return run(build).counters["dtlb"]["misses"]

    assert misses(is_global=1) == 1
    assert misses(is_global=0) == 2


def test_what_was_cleaned_to_a_system_cache_does_not_become_dirty_by_reading():
    build = stored(Maintenance.DC_CIVAC)
    build.run(build.block([synthetic.load(0, 1, 0)], 1), LINE)
    assert run(build, core="stingray").dirty_lines.tolist() == []
