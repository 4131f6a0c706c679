"""What the later rows of the history need of the old kernel: a window of TTBR1, T0SZ, stage 2, a misplaced kimage."""

import numpy as np
import pytest
from old_kernels import scenario

from emu.layout import default_layout
from emu.scenario import Stage2, prepare
from emu.spans import Span
from emu.walker import WalkAccess, translate
from traces.check import check
from traces.errors import InputError
from traces.expand import accesses
from traces.schema import Access, MemoryType, Role

HIGH = default_layout(240 * 4096, ram=Span(1 << 39, 8 << 30))
ABOVE_39_BITS = {"memory_map": HIGH.memory_map, "segments": HIGH.segments, "start": HIGH.start}


def test_v11_goes_down_to_el1_and_copies_in_straight_lines():
    guest = prepare(scenario("v11-nvhe"))
    found = guest.run()
    rows = accesses(found.trace, found.copy.first, found.copy.last + 1)
    for kind, pages in ((Access.LOAD, guest.kimage.sources), (Access.STORE, guest.kimage.destinations)):
        chosen = rows[rows["access"] == kind]
        assert set(np.diff(chosen["va"].astype(np.int64)).tolist()) == {16}
        assert np.array_equal(chosen["pa"][::256], pages)
    levels = [(int(row["from_el"]), int(row["to_el"])) for row in found.trace.exceptions]
    assert levels == [(1, 2), (1, 2)]
    assert [int(found.trace.epochs[found.copy.epoch]["el"]), found.entry.el] == [1, 2]


def test_a_hypervisor_is_below_and_its_tables_are_not_the_guests():
    for stage2, bit in ((Stage2.VM, 1), (Stage2.DC, 1 << 12)):
        guest = prepare(scenario("v4.19-el1", stage2=stage2))
        found = guest.run()
        assert (found.outcome, found.image_ok, check(found.trace)) == ("completed", True, [])
        regime = found.trace.epochs[found.copy.epoch]
        assert regime["stage2"]
        assert int(regime["hcr"]) & (1 | 1 << 12) == bit
        kind = MemoryType.NORMAL_WB if stage2 is Stage2.DC else MemoryType.DEVICE_NGNRNE
        rows = accesses(found.trace, found.copy.first, found.copy.last + 1)
        moved = rows[np.isin(rows["access"], (Access.LOAD, Access.STORE))]
        assert set(moved["memory_type"].tolist()) == {kind}
        ram = guest.scenario.memory_map.ram[-1].end
        tables = [row for row in guest.ranges if row["role"] == Role.TABLE and row["pa"] >= ram]
        assert len(tables) == 1
        reads = found.trace.walk_reads[found.trace.walk_reads["stage"] == 2]
        assert len(reads)
        assert (reads["pa"] >= tables[0]["pa"]).all()


@pytest.mark.parametrize(("case", "t0sz", "reaches"), [
    ("rfc-v1-el1", None, False), ("rfc-v1-el1", 16, True), ("v5.17-el1", None, True), ("v5.17-el1", 25, False),
    ("v11-el1", 25, False), ("v11-el1", None, True),
])  # fmt: skip
def test_an_identity_map_reaches_above_39_bits_only_with_the_t0sz_for_it(case, t0sz, reaches):
    found = prepare(scenario(case, va_bits=39, t0sz=t0sz, **ABOVE_39_BITS)).run()
    assert (found.outcome, found.image_ok) == (("completed", True) if reaches else ("hang", False))
    if not reaches:
        assert found.copy is None
        assert (found.fault.ec, found.fault.iss & 0x3C) == (0x21, 0b000100)


def test_a_kimage_in_a_destination_is_what_5_16_reads_and_5_18_has_read():
    for case, outcome in (("v5.16-nvhe", "hang"), ("v5.17-nvhe", "completed")):
        guest = prepare(scenario(case, kimage_in_destination=True))
        structure = next(int(row["pa"]) for row in guest.ranges if row["role"] == Role.KIMAGE)
        assert structure in guest.kimage.destinations
        assert structure not in guest.kimage.sources
        found = guest.run()
        assert (found.outcome, found.image_ok) == (outcome, True)
    assert prepare(scenario("v5.16-nvhe")).run().outcome == "completed"


def test_the_weeds_are_where_the_new_images_bytes_lead():
    guest = prepare(scenario("v5.16-nvhe", kimage_in_destination=True))
    structure = next(int(row["pa"]) for row in guest.ranges if row["role"] == Role.KIMAGE)
    found = guest.run()
    start = guest.memory.read_u64(structure + guest.scenario.relocate.kimage_offsets["start"])
    assert found.fault.el == 2
    assert found.fault.elr == start


@pytest.mark.parametrize(("case", "changes", "words"), [
    ("v4.19-nvhe", {"stage2": Stage2.VM}, "needs boot el1"),
    ("v4.19-nvhe", {"t0sz": 16}, "with tables rfc-v1, window or merged"),
    ("v5.17-nvhe", {"t0sz": 40}, "must be 16 to 39"),
    ("v4.19-nvhe", {"kimage_in_destination": True}, "no struct kimage"),
    ("v11-nvhe", {"kexec_vectors": None}, "kexec_vectors: missing"),
])  # fmt: skip
def test_what_contradicts_itself_is_refused(case, changes, words):
    with pytest.raises(InputError, match=words):
        scenario(case, **changes)


def test_an_image_that_covers_nothing_allocatable_has_no_place_for_kimage():
    with pytest.raises(InputError, match="covers no page that the old kernel could allocate"):
        prepare(scenario("v5.16-nvhe", pages=16, kimage_in_destination=True))


def test_the_window_maps_the_argument_page_nowhere():
    guest = prepare(scenario("v11-nvhe"))
    argument = next(int(row["pa"]) for row in guest.ranges if row["role"] == Role.ARGUMENT)
    found = guest.run()
    regime = found.trace.epochs[found.copy.epoch]
    ttbr0 = guest.table_roots["kexec-idmap"]
    assert int(regime["ttbr0"]) == ttbr0
    from emu.regime import Regime

    under = Regime(el=1, **{name: int(regime[name]) for name in ("sctlr", "tcr", "mair", "ttbr0", "ttbr1", "hcr")})
    assert translate(guest.memory, under, argument, WalkAccess.LOAD).fault is not None
