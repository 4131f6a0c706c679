"""The walker by hand: the rules that no emulator at hand is a judge of, each with the smallest table that shows it."""

import pytest

from emu import tables
from emu.kernels import walk_words
from emu.kernels.descriptors import is_invalid
from emu.memory import PhysicalMemory
from emu.regime import Regime
from emu.tables import TableBuilder
from emu.walker import DescriptorRead, FaultKind, WalkAccess, WalkFault, translate
from traces.schema import MemoryType, Shareability

RAM = 0x4000_0000
VA = 0x12_3456_7000
M, C, I, WXN = 1, 1 << 2, 1 << 12, 1 << 19  # noqa: E741
HA, HD = 1 << 39, 1 << 40
MAIR = 0xFF_44_BB_04_00
DEVICE, NGNRE, WT, NC, WB = (tables.attr_index(index) for index in range(5))
RW_LEAF = tables.AF | tables.SH_INNER | WB
S2_LEAF = tables.AF | tables.S2_READ | tables.S2_WRITE | tables.S2_NORMAL_WB
VM, PTW, DC, CD, ID = 1, 1 << 2, 1 << 12, 1 << 32, 1 << 33

pytestmark = pytest.mark.nojit


class Guest:
    """Memory with tables of the 4K granule and 48 bits, and the registers that go with them."""

    def __init__(self):
        self.memory = PhysicalMemory()
        self.memory.add(RAM, 1 << 20)
        self.next = RAM
        self.stage1 = TableBuilder(self.memory, self.allocate)

    def allocate(self, size):
        pa = -(-self.next // size) * size
        self.next = pa + size
        return pa

    def regime(self, *, el=1, sctlr=M | C | I, ips=5, tcr=0, pa_bits=44, **more):
        tcr |= 16 | 16 << 16 | 2 << 30
        tcr |= ips << 32 if el == 1 or more.get("e2h") else ips << 16
        root = self.stage1.root
        return Regime(el=el, sctlr=sctlr, tcr=tcr, mair=MAIR, ttbr0=root, ttbr1=root, pa_bits=pa_bits, **more)

    def ask(self, access=WalkAccess.LOAD, *, va=VA, privileged=True, **registers):
        return translate(self.memory, self.regime(**registers), va, access, privileged=privileged)

    def fault(self, *arguments, **registers):
        fault = self.ask(*arguments, **registers).fault
        return fault and (fault.kind, fault.level)


@pytest.fixture
def guest():
    return Guest()


def test_descriptor_reads_are_reported_in_order(guest):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF)
    found = guest.ask(va=VA + 0x123)
    assert (found.fault, found.pa, found.level, found.leaf_log2) == (None, RAM + 0x123, 3, 12)
    indices = [VA >> shift & 511 for shift in (39, 30, 21, 12)]
    pages = [guest.stage1.root, *guest.stage1.pages[1:]]
    assert found.reads == tuple(
        DescriptorRead(page + 8 * index, level, 1)
        for level, (page, index) in enumerate(zip(pages, indices, strict=True))
    )


def test_an_address_above_ps_is_an_address_size_fault_of_its_level(guest):
    guest.stage1.map(VA, 1 << 40, 4096, RW_LEAF)
    assert guest.fault(ips=3) is None
    assert guest.fault(ips=2) == (FaultKind.ADDRESS_SIZE, 3)
    assert guest.ask(ips=2).fault.fsc == 3
    assert guest.fault(ips=5, pa_bits=40) == (FaultKind.ADDRESS_SIZE, 3)
    assert guest.fault(el=2, ips=2) == (FaultKind.ADDRESS_SIZE, 3)


def test_a_table_address_above_ps_too(guest):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF)
    guest.memory.write_u64(guest.stage1.root, 1 << 41 | 3)
    assert guest.fault(ips=2) == (FaultKind.ADDRESS_SIZE, 0)
    regime = guest.regime(ips=2)
    high = Regime(el=1, sctlr=regime.sctlr, tcr=regime.tcr, ttbr0=1 << 41)
    fault = translate(guest.memory, high, VA).fault
    assert (fault.kind, fault.level) == (FaultKind.ADDRESS_SIZE, 0)


