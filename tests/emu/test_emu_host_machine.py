"""Regimes that only the host can translate, in a run: their faults, and the changes to and from Unicorn's own MMU."""

import numpy as np
import pytest
from guests import (
    CODE,
    DATA,
    END,
    MAIR,
    MORE,
    NORMAL,
    RAM,
    RAM_BYTES,
    SCTLR_OFF,
    SCTLR_ON,
    TCR_EL1,
    VECTORS,
    Guest,
    touched,
    touched_natively,
)

from emu.cpu import Cpu
from emu.host_translation import HostTranslation
from emu.memory import PhysicalMemory
from emu.tables import AF, AP_EL0, AP_READ_ONLY, PXN, S2_NORMAL_WB, S2_READ, S2_WRITE, SH_INNER, TableBuilder
from traces.errors import InputError
from traces.schema import EpochCause

TCR_52 = TCR_EL1 & ~(63 | 63 << 16 | 3 << 14 | 3 << 30 | 7 << 32) | 12 | 12 << 16 | 1 << 14 | 3 << 30 | 6 << 32
"""Both ranges of 52 bits, 64K granules, IPS = 52 bits."""
FAR_DATA = 1 << 51 | DATA
"""VA of DATA that needs the 52nd bit."""
UPPER = (1 << 64) - (1 << 52)


def wide_tables(guest: Guest) -> TableBuilder:
    """Identity, and DATA once more at FAR_DATA."""
    tables = guest.tables(va_bits=52, granule_bytes=65536, pa_bits=52)
    tables.map(RAM, RAM, RAM_BYTES, NORMAL, 65536)
    tables.map(FAR_DATA, DATA, 0x10000, NORMAL, 65536)
    return tables


def translate(guest: Guest, tables: TableBuilder) -> None:
    """Turn the EL1&0 MMU on, with 52 bits; no table above."""
    sysreg = guest.cpu.sysreg
    sysreg["MAIR_EL1"], sysreg["TCR_EL1"], sysreg["TTBR0_EL1"] = MAIR, TCR_52, tables.ttbr
    sysreg["SCTLR_EL1"] = SCTLR_ON
    sysreg["VBAR_EL1"] = VECTORS


def wide(source: str, prepare=lambda guest, tables: None, **options) -> Guest:
    """Make a guest that begins under 52 bits."""

    def begin(guest: Guest) -> None:
        tables = wide_tables(guest)
        translate(guest, tables)
        prepare(guest, tables)

    return Guest(source, prepare=begin, model="max", lva=True, **options)


@pytest.fixture
def served(monkeypatch) -> list[bool]:
    """Who served each epoch: True for the host."""
    seen: list[bool] = []
    serve = HostTranslation.serve

    def noted(self: HostTranslation, regime: object) -> None:
        serve(self, regime)
        seen.append(self.active)

    monkeypatch.setattr(HostTranslation, "serve", noted)
    return seen


def put(register: str, value: int) -> str:
    parts = [f"movz {register}, #{value & 0xFFFF:#x}"]
    parts += [f"movk {register}, #{value >> at & 0xFFFF:#x}, lsl #{at}" for at in (16, 32, 48) if value >> at & 0xFFFF]
    return "\n".join(parts) + "\n"


@pytest.mark.parametrize("pa_bits", [44, 52])
def test_52_bits_reach_their_memory(pa_bits, served):
    source = put("x1", FAR_DATA) + "mov x2, #77\nstr x2, [x1, #8]\nldp x3, x4, [x1]\nbr x30\n"
    guest = wide(source, pa_bits=pa_bits)
    result = guest.run()
    assert (result.outcome, result.fault) == ("completed", None)
    assert guest.memory.read_u64(DATA + 8) == 77 == guest.cpu.x[4]
    assert served == [True]
    # Unicorn's memory hooks name physical addresses, whoever translates.
    assert touched(result.trace) == touched_natively(guest)
    (row,) = [row for row in result.trace.translations if int(row["page"]) == FAR_DATA >> 12]
    reads = result.trace.walk_reads[int(row["walk_first"]) :][: int(row["walk_count"])]
    assert reads["level"].tolist() == [1, 2, 3]


