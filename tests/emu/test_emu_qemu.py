"""Our Machine against qemu-system-aarch64: the same programs leave the same registers, memory and exceptions."""

import pytest
import qemu
from bare_metal import (
    BASE,
    CODE,
    DATA,
    DONE,
    EL0_CODE,
    EL1_CODE,
    VECTORS,
    Program,
    drop_to,
    identity,
    load,
    put,
    run_in_machine,
    run_in_qemu,
    set_registers,
)

from emu import tables
from emu.run import Outcome

pytestmark = qemu.needs_qemu

MAIR = 0xFF440C0400  # indices of kernel.md 3.3: 0 nGnRnE, 1 nGnRE, 2 GRE, 3 NC, 4 WB
WB = tables.AF | tables.SH_INNER | tables.attr_index(4)
DEVICE = tables.AF
SCTLR_EL1, SCTLR_EL2 = 0x30D01805, 0x30C51835
TCR_EL1 = 16 | 16 << 16 | 2 << 30 | 5 << 8 | 3 << 12 | 2 << 32
TCR_EL2 = 1 << 31 | 1 << 23 | 16 | 5 << 8 | 3 << 12 | 2 << 16
UNMAPPED, READ_ONLY, NO_EXECUTE, NO_AF, TOO_HIGH, BLOCK = (0x20_0000_0000 + (n << 30) for n in range(6))
TABLE_LIMITED = 0x28_0000_0000


def go_to_done() -> str:
    return put("x9", DONE) + "br x9\n"


def pages_to_trip_over(memory, allocate):
    """An identity map, and one page of each kind that refuses something."""
    builder = identity(memory, allocate, WB)
    builder.map(READ_ONLY, DATA, 4096, WB | tables.AP_READ_ONLY)
    builder.map(NO_EXECUTE, DATA, 4096, WB | tables.UXN | tables.PXN)
    builder.map(NO_AF, DATA, 4096, WB & ~tables.AF)
    builder.map(TOO_HIGH, 1 << 41, 4096, WB)
    builder.map(BLOCK, BASE & -0x20_0000, 0x20_0000, WB | tables.AP_READ_ONLY | tables.UXN | tables.PXN)
    builder.map(
        TABLE_LIMITED, DATA, 4096, WB, table_attributes=tables.TABLE_AP_READ_ONLY | tables.TABLE_UXN | tables.TABLE_PXN
    )
    return {"root": builder.root}


def mmu_on(el: int) -> str:
    sctlr, tcr = (SCTLR_EL1, TCR_EL1) if el == 1 else (SCTLR_EL2, TCR_EL2)
    return f"{{root}}msr ttbr0_el{el}, x9\n" + set_registers(
        **{f"mair_el{el}": MAIR, f"tcr_el{el}": tcr, f"sctlr_el{el}": sctlr}
    )


def trips() -> str:
    """A load, a store and a fetch of each page; X27 is where an instruction abort goes on."""
    text = ""
    for number, va in enumerate(
        (UNMAPPED, READ_ONLY, NO_EXECUTE, NO_AF, TOO_HIGH, BLOCK + DATA % 0x20_0000, TABLE_LIMITED)
    ):
        if va == TOO_HIGH:  # its load would reach where nothing is
            text += put("x10", va) + "ldr x11, [x10]\n"
            continue
        text += put("x10", va + 8 * number)
        text += (
            f"ldr x11, [x10]\nadd x12, x12, x11\nmovz x13, #{number + 1}\nstr x13, [x10]\nldp x14, x15, [x10, #16]\n"
        )
        text += "strb w13, [x10, #5]\nstp x13, x13, [x10, #32]!\nldr w16, [x10], #4\n"
    for va in (UNMAPPED, NO_EXECUTE, NO_AF, BLOCK, TABLE_LIMITED):
        text += (
            f"adr x27, after{va >> 28:x}\n"
            + put("x10", va + 0x100)
            + f"blr x10\nafter{va >> 28:x}:\nadd x17, x17, #1\n"
        )
    return text


ABORTS_AT_EL2 = Program("aborts at EL2", {CODE: mmu_on(2) + trips() + go_to_done(), DONE: "b .\n"}, pages_to_trip_over)
ABORTS_AT_EL1 = Program(
    "aborts at EL1",
    {CODE: mmu_on(1) + drop_to(1, EL1_CODE), EL1_CODE: trips() + go_to_done(), DONE: "b .\n"},
    pages_to_trip_over,
)


