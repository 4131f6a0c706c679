"""Exceptions: delivered as the architecture says, handled by the guest, or the end of it."""

import pytest
from guests import CODE, DATA, DEVICE, END, MORE, NORMAL, RAM, RAM_BYTES, VECTORS, Guest

from emu.machine import RunResult
from emu.tables import AP_READ_ONLY, PXN, UXN
from traces.schema import Mark

EL1H, EL2H, MASKED = 5, 9, 0x3C0
UNMAPPED = 0x8000_0000


def vectors(source: str, *, el: int = 1, offset: int = 0x200, translated: bool = True):
    """Prepare a handler at EL`el`, and identity tables at EL1."""

    def prepare(guest: Guest) -> None:
        if translated:
            guest.translate_el1(guest.identity())
        guest.cpu.sysreg[f"VBAR_EL{el}"] = VECTORS
        guest.place(VECTORS + offset, source)

    return prepare


def taken(result: RunResult) -> list[dict[str, int]]:
    rows = result.trace.exceptions
    return [{name: int(row[name]) for name in rows.dtype.names if name != "reserved"} for row in rows]


def cuts(result: RunResult) -> list[int]:
    return [int(mark["a"]) for mark in result.trace.marks if mark["kind"] == Mark.TRUNCATE]


DONE = "movz x7, #0xf000\nmovk x7, #0x4000, lsl #16\nbr x7\n"


def test_data_abort_fills_every_register() -> None:
    guest = Guest("mov x1, #0x80000000\nnop\nstr x1, [x1, #8]\nnop\n", prepare=vectors(DONE))
    result = guest.run()
    assert result.outcome == "completed"
    sysreg = guest.cpu.sysreg
    assert sysreg["ESR_EL1"] == 0x25 << 26 | 1 << 25 | 1 << 6 | 0b000101  # translation fault, level 1
    assert sysreg["FAR_EL1"] == UNMAPPED + 8
    assert sysreg["ELR_EL1"] == CODE + 8
    assert sysreg["SPSR_EL1"] & 0x3FF == MASKED | EL1H
    (row,) = taken(result)
    assert row["elr"] == CODE + 8
    assert (row["from_el"], row["to_el"], row["meant"], row["vector"]) == (1, 1, 0, VECTORS + 0x200)
    assert cuts(result) == [2]
    assert result.fault is not None
    assert (result.fault.ec, result.fault.where) == (0x25, "0x40000008")
    assert "translation fault level 1" in result.fault.reason
    assert "is invalid" in result.fault.reason


def test_instruction_abort_names_the_bit() -> None:
    def prepare(guest: Guest) -> None:
        tables = guest.identity()
        tables.map(DATA, DATA, 0x1000, NORMAL | PXN, 4096)
        guest.translate_el1(tables)
        guest.cpu.sysreg["VBAR_EL1"] = VECTORS
        guest.place(VECTORS + 0x200, DONE)

    guest = Guest("mov x1, #DATA\nbr x1\n", prepare=prepare)
    result = guest.run()
    assert result.fault is not None
    assert result.fault.esr == 0x21 << 26 | 1 << 25 | 0b001111  # permission fault, level 3
    assert result.fault.far == result.fault.elr == DATA
    assert "bit 53 (PXN)" in result.fault.reason
    assert "permission fault level 3" in result.fault.reason
    assert cuts(result) == []


def test_xn_at_el2_hangs_as_rfc_v2_did() -> None:
    """kernel.md 1.5: an EL2 table whose leaf has bit 54 set, and vectors that it does not map executable either."""

    def prepare(guest: Guest) -> None:
        tables = guest.identity(NORMAL | UXN)
        sysreg = guest.cpu.sysreg
        sysreg["MAIR_EL2"], sysreg["TCR_EL2"], sysreg["TTBR0_EL2"] = 0xBBFF440C0400, 0x80843510, tables.ttbr
        sysreg["VBAR_EL2"] = VECTORS
        guest.cpu.x[5] = 0x30E5183F

    result = Guest("nop\nmsr sctlr_el2, x5\nisb\nmov x6, #1\n", el=2, prepare=prepare).run()
    assert result.outcome == "hang"
    assert result.fault is not None
    assert result.fault.el == 2
    assert result.fault.esr == 0x8600000F
    assert result.fault.far == result.fault.elr == CODE + 8
    assert "bit 54 (XN)" in result.fault.reason
    assert "for ever" in result.reason