def holes(guest: Guest, tables: TableBuilder) -> None:
    """Addresses that some accesses fault at."""
    for va, attributes in ((1 << 50, NORMAL | AP_READ_ONLY | PXN), (1 << 50 | 1 << 17, NORMAL & ~AF)):
        tables.map(va, MORE, 0x10000, attributes, 65536)


READ_ONLY, NO_AF = 1 << 50, 1 << 50 | 1 << 17
FAULTS = {
    # name: (VA, instruction, data fault status, WnR)
    "level 1": (1 << 49, "ldr x2, [x1]", 0b000101, 0),
    "level 2": (1 << 50 | 1 << 40, "str x2, [x1]", 0b000110, 1),
    "level 3": (1 << 50 | 1 << 16, "ldr x2, [x1]", 0b000111, 0),
    "out of range": (1 << 52, "str x2, [x1]", 0b000100, 1),
    "no table above": (UPPER, "ldr x2, [x1]", 0b010101, 0),  # TTBR1 = 0, where no memory is
    "read-only": (READ_ONLY, "str x2, [x1]", 0b001111, 1),
    "no access flag": (NO_AF, "ldr x2, [x1]", 0b001011, 0),
    "dc ivac": (READ_ONLY, "dc ivac, x1", 0b001111 | 1 << 8, 1),
    "dc zva": (READ_ONLY, "dc zva, x1", 0b001111, 1),
    "pair across pages": (READ_ONLY + 0x10000 - 8, "ldp x2, x3, [x1]", 0b000111, 0),
}


@pytest.mark.parametrize("name", FAULTS)
def test_data_aborts(name):
    va, instruction, status, write = FAULTS[name]
    handler = "mrs x8, esr_el1\nmrs x9, far_el1\nmrs x10, elr_el1\nadd x10, x10, #4\nmsr elr_el1, x10\neret\n"

    def prepare(guest: Guest, tables: TableBuilder) -> None:
        holes(guest, tables)
        guest.place(VECTORS + 0x200, handler)

    source = put("x1", va) + f"nop\nculprit: {instruction}\nmov x5, #9\nbr x30\n"
    guest = wide(source, prepare)
    result = guest.run()
    assert result.outcome == "completed"
    assert guest.cpu.x[8] == 0x25 << 26 | 1 << 25 | write << 6 | status
    assert guest.cpu.x[9] == (va + 8 if name == "pair across pages" else va)
    assert guest.cpu.x[10] == guest.symbols["culprit"] + 4
    assert guest.cpu.x[5] == 9
    assert touched(result.trace) == touched_natively(guest) or name == "pair across pages"


@pytest.mark.parametrize(
    ("va", "status"), [(1 << 49, 0b000101), (1 << 50, 0b001111), (1 << 52, 0b000100), (1 << 50 | 1 << 17, 0b001011)]
)
def test_instruction_aborts(va, status):
    def prepare(guest: Guest, tables: TableBuilder) -> None:
        holes(guest, tables)
        guest.place(VECTORS + 0x200, "mrs x8, esr_el1\nmrs x9, far_el1\nmrs x10, elr_el1\nbr x30\n")

    guest = wide(put("x1", va) + "br x1\n", prepare)
    result = guest.run()
    assert result.outcome == "completed"
    assert list(guest.cpu.x[8:11]) == [0x21 << 26 | 1 << 25 | status, va, va]


