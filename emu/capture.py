"""Capture: what the compiled callbacks are told of blocks and pages, and how they are put into Unicorn.

Discovery by stopping: a callback that meets a block it has no record of stops Unicorn before it, `Capture.install`
tells the callbacks what to read of that block, and the run goes on. Everything that the callbacks know (blocks, pages,
watched lines) holds for one epoch: a new one begins with empty tables, and blocks are compared with memory again.
"""

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from unicorn import UC_HOOK_BLOCK, UC_HOOK_CODE, Uc
from unicorn.unicorn_py3 import unicorn as binding

from asm.blocks import LoweredBlock, lower
from asm.decode import Insn, decode
from emu.footprint import Footprint, footprint
from emu.kernels import places, walk_words
from emu.kernels.blocks import note_record
from emu.kernels.callbacks import callbacks
from emu.kernels.pages import resolve
from emu.kernels.tables import carry_over
from emu.kernels.watching import watch_lines
from emu.memory import PhysicalMemory
from emu.recording import Recording
from emu.regime import Regime, words
from traces.schema import EpochCause, InsnClass, InsnFlag

Words = NDArray[np.int64]

_LOOKUP_ROWS, _PAGES_ROWS, _WATCH_ROWS = 256, 4096, 4096
"""What the tables of an epoch begin with: beyond their limits, room for more than any one block can add."""
_MASK64 = (1 << 64) - 1
MOST_BUDGET = (1 << 63) - 1
"""Instructions that no run ever executes."""


def signed(value: int) -> int:
    """Return a 64-bit value as two's complement: how the kernels take addresses."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def unsigned(value: int) -> int:
    """Return what `signed` was given."""
    return int(value) & _MASK64


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """One block as it was first met: its place, its instructions, and what lowering made of them."""

    va: int
    pa: int
    row: int
    """Of Trace.blocks."""
    insns: tuple[Insn, ...]
    lowered: LoweredBlock
    footprints: dict[tuple[bool, bool], Footprint] = field(default_factory=dict)
    """By (aligned, sp_aligned)."""

    @property
    def size(self) -> int:
        """Bytes."""
        return 4 * len(self.insns)

    @property
    def after(self) -> int:
        """PENDING_ bits that hold once it has begun."""
        changes = any(insn.flags & InsnFlag.CHANGES_REGIME or insn.cls is InsnClass.ERET for insn in self.insns)
        return places.PENDING_REGIME if changes else 0


class _Table:
    """Rows of words that grow; the control block has their address."""

    def __init__(self, control: Words, at: int, columns: int) -> None:
        self._control, self._at = control, at
        self.used = 0
        self._rows = np.zeros((256, columns), np.int64)
        control[at] = self._rows.ctypes.data

    def append(self, rows: Words) -> int:
        """Append rows; return the first one's place."""
        first, self.used = self.used, self.used + len(rows)
        if self.used > len(self._rows):
            grown = np.zeros((2 * self.used, self._rows.shape[1]), np.int64)
            grown[:first] = self._rows[:first]
            self._rows = grown
            self._control[self._at] = grown.ctypes.data
        self._rows[first : self.used, : rows.shape[1]] = rows
        return first