def test_hvc_goes_to_el2_and_eret_comes_back() -> None:
    guest = Guest(
        "mov x5, #1\nhvc #0x12\nadd x5, x5, #2\nbr x30\n",
        prepare=vectors("mrs x8, esr_el2\nmrs x9, elr_el2\nmrs x10, currentel\neret\n", el=2, offset=0x400),
    )
    result = guest.run()
    assert (result.outcome, result.fault) == ("completed", None)
    assert list(guest.cpu.x[8:11]) == [0x16 << 26 | 1 << 25 | 0x12, CODE + 8, 8]
    assert guest.cpu.x[5] == 3
    assert guest.cpu.el == 1
    (row,) = taken(result)
    assert (row["from_el"], row["to_el"], row["meant"]) == (1, 2, 1)
    assert [int(row["el"]) for row in result.trace.epochs] == [1, 2, 1]
    assert [int(row["cause"]) for row in result.trace.epochs] == [0, 2, 3]


def test_svc_from_el0_and_back() -> None:
    guest = Guest(
        """
        adr x1, user
        msr elr_el1, x1
        mov x2, #0x3c0
        msr spsr_el1, x2
        mov x3, sp
        eret
        user: mov x4, #7
        svc #9
        """,
        prepare=vectors("mrs x8, esr_el1\nmov x9, sp\n" + DONE, offset=0x400, translated=False),
    )
    result = guest.run()
    assert result.outcome == "completed"
    assert guest.cpu.x[4] == 7
    assert guest.cpu.x[8] == 0x15 << 26 | 1 << 25 | 9
    assert guest.cpu.x[9] == guest.cpu.x[3]  # SP_EL1 again, not EL0's


def test_el0_has_its_own_permissions() -> None:
    guest = Guest(
        """
        adr x1, user
        msr elr_el1, x1
        mov x2, #0x3c0
        msr spsr_el1, x2
        mov x3, #DATA
        ldr x4, [x3]
        eret
        user: ldr x5, [x3]
        """,
        prepare=vectors(DONE, offset=0x400),
    )
    result = guest.run()
    assert result.fault is not None
    assert result.fault.esr == 0x24 << 26 | 1 << 25 | 0b001111  # from a lower level: permission fault, level 3
    assert "AP[2:1]" in result.fault.reason


def test_undefined_and_breakpoint() -> None:
    prepare = vectors("mrs x8, esr_el1\nmrs x9, elr_el1\n" + DONE)
    guest = Guest("nop\n.word 0\nnop\n", prepare=prepare)
    result = guest.run()
    assert list(guest.cpu.x[8:10]) == [1 << 25, CODE + 4]
    assert "undefined instruction 0x00000000" in result.fault.reason
    assert cuts(result) == [1]
    guest = Guest("nop\nbrk #0x123\nnop\n", prepare=prepare)
    result = guest.run()
    assert list(guest.cpu.x[8:10]) == [0x3C << 26 | 1 << 25 | 0x123, CODE + 4]


def test_smc_without_firmware_is_a_fault() -> None:
    result = Guest("nop\nsmc #0\n").run()
    assert result.outcome == "fault"
    assert "no firmware at EL3" in result.reason
    assert result.fault is None


@pytest.mark.parametrize(
    ("store", "esr", "words"),
    [
        ("str x2, [x1, #4]", 0x25 << 26 | 1 << 25 | 1 << 6 | 0x21, "alignment fault"),
        ("ldr w2, [x1, #2]", 0x25 << 26 | 1 << 25 | 0x21, "Device-nGnRnE"),
        ("ldp x2, x3, [x1, #-4]!", None, ""),
        ("stp x2, x3, [x1, #8]", None, ""),
        ("dc zva, x1", 0x25 << 26 | 1 << 25 | 1 << 6 | 0x21, "alignment fault"),
        ("ldxr x2, [x1]", 0x25 << 26 | 1 << 25 | 0x35, "exclusive"),
    ],
)
@pytest.mark.parametrize("translated", [False, True])
def test_device_memory_refuses(store: str, esr: int | None, words: str, translated: bool) -> None:
    def prepare(guest: Guest) -> None:
        vectors("mrs x8, esr_el1\nmrs x9, far_el1\nmrs x10, elr_el1\n" + DONE, translated=False)(guest)
        if translated:
            tables = guest.identity()
            tables.map(DATA, DATA, 0x2000, DEVICE, 4096)
            guest.translate_el1(tables)

    if store.startswith("ldp"):
        store = "ldp x2, x3, [x1, #16]"
    guest = Guest(
        f"mov x1, #DATA\nadd x1, x1, #256\nb next\nnext: mov x5, #1\n{store}\nmov x5, #2\nbr x30\n", prepare=prepare
    )
    result = guest.run()
    assert result.outcome == "completed"
    if esr is None:
        assert (result.fault, guest.cpu.x[5]) == (None, 2)
        return
    assert guest.cpu.x[8] == esr
    assert DATA + 256 <= guest.cpu.x[9] <= DATA + 264
    assert guest.cpu.x[10] == CODE + 16
    assert guest.cpu.x[5] == 1  # what stood before it in the block has run
    assert words in result.fault.reason
    assert cuts(result) == [1]