def test_no_memory_behind_a_translation_is_an_external_abort():
    def prepare(guest: Guest, tables: TableBuilder) -> None:
        tables.map(1 << 50, 1 << 51, 0x10000, NORMAL, 65536)
        guest.place(VECTORS + 0x200, "mrs x8, esr_el1\nmrs x9, far_el1\nbr x30\n")

    for source, esr in (
        ("ldr x2, [x1, #8]\n", 0x25 << 26 | 1 << 25 | 0b010000),
        ("br x1\n", 0x21 << 26 | 1 << 25 | 16),
    ):
        guest = wide(put("x1", 1 << 50) + source, prepare, pa_bits=52)
        assert guest.run().outcome == "completed"
        assert guest.cpu.x[8] == esr
        assert guest.cpu.x[9] in (1 << 50, (1 << 50) + 8)


ON_AND_OFF = (
    put("x5", FAR_DATA)
    + """
    msr mair_el1, x20
    msr tcr_el1, x21
    msr ttbr0_el1, x22
    isb
    mov x1, #DATA
    mov x2, #5
    str x2, [x1]
    msr sctlr_el1, x23
    isb
    ldr x3, [x5]
    str x3, [x5, #8]
    msr sctlr_el1, x24
    isb
    ldr x4, [x1, #8]
    br x30
"""
)


def off(guest: Guest) -> None:
    cpu = guest.cpu
    cpu.x[20], cpu.x[21], cpu.x[22] = MAIR, TCR_52, wide_tables(guest).ttbr
    cpu.x[23], cpu.x[24] = SCTLR_ON, SCTLR_OFF
    cpu.sysreg["SCTLR_EL1"] = SCTLR_OFF


def test_between_unicorns_mmu_and_ours(served):
    """PAs of 44 bits, so that what is not translated is Unicorn's to serve."""
    guest = Guest(ON_AND_OFF, prepare=off, model="max", lva=True)
    result = guest.run()
    assert (result.outcome, result.fault) == ("completed", None)
    assert (guest.cpu.x[3], guest.cpu.x[4]) == (5, 5)
    assert [bool(row["stage1"]) for row in result.trace.epochs] == [False] * 4 + [True, False]
    assert served == [False] * 4 + [True, False]
    assert touched(result.trace) == touched_natively(guest)


def test_down_from_el2_and_back_by_an_abort_and_a_call(served):
    """Each change of level is one of the MMU: EL2's is off."""
    source = (
        put("x5", FAR_DATA)
        + """
        adr x1, lower
        msr elr_el2, x1
        mov x2, #0x3c5
        msr spsr_el2, x2
        eret
        lower: ldr x3, [x5]
        hvc #7
        mov x1, #DATA
        str x3, [x1, #16]
        hvc #8
    """
    )

    def prepare(guest: Guest) -> None:
        off(guest)
        translate(guest, wide_tables(guest))
        guest.words(DATA, 0x1234)
        guest.cpu.sysreg["VBAR_EL2"] = VECTORS
        handler = "mrs x8, esr_el2\nadd x9, x9, #1\ncmp x9, #2\nb.eq last\neret\n"
        guest.place(VECTORS + 0x400, handler + "last: " + put("x10", DATA) + "ldr x11, [x10, #16]\nbr x30\n")

    guest = Guest(source, prepare=prepare, model="max", lva=True, el=2)
    result = guest.run()
    assert (result.outcome, result.fault) == ("completed", None)
    assert guest.cpu.x[11] == 0x1234
    assert guest.cpu.x[8] == 0x16 << 26 | 1 << 25 | 8
    assert [int(row["el"]) for row in result.trace.epochs if row["cause"] != EpochCause.SYSTEM_WRITE] == [2, 1, 2, 1, 2]
    assert served.count(True) == 2
    assert touched(result.trace) == touched_natively(guest)


