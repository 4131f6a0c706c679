"""Capture: the arrays that the compiled callbacks append to, and the Trace they become.

Discovery by stopping: a callback that meets a block it has no record of stops Unicorn before it, `Capture.install`
tells the callbacks what to read of that block, and the run goes on. Everything that the callbacks know (blocks, pages,
watched lines) holds for one epoch: a new one begins with empty tables, and blocks are compared with memory again.
"""

import ctypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from unicorn import UC_HOOK_BLOCK, UC_HOOK_CODE, Uc
from unicorn.unicorn_py3 import unicorn as binding

from asm.blocks import LoweredBlock, lower
from asm.decode import Insn, decode
from emu import kernels
from emu.footprint import Footprint, footprint
from emu.memory import PhysicalMemory
from emu.regime import Regime, words
from traces.schema import (
    BLOCK,
    EPOCH,
    EXCEPTION,
    INSN,
    MARK,
    RANGE,
    TRANSLATION,
    WALK_READ,
    Access,
    EpochCause,
    InsnFlag,
    Mark,
)
from traces.trace import Trace

Words = NDArray[np.int64]

EXECUTIONS_AT_ONCE = 1 << 20
VALUES_AT_ONCE = 1 << 21
ROWS_AT_ONCE = 1 << 14
READS_AT_ONCE = 1 << 16

_MOVES_DATA = (Access.LOAD, Access.STORE, Access.LOAD_STORE, Access.ZERO)
_MASK64 = (1 << 64) - 1


