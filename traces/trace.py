"""Trace: everything that one functional run did, and nothing about how long it took."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces.schema import MAPPING, TABLE_PAGE

if TYPE_CHECKING:
    import polars

Records = NDArray[Any]
"""A structured array of one of the record types of `traces.schema`."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One run of one guest. Arrays are never changed after construction.

    An execution of block `b` (`blocks[executions[i]]`) consumes `blocks[b].values` words of `values`, truncated or not;
    the address of each of its instructions with a slot is `values[first + slot] + offset`, and its physical address
    follows from the translation row of (current epoch, address >> 12), or is the address itself where the epoch
    translates nothing.
    """

    insns: Records
    """INSN[n]: the instructions of all blocks."""
    blocks: Records
    """BLOCK[n]."""
    executions: NDArray[np.uint32]
    """Rows of `blocks`, in the order in which they ran."""
    values: NDArray[np.uint64]
    """Captured register values, in the order of the executions that read them."""
    epochs: Records
    """EPOCH[n], row 0 from the start."""
    translations: Records
    """TRANSLATION[n], unique by (epoch, page)."""
    walk_reads: Records
    """WALK_READ[n]."""
    exceptions: Records
    """EXCEPTION[n]."""
    marks: Records
    """MARK[n], ordered by `at`."""
    ranges: Records
    """RANGE[n]: what lies where in physical memory."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able facts of the run: routine, boot, outcome, entry, image_ok, symbols, ... (docs/trace.md)."""
    mappings: Records = field(default_factory=lambda: np.zeros(0, MAPPING))
    """MAPPING[n]: what the tables in force map, by epoch, TTBR and VA."""
    table_pages: Records = field(default_factory=lambda: np.zeros(0, TABLE_PAGE))
    """TABLE_PAGE[n]: where those tables lie, by epoch, TTBR and PA."""

    def to_arrow(self) -> "polars.DataFrame":
        """Return every executed instruction and its access, the columns of the export parquet (docs/exports.md).

        Whatever reads Arrow's C stream interface takes it: `pyarrow.table(trace.to_arrow())`.
        """
        from traces.exports.arrow import events_to_arrow

        return events_to_arrow(self)
