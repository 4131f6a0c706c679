"""Attached: what an engine that somebody else made runs, recorded beside its own hooks.

Every run begins in `emu_start`, which is replaced on that one object. Blocks are met without stopping: the callbacks
ask (`ATTENDANTS`) while Unicorn waits. Only code that reads an address which a load of the same block fetched needs
a hook inside of it, and is stopped before once, when Unicorn has translated it and before anything of it, hooks
included, has run (UC_HOOK_EDGE_GENERATED). What runs cannot tell the difference, nor can the hooks that were there.
"""

import ctypes
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from unicorn import UC_ARCH_ARM64, UC_HOOK_EDGE_GENERATED, Uc, arm64_const, unicorn_const
from unicorn.unicorn_py3 import unicorn as binding

from asm.blocks import lower
from asm.decode import Insn, decode
from emu.capture import Capture, Code, unsigned
from emu.cpu import Pe, SystemRegisters, absent_registers, pa_bits_of
from emu.engine_memory import EngineMemory
from emu.kernels import places
from emu.kernels.callbacks import ATTENDANTS
from emu.kernels.watching import watch_lines
from emu.regime import Regime
from emu.walker import translate
from traces.errors import InputError
from traces.schema import PAGE_BYTES, EpochCause, InsnClass
from traces.trace import Trace

_BLOCK_BYTES = 1024
"""Unicorn never translates more at once."""

_ENDS = (
    InsnClass.BRANCH,
    InsnClass.BRANCH_CONDITIONAL,
    InsnClass.BRANCH_INDIRECT,
    InsnClass.EXCEPTION,
    InsnClass.ERET,
)

