"""Diagnosis: why the PE stopped at an instruction: its addresses are formed and walked again."""

from collections.abc import Iterator

from asm.decode import Insn, decode
from asm.insn import SXTW, UXTW
from emu import exceptions
from emu.cpu import Cpu
from emu.exceptions import Event, ExceptionClass
from emu.memory import PhysicalMemory
from emu.regime import Regime
from emu.walker import FaultKind, Translation, WalkAccess, translate
from traces.schema import NO_REGISTER, PAGE_BYTES, Access, InsnFlag, Maintenance

UNDEFINED, SVC, INSTRUCTION_ABORT, DATA_ABORT, BRK, HVC, SMC = 1, 2, 3, 4, 7, 11, 13
"""What Unicorn's interrupt hook says (facts/unicorn.md)."""

_MASK64 = (1 << 64) - 1


def diagnose(cpu: Cpu, regime: Regime, number: int) -> Event:
    """Say which exception Unicorn's interrupt `number` is, with the PE as it stands."""
    pc = cpu.pc
    if number in (SVC, HVC, SMC):
        ec = {SVC: ExceptionClass.SVC, HVC: ExceptionClass.HVC, SMC: ExceptionClass.SMC}[number]
        return exceptions.call(ec, _word(cpu.memory, regime, pc - 4) >> 5 & 0xFFFF, pc)
    if number == INSTRUCTION_ABORT:
        return fetch_abort(cpu.memory, regime, pc)
    insn = decode(_word(cpu.memory, regime, pc).to_bytes(4, "little"), pc)[0]
    if number == DATA_ABORT:
        return access_abort(cpu, regime, insn)
    if number == BRK:
        comment = insn.word >> 5 & 0xFFFF
        return Event(ec=ExceptionClass.BRK, elr=pc, iss=comment, reason=f"breakpoint instruction: brk #{comment:#x}")
    # Unicorn traps no floating point: CPACR and CPTR have no effect.
    return exceptions.undefined(pc, insn.word, f"{insn.text} at EL{regime.el}")


def fetch_abort(memory: PhysicalMemory, regime: Regime, pc: int) -> Event:
    """Describe the fault of a fetch at `pc`."""
    found = translate(memory, regime, pc, WalkAccess.FETCH)
    if found.fault is None:
        return exceptions.external_fetch(pc, found.pa)
    return exceptions.instruction_abort(pc, found.fault, walk_sentence(memory, regime, found, WalkAccess.FETCH))


def access_abort(cpu: Cpu, regime: Regime, insn: Insn) -> Event:
    """Describe the fault of the address that an instruction forms, with registers as they are before it."""
    kind = walk_access(insn)
    privileged = not is_unprivileged(insn.word)
    write = kind not in (WalkAccess.LOAD, WalkAccess.FETCH)
    for va in _pages(address(cpu, insn), max(insn.size, 1)):
        found = translate(cpu.memory, regime, va, kind, privileged=privileged)
        if found.fault is not None:
            return exceptions.data_abort(
                found.fault,
                insn.va,
                va,
                write=write,
                maintenance=insn.access is Access.MAINTAIN,
                isv=_instruction_syndrome(insn),
                sentence=walk_sentence(cpu.memory, regime, found, kind),
            )
        if not cpu.memory.contains(found.pa):
            return exceptions.data_fault(
                exceptions.FSC_EXTERNAL,
                insn.va,
                va,
                write=write,
                sentence=f"synchronous external abort: there is no memory at {found.pa:#x}",
            )
    raise RuntimeError(
        f"{insn.text} at {insn.va:#x} aborted in Unicorn, yet {address(cpu, insn):#x} translates under {regime}"
    )


def walk_access(insn: Insn) -> WalkAccess:
    """Say which permission an instruction's access needs."""
    if insn.access is Access.MAINTAIN:
        return WalkAccess.MAINTAIN_WRITE if insn.maintenance is Maintenance.DC_IVAC else WalkAccess.MAINTAIN
    return WalkAccess.LOAD if insn.access in (Access.LOAD, Access.PREFETCH) else WalkAccess.STORE


def address(cpu: Cpu, insn: Insn) -> int:
    """Form the address of an instruction that is about to execute."""
    memory = insn.memory
    if memory is None:
        return insn.target or 0
    va = cpu.x[memory.base] + memory.offset
    if memory.index != NO_REGISTER:
        index = cpu.x[memory.index]
        if memory.extend == UXTW:
            index &= 0xFFFF_FFFF
        elif memory.extend == SXTW:
            index = ((index & 0xFFFF_FFFF) ^ (1 << 31)) - (1 << 31)
        va += index << memory.shift
    if insn.access is Access.ZERO:
        va &= ~(insn.size - 1)
    return va & _MASK64