class Capture:
    """The callbacks of one run, and their control block. Everything here is called while Unicorn stands."""

    def __init__(
        self,
        uc: Uc,
        memory: PhysicalMemory,
        budget: int = MOST_BUDGET,
        *,
        keep: bool = True,
        forget: Callable[[Iterable[int]], None] | None = None,
    ) -> None:
        """Put the callbacks in. `forget`: how it is made to translate the code at some addresses again."""
        self._uc, self._memory = uc, memory
        self._forget = forget or (lambda _: uc.ctl_flush_tb())
        self._handles: list[int] = []
        self.control: Words = np.zeros(places.CONTROL_WORDS, np.int64)
        self._at = self.control.ctypes.data
        self.control[places.C_BUDGET] = min(budget, MOST_BUDGET)
        self.control[places.C_STOP_PC] = places.NOWHERE
        self.recording = Recording(self.control, keep=keep)
        self.reads_counter = False
        self._records = _Table(self.control, places.C_RECORDS_AT, places.RECORD_COLUMNS)
        self._groups = _Table(self.control, places.C_GROUPS_AT, places.GROUP_COLUMNS)
        self._operands = _Table(self.control, places.C_OPERANDS_AT, places.OPERAND_COLUMNS)
        self._late = _Table(self.control, places.C_LATE_AT, places.LATE_COLUMNS)
        self._recorded: list[Code] = []
        self._known: dict[tuple[int, int, bytes], Code] = {}
        self._regimes: dict[Regime, tuple[np.void, Words]] = {}
        self._hooked: set[int] = set()
        self.look_at_memory()
        self._result = np.zeros(walk_words.RESULT_WORDS, np.int64)
        self._point(places.C_RESULT_AT, self._result)
        self._on_block, self._on_instruction = callbacks()
        self._hook(UC_HOOK_BLOCK, self._on_block, 1, 0)

    def look_at_memory(self) -> None:
        """Let the callbacks see what RAM there is now."""
        self._regions = self._memory.region_table
        self._point(places.C_REGIONS_AT, self._regions)
        self.control[places.C_REGIONS_COUNT] = len(self._regions)

    def _point(self, word: int, array: NDArray[Any]) -> None:
        self.control[word] = array.ctypes.data

    def _hook(self, kind: int, callback: int, begin: int, end: int) -> None:
        """Give Unicorn a compiled callback; begin > end means everywhere."""
        handle = ctypes.c_size_t()
        status = binding.uclib.uc_hook_add(
            self._uc._uch,
            ctypes.byref(handle),
            kind,
            ctypes.c_void_p(callback),
            ctypes.c_void_p(self._at),
            ctypes.c_uint64(begin),
            ctypes.c_uint64(end),
        )
        if status:
            raise RuntimeError(f"uc_hook_add: error {status}")
        self._handles.append(handle.value)

    def unhook(self) -> None:
        """Take the callbacks out of Unicorn: nothing calls them when this object is gone."""
        for handle in self._handles:
            binding.uclib.uc_hook_del(self._uc._uch, ctypes.c_size_t(handle))
        self._handles.clear()
        self._uc.ctl_flush_tb()

    # -- Epochs and their tables --------------------------------------------------------------------------------------

    def begin_epoch(self, regime: Regime, cause: EpochCause) -> None:
        """Begin an epoch: nothing that the callbacks know of pages and blocks holds any longer."""
        control = self.control
        if regime not in self._regimes:
            self._regimes[regime] = (regime.to_record(), words(regime))
        row, regime_words = self._regimes[regime]
        self.regime = regime
        control[places.C_EPOCH] = self.recording.epoch(row, cause)
        self._point(places.C_REGIME_AT, regime_words)
        control[places.C_FLAT] = not regime.stage1 and not regime.stage2
        control[places.C_FLAT_TYPE], control[places.C_PA_BITS] = regime.flat_type, regime.pa_bits
        for table in (self._records, self._groups, self._operands, self._late):
            table.used = 0
        control[places.C_GROUPS_USED] = control[places.C_PAGES_USED] = control[places.C_WATCH_USED] = 0
        control[places.C_CURRENT] = places.NOWHERE
        self._recorded.clear()
        self._set_lookup(_LOOKUP_ROWS)
        self._set_pages(_PAGES_ROWS)
        self._set_watch(_WATCH_ROWS)

    def settle(
        self, regime_now: Callable[[], Regime], cause: EpochCause | None = None
    ) -> tuple[Regime, EpochCause] | None:
        """Deal with PENDING_ bits; return the epoch that is to begin, if any. `cause`: an exception was just taken."""
        control = self.control
        pending = int(control[places.C_PENDING])
        control[places.C_PENDING] = 0
        returned = self.last_is_eret
        if pending & places.PENDING_FULL:
            self.recording.put_away()
        if pending & places.PENDING_ROOM:
            self.make_room()
        if cause is None and pending & places.PENDING_REGIME:
            cause = EpochCause.ERET if returned else EpochCause.SYSTEM_WRITE
        regime = regime_now() if cause is not None else self.regime
        if cause is not None and regime != self.regime:
            return regime, cause
        if pending & places.PENDING_TABLE:
            return regime, EpochCause.TABLE_STORE
        if pending & places.PENDING_CODE:
            return regime, EpochCause.CODE_STORE
        return None

    @property
    def last_is_eret(self) -> bool:
        """Whether the block begun last ends in one."""
        last = self.current
        return last is not None and last.insns[-1].cls is InsnClass.ERET

    def make_room(self) -> None:
        """Whatever is nearly full: put rows away, double tables."""
        control = self.control
        if self.recording.rows_are_full:
            self.recording.put_rows_away()
        if control[places.C_PAGES_USED] > control[places.C_PAGES_LIMIT]:
            old = self._pages
            self._set_pages(2 * len(old))
            _carry_over(old, self._pages)
        if control[places.C_WATCH_USED] > control[places.C_WATCH_LIMIT]:
            old = self._watch
            self._set_watch(2 * len(old))
            _carry_over(old, self._watch)

    def _set_pages(self, rows: int) -> None:
        self._pages = np.full((rows, places.PAGES_COLUMNS), places.NOWHERE, np.int64)
        self._point(places.C_PAGES_AT, self._pages)
        self.control[places.C_PAGES_MASK] = rows - 1
        self.control[places.C_PAGES_LIMIT] = rows // 2

    def _set_watch(self, rows: int) -> None:
        self._watch = np.zeros((rows, places.WATCH_COLUMNS), np.int64)
        self._watch[:, places.WT_PAGE] = places.NOWHERE
        self._point(places.C_WATCH_AT, self._watch)
        self.control[places.C_WATCH_MASK] = rows - 1
        self.control[places.C_WATCH_LIMIT] = rows // 4

    def _set_lookup(self, rows: int) -> None:
        self._lookup = np.full((rows, places.LOOKUP_COLUMNS), places.NOWHERE, np.int64)
        self._point(places.C_LOOKUP_AT, self._lookup)
        self.control[places.C_LOOKUP_MASK] = rows - 1

    # -- Blocks -------------------------------------------------------------------------------------------------------

    def fetched_from(self, va: int) -> int | None:
        """Translate a fetch from `va`, noting its page's translation; None if the walk faults."""
        judge = self.control[places.C_PENDING] & places.PENDING_JUDGE
        fault = resolve(self._at, signed(va), walk_words.FETCH)
        self._keep_judge(judge)
        return None if fault else unsigned(self.control[places.C_FOUND_PA]) | va & 0xFFF

    def _keep_judge(self, judge: int) -> None:
        """Undo PENDING_JUDGE: what is watched only now was read after the last block's stores, and holds them."""
        if not judge:
            self.control[places.C_PENDING] &= ~places.PENDING_JUDGE

    def find(self, va: int, pa: int, size: int) -> Code:
        """Return the block at `va` as memory has it now, decoded when it is new."""
        code = self._memory.read(pa, size)
        key = (va, pa, code)
        if key not in self._known:
            self._known[key] = self._decode(va, pa, code)
        return self._known[key]

    def _decode(self, va: int, pa: int, code: bytes) -> Code:
        insns = tuple(decode(code, va))
        lowered = lower(insns, pa)
        row = self.recording.block(va, pa, lowered.rows, len(lowered.entry) + len(lowered.late))
        return Code(va, pa, row, insns, lowered)

    def install(self, code: Code, *, marked: bool = False, stop_insn: int = -1) -> None:
        """Tell the callbacks of a block, as the current regime has it.

        `marked`: stop before each execution. `stop_insn`: stop before this instruction of it; -1 for none.
        """
        self.reads_counter = self.reads_counter or any(InsnFlag.READS_COUNTER in insn.flags for insn in code.insns)
        strictness = (bool(self.regime.sctlr >> 1 & 1), self._checks_sp())
        if strictness not in code.footprints:
            code.footprints[strictness] = footprint(code.insns, code.lowered, *strictness)
        parts = code.footprints[strictness]
        operand_first = self._operands.append(parts.operands)
        groups = parts.groups.copy()
        groups[:, places.G_FIRST] += operand_first
        group_first = self._groups.append(groups)
        self.control[places.C_GROUPS_USED] = self._groups.used
        self.control[places.C_OPERANDS_USED] = self._operands.used
        late = parts.late.copy()
        late[:, places.LT_GROUP] += group_first
        record = np.zeros((1, places.RECORD_COLUMNS), np.int64)
        record[0, : places.RC_STOP_INSN + 1] = (
            signed(code.va),
            code.row,
            len(code.insns),
            len(code.lowered.entry) + len(code.lowered.late),
            group_first,
            parts.entry_groups,
            self._late.append(late),
            len(late),
            marked,
            code.after,
            stop_insn,
        )
        self._note_record(code, self._records.append(record))
        judge = self.control[places.C_PENDING] & places.PENDING_JUDGE
        watch_lines(self._at, code.pa, code.size, places.WT_CODE)
        self._keep_judge(judge)
        stops = [each.insn for each in code.lowered.late] + ([stop_insn] if stop_insn >= 0 else [])
        self.hook_instructions(code.va + 4 * insn for insn in stops)

    def _note_record(self, code: Code, record: int) -> None:
        self._recorded.append(code)
        if 2 * len(self._recorded) > len(self._lookup):
            self._set_lookup(2 * len(self._lookup))
            for row, each in enumerate(self._recorded):
                self._enter(each, row)
        else:
            self._enter(code, record)

    def _enter(self, code: Code, record: int) -> None:
        at, mask = self._lookup.ctypes.data, len(self._lookup) - 1
        note_record(at, mask, signed(code.va), code.size, record)

    def _checks_sp(self) -> bool:
        """SCTLR.SA, or SA0 at EL0."""
        return bool(self.regime.sctlr >> (4 if self.regime.el == 0 else 3) & 1)

    @property
    def hooked(self) -> frozenset[int]:
        """Addresses at which the instruction callback is called."""
        return frozenset(self._hooked)

    def hook_instructions(self, vas: Iterable[int]) -> None:
        """See that the instruction callback is called at these addresses."""
        new = {va for va in vas if va not in self._hooked}
        for va in new:
            self._hook(UC_HOOK_CODE, self._on_instruction, va, va)
        if new:
            self._hooked |= new
            self._forget(new)  # translated code has no call to a hook that came later

    @property
    def current(self) -> Code | None:
        """The block begun last in this epoch; None before the first."""
        row = int(self.control[places.C_CURRENT])
        return self._recorded[row] if row >= 0 else None

    @property
    def begun(self) -> Code:
        """The block that Unicorn stands in."""
        return self._recorded[int(self.control[places.C_CURRENT])]

    def truncate(self, executed: int) -> None:
        """Note that the block begun last was left after `executed` of its instructions: none takes it back."""
        code = self.current
        if code is not None and executed < len(code.insns):
            self.recording.truncate(len(code.insns), executed)


def _carry_over(old: Words, new: Words) -> None:
    carry_over(old.ctypes.data, len(old), new.ctypes.data, len(new), new.shape[1])