def el0_pages(memory, allocate):
    """EL0's code where EL0 may run it, and data that is its own, read only, or not its own."""
    builder = identity(memory, allocate, WB | tables.UXN)
    for code in (EL0_CODE, DONE):
        builder.map(code, code, 4096, WB | tables.AP_EL0 | tables.AP_READ_ONLY)
    builder.map(DATA, DATA, 4096, WB | tables.UXN | tables.AP_EL0)
    builder.map(READ_ONLY, DATA, 4096, WB | tables.UXN | tables.AP_EL0 | tables.AP_READ_ONLY)
    return {"root": builder.root}


EL0 = Program(
    "EL0 under EL1",
    {
        CODE: mmu_on(1) + drop_to(1, EL1_CODE),
        EL1_CODE: drop_to(0, EL0_CODE),
        EL0_CODE: put("x1", DATA)
        + put("x2", DATA + 4096)
        + put("x3", READ_ONLY)
        + "adr x27, back\nldr x4, [x1]\nstr x1, [x1, #8]\nldr x5, [x2]\nstr x5, [x2]\nldr x6, [x3]\nstr x6, [x3]\n"
        + "svc #7\nbr x1\nback:\nbrk #5\nmrs x7, sctlr_el1\nhvc #1\n"
        + put("x9", EL1_CODE) + "adr x27, end\nbr x9\nend:\nsvc #9\n"
        + go_to_done(),
        DONE: "b .\n",
    },
    el0_pages,
)  # fmt: skip

CALLS = Program(
    "calls up and returns down",
    {
        CODE: "mov x0, #1\nhvc #3\nsvc #2\nbrk #4\n" + drop_to(1, EL1_CODE),
        EL1_CODE: "mrs x1, currentel\nhvc #0x1234\nsvc #0xffff\nadds x2, x0, #0\nsubs x3, x0, #1\nhvc #0\n"
        "mrs x4, nzcv\nmovz x5, #0x300\nbrk #77\nmrs x6, daif\n" + go_to_done(),
        DONE: "b .\n",
    },
)  # fmt: skip

UNDEFINED = Program(
    "undefined instructions",
    {
        CODE: ".word 0\nmov x1, #1\n" + drop_to(1, EL1_CODE),
        EL1_CODE: "mrs x1, hcr_el2\nmsr vbar_el2, x1\nmov x2, #2\n.word 0xdead\nmov x3, #3\nmrs x4, sctlr_el2\n"
         "mov x5, #5\neret_el2_is_not_here:\n" + go_to_done(),
        DONE: "b .\n",
    },
)  # fmt: skip


def unaligned(el: int) -> str:
    """Unaligned accesses, with SCTLR.A: data moves in the aligned ones only."""
    return (
        (
            put("x1", DATA + 1)
            + "ldr x2, [x1]\nldr w3, [x1, #3]\nldrh w4, [x1]\nldrb w5, [x1]\nstr x1, [x1, #7]\nstr x1, [x1, #6]\n"
            + f"ldp x6, x7, [x1, #15]\nldp x6, x7, [x1, #16]\nldp x6, x7, [x1, #7]\nstp w6, w7, [x1, #{el}]\n"
        )
        .replace("ldp x6, x7, [x1, #15]\n", "")
        .replace("ldp x6, x7, [x1, #7]\n", "add x8, x1, #7\nldp x6, x7, [x8]\n")
        .replace("ldp x6, x7, [x1, #16]\n", "add x8, x1, #3\nldp w6, w7, [x8]\nldp x6, x7, [x8]\n")
        .replace(f"stp w6, w7, [x1, #{el}]\n", "stp w6, w7, [x1, #4]\n")
    )


ALIGNMENT_CHECKED = Program(
    "alignment, SCTLR.A",
    {
        CODE: mmu_on(2) + set_registers(sctlr_el2=SCTLR_EL2 | 2) + unaligned(2)
        + mmu_on(1) + set_registers(sctlr_el1=SCTLR_EL1 | 2) + drop_to(1, EL1_CODE),
        EL1_CODE: unaligned(1) + go_to_done(),
        DONE: "b .\n",
    },
    pages_to_trip_over,
)  # fmt: skip