_WHY = {
    places.RAISE_ALIGNMENT: "unaligned-device",
    places.RAISE_SP_ALIGNMENT: "sp-alignment",
    places.RAISE_WALK: "maintenance-of-unmapped",
    places.RAISE_EXCLUSIVE: "exclusive-device",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An access that Unicorn let pass and a PE takes an exception for."""

    kind: str
    """`unaligned-device`, `sp-alignment`, `maintenance-of-unmapped` or `exclusive-device`."""
    pc: int
    va: int


class Attachment:
    """The recording of one engine, from its creation to `detach`.

    `flat_cacheable`: see Regime. Bad engines (no AArch64) raise InputError, and so does a run of what cannot be
    recorded; errors of the engine are its own.
    """

    def __init__(self, uc: Uc, *, flat_cacheable: bool = False) -> None:
        if uc.ctl_get_arch() != UC_ARCH_ARM64:
            raise InputError("attach: uc: must be an AArch64 engine (UC_ARCH_ARM64)")
        if "emu_start" in vars(uc):
            raise InputError("attach: uc: is attached already")
        self._uc, self._flat_cacheable = uc, flat_cacheable
        self._pe = _pe(uc)
        self._memory = EngineMemory(uc)
        self._capture = Capture(uc, self._memory, forget=self._retranslate)
        self._control = self._capture.control
        self._control[places.C_ATTENDED] = 1
        ATTENDANTS[self._control.ctypes.data] = self._attend
        self._begun = self._running = self._stopped = False
        """`_stopped`: a hook has stopped it, at the instruction that it was called for."""
        self._error: Exception | None = None
        self._wanted: set[int] = set()
        self._late: dict[tuple[int, bytes], frozenset[int]] = {}
        self.refusals: Counter[Refusal] = Counter()
        """How often each was let pass."""
        self._edge = uc.hook_add(UC_HOOK_EDGE_GENERATED, self._on_new_code)
        self._start, self._stop = uc.emu_start, uc.emu_stop
        uc.emu_start, uc.emu_stop = self._run, self._stop_by_owner  # on this object alone: every run comes through here
        uc.ctl_flush_tb()

    @property
    def instructions(self) -> int:
        """Executed so far."""
        return self._capture.recording.instructions

    def detach(self) -> None:
        """Leave the engine as it was. What was recorded stays here."""
        if ATTENDANTS.pop(self._control.ctypes.data, None) is not None:
            del self._uc.emu_start, self._uc.emu_stop
            self._uc.hook_del(self._edge)
            self._capture.unhook()

    def trace(self) -> Trace:
        """Return what has run so far; not to be called from a hook."""
        if self._running:
            raise InputError("attach: what was recorded can be had when emu_start has returned, not from a hook")
        if not self._capture.recording.executions:
            raise InputError("attach: nothing has run yet")
        meta: dict[str, Any] = {
            "outcome": "completed",
            "reason": "",
            "fault": None,
            "symbols": {},
            "timing_dependent": self._capture.reads_counter,
            "data_caches": [list(level) for level in self._pe.data_caches],
        }
        return self._capture.recording.trace(meta, going_on=True)

    # -- Running ------------------------------------------------------------------------------------------------------

    def _run(self, begin: int, until: int, timeout: int = 0, count: int = 0) -> None:
        """Stand in for emu_start."""
        if self._running:  # from a hook
            self._start(begin, until, timeout, count)
            return
        self._running, self._stopped, self._thread = True, False, threading.get_ident()
        try:
            self._begin(begin)
            self._until_done(begin, until, timeout, count)
        finally:
            self._running = False

    def _stop_by_owner(self) -> None:
        """Stand in for emu_stop. From another thread it comes between two blocks, from a hook before an instruction."""
        self._stopped = self._stopped or (self._running and threading.get_ident() == self._thread)
        self._stop()

    def _until_done(self, begin: int, until: int, timeout: int, count: int) -> None:
        """Run, and go on where only we stopped it."""
        started, first = time.monotonic(), self.instructions
        left, time_left = count, timeout
        while True:
            self._wanted.clear()
            try:
                self._start(begin, until, time_left, left)
            finally:
                if not self._wanted:
                    self._cut_short(self.instructions - first - count if count else 0)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if not self._wanted:
                return
            self._capture.hook_instructions(self._wanted)
            begin, left = self._pe.pc, count - (self.instructions - first)
            time_left = timeout - int((time.monotonic() - started) * 1e6)
            if (count and left <= 0) or (timeout and time_left <= 0):
                return
            left, time_left = max(left, 0), max(time_left, 0)

    def _begin(self, pc: int) -> None:
        """Note what the engine's owner may have changed since the last run."""
        changed = self._memory.follow()
        if changed:
            self._capture.look_at_memory()
        begun = self._capture.settle(self._regime) if self._begun else None
        regime = self._regime()
        if not self._begun or changed or begun or regime != self._capture.regime or regime.stage1 or regime.stage2:
            self._begin_epoch(regime, EpochCause.START)
        self._begun = True
        late = self._late_in(pc, self._code_from(pc))
        self._capture.hook_instructions(late)

    def _begin_epoch(self, regime: Regime, cause: EpochCause) -> None:
        self._memory.forget()
        self._capture.begin_epoch(regime, cause)

    def _regime(self) -> Regime:
        regime = self._pe.regime()
        return replace(regime, flat_cacheable=True) if self._flat_cacheable else regime

    def _cut_short(self, beyond: int) -> None:
        """See how much of the block begun last was executed; `beyond`: how many more were begun than asked for."""
        code, pc = self._capture.current, self._pe.pc
        if code is None:
            return
        inside = code.va <= pc < code.va + code.size
        if beyond > 0 and not (inside and self._stopped):
            self._capture.truncate(max(0, len(code.insns) - beyond))
        elif inside and (self._stopped or not self._led_to(code, pc)):
            self._capture.truncate((pc - code.va) // 4)

    def _led_to(self, code: Code, pc: int) -> bool:
        """Whether all of a block was executed, and it led back into itself: then the addresses that it counts moved."""
        if code.insns[-1].target != pc:
            return False
        written = {register for insn in code.insns for register in insn.dst}
        moving = {slot: each.base for slot, each in enumerate(code.lowered.entry) if each.base in written}
        values = self._capture.recording.values_of_last()
        return pc != code.va or not moving or any(self._pe.x[base] != values[slot] for slot, base in moving.items())

    # -- What the callbacks ask ---------------------------------------------------------------------------------------

    def _attend(self, reason: int, address: int) -> int:
        """See to what the callbacks would stop for; what goes wrong here is raised when Unicorn has stopped."""
        try:
            return self._seen_to(reason, unsigned(address))
        except Exception as error:  # nothing may pass through compiled code; `_until_done` raises it
            self._error = error
            return 1

    def _seen_to(self, reason: int, va: int) -> int:
        if reason == places.REASON_WALK:
            return 0 if self._copy_tables(va) else 1
        if reason == places.REASON_PENDING:
            begun = self._capture.settle(self._regime)
            if begun is not None:
                self._begin_epoch(*begun)
        elif reason == places.REASON_UNKNOWN:
            self._meet(va, int(self._control[places.C_SIZE]))
        else:
            block = va if reason == places.REASON_RAISE else self._capture.begun.va
            pc = block + 4 * int(self._control[places.C_INSN])
            kind = _WHY[int(self._control[places.C_RAISE])]
            self.refusals[Refusal(kind, pc, unsigned(self._control[places.C_VA]))] += 1
        return 0

    def _meet(self, va: int, size: int) -> None:
        """Meet a block for the first time in this epoch."""
        pa = self._capture.fetched_from(va)
        if pa is None:
            raise InputError(f"attach: PC {va:#x}: Unicorn executes there, and the tables say that nothing may")
        self._capture.install(self._capture.find(va, pa, size))

    def _copy_tables(self, va: int) -> bool:
        """Copy the tables that a walk reads, and watch them for stores; whether there were any new."""
        copied = False
        while True:
            found = translate(self._memory, self._capture.regime, va)
            new = [page for page in {read.pa // PAGE_BYTES for read in found.reads} if self._memory.copy(page)]
            if not new:
                return copied
            copied = True
            for page in new:
                watch_lines(self._control.ctypes.data, page * PAGE_BYTES, PAGE_BYTES, places.WT_TABLE)

    # -- Code that needs a hook inside --------------------------------------------------------------------------------

    def _on_new_code(self, uc: Uc, block: Any, _: Any, __: Any) -> None:
        """Unicorn has translated a block, and is about to run it: stop before if a hook is missing in it."""
        missing = self._late_in(block.pc, _bytes_at(self._uc, block.pc, block.size)) - self._capture.hooked
        if missing:
            self._wanted |= missing
            self._stop()

    def _code_from(self, pc: int) -> bytes:
        """Return the code at `pc` up to the first branch: Unicorn does not announce the first block of a run."""
        code = _bytes_at(self._uc, pc, min(_BLOCK_BYTES, PAGE_BYTES - pc % PAGE_BYTES))
        ends = [place for place, insn in enumerate(_decoded(code, pc)) if insn.cls in _ENDS]
        return code[: 4 * ends[0] + 4] if ends else code

    def _late_in(self, pc: int, code: bytes) -> frozenset[int]:
        """Return the addresses of instructions before which a register must be read."""
        key = (pc, code)
        if key not in self._late:
            late = lower(_decoded(code, pc), pc).late if code else ()
            self._late[key] = frozenset(pc + 4 * each.insn for each in late)
        return self._late[key]

    def _retranslate(self, vas: Iterable[int]) -> None:
        for va in vas:
            self._uc.ctl_remove_cache(va, va + 4)


def _pe(uc: Uc) -> Pe:
    v8_1 = uc.ctl_get_cpu_model() == arm64_const.UC_CPU_ARM64_MAX
    return Pe(uc, absent_registers(v8_1=v8_1), pa_bits=pa_bits_of(SystemRegisters(uc)["ID_AA64MMFR0_EL1"]))


def _decoded(code: bytes, va: int) -> tuple[Insn, ...]:
    return tuple(decode(code, va))


def _bytes_at(uc: Uc, va: int, size: int) -> bytes:
    """Return code as a fetch sees it; nothing where there is none."""
    found = ctypes.create_string_buffer(size)
    status = binding.uclib.uc_vmem_read(
        uc._uch, ctypes.c_uint64(va), ctypes.c_int(unicorn_const.UC_PROT_EXEC), found, ctypes.c_size_t(size)
    )
    return b"" if status else found.raw