def test_normal_memory_lets_unaligned_pass_unless_sctlr_a() -> None:
    source = "mov x1, #DATA\nldr x2, [x1, #4]\nbr x30\n"
    assert Guest(source, prepare=lambda g: g.translate_el1(g.identity())).run().fault is None

    def strict(guest: Guest) -> None:
        vectors(DONE)(guest)
        guest.cpu.sysreg["SCTLR_EL1"] |= 2

    result = Guest(source, prepare=strict).run()
    assert result.fault.esr & 0x3F == 0x21
    assert result.fault.far == DATA + 4


def test_stack_pointer_alignment() -> None:
    def prepare(guest: Guest) -> None:
        vectors("mrs x8, esr_el1\n" + DONE)(guest)
        guest.cpu.sysreg["SCTLR_EL1"] |= 8
        guest.cpu.sp = DATA + 8

    guest = Guest("nop\nstr x1, [sp]\n", prepare=prepare)
    result = guest.run()
    assert guest.cpu.x[8] == 0x26 << 26 | 1 << 25
    assert "SP 0x40100008" in result.fault.reason


@pytest.mark.parametrize(
    ("operation", "attributes", "esr"),
    [
        ("dc civac, x1", None, 1 << 8 | 1 << 6 | 0b000101),
        ("dc cvac, x1", None, 1 << 8 | 1 << 6 | 0b000101),
        ("dc ivac, x1", None, 1 << 8 | 1 << 6 | 0b000101),
        ("ic ivau, x1", None, 1 << 8 | 1 << 6 | 0b000101),
        ("dc ivac, x2", NORMAL | AP_READ_ONLY, 1 << 8 | 1 << 6 | 0b001111),
        ("dc civac, x2", NORMAL | AP_READ_ONLY, None),
        ("dc ivac, x2", NORMAL, None),
    ],
)
def test_maintenance_by_va_faults(operation: str, attributes: int | None, esr: int | None) -> None:
    def prepare(guest: Guest) -> None:
        tables = guest.identity()
        tables.map(MORE, MORE, 0x1000, attributes or NORMAL, 4096)
        guest.translate_el1(tables)
        guest.cpu.sysreg["VBAR_EL1"] = VECTORS
        guest.place(VECTORS + 0x200, DONE)

    guest = Guest(f"mov x1, #0x80000000\nmov x2, #MORE\nldr x3, [x2]\n{operation}\nbr x30\n", prepare=prepare)
    result = guest.run()
    assert result.outcome == "completed"
    if esr is None:
        assert result.fault is None
    else:
        assert result.fault.esr == 0x25 << 26 | 1 << 25 | esr
        assert result.fault.elr == CODE + 12


def test_no_memory_is_an_external_abort() -> None:
    guest = Guest(
        "mov x1, #0x90000000\nldr x2, [x1]\n",
        prepare=vectors("mrs x8, esr_el1\nmrs x9, far_el1\n" + DONE, translated=False),
    )
    result = guest.run()
    assert result.outcome == "completed"
    assert list(guest.cpu.x[8:10]) == [0x25 << 26 | 1 << 25 | 0x10, 0x90000000]
    assert "there is no memory at 0x90000000" in result.fault.reason
    guest = Guest("mov x1, #0x90000000\nbr x1\n", prepare=vectors("mrs x8, esr_el1\n" + DONE, translated=False))
    result = guest.run()
    assert guest.cpu.x[8] == 0x21 << 26 | 1 << 25 | 0x10
    assert result.fault.elr == 0x90000000


def test_vectors_outside_memory_are_a_fault() -> None:
    def prepare(guest: Guest) -> None:
        guest.cpu.sysreg["VBAR_EL1"] = 0x1000_0000

    result = Guest("nop\n.word 0\n", prepare=prepare).run()
    assert result.outcome == "fault"
    assert "VBAR_EL1 leads to 0x10000200, where there is no memory" in result.reason
    assert "undefined instruction" in result.fault.reason


