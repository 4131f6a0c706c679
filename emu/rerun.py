"""Rerun: the guest of a trace once more, stopped at any instruction of it, forwards and back.

The trace says which pages each stretch of the run stores to. Their contents, and the PE's, are kept at the start of
each stretch: going back undoes stretches, then runs forward from there. Nothing is recorded again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from unicorn.unicorn_py3.unicorn import UcContext

from emu.machine import Machine
from traces.expand import accesses, executed_counts
from traces.lines import stored_pages
from traces.schema import PAGE_BYTES, Access
from traces.trace import Trace

STRETCH_EXECUTIONS = 1 << 14
"""Blocks between two checkpoints: some milliseconds of Unicorn."""

_STORES = (Access.STORE, Access.LOAD_STORE, Access.ZERO)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change made by hand: to the machine as it stands before that execution of the trace."""

    execution: int
    insns: int
    """How many instructions the execution before it had done then; 0: all of its block."""
    apply: Callable[[Machine], None]
    pages: tuple[int, ...] = ()
    """Physical pages that `apply` writes."""


@dataclass(frozen=True, slots=True, eq=False)
class _Checkpoint:
    """The PE before one execution, and those pages as they were that change before the next checkpoint."""

    execution: int
    context: UcContext
    pages: Mapping[int, bytes]


class Rerun:
    """A machine that has not run, and the trace of another one just like it, to `stop_pa`. `go` moves it."""

    def __init__(self, machine: Machine, trace: Trace, edits: Sequence[Edit] = (), *, stop_pa: int) -> None:
        self.machine = machine
        self.trace = trace
        self.at = 0
        """The execution that is next, or that is under way."""
        self.inside = 0
        """Instructions of it that have been done."""
        self._stop_pa = stop_pa
        self._edits = {edit.execution: edit for edit in edits}
        end = len(trace.executions)
        self._bounds = sorted({*range(0, end, STRETCH_EXECUTIONS), *(each for each in self._edits if each < end), end})
        self._pages = dict(zip(self._bounds, stored_pages(trace, self._bounds), strict=False))
        self._checkpoints: list[_Checkpoint] = []
        self._undo: _Checkpoint | None = None
        self._run = self.machine.resumable(stop_pa=self._stop_pa)
        self._run.open()
        self._keep()

    def go(self, execution: int, insns: int = 0) -> None:
        """Stand before that execution of the trace, or in it after that many of its instructions."""
        if not 0 <= execution <= len(self.trace.executions):
            raise ValueError(f"execution {execution}: the trace has {len(self.trace.executions)}")
        if insns and not insns < int(executed_counts(self.trace, execution, execution + 1)[0]):
            raise ValueError(f"instruction {insns}: execution {execution} is over by then")
        if (self.at, self.inside) == (execution, insns):
            return
        if self._undo is not None:
            self._leave(self._undo)
        if execution < self.at:
            self._back(execution)
        self._forward(execution)
        if insns:
            self._enter(insns)

    def close(self) -> None:
        """Take everything out of Unicorn."""
        if not self.inside:
            self._run.close()

    # -- Whole executions ---------------------------------------------------------------------------------------------

    def _forward(self, execution: int) -> None:
        for bound in self._bounds[np.searchsorted(self._bounds, self.at, side="right") :]:
            if bound > execution:
                break
            self._run_to(bound)
            self._keep()
        self._run_to(execution)

    def _run_to(self, execution: int) -> None:
        edit = self._edits.get(execution)
        if edit is None or self.at == execution:
            self._until(execution)
            return
        self._until(execution - 1 if edit.insns else execution)
        self._run.close()
        self.machine.step(edit.insns)
        edit.apply(self.machine)
        self._reopen(execution)

    def _until(self, execution: int) -> None:
        if self.at < execution:
            self._run.until(execution)
            self.at = execution

    def _reopen(self, execution: int) -> None:
        self._run = self.machine.resumable(stop_pa=self._stop_pa)
        self._run.open(execution)
        self.at = execution

    def _keep(self) -> None:
        """Make the checkpoint of this bound, if there is none yet."""
        if self._checkpoints and self._checkpoints[-1].execution >= self.at:
            return
        edit = self._edits.get(self._bounds[min(len(self._checkpoints) + 1, len(self._bounds) - 1)])
        pages = [*self._pages.get(self.at, np.zeros(0, np.uint64)).tolist(), *(edit.pages if edit else ())]
        self._checkpoints.append(self._checkpoint(pages))

    def _checkpoint(self, pages: Sequence[int]) -> _Checkpoint:
        memory = self.machine.memory
        return _Checkpoint(
            self.at, self.machine.cpu.uc.context_save(), {page: memory.read(page, PAGE_BYTES) for page in pages}
        )

    def _back(self, execution: int) -> None:
        """Undo whole stretches until the one that holds that execution begins."""
        self._run.close()
        for checkpoint in reversed(self._checkpoints):
            if checkpoint.execution >= self.at:
                continue
            self._restore(checkpoint)
            if checkpoint.execution <= execution:
                break
        self._reopen(checkpoint.execution)

    def _restore(self, checkpoint: _Checkpoint) -> None:
        for page, content in checkpoint.pages.items():
            self.machine.memory.write(page, content)
        self.machine.cpu.uc.context_restore(checkpoint.context)
        self.machine.cpu.flush_tlb()
        self.machine.cpu.flush_code()

    # -- Inside one ---------------------------------------------------------------------------------------------------

    def _enter(self, insns: int) -> None:
        table = accesses(self.trace, self.at, self.at + 1)
        stores = table[np.isin(table["access"], _STORES)]
        last = stores["pa"] + np.maximum(stores["size"], 1).astype(np.uint64) - np.uint64(1)
        pages: NDArray[np.uint64] = np.unique(np.concatenate([stores["pa"], last]) & ~np.uint64(PAGE_BYTES - 1))
        self._undo = self._checkpoint(pages.tolist())
        self._run.close()
        self.machine.step(insns)
        self.inside = insns

    def _leave(self, before: _Checkpoint) -> None:
        """Go back to before the execution that is under way."""
        self._restore(before)
        self._undo, self.inside = None, 0
        self._reopen(self.at)