def signed(value: int) -> int:
    """Return a 64-bit value as two's complement: how the kernels take addresses."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def unsigned(value: int) -> int:
    """Return what `signed` was given."""
    return int(value) & _MASK64


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """One block as it was first met: its place, its bytes, and what lowering made of them."""

    va: int
    pa: int
    row: int
    """Of Trace.blocks."""
    insns: tuple[Insn, ...]
    lowered: LoweredBlock
    footprints: dict[tuple[bool, bool], Footprint] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes."""
        return 4 * len(self.insns)


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
    """What one run does, as it does it. The callbacks append; everything else here is called while Unicorn stands."""

    def __init__(self, uc: Uc, memory: PhysicalMemory, budget: int, *, keep: bool = True) -> None:
        self._uc, self._memory, self._keep = uc, memory, keep
        self._handles: list[int] = []
        self.control: Words = np.zeros(kernels.CONTROL_WORDS, np.int64)
        self._at = self.control.ctypes.data
        self.control[kernels.C_BUDGET] = min(budget, (1 << 63) - 1)
        self.control[kernels.C_STOP_PC] = kernels.NOWHERE
        self._regions = memory.region_table
        self._result: Words = np.zeros(kernels.RESULT_WORDS, np.int64)
        self._records = _Table(self.control, kernels.C_RECORDS_AT, kernels.RECORD_COLUMNS)
        self._groups = _Table(self.control, kernels.C_GROUPS_AT, kernels.GROUP_COLUMNS)
        self._operands = _Table(self.control, kernels.C_OPERANDS_AT, kernels.OPERAND_COLUMNS)
        self._late = _Table(self.control, kernels.C_LATE_AT, kernels.LATE_COLUMNS)
        self._recorded: list[Code] = []
        self._known: dict[tuple[int, int, bytes], Code] = {}
        self._hooked: set[int] = set()
        self._insns: list[NDArray[Any]] = []
        self._insn_count = 0
        self._blocks: list[tuple[int, int, int, int, int, int]] = []
        self._epochs: list[tuple[np.void, int]] = []
        self._regimes: dict[Regime, tuple[np.void, Words]] = {}
        self._marks: list[tuple[int, int, int]] = []
        self._exceptions: list[np.void] = []
        self._executions_before = 0
        self._execution_chunks: list[NDArray[np.uint32]] = []
        self._value_chunks: list[NDArray[np.uint64]] = []
        self._row_chunks: list[Words] = []
        self._read_chunks: list[Words] = []
        self.reads_counter = False
        self._fresh_chunk()
        self._fresh_rows()
        self._point(kernels.C_REGIONS_AT, self._regions)
        self.control[kernels.C_REGIONS_COUNT] = len(self._regions)
        self._point(kernels.C_RESULT_AT, self._result)
        self._on_block, self._on_instruction = kernels.callbacks()
        self._hook(UC_HOOK_BLOCK, self._on_block, 1, 0)

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

    # -- Buffers ------------------------------------------------------------------------------------------------------

    def _fresh_chunk(self) -> None:
        self._executions = np.empty(EXECUTIONS_AT_ONCE + 1, np.uint32)
        self._values = np.empty(VALUES_AT_ONCE + kernels.ROOM_VALUES, np.uint64)
        self._point(kernels.C_EXECUTIONS_AT, self._executions)
        self._point(kernels.C_VALUES_AT, self._values)
        self.control[kernels.C_EXECUTIONS_LIMIT] = EXECUTIONS_AT_ONCE
        self.control[kernels.C_VALUES_LIMIT] = VALUES_AT_ONCE
        self.control[kernels.C_EXECUTIONS_USED] = self.control[kernels.C_VALUES_USED] = 0

    def put_away(self) -> None:
        """Keep the executions and values so far, and give the callbacks empty arrays."""
        used = int(self.control[kernels.C_EXECUTIONS_USED])
        if self._keep:
            self._executions_before += used
            self._execution_chunks.append(self._executions[:used])
            self._value_chunks.append(self._values[: int(self.control[kernels.C_VALUES_USED])])
        self.control[kernels.C_CURRENT] = kernels.NOWHERE
        self._fresh_chunk()

    def _fresh_rows(self) -> None:
        self._rows = np.empty((ROWS_AT_ONCE + kernels.ROOM_ROWS, kernels.ROW_COLUMNS), np.int64)
        self._reads = np.empty((READS_AT_ONCE + kernels.ROOM_READS, kernels.READ_COLUMNS), np.int64)
        self._point(kernels.C_ROWS_AT, self._rows)
        self._point(kernels.C_READS_AT, self._reads)
        self.control[kernels.C_ROWS_LIMIT], self.control[kernels.C_READS_LIMIT] = ROWS_AT_ONCE, READS_AT_ONCE
        self.control[kernels.C_ROWS_USED] = self.control[kernels.C_READS_USED] = 0

    def _put_rows_away(self) -> None:
        read_count = int(self.control[kernels.C_READS_USED])
        self._row_chunks.append(self._rows[: int(self.control[kernels.C_ROWS_USED])])
        self._read_chunks.append(self._reads[:read_count])
        self.control[kernels.C_READS_BEFORE] += read_count
        self._fresh_rows()

    def make_room(self) -> None:
        """Whatever is nearly full: put rows away, double the tables."""
        control = self.control
        if (
            control[kernels.C_ROWS_USED] > control[kernels.C_ROWS_LIMIT]
            or control[kernels.C_READS_USED] > control[kernels.C_READS_LIMIT]
        ):
            self._put_rows_away()
        if control[kernels.C_PAGES_USED] > control[kernels.C_PAGES_LIMIT]:
            old = self._pages
            self._set_pages(2 * len(old))
            _carry_over(old, self._pages)
        if control[kernels.C_WATCH_USED] > control[kernels.C_WATCH_LIMIT]:
            old = self._watch
            self._set_watch(2 * len(old))
            _carry_over(old, self._watch)

    def _set_pages(self, rows: int) -> None:
        self._pages = np.full((rows, kernels.PAGES_COLUMNS), kernels.NOWHERE, np.int64)
        self._point(kernels.C_PAGES_AT, self._pages)
        self.control[kernels.C_PAGES_MASK] = rows - 1
        self.control[kernels.C_PAGES_LIMIT] = rows // 2

    def _set_watch(self, rows: int) -> None:
        self._watch = np.zeros((rows, kernels.WATCH_COLUMNS), np.int64)
        self._watch[:, kernels.WT_PAGE] = kernels.NOWHERE
        self._point(kernels.C_WATCH_AT, self._watch)
        self.control[kernels.C_WATCH_MASK] = rows - 1
        self.control[kernels.C_WATCH_LIMIT] = rows // 4

    def _set_lookup(self, rows: int) -> None:
        self._lookup = np.full((rows, kernels.LOOKUP_COLUMNS), kernels.NOWHERE, np.int64)
        self._point(kernels.C_LOOKUP_AT, self._lookup)
        self.control[kernels.C_LOOKUP_MASK] = rows - 1

    # -- Epochs -------------------------------------------------------------------------------------------------------

    @property
    def executions(self) -> int:
        """Executions so far: the `at` of a mark made now."""
        return self._executions_before + int(self.control[kernels.C_EXECUTIONS_USED])

    @property
    def instructions(self) -> int:
        """Instructions executed so far."""
        return int(self.control[kernels.C_INSTRUCTIONS])

    def mark(self, kind: Mark, a: int) -> None:
        """Mark what happens between the last execution and the next."""
        self._marks.append((self.executions, int(kind), a))

    def begin_epoch(self, regime: Regime, cause: EpochCause) -> None:
        """Begin an epoch: nothing that the callbacks know of pages and blocks holds any longer."""
        if self._epochs:
            self.mark(Mark.EPOCH, len(self._epochs))
        control = self.control
        control[kernels.C_EPOCH] = len(self._epochs)
        if regime not in self._regimes:
            self._regimes[regime] = (regime.to_record(), words(regime))
        record, self._regime_words = self._regimes[regime]
        self._epochs.append((record, int(cause)))
        self.regime = regime
        self._point(kernels.C_REGIME_AT, self._regime_words)
        control[kernels.C_FLAT] = not regime.stage1 and not regime.stage2
        control[kernels.C_FLAT_TYPE], control[kernels.C_PA_BITS] = regime.flat_type, regime.pa_bits
        for table in (self._records, self._groups, self._operands, self._late):
            table.used = 0
        control[kernels.C_GROUPS_USED] = control[kernels.C_PAGES_USED] = control[kernels.C_WATCH_USED] = 0
        self._recorded.clear()
        self._set_lookup(256)
        self._set_pages(1024)
        self._set_watch(1024)
        control[kernels.C_CURRENT] = kernels.NOWHERE

    # -- Blocks -------------------------------------------------------------------------------------------------------

    def fetched_from(self, va: int) -> int | None:
        """Translate a fetch from `va`, noting its page's translation; None if the walk faults."""
        if kernels.resolve(self._at, signed(va), kernels.FETCH) != kernels.FAULT_NONE:
            return None
        return unsigned(self.control[kernels.C_FOUND_PA]) | va & 0xFFF

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
        accesses = int(np.isin(lowered.rows["access"], _MOVES_DATA).sum())
        values = len(lowered.entry) + len(lowered.late)
        self._blocks.append((va, pa, self._insn_count, len(insns), values, accesses))
        self._insns.append(lowered.rows)
        self._insn_count += len(insns)
        return Code(va, pa, len(self._blocks) - 1, insns, lowered)

    def install(self, code: Code, *, marked: bool, after: int, stop_insn: int) -> None:
        """Tell the callbacks of a block, as the current regime has it.

        `marked`: stop before each execution. `after`: PENDING_ bits that hold once it has begun. `stop_insn`: stop
        before this instruction of it; -1 for none.
        """
        self.reads_counter = self.reads_counter or any(InsnFlag.READS_COUNTER in insn.flags for insn in code.insns)
        strictness = (bool(self.regime.sctlr >> 1 & 1), self._checks_sp())
        if strictness not in code.footprints:
            code.footprints[strictness] = footprint(code.insns, code.lowered, *strictness)
        parts = code.footprints[strictness]
        operand_first = self._operands.append(parts.operands)
        groups = parts.groups.copy()
        groups[:, kernels.G_FIRST] += operand_first
        group_first = self._groups.append(groups)
        self.control[kernels.C_GROUPS_USED] = self._groups.used
        self.control[kernels.C_OPERANDS_USED] = self._operands.used
        late = parts.late.copy()
        late[:, kernels.LT_GROUP] += group_first
        record = np.zeros((1, kernels.RECORD_COLUMNS), np.int64)
        record[0, : kernels.RC_STOP_INSN + 1] = (
            signed(code.va),
            code.row,
            len(code.insns),
            len(code.lowered.entry) + len(code.lowered.late),
            group_first,
            parts.entry_groups,
            self._late.append(late),
            len(late),
            marked,
            after,
            stop_insn,
        )
        self._note_record(code, self._records.append(record))
        kernels.watch_lines(self._at, code.pa, code.size, kernels.WT_CODE)
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
        kernels.note_record(at, mask, signed(code.va), code.size, record)

    def _checks_sp(self) -> bool:
        """SCTLR.SA, or SA0 at EL0."""
        return bool(self.regime.sctlr >> (4 if self.regime.el == 0 else 3) & 1)

    def hook_instructions(self, vas: Iterable[int]) -> None:
        """See that the instruction callback is called at these addresses."""
        new = {va for va in vas if va not in self._hooked}
        for va in new:
            self._hook(UC_HOOK_CODE, self._on_instruction, va, va)
        if new:
            self._hooked |= new
            self._uc.ctl_flush_tb()  # translated code has no call to a hook that came later

    @property
    def current(self) -> Code | None:
        """The block begun last in this epoch; None before the first."""
        row = int(self.control[kernels.C_CURRENT])
        return self._recorded[row] if row >= 0 else None

    @property
    def begun(self) -> Code:
        """The block that Unicorn stands in."""
        return self._recorded[int(self.control[kernels.C_CURRENT])]

    def truncate(self, executed: int) -> None:
        """Note that the block begun last was left after `executed` of its instructions: none takes it back."""
        code = self.current
        if code is None or executed >= len(code.insns):
            return
        self.control[kernels.C_INSTRUCTIONS] -= len(code.insns) - executed
        self.control[kernels.C_PENDING] &= ~kernels.PENDING_REGIME  # only a block's last instruction can change it
        if executed:
            self.mark(Mark.TRUNCATE, executed)
            return
        self.control[kernels.C_EXECUTIONS_USED] -= 1
        self.control[kernels.C_VALUES_USED] = self.control[kernels.C_CURRENT_VALUES]
        self.control[kernels.C_CURRENT] = kernels.NOWHERE

    def exception(self, row: np.void) -> None:
        """Append an exception that is being taken (its `at` is filled in here), and its mark."""
        row["at"] = self.executions
        self.mark(Mark.EXCEPTION, len(self._exceptions))
        self._exceptions.append(row)

    # -- The result ---------------------------------------------------------------------------------------------------

    def trace(self, meta: Mapping[str, Any]) -> Trace:
        """Give up what was captured as a Trace; the capture is empty afterwards."""
        self.put_away()
        self._put_rows_away()
        blocks = np.zeros(len(self._blocks), BLOCK)
        for name, column in zip(
            ("va", "pa", "first", "count", "values", "accesses"), zip(*self._blocks, strict=True), strict=False
        ):
            blocks[name] = column
        epochs = np.array([record for record, _ in self._epochs], EPOCH)
        epochs["cause"] = [cause for _, cause in self._epochs]
        marks = np.zeros(len(self._marks), MARK)
        for row, (at, kind, a) in zip(marks, self._marks, strict=True):
            row["at"], row["kind"], row["a"] = at, kind, a
        return Trace(
            insns=np.concatenate([np.zeros(0, INSN), *self._insns]),
            blocks=blocks,
            executions=joined(self._execution_chunks, np.dtype(np.uint32)),
            values=joined(self._value_chunks, np.dtype(np.uint64)),
            epochs=epochs,
            translations=_translations(self._row_chunks),
            walk_reads=_walk_reads(self._read_chunks),
            exceptions=np.array(self._exceptions, EXCEPTION),
            marks=marks,
            ranges=np.zeros(0, RANGE),
            meta=dict(meta),
        )


