"""What is mapped, and where the image is to lie, against what the memory is: J1..J5 of the first review."""

from collections.abc import Iterator

import numpy as np

from emu.spans import Span, merge, subtract
from relocscope.hazards.registry import Finding
from relocscope.hazards.subject import Subject, overlap
from relocscope.regimes import regime_name
from traces.schema import MemoryType, Role
from traces.trace import Records

_CACHEABLE = (MemoryType.NORMAL_WT, MemoryType.NORMAL_WB)


def findings(subject: Subject) -> Iterator[Finding]:
    """Yield what the tables and the destinations break of the memory map; nothing where there is no map."""
    if not len(subject.ranges(Role.RAM)):
        return
    yield from _destinations(subject)
    mappings = subject.trace.mappings
    cacheable = mappings[np.isin(mappings["memory_type"], _CACHEABLE)]
    yield from _covering(subject, cacheable, Role.NOMAP, "nomap-cacheable")
    yield from _covering(subject, mappings, Role.NO_ACCESS, "no-access-mapped")
    yield from _beyond(subject, cacheable)


def _destinations(subject: Subject) -> Iterator[Finding]:
    outside = [
        (int(row["pa"]), left)
        for row in subject.image
        if (left := subtract([Span(int(row["pa"]), int(row["size"]))], subject.usable))
    ]
    if outside:
        _, left = outside[0]
        yield Finding(
            id="destination-outside-ram",
            where=str(left[0]),
            evidence=f"{len(outside)} of {len(subject.image)} segments; the first has {_bytes(left)} outside",
        )


def _covering(subject: Subject, mappings: Records, role: Role, name: str) -> Iterator[Finding]:
    forbidden = subject.spans(role)
    covered: list[Span] = []
    first: np.void | None = None
    for row in mappings if forbidden else ():
        found = overlap((Span(int(row["pa"]), int(row["size"])),), forbidden)
        if found:
            first = row if first is None else first
            covered.extend(found)
    if first is not None:
        regions = merge(covered)
        yield Finding(
            id=name,
            where=str(regions[0]),
            evidence=f"{_bytes(regions)} mapped, first as {_leaf(subject, first)}",
        )


def _beyond(subject: Subject, mappings: Records) -> Iterator[Finding]:
    """Find leaves that reach beyond usable RAM: wholly (unknown), or at one end only (rounding)."""
    known = merge([*subject.spans(Role.RAM, Role.NOMAP, Role.NO_ACCESS)])
    unknown: list[tuple[Span, np.void]] = []
    rounded: list[tuple[Span, np.void]] = []
    for row in mappings:
        for gap in subtract([Span(int(row["pa"]), int(row["size"]))], subject.usable):
            for piece in _leaves_over(gap, row):
                if overlap((piece,), subject.usable):
                    rounded.append((piece, row))
                elif not overlap((piece,), known):
                    unknown.append((piece, row))
    for name, found in (("unknown-region-mapped", unknown), ("leaf-rounding", rounded)):
        if found:
            pieces = merge(piece for piece, _ in found)
            beyond = subtract(pieces, subject.usable)
            yield Finding(
                id=name,
                where=str(beyond[0]),
                evidence=f"{_bytes(beyond)} beyond RAM, first under {_leaf(subject, found[0][1])}",
            )


def _leaves_over(gap: Span, row: np.void) -> Iterator[Span]:
    """Yield the leaves that a gap lies under: the first, the last, and all between as one."""
    size = 1 << int(row["leaf_log2"])
    first, last = gap.pa // size * size, (gap.end - 1) // size * size
    yield Span(first, size)
    if last > first + size:
        yield Span(first + size, last - first - size)
    if last > first:
        yield Span(last, size)


def _bytes(spans: tuple[Span, ...]) -> str:
    return f"{sum(span.size for span in spans):#x} bytes"


def _leaf(subject: Subject, row: np.void) -> str:
    kind = MemoryType(int(row["memory_type"])).label
    regime = regime_name(subject.trace, int(row["epoch"]))
    return (
        f"{kind} by leaves of {1 << int(row['leaf_log2']):#x} bytes at va {int(row['va']):#x} "
        f"({regime}, TTBR{int(row['ttbr'])})"
    )
