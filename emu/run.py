"""Run: one stretch of guest execution, from where the PE stands to its end. Handles whatever the callbacks stop for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from unicorn import UC_ERR_EXCEPTION, UC_ERR_FETCH_UNMAPPED, UC_HOOK_INTR, UcError, unicorn_const

from asm.decode import Insn, decode
from emu import exceptions
from emu.address_space import AddressSpaces
from emu.capture import Capture, Code, signed, unsigned
from emu.cpu import Cpu
from emu.diagnosis import HVC, INSTRUCTION_ABORT, SMC, SVC, access_abort, diagnose, fetch_abort, walk_access
from emu.exceptions import EL3, Event, ExceptionClass, Taken, deliver
from emu.host_translation import HostTranslation
from emu.kernels import places
from emu.memory import PhysicalMemory
from emu.regime import Regime
from emu.system_access import SystemAccess
from emu.walker import WalkAccess, translate
from traces.schema import PAGE_BYTES, EpochCause, InsnClass, InsnFlag, Mark, Phase

_NO_EXIT = 0
"""Unicorn's `until`, which counts for nothing here: every stop is one that we asked for."""
_UNMAPPED = (unicorn_const.UC_ERR_READ_UNMAPPED, unicorn_const.UC_ERR_WRITE_UNMAPPED)
_ILLEGAL, _AARCH32 = 1 << 20, 1 << 4
"""PSTATE.IL and nRW, where SPSR has them."""
STOP_COST = 100
"""What an exception, a change of regime or a store to live tables or code counts as, against the budget."""
_HINTS_BYTES = 64
"""As long as a loop of wfe, yield and nop before a branch back may be to be known as one."""
_RECURRING = 256
"""The same exception from the same instruction this often, with no eret between: nothing will ever handle it."""


class Outcome(StrEnum):
    """How a run ended (`outcome` of interfaces.md)."""

    COMPLETED = "completed"
    HANG = "hang"
    FAULT = "fault"
    BUDGET = "budget"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """The first exception that the guest did not ask for."""

    el: int
    """The level that took it: whose ESR, FAR and ELR these are."""
    ec: int
    iss: int
    esr: int
    far: int
    elr: int
    reason: str
    """One sentence a kernel engineer understands."""
    where: str
    """symbol+offset of `elr`, or its address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How and why a run ended."""

    outcome: Outcome
    reason: str
    """One sentence; empty when completed."""