def test_unmapped_vectors_hang() -> None:
    def prepare(guest: Guest) -> None:
        guest.translate_el1(guest.identity())
        guest.cpu.sysreg["VBAR_EL1"] = UNMAPPED

    result = Guest("nop\nsvc #0\n", prepare=prepare).run()
    assert result.outcome == "hang"
    assert result.fault.ec == 0x21
    assert result.fault.elr == UNMAPPED + 0x200
    assert len(result.trace.exceptions) == 3


def test_handler_that_faults_every_time_hangs() -> None:
    source = "sub x9, x9, #16\nmov x1, #0x80000000\nldr x2, [x1]\neret\n"
    result = Guest("mov x1, #0x80000000\nldr x2, [x1]\n", prepare=vectors(source), budget=10**6).run()
    assert result.outcome == "hang"
    assert "for ever" in result.reason


@pytest.mark.parametrize("spin", ["b spin", "wfe\nb spin", "nop\nwfi\nb spin", "wfi\nnop\nbr x30", "cbz xzr, spin"])
def test_hangs(spin: str) -> None:
    result = Guest(f"mov x1, #DATA\nstr x1, [x1]\nspin: {spin}\n").run()
    assert result.outcome == "hang"
    assert result.fault is None
    assert "spin" in result.reason


def test_conditional_self_branch_that_falls_through_is_no_hang() -> None:
    assert Guest("spin: cbnz xzr, spin\nbr x30\n").run().outcome == "completed"


def test_unexpected_exception_in_the_stub_hangs_there() -> None:
    """kernel.md 2.2: the hyp-stub's other vectors are branches to themselves."""
    result = Guest(
        "mov x1, #0x90000000\nldr x2, [x1]\n", el=2, prepare=vectors("here: b here\n", el=2, translated=False)
    ).run()
    assert result.outcome == "hang"
    assert result.fault.el == 2
    assert f"{VECTORS + 0x200:#x}" in result.reason


def test_pc_alignment() -> None:
    guest = Guest(
        "mov x1, #DATA\nadd x1, x1, #2\nbr x1\n", prepare=vectors("mrs x8, esr_el1\nmrs x9, far_el1\n" + DONE)
    )
    guest.run()
    assert list(guest.cpu.x[8:10]) == [0x22 << 26 | 1 << 25, DATA + 2]


def test_illegal_return() -> None:
    guest = Guest(
        "mov x1, #0x3cd\nmsr spsr_el1, x1\nadr x2, on\nmsr elr_el1, x2\neret\non: nop\nbr x30\n",
        prepare=vectors("mrs x8, esr_el1\n" + DONE),
    )
    result = guest.run()
    assert guest.cpu.x[8] == 0xE << 26 | 1 << 25
    assert "illegal" in result.fault.reason


def test_abort_of_the_first_instruction_takes_the_execution_back() -> None:
    guest = Guest("mov x1, #0x80000000\nb next\nnext: ldr x2, [x1]\nnop\n", prepare=vectors(DONE))
    result = guest.run()
    assert cuts(result) == []
    assert result.instructions == 2 + 3


def test_budget_counts_instructions_and_exceptions() -> None:
    result = Guest("again: add x1, x1, #1\nsub x2, x2, #1\nb again\n", budget=1000).run()
    assert result.outcome == "budget"
    assert 997 <= result.instructions <= 1000
    loop = Guest("again: svc #0\nb again\n", prepare=vectors("eret\n", translated=False), budget=1000)
    result = loop.run()
    assert result.outcome == "budget"
    assert result.instructions + 100 * len(result.trace.exceptions) <= 1100


def test_ram_covers_what_the_guests_use() -> None:
    assert RAM <= END < DATA < MORE < RAM + RAM_BYTES


def test_a_late_value_that_was_never_read_is_zero() -> None:
    """The block of three bases is taken back; the handler's third value lies where its third one was."""
    handler = "ldr x6, [x9]\nldr x7, [x8]\nldr x10, [x6]\neret\n"
    source = """
        mov x1, #0x80000000
        mov x8, x1
        mov x9, #DATA
        mov x4, #DATA
        mov x5, #MORE
        b abort
        abort:
        ldr x2, [x1]
        ldr x3, [x4]
        ldr x3, [x5]
        br x30
        """
    trace = Guest(source, prepare=vectors(handler)).run().trace
    assert trace.values[:3].tolist() == [DATA, UNMAPPED, 0]
