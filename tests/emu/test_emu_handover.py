"""What the old kernel leaves: tables of each style by our walker, registers, and structures."""

from dataclasses import replace

import numpy as np
import pytest
from old_kernels import MAIR_V4_19, MAIR_V5_17, scenario

from emu.fields import fields
from emu.guest import Guest
from emu.kernel_registers import LINUX_WALKS, tcr_el1, write_back_index
from emu.kernel_tables import idmap_bits, kernel_va
from emu.kimage import read_list
from emu.layout import default_layout
from emu.memory_map import MemoryMap
from emu.regime import Regime
from emu.scenario import Boot, prepare
from emu.segments import Segment
from emu.spans import Span
from emu.walker import FaultKind, WalkAccess, translate
from traces.errors import InputError
from traces.schema import MemoryType, Role


def regime(guest: Guest, **changes: int) -> Regime:
    """The regime that the old kernel runs under when it hands over."""
    level = "EL2" if guest.scenario.boot is Boot.VHE else "EL1"
    read = guest.handover.sysreg
    names = ("sctlr", "tcr", "mair", "ttbr0", "ttbr1", "vbar")
    values = {name: read[f"{name.upper()}_{level}"] for name in names}
    el = guest.handover.el
    return Regime(**({"el": el, "e2h": el == 2, "hcr": read["HCR_EL2"]} | values | changes))


def spans(guest: Guest, role: Role) -> list[Span]:
    return [Span(int(row["pa"]), int(row["size"])) for row in guest.ranges if row["role"] == role]


def walk(guest: Guest, va: int, access: WalkAccess = WalkAccess.LOAD, **changes: int):
    return translate(guest.memory, regime(guest, **changes), va, access)


def test_registers_are_those_that_real_kernels_print():
    assert tcr_el1(va_bits=48, granule_bytes=4096, pa_bits=44) == 0x34_B550_3510
    assert write_back_index(MAIR_V4_19) == 4
    assert write_back_index(MAIR_V5_17) == 0
    with pytest.raises(InputError, match="no byte 0xff"):
        write_back_index(0x44)


@pytest.mark.parametrize("case", ["v5.17-el1", "v5.17-vhe", "rfc-v2-el1", "rfc-v2-nvhe-xn-clear", "v11-nvhe"])
@pytest.mark.parametrize(
    ("attributes", "walked"),
    [
        ({}, MemoryType.NORMAL_WB),
        ({"irgn": 0}, MemoryType.NORMAL_NC),
        ({"orgn": 0}, MemoryType.NORMAL_NC),
        ({"irgn": 2}, MemoryType.NORMAL_WT),
        ({"irgn": 3, "orgn": 3, "sh": 2}, MemoryType.NORMAL_WB),
    ],
)
def test_every_copy_that_translates_takes_over_the_kernels_walk_attributes(case, attributes, walked):
    run = prepare(scenario(case, 4, walks=replace(LINUX_WALKS, **attributes))).run()
    assert (run.outcome, run.image_ok) == ("completed", True)
    copy = run.trace.epochs[run.copy.epoch]
    tcr = fields("TCR_EL2" if copy["el"] == 2 else "TCR_EL1", int(copy["tcr"]), e2h=bool(copy["e2h"]))
    wanted = {"irgn": 1, "orgn": 1, "sh": 3} | attributes
    digits = "01" if "IRGN1" in tcr else "0"
    assert all(tcr[f"{name.upper()}{digit}"] == value for name, value in wanted.items() for digit in digits)
    assert copy["walk_type"] == walked


@pytest.mark.parametrize(("field", "value"), [("irgn", 4), ("orgn", -1), ("sh", 1)])
def test_walk_attributes_are_checked(field, value):
    with pytest.raises(InputError, match=rf"walks\.{field}: {value} must be one of"):
        scenario("v5.17-el1", walks=replace(LINUX_WALKS, **{field: value}))