class Run:
    """Drives one Capture. Not to be used twice."""

    def __init__(
        self,
        cpu: Cpu,
        access: SystemAccess,
        translation: HostTranslation,
        capture: Capture,
        *,
        stop_pa: int | None,
        phases: Mapping[int, Phase],
        symbols: Mapping[str, int],
    ) -> None:
        self._cpu, self._access, self._translation, self._capture = cpu, access, translation, capture
        self._stop_pa, self._phases = stop_pa, phases
        self._symbols = sorted((va, name) for name, va in symbols.items())
        self._control = capture.control
        self._spaces = AddressSpaces(cpu.memory)
        self._interrupts: list[int] = []
        self._refused: tuple[int, Callable[[], Event]] | None = None
        self._seen: set[tuple[int, ...]] = set()
        self._progress = (-1, -1)
        self._nested: dict[tuple[int, int, int], int] = {}
        self._phase: Phase | None = None
        self.fault: Fault | None = None

    def to_end(self) -> Ending:
        """Run until the guest completes, hangs, faults or exhausts its budget."""
        self.open()
        try:
            while True:
                ending = self._advance()
                if ending is not None:
                    return ending
        finally:
            self.close()

    def open(self, execution: int = 0) -> None:
        """Stand before that execution of the trace, as the PE is now; until `close`, it is this run's."""
        self._access.force()
        self._capture.recording.resume_at(execution)
        self._cpu.flush_code()
        self._begin_epoch(self._cpu.regime(), EpochCause.START)
        self._hook = self._cpu.uc.hook_add(UC_HOOK_INTR, self._on_interrupt)
        # On its way out Unicorn fetches from where it was to stop: if stage 2 refuses that, HPFAR_EL2 is overwritten.
        self._cpu.uc.ctl_exits_enabled(True)
        self._cpu.uc.ctl_set_exits([])

    def until(self, execution: int) -> Ending | None:
        """Run until the PE stands before the execution of that number, or to its end.

        Exceptions that come between the last execution and that one have been taken.
        """
        recording, control = self._capture.recording, self._control
        while True:
            recording.stop_at(execution)
            ending = self._advance()
            stopped = control[places.C_REASON] == places.REASON_PENDING and not self._interrupts
            if ending is not None or (stopped and recording.executions >= execution):
                return ending

    def close(self) -> None:
        """Take everything out of Unicorn again."""
        self._cpu.uc.ctl_exits_enabled(False)
        self._cpu.uc.hook_del(self._hook)
        self._translation.stop()
        self._capture.unhook()

    def _on_interrupt(self, uc: object, number: int, _: object) -> None:
        """Note what Unicorn says, and stop: everything else happens outside of emulation."""
        self._interrupts.append(number)
        self._cpu.uc.emu_stop()

    def _advance(self) -> Ending | None:
        """Let Unicorn run until something stops it, and deal with that."""
        control = self._control
        control[places.C_REASON] = places.REASON_NONE
        self._interrupts.clear()
        error = 0
        try:
            self._cpu.uc.emu_start(self._cpu.pc, _NO_EXIT)
        except UcError as stopped:
            error = stopped.errno
        if self._interrupts:
            return self._interrupted(self._interrupts[0])
        if error:
            return self._failed(error)
        reason = int(control[places.C_REASON])
        if reason == places.REASON_NONE:
            return self._asleep()
        return self._reasons[reason](self)

    # -- What the callbacks stop for ----------------------------------------------------------------------------------

    def _pending(self) -> Ending | None:
        returned = self._control[places.C_PENDING] & places.PENDING_REGIME and self._capture.last_is_eret
        self._settle()
        return self._arrive() if returned else None

    def _arrive(self) -> Ending | None:
        """Look where an eret led: Unicorn lets an illegal execution state run on (Arm ARM D1.3.5)."""
        self._nested.clear()
        pc, pstate = self._cpu.pc, self._cpu.pstate
        if pstate & _AARCH32:
            return Ending(outcome=Outcome.FAULT, reason=f"eret to AArch32 at {self._where(pc)}, which is not modelled")
        if not pstate & _ILLEGAL:
            return None
        reason = "illegal execution state: an eret asked for a level or state that the PE does not have"
        return self._take(Event(ec=ExceptionClass.ILLEGAL_STATE, elr=pc, reason=reason))

    def _settle(self, cause: EpochCause | None = None) -> None:
        """Deal with PENDING_ bits, and begin a new epoch where there is one. `cause`: an exception was just taken."""
        if cause is not None or self._control[places.C_PENDING] & ~(places.PENDING_FULL | places.PENDING_ROOM):
            self._charge()
        begun = self._capture.settle(self._cpu.regime, cause)
        if begun is not None:
            self._begin_epoch(*begun)

    def _begin_epoch(self, regime: Regime, cause: EpochCause) -> None:
        """Begin an epoch, translated by whoever can serve it.

        Unicorn's TLB goes with the epoch before: a translation that software forgot to invalidate may be evicted at any
        time, and what the trace says of the new tables has to be what Unicorn does.
        """
        self._translation.serve(regime)
        self._capture.begin_epoch(regime, cause)
        begun = self._spaces.begun(regime, cause)
        if begun is not None:
            self._capture.recording.address_space(*begun)

    def _charge(self) -> None:
        """Count what had to be done outside of Unicorn against the budget, so that this bounds the host's time too."""
        self._control[places.C_BUDGET] -= STOP_COST

    def _unknown(self) -> Ending | None:
        """Meet a block for the first time in this epoch."""
        pc, size = unsigned(self._control[places.C_PC]), int(self._control[places.C_SIZE])
        if pc & 3:
            return self._take(
                Event(ec=ExceptionClass.PC_ALIGNMENT, elr=pc, far=pc, reason=f"PC {pc:#x} is not a multiple of 4")
            )
        if self._is_end(pc):
            return Ending(outcome=Outcome.COMPLETED, reason="")
        pa = self._capture.fetched_from(pc)
        if pa is None:  # Unicorn checks no output address against TCR.IPS, for one
            return self._take(fetch_abort(self._cpu.memory, self._capture.regime, pc))
        code = self._capture.find(pc, pa, size)
        stop_insn = self._stop_insn(code)
        if _never_leaves(code, self._cpu.memory):
            return Ending(outcome=Outcome.HANG, reason=f"the PE never leaves the branch to itself at {self._where(pc)}")
        marked = code.va in self._phases or _may_spin(code)
        self._capture.install(code, marked=marked, stop_insn=stop_insn)
        return None

    def _is_end(self, pc: int) -> bool:
        """Whether `stop_pa` is what executes next; notes nothing in the trace, because it does not execute."""
        if self._stop_pa is None or (pc ^ self._stop_pa) % PAGE_BYTES:
            return False
        found = translate(self._cpu.memory, self._capture.regime, pc, WalkAccess.FETCH)
        return found.fault is None and found.pa == self._stop_pa

    def _stop_insn(self, code: Code) -> int:
        """Find the instruction that must not run in Unicorn: stop_pa, or a system register access of ours; -1: none."""
        stops = [place for place, insn in enumerate(code.insns) if self._access.wants(insn)]
        if self._stop_pa is not None and code.pa <= self._stop_pa < code.pa + code.size:
            stops.append((self._stop_pa - code.pa) // 4)
        return min(stops, default=-1)

    def _marked(self) -> Ending | None:
        """Stand before a block that begins a phase, or that may spin."""
        pc = unsigned(self._control[places.C_PC])
        last = self._capture.current
        if pc in self._phases:
            if self._phases[pc] != self._phase:
                self._phase = self._phases[pc]
                self._capture.recording.mark(Mark.PHASE, self._phase)
        elif last is not None and last.va == pc:
            return Ending(outcome=Outcome.HANG, reason=f"the PE never leaves the branch to itself at {self._where(pc)}")
        self._control[places.C_PASS] = places.PASS_MARK
        return None

    def _exhausted(self) -> Ending:
        return Ending(outcome=Outcome.BUDGET, reason=f"the budget ended at {self._where(self._cpu.pc)}")

    def _refuse(self) -> Ending | None:
        """Stand before a block one of whose accesses must not be let pass: run up to that instruction, then abort."""
        control = self._control
        pc = unsigned(control[places.C_PC]) + 4 * int(control[places.C_INSN])
        event = self._refusal(pc)
        if pc == unsigned(control[places.C_PC]):
            return self._take(event())
        self._refused = (pc, event)
        self._capture.hook_instructions([pc])
        control[places.C_STOP_PC] = signed(pc)
        control[places.C_PASS] = places.PASS_RAISE
        return None

    def _refuse_late(self) -> Ending | None:
        """Do the same in mid-block; if a later instruction is meant, the rest from here is a block of its own."""
        pc, code = unsigned(self._control[places.C_PC]), self._capture.begun
        place, culprit = (pc - code.va) // 4, int(self._control[places.C_INSN])
        event = self._refusal(pc)
        self._capture.truncate(place)
        return self._take(event()) if place == culprit else None

    def _refusal(self, pc: int) -> Callable[[], Event]:
        """Return what makes the abort at `pc`, once the PE stands there."""
        kind, va = int(self._control[places.C_RAISE]), unsigned(self._control[places.C_VA])
        return lambda: self._refused_access(pc, kind, va)

    def _refused_access(self, pc: int, kind: int, va: int) -> Event:
        insn = self._insn_at(pc)
        write = walk_access(insn) is not WalkAccess.LOAD
        if kind == places.RAISE_WALK:
            return access_abort(self._cpu, self._capture.regime, insn)
        if kind == places.RAISE_SP_ALIGNMENT:
            reason = f"SP {self._cpu.sp:#x} is not aligned to 16 bytes ({insn.text})"
            return Event(ec=ExceptionClass.SP_ALIGNMENT, elr=pc, reason=reason)
        found = translate(self._cpu.memory, self._capture.regime, va)
        memory = found.memory_type.label if found.fault is None else "memory"
        if kind == places.RAISE_EXCLUSIVE:
            sentence = f"unsupported exclusive or atomic access to {memory} at {va:#x} ({insn.text})"
            return exceptions.data_fault(exceptions.FSC_EXCLUSIVE, pc, va, write=write, sentence=sentence)
        sentence = f"alignment fault: {insn.text} to {memory} at {va:#x}"
        return exceptions.data_fault(exceptions.FSC_ALIGNMENT, pc, va, write=write, sentence=sentence)

    def _at_pc(self) -> Ending | None:
        """Stand before an instruction that was to be stopped at."""
        pc, code = unsigned(self._control[places.C_PC]), self._capture.begun
        place = (pc - code.va) // 4
        self._control[places.C_STOP_PC] = places.NOWHERE
        refused, self._refused = self._refused, None
        if code.pa + 4 * place == self._stop_pa:
            self._capture.truncate(place)
            return Ending(outcome=Outcome.COMPLETED, reason="")
        if refused is not None and refused[0] == pc:
            self._capture.truncate(place)
            return self._take(refused[1]())
        insn = code.insns[place]
        if not self._access.execute(insn):
            self._capture.truncate(place)
            return self._take(exceptions.undefined(pc, insn.word, f"{insn.text} at EL{self._cpu.el}"))
        self._capture.truncate(place + 1)
        if insn.flags & InsnFlag.CHANGES_REGIME:
            self._control[places.C_PENDING] |= places.PENDING_REGIME
        self._cpu.pc = pc + 4
        self._charge()
        return None

    _reasons: Mapping[int, Callable[["Run"], Ending | None]] = {
        places.REASON_PENDING: _pending,
        places.REASON_UNKNOWN: _unknown,
        places.REASON_MARKED: _marked,
        places.REASON_BUDGET: _exhausted,
        places.REASON_RAISE: _refuse,
        places.REASON_RAISE_LATE: _refuse_late,
        places.REASON_AT_PC: _at_pc,
    }

    # -- Exceptions ---------------------------------------------------------------------------------------------------

    def _interrupted(self, number: int) -> Ending | None:
        """Unicorn met an exception: cut the block where it happened, and deliver it."""
        if number == INSTRUCTION_ABORT:
            return self._fetch_refused()
        if number not in (SVC, HVC, SMC):
            self._cut()
        self._settle()
        return self._take(diagnose(self._cpu, self._capture.regime, number))

    def _failed(self, error: int) -> Ending | None:
        """Unicorn met an access to where there is no memory, or that our own translation refuses."""
        refused = error == UC_ERR_EXCEPTION and self._translation.active
        if error == UC_ERR_FETCH_UNMAPPED or (refused and self._translation.refused_fetch):
            return self._fetch_refused()
        if error not in _UNMAPPED and not refused:
            raise RuntimeError(f"Unicorn failed at {self._cpu.pc:#x}: {UcError(error)}")
        self._cut()
        self._settle()
        return self._take(access_abort(self._cpu, self._capture.regime, self._insn_at(self._cpu.pc)))

    def _fetch_refused(self) -> Ending | None:
        """Settle, and abort, unless the fetch was judged by a regime that had just ended.

        Unicorn fetches before the block callback can see that the last block changed the regime: it may be that the new
        one, or the one before, is not for its own MMU to serve.
        """
        changed = self._control[places.C_PENDING] & places.PENDING_REGIME
        returned = changed and self._capture.last_is_eret
        self._settle()
        event = fetch_abort(self._cpu.memory, self._capture.regime, self._cpu.pc)
        if changed and event.external:
            # It translates. If there is really no memory, the next attempt says so.
            return self._arrive() if returned else None
        return self._take(event)

    def _cut(self) -> None:
        """Truncate the block that was left at PC."""
        code = self._capture.current
        if code is not None:
            self._capture.truncate((self._cpu.pc - code.va) // 4)

    def _insn_at(self, pc: int) -> Insn:
        """Decode the instruction that the PE stands before."""
        pa = self._capture.fetched_from(pc)
        if pa is None:
            raise RuntimeError(f"no instruction at {pc:#x}")
        return decode(self._cpu.memory.read(pa, 4), pc)[0]

    def _take(self, event: Event) -> Ending | None:
        """Deliver an exception; an ending if nothing can come of it."""
        control = self._control
        control[places.C_STOP_PC] = places.NOWHERE
        control[places.C_PASS] = places.PASS_NOTHING
        self._refused = None
        taken = deliver(self._cpu, event)
        self._capture.recording.exception(taken.to_record())
        if not event.meant and self.fault is None:
            self.fault = self._fault_of(taken)
        if taken.to_el == EL3:
            return Ending(outcome=Outcome.FAULT, reason=f"smc at {self._where(event.elr)}: there is no firmware at EL3")
        self._settle(EpochCause.EXCEPTION)
        ending = self._recurs(taken) or self._unhandled(taken)
        if ending is None and control[places.C_INSTRUCTIONS] > control[places.C_BUDGET]:
            return self._exhausted()
        return ending

    def _fault_of(self, taken: Taken) -> Fault:
        return Fault(
            el=taken.to_el,
            ec=taken.esr >> 26,
            iss=taken.esr & 0x1FF_FFFF,
            esr=taken.esr,
            far=taken.far,
            elr=taken.event.elr,
            reason=taken.event.reason,
            where=self._where(taken.event.elr),
        )

    def _recurs(self, taken: Taken) -> Ending | None:
        """Whether this exception has come before and nothing was done in between, or ever will be."""
        event = taken.event
        progress = (self._capture.recording.executions, int(self._control[places.C_INSTRUCTIONS]))
        if progress != self._progress:
            self._seen.clear()
            self._progress = progress
        state = (taken.from_el, taken.spsr, taken.esr, taken.far, event.elr)
        again = state in self._seen
        self._seen.add(state)
        if not event.meant:
            key = (event.elr, taken.esr, taken.vector)
            self._nested[key] = self._nested.get(key, 0) + 1
            again = again or self._nested[key] > _RECURRING
        if not again:
            return None
        return Ending(
            outcome=Outcome.HANG,
            reason=f"the same exception comes for ever at {self._where(event.elr)}: {event.reason or event.ec.name}",
        )

    def _unhandled(self, taken: Taken) -> Ending | None:
        """Whether the vector lies where no memory is: nothing can ever handle this."""
        pa = self._capture.fetched_from(taken.vector)
        if pa is None or self._cpu.memory.contains(pa, 4):
            return None
        return Ending(
            outcome=Outcome.FAULT,
            reason=f"nothing handles it: VBAR_EL{taken.to_el} leads to {taken.vector:#x}, where there is no memory "
            f"({taken.event.reason or taken.event.ec.name})",
        )

    def _asleep(self) -> Ending:
        """Unicorn stopped for no reason of ours: wfi."""
        return Ending(
            outcome=Outcome.HANG, reason=f"wfi before {self._where(self._cpu.pc)}: no interrupt will ever wake the PE"
        )

    def _where(self, va: int) -> str:
        """symbol+offset, or the address."""
        below = [(at, name) for at, name in self._symbols if at <= va < at + 0x10000]
        if not below:
            return f"{va:#x}"
        at, name = below[-1]
        return f"{name}+{va - at:#x}" if va != at else name


def _never_leaves(code: Code, memory: PhysicalMemory) -> bool:
    """Whether a block ends in a branch to itself, or to hints that lead back to it, and does nothing else."""
    *before, last = code.insns
    if last.cls is not InsnClass.BRANCH or last.dst or any(insn.cls is not InsnClass.HINT for insn in before):
        return False
    loop = code.va - (last.target if last.target is not None else 0)
    if not 0 <= loop <= _HINTS_BYTES or loop > code.va % PAGE_BYTES:
        return False
    return all(insn.cls is InsnClass.HINT for insn in decode(memory.read(code.pa - loop, loop), code.va - loop))


def _may_spin(code: Code) -> bool:
    """Whether a block is one conditional branch to itself: once taken, it is taken for ever."""
    return (
        len(code.insns) == 1 and code.insns[0].cls is InsnClass.BRANCH_CONDITIONAL and code.insns[0].target == code.va
    )
