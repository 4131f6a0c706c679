"""Maintenance that names its object by an operand: set and way, page and ASID; it reaches that and nothing else."""

from dataclasses import replace

import pytest
import traces_synthetic as synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import DirtyHierarchy, TaggedTlb
from traces_synthetic import WB, Builder

import caches
from traces.schema import Barrier, InsnClass, Maintenance

LINE = 0x8000_0000
CODE = 0x4000_0000
TABLES = 0x5000_0000

SMALL = {
    "l1d.size": 4 * 2 * 64, "l1d.ways": 2, "l1d.replacement": "lru", "l2.size": 8 * 4 * 64, "l2.ways": 4,
    "l2.replacement": "lru", "l2.inclusion": "non-inclusive", "l3.size": 0, "prefetch.streams": 0,
    "fetch.prefetch_lines": 0, "store.stream_l1_lines": 0, "prefetch.stores": False,
}  # fmt: skip


def named(kind, slot=0):
    return synthetic.insn(InsnClass.MAINTENANCE, src=(0,), maintenance=kind, slot=slot)


def operand(level, index, way, ways):
    """As the Arm ARM has it: the way in the upper bits, the set from bit 6 on, the level less one in bits 3:1."""
    bits = (ways - 1).bit_length()
    return level << 1 | index << 6 | (way << 32 - bits if bits else 0)