@pytest.mark.parametrize("boot", Boot)
def test_the_soft_restart_is_entered_translated_through_the_kernels_idmap(boot):
    guest = prepare(scenario(f"v4.19-{boot}"))
    handover = guest.handover
    fetched = walk(guest, handover.pc, WalkAccess.FETCH)
    assert (fetched.fault, fetched.pa, fetched.fetch_type) == (None, handover.pc, MemoryType.NORMAL_WB)
    assert fetched.leaf_log2 == 21
    assert handover.x[0] == (boot is Boot.NVHE)
    assert guest.memory.read(handover.x[1], 16) == guest.scenario.relocate.code[:16]
    assert handover.x[2:5] == (guest.kimage.head, guest.scenario.entry_pa, guest.scenario.dtb_pa)
    assert handover.sysreg["VBAR_EL2"] % 2048 == 0
    if boot is Boot.NVHE:
        assert guest.memory.read(handover.sysreg["VBAR_EL2"], 2048) == guest.scenario.hyp_stub.code[:2048]
    assert walk(guest, handover.sp - 16, WalkAccess.STORE).pa == spans(guest, Role.STACK)[0].end - 16
    vectors = walk(guest, handover.sysreg["VBAR_EL2" if boot is Boot.VHE else "VBAR_EL1"], WalkAccess.FETCH)
    assert vectors.fault is None
    assert vectors.pa in [span.pa for span in spans(guest, Role.VECTORS)]


def test_the_list_in_memory_is_the_one_described():
    guest = prepare(scenario("v4.19-nvhe", pages=1200))
    found = read_list(guest.memory, guest.kimage.head, ram=guest.scenario.memory_map.ram)
    assert np.array_equal(found.sources, guest.kimage.sources)
    assert np.array_equal(found.destinations, guest.image_pages)
    assert found.list_pages == guest.kimage.list_pages
    assert len(found.list_pages) == 3


@pytest.mark.parametrize("boot", Boot)
def test_rfc_v1_maps_all_of_memory_in_2_mib_blocks_nomap_and_beyond(boot):
    ram, nomap = Span(0x8000_0000, 255 << 20), Span(0x9800_0000, 1 << 20)
    layout = default_layout(240 * 4096, ram=Span(0x8000_0000, 256 << 20))
    memory_map = MemoryMap(
        ram=(ram,), nomap=(nomap,), kernel_code=layout.memory_map.kernel_code, kernel_data=layout.memory_map.kernel_data
    )
    guest = prepare(scenario(f"rfc-v1-{boot}", memory_map=memory_map))
    for pa in (0x8000_0000, guest.handover.pc, nomap.pa, ram.end - 1, ram.end):
        found = walk(guest, pa, WalkAccess.STORE)
        assert (found.fault, found.pa, found.leaf_log2, found.memory_type) == (None, pa, 21, MemoryType.NORMAL_WB)
        assert walk(guest, pa, WalkAccess.FETCH).fault is None
    assert walk(guest, 0x9000_0000).fault.kind is FaultKind.TRANSLATION
    assert walk(guest, ram.pa - 1).fault.kind is FaultKind.TRANSLATION
    value = guest.memory.read_u64(walk(guest, 0x8000_0000).reads[-1].pa)
    assert value == 0x8000_0711
    assert walk(guest, guest.handover.sp - 8).fault is None, "TTBR1 stays live"


def test_rfc_v2_maps_exactly_what_the_copy_needs():
    guest = prepare(scenario("rfc-v2-el1"))
    argument = spans(guest, Role.ARGUMENT)[0]
    code = spans(guest, Role.CODE)[0]
    table = guest.memory.read_u64(argument.pa + guest.scenario.relocate.kimage_offsets["ttbr0"])
    mapped = {argument.pa, code.pa}
    mapped |= set(guest.kimage.sources.tolist()) | set(guest.kimage.list_pages) | set(guest.image_pages.tolist())
    for pa in sorted(mapped):
        found = walk(guest, pa, WalkAccess.STORE, ttbr0=table)
        assert (found.fault, found.pa, found.leaf_log2, found.memory_type) == (None, pa, 12, MemoryType.NORMAL_WB)
        assert (walk(guest, pa, WalkAccess.FETCH, ttbr0=table).fault is None) == (pa == code.pa)
    around = {pa + step for pa in mapped for step in (-4096, 4096)} - mapped
    assert len(around) > 50
    for pa in around:
        assert walk(guest, pa, ttbr0=table).fault.kind is FaultKind.TRANSLATION
    leaf = guest.memory.read_u64(walk(guest, code.pa, ttbr0=table).reads[-1].pa)
    assert leaf == 0x0048_0000_0000_0713 | code.pa
    leaf = guest.memory.read_u64(walk(guest, argument.pa, ttbr0=table).reads[-1].pa)
    assert leaf == 0x0068_0000_0000_0713 | argument.pa


def test_clear_xn_makes_the_code_page_executable_at_el2():
    for case, executable in (("rfc-v2-nvhe", False), ("rfc-v2-nvhe-xn-clear", True)):
        guest = prepare(scenario(case))
        code = spans(guest, Role.CODE)[0]
        table = guest.memory.read_u64(spans(guest, Role.ARGUMENT)[0].pa + 48)
        at_el2 = Regime(el=2, sctlr=0x30E5_183F, tcr=0x8084_3510, mair=MAIR_V4_19, ttbr0=table, hcr=1 << 31)
        fault = translate(guest.memory, at_el2, code.pa, WalkAccess.FETCH).fault
        assert (fault is None) == executable


