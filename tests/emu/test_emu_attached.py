"""An engine of somebody else's, attached: it runs as it would, and the trace says what it touched."""

import pytest
from guests import CODE, DATA, END, MORE, SCTLR_OFF, STACK, TABLES, Guest, Touch, bytes_of, touched
from test_emu_machine_streams import COPY, identity, list_at_data, list_translated, swapped
from unicorn import (
    UC_ARCH_ARM64,
    UC_ARCH_X86,
    UC_HOOK_BLOCK,
    UC_HOOK_CODE,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MEM_WRITE,
    UC_MODE_64,
    UC_MODE_ARM,
    Uc,
    UcError,
    arm64_const,
)

from emu.attached import Attachment
from emu.cpu import Pe
from traces.check import check
from traces.errors import InputError
from traces.schema import EpochCause

LIST = """
    mov x0, #DATA
next:
    ldr x1, [x0, #8]
    ldr x0, [x0]
    cbnz x0, next
    br x30
"""
CALLS = """
    mov x12, #DATA
    mov x3, #5
again:
    bl leaf
    ldr x4, [x12]
    ldrb w5, [x4, x3]
    subs x3, x3, #1
    b.ne again
    b END
leaf:
    str x12, [x12]
    stp x3, x30, [sp, #-16]!
    ldp x3, x30, [sp], #16
    ret
"""
MODIFIES = """
    mov x12, #DATA
    mov x3, #2
    adr x0, patched
    ldr w1, other
again:
patched:
    ldr x5, [x12]
    str w1, [x0]
    ic iallu
    isb
    subs x3, x3, #1
    b.ne again
    b END
other:
    ldr x5, [x12, #8]
"""
MMU_OFF = f"""
    mov x12, #DATA
    ldr x1, [x12]
    movz x0, #{SCTLR_OFF & 0xFFFF}
    movk x0, #{SCTLR_OFF >> 16}, lsl #16
    msr sctlr_el1, x0
    isb
    ldr x2, [x12]
    str x2, [x12, #8]
    b END
"""
STORES_TO_TABLES = """
    mov x12, #DATA
    ldr x1, [x12]
    mov x0, #TABLES
    ldr x2, [x0, #0x3808]
    str x2, [x0, #0x3810]
    tlbi vmalle1
    dsb ish
    isb
    ldr x1, [x12, #16]
    b END
"""


def engine(guest: Guest) -> Uc:
    """Somebody's own engine, as the guest's machine stands before its first instruction."""
    machine = guest.build()
    uc = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    uc.ctl_set_cpu_model(arm64_const.UC_CPU_ARM64_A72)
    pe = Pe(uc)
    pe.sysreg["SCR_EL3"], pe.sysreg["HCR_EL2"] = 0x501, 1 << 31
    for region in guest.memory.regions:
        uc.mem_map(region.pa, region.size)
        uc.mem_write(region.pa, region.data.tobytes())
    for name in ("MAIR_EL1", "TCR_EL1", "TTBR0_EL1", "SCTLR_EL1"):
        pe.sysreg[name] = machine.cpu.sysreg[name]
    for number in range(31):
        pe.x[number] = machine.cpu.x[number]
    pe.sp = STACK
    return uc


def watched(uc: Uc) -> tuple[list[Touch], list[tuple[int, int]]]:
    """Hook an engine as its owner would: what it touches, and its blocks."""
    seen: list[Touch] = []
    blocks: list[tuple[int, int]] = []
    uc.hook_add(
        UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE,
        lambda _, kind, pa, size, value, data: seen.extend(bytes_of(pa, size, "w" if kind == UC_MEM_WRITE else "r")),
    )
    uc.hook_add(UC_HOOK_BLOCK, lambda _, va, size, data: blocks.append((va, size)))
    return seen, blocks


GUESTS = {
    "flat copy": Guest(COPY),
    "translated copy": Guest(COPY, prepare=identity),
    "pages swapped": Guest(COPY, prepare=swapped),
    "list": Guest(LIST, prepare=list_at_data),
    "translated list": Guest(LIST, prepare=list_translated),
    "calls": Guest(CALLS),
    "code that modifies itself": Guest(MODIFIES),
    "MMU turned off": Guest(MMU_OFF, prepare=identity),
}


@pytest.mark.parametrize("name", GUESTS)
def test_an_engine_runs_as_it_would_and_the_trace_has_what_it_touches(name):
    guest = GUESTS[name]
    alone = engine(guest)
    expected = watched(alone)
    alone.emu_start(CODE, END)
    uc = engine(guest)
    seen = watched(uc)
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    attachment.detach()
    assert seen == expected
    trace = attachment.trace()
    assert check(trace) == []
    assert touched(trace) == seen[0]
    assert [(int(trace.blocks["va"][row]), 4 * int(trace.blocks["count"][row])) for row in trace.executions] == seen[1]
    assert [uc.reg_read(each) for each in _registers()] == [alone.reg_read(each) for each in _registers()]


@pytest.mark.parametrize("name", ["translated copy", "translated list", "MMU turned off"])
def test_the_trace_is_the_machines_own(name):
    """What `Machine` records of the same guest, translations and walks among it."""
    guest = GUESTS[name]
    own = guest.run().trace
    uc = engine(guest)
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    trace = attachment.trace()
    for part in ("executions", "values", "translations", "walk_reads", "marks"):
        assert getattr(trace, part).tobytes() == getattr(own, part).tobytes(), part
    for column in ("el", "stage1", "dcache", "icache", "flat_type", "walk_type", "asid"):
        assert trace.epochs[column].tolist() == own.epochs[column].tolist(), column


