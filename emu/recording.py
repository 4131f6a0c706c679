"""Recording: what one run did, in arrays that the compiled callbacks append to, and the Trace they become."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.kernels import places
from traces.schema import (
    BLOCK,
    EPOCH,
    EXCEPTION,
    INSN,
    MAPPING,
    MARK,
    RANGE,
    TABLE_PAGE,
    TRANSLATION,
    WALK_READ,
    Access,
    EpochCause,
    Mark,
)
from traces.trace import Trace

Words = NDArray[np.int64]

EXECUTIONS_AT_ONCE = 1 << 20
VALUES_AT_ONCE = 1 << 21
ROWS_AT_ONCE = 1 << 14
READS_AT_ONCE = 1 << 16
"""The sizes of chunks. Nothing is touched, so nothing costs memory, before it is written."""

_MOVES_DATA = (Access.LOAD, Access.STORE, Access.LOAD_STORE, Access.ZERO)


class Recording:
    """Everything that becomes a Trace. Executions, values, translations and walk reads come from the callbacks.

    Without `keep` these four, and the marks, are dropped.
    """

    def __init__(self, control: Words, *, keep: bool = True) -> None:
        self._control, self._keep = control, keep
        self._insns: list[NDArray[Any]] = []
        self._insn_count = 0
        self._blocks: list[tuple[int, ...]] = []
        self._epochs: list[tuple[np.void, int]] = []
        self._marks: list[tuple[int, int, int]] = []
        self._exceptions: list[np.void] = []
        self._mappings: list[NDArray[Any]] = []
        self._table_pages: list[NDArray[Any]] = []
        self._executions_before = 0
        self._execution_chunks: list[NDArray[np.uint32]] = []
        self._value_chunks: list[NDArray[np.uint64]] = []
        self._row_chunks: list[Words] = []
        self._read_chunks: list[Words] = []
        self._fresh_chunk()
        self._fresh_rows()

    @property
    def executions(self) -> int:
        """Executions so far: the `at` of a mark made now."""
        return self._executions_before + int(self._control[places.C_EXECUTIONS_USED])

    def resume_at(self, execution: int) -> None:
        """Give the next execution that number: what came before was recorded elsewhere."""
        self._executions_before = execution

    def stop_at(self, execution: int) -> None:
        """See that the callbacks stop before the execution of that number, if not earlier."""
        left = execution - self.executions
        self._control[places.C_EXECUTIONS_LIMIT] = min(EXECUTIONS_AT_ONCE, execution - self._executions_before)
        if left <= 0:
            self._control[places.C_PENDING] |= places.PENDING_FULL

    @property
    def instructions(self) -> int:
        """Instructions executed so far."""
        return int(self._control[places.C_INSTRUCTIONS])

    def _fresh_chunk(self) -> None:
        control = self._control
        self._executions = np.empty(EXECUTIONS_AT_ONCE + 1, np.uint32)
        self._values = np.empty(VALUES_AT_ONCE + places.ROOM_VALUES, np.uint64)
        control[places.C_EXECUTIONS_AT] = self._executions.ctypes.data
        control[places.C_VALUES_AT] = self._values.ctypes.data
        control[places.C_EXECUTIONS_LIMIT], control[places.C_VALUES_LIMIT] = EXECUTIONS_AT_ONCE, VALUES_AT_ONCE
        control[places.C_EXECUTIONS_USED] = control[places.C_VALUES_USED] = 0

    def put_away(self) -> None:
        """Put the executions and values so far aside, and give the callbacks empty arrays."""
        used = int(self._control[places.C_EXECUTIONS_USED])
        self._executions_before += used
        if self._keep:
            self._execution_chunks.append(self._executions[:used])
            self._value_chunks.append(self._values[: int(self._control[places.C_VALUES_USED])])
        self._control[places.C_CURRENT] = places.NOWHERE
        self._fresh_chunk()

    def _fresh_rows(self) -> None:
        control = self._control
        self._rows = np.empty((ROWS_AT_ONCE + places.ROOM_ROWS, places.ROW_COLUMNS), np.int64)
        self._reads = np.empty((READS_AT_ONCE + places.ROOM_READS, places.READ_COLUMNS), np.int64)
        control[places.C_ROWS_AT], control[places.C_READS_AT] = self._rows.ctypes.data, self._reads.ctypes.data
        control[places.C_ROWS_LIMIT], control[places.C_READS_LIMIT] = ROWS_AT_ONCE, READS_AT_ONCE
        control[places.C_ROWS_USED] = control[places.C_READS_USED] = 0

    def put_rows_away(self) -> None:
        """Put the translations and walk reads so far aside, in the form and size of their records."""
        control = self._control
        row_count, read_count = int(control[places.C_ROWS_USED]), int(control[places.C_READS_USED])
        if self._keep:
            self._row_chunks.append(_records(self._rows[:row_count], TRANSLATION, _ROW_FIELDS))
            self._read_chunks.append(_records(self._reads[:read_count], WALK_READ, _READ_FIELDS))
        control[places.C_READS_BEFORE] += read_count
        self._fresh_rows()

    @property
    def rows_are_full(self) -> bool:
        """Whether translations or walk reads have passed their limit."""
        control = self._control
        too_many_rows = control[places.C_ROWS_USED] > control[places.C_ROWS_LIMIT]
        return bool(too_many_rows or control[places.C_READS_USED] > control[places.C_READS_LIMIT])

    def values_of_last(self) -> list[int]:
        """Return what was read for the execution begun last; not after `put_away`."""
        used = int(self._control[places.C_VALUES_USED])
        return [int(value) for value in self._values[int(self._control[places.C_CURRENT_VALUES]) : used]]

    def mark(self, kind: Mark, a: int) -> None:
        """Mark what happens between the last execution and the next."""
        self._marks.append((self.executions, int(kind), a))

    def epoch(self, row: np.void, cause: EpochCause) -> int:
        """Begin an epoch; return its row."""
        if self._epochs:
            self.mark(Mark.EPOCH, len(self._epochs))
        self._epochs.append((row, int(cause)))
        return len(self._epochs) - 1

    def address_space(self, mappings: NDArray[Any], table_pages: NDArray[Any]) -> None:
        """Note what the tables of the epoch begun last map, and where they lie; both are changed to say so."""
        mappings["epoch"] = table_pages["epoch"] = len(self._epochs) - 1
        self._mappings.append(mappings)
        self._table_pages.append(table_pages)

    def block(self, va: int, pa: int, rows: NDArray[Any], values: int) -> int:
        """Append a block with its instructions; return its row."""
        accesses = int(np.isin(rows["access"], _MOVES_DATA).sum())
        self._blocks.append((va, pa, self._insn_count, len(rows), values, accesses))
        self._insns.append(rows)
        self._insn_count += len(rows)
        return len(self._blocks) - 1

    def exception(self, row: np.void) -> None:
        """Append an exception that is being taken (its `at` is filled in here), and its mark."""
        row["at"] = self.executions if self._keep else 0
        self.mark(Mark.EXCEPTION, len(self._exceptions))
        self._exceptions.append(row)

    def truncate(self, insns: int, executed: int) -> None:
        """Cut the last execution, of a block of `insns` instructions, to `executed` of them; none takes it back."""
        control = self._control
        control[places.C_INSTRUCTIONS] -= insns - executed
        control[places.C_PENDING] &= ~places.PENDING_REGIME  # only a block's last instruction can change it
        if executed:
            self.mark(Mark.TRUNCATE, executed)
            return
        control[places.C_EXECUTIONS_USED] -= 1
        control[places.C_VALUES_USED] = control[places.C_CURRENT_VALUES]
        control[places.C_CURRENT] = places.NOWHERE

    def trace(self, meta: Mapping[str, Any], *, going_on: bool = False) -> Trace:
        """Give up what was recorded as a Trace; nothing is left here, or all of it once more if it is `going_on`."""
        self.put_away()
        self.put_rows_away()
        own: Callable[[list[NDArray[Any]]], list[NDArray[Any]]] = list if going_on else lambda chunks: chunks
        blocks = np.zeros(len(self._blocks), BLOCK)
        columns = np.array(self._blocks, np.uint64).reshape(len(blocks), 6)
        for column, name in enumerate(("va", "pa", "first", "count", "values", "accesses")):
            blocks[name] = columns[:, column]
        epochs = np.array([row for row, _ in self._epochs], EPOCH)
        epochs["cause"] = [cause for _, cause in self._epochs]
        marks = np.zeros(len(self._marks) if self._keep else 0, MARK)
        for row, (at, kind, a) in zip(marks, self._marks, strict=False):
            row["at"], row["kind"], row["a"] = at, kind, a
        return Trace(
            insns=np.concatenate([np.zeros(0, INSN), *self._insns]),
            blocks=blocks,
            executions=joined(own(self._execution_chunks), np.dtype(np.uint32)),
            values=joined(own(self._value_chunks), np.dtype(np.uint64)),
            epochs=epochs,
            translations=joined(own(self._row_chunks), TRANSLATION),
            walk_reads=joined(own(self._read_chunks), WALK_READ),
            exceptions=np.array(self._exceptions, EXCEPTION),
            marks=marks,
            ranges=np.zeros(0, RANGE),
            meta=dict(meta),
            mappings=np.concatenate([np.zeros(0, MAPPING), *self._mappings]),
            table_pages=np.concatenate([np.zeros(0, TABLE_PAGE), *self._table_pages]),
        )


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
    "epoch": places.ROW_EPOCH,
    "page": places.ROW_PAGE,
    "pa": places.ROW_PA,
    "memory_type": places.ROW_MEMORY_TYPE,
    "fetch_type": places.ROW_FETCH_TYPE,
    "shareability": places.ROW_SHAREABILITY,
    "leaf_log2": places.ROW_LEAF_LOG2,
    "leaf2_log2": places.ROW_LEAF2_LOG2,
    "contiguous": places.ROW_CONTIGUOUS,
    "is_global": places.ROW_GLOBAL,
    "walk_count": places.ROW_WALK_COUNT,
    "walk_first": places.ROW_WALK_FIRST,
}
_READ_FIELDS: Mapping[str, int] = {"pa": 0, "level": 1, "stage": 2}


def _records(rows: Words, dtype: np.dtype[Any], fields: Mapping[str, int]) -> NDArray[Any]:
    """Turn rows of words into records."""
    records = np.zeros(len(rows), dtype)
    for name, column in fields.items():
        records[name] = rows[:, column]
    return records
