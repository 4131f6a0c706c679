"""Regimes and epochs: what system register writes, E2H, stage 2 and stores to live tables and code do to a run."""

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
    TCR_EL1,
    TCR_EL2,
    VECTORS,
    Guest,
    touched,
)
from guests import touched_natively as natively

from emu import recording
from emu.registers import encoding
from emu.tables import AF, S2_NORMAL_WB, S2_READ, S2_WRITE, SH_INNER, UXN
from traces.errors import InputError
from traces.schema import EpochCause, Mark, MemoryType, Phase
from traces.trace import Trace

E2H_TGE_RW = 1 << 34 | 1 << 27 | 1 << 31


def causes(trace: Trace) -> list[EpochCause]:
    return [EpochCause(int(row["cause"])) for row in trace.epochs]


def msr(name: str, register: str) -> str:
    """Spell an msr by encoding: Keystone does not know the newer names."""
    crn, crm, op0, op1, op2 = encoding(name)
    return f"msr s{op0}_{op1}_c{crn}_c{crm}_{op2}, {register}"


def mrs(register: str, name: str) -> str:
    crn, crm, op0, op1, op2 = encoding(name)
    return f"mrs {register}, s{op0}_{op1}_c{crn}_c{crm}_{op2}"


TURN_ON = """
    msr mair_el1, x20
    msr tcr_el1, x21
    msr ttbr0_el1, x22
    isb
    mrs x5, sctlr_el1
    orr x5, x5, #1
    orr x5, x5, #0x1000
    orr x5, x5, #4
    msr sctlr_el1, x5
    isb
    mov x1, #DATA
    ldr x2, [x1]
    str x2, [x1, #64]
    bic x5, x5, #1
    msr sctlr_el1, x5
    isb
    ldr x2, [x1]
    br x30
"""


def turn_on_registers(guest: Guest) -> None:
    tables = guest.identity()
    tables.map(DATA, MORE, 0x1000, NORMAL, 4096)
    guest.cpu.x[20], guest.cpu.x[21], guest.cpu.x[22] = MAIR, TCR_EL1, tables.ttbr
    guest.cpu.sysreg["SCTLR_EL1"] = SCTLR_OFF


def test_mmu_on_and_off_at_el1() -> None:
    guest = Guest(TURN_ON, prepare=turn_on_registers)
    trace = guest.run().trace
    assert [int(row["stage1"]) for row in trace.epochs] == [0, 0, 0, 0, 1, 0]
    assert set(causes(trace)[1:]) == {EpochCause.SYSTEM_WRITE}
    assert touched(trace) == natively(guest)
    rows = {int(row["page"]) << 12: row for row in trace.translations}
    assert int(rows[DATA]["pa"]) == MORE
    assert set(rows) == {CODE, DATA}
    assert MemoryType(int(rows[DATA]["memory_type"])) is MemoryType.NORMAL_WB
    assert int(rows[DATA]["walk_count"]) == 4
    assert MemoryType(int(trace.epochs[0]["flat_type"])) is MemoryType.DEVICE_NGNRNE


@pytest.mark.parametrize("model", ["cortex-a72", "max"])
def test_el1_names_at_el2_without_e2h_are_el1s(model: str) -> None:
    guest = Guest(
        "mov x1, #0x800\nmsr tpidr_el1, x1\nmsr contextidr_el1, x1\nmsr vbar_el1, x1\nbr x30\n", el=2, model=model
    )
    guest.run()
    assert guest.cpu.sysreg["CONTEXTIDR_EL1"] == 0x800
    assert guest.cpu.sysreg["VBAR_EL1"] == 0x800
    assert guest.cpu.sysreg["VBAR_EL2"] == 0


def vhe(guest: Guest) -> None:
    guest.cpu.sysreg["HCR_EL2"] = E2H_TGE_RW
    turn_on_registers(guest)
    guest.cpu.sysreg["SCTLR_EL1"], guest.cpu.sysreg["SCTLR_EL2"] = 0, SCTLR_OFF


