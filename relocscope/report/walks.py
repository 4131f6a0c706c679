"""Walks: how the addresses that matter to a copy were translated, descriptor by descriptor, or that they were not."""

from dataclasses import dataclass

import numpy as np

from relocscope.limits import translated_elsewhere
from relocscope.regimes import regime_name
from relocscope.runs import Run
from traces.schema import MemoryType, Role
from traces.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """One descriptor that a walk reads."""

    stage: int
    level: int
    pa: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """One address under one regime. Without translation there are no reads, and `leaf_bytes` is 0."""

    what: str
    regime: str
    governs_copy: bool
    """Whether the copy ran under this regime; false of one that was on elsewhere."""
    table: str
    """The register that the walk starts from, and its value."""
    va: int
    pa: int
    reads: tuple[Read, ...]
    leaf_bytes: int
    data_type: str
    fetch_type: str


def walks_of(run: Run) -> tuple[Walk, ...]:
    """Translate the copy's code, and a page that it reads and one that it stores; then a page of regimes on elsewhere.

    From the trace: pages that the run never touched are not in it.
    """
    if run.site is None:
        return ()
    trace, epoch = run.trace, run.site.epoch
    found: list[Walk] = []
    regime = trace.epochs[epoch]
    code = int(trace.insns[run.site.insn]["va"])
    if not (regime["stage1"] or regime["stage2"]):
        found.append(_flat(trace, epoch, code))
    else:
        rows = trace.translations[trace.translations["epoch"] == epoch]
        wanted = [("the copy's code", rows[rows["page"] == code >> 12])]
        for what, role in (("a source page", Role.SOURCE), ("a destination page", Role.DESTINATION)):
            wanted.append((what, rows[_lies_in(trace, rows["pa"], role)]))
        found += [_walk(trace, epoch, what, table[0]) for what, table in wanted if len(table)]
    for state in translated_elsewhere(run):
        rows = trace.translations[trace.translations["epoch"] == state.epoch]
        if len(rows):
            walk = _walk(trace, state.epoch, "code that ran under it", rows[0], governs_copy=False)
            found.append(walk)
    return tuple(found)


def _lies_in(
    trace: Trace, pa: np.ndarray[tuple[int], np.dtype[np.uint64]], role: Role
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    ranges = np.sort(trace.ranges[trace.ranges["role"] == role], order="pa")
    if not len(ranges):
        return np.zeros(len(pa), np.bool_)
    place = np.searchsorted(ranges["pa"], pa, side="right") - 1
    inside = (place >= 0) & (pa - ranges["pa"][np.maximum(place, 0)] < ranges["size"][np.maximum(place, 0)])
    return np.asarray(inside, np.bool_)


def _flat(trace: Trace, epoch: int, va: int) -> Walk:
    regime = trace.epochs[epoch]
    return Walk(
        what="every address of the copy",
        regime=regime_name(trace, epoch),
        governs_copy=True,
        table=f"SCTLR_EL{max(int(regime['el']), 1)} = {int(regime['sctlr']):#x}: M = 0",
        va=va,
        pa=va,
        reads=(),
        leaf_bytes=0,
        data_type=MemoryType(int(regime["flat_type"])).label,
        fetch_type=MemoryType(int(regime["flat_fetch_type"])).label,
    )


def _walk(trace: Trace, epoch: int, what: str, row: np.void, *, governs_copy: bool = True) -> Walk:
    regime = trace.epochs[epoch]
    va = int(row["page"]) << 12
    first, count = int(row["walk_first"]), int(row["walk_count"])
    upper = va >> 55 & 1 and (regime["el"] <= 1 or regime["e2h"])
    name = "ttbr1" if upper else "ttbr0"
    return Walk(
        what=what,
        regime=regime_name(trace, epoch),
        governs_copy=governs_copy,
        table=f"{name.upper()}_EL{max(int(regime['el']), 1)} = {int(regime[name]):#x}",
        va=va,
        pa=int(row["pa"]),
        reads=tuple(
            Read(stage=int(read["stage"]), level=int(read["level"]), pa=int(read["pa"]))
            for read in trace.walk_reads[first : first + count]
        ),
        leaf_bytes=1 << int(row["leaf_log2"]),
        data_type=MemoryType(int(row["memory_type"])).label,
        fetch_type=MemoryType(int(row["fetch_type"])).label,
    )