def test_a_return_to_what_is_not_mapped_aborts_there():
    """From EL2, off, to EL1 under 52 bits: the fetch that Unicorn's own MMU tries first tells nothing."""

    def prepare(guest: Guest) -> None:
        translate(guest, wide_tables(guest))
        guest.cpu.x[1] = 1 << 49
        guest.cpu.x[2] = 0x3C5
        guest.place(VECTORS + 0x200, "mrs x8, esr_el1\nmrs x9, far_el1\nbr x30\n")

    guest = Guest("msr elr_el2, x1\nmsr spsr_el2, x2\neret\n", prepare=prepare, model="max", lva=True, el=2)
    result = guest.run()
    assert result.outcome == "completed"
    assert list(guest.cpu.x[8:10]) == [0x21 << 26 | 1 << 25 | 0b000101, 1 << 49]
    assert len(result.trace.exceptions) == 1


def test_a_return_to_where_only_52_bits_lead(served):
    """Unicorn's own MMU, which still is asked first, aborts; that is not the guest's abort."""

    def prepare(guest: Guest) -> None:
        tables = wide_tables(guest)
        tables.map(1 << 51 | CODE, CODE, 0x10000, NORMAL, 65536)
        translate(guest, tables)
        guest.cpu.x[1] = 1 << 51 | guest.symbols["lower"]
        guest.cpu.x[2] = 0x3C5

    source = "msr elr_el2, x1\nmsr spsr_el2, x2\neret\nlower: mov x5, #1\nbr x30\n"
    guest = Guest(source, prepare=prepare, model="max", lva=True, el=2)
    result = guest.run()
    assert (result.outcome, result.fault, guest.cpu.x[5]) == ("completed", None, 1)
    assert served[-1]
    assert not served[0]


@pytest.mark.parametrize("write", ["sctlr_el1", "ttbr0_el1"])
def test_an_instruction_behind_the_last_page_of_the_regime_before(write):
    """What follows the write is fetched under the new regime, though Unicorn asks for it under the old one."""
    last = CODE + 0x2_0000 - 4

    def prepare(guest: Guest) -> None:
        tables = guest.tables(va_bits=52, granule_bytes=65536, pa_bits=52)
        tables.map(CODE, CODE, 0x2_0000, NORMAL, 65536)
        translate(guest, tables)
        guest.cpu.x[3] = SCTLR_OFF if write == "sctlr_el1" else wide_tables(guest).ttbr
        guest.place(last, f"msr {write}, x3\nmov x5, #1\nbr x30\n")

    for pa_bits in (44, 52):
        guest = Guest(put("x1", last) + "br x1\n", prepare=prepare, model="max", lva=True, pa_bits=pa_bits)
        result = guest.run()
        assert (result.outcome, result.fault, guest.cpu.x[5]) == ("completed", None, 1)


def test_ttbr_switch_to_another_table(served):
    """One VA, two tables; with no invalidation between them that would help Unicorn's TLB to forget."""

    def prepare(guest: Guest, tables: TableBuilder) -> None:
        other = wide_tables(guest)
        other.map(FAR_DATA, MORE, 0x10000, NORMAL, 65536)
        guest.cpu.x[20] = other.ttbr
        guest.words(DATA, 1)
        guest.words(MORE, 2)

    guest = wide(put("x1", FAR_DATA) + "ldr x2, [x1]\nmsr ttbr0_el1, x20\nisb\nldr x3, [x1]\nbr x30\n", prepare)
    result = guest.run()
    assert (result.outcome, list(guest.cpu.x[2:4])) == ("completed", [1, 2])
    assert served == [True, True]
    assert touched(result.trace) == touched_natively(guest)


def test_a_store_to_the_live_table(served):
    def prepare(guest: Guest, tables: TableBuilder) -> None:
        leaf = tables.lookup(FAR_DATA)
        guest.cpu.x[9], guest.cpu.x[10] = leaf.pa, leaf.value + (MORE - DATA)
        guest.words(DATA, 1)
        guest.words(MORE, 2)

    source = "ldr x2, [x1]\nstr x10, [x9]\ndsb ish\ntlbi vmalle1\ndsb ish\nisb\nldr x3, [x1]\nbr x30\n"
    guest = wide(put("x1", FAR_DATA) + source, prepare)
    result = guest.run()
    assert (result.outcome, list(guest.cpu.x[2:4])) == ("completed", [1, 2])
    assert [EpochCause(int(row["cause"])) for row in result.trace.epochs] == [EpochCause.START, EpochCause.TABLE_STORE]
    assert touched(result.trace) == touched_natively(guest)