def test_vhe_turns_el2_on_by_el1_names() -> None:
    guest = Guest(TURN_ON, el=2, model="max", prepare=vhe)
    trace = guest.run().trace
    assert [int(row["stage1"]) for row in trace.epochs] == [0, 0, 0, 0, 1, 0]
    assert {(int(row["el"]), int(row["e2h"])) for row in trace.epochs} == {(2, 1)}
    assert guest.cpu.sysreg["SCTLR_EL1"] == 0
    assert guest.cpu.sysreg["TTBR0_EL2"] == guest.cpu.x[22]
    assert touched(trace) == natively(guest)
    assert int({int(row["page"]) << 12: row for row in trace.translations}[DATA]["pa"]) == MORE


def test_vhe_both_ranges_and_its_own_exceptions() -> None:
    upper_va = 0xFFFF_0000_0000_0000

    def prepare(guest: Guest) -> None:
        upper = guest.tables()
        upper.map(upper_va, DATA, 0x4000, NORMAL, 4096)
        sysreg = guest.cpu.sysreg
        sysreg["HCR_EL2"], sysreg["MAIR_EL2"], sysreg["TCR_EL2"] = E2H_TGE_RW, MAIR, TCR_EL1
        sysreg["TTBR0_EL2"], sysreg["TTBR1_EL2"] = guest.identity().ttbr, upper.ttbr
        sysreg["SCTLR_EL2"], sysreg["VBAR_EL2"] = SCTLR_OFF | 0x1005, VECTORS
        guest.cpu.x[1] = upper_va
        guest.place(
            VECTORS + 0x200,
            "mrs x8, elr_el1\nmrs x9, esr_el1\nmrs x10, far_el1\nadd x8, x8, #4\nmsr elr_el1, x8\neret\n",
        )

    guest = Guest(
        """
        ldp x2, x3, [x1, #16]
        stp x2, x3, [x1, #0xf0]
        str x2, [x1, #0x4000]!
        mov x5, #5
        str x5, [x1]
        br x30
        """.replace("#0x4000]!", "#0x80]").replace("str x5, [x1]", "mov x6, #0x80000000\nstr x5, [x6]"),
        el=2,
        model="max",
        prepare=prepare,
    )
    result = guest.run()
    assert result.outcome == "completed"
    assert guest.cpu.x[9] == 0x25 << 26 | 1 << 25 | 1 << 6 | 0b000101
    assert guest.cpu.x[10] == 0x8000_0000
    assert guest.cpu.sysreg["ELR_EL1"] == 0
    assert touched(result.trace) == natively(guest)
    assert result.fault.el == 2


def test_el12_names() -> None:
    guest = Guest(
        f"mov x1, #0x800\n{msr('VBAR_EL12', 'x1')}\n{mrs('x2', 'VBAR_EL12')}\n{mrs('x3', 'VBAR_EL1')}\nbr x30\n",
        el=2,
        model="max",
        prepare=vhe,
    )
    assert guest.run().outcome == "completed"
    assert guest.cpu.sysreg["VBAR_EL1"] == 0x800
    assert guest.cpu.x[2] == 0x800
    assert guest.cpu.x[3] == 0
    undefined = Guest(f"mov x1, #0x800\n{msr('VBAR_EL12', 'x1')}\nbr x30\n", el=2, model="max")
    undefined.run()
    assert undefined.cpu.sysreg["ESR_EL2"] == 1 << 25


def test_e2h_does_not_stick_on_the_a72() -> None:
    guest = Guest("mrs x1, hcr_el2\nbr x30\n", el=2)
    guest.build()
    guest.cpu.sysreg["HCR_EL2"] = E2H_TGE_RW
    assert not guest.cpu.e2h
    assert not guest.cpu.regime().e2h


