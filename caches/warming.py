"""Pages of a copy that are passed by without timing them: where they are, and what they leave behind.

A copy repeats one run of blocks, page after page: `pages_of` finds where. `PassedPage` is what such a page does to
lines; `caches.kernels.warming` does it, with the steps of a replay. Left behind are the lines of L2 and L3 with their
dirtiness, the entries of TLBs and walk cache, and lines read stale or lost; not L1D, the stream detectors and DRAM's
open rows, which a few pages of replay put right.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caches.kernels.layout import AHEAD_L2, L1D, L1I, L2, L3, LAST, NOBODY, STRIDE
from caches.kernels.warming import HELD_MASK
from caches.passed_lines import CLEAN, WRITE, Footprint
from caches.state import Ints, State, level_ways
from caches.steady import WINDOW, period
from traces.trace import Trace

_UNTIMED = ("l1d", "l2", "l3", "miss_buffers", "l2tlb", "walk", "dram_latency", "dram_rows", "dram_bandwidth")
"""Mechanisms that are off meanwhile: of those that the steps ask, all that only take time."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages that run the same blocks: where they lie among the executions of a trace."""

    length: int
    """Executions of a page."""
    starts: Ints
    """First execution of each, ascending."""

    def runs(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield (first execution, pages) of each row of whole pages, one after another, between the two executions."""
        low = np.searchsorted(self.starts, start)
        high = np.searchsorted(self.starts, stop - self.length, side="right")
        inside = self.starts[low:high]
        for run in _rows(inside, self.length):
            yield int(inside[run[0]]), len(run)


@lru_cache(maxsize=4)
def pages_of(trace: Trace, first: int, last: int) -> Pages | None:
    """Find the pages between two executions, both included; None where nothing repeats. No mark lies within a page."""
    executions = trace.executions
    found = period(executions[first : min(first + WINDOW, last + 1)])
    if found is None:
        return None
    start, length = first + found[0], found[1]
    page = executions[start : start + length]
    _, at, count = np.unique(page, return_index=True, return_counts=True)
    if not (count == 1).any():
        return None
    page = np.roll(page, -int(at[count == 1].min()))  # begins with a block that it runs once
    heads = np.flatnonzero(executions[first : last + 2 - length] == page[0]) + first
    same = np.zeros(len(heads), np.bool_)
    for run in _rows(heads, length):
        begin = int(heads[run[0]])
        same[run] = (executions[begin : begin + len(run) * length].reshape(-1, length) == page).all(axis=1)
    heads = heads[same]
    marks = trace.marks["at"].astype(np.int64)
    quiet = np.searchsorted(marks, heads, side="right") == np.searchsorted(marks, heads + length, side="right")
    return Pages(length, heads[quiet])


def _rows(starts: Ints, length: int) -> list[Ints]:
    """Return the indices of `starts` in groups of those that follow each other."""
    if not len(starts):
        return []
    return np.split(np.arange(len(starts)), np.flatnonzero(np.diff(starts) != length) + 1)


@dataclass(frozen=True, slots=True)
class PassedPage:
    """What a page does to lines, in the order of `kernels.warming`."""

    words: int
    """Values that the page consumes."""
    events: Ints
    """[event, column of kernels.warming]: loads, stores and maintenance in turn, those of one line as one."""


def _events(footprint: Footprint, values: Ints) -> Ints:
    rows: list[list[int]] = []
    last: dict[int, list[int]] = {}
    addresses = values[footprint.value] + footprint.offset
    columns = (addresses, footprint.value, footprint.offset, footprint.size, footprint.kind, footprint.maintenance)
    for va, word, offset, size, kind, maintenance in zip(*(column.tolist() for column in columns), strict=True):
        row = last.get(kind)
        if row is not None and kind != CLEAN:
            begin = int(values[row[0]]) + row[1]
            joins = va == begin + row[3] if kind == WRITE else va >= begin
            if va >> 6 == begin >> 6 and joins:
                row[3], row[5] = max(row[3], va + size - begin), begin & 63
                continue
        last[kind] = [word, offset, kind, 0 if kind == CLEAN else size, maintenance, -1]
        rows.append(last[kind])
    return np.array(sorted(rows, key=lambda row: row[2]), np.int64).reshape(-1, 6)


class Warming:
    """One machine while pages are passed by."""

    def __init__(self, state: State, members: Mapping[str, Any]) -> None:
        self._state = state
        self._members = members
        self._pages: dict[bytes, PassedPage | None] = {}
        self._reaches: list[int] = []
        self._held = np.zeros(HELD_MASK + 1, np.uint8)
        for level in (L1D, L2, L3, L1I) if state.words[0]["flat"] else ():  # asked past the caches only
            ways = level_ways(state, level)
            self._held[ways.held[ways.tags != 0] & HELD_MASK] = 1

    def page_of(self, trace: Trace, at: int, length: int, value: int) -> PassedPage | None:
        """Return the page that begins at that execution and value; None if it does what is not treated here."""
        executions = trace.executions[at : at + length].astype(np.int64)
        key = executions.tobytes()
        if key not in self._pages:
            footprint = Footprint.of(executions, self._members["ops"], self._members["blocks"])
            if footprint is None or footprint.words == 0:
                self._pages[key] = None
            else:
                values = trace.values[value : value + footprint.words].view(np.int64)
                self._pages[key] = PassedPage(footprint.words, _events(footprint, values))
        return self._pages[key]

    @contextmanager
    def untimed(self) -> Iterator[tuple[NDArray[np.uint8], int, int]]:
        """Switch off what takes time; gives what is held, how far prefetching reaches, and when nothing is pending."""
        words = self._state.words[0]
        before = {name: int(words[f"on_{name}"]) for name in _UNTIMED}
        quiet = max(int(words["retire"]), int(words["drained"]), int(words["buffer_end"][:NOBODY].max()))
        reach = self._reach()
        for name in before:
            words[f"on_{name}"] = 0
        yield self._held, reach, quiet
        for name, value in before.items():
            words[f"on_{name}"] = value

    def _reach(self) -> int:
        """How many lines a prefetcher is ahead at the end of a page: the mean of what replayed pages have shown."""
        words = self._state.words[0]
        if not words["on_prefetch"]:
            return 0
        streams = words["streams"][: int(words["stream_count"])]
        ahead = streams[:, AHEAD_L2] - streams[:, LAST]
        ended = (streams[:, LAST] & 63 == 63) & (streams[:, STRIDE] == 1) & (ahead > 0)
        self._reaches += ahead[ended].tolist()
        return round(sum(self._reaches) / len(self._reaches)) if self._reaches else 0