@pytest.mark.parametrize(
    ("leaf_bytes", "leaf_log2"), [(None, (21, 30)), (4096, (12,)), (2 << 20, (21,)), (1 << 30, (21, 30))]
)
@pytest.mark.parametrize("boot", Boot)
def test_the_merged_kernel_maps_one_page_below_and_a_writable_linear_map_above(boot, leaf_bytes, leaf_log2):
    small = default_layout(240 * 4096, ram=Span(0x8000_0000, 2 << 30))
    guest = prepare(scenario(f"v5.17-{boot}", memory_map=small.memory_map, map_leaf_bytes=leaf_bytes))
    code, handover = spans(guest, Role.CODE)[0], guest.handover
    fetched = walk(guest, handover.pc, WalkAccess.FETCH)
    assert (fetched.fault, fetched.pa, fetched.leaf_log2) == (None, code.pa, 12)
    assert guest.memory.read_u64(fetched.reads[-1].pa) == 0x0048_0000_0000_0703 | code.pa
    assert walk(guest, code.pa + 4096).fault.kind is FaultKind.TRANSLATION
    offsets = guest.scenario.relocate.kimage_offsets
    structure = walk(guest, handover.x[0])
    assert structure.pa == spans(guest, Role.KIMAGE)[0].pa
    read = {name: guest.memory.read_u64(structure.pa + offset) for name, offset in offsets.items()}
    assert read["head"] == guest.kimage.head
    assert read["start"] == guest.scenario.entry_pa
    assert read["dtb"] == guest.scenario.dtb_pa
    assert read["t0sz"] == 16 == fields("TCR_EL1", regime(guest).tcr)["T0SZ"]
    assert read["ttbr0"] == regime(guest).ttbr0
    assert guest.memory.read(read["zero_page"], 4096) == bytes(4096)
    assert (read["el2_vectors"] != 0) == (boot is Boot.NVHE)
    if boot is Boot.NVHE:
        assert handover.sysreg["VBAR_EL2"] == read["el2_vectors"]
        assert guest.memory.read(read["el2_vectors"], 2048) == guest.scenario.kexec_vectors.code[:2048]
    sizes = set()
    kernel = guest.scenario.memory_map.kernel_code
    for pa in (0x8000_0000, kernel.pa, kernel.end - 1, guest.image_pages[-1], 0x9000_0000, 0xC000_0000, 0xFFFF_FFFF):
        va = (int(pa) - read["phys_offset"]) % (1 << 64)
        copied = walk(guest, va, WalkAccess.STORE, ttbr1=read["ttbr1"])
        assert (copied.fault, copied.pa, copied.memory_type) == (None, pa, MemoryType.NORMAL_WB)
        assert walk(guest, va, WalkAccess.FETCH, ttbr1=read["ttbr1"]).fault.kind is FaultKind.PERMISSION
        sizes.add(copied.leaf_log2)
    assert set(leaf_log2) <= sizes | {12}
    assert max(sizes) == max(leaf_log2)
    live = walk(guest, (kernel.pa - read["phys_offset"]) % (1 << 64), WalkAccess.STORE)
    assert live.fault.kind is FaultKind.PERMISSION, "the running kernel's own text is read-only"


def test_a_field_that_the_old_kernel_does_not_know_is_refused():
    unknown = scenario("v5.17-nvhe")
    relocate = replace(unknown.relocate, kimage_offsets={**unknown.relocate.kimage_offsets, "colour": 720})
    with pytest.raises(InputError, match="reads the field 'colour'"):
        prepare(replace(unknown, relocate=relocate))


def test_code_that_does_not_fit_is_refused():
    plain = scenario("v4.19-nvhe")
    with pytest.raises(InputError, match="do not fit a control page of 4096"):
        prepare(replace(plain, relocate=replace(plain.relocate, code=bytes(4100))))
    with pytest.raises(InputError, match="do not fit the 16384 of the idmap text"):
        prepare(replace(plain, soft_restart=replace(plain.soft_restart, code=bytes(16388))))
    with pytest.raises(InputError, match="do not fit the 16384 kept for it"):
        prepare(replace(plain, hyp_stub=replace(plain.hyp_stub, code=bytes(16388))))