def test_stage_2() -> None:
    """A guest whose stage 1 is off and whose IPAs lie elsewhere (R18: HCR_EL2.DC)."""

    def prepare(guest: Guest) -> None:
        tables = guest.tables(stage=2, va_bits=40)
        writable = S2_NORMAL_WB | S2_READ | S2_WRITE | AF | SH_INNER
        tables.map(RAM, RAM, RAM_BYTES, writable, 4096)
        tables.map(DATA, MORE, 0x2000, writable, 4096)
        tables.map(DATA + 0x1000, MORE, 0x1000, S2_NORMAL_WB | S2_READ | AF | SH_INNER, 4096)
        sysreg = guest.cpu.sysreg
        sysreg["VTCR_EL2"] = 24 | tables.sl0 << 6 | 1 << 8 | 1 << 10 | 3 << 12 | 4 << 16 | 1 << 31
        sysreg["VTTBR_EL2"] = tables.ttbr
        sysreg["HCR_EL2"] = 1 << 31 | 1 << 12 | 1
        sysreg["VBAR_EL2"] = VECTORS
        guest.place(VECTORS + 0x400, "mrs x8, esr_el2\nmrs x9, hpfar_el2\nmrs x10, far_el2\nhere: b here\n")

    guest = Guest("mov x1, #DATA\nldr x2, [x1]\nstr x2, [x1, #8]\nstr x2, [x1, #0x1000]\nbr x30\n", prepare=prepare)
    result = guest.run()
    assert result.outcome == "hang"
    assert guest.cpu.x[8] == 0x24 << 26 | 1 << 25 | 1 << 24 | 3 << 22 | 2 << 16 | 1 << 15 | 1 << 6 | 0b001111
    assert guest.cpu.x[9] == (DATA + 0x1000) >> 12 << 4
    assert guest.cpu.x[10] == DATA + 0x1000
    assert "stage 2 permission fault level 3: bit 7 (S2AP[1], writable)" in result.fault.reason
    assert touched(result.trace) == natively(guest)
    assert int(result.trace.epochs[0]["stage2"]) == 1
    assert MemoryType(int(result.trace.epochs[0]["flat_type"])) is MemoryType.NORMAL_WB


def test_hpfar_stays_until_stage_2_refuses_again() -> None:
    """Stopping Unicorn under stage 2 must not touch it, whatever Unicorn would fetch on its way out."""
    ipa = 0x8000_0000

    def prepare(guest: Guest) -> None:
        second = guest.tables(stage=2, va_bits=40)
        second.map(RAM, RAM, RAM_BYTES, S2_NORMAL_WB | S2_READ | S2_WRITE | AF | SH_INNER, 4096)
        first = guest.identity()
        first.map(ipa, ipa, 0x1000, NORMAL, 4096)
        sysreg = guest.cpu.sysreg
        sysreg["VTCR_EL2"] = 24 | second.sl0 << 6 | 1 << 8 | 1 << 10 | 3 << 12 | 4 << 16 | 1 << 31
        sysreg["VTTBR_EL2"], sysreg["HCR_EL2"], sysreg["VBAR_EL2"] = second.ttbr, 1 << 31 | 1, VECTORS
        guest.translate_el1(first)
        step_over = "mrs x9, elr_el2\nadd x9, x9, #4\nmsr elr_el2, x9\neret\n"
        guest.place(VECTORS + 0x400, "cbnz x9, again\n" + step_over + "again: mrs x8, hpfar_el2\nhere: b here\n")

    source = "mov x9, #0\nmov x1, #0x80000000\nldr x2, [x1]\nb unknown\nunknown: hvc #0\n"
    guest = Guest(source, prepare=prepare)
    guest.run()
    assert guest.cpu.x[8] == guest.cpu.sysreg["HPFAR_EL2"] == ipa >> 12 << 4


def test_el2_turns_its_mmu_on() -> None:
    def prepare(guest: Guest) -> None:
        tables = guest.identity()
        tables.map(DATA, MORE, 0x1000, NORMAL | UXN, 4096)
        guest.cpu.x[20], guest.cpu.x[21], guest.cpu.x[22] = MAIR, TCR_EL2, tables.ttbr
        guest.cpu.sysreg["SCTLR_EL2"] = 0x30C50830

    guest = Guest(TURN_ON.replace("_el1", "_el2"), el=2, prepare=prepare)
    trace = guest.run().trace
    assert [int(row["stage1"]) for row in trace.epochs] == [0, 0, 0, 0, 1, 0]
    assert touched(trace) == natively(guest)