@pytest.mark.parametrize("t0sz", [0, 12, 15, 40, 63])
def test_sizes_that_a_pe_does_not_have_fault(t0sz):
    """Unicorn clamps T0SZ; the walker faults, as it may (CONSTRAINED UNPREDICTABLE), and so does the run."""

    def prepare(guest: Guest) -> None:
        guest.translate_el1(guest.identity())
        guest.cpu.sysreg["TCR_EL1"] = TCR_EL1 & ~63 | t0sz

    result = Guest("nop\nbr x30\n", prepare=prepare).run()
    assert result.outcome == "hang"
    assert result.fault.esr == 0x21 << 26 | 1 << 25 | 0b000100


def test_52_bits_of_pa_without_translation(served):
    high = 1 << 51

    def prepare(guest: Guest) -> None:
        guest.cpu.sysreg["VBAR_EL1"] = VECTORS
        guest.place(VECTORS + 0x200, "mrs x8, esr_el1\nmrs x9, far_el1\nbr x30\n")

    # Behind the 52 bits is an address size fault, below only no memory.
    for va, status in ((high, 0b010000), (1 << 52, 0b000000)):
        guest = Guest(put("x1", va) + "ldr x2, [x1]\n", prepare=prepare, model="max", pa_bits=52)
        assert guest.run().outcome == "completed"
        assert list(guest.cpu.x[8:10]) == [0x25 << 26 | 1 << 25 | status, va]
    assert all(served)


def test_stage_2_under_52_bits():
    """What stage 2 refuses goes to EL2, with the IPA."""

    def prepare(guest: Guest, tables: TableBuilder) -> None:
        second = guest.tables(stage=2, va_bits=40)
        second.map(RAM, RAM, RAM_BYTES, S2_NORMAL_WB | S2_READ | S2_WRITE | AF | SH_INNER, 4096)
        second.map(DATA, DATA, 0x1000, S2_NORMAL_WB | S2_READ | AF | SH_INNER, 4096)
        sysreg = guest.cpu.sysreg
        sysreg["VTCR_EL2"] = 24 | second.sl0 << 6 | 1 << 8 | 1 << 10 | 3 << 12 | 4 << 16 | 1 << 31
        sysreg["VTTBR_EL2"], sysreg["HCR_EL2"], sysreg["VBAR_EL2"] = second.ttbr, 1 << 31 | 1, VECTORS
        guest.place(VECTORS + 0x400, "mrs x8, esr_el2\nmrs x9, hpfar_el2\nmrs x10, far_el2\nbr x30\n")

    guest = wide(put("x1", FAR_DATA) + "ldr x2, [x1, #0x18]\nstr x2, [x1, #0x18]\n", prepare)
    result = guest.run()
    assert result.outcome == "completed"
    assert guest.cpu.x[8] & 0xFFFF == 1 << 15 | 1 << 6 | 0b001111
    assert guest.cpu.x[8] >> 26 == 0x24
    assert list(guest.cpu.x[9:11]) == [DATA >> 12 << 4, FAR_DATA + 0x18]


def test_the_guest_reads_what_the_pe_has():
    source = "mrs x1, s3_0_c0_c7_2\nmrs x2, s3_0_c0_c7_0\nbr x30\n"
    usual = Guest(source, model="max")
    usual.run()
    assert (usual.cpu.x[1] >> 16 & 15, usual.cpu.x[2] & 15) == (0, 4)
    guest = Guest(source, model="max", lva=True, pa_bits=52)
    guest.run()
    assert guest.cpu.x[1] ^ usual.cpu.x[1] == 1 << 16
    assert (guest.cpu.x[2] & 15, guest.cpu.x[2] >> 4) == (6, usual.cpu.x[2] >> 4)
    told = Guest(source, model="max", lva=True, id_registers={"ID_AA64MMFR2_EL1": 0x12})
    told.run()
    assert told.cpu.x[1] == 0x12