def test_with_stage_1_off_an_address_above_the_pa_size_is_an_address_size_fault(guest):
    assert guest.fault(sctlr=0, va=(1 << 44) - 8) is None
    assert guest.fault(sctlr=0, va=1 << 44) == (FaultKind.ADDRESS_SIZE, 0)
    assert guest.fault(sctlr=0, va=2**64 - 8) == (FaultKind.ADDRESS_SIZE, 0)
    assert guest.ask(sctlr=0, va=0xAB << 56 | RAM, tcr=1 << 37).pa == RAM
    assert guest.ask(sctlr=0, va=RAM).reads == ()


@pytest.mark.parametrize(("level", "is_block"), [(0, False), (1, True), (2, True)])
def test_there_are_no_blocks_at_level_0(guest, level, is_block):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF)
    at = guest.ask().reads[level].pa
    guest.memory.write_u64(at, RAM | RW_LEAF | 1)
    assert guest.fault() == (None if is_block else (FaultKind.TRANSLATION, level))


def test_a_block_at_level_3_is_reserved(guest):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF)
    guest.memory.write_u64(guest.ask().reads[3].pa, RAM | RW_LEAF | 1)
    assert guest.fault() == (FaultKind.TRANSLATION, 3)


@pytest.mark.parametrize(("granule_log2", "pa_bits", "first"), [(12, 44, 1), (14, 44, 2), (16, 44, 2), (16, 52, 1)])
def test_the_first_level_with_blocks(granule_log2, pa_bits, first):
    found = [not is_invalid(1, level, granule_log2, pa_bits) for level in range(3)]
    assert found == [level >= first for level in range(3)]


@pytest.mark.parametrize("t0sz", [0, 15, 40, 63])
def test_a_size_out_of_range_is_a_translation_fault_of_level_0(guest, t0sz):
    regime = Regime(el=1, sctlr=M, tcr=t0sz, ttbr0=guest.stage1.root)
    fault = translate(guest.memory, regime, 8).fault
    assert (fault.kind, fault.level) == (FaultKind.TRANSLATION, 0)


def test_t0sz_below_16_needs_lva_and_the_64k_granule(guest):
    builder = TableBuilder(guest.memory, lambda size: RAM + 0x80000, granule_bytes=65536, va_bits=42)
    assert builder.start_level == 2
    for lva, tg0, lowest in ((False, 1, 16), (True, 0, 16), (True, 1, 12)):
        for t0sz in range(10, 20):
            regime = Regime(el=1, sctlr=M, tcr=t0sz | tg0 << 14, ttbr0=RAM + 0x80000, pa_bits=48, lva=lva)
            walked = bool(translate(guest.memory, regime, 0).reads)
            assert walked == (t0sz >= lowest), (lva, tg0, t0sz)


def test_epd_stops_the_walk_of_its_range(guest):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF)
    assert guest.fault(tcr=1 << 7) == (FaultKind.TRANSLATION, 0)
    assert guest.fault(tcr=1 << 23) is None
    assert guest.fault(tcr=1 << 23, va=VA - (1 << 48)) == (FaultKind.TRANSLATION, 0)


def test_hardware_access_flag_and_dirty_state_are_judged_as_if_written(guest):
    guest.stage1.map(VA, RAM, 4096, (RW_LEAF & ~tables.AF) | tables.AP_READ_ONLY | tables.DBM)
    assert guest.fault() == (FaultKind.ACCESS_FLAG, 3)
    assert guest.fault(tcr=HA) is None
    assert guest.fault(WalkAccess.STORE, tcr=HA) == (FaultKind.PERMISSION, 3)
    assert guest.fault(WalkAccess.STORE, tcr=HA | HD) is None
    assert guest.memory.read_u64(guest.ask().reads[3].pa) & tables.AF == 0


def test_tables_outside_ram_are_external_aborts_on_the_walk(guest):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF)
    guest.memory.write_u64(guest.ask().reads[1].pa, 0x9000_0000 | 3)
    fault = guest.ask().fault
    assert (fault.kind, fault.level, fault.fsc) == (FaultKind.EXTERNAL, 2, 0x16)
    assert guest.ask().reads[-1].pa == 0x9000_0000 + 8 * (VA >> 21 & 511)


@pytest.mark.parametrize(
    ("access", "read_only", "el0", "faults"),
    [
        (WalkAccess.MAINTAIN, True, False, False),
        (WalkAccess.MAINTAIN_WRITE, True, False, True),
        (WalkAccess.MAINTAIN_WRITE, False, False, False),
        (WalkAccess.MAINTAIN, False, True, True),
    ],
)
def test_what_maintenance_by_va_needs(guest, access, read_only, el0, faults):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF | (tables.AP_READ_ONLY if read_only else 0))
    assert guest.fault(access, privileged=not el0) == ((FaultKind.PERMISSION, 3) if faults else None)


