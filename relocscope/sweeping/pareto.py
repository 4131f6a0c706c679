"""What a core's caches and TLBs cost, and the points at which nothing can be had sooner for as little (Pareto's front).

The cost is bytes of SRAM, by one rule for all cores: every level of cache the bytes of its lines and LINE_STATE_BYTES
for each of them, every entry of a TLB and of the walk cache ENTRY_BYTES. Branch predictors, buffers and queues are left
out: what is known of them are counts, not bytes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from caches import CoreConfig
    from caches.parts import CacheLevel, Tlb

Row = TypeVar("Row", bound=Mapping[str, Any])

LINE_STATE_BYTES = 8
"""Of a line: tag, state and age. A 44-bit PA has at most 38 bits of tag."""

ENTRY_BYTES = 16
"""Of a translation: a VA with its ASID and VMID, and a descriptor."""


def sram_bytes(config: "CoreConfig") -> int:
    """Return what the core's caches, TLBs and walk cache take."""
    total = ENTRY_BYTES * config.walk.cache_entries
    for name in ("l1i", "l1d", "l2", "l3"):
        level: CacheLevel = getattr(config, name)
        total += level.size + LINE_STATE_BYTES * (level.size // level.line)
    for name in ("itlb", "dtlb", "l2tlb"):
        tlb: Tlb = getattr(config, name)
        total += ENTRY_BYTES * tlb.entries
    return total


def front(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that arrive than which none is both as small and as soon, cheapest first.

    Of rows that are equal in both, the first point. Of two cases, those of the second: what is looked for is how to
    have it soon.
    """
    side = "b" if any(row["side"] == "b" for row in rows) else "a"
    arrived = [row for row in rows if row["side"] == side and row["outcome"] == "completed"]
    found: list[Row] = []
    for row in sorted(arrived, key=lambda row: (row["sram_bytes"], row["seconds"], row["point"])):
        if not found or row["seconds"] < found[-1]["seconds"]:
            found.append(row)
    return found