def test_only_max_differs_from_unicorns_models():
    memory = PhysicalMemory()
    with pytest.raises(InputError, match="cpu model 'cortex-a72': has 44-bit PAs and no FEAT_LVA"):
        Cpu(memory, lva=True)
    with pytest.raises(InputError, match="cpu model 'cortex-a72'"):
        Cpu(memory, pa_bits=52)
    with pytest.raises(InputError, match="pa_bits 50: must be one of 32, 36"):
        Cpu(memory, "max", pa_bits=50)
    assert Cpu(memory, "max", lva=True, pa_bits=52).regime().lva


def test_a_second_run_goes_on_under_the_same_regime():
    guest = wide(put("x1", FAR_DATA) + "mov x2, #3\nstr x2, [x1]\nhere: ldr x3, [x1]\nbr x30\n")
    machine = guest.build()
    first = machine.run(stop_pa=guest.symbols["here"], symbols={})
    assert first.outcome == "completed"
    assert guest.cpu.pc == guest.symbols["here"]
    assert machine.run(stop_pa=END).outcome == "completed"
    assert guest.cpu.x[3] == 3
    assert np.all(first.trace.epochs["stage1"] == 1)


@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize(
    ("instruction", "attributes", "status"),
    [
        ("ldtr x2, [x1, #8]", AP_EL0, None),
        ("sttr x2, [x1, #8]", AP_EL0, None),
        ("sttrb w2, [x1, #8]", AP_EL0 | AP_READ_ONLY, 1 << 6 | 0b001111),
        ("ldtrsw x2, [x1, #8]", 0, 0b001111),
        ("sttr w2, [x1, #8]", 0, 1 << 6 | 0b001111),
    ],
)
def test_unprivileged_accesses(host, instruction, attributes, status):
    """Judged as EL0's, though the page has just been found to be EL1's to read."""

    def prepare(guest: Guest) -> None:
        tables = guest.identity()
        tables.map(DATA, DATA, 0x1000, NORMAL | attributes, 4096)
        guest.translate_el1(tables)
        guest.cpu.sysreg["VBAR_EL1"] = VECTORS
        guest.place(VECTORS + 0x200, "mrs x8, esr_el1\nmrs x9, far_el1\nbr x30\n")

    guest = Guest(f"mov x1, #DATA\nldr x3, [x1]\n{instruction}\nbr x30\n", prepare=prepare, host=host)
    result = guest.run()
    assert result.outcome == "completed"
    if status is None:
        assert result.fault is None
    else:
        assert list(guest.cpu.x[8:10]) == [0x25 << 26 | 1 << 25 | status, DATA + 8]
    assert touched(result.trace) == touched_natively(guest)


@pytest.mark.parametrize("ha", [0, 1])
def test_the_access_flag_may_be_hardwares_to_set(ha, served):
    """TCR.HA: Unicorn does not know it."""

    def prepare(guest: Guest) -> None:
        tables = guest.identity()
        tables.map(DATA, DATA, 0x1000, NORMAL & ~AF, 4096)
        guest.translate_el1(tables)
        guest.cpu.sysreg["TCR_EL1"] = TCR_EL1 | ha << 39
        guest.cpu.sysreg["VBAR_EL1"] = VECTORS
        guest.place(VECTORS + 0x200, "mrs x8, esr_el1\nbr x30\n")

    guest = Guest("mov x8, #0\nmov x1, #DATA\nldr x2, [x1]\nbr x30\n", prepare=prepare)
    assert guest.run().outcome == "completed"
    assert guest.cpu.x[8] == (0 if ha else 0x25 << 26 | 1 << 25 | 0b001011)
    assert all(served) == bool(ha)
