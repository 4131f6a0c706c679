"""Outcome: what one replay of a Trace on one modelled machine cost, and what every cycle was spent on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.markup import paragraph, table
from traces.schema import LEAVES


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The cost of one run. `insn_cycles` is the ground truth; every other figure of time is a sum over it."""

    core: str
    frequency_hz: int
    insn_cycles: NDArray[np.int64]
    """[row of Trace.insns, leaf of LEAVES]: cycles charged to each static instruction, by cause."""
    insn_count: NDArray[np.int64]
    """[row of Trace.insns]: how often each was executed."""
    checkpoint_cycles: NDArray[np.int64]
    """The modelled cycle at the start of each execution that the caller asked for (`checkpoints=` of replay)."""
    counters: Mapping[str, Mapping[str, int]]
    """Per part ("l1d", "l2", "dtlb", "dram", ...): accesses, hits, misses, evictions, write_backs ..."""
    dirty_lines: NDArray[np.uint64]
    """Physical addresses of lines that some cache before the PoC holds newer than memory at the end."""
    stale_lines: NDArray[np.uint64]
    """Lines of which the run read old data past a newer copy, in the order of first reading."""
    lost_lines: NDArray[np.uint64]
    """Lines whose newest data was thrown away (an invalidate, or an older copy written over it)."""
    calibrated: tuple[str, ...] = ()
    """Keys of the core's numbers that were fitted to a published time."""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """All modelled cycles."""
        return int(self.insn_cycles.sum())

    @property
    def instructions(self) -> int:
        """Instructions executed."""
        return int(self.insn_count.sum())

    @property
    def seconds(self) -> float:
        """Modelled time."""
        return self.cycles / self.frequency_hz

    @property
    def cycle_stack(self) -> dict[str, int]:
        """Cycles by cause, every leaf present; sums exactly to `cycles`."""
        totals = self.insn_cycles.sum(axis=0)
        return {leaf: int(cycles) for leaf, cycles in zip(LEAVES, totals, strict=True)}

    def _repr_html_(self) -> str:
        """Show the cycle stack in a notebook."""
        whole = max(self.cycles, 1)
        rows = [(leaf, f"{n:,}", f"{100 * n / whole:.1f}%") for leaf, n in self.cycle_stack.items() if n]
        total = [("cycles", f"{self.cycles:,}", ""), ("instructions", f"{self.instructions:,}", "")]
        said = f"{self.seconds * 1e3:.4g} ms on {self.core}, modelled"
        return paragraph(said, strong=True) + table(("cycle stack", "cycles", "share"), [*rows, *total])