def after(lines, operations, *, caches_told=None, core="stingray", **changes):
    """Stores to these lines, then (kind, operand) set/way operations."""
    build = Builder(WB, WB)
    write = build.block([synthetic.store(1, 0, src=(2,))], 1)
    for line in lines:
        build.run(write, LINE + 64 * line)
    for kind, value in operations:
        build.run(build.block([named(kind), synthetic.barrier(Barrier.DSB)], 1), value)
    trace = build.trace()
    if caches_told is not None:
        trace = replace(trace, meta={"data_caches": caches_told})
    outcome = caches.replay(trace, caches.core(core).override(SMALL | changes), ablate={"icache"})
    return [int(pa) // 64 - LINE // 64 for pa in outcome.dirty_lines], outcome


def test_cleaning_one_way_of_l1_moves_that_line_to_l2_and_no_further():
    dirty, outcome = after([0, 1], [(Maintenance.DC_CISW, operand(0, 0, 0, 2))])
    assert dirty == [0, 1]
    assert outcome.counters["maintenance"]["write_backs"] == 1
    assert outcome.counters["dram"]["writes"] == 0


def test_cleaning_both_levels_reaches_memory():
    both = [(Maintenance.DC_CISW, operand(0, 0, 0, 2)), (Maintenance.DC_CISW, operand(1, 0, 0, 4))]
    dirty, outcome = after([0], both)
    assert dirty == []
    assert outcome.counters["dram"]["writes"] == 1
    assert outcome.lost_lines.tolist() == []


@pytest.mark.parametrize(
    "value",
    [operand(0, 1, 0, 2), operand(0, 0, 1, 2), operand(1, 0, 0, 2), operand(2, 0, 0, 2), operand(6, 0, 0, 2),
     operand(0, 4, 0, 2), 0xFFFF_FFFF],
)  # fmt: skip
def test_what_names_another_line_or_none_does_nothing(value):
    """Line 0 lies in way 0 of set 0 of L1D; its copy in L2 is clean."""
    dirty, outcome = after([0], [(Maintenance.DC_ISW, value)])
    assert (dirty, outcome.lost_lines.tolist()) == ([0], [])


def test_invalidating_by_set_and_way_loses_that_line_alone():
    dirty, outcome = after([0, 1], [(Maintenance.DC_ISW, operand(0, 1, 0, 2))])
    assert (dirty, outcome.lost_lines.tolist()) == ([0], [LINE + 64])


def test_an_inclusive_level_takes_the_copy_above_with_it():
    dirty, outcome = after([0], [(Maintenance.DC_CISW, operand(1, 0, 0, 4))], **{"l2.inclusion": "inclusive"})
    assert dirty == []
    assert outcome.counters["dram"]["writes"] == 1


def test_a_system_cache_is_not_reached():
    """Where L3 lies behind the PoC, CLIDR_EL1 knows nothing of it."""
    l3 = {"l3.size": 8 * 4 * 64, "l3.ways": 4, "l3.behind_poc": True, "l3.inclusion": "non-inclusive"}
    sweep = [(Maintenance.DC_CISW, operand(level, 0, 0, ways)) for level, ways in ((0, 2), (1, 4), (2, 4))]
    _, outcome = after([0], sweep, **l3)
    assert outcome.counters["dram"]["writes"] == 0


def test_a_cache_of_another_shape_than_the_guest_was_told_of_is_covered_by_its_loop():
    told = [[2, 8], [8, 4]]
    loop = [(Maintenance.DC_CISW, operand(0, index, way, 8)) for index in range(2) for way in range(8)]
    lines = list(range(8))
    dirty, outcome = after(lines, loop, caches_told=told)
    assert dirty == lines
    assert outcome.counters["maintenance"]["write_backs"] == 8
    half, outcome = after(lines, loop[:8], caches_told=told)
    assert outcome.counters["maintenance"]["write_backs"] == 4
    assert half == lines


_lines = st.integers(0, 31)
_set_way = st.tuples(st.sampled_from(["ISW", "CSW", "CISW"]), st.integers(0, 2), st.integers(0, 8), st.integers(0, 3))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(_lines, _set_way), min_size=1, max_size=60))
def test_set_and_way_are_their_naive_twin(steps):
    twin = DirtyHierarchy((4, 2), (8, 4))
    build = Builder(WB, WB)
    write = build.block([synthetic.store(1, 0, src=(2,))], 1)
    blocks = {kind: build.block([named(Maintenance[f"DC_{kind}"])], 1) for kind in ("ISW", "CSW", "CISW")}
    for step in steps:
        if isinstance(step, int):
            build.run(write, LINE + 64 * step)
            twin.store(LINE // 64 + step)
        else:
            kind, level, index, way = step
            ways = (2, 4, 4)[level]
            build.run(blocks[kind], operand(level, index, way % ways, ways))
            twin.set_way(kind, level, index, way % ways)
    outcome = caches.replay(build.trace(), caches.core("stingray").override(SMALL), ablate={"icache"})
    assert (outcome.dirty_lines // 64).tolist() == twin.dirty()
    assert sorted(set((outcome.lost_lines // 64).tolist())) == sorted(set(twin.lost))


# --- TLBI ------------------------------------------------------------------------------------------------------------

# What a TLBI of EL1's names means, by where it is executed, and what it names (Arm ARM C5.5).
EL1, EL2 = {"el": 1}, {"el": 2}
VHE = {"el": 2, "e2h": 1, "hcr": 1 << 27 | 1 << 34}
GUEST = {"el": 1, "stage2": 1, "vmid": 5, "hcr": 1, "vttbr": 5 << 48}
EL2_OVER_GUEST = {"el": 2, "hcr": 1, "vttbr": 5 << 48}


def misses_after(kind, value, *, inside, outside=None, page=LINE, leaf_log2=12, is_global=0, core=None):
    """Misses of the L2 TLB of two loads of a page under regime `inside`, the TLBI under `outside` between them."""
    outside = inside if outside is None else outside
    build = Builder(WB, WB, stage1=1, asid=3, **inside)

    def enter(fields, mark=True):
        if mark:
            build.epoch(WB, WB, stage1=1, asid=3, **fields)
        for va in (LINE, LINE + 0x10_0000):
            leaf2 = 12 if fields.get("stage2") else 0
            build.page(va, va, tables=(TABLES, TABLES + 8), leaf_log2=leaf_log2, is_global=is_global, leaf2_log2=leaf2)
        build.page(CODE, CODE, is_global=1)

    enter(inside, mark=False)
    read = build.block([synthetic.load(0, 1, 0)], 1)
    clear = build.block([named(kind), synthetic.barrier(Barrier.DSB)], 1)
    build.run(read, page)
    enter(outside)
    build.run(clear, value)
    enter(inside)
    build.run(read, page)
    config = caches.core("stingray").override({"l2tlb.entries": 64, "l2tlb.ways": 64, **(core or {})})
    before = build.trace()
    outcome = caches.replay(before, config)
    plain = caches.replay(replace(before, insns=_without_maintenance(before)), config)
    return outcome.counters["dtlb"]["misses"] - plain.counters["dtlb"]["misses"]


def _without_maintenance(trace):
    insns = trace.insns.copy()
    maintenance = insns["cls"] == InsnClass.MAINTENANCE
    insns["cls"][maintenance], insns["maintenance"][maintenance] = InsnClass.ALU, 0
    return insns


PAGE = LINE >> 12
ASID_3 = 3 << 48


@pytest.mark.parametrize(
    ("kind", "value", "where", "drops"),
    [
        ("TLBI_VAE1", PAGE | ASID_3, EL1, True),
        ("TLBI_VAE1", PAGE | 4 << 48, EL1, False),
        ("TLBI_VAE1", PAGE + 1 | ASID_3, EL1, False),
        ("TLBI_VALE1", PAGE | ASID_3, EL1, True),
        ("TLBI_VAAE1", PAGE | 4 << 48, EL1, True),
        ("TLBI_VAALE1", PAGE, EL1, True),
        ("TLBI_VAALE1", PAGE + 1, EL1, False),
        ("TLBI_ASIDE1", ASID_3, EL1, True),
        ("TLBI_ASIDE1", 4 << 48 | PAGE, EL1, False),
        ("TLBI_VAE2", PAGE, EL1, False),
        ("TLBI_VAE2", PAGE, EL2, True),
        ("TLBI_VALE2", PAGE + 1, EL2, False),
        ("TLBI_VAE1", PAGE | ASID_3, EL2, False),
        ("TLBI_VMALLE1", 0, EL2, False),
        ("TLBI_ALLE2", 0, EL2, True),
        ("TLBI_VAE1", PAGE | ASID_3, VHE, True),
        ("TLBI_VAE2", PAGE | ASID_3, VHE, True),
        ("TLBI_VMALLE1", 0, VHE, True),
        ("TLBI_ALLE1", 0, VHE, False),
        ("TLBI_VAE1", PAGE | ASID_3, GUEST, True),
        ("TLBI_ALLE1", 0, GUEST, True),
        ("TLBI_ALLE2", 0, GUEST, False),
        ("TLBI_OTHER", 0, GUEST, True),
    ],
)
def test_a_tlbi_drops_what_it_names_in_the_regime_it_means(kind, value, where, drops):
    assert misses_after(Maintenance[kind], value, inside=where) == (1 if drops else 0)


@pytest.mark.parametrize(
    ("kind", "inside", "outside", "drops"),
    [
        ("TLBI_VMALLE1", EL1, EL2, True),
        ("TLBI_VAE1", EL1, EL2, True),
        ("TLBI_ALLE1", EL1, EL2, True),
        ("TLBI_ALLE2", EL1, EL2, False),
        ("TLBI_VMALLE1", EL1, VHE, False),
        ("TLBI_VMALLS12E1", GUEST, EL2_OVER_GUEST, True),
        ("TLBI_VMALLE1", GUEST, EL2_OVER_GUEST, True),
        ("TLBI_VMALLS12E1", GUEST, EL2, False),
        ("TLBI_VMALLE1", GUEST, EL1, False),
        ("TLBI_ALLE1", GUEST, EL2, True),
        ("TLBI_VAE2", EL2, EL1, True),
    ],
)
def test_what_one_level_does_to_the_entries_of_another(kind, inside, outside, drops):
    """A hypervisor clears its guest's entries by EL1's names; under E2H and TGE the same names mean its own."""
    assert misses_after(Maintenance[kind], PAGE | ASID_3, inside=inside, outside=outside) == (1 if drops else 0)


def test_any_page_of_a_leaf_names_all_pieces_of_it():
    """A 2 MiB leaf that the DTLB holds as 1 MiB pieces."""
    far = (LINE + 0x1F_F000) >> 12 | ASID_3
    assert misses_after(Maintenance.TLBI_VAE1, far, inside=EL1, leaf_log2=21) == 1
    assert misses_after(Maintenance.TLBI_VAE1, (LINE + 0x20_0000) >> 12 | ASID_3, inside=EL1, leaf_log2=21) == 0


def test_global_entries_have_every_asid_but_are_no_asids():
    assert misses_after(Maintenance.TLBI_VAE1, PAGE | 9 << 48, inside=EL1, is_global=1) == 1
    assert misses_after(Maintenance.TLBI_ASIDE1, ASID_3, inside=EL1, is_global=1) == 0


def test_eight_bit_asids_ignore_the_upper_byte_of_the_operand():
    assert misses_after(Maintenance.TLBI_ASIDE1, 0x103 << 48, inside=EL1) == 1
    assert misses_after(Maintenance.TLBI_ASIDE1, 0x103 << 48, inside=EL1 | {"tcr": 1 << 36}) == 0


def test_an_operand_of_xzr_is_page_0_of_asid_0():
    assert misses_after(Maintenance.TLBI_VAE1, 0, inside=EL1) == 0


@pytest.mark.parametrize(("kind", "reads"), [("TLBI_VAE1", 2), ("TLBI_VALE1", 1)])
def test_last_level_forms_leave_the_walk_cache_alone(kind, reads):
    build = Builder(WB, WB, stage1=1, asid=3)
    build.page(LINE, LINE, tables=(TABLES, TABLES + 8), is_global=0)
    build.page(CODE, CODE, tables=())
    read = build.block([synthetic.load(0, 1, 0)], 1)
    clear = build.block([named(Maintenance[kind]), synthetic.barrier(Barrier.DSB)], 1)
    build.run(read, LINE)
    before = caches.replay(build.trace(), caches.core("stingray")).counters["walk"]["reads"]
    build.run(clear, PAGE | ASID_3)
    build.run(read, LINE)
    assert caches.replay(build.trace(), caches.core("stingray")).counters["walk"]["reads"] - before == reads


_page = st.integers(0, 7)
_tlb_steps = st.lists(
    st.one_of(
        st.tuples(st.just("load"), _page),
        st.tuples(st.just("asid"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["VAE1", "VAAE1", "VALE1", "VAALE1", "ASIDE1", "VMALLE1"]), _page, st.integers(0, 2)),
    ),
    min_size=1,
    max_size=50,
)


@settings(max_examples=80, deadline=None)
@given(_tlb_steps, st.integers(1, 6), st.sampled_from([1, 2]))
def test_the_dtlb_under_tlbi_is_its_naive_twin(steps, entries, leaf_pages):
    """Pages 0 to 3 are of one ASID, 4 to 7 global; leaves of 4 or 8 KiB, held as 4 KiB pieces."""
    twin, asid = TaggedTlb(entries), 0
    build = Builder(WB, WB, stage1=1)

    def map_pages():
        for page in range(8):
            va = LINE + 4096 * page
            build.page(va, va, is_global=int(page >= 4), leaf_log2=11 + leaf_pages)
        build.page(CODE, CODE, tables=())

    map_pages()
    read = build.block([synthetic.load(0, 1, 0)], 1)
    kinds = ("VAE1", "VAAE1", "VALE1", "VAALE1", "ASIDE1", "VMALLE1")
    blocks = {kind: build.block([named(Maintenance[f"TLBI_{kind}"])], 1) for kind in kinds}
    base = LINE >> 12
    for step in steps:
        if step[0] == "load":
            build.run(read, LINE + 4096 * step[1])
            twin.access(0, asid, base + step[1], is_global=step[1] >= 4, leaf_pages=leaf_pages)
        elif step[0] == "asid":
            asid = step[1]
            build.epoch(WB, WB, stage1=1, asid=asid)
            map_pages()
        else:
            kind, page, named_asid = step
            build.run(blocks[kind], base + page | named_asid << 48)
            twin.drop(
                {0},
                page=base + page if kind.startswith("VA") else None,
                asid=named_asid if kind in ("VAE1", "VALE1", "ASIDE1") else None,
                globals_too=kind != "ASIDE1",
            )
    core = caches.core("stingray").override({"dtlb.entries": entries, "dtlb.sizes": "4096", "prefetch.streams": 0})
    assert caches.replay(build.trace(), core).counters["dtlb"]["misses"] == twin.misses