def _carry_over(old: Words, new: Words) -> None:
    kernels.carry_over(old.ctypes.data, len(old), new.ctypes.data, len(new), new.shape[1])


def joined(chunks: list[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Concatenate the chunks, letting go of each as it is copied: host memory never holds everything twice."""
    if len(chunks) == 1:
        return chunks.pop()
    whole = np.empty(sum(map(len, chunks)), dtype)
    at = len(whole)
    while chunks:
        chunk = chunks.pop()
        whole[at - len(chunk) : at] = chunk
        at -= len(chunk)
    return whole


_ROW_FIELDS: Mapping[str, int] = {
    "epoch": kernels.ROW_EPOCH,
    "page": kernels.ROW_PAGE,
    "pa": kernels.ROW_PA,
    "memory_type": kernels.ROW_MEMORY_TYPE,
    "fetch_type": kernels.ROW_FETCH_TYPE,
    "shareability": kernels.ROW_SHAREABILITY,
    "leaf_log2": kernels.ROW_LEAF_LOG2,
    "leaf2_log2": kernels.ROW_LEAF2_LOG2,
    "contiguous": kernels.ROW_CONTIGUOUS,
    "is_global": kernels.ROW_GLOBAL,
    "walk_count": kernels.ROW_WALK_COUNT,
    "walk_first": kernels.ROW_WALK_FIRST,
}


def _records(chunks: list[Words], dtype: np.dtype[Any], columns: Mapping[str, int]) -> NDArray[Any]:
    """Turn rows of words into records, letting go of each chunk as it is copied."""
    whole = np.zeros(sum(map(len, chunks)), dtype)
    at = len(whole)
    while chunks:
        chunk = chunks.pop()
        part = whole[at - len(chunk) : at]
        for name, column in columns.items():
            part[name] = chunk[:, column]
        at -= len(chunk)
    return whole


def _translations(chunks: list[Words]) -> NDArray[Any]:
    return _records(chunks, TRANSLATION, _ROW_FIELDS)


def _walk_reads(chunks: list[Words]) -> NDArray[Any]:
    return _records(chunks, WALK_READ, {"pa": 0, "level": 1, "stage": 2})
