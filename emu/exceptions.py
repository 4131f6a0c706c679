"""Exceptions as the architecture delivers them: what happened (Event), where it goes, and what the target level finds.

Unicorn only says that something happened; ESR, FAR, ELR, SPSR, PSTATE and the vector are all set here (Arm ARM D1.3).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from emu.cpu import DAIF_MASKED, SPSEL, Cpu
from emu.walker import FaultKind, WalkFault
from traces.schema import EXCEPTION


class ExceptionClass(IntEnum):
    """ESR_ELx.EC (Arm ARM D17.2.37). Aborts from the same level are one more than these."""

    UNKNOWN = 0x00
    ILLEGAL_STATE = 0x0E
    SVC = 0x15
    HVC = 0x16
    SMC = 0x17
    INSTRUCTION_ABORT = 0x20
    PC_ALIGNMENT = 0x22
    DATA_ABORT = 0x24
    SP_ALIGNMENT = 0x26
    BRK = 0x3C


FSC_ALIGNMENT = 0b100001
FSC_EXTERNAL = 0b010000
FSC_EXCLUSIVE = 0b110101
"""Unsupported exclusive or atomic access."""

_ABORTS = (ExceptionClass.INSTRUCTION_ABORT, ExceptionClass.DATA_ABORT)
_CALLS = (ExceptionClass.SVC, ExceptionClass.HVC, ExceptionClass.SMC)
_IL = 1 << 25
_HCR_TSC, _HCR_TGE, _HCR_TEA = 1 << 19, 1 << 27, 1 << 37
_SPSR_PAN = 1 << 22
_SCTLR_SPAN = 1 << 23
_NZCV = 0xF000_0000
EL3 = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that makes the PE take an exception. `elr` is the preferred return address."""

    ec: ExceptionClass
    elr: int
    iss: int = 0
    far: int | None = None
    """The faulting address; None leaves FAR as it is."""
    ipa: int | None = None
    """What stage 2 refused: the exception goes to EL2, with HPFAR_EL2."""
    external: bool = False
    reason: str = ""
    """One sentence for a person; empty for calls."""

    @property
    def meant(self) -> bool:
        """Whether the guest asked for it: svc, hvc, smc."""
        return self.ec in _CALLS


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """An exception as it was taken; register values are those of the level that took it."""

    event: Event
    from_el: int
    to_el: int
    esr: int
    far: int
    spsr: int
    vector: int

    def to_record(self) -> np.void:
        """Return the row of EXCEPTION, with `at` still 0."""
        row = np.zeros(1, EXCEPTION)
        for name in ("from_el", "to_el", "esr", "far", "spsr", "vector"):
            row[name] = getattr(self, name)
        row["elr"], row["meant"] = self.event.elr, self.event.meant
        record: np.void = row[0]
        return record


def route(cpu: Cpu, event: Event) -> int:
    """Say which level takes the exception (Arm ARM D1.3.1.1, tables R_PCLVP ff.); EL3 is not there to take anything."""
    el, hcr = cpu.el, cpu.sysreg["HCR_EL2"]
    if event.ec is ExceptionClass.SMC and not (el == 1 and hcr & _HCR_TSC):
        return EL3
    if el == 2 or event.ec in (ExceptionClass.HVC, ExceptionClass.SMC) or event.ipa is not None:
        return 2
    if (el == 0 and hcr & _HCR_TGE) or (event.external and hcr & _HCR_TEA):
        return 2
    return 1


def syndrome(event: Event, *, same_level: bool) -> int:
    """Return ESR of the event; the instruction length is always 32 bits."""
    ec = event.ec + (1 if same_level and event.ec in _ABORTS else 0)
    return ec << 26 | _IL | event.iss


