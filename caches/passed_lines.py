"""What pages that are skipped do to lines: the part of a Device copy that depends on where it reads and writes.

Device reads look past dirty copies (stale), Device writes leave copies outdated, maintenance by VA drops and cleans
copies. None of it takes time, but for a write-back: a page that would write back, or reach cached code, is refused,
and has to be replayed. The compiled steps of the same name in `caches.kernels` are what this repeats: observe_read,
observe_write, clean_line.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caches.kernels import codes, layout
from caches.state import Ints, State, level_ways
from traces.schema import Access, InsnClass

READ, WRITE, CLEAN = 0, 1, 2

_BY_VA = (codes.DC_IVAC, codes.DC_CVAC, codes.DC_CVAU, codes.DC_CIVAC, codes.DC_CVAP)
_INVALIDATES = (codes.DC_IVAC, codes.DC_CIVAC)
_FILTER_BITS = 20


@dataclass(frozen=True, slots=True)
class Footprint:
    """The accesses of a page in program order: which of its values, what offset, how many bytes, what for."""

    words: int
    """Values that the page consumes."""
    value: Ints
    offset: Ints
    size: Ints
    kind: Ints
    maintenance: Ints

    def crossing(self, values: Ints) -> NDArray[np.bool_]:
        """Which of the pages whose values are the rows have an access that crosses a line."""
        addresses = values[:, self.value] + self.offset
        crosses: NDArray[np.bool_] = (((addresses & 63) + self.size > 64) & (self.kind != CLEAN)).any(axis=1)
        return crosses

    def stores(self, values: Ints) -> Ints:
        """Addresses that go into the store buffer in a page with those values; MISS for maintenance."""
        used = self.kind != READ
        addresses: Ints = values[self.value[used]] + self.offset[used]
        return np.where(self.kind[used] == CLEAN, layout.MISS, addresses)

    @classmethod
    def of(cls, executions: Ints, ops: Any, blocks: Ints) -> "Footprint | None":
        """Return the footprint of a page that runs these blocks; None if it does what is not treated here."""
        known: dict[int, list[tuple[int, int, int, int, int]] | None] = {}
        rows: list[tuple[int, int, int, int, int]] = []
        at = 0
        for block in executions.tolist():
            if block not in known:
                known[block] = _accesses(ops[blocks[block, 0] : blocks[block, 0] + blocks[block, 1]])
            accesses = known[block]
            if accesses is None:
                return None
            rows += [(at + access[0], *access[1:]) for access in accesses]
            at += int(blocks[block, 2])
        columns = np.array(rows, np.int64).reshape(-1, 5).T
        return cls(at, *(np.ascontiguousarray(column) for column in columns))


def _accesses(ops: Any) -> list[tuple[int, int, int, int, int]] | None:
    """(slot, offset, size, kind, maintenance) of a block's accesses; None where one is not treated here."""
    found = []
    for op in ops:
        access, maintenance = int(op["access"]), int(op["maintenance"])
        if access in (Access.NONE, Access.PREFETCH) and op["cls"] != InsnClass.MAINTENANCE:
            continue
        kind = {int(Access.LOAD): READ, int(Access.STORE): WRITE, int(Access.MAINTAIN): CLEAN}.get(access)
        if kind is None or op["slot"] < 0 or (kind == CLEAN and maintenance not in _BY_VA):
            return None
        found.append((int(op["slot"]), int(op["offset"]), max(1, int(op["size"])), kind, maintenance))
    return found


