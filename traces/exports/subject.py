"""Subject: what an export is made of. A format says in `registry.py` which parts it needs; the others are empty."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.schema import LEAVES
from traces.timed import SAMPLE
from traces.trace import Records, Trace
from traces.window import Window


class Part(NamedTuple):
    """What one phase of a window cost."""

    phase: str
    begin_cycle: int
    end_cycle: int
    insn_cycles: NDArray[np.int64]
    """[row of Trace.insns, leaf]; sums to end_cycle - begin_cycle."""
    insn_count: NDArray[np.int64]
    """[row of Trace.insns]."""


class Instructions(NamedTuple):
    """Instructions by address, each once."""

    row: NDArray[np.int64]
    """One of its rows in Trace.insns."""
    executed: NDArray[np.int64]
    cycles: NDArray[np.int64]
    """[place in `row`, leaf]."""


class Stretch(NamedTuple):
    """Cycles of a window that have a name."""

    name: str
    begin_cycle: int
    end_cycle: int


class Line(NamedTuple):
    """Where an instruction stands in a source file; lines are counted from 1."""

    path: Path
    number: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Subject:
    """A window of a run, and what the modelled core made of it."""

    name: str
    trace: Trace
    window: Window
    core: str = ""
    frequency_hz: int = 0
    parts: tuple[Part, ...] = ()
    """The phases of the window, in order."""
    regimes: tuple[Stretch, ...] = ()
    """`EL2 M=0 C=0 I=0`, in order."""
    counters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What the window added to the counters of `traces.outcome.Outcome`."""
    samples: Records = field(default_factory=lambda: np.zeros(0, SAMPLE))
    """SAMPLE rows from the window's first instruction to its end."""
    timed: Iterator[Records] | None = None
    """TIMED rows, to be read once; None where there are too many instructions for it."""
    retired: Iterator[Records] | None = None
    """RETIRED rows, to be read once."""
    texts: tuple[str, ...] = ()
    """[row of Trace.insns]: disassembly."""
    source: Mapping[int, Line] = field(default_factory=dict)
    """Row of Trace.insns -> its line, where the source is known."""

    @property
    def cycles(self) -> int:
        """Cycles of the window."""
        return sum(part.end_cycle - part.begin_cycle for part in self.parts)

    def instructions(self, part: Part | None = None) -> "Instructions":
        """Return what was executed in a part, or in all, by address and encoding: blocks that share it are one."""
        insns = self.trace.insns[["va", "word"]]
        _, first, which = np.unique(insns, return_index=True, return_inverse=True)
        cycles = np.zeros((len(first), len(LEAVES)), np.int64)
        count = np.zeros(len(first), np.int64)
        np.add.at(cycles, which, self.insn_cycles() if part is None else part.insn_cycles)
        np.add.at(count, which, self.insn_count() if part is None else part.insn_count)
        ran = count > 0
        return Instructions(first[ran], count[ran], cycles[ran])

    def insn_cycles(self) -> NDArray[np.int64]:
        """[row of Trace.insns, leaf]: cycles of the window."""
        total: NDArray[np.int64] = np.sum([part.insn_cycles for part in self.parts], axis=0)
        return total

    def insn_count(self) -> NDArray[np.int64]:
        """[row of Trace.insns]: how often each ran in the window."""
        total: NDArray[np.int64] = np.sum([part.insn_count for part in self.parts], axis=0)
        return total
