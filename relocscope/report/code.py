"""Code: what a run executed, disassembled, each instruction with how often it ran and what that cost."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from relocscope.regimes import symbol
from relocscope.runs import Run
from traces.schema import LEAVES

MOST_LINES = 160
"""Instructions shown: the dearest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One instruction at one address."""

    va: int
    symbol: str
    text: str
    count: int
    cycles: int
    share: float
    """Of the run's cycles."""
    causes: Mapping[str, int]
    """Cycles by leaf of the cycle stack, dearest first; those that are not zero."""


def code_of(run: Run) -> tuple[Line, ...]:
    """List the dearest instructions by address."""
    from asm.decode import decode

    insns, costs = run.trace.insns, run.costs
    executed = np.flatnonzero(costs.insn_count)
    found: dict[int, tuple[int, int, np.ndarray[tuple[int], np.dtype[np.int64]]]] = {}
    for row in executed.tolist():
        va = int(insns[row]["va"])
        _, count, cycles = found.get(va, (row, 0, np.zeros(len(LEAVES), np.int64)))
        found[va] = row, count + int(costs.insn_count[row]), cycles + costs.insn_cycles[row]
    dearest = sorted(found, key=lambda va: (-int(found[va][2].sum()), va))[:MOST_LINES]
    lines = []
    for va in sorted(dearest):
        row, count, cycles = found[va]
        spent = {leaf: int(n) for leaf, n in zip(LEAVES, cycles, strict=True) if n}
        lines.append(
            Line(
                va=va,
                symbol=symbol(run.trace, va),
                text=decode(int(insns[row]["word"]).to_bytes(4, "little"), va)[0].text,
                count=count,
                cycles=sum(spent.values()),
                share=sum(spent.values()) / run.cycles if run.cycles else 0.0,
                causes=dict(sorted(spent.items(), key=lambda item: -item[1])),
            )
        )
    return tuple(lines)