def test_va_layouts():
    layout = default_layout(240 * 4096)
    image = layout.memory_map.kernel
    old = kernel_va(layout.memory_map, image, 48, flipped=False)
    assert hex(old.linear(0x8000_0000)) == "0xffff800000000000"
    assert hex(old.in_image(image.pa)) == "0xffff000008080000"
    new = kernel_va(layout.memory_map, image, 48, flipped=True)
    assert hex(new.linear(0x8000_0000)) == "0xffff000000000000"
    assert hex(new.in_image(image.pa)) == "0xffff800008080000"
    far = MemoryMap(ram=(Span(0x8000_0000, 1 << 20), Span(1 << 40, 1 << 20)))
    with pytest.raises(InputError, match="does not fit the linear map of 39 bits"):
        kernel_va(far, image, 39, flipped=True)
    assert idmap_bits(39, Span(1 << 39, 4096)) == 48
    assert idmap_bits(39, Span((1 << 39) - 4096, 4096)) == 39


def test_the_dtb_is_passed_unless_a_purgatory_sees_to_it():
    case = scenario("v4.19-nvhe")
    assert case.dtb_pa == next(each.pa for each in case.segments if each.name == "dtb")
    purgatory = next(each for each in case.segments if each.name == "purgatory")
    assert replace(case, start=purgatory.pa + 0x690).dtb_pa == 0


BAD = [
    ({"boot": Boot.NVHE, "hyp_stub": None}, "hyp_stub: missing"),
    ({"granule_bytes": 8192}, "granule_bytes: 8192 must be one of"),
    ({"granule_bytes": 16384}, "relocate: relocate-v4.19 has pages of 4096 bytes"),
    ({"va_bits": 40}, "va_bits: 40 must be one of"),
    ({"va_bits": 52}, "va_bits: 52 needs a granule of 65536"),
    ({"map_leaf_bytes": 8192}, "map_leaf_bytes: 8192 must be one of"),
    ({"mair": -1}, "mair"),
    ({"mair": 0x44}, "mair: 0x0000000000000044 has no byte 0xff"),
    ({"copy_sctlr_c": 2}, "copy_sctlr_c: 2 must be one of None, 0, 1"),
    ({"sources": "random"}, "sources: 'random' must be one of"),
    ({"self_copies": 241}, "self_copies: 241 must lie between"),
    ({"self_copies": -1}, "self_copies: -1 must lie between"),
    ({"instruction_budget": 0}, "instruction_budget: 0 must be at least 1"),
    ({"start": 0x7000_0000}, "start: 0x70000000 must lie in a segment"),
    ({"start": 0x8008_0002}, "start: 0x80080002 must be a multiple of 4"),
    ({"segments": ()}, "segments: no segment"),
    ({"tables": "merged"}, "tables: 'merged' must be 'none' or 'rfc-v1'"),
    ({"memory_map": MemoryMap(ram=(Span(0x8000_0000, 1 << 30),))}, "kernel code and kernel data are missing"),
    ({"kdump": True}, "kdump: a crash kernel lies where it will run"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_scenarios_that_contradict_themselves_are_refused_in_one_line(changes, message):
    from emu.scenario import TableStyle

    if "tables" in changes:
        changes = {"tables": TableStyle(changes["tables"])}
    with pytest.raises(InputError) as refusal:
        prepare(replace(scenario("v4.19-nvhe"), **changes))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_merged_routine_needs_its_vectors_and_tables():
    merged = scenario("v5.17-nvhe")
    with pytest.raises(InputError, match="kexec_vectors: missing"):
        replace(merged, kexec_vectors=None)
    with pytest.raises(InputError, match="tables: 'none' must be 'merged'"):
        scenario("v5.17-nvhe", tables=scenario("v4.19-nvhe").tables)
    with pytest.raises(InputError, match="soft_restart: missing"):
        replace(scenario("kdump-v5.17"), soft_restart=None)


def test_memory_that_is_too_small_is_refused():
    tight = default_layout(240 * 4096, ram=Span(0x8000_0000, 3 << 20)).memory_map
    with pytest.raises(InputError, match="memory map: "):
        prepare(
            scenario(
                "v4.19-nvhe",
                pages=240,
                memory_map=tight,
                segments=(Segment(pa=0x8008_0000, size=500 * 4096, memsz=500 * 4096, name="kernel"),),
                start=None,
            )
        )


def test_ram_above_the_pe_is_refused():
    base = default_layout(240 * 4096, ram=Span((1 << 44) - (16 << 20), 32 << 20))
    with pytest.raises(InputError, match="44-bit"):
        prepare(scenario("v4.19-nvhe", memory_map=base.memory_map, segments=base.segments, start=None))
