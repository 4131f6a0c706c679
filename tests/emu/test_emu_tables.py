import pytest

from emu import tables
from emu.memory import PhysicalMemory
from emu.regime import Regime
from emu.tables import TableBuilder
from emu.walker import FaultKind, translate
from traces.errors import InputError
from traces.schema import MemoryType

RAM = 0x4000_0000
TABLES = 0x4080_0000
WB = tables.AF | tables.SH_INNER | tables.attr_index(1)
MAIR = 0xFF00
KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30


class Pool:
    """Hands out table memory, dirty on purpose: the builder must zero it."""

    def __init__(self):
        self.memory = PhysicalMemory()
        self.memory.add(RAM, 16 * MiB)
        self.memory.write(TABLES, b"\xff" * (8 * MiB))
        self.next = TABLES

    def allocate(self, size):
        pa = -(-self.next // size) * size
        self.next = pa + size
        return pa


@pytest.fixture
def pool():
    return Pool()


def regime(builder, **more):
    tg0 = {4096: 0, 65536: 1, 16384: 2}[builder.granule_bytes]
    tg1 = {16384: 1, 4096: 2, 65536: 3}[builder.granule_bytes]
    tsz = 64 - builder.va_bits
    ips = 6 if builder.pa_bits == 52 else 5
    tcr = tsz | tsz << 16 | tg0 << 14 | tg1 << 30 | ips << 32
    return Regime(el=1, sctlr=5, tcr=tcr, mair=MAIR, ttbr0=builder.ttbr, ttbr1=builder.ttbr, pa_bits=48, **more)


@pytest.mark.parametrize(
    ("granule", "va_bits", "start", "reads"),
    [
        (4096, 48, 0, 4),
        (4096, 39, 1, 3),
        (4096, 42, 0, 4),
        (16384, 48, 0, 4),
        (16384, 47, 1, 3),
        (65536, 48, 1, 3),
        (65536, 42, 2, 2),
        (65536, 29, 3, 1),
    ],
)
def test_a_page_is_found_by_the_walker_at_every_granule_and_size(pool, granule, va_bits, start, reads):
    builder = TableBuilder(pool.memory, pool.allocate, granule_bytes=granule, va_bits=va_bits)
    va = (1 << va_bits) - 3 * granule
    builder.map(va, RAM + granule, granule, WB)
    found = translate(pool.memory, regime(builder), va + 12)
    assert (found.fault, found.pa, found.memory_type) == (None, RAM + granule + 12, MemoryType.NORMAL_WB)
    assert [read.level for read in found.reads] == list(range(start, 4))
    assert len(builder.pages) == reads
    assert builder.start_level == start
    missing = translate(pool.memory, regime(builder), va + granule)
    assert (missing.fault.kind, missing.fault.level) == (FaultKind.TRANSLATION, 3)


def test_52_bit_addresses_are_spelt_in_the_low_bits(pool):
    builder = TableBuilder(pool.memory, pool.allocate, granule_bytes=65536, va_bits=52, pa_bits=52)
    pa = 0xA_1234_5678_0000
    builder.map(0x9_8765_4321_0000, pa, 65536, WB)
    tcr = 12 | 16 << 16 | 1 << 14 | 3 << 30 | 6 << 32
    wide = Regime(el=1, sctlr=5, tcr=tcr, mair=MAIR, ttbr0=builder.ttbr, pa_bits=52, lva=True)
    assert translate(pool.memory, wide, 0x9_8765_4321_0042).pa == pa + 0x42
    assert builder.lookup(0x9_8765_4321_0000).value >> 12 & 15 == 0xA


def test_the_upper_range_is_indexed_by_the_same_bits(pool):
    builder = TableBuilder(pool.memory, pool.allocate, va_bits=39)
    va = 2**64 - (1 << 39) + 5 * MiB
    builder.map(va, RAM, 4 * KiB, WB)
    assert translate(pool.memory, regime(builder), va).pa == RAM


def test_the_largest_leaf_that_fits_is_used(pool):
    builder = TableBuilder(pool.memory, pool.allocate)
    builder.map(2 * MiB - 4 * KiB, 6 * MiB - 4 * KiB, GiB, WB)
    levels = [
        builder.lookup(va).leaf_log2 for va in (2 * MiB - 4 * KiB, 2 * MiB, GiB - 2 * MiB, GiB, GiB + 2 * MiB - 8192)
    ]
    assert levels == [12, 21, 21, 12, 12]  # the last 2 MiB are not whole
    assert translate(pool.memory, regime(builder), GiB + 5).pa == GiB + 4 * MiB + 5


def test_a_gigabyte_block_and_its_limit(pool):
    builder = TableBuilder(pool.memory, pool.allocate)
    builder.map(GiB, 2 * GiB, GiB, WB)
    builder.map(3 * GiB, 4 * GiB, GiB, WB, largest_leaf_bytes=2 * MiB)
    assert builder.lookup(GiB).leaf_log2 == 30
    assert builder.lookup(3 * GiB).leaf_log2 == 21
    assert builder.lookup(4 * GiB - 1).value & (1 << 48) - 1 == 5 * GiB - 2 * MiB | WB | 1


def test_mapping_the_same_again_inside_a_block_is_accepted_and_anything_else_refused(pool):
    builder = TableBuilder(pool.memory, pool.allocate)
    builder.map(GiB, GiB, GiB, WB)
    before = builder.pages
    builder.map(GiB + 4 * KiB, GiB + 4 * KiB, 8 * KiB, WB)
    assert builder.pages == before
    with pytest.raises(InputError, match="another block"):
        builder.map(GiB + 4 * KiB, GiB, 4 * KiB, WB)
    with pytest.raises(InputError, match="another block"):
        builder.map(GiB + 4 * KiB, GiB + 4 * KiB, 4 * KiB, WB | tables.PXN)


def test_leaves_go_round_a_table_that_is_there(pool):
    builder = TableBuilder(pool.memory, pool.allocate)
    builder.map(4 * MiB + 8 * KiB, RAM, 4 * KiB, WB)
    builder.map(0, 0, 8 * MiB, WB | tables.UXN)
    assert [builder.lookup(va).leaf_log2 for va in (0, 2 * MiB, 4 * MiB, 6 * MiB)] == [21, 21, 12, 21]
    assert builder.lookup(4 * MiB + 8 * KiB).value & (1 << 48) - 1 == 4 * MiB + 8 * KiB | WB | 3


def test_table_attributes_reach_the_walk(pool):
    builder = TableBuilder(pool.memory, pool.allocate)
    builder.map(0, RAM, 4 * KiB, WB, table_attributes=tables.TABLE_AP_READ_ONLY)
    assert builder.lookup(0).value >> 62 == 0
    assert pool.memory.read_u64(builder.root) >> 62 == 1


@pytest.mark.parametrize(
    ("granule", "ipa_bits", "start", "tables_at_first", "sl0"),
    [(4096, 40, 1, 2, 1), (4096, 44, 0, 1, 2), (4096, 32, 2, 4, 0), (65536, 40, 2, 1, 1), (16384, 40, 2, 16, 1)],
)
def test_stage_2_starts_at_concatenated_tables(pool, granule, ipa_bits, start, tables_at_first, sl0):
    builder = TableBuilder(pool.memory, pool.allocate, granule_bytes=granule, va_bits=ipa_bits, stage=2)
    assert (builder.start_level, len(builder.pages), builder.sl0) == (start, tables_at_first, sl0)
    ipa = (1 << ipa_bits) - granule
    builder.map(ipa, RAM, granule, tables.AF | tables.S2_NORMAL_WB | tables.S2_READ)
    tg0 = {4096: 0, 65536: 1, 16384: 2}[granule]
    vtcr = 64 - ipa_bits | sl0 << 6 | tg0 << 14 | 5 << 16
    guest = Regime(el=1, hcr=1, vtcr=vtcr, vttbr=builder.ttbr, pa_bits=48)
    found = translate(pool.memory, guest, ipa + 8)
    assert (found.fault, found.pa, found.ipa) == (None, RAM + 8, ipa + 8)
    assert [(read.level, read.stage) for read in found.reads] == [(level, 2) for level in range(start, 4)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"granule_bytes": 8192},
        {"va_bits": 24},
        {"va_bits": 52},
        {"pa_bits": 52},
        {"va_bits": 48, "start_level": 1},
    ],
)
def test_impossible_tables_are_refused(pool, wrong):
    with pytest.raises(InputError, match="tables:"):
        TableBuilder(pool.memory, pool.allocate, **wrong)


@pytest.mark.parametrize(
    ("va", "pa", "size"),
    [
        (1, 0, 4096),
        (0, 0, 0),
        (0, 0, -4096),
        (1 << 48, 0, 4096),
        (2**64 - (1 << 48) - 4096, 0, 4096),
        (0, (1 << 48) - 4096, 8192),
    ],
)
def test_impossible_mappings_are_refused(pool, va, pa, size):
    builder = TableBuilder(pool.memory, pool.allocate)
    with pytest.raises(InputError, match="tables:"):
        builder.map(va, pa, size, WB)