def test_maintenance_on_an_unmapped_address_is_a_translation_fault(guest):
    assert guest.fault(WalkAccess.MAINTAIN) == (FaultKind.TRANSLATION, 0)


def test_uxn_is_xn_at_el2_and_pxn_is_ignored_there(guest):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF | tables.UXN)
    guest.stage1.map(VA + 4096, RAM, 4096, RW_LEAF | tables.PXN)
    both = [guest.fault(WalkAccess.FETCH, va=va, el=2) for va in (VA, VA + 4096)]
    assert both == [(FaultKind.PERMISSION, 3), None]
    assert [guest.fault(WalkAccess.FETCH, va=va, el=1) for va in (VA, VA + 4096)] == both[::-1]
    assert [guest.fault(WalkAccess.FETCH, va=va, el=2, e2h=True) for va in (VA, VA + 4096)] == both[::-1]


def test_the_el2_freeze_is_0xf_with_pages_and_0xd_with_a_gigabyte_block(guest):
    for size, fsc in ((4096, 0xF), (1 << 30, 0xD)):
        fresh = Guest()
        fresh.stage1.map(RAM, RAM, size, 0x0048_0000_0000_0713 & ~3)
        regime = Regime(el=2, sctlr=0x30E5183F, tcr=0x80843510, mair=0xBBFF440C0400, ttbr0=fresh.stage1.root)
        assert translate(fresh.memory, regime, RAM, WalkAccess.FETCH).fault.fsc == fsc
        assert translate(fresh.memory, regime, RAM).memory_type == MemoryType.NORMAL_WB


@pytest.mark.parametrize(
    ("attributes", "sctlr", "data", "fetch"),
    [
        (WB, M | C | I, MemoryType.NORMAL_WB, MemoryType.NORMAL_WB),
        (WB, M | I, MemoryType.NORMAL_NC, MemoryType.NORMAL_WB),
        (WB, M | C, MemoryType.NORMAL_WB, MemoryType.NORMAL_NC),
        (WT, M | C | I, MemoryType.NORMAL_WT, MemoryType.NORMAL_WT),
        (NC, M | C | I, MemoryType.NORMAL_NC, MemoryType.NORMAL_NC),
        (DEVICE, M | I, MemoryType.DEVICE_NGNRNE, MemoryType.NORMAL_NC),
        (NGNRE, M | C | I, MemoryType.DEVICE_NGNRE, MemoryType.NORMAL_NC),
    ],
)
def test_sctlr_c_and_i_weaken_normal_memory_only(guest, attributes, sctlr, data, fetch):
    guest.stage1.map(VA, RAM, 4096, tables.AF | tables.SH_INNER | attributes)
    found = guest.ask(sctlr=sctlr)
    assert (found.memory_type, found.fetch_type) == (data, fetch)
    cached = data > MemoryType.NORMAL_NC
    assert found.shareability == (Shareability.INNER if cached else Shareability.OUTER)


def test_contiguous_and_not_global(guest):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF | tables.NG | tables.CONTIGUOUS)
    guest.stage1.map(VA + 4096, RAM, 4096, RW_LEAF)
    assert [(found.contiguous, found.is_global) for found in (guest.ask(), guest.ask(va=VA + 4096))] == [
        (True, False),
        (False, True),
    ]
    assert guest.ask(el=2).is_global


class Nested(Guest):
    """The same guest over stage 2 tables that map all its RAM to itself, 4 KiB at a time."""

    def __init__(self):
        super().__init__()
        self.stage2 = TableBuilder(self.memory, self.allocate, va_bits=40, stage=2)
        self.stage2.map(RAM, RAM, 1 << 20, S2_LEAF)
        self.stage1.map(VA, RAM + 0x5000, 4096, RW_LEAF)

    def regime(self, *, hcr=VM, **registers):
        vtcr = 24 | self.stage2.sl0 << 6 | 5 << 16
        return super().regime(hcr=hcr, vtcr=vtcr, vttbr=self.stage2.ttbr, **registers)


@pytest.fixture
def nested():
    return Nested()