ROUND_TRIP = Program(
    "EL2 to EL1 with its MMU on, back by hvc, and down again",
    {
        CODE: mmu_on(1) + drop_to(1, EL1_CODE),
        EL1_CODE: put("x1", DATA)
        + "ldr x2, [x1]\nhvc #1\nmrs x3, sctlr_el1\nbic x3, x3, #1\nmsr sctlr_el1, x3\nisb\nldr x4, [x1, #8]\nhvc #2\n"
        + "orr x3, x3, #1\nmsr sctlr_el1, x3\nisb\n"
        + put("x5", UNMAPPED) + "ldr x6, [x5]\nhvc #3\n" + go_to_done(),
        DONE: "b .\n",
    },
    pages_to_trip_over,
    registers=("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "MAIR_EL1", "HCR_EL2", "VBAR_EL1", "VBAR_EL2"),
)  # fmt: skip


def wide_tables(granule_bytes, va_bits):
    def build(memory, allocate):
        builder = identity(memory, allocate, WB, granule_bytes=granule_bytes, va_bits=va_bits)
        top = (1 << va_bits) - granule_bytes
        builder.map(top, DATA & -granule_bytes, granule_bytes, WB | tables.AP_READ_ONLY)
        return {"root": builder.root}

    tg0 = {4096: 0, 65536: 1}[granule_bytes]
    tcr = TCR_EL2 & ~0x3F | 64 - va_bits | tg0 << 14
    top = (1 << va_bits) - granule_bytes
    text = "{root}msr ttbr0_el2, x9\n" + set_registers(mair_el2=MAIR, tcr_el2=tcr, sctlr_el2=SCTLR_EL2)
    text += put("x1", top) + "ldr x2, [x1]\nstr x1, [x1]\n" + put("x1", top + granule_bytes) + "ldr x3, [x1]\n"
    text += put("x1", top - granule_bytes) + "ldr x4, [x1]\n" + go_to_done()
    name = f"{granule_bytes >> 10}K granule, {va_bits} bits"
    return Program(name, {CODE: text, DONE: "b .\n"}, build)


def guest_tables(memory, allocate):
    """Stage 1 over a stage 2 that takes something from each of three data pages, and hides one stage 1 table."""
    builder = identity(memory, allocate, WB)
    for number, va in enumerate((READ_ONLY, NO_AF, TOO_HIGH)):
        builder.map(va, DATA + 4096 * number, 4096, WB)
    hidden = builder.pages[-1]
    under = tables.TableBuilder(memory, allocate, va_bits=40, stage=2)
    plain = tables.AF | tables.SH_INNER | tables.S2_NORMAL_WB | tables.S2_READ | tables.S2_WRITE
    under.map(BASE, BASE, 1 << 20, plain)
    under.map(DATA, DATA, 4096, (plain & ~tables.S2_WRITE) | tables.S2_XN)
    under.map(DATA + 4096, DATA + 4096, 4096, plain & ~tables.AF)
    under.map(hidden, hidden, 4096, plain & ~(tables.S2_READ | tables.S2_WRITE))
    vtcr = 1 << 31 | 24 | under.sl0 << 6 | 5 << 8 | 3 << 12 | 2 << 16
    return {"root": builder.root, "vttbr": under.ttbr, "vtcr": vtcr}


def guest_accesses():
    """Every kind of access through each page; X27 is where an instruction abort goes on."""
    text = ""
    for va in (READ_ONLY, NO_AF, TOO_HIGH):
        text += (
            put("x1", va)
            + "ldr x2, [x1, #8]\nstr x2, [x1, #16]!\nldp x3, x4, [x1]\nldrsb w5, [x1]\nstrh w5, [x1], #2\n"
        )
        text += f"ldrsw x6, [x1]\nldr x29, [x1, x29]\nadr x27, after{va >> 30:x}\nbr x1\nafter{va >> 30:x}:\n"
    return text


STAGE_2 = Program(
    "stage 2 under EL1",
    {
        CODE: mmu_on(1)
        + "{vttbr}msr vttbr_el2, x9\n{vtcr}msr vtcr_el2, x9\n"
        + set_registers(hcr_el2=1 << 31 | 1)
        + drop_to(1, EL1_CODE),
        EL1_CODE: guest_accesses() + go_to_done(),
        DONE: "b .\n",
    },
    guest_tables,
)

UPPER = 2**64 - (1 << 39)


def host_tables(memory, allocate):
    """EL2&0: an identity map for TTBR0, and data behind TTBR1, some of it EL0's."""
    names = pages_to_trip_over(memory, allocate)
    upper = tables.TableBuilder(memory, allocate, va_bits=39)
    upper.map(UPPER, DATA, 4096, WB | tables.UXN)
    upper.map(UPPER + 4096, DATA + 4096, 4096, WB | tables.AP_EL0)
    upper.map(UPPER + 8192, DATA + 8192, 4096, WB | tables.PXN)
    return {**names, "upper": upper.root}


def host_accesses():
    text = trips()
    for page in range(4):
        text += put("x1", UPPER + 4096 * page) + "ldr x2, [x1, #8]!\nstr x1, [x1, #16]\n"
        if page != 0:
            text += f"adr x27, up{page}\nblr x1\nup{page}:\nmov x18, x27\n"
    return text


VHE = Program(
    "EL2&0, by the names of EL1",
    {
        CODE: set_registers(hcr_el2=1 << 31 | 1 << 34)
        + "{root}msr ttbr0_el1, x9\n{upper}msr ttbr1_el1, x9\n"
        + set_registers(mair_el1=MAIR, tcr_el1=TCR_EL1 & ~(0x3F << 16) | 25 << 16, sctlr_el1=SCTLR_EL1 | 1 << 23)
        + host_accesses()
        + "mrs x24, esr_el1\nmrs x25, far_el1\nmrs x26, elr_el1\nmrs x19, tcr_el1\n"
        + go_to_done(),
        DONE: "b .\n",
    },
    host_tables,
    cpu="max",
)

PROGRAMS = (
    VHE,
    ABORTS_AT_EL2, ABORTS_AT_EL1, EL0, CALLS, UNDEFINED, ALIGNMENT_CHECKED, ROUND_TRIP, STAGE_2,
    wide_tables(4096, 39), wide_tables(4096, 48), wide_tables(65536, 42), wide_tables(65536, 48),
)  # fmt: skip


def architectural(sysreg):
    """Without ISS[24:14] of an abort from EL2 itself: QEMU 7.2 fills it in, where Arm has ISV = 0 (stage 2 only)."""
    esr = sysreg["ESR_EL2"]
    return {**sysreg, "ESR_EL2": esr & ~(0x7FF << 14) if esr >> 26 == 0x25 else esr}


def readable(log):
    """The log with architectural syndromes, in hex."""
    rows = [(vector, architectural({"ESR_EL2": esr})["ESR_EL2"], *more) for vector, esr, *more in log]
    return [" ".join(f"{word:x}" for word in row) for row in rows]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_the_same_program_leaves_the_same(program):
    ours, result = run_in_machine(program)
    theirs = run_in_qemu(program)
    assert readable(ours.log) == readable(theirs.log)
    assert (ours.done, theirs.done) == (True, True), result.reason
    assert ours.x == theirs.x
    assert architectural(ours.sysreg) == architectural(theirs.sysreg)
    assert ours.data == theirs.data


RFC_V2 = {"mair_el2": 0xBBFF440C0400, "tcr_el2": 0x80843510}
RFC_V2_SCTLR = 0x30E5183F
PAGE_KERNEL_EXEC = 0x0048_0000_0000_0713
"""Of v5.3: bit 54 is set, which at EL2 is XN (facts/kernel.md 1.5)."""


def freeze(leaf_bytes, attributes):
    """RFC v2 at EL2: the registers that were printed, over an identity map of the relocation page."""

    def build(memory, allocate):
        builder = tables.TableBuilder(memory, allocate)
        start, size = (CODE, 4096) if leaf_bytes == 4096 else (CODE & -leaf_bytes, leaf_bytes)
        builder.map(start, start, size, attributes)
        return {"root": builder.root}

    code = "{root}msr ttbr0_el2, x9\n" + set_registers(**RFC_V2) + put("x10", RFC_V2_SCTLR) + "msr sctlr_el2, x10\n"
    return Program("the freeze", {CODE: code + "isb\nmovz x0, #0x55\nend:\nb end\n", DONE: "b .\n"}, build)


def switch_at(program):
    """Where `msr sctlr_el2` of the program is."""
    code = load(program).read(CODE, 0x400)
    msr = 0xD51C1000 | 10  # msr sctlr_el2, x10
    return CODE + code.index(msr.to_bytes(4, "little"))


@pytest.mark.parametrize(("leaf_bytes", "status"), [(4096, 0xF), (1 << 30, 0xD)])
def test_the_rfc_v2_freeze(leaf_bytes, status):
    program = freeze(leaf_bytes, PAGE_KERNEL_EXEC)
    switch = switch_at(program)
    ours, result = run_in_machine(program)
    assert result.outcome is Outcome.HANG
    assert (result.fault.esr, result.fault.far, result.fault.elr) == (0x8600_0000 | status, switch + 4, switch + 4)

    first = run_in_qemu(program, done=switch, steps=2)
    assert (first.sysreg["ESR_EL2"], first.sysreg["FAR_EL2"]) == (result.fault.esr, result.fault.far)
    assert first.sysreg["ELR_EL2"] == result.fault.elr
    frozen = run_in_qemu(program, seconds=1)
    assert not frozen.done
    assert (frozen.pc, frozen.sysreg) == (VECTORS[2] + 0x200, ours.sysreg)
    assert frozen.sysreg["ELR_EL2"] == VECTORS[2] + 0x200  # the vector's own fetch aborts, for ever


def test_the_rfc_v2_code_runs_when_bit_54_is_clear():
    program = freeze(4096, PAGE_KERNEL_EXEC & ~tables.XN)
    _, result = run_in_machine(program)
    assert (result.fault, result.outcome) == (None, Outcome.HANG)  # at its `b .`
    theirs = run_in_qemu(program, done=switch_at(program), steps=4)
    assert (theirs.x[0], theirs.sysreg["ESR_EL2"]) == (0x55, 0)
