"""Timeline: the instructions of a run by number. The number of a place is how many instructions came before it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.expand import executed_counts
from traces.trace import Trace
from traces.window import Place


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The places of one trace. The last number is the run's end, where nothing follows."""

    trace: Trace
    before: NDArray[np.int64]
    """[executions + 1]: instructions before each execution, and all of them."""

    @classmethod
    def of(cls, trace: Trace) -> "Timeline":
        """Count once."""
        counts = executed_counts(trace)
        return cls(trace, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))

    @property
    def end(self) -> int:
        """Instructions of the whole run."""
        return int(self.before[-1])

    def place(self, number: int) -> Place:
        """Return where the instruction of that number is; the end is before an execution that there is not."""
        if not 0 <= number <= self.end:
            raise ValueError(f"instruction {number}: the run has {self.end}")
        execution = int(np.searchsorted(self.before, number, side="right")) - 1
        return Place(execution, number - int(self.before[execution]))

    def number(self, execution: int, insns: int = 0) -> int:
        """Return the number of a place."""
        return int(self.before[execution]) + insns

    def row(self, number: int) -> int | None:
        """Return the row in Trace.insns of the instruction that is next; None at the end."""
        if number >= self.end:
            return None
        place = self.place(number)
        return int(self.trace.blocks[self.trace.executions[place.execution]]["first"]) + place.insns