class PassedLines:
    """Carries out what pages do to the lines of one machine, page by page, as far as it takes no time."""

    def __init__(self, state: State) -> None:
        self._state = state
        words = state.words[0]
        self._levels = [
            level for level in range(3) if words["level_present"][level] and not words["level_behind_poc"][level]
        ]
        self._held = np.zeros(1 << _FILTER_BITS, np.bool_)
        for level in (*self._levels, layout.L1I):
            ways = level_ways(state, level)
            self._held[ways.held[ways.tags != 0] & (len(self._held) - 1)] = True
        self.stale: list[int] = []
        self.lost: list[int] = []

    def carry_out(self, footprint: Footprint, values: NDArray[np.int64]) -> int:
        """Do what the pages whose values are the rows do to lines; returns how many pages come before one refused."""
        crossing = np.flatnonzero(footprint.crossing(values))
        pages = int(crossing[0]) if len(crossing) else len(values)
        lines = (values[:pages, footprint.value] + footprint.offset) >> 6
        if pages == 0:
            return 0
        kept = _first_of_each(lines, footprint)
        lines = lines[:, kept]
        page, column = np.nonzero(self._held[lines & (len(self._held) - 1)])
        kinds, maintenance = footprint.kind[kept][column], footprint.maintenance[kept][column]
        touched = lines[page, column]
        return self._each(page, touched, kinds, maintenance, pages)

    def _each(self, page: Ints, lines: Ints, kinds: Ints, maintenance: Ints, pages: int) -> int:
        """Refuse the first page that would take time; carry out the others in order."""
        where = {level: self._find(level, lines) for level in (*self._levels, layout.L1I)}
        dirty = np.zeros(len(lines), np.bool_)
        for level in self._levels:
            at = where[level]
            dirty |= (at >= 0) & ((self._state.tags[at] & layout.DIRTY) != 0)
        words = self._state.words[0]
        keeps = (maintenance != codes.DC_IVAC) | (words["ivac_cleans"] != 0) | (words["stage2"] != 0)
        refused = ((kinds == CLEAN) & keeps & dirty) | ((kinds == WRITE) & (where[layout.L1I] >= 0))
        if refused.any():
            pages = int(page[refused.argmax()])
        stop = int(np.searchsorted(page, pages))
        # Cleaning to the PoU goes no further than L1D.
        far = maintenance[:stop] != codes.DC_CVAU
        reached = np.stack([np.where(far | (level == layout.L1D), where[level][:stop], -1) for level in self._levels])
        present = np.flatnonzero((reached >= 0).any(axis=0))
        events = (lines[present], kinds[present], maintenance[present], reached[:, present].T)
        for line, kind, name, copies in zip(*(column.tolist() for column in events), strict=True):
            self._one(line, kind, name, copies)
        return pages

    def _one(self, line: int, kind: int, maintenance: int, copies: list[int]) -> None:
        """Carry out one access to a line that was held in these ways, or nowhere (-1), when the pages began."""
        tags = self._state.tags
        flags = 0
        for copy in copies:
            if copy < 0 or tags[copy] >> layout.FLAG_BITS != line + 1:
                continue
            flags |= int(tags[copy]) & layout.FLAGS
            if kind == WRITE:
                tags[copy] |= layout.STALE
            elif kind == CLEAN:
                tags[copy] &= ~(layout.DIRTY | layout.OLD)
                if maintenance in _INVALIDATES:
                    tags[copy] = 0
        if kind == WRITE or not flags & layout.DIRTY:
            return
        if kind == READ:
            self.stale.append(line)
        elif flags & layout.OLD:
            self._state.words["old_discarded"] += 1
        else:
            self.lost.append(line)

    def _find(self, level: int, lines: Ints) -> Ints:
        """Where the level holds each line; -1 where it does not."""
        words = self._state.words[0]
        ways, base = int(words["level_ways"][level]), int(words["level_base"][level])
        first = base + (lines % int(words["level_sets"][level])) * ways
        hits = self._state.tags[first[:, None] + np.arange(ways)] >> layout.FLAG_BITS == (lines + 1)[:, None]
        return np.where(hits.any(axis=1), first + hits.argmax(axis=1), -1)


def _first_of_each(lines: Ints, footprint: Footprint) -> Ints:
    """Return columns without those that do what the one before them of their kind does: same line, in every page."""
    kept = np.ones(lines.shape[1], np.bool_)
    for kind in (READ, WRITE):
        of_kind = np.flatnonzero(footprint.kind == kind)
        repeats = (lines[:, of_kind[1:]] == lines[:, of_kind[:-1]]).all(axis=0)
        # Not across another kind: maintenance between them may have changed what is held.
        between = np.diff(np.cumsum(footprint.kind == CLEAN)[of_kind]) > 0
        kept[of_kind[1:][repeats & ~between]] = False
    return np.flatnonzero(kept)