def test_forced_sctlr_at_the_start_and_upon_every_write() -> None:
    guest = Guest(TURN_ON, prepare=turn_on_registers, forced_sctlr={1: (1 << 2 | 1 << 12, 1 << 12)})
    trace = guest.run().trace
    assert {int(row["dcache"]) for row in trace.epochs} == {0}
    assert {int(row["icache"]) for row in trace.epochs} == {1}
    assert 1 in {int(row["stage1"]) for row in trace.epochs}
    assert touched(trace) == natively(guest)
    with pytest.raises(InputError, match="EL3 must be 1 or 2"):
        Guest("nop", forced_sctlr={3: (1, 1)}).build()


def test_id_registers_can_be_told_otherwise() -> None:
    source = "mov x1, #1\nmrs x2, ctr_el0\nmov x3, #3\nmrs x4, midr_el1\nbr x30\n"
    guest = Guest(source, id_registers={"CTR_EL0": 0x1234})
    result = guest.run()
    assert (guest.cpu.x[2], guest.cpu.x[3]) == (0x1234, 3)
    assert guest.cpu.x[4] == 0x410FD083
    assert result.instructions == 5
    with pytest.raises(InputError, match="system register 'NOPE'"):
        Guest(source, id_registers={"NOPE": 0}).build()


def test_counter_reads_make_the_trace_timing_dependent() -> None:
    assert Guest("mrs x1, cntvct_el0\nbr x30\n").run().trace.meta["timing_dependent"]
    assert not Guest("mrs x1, ctr_el0\nbr x30\n").run().trace.meta["timing_dependent"]


def test_table_store_begins_an_epoch_after_its_block() -> None:
    def prepare(guest: Guest) -> None:
        tables = guest.identity()
        guest.translate_el1(tables)
        leaf = tables.lookup(DATA)
        guest.cpu.x[9], guest.cpu.x[10] = leaf.pa, leaf.value + (MORE - DATA)

    source = "ldr x2, [x1]\nstr x10, [x9]\nb on\non: ldr x2, [x1]\nstr x2, [x9, #0x400]\nb more\nmore: nop\nbr x30\n"
    guest = Guest("mov x1, #DATA\nb go\ngo: " + source, prepare=prepare)
    trace = guest.run().trace
    assert causes(trace) == [EpochCause.START, EpochCause.TABLE_STORE]
    assert [int(row["pa"]) for row in trace.translations if row["page"] == DATA >> 12] == [DATA, MORE]
    assert touched(trace) == natively(guest)  # Unicorn's TLB was flushed with the epoch


def test_copy_over_tables_and_code_that_are_no_longer_used_is_cheap() -> None:
    """One epoch for each line that this run read descriptors or instructions from, and no stop for the others."""

    def prepare(guest: Guest) -> None:
        guest.translate_el1(guest.identity())

    guest = Guest(
        """
        mov x1, #DATA
        ldr x2, [x1]
        mrs x5, sctlr_el1
        bic x5, x5, #1
        msr sctlr_el1, x5
        isb
        mov x1, #TABLES
        mov x3, #0x1000
        fill: stp xzr, xzr, [x1], #16
        subs x3, x3, #1
        b.ne fill
        br x30
        """,
        prepare=prepare,
    )
    trace = guest.run().trace
    assert len(trace.executions) > 0x1000
    assert EpochCause.TABLE_STORE not in causes(trace)  # the epoch that read them is over


def test_code_store_is_seen_and_the_block_decoded_anew() -> None:
    guest = Guest(
        """
        adr x2, patched
        ldr w3, replacement
        mov x4, #3
        again: nop
        patched: mov x5, #1
        str w3, [x2]
        subs x4, x4, #1
        b.ne again
        br x30
        replacement: mov x5, #2
        """
    )
    trace = guest.run().trace
    assert guest.cpu.x[5] == 2
    assert EpochCause.CODE_STORE in causes(trace)
    words = {int(row["word"]) for row in trace.insns if row["va"] == guest.symbols["patched"]}
    assert len(words) == 2