def walk_sentence(memory: PhysicalMemory, regime: Regime, found: Translation, access: WalkAccess) -> str:
    """Say in words why a walk ends: the kind and level of the fault, and the descriptor or register at its root."""
    fault = found.fault
    if fault is None:
        return "no fault"
    stage = f"stage {fault.stage} " if regime.stage2 else ""
    name = fault.kind.name.lower().replace("_", " ")
    head = f"{stage}{name} fault level {fault.level}"
    if not found.reads:
        return f"{head}: {found.va:#x} {_out_of_range(regime, fault.stage, fault.kind)}"
    last = found.reads[-1]
    if fault.kind is FaultKind.EXTERNAL:
        external = f"{stage}synchronous external abort on the walk, level {fault.level}"
        return f"{external}: the descriptor at {last.pa:#x} lies where there is no memory"
    descriptor = memory.read_u64(last.pa)
    where = f"{descriptor:#018x} (at {last.pa:#x})"
    if fault.kind is FaultKind.PERMISSION:
        return f"{head}: {_forbidding(regime, descriptor, access, fault.stage)} the leaf {where}"
    cause = {
        FaultKind.TRANSLATION: f"the descriptor {where} for {found.va:#x} is invalid",
        FaultKind.ACCESS_FLAG: f"bit 10 (AF) of the leaf {where} is clear",
        FaultKind.ADDRESS_SIZE: f"the address in the descriptor {where} is wider than the PE or TCR allow",
    }
    return f"{head}: {cause[fault.kind]}"


def _forbidding(regime: Regime, leaf: int, access: WalkAccess, stage: int) -> str:
    """Name the bit of a leaf that refuses an access, up to and including "of"."""
    if stage == 2:
        named = {WalkAccess.FETCH: "bit 54 (XN) is set in", WalkAccess.LOAD: "bit 6 (S2AP[0], readable) is clear in"}
        return named.get(access, "bit 7 (S2AP[1], writable) is clear in")
    if access is not WalkAccess.FETCH:
        read_only = leaf >> 7 & 1
        return "bit 7 (AP[2], read-only) is set in" if read_only else "AP[2:1], or APTable of a table above, refuses"
    if not regime.two_ranges:
        name, bit = "XN", 54
    else:
        name, bit = ("UXN", 54) if regime.el == 0 else ("PXN", 53)
    if leaf >> bit & 1:
        return f"bit {bit} ({name}) is set in"
    if regime.el != 0 and regime.two_ranges and leaf >> 6 & 3 == 1:
        return "EL0 may write (AP = 01), so EL1 never executes,"
    return f"SCTLR.WXN, or {name}Table of a table above, forbids to execute"


def _out_of_range(regime: Regime, stage: int, kind: FaultKind) -> str:
    if kind is FaultKind.ADDRESS_SIZE:
        if stage == 2:
            return "is sought in a table that VTTBR_EL2 places beyond what VTCR_EL2.PS allows"
        if regime.stage1:
            return "is sought in a table that TTBR places beyond the physical addresses that TCR allows"
        return f"does not fit the PE's {regime.pa_bits} bits of physical address"
    if stage == 2:
        return "lies outside what VTCR_EL2 lets stage 2 translate"
    return "lies in no range that TCR lets a TTBR translate"


def _pages(va: int, size: int) -> Iterator[int]:
    """Yield the first byte touched of each page."""
    yield va
    boundary = (va // PAGE_BYTES + 1) * PAGE_BYTES
    if va + size > boundary:
        yield boundary & _MASK64


def _word(memory: PhysicalMemory, regime: Regime, va: int) -> int:
    """Read the instruction at `va`; 0 (udf) where nothing can be read."""
    found = translate(memory, regime, va, WalkAccess.FETCH)
    if found.fault is not None or not memory.contains(found.pa, 4):
        return 0
    return int.from_bytes(memory.read(found.pa, 4), "little")


def is_unprivileged(word: int) -> bool:
    """Whether this is ldtr, sttr or one of their sizes (Arm ARM C4.1.94.18)."""
    return word & 0x3B20_0C00 == 0x3800_0800


def _instruction_syndrome(insn: Insn) -> int:
    """ISS[24:14] of a load or store of one general register without writeback: ISV, SAS, SSE, SRT, SF, AR; else 0."""
    word = insn.word
    if insn.flags & (InsnFlag.PAIR | InsnFlag.VECTOR | InsnFlag.WRITEBACK | InsnFlag.EXCLUSIVE | InsnFlag.LITERAL):
        return 0
    if insn.access not in (Access.LOAD, Access.STORE):
        return 0
    acquires = bool(insn.flags & (InsnFlag.ACQUIRE | InsnFlag.RELEASE))
    size, opc = word >> 30 & 3, word >> 22 & 3
    extends = not acquires and opc >= 2
    wide = size == 3 or (extends and opc == 2)
    return 1 << 24 | size << 22 | extends << 21 | (word & 31) << 16 | wide << 15 | acquires << 14