def _registers() -> list[int]:
    return [*range(arm64_const.UC_ARM64_REG_X0, arm64_const.UC_ARM64_REG_X0 + 29), arm64_const.UC_ARM64_REG_PC]


def test_tables_that_are_stored_to_are_read_again():
    def prepare(guest: Guest) -> None:
        identity(guest)

    uc = engine(Guest(STORES_TO_TABLES, prepare=prepare))
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    assert EpochCause.TABLE_STORE in attachment.trace().epochs["cause"].tolist()


def test_tables_that_the_owner_writes_between_runs_are_read_again():
    guest = Guest("mov x12, #DATA\nldr x1, [x12]\nb END\n", prepare=identity)
    uc = engine(guest)
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    leaf = next(
        pa for pa in range(TABLES, TABLES + 0x1_0000, 8) if guest.memory.read_u64(pa) & ~0xFFF & (1 << 48) - 1 == DATA
    )
    moved = guest.memory.read_u64(leaf) - DATA + MORE
    uc.mem_write(leaf, moved.to_bytes(8, "little"))
    Pe(uc).flush_tlb()
    uc.emu_start(CODE, END)
    pages = attachment.trace().translations
    assert {int(row["pa"]) for row in pages if int(row["page"]) == DATA >> 12} == {DATA, MORE}


def test_what_the_owner_stops_in_mid_block_ends_there():
    guest = Guest(COPY)
    for stop in (CODE + 4, CODE + 0x10, CODE + 0x1C, CODE + 0x2C):
        uc = engine(guest)
        seen, _ = watched(uc)
        attachment = Attachment(uc)
        uc.hook_add(UC_HOOK_CODE, lambda uc, va, size, data: uc.emu_stop(), begin=stop, end=stop)
        uc.ctl_flush_tb()
        uc.emu_start(CODE, END)
        assert touched(attachment.trace()) == seen
        assert attachment.instructions == (uc.reg_read(arm64_const.UC_ARM64_REG_PC) - CODE) // 4


@pytest.mark.parametrize("name", ["flat copy", "list"])
def test_runs_of_some_instructions_at_a_time_add_up(name):
    whole = engine(GUESTS[name])
    one = Attachment(whole)
    whole.emu_start(CODE, END)
    uc = engine(GUESTS[name])
    seen, _ = watched(uc)
    attachment = Attachment(uc)
    for _ in range(100_000):
        pc = uc.reg_read(arm64_const.UC_ARM64_REG_PC) if attachment.instructions else CODE
        if pc == END:
            break
        uc.emu_start(pc, END, count=7)
    assert attachment.instructions == one.instructions
    assert touched(attachment.trace()) == seen == touched(one.trace())


def test_an_error_of_the_engine_is_its_own_and_what_ran_before_is_there():
    uc = engine(Guest("mov x12, #DATA\nldr x1, [x12]\nmov x2, #0x100\nldr x3, [x2]\nb END\n"))
    attachment = Attachment(uc)
    with pytest.raises(UcError):
        uc.emu_start(CODE, END)
    assert attachment.instructions == 3
    assert touched(attachment.trace()) == bytes_of(DATA, 8, "r")


def test_a_hook_that_raises_is_heard_and_one_that_runs_the_engine_is_let():
    uc = engine(Guest(COPY))
    attachment = Attachment(uc)

    def refuse(*_: object) -> None:
        raise ZeroDivisionError

    handle = uc.hook_add(UC_HOOK_CODE, refuse, begin=CODE + 0x10, end=CODE + 0x10)
    with pytest.raises(ZeroDivisionError):
        uc.emu_start(CODE, END)
    uc.hook_del(handle)
    uc.emu_start(CODE, END)
    assert check(attachment.trace()) == []


def test_detached_the_engine_is_as_it_was():
    uc = engine(Guest(COPY))
    before = set(vars(uc))
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    executed = attachment.instructions
    attachment.detach()
    attachment.detach()
    assert set(vars(uc)) == before
    uc.emu_start(CODE, END)
    assert attachment.instructions == executed
    Attachment(uc).detach()


def test_memory_that_is_mapped_later_is_seen():
    uc = engine(Guest("mov x12, #0x200000\nldr x1, [x12]\nb END\n"))
    uc.hook_add(1 << 4 | 1 << 5 | 1 << 6, lambda uc, *_: uc.mem_map(0x200000, 0x1000) is None)
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    assert touched(attachment.trace()) == bytes_of(0x200000, 8, "r")


def test_what_a_pe_would_not_let_pass_is_counted():
    uc = engine(Guest("mov x12, #DATA\nldr x1, [x12, #4]\nldr x1, [x12]\nb END\n"))
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    assert [(each.kind, each.pc, each.va) for each in attachment.refusals] == [
        ("unaligned-device", CODE + 4, DATA + 4),
    ]


def test_programs_without_their_kernel_run_in_normal_memory():
    uc = engine(Guest(COPY))
    attachment = Attachment(uc, flat_cacheable=True)
    uc.emu_start(CODE, END)
    epoch = attachment.trace().epochs[0]
    assert (epoch["flat_type"], epoch["flat_fetch_type"], epoch["dcache"], epoch["icache"]) == (6, 6, 1, 1)


def test_other_engines_are_refused():
    with pytest.raises(InputError, match="AArch64"):
        Attachment(Uc(UC_ARCH_X86, UC_MODE_64))
    uc = engine(Guest(COPY))
    attachment = Attachment(uc)
    with pytest.raises(InputError, match="attached already"):
        Attachment(uc)
    with pytest.raises(InputError, match="nothing has run"):
        attachment.trace()