def test_stage_1_tables_are_read_through_stage_2(nested):
    found = nested.ask()
    assert (found.fault, found.pa, found.ipa) == (None, RAM + 0x5000, RAM + 0x5000)
    assert [(read.stage, read.level) for read in found.reads] == [
        entry for level in range(4) for entry in ((2, 1), (2, 2), (2, 3), (1, level))
    ] + [(2, 1), (2, 2), (2, 3)]
    assert len(found.reads) <= walk_words.MOST_READS
    assert (found.leaf_log2, found.leaf2_log2) == (12, 12)


def test_a_stage_2_fault_on_a_walk_says_so_and_names_the_address(nested):
    page = nested.stage1.pages[2]
    nested.stage2.map(page, page, 4096, S2_LEAF & ~tables.S2_READ)
    assert nested.ask().fault == WalkFault(FaultKind.PERMISSION, 3, 2, on_walk=True, ipa=page + 8 * (VA >> 21 & 511))


def test_hcr_ptw_keeps_walks_out_of_device_memory(nested):
    page = nested.stage1.pages[3]
    nested.stage2.map(page, page, 4096, S2_LEAF & ~tables.S2_NORMAL_WB)
    assert nested.fault() is None
    assert nested.ask(hcr=VM | PTW).fault.fsc == 0xF


@pytest.mark.parametrize(
    ("memattr", "data"),
    [
        (tables.S2_NORMAL_WB, MemoryType.NORMAL_WB),
        (tables.S2_NORMAL_NC, MemoryType.NORMAL_NC),
        (0b1010 << 2, MemoryType.NORMAL_WT),
        (tables.S2_DEVICE_NGNRNE, MemoryType.DEVICE_NGNRNE),
    ],
)
def test_the_weaker_stage_wins(nested, memattr, data):
    nested.stage2.map(RAM + 0x5000, RAM + 0x5000, 4096, S2_LEAF & ~tables.S2_NORMAL_WB | memattr)
    assert nested.ask().memory_type == data
    nested.stage1.map(VA, RAM + 0x5000, 4096, tables.AF | NGNRE)
    assert nested.ask().memory_type == min(data, MemoryType.DEVICE_NGNRE)


def test_stage_2_alone_leaves_data_device_unless_hcr_dc(nested):
    flat = nested.ask(va=RAM + 0x5000, sctlr=0)
    assert (flat.memory_type, flat.fetch_type, flat.leaf2_log2) == (MemoryType.DEVICE_NGNRNE, MemoryType.NORMAL_NC, 12)
    cached = nested.ask(va=RAM + 0x5000, sctlr=0, hcr=DC)
    assert (cached.memory_type, cached.fetch_type) == (MemoryType.NORMAL_WB, MemoryType.NORMAL_WB)
    assert nested.ask(va=RAM + 0x5000, sctlr=M, hcr=DC).pa == RAM + 0x5000


def test_hcr_cd_and_id_take_the_caches_away(nested):
    for hcr, data, fetch in ((CD, 4, 6), (ID, 6, 4), (CD | ID, 4, 4)):
        found = nested.ask(hcr=VM | hcr)
        assert (found.memory_type, found.fetch_type) == (data, fetch)


def test_dc_ivac_needs_write_permission_at_stage_2_and_other_maintenance_none(nested):
    nested.stage2.map(RAM + 0x5000, RAM + 0x5000, 4096, S2_LEAF & ~(tables.S2_WRITE | tables.S2_READ))
    assert nested.fault(WalkAccess.MAINTAIN) is None
    assert nested.fault(WalkAccess.MAINTAIN_WRITE) == (FaultKind.PERMISSION, 3)
    assert nested.fault() == (FaultKind.PERMISSION, 3)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (FaultKind.ADDRESS_SIZE, 0),
        (FaultKind.TRANSLATION, 4),
        (FaultKind.ACCESS_FLAG, 8),
        (FaultKind.PERMISSION, 12),
        (FaultKind.EXTERNAL, 0x14),
    ],
)
def test_status_codes(kind, base):
    assert [WalkFault(kind, level, 1).fsc for level in range(4)] == list(range(base, base + 4))


def test_wxn_makes_writable_pages_never_executable(guest):
    guest.stage1.map(VA, RAM, 4096, RW_LEAF)
    guest.stage1.map(VA + 4096, RAM, 4096, RW_LEAF | tables.AP_READ_ONLY)
    for el in (1, 2):
        faults = [guest.fault(WalkAccess.FETCH, va=va, el=el, sctlr=M | WXN) for va in (VA, VA + 4096)]
        assert faults == [(FaultKind.PERMISSION, 3), None]
