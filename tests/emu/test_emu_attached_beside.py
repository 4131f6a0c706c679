"""An attached engine beside hooks of every kind, and through what its owner does to it: the same as without."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from guests import CODE, DATA, END, MORE, TABLES, Guest, Touch, bytes_of, touched
from test_emu_attached import CALLS, COPY, LIST, MODIFIES, engine, watched
from test_emu_machine_streams import identity, list_at_data, list_translated
from unicorn import (
    UC_HOOK_BLOCK,
    UC_HOOK_CODE,
    UC_HOOK_EDGE_GENERATED,
    UC_HOOK_INSN,
    UC_HOOK_INTR,
    UC_HOOK_MEM_INVALID,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    Uc,
    arm64_const,
)

from emu.attached import Attachment
from emu.cpu import Pe
from traces.check import check
from traces.errors import InputError

PC, X4, X7 = (getattr(arm64_const, f"UC_ARM64_REG_{name}") for name in ("PC", "X4", "X7"))
STATE = [
    *range(arm64_const.UC_ARM64_REG_X0, arm64_const.UC_ARM64_REG_X0 + 29),
    *range(arm64_const.UC_ARM64_REG_Q0, arm64_const.UC_ARM64_REG_Q0 + 32),
    *(getattr(arm64_const, f"UC_ARM64_REG_{name}") for name in ("X29", "X30", "SP", "PC", "PSTATE", "FPCR", "FPSR")),
]
FAULTS = """
    mov x12, #DATA
    mov x0, #1
    svc #5
    str x0, [x12]
    add x0, x0, #1
    svc #6
    str x0, [x12, #8]
    mrs x6, tpidr_el0
    b END
"""
AT_EL0 = """
    mov x12, #DATA
    mov x3, #4
again:
    ldr x1, [x12], #8
    str x1, [x12, #0x100]
    subs x3, x3, #1
    b.ne again
    b END
"""
STILL = """
    mov x12, #DATA
    mov x3, #6
again:
    ldr x5, [x12]
    subs x3, x3, #1
    b.ne again
    str x3, [x12, #8]
    b END
"""
LIST_LATER = f"    mov x9, #7\n    b start\nstart:\n{LIST}"

Scenario = Callable[[Uc, list[Any]], None]


def nothing(_: Uc, __: list[Any]) -> None:
    """Hook nothing."""


def state(uc: Uc) -> tuple[list[int], bytes]:
    """Registers and memory."""
    return [uc.reg_read(each) for each in STATE], bytes(uc.mem_read(CODE, 0x80_0000))


def beside(guest: Guest, scenario: Scenario, before: Scenario = nothing) -> tuple[Attachment, list[Touch]]:
    """Do the same to two engines, one of them attached; whatever anybody can see of them is equal.

    `before`: what is done to both before one is attached.
    """
    seen = []
    attachment: Attachment | None = None
    for attached in (False, True):
        uc, log = engine(guest), []
        touches, blocks = watched(uc)
        before(uc, log)
        attachment = Attachment(uc) if attached else None
        scenario(uc, log)
        seen.append((log, touches, blocks, state(uc)))
        if attachment is not None:
            attachment.detach()
            assert not attachment.instructions or check(attachment.trace()) == []
    assert seen[0] == seen[1]
    assert attachment is not None
    return attachment, seen[1][1]


def executed(uc: Uc) -> list[int]:
    """Hook an engine so that the addresses of what it executes are noted."""
    found: list[int] = []
    uc.hook_add(UC_HOOK_CODE, lambda _, va, size, data: found.append(va))
    return found


def every_kind(uc: Uc, log: list[Any]) -> None:
    def note(*seen: object) -> None:
        log.append([each for each in seen[1:] if isinstance(each, int)])

    def missing(uc: Uc, kind: int, *rest: object) -> bool:
        note(uc, kind)
        return False

    for kind in (UC_HOOK_CODE, UC_HOOK_BLOCK, UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, UC_HOOK_INTR):
        uc.hook_add(kind, note)
    edges: set[tuple[int, int]] = set()  # one that we stop at may be told twice
    uc.hook_add(UC_HOOK_EDGE_GENERATED, lambda uc, block, *_: edges.add((block.pc, block.size)))
    uc.hook_add(UC_HOOK_MEM_INVALID, missing)
    uc.hook_add(UC_HOOK_INSN, lambda *_: log.append("mrs") or False, aux1=arm64_const.UC_ARM64_INS_MRS)
    uc.emu_start(CODE, END)
    log.append(sorted(edges))


GUESTS = {
    "flat copy": Guest(COPY),
    "translated copy": Guest(COPY, prepare=identity),
    "list": Guest(LIST, prepare=list_at_data),
    "translated list": Guest(LIST, prepare=list_translated),
    "calls": Guest(CALLS),
    "code that modifies itself": Guest(MODIFIES),
    "calls of a supervisor": Guest(FAULTS),
}


@pytest.mark.parametrize("name", GUESTS)
def test_hooks_of_every_kind_see_the_same(name):
    attachment, touches = beside(GUESTS[name], every_kind)
    assert touched(attachment.trace()) == touches


def test_hooks_that_come_and_go_during_the_run():
    def scenario(uc: Uc, log: list[Any]) -> None:
        handles: list[int] = []

        def come(uc: Uc, va: int, size: int, _: object) -> None:
            log.append(("block", va))
            if len(log) == 3:
                handles.append(uc.hook_add(UC_HOOK_MEM_WRITE, lambda *seen: log.append(seen[2])))
            if len(log) == 20:
                uc.hook_del(handles.pop())

        uc.hook_add(UC_HOOK_BLOCK, come)
        uc.emu_start(CODE, END)

    attachment, touches = beside(Guest(CALLS), scenario)
    assert touched(attachment.trace()) == touches


def test_hooks_that_write_registers_and_memory():
    def scenario(uc: Uc, log: list[Any]) -> None:
        def write(uc: Uc, va: int, size: int, _: object) -> None:
            log.append(uc.reg_read(X4))
            uc.reg_write(X4, uc.reg_read(X4) ^ 0x55)
            uc.reg_write(X7, va)
            uc.mem_write(MORE + 0x100, bytes([len(log)] * 16))

        uc.hook_add(UC_HOOK_CODE, write, begin=CODE + 0x10, end=CODE + 0x14)
        uc.emu_start(CODE, END)

    attachment, touches = beside(Guest(COPY), scenario)
    assert touched(attachment.trace()) == touches


def test_a_hook_of_blocks_that_writes_the_register_of_an_address():
    """One that was there before the engine was attached is called before ours."""

    def before(uc: Uc, log: list[Any]) -> None:
        x12 = arm64_const.UC_ARM64_REG_X12
        uc.hook_add(UC_HOOK_BLOCK, lambda uc, va, *_: uc.reg_write(x12, DATA + 8 * (va & 0xFF)))

    def scenario(uc: Uc, log: list[Any]) -> None:
        uc.emu_start(CODE, END)

    guest = Guest("mov x12, #DATA\nmov x3, #3\nagain:\nldr x1, [x12]\nsubs x3, x3, #1\nb.ne again\nb END\n")
    attachment, touches = beside(guest, scenario, before)
    assert touched(attachment.trace()) == touches


def test_a_hook_that_runs_the_engine():
    def scenario(uc: Uc, log: list[Any]) -> None:
        def again(uc: Uc, *_: object) -> None:
            kept = uc.context_save()
            uc.emu_start(CODE + 4, CODE + 0xC)
            uc.context_restore(kept)
            log.append(uc.reg_read(PC))

        uc.hook_add(UC_HOOK_CODE, again, begin=CODE + 0x14, end=CODE + 0x14)
        uc.emu_start(CODE, END)

    attachment, _ = beside(Guest(STILL), scenario)
    assert attachment.instructions > 20


@pytest.mark.parametrize("source", [LIST_LATER, CALLS, STILL])
def test_a_run_of_so_many_instructions_ends_where_it_would(source):
    """Not compared: a hook of blocks may be called for one that the count ends before, or not."""
    guest = Guest(source, prepare=list_at_data)
    for count in range(1, 24):
        alone, uc = engine(guest), engine(guest)
        attachment = Attachment(uc)
        touches, _ = watched(uc)
        for each in (alone, uc):
            each.emu_start(CODE, END, count=count)
        assert state(alone) == state(uc)
        assert touched(attachment.trace()) == touches
        assert attachment.instructions == executed_until(guest, state(alone)[0])


def test_a_run_that_never_ends_ends_by_its_timeout():
    uc = engine(Guest("mov x12, #DATA\nb start\nstart:\nldr x1, [x12]\nldr x2, [x1]\nb start\n"))
    uc.mem_write(DATA, DATA.to_bytes(8, "little"))
    attachment = Attachment(uc)
    uc.emu_start(CODE, END, timeout=200_000)
    assert attachment.instructions > 100


def executed_until(guest: Guest, stopped: list[int]) -> int:
    """Return after how many instructions of an unattached run its registers are these."""
    uc = engine(guest)
    uc.reg_write(PC, CODE)
    for count in range(200):
        if [uc.reg_read(each) for each in STATE] == stopped:
            return count
        uc.emu_start(uc.reg_read(PC), END, count=1)
    raise AssertionError("no run stops there")


@pytest.mark.parametrize("times", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("source", "kind"),
    [
        *((source, kind) for source in (COPY, STILL) for kind in (UC_HOOK_MEM_READ, UC_HOOK_BLOCK, UC_HOOK_CODE)),
        (LIST_LATER, UC_HOOK_BLOCK),
        (LIST_LATER, UC_HOOK_CODE),
    ],
)
def test_what_a_hook_stops_has_executed_what_it_would(source, kind, times):
    """All data is zero: Unicorn has done the load whose hook stops it, and yet stands before it."""
    guest = Guest(source)

    def scenario(uc: Uc, log: list[Any]) -> None:
        def stop(uc: Uc, *_: object) -> None:
            log.append("stop")
            if len(log) == (4 * times if kind == UC_HOOK_CODE else times):
                uc.emu_stop()

        uc.hook_add(kind, stop)
        uc.emu_start(CODE, END)
        log.append(uc.reg_read(PC))
        stopped.append(state(uc)[0])

    stopped: list[list[int]] = []
    attachment, _ = beside(guest, scenario)
    assert attachment.instructions == executed_until(guest, stopped[-1])


def test_snapshots_are_taken_and_gone_back_to():
    def scenario(uc: Uc, log: list[Any]) -> None:
        uc.emu_start(CODE, CODE + 8)
        kept, data = uc.context_save(), bytes(uc.mem_read(DATA, 64))
        uc.emu_start(uc.reg_read(PC), END)
        log.append(state(uc)[0])
        uc.context_restore(kept)
        uc.mem_write(DATA, data)
        uc.emu_start(uc.reg_read(PC), END)
        log.append(state(uc)[0])

    attachment, touches = beside(Guest(COPY, prepare=identity), scenario)
    assert touched(attachment.trace()) == touches


def test_a_regime_that_the_owner_changes_between_runs():
    def scenario(uc: Uc, log: list[Any]) -> None:
        uc.emu_start(CODE, END)
        pe = Pe(uc)
        pe.sysreg["SCTLR_EL1"] &= ~1
        uc.emu_start(CODE, END)
        pe.sysreg["SCTLR_EL1"] |= 1
        uc.emu_start(CODE, END)

    attachment, touches = beside(Guest(STILL, prepare=identity), scenario)
    assert touched(attachment.trace()) == touches
    assert attachment.trace().epochs["stage1"].tolist() == [1, 0, 1]


def test_user_code_at_el0():
    def scenario(uc: Uc, log: list[Any]) -> None:
        uc.reg_write(arm64_const.UC_ARM64_REG_PSTATE, 0x3C0)
        uc.emu_start(CODE, END)
        log.append(uc.reg_read(PC))
        assert log == [END]

    attachment, touches = beside(Guest(AT_EL0), scenario)
    assert touched(attachment.trace()) == touches
    assert attachment.trace().epochs["el"].tolist() == [0]


def test_user_code_at_el0_in_tables_of_its_own():
    def for_users(guest: Guest) -> None:
        identity(guest)
        for pa in range(TABLES, TABLES + 0x1_0000, 8):  # AP[1]: EL0 may; AP[2]: nobody writes, and so EL1 may execute
            if (leaf := guest.memory.read_u64(pa)) & 1 << 10:
                at = leaf & (1 << 48) - 0x1000
                guest.memory.write_u64(pa, leaf | (3 << 6 if at == CODE else 1 << 6))

    def scenario(uc: Uc, log: list[Any]) -> None:
        uc.hook_add(UC_HOOK_INTR, lambda uc, *_: uc.emu_stop())
        uc.emu_start(CODE, END)

    enter = "adr x0, user\nmsr elr_el1, x0\nmov x0, #0x3c0\nmsr spsr_el1, x0\neret\nuser:\n"
    attachment, touches = beside(Guest(enter + AT_EL0.replace("b END", "svc #0"), prepare=for_users), scenario)
    trace = attachment.trace()
    assert touched(trace) == touches != []
    assert trace.epochs["el"].tolist() == [1, 0]
    assert trace.epochs["stage1"].tolist() == [1, 1]


def test_a_supervisor_of_the_owners_that_answers_calls():
    def scenario(uc: Uc, log: list[Any]) -> None:
        uc.hook_add(UC_HOOK_INTR, lambda uc, number, _: log.append((number, uc.reg_read(PC))))
        uc.emu_start(CODE, END)

    attachment, touches = beside(Guest(FAULTS), scenario)
    assert touched(attachment.trace()) == touches == [*bytes_of(DATA, 8, "w"), *bytes_of(DATA + 8, 8, "w")]
    assert attachment.instructions == 9


def test_devices_of_the_owners():
    def scenario(uc: Uc, log: list[Any]) -> None:
        uc.mmio_map(
            0x900_0000,
            0x1000,
            lambda uc, offset, size, _: log.append((offset, size)) or 0x77,
            None,
            lambda uc, offset, size, value, _: log.append((offset, size, value)),
            None,
        )
        uc.emu_start(CODE, END)

    guest = Guest("mov x12, #0x9000000\nldr w1, [x12, #4]\nadd x1, x1, #1\nstr w1, [x12, #8]\nb END\n")
    attachment, _ = beside(guest, scenario)
    assert touched(attachment.trace()) == [*bytes_of(0x900_0004, 4, "r"), *bytes_of(0x900_0008, 4, "w")]


def test_two_engines_are_recorded_each_for_itself():
    alone = [Attachment(engine(GUESTS[name])) for name in ("flat copy", "translated list")]
    for each in alone:
        each._uc.emu_start(CODE, END)
    together = [Attachment(engine(GUESTS[name])) for name in ("flat copy", "translated list")]
    for _ in range(100_000):
        left = [each for each in together if not each.instructions or each._uc.reg_read(PC) != END]
        if not left:
            break
        for each in left:
            each._uc.emu_start(each._uc.reg_read(PC) if each.instructions else CODE, END, count=5)
    for one, other in zip(alone, together, strict=True):
        assert touched(one.trace()) == touched(other.trace())
        assert one.instructions == other.instructions


def test_detached_in_the_middle_of_a_run_it_goes_on_as_it_would():
    guest = Guest(CALLS)
    alone = engine(guest)
    expected = watched(alone)
    alone.emu_start(CODE, END)
    uc = engine(guest)
    seen = watched(uc)
    attachment = Attachment(uc)

    def leave(uc: Uc, va: int, *_: object) -> None:
        if len(seen[1]) == 4:
            attachment.detach()

    uc.hook_add(UC_HOOK_BLOCK, leave)
    uc.emu_start(CODE, END)
    assert seen == expected
    assert state(uc) == state(alone)
    trace = attachment.trace()
    assert check(trace) == []
    assert touched(trace) == seen[0][: len(touched(trace))]
    assert len(trace.executions) <= 5


def test_what_runs_after_detaching_is_what_would_have_run():
    def scenario(uc: Uc, log: list[Any]) -> None:
        uc.emu_start(CODE, END)

    for name in ("translated list", "code that modifies itself"):
        guest = GUESTS[name]
        one, other = engine(guest), engine(guest)
        attachment = Attachment(other)
        one.emu_start(CODE, END)
        other.emu_start(CODE, END)
        attachment.detach()
        seen = watched(one), watched(other)
        found = executed(one), executed(other)
        for uc in (one, other):
            uc.ctl_flush_tb()
            uc.emu_start(CODE, END)
        assert seen[0] == seen[1]
        assert found[0] == found[1]
        assert state(one) == state(other)


def test_a_trace_cannot_be_had_from_a_hook():
    uc = engine(Guest(STILL))
    attachment = Attachment(uc)
    uc.hook_add(UC_HOOK_BLOCK, lambda *_: attachment.trace())
    with pytest.raises(InputError, match="not from a hook"):
        uc.emu_start(CODE, END)


def test_a_stop_from_another_thread_is_off_by_a_block_at_most():
    """Unicorn then ends before a block or, its hooks called, at its first instruction; nothing tells which."""
    uc = engine(Guest("mov x3, #0\nagain:\nadd x3, x3, #1\nb again\n"))
    attachment = Attachment(uc)
    timer = threading.Timer(0.3, uc.emu_stop)
    timer.start()
    uc.emu_start(CODE, END)
    timer.join()
    assert attachment.instructions - 1 - 2 * uc.reg_read(arm64_const.UC_ARM64_REG_X3) in (0, 2)


def test_what_a_guest_reads_of_its_machine_is_noted():
    uc = engine(Guest("mrs x0, cntvct_el0\nb END\n"))
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    meta = attachment.trace().meta
    assert meta["timing_dependent"] is True
    assert meta["data_caches"] == [[256, 2], [1024, 16]]  # of Unicorn's Cortex-A72


def test_each_refusal_is_counted():
    uc = engine(Guest("mov x12, #DATA\nmov x3, #3\nagain:\nldr x1, [x12, #4]\nsubs x3, x3, #1\nb.ne again\nb END\n"))
    attachment = Attachment(uc)
    uc.emu_start(CODE, END)
    assert [(each.kind, each.pc, count) for each, count in attachment.refusals.items()] == [
        ("unaligned-device", CODE + 8, 3)
    ]
