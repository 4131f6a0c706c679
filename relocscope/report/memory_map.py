"""Memory map: what lies where in physical memory, short enough for a picture."""

from dataclasses import dataclass

from relocscope.runs import Run
from traces.schema import Role

SAME_ISLAND_BYTES = 16 << 20
"""Ranges closer than this are drawn side by side; a wider gap is cut out."""

MOST_BANDS = 400
"""Ranges of one role, at most; where there are more, neighbours are joined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Ranges of one role, joined where they touch or are many; `used_bytes` of `bytes` have that role."""

    role: str
    pa: int
    bytes: int
    used_bytes: int
    ranges: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Island:
    """A stretch of memory that is drawn in one piece."""

    pa: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryMap:
    """Bands by role and address, and the islands that they lie on. RAM that has no other role is on no island."""

    bands: tuple[Band, ...]
    islands: tuple[Island, ...]


def memory_map_of(run: Run) -> MemoryMap:
    """Join the ranges of the run."""
    by_role: dict[int, list[tuple[int, int]]] = {}
    for row in run.trace.ranges:
        if row["size"]:
            by_role.setdefault(int(row["role"]), []).append((int(row["pa"]), int(row["size"])))
    bands: list[Band] = []
    for role, ranges in sorted(by_role.items()):
        gap = 0
        joined = _joined(ranges, gap)
        while len(joined) > MOST_BANDS:
            gap = max(4096, 4 * gap)
            joined = _joined(ranges, gap)
        bands += [
            Band(role=Role(role).name.lower(), pa=pa, bytes=size, used_bytes=used, ranges=count)
            for pa, size, used, count in joined
        ]
    drawn = [(band.pa, band.bytes) for band in bands if band.role != "ram"]
    islands = tuple(Island(pa=pa, bytes=size) for pa, size, _, _ in _joined(drawn, SAME_ISLAND_BYTES))
    return MemoryMap(bands=tuple(bands), islands=islands)


def _joined(ranges: list[tuple[int, int]], gap: int) -> list[tuple[int, int, int, int]]:
    """Join ranges that lie no further apart than `gap`: (pa, size, bytes of the ranges, how many)."""
    found: list[tuple[int, int, int, int]] = []
    for pa, size in sorted(ranges):
        if found and pa <= found[-1][0] + found[-1][1] + gap:
            first, so_far, used, count = found[-1]
            found[-1] = first, max(so_far, pa + size - first), used + size, count + 1
        else:
            found.append((pa, size, size, 1))
    return found