def deliver(cpu: Cpu, event: Event) -> Taken:
    """Take the exception: the target level's registers, PSTATE and PC are as its handler finds them.

    An exception to EL3 changes nothing but is described: nobody is there.
    """
    from_el, spsr, to_el = cpu.el, cpu.pstate, route(cpu, event)
    esr = syndrome(event, same_level=from_el == to_el)
    if to_el == EL3:
        return Taken(event=event, from_el=from_el, to_el=to_el, esr=esr, far=0, spsr=spsr, vector=0)
    level = f"EL{to_el}"
    sysreg = cpu.sysreg
    sysreg["ESR_" + level], sysreg["SPSR_" + level], sysreg["ELR_" + level] = esr, spsr, event.elr
    if event.far is not None:
        sysreg["FAR_" + level] = event.far
    if event.ipa is not None:
        sysreg["HPFAR_EL2"] = event.ipa >> 12 << 4
    vector = (sysreg["VBAR_" + level] & ~0x7FF) + vector_offset(spsr, to_el)
    cpu.pstate = _entry_pstate(cpu, spsr, to_el)
    cpu.pc = vector
    far = sysreg["FAR_" + level]
    return Taken(event=event, from_el=from_el, to_el=to_el, esr=esr, far=far, spsr=spsr, vector=vector)


def vector_offset(spsr: int, to_el: int) -> int:
    """Return the offset of a synchronous exception's vector (Arm ARM table D1-6); lower levels are AArch64."""
    if spsr >> 2 & 3 != to_el:
        return 0x400
    return 0x200 if spsr & SPSEL else 0x000


def _entry_pstate(cpu: Cpu, spsr: int, to_el: int) -> int:
    """PSTATE at a handler's first instruction: all masked, own SP; PAN set unless SCTLR.SPAN says to leave it."""
    pstate = spsr & _NZCV | DAIF_MASKED | to_el << 2 | SPSEL
    if cpu.model == "max":
        pstate |= spsr & _SPSR_PAN
        if (to_el == 1 or cpu.e2h) and not cpu.sysreg[f"SCTLR_EL{to_el}"] & _SCTLR_SPAN:
            pstate |= _SPSR_PAN
    return pstate


def call(ec: ExceptionClass, immediate: int, elr: int) -> Event:
    """Describe svc, hvc or smc; `elr` is behind it."""
    return Event(ec=ec, elr=elr, iss=immediate)


def undefined(elr: int, word: int, text: str) -> Event:
    """Describe an instruction that is UNDEFINED here; `text` says what and where."""
    return Event(ec=ExceptionClass.UNKNOWN, elr=elr, reason=f"undefined instruction {word:#010x} ({text})")


def instruction_abort(va: int, fault: WalkFault, sentence: str) -> Event:
    """Describe a fetch whose walk faults."""
    return Event(
        ec=ExceptionClass.INSTRUCTION_ABORT,
        elr=va,
        iss=fault.on_walk << 7 | fault.fsc,
        far=va,
        ipa=fault.ipa if fault.stage == 2 else None,
        external=fault.kind is FaultKind.EXTERNAL,
        reason="instruction abort, " + sentence,
    )


def data_abort(
    fault: WalkFault, elr: int, va: int, *, write: bool, maintenance: bool, isv: int, sentence: str
) -> Event:
    """Describe an access whose walk faults. `isv`: ISS[24:14] of a single register access, for stage 2 aborts."""
    second = fault.stage == 2 and not fault.on_walk
    iss = (isv if second else 0) | maintenance << 8 | fault.on_walk << 7 | write << 6 | fault.fsc
    return Event(
        ec=ExceptionClass.DATA_ABORT,
        elr=elr,
        iss=iss,
        far=va,
        ipa=fault.ipa if fault.stage == 2 else None,
        external=fault.kind is FaultKind.EXTERNAL,
        reason="data abort, " + sentence,
    )


def data_fault(fsc: int, elr: int, va: int, *, write: bool, sentence: str, maintenance: bool = False) -> Event:
    """Describe an access refused without a walk fault: alignment, exclusive to Device memory, or nothing there."""
    return Event(
        ec=ExceptionClass.DATA_ABORT,
        elr=elr,
        iss=maintenance << 8 | write << 6 | fsc,
        far=va,
        external=fsc == FSC_EXTERNAL,
        reason="data abort, " + sentence,
    )


def external_fetch(va: int, pa: int) -> Event:
    """Describe a fetch from where there is no memory."""
    return Event(
        ec=ExceptionClass.INSTRUCTION_ABORT,
        elr=va,
        iss=FSC_EXTERNAL,
        far=va,
        external=True,
        reason=f"instruction abort, synchronous external abort: there is no memory at {pa:#x}",
    )
