"""Span: a range of physical memory, and the few things one does with several of them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.schema import PAGE_BYTES, RANGE, Role
from traces.trace import Records

PA_BITS = 52
"""The widest physical address that the architecture has (FEAT_LPA)."""


class Span(NamedTuple):
    """A half-open range of physical memory."""

    pa: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.pa + self.size

    def overlaps(self, other: "Span") -> bool:
        """Whether they share a byte."""
        return self.pa < other.end and other.pa < self.end

    def contains(self, other: "Span") -> bool:
        """Whether all of `other` lies inside."""
        return self.pa <= other.pa and other.end <= self.end

    def whole(self, page_bytes: int) -> "Span":
        """Return the whole pages inside; of no or negative size where there are none."""
        first = -(-self.pa // page_bytes) * page_bytes
        return Span(first, self.end // page_bytes * page_bytes - first)

    def __str__(self) -> str:
        return f"{self.pa:#x}..{self.end - 1:#x}"


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same bytes in as few spans as possible, by rising address."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.pa <= merged[-1].end:
            merged[-1] = Span(merged[-1].pa, max(merged[-1].end, span.end) - merged[-1].pa)
        elif span.size:
            merged.append(span)
    return tuple(merged)


def range_rows(by_role: Mapping[Role, Iterable[Span]]) -> Records:
    """Return Trace.ranges: every span with its role, by role."""
    rows = [(span.pa, span.size, role) for role in sorted(by_role) for span in by_role[role]]
    table = np.zeros(len(rows), RANGE)
    for row, (pa, size, role) in zip(table, rows, strict=True):
        row["pa"], row["size"], row["role"] = pa, size, role
    return table


def page_spans(pages: NDArray[np.uint64], page_bytes: int) -> tuple[Span, ...]:
    """Return the pages at these addresses in as few spans as possible, by rising address."""
    if not len(pages):
        return ()
    ordered = np.unique(pages)
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[:1]) != page_bytes)
    counts = np.diff(first, append=len(ordered))
    return tuple(Span(pa, n * page_bytes) for pa, n in zip(ordered[first].tolist(), counts.tolist(), strict=True))


def subtract(spans: Iterable[Span], holes: Iterable[Span]) -> tuple[Span, ...]:
    """Return what is left of `spans` without `holes`, by rising address."""
    left, cuts = [], sorted(hole for hole in holes if hole.size)
    for span in sorted(spans):
        at = span.pa
        for hole in cuts:
            if hole.end <= at or hole.pa >= span.end:
                continue
            if hole.pa > at:
                left.append(Span(at, hole.pa - at))
            at = max(at, hole.end)
        if at < span.end:
            left.append(Span(at, span.end - at))
    return tuple(left)


def checked_span(where: str, pa: int, size: int, *, align: int = PAGE_BYTES) -> Span:
    """Return a Span that is not empty, is aligned, and ends within the physical address space."""
    if size <= 0:
        raise InputError(f"{where}: size {size} must be positive")
    for field, value in (("pa", pa), ("size", size)):
        if value % align:
            raise InputError(f"{where}: {field} {value:#x} must be a multiple of {align:#x}")
    if pa < 0 or pa + size > 1 << PA_BITS:
        raise InputError(f"{where}: {pa:#x}+{size:#x} must lie within {PA_BITS}-bit physical addresses")
    return Span(pa, size)


def refuse_overlap(where: str, named: Sequence[tuple[str, Span]]) -> None:
    """Raise InputError when two of the named spans share a byte."""
    ordered = sorted(named, key=lambda each: each[1])
    for (name, span), (next_name, next_span) in pairwise(ordered):
        if span.overlaps(next_span):
            raise InputError(f"{where}: {name} overlaps {next_name} ({span} and {next_span})")