def test_stop_in_mid_block() -> None:
    guest = Guest("mov x1, #DATA\nstr x1, [x1]\nmov x2, #2\nstr x2, [x1]\nmov x3, #3\nbr x30\n", stop_pa=CODE + 12)
    result = guest.run()
    assert result.outcome == "completed"
    assert guest.cpu.pc == CODE + 12
    assert (guest.cpu.x[2], guest.cpu.x[3]) == (2, 0)
    assert result.instructions == 3
    assert [int(mark["a"]) for mark in result.trace.marks if mark["kind"] == Mark.TRUNCATE] == [3]
    assert touched(result.trace) == natively(guest)


def test_a_second_run_goes_on_where_the_first_ended() -> None:
    guest = Guest("mov x1, #DATA\nstr x1, [x1]\nb on\non: mov x2, #2\nbr x30\n", stop_pa=CODE + 12)
    machine = guest.build()
    first = machine.run(stop_pa=CODE + 12)
    guest.memory.write(CODE + 12, bytes.fromhex("620080d2"))  # mov x2, #3
    second = machine.run(stop_pa=END)
    assert (first.instructions, second.instructions) == (3, 2)
    assert guest.cpu.x[2] == 3
    assert len(second.trace.executions) == 1


def test_phases_are_marked_once() -> None:
    guest = Guest("mov x4, #3\nb first\nfirst: subs x4, x4, #1\nb.ne first\nb second\nsecond: nop\nbr x30\n")
    machine = guest.build()
    phases = {guest.symbols["first"]: Phase.RELOCATE, guest.symbols["second"]: Phase.PURGATORY}
    trace = machine.run(stop_pa=END, phases=phases).trace
    marks = [(int(mark["at"]), int(mark["a"])) for mark in trace.marks if mark["kind"] == Mark.PHASE]
    assert marks == [(1, Phase.RELOCATE), (5, Phase.PURGATORY)]


def test_without_capture_nothing_is_kept() -> None:
    guest = Guest("mov x1, #DATA\nstr x1, [x1]\nbr x30\n")
    result = guest.build().run(stop_pa=END, capture=False)
    assert result.outcome == "completed"
    assert result.instructions == 3
    assert len(result.trace.executions) == len(result.trace.values) == 0


def test_buffers_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of executions, values, rows and reads so small that everything overflows many times."""

    def prepare(guest: Guest) -> None:
        guest.translate_el1(guest.identity())

    source = """
        mov x1, #DATA
        mov x2, #0x300
        page: ldr x3, [x1]
        str x3, [x1, #8]
        add x1, x1, #0x1000
        subs x2, x2, #1
        b.ne page
        br x30
        """
    whole = Guest(source, prepare=prepare).run().trace
    for name, value in (("EXECUTIONS_AT_ONCE", 7), ("VALUES_AT_ONCE", 11), ("ROWS_AT_ONCE", 5), ("READS_AT_ONCE", 9)):
        monkeypatch.setattr(recording, name, value)
    pieces = Guest(source, prepare=prepare).run().trace
    for name in ("executions", "values", "translations", "walk_reads", "blocks", "insns", "marks"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name)), name
    assert len(whole.translations) == 0x300 + 1


def test_a_page_of_tables_is_looked_at_every_time() -> None:
    """A group that stores to it and loads from it must not be kept as seen: the second round hits a live descriptor."""

    def prepare(guest: Guest) -> None:
        tables = guest.identity()
        guest.translate_el1(tables)
        leaf = tables.lookup(DATA)
        page = leaf.pa & ~0xFFF
        guest.cpu.x[9], guest.cpu.x[14] = page + 0x400, leaf.pa - (page + 0x400)
        guest.cpu.x[12], guest.cpu.x[11] = leaf.value + (MORE - DATA), 2

    guest = Guest(
        """
        mov x1, #DATA
        ldr x2, [x1]
        b again
        again:
        str x12, [x9]
        ldr x13, [x9]
        add x9, x9, x14
        subs x11, x11, #1
        b.ne again
        ldr x2, [x1]
        br x30
        """,
        prepare=prepare,
    )
    trace = guest.run().trace
    assert causes(trace) == [EpochCause.START, EpochCause.TABLE_STORE]
    assert touched(trace) == natively(guest)
