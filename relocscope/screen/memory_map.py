"""Map: physical memory where anything lies, a cell a stretch of it: source, destination, tables, code and the rest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from textual.content import Content

from relocscope.screen.marks import DESTINATION_BEGUN, DIM, ROLES
from relocscope.screen.pane import Pane, lines
from relocscope.screen.scene import Scene
from traces.schema import Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from traces.trace import Records, Trace

_PAGE = 4096
_GAP_PAGES = 4096
"""As much memory without a role parts two pictures."""
_ADDRESS_CELLS = 14
_LEAST_ROWS = 3
_NOTHING, _BEGUN = len(ROLES), len(ROLES) + 1
_DESTINATION = next(number for number, (name, *_) in enumerate(ROLES) if name == "destination")
_LETTERS = [*((letter, style) for _, letter, _, style in ROLES), ("·", DIM), DESTINATION_BEGUN]


class MemoryMap(Pane):
    """The physical memory map, coloured."""

    name_, title = "map", "Map"

    def __init__(self) -> None:
        super().__init__()
        self._trace: Trace | None = None
        self._parts: list[_Part] = []

    def content(self, scene: Scene, width: int) -> Content:
        """Draw each part of memory that is used, and say what the letters mean."""
        if self._trace is not scene.session.trace:
            self._trace, self._parts = scene.session.trace, _parts(scene.session.trace)
        legend = _legend(scene, width)
        room = max(_LEAST_ROWS, self.scrollable_content_region.height - len(legend) - 2 * len(self._parts) + 1)
        access, rows = scene.position["access"], list[Content]()
        here = int(access["pa"], 16) // _PAGE if access and access["pa"] else None
        for part in self._parts:
            rows += _picture(part.begun(scene), part.first, here, max(8, width - _ADDRESS_CELLS), room)
        return lines([*rows, *legend])


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A stretch of memory that holds anything."""

    first: int
    """Its first page."""
    kinds: "NDArray[np.int64]"
    """What each page holds, by its row in ROLES."""

    def begun(self, scene: Scene) -> "NDArray[np.int64]":
        """Return the same with the destinations that have been stored to marked so."""
        kinds = self.kinds.copy()
        destinations, executions = scene.session.page_starts
        begun = destinations[executions < scene.session.place.execution].astype(np.int64) // _PAGE - self.first
        inside = begun[(begun >= 0) & (begun < len(kinds))]
        kinds[inside[kinds[inside] == _DESTINATION]] = _BEGUN
        return kinds


def _parts(trace: "Trace") -> "list[_Part]":
    """Part memory where much of it holds nothing."""
    ranges = np.sort(trace.ranges[~np.isin(trace.ranges["role"], (Role.RAM, Role.NOMAP, Role.NO_ACCESS))], order="pa")
    found: list[tuple[int, int]] = []
    for pa, size in zip(ranges["pa"].tolist(), ranges["size"].tolist(), strict=True):
        first, last = pa // _PAGE, (pa + size - 1) // _PAGE
        if found and first - found[-1][1] < _GAP_PAGES:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return [_Part(first, _kinds(ranges, first, last - first + 1)) for first, last in found]


def _kinds(ranges: "Records", first: int, pages: int) -> "NDArray[np.int64]":
    kinds = np.full(pages, _NOTHING, np.int64)
    for number, (name, *_) in reversed(list(enumerate(ROLES))):
        for row in ranges[ranges["role"] == Role[name.upper()]]:
            start = int(row["pa"]) // _PAGE - first
            stop = (int(row["pa"]) + int(row["size"]) - 1) // _PAGE - first + 1
            kinds[max(0, start) : max(0, stop)] = number
    return kinds


def _picture(kinds: "NDArray[np.int64]", first: int, here: int | None, cells: int, room: int) -> list[Content]:
    """Draw one part: a line for each `cells` cells, each with its address; at most `room` of them."""
    pages_a_cell = max(1, -(-len(kinds) // (cells * room)))
    shown = -(-len(kinds) // pages_a_cell)
    padded = np.full(shown * pages_a_cell, _NOTHING, np.int64)
    padded[: len(kinds)] = kinds
    per_cell = padded.reshape(shown, pages_a_cell)
    # A destination that has been begun shows before one that has not, and after anything dearer.
    order = np.where(per_cell == _BEGUN, _DESTINATION - 0.5, per_cell)
    letters = np.take_along_axis(per_cell, order.argmin(axis=1)[:, None], axis=1)[:, 0].tolist()
    at = (here - first) // pages_a_cell if here is not None and 0 <= here - first < len(kinds) else None
    rows = [Content.styled(f"{first * _PAGE:#x}: a cell is {pages_a_cell * _PAGE // 1024:,} KiB", DIM)]
    for start in range(0, shown, cells):
        address = f"{(first + start * pages_a_cell) * _PAGE:#x}"
        drawn = [
            _cell(kind, is_here=start + number == at) for number, kind in enumerate(letters[start : start + cells])
        ]
        rows.append(Content.assemble((f"{address:<{_ADDRESS_CELLS}}", DIM), *drawn))
    return rows


def _cell(kind: int, *, is_here: bool) -> tuple[str, str]:
    return ("@", "bold reverse") if is_here else _LETTERS[kind]


def _legend(scene: Scene, width: int) -> list[Content]:
    present = set(scene.session.trace.ranges["role"].tolist())
    known = [(letter, words, style) for name, letter, words, style in ROLES if Role[name.upper()] in present]
    at = next(number for number, (letter, *_) in enumerate(known) if letter == "d") if known else 0
    known.insert(at + 1, (DESTINATION_BEGUN[0], "begun", DESTINATION_BEGUN[1]))
    rows, row, used = [], [Content.assemble(("@", "bold reverse"), " next access")], 13
    for letter, words, style in known:
        if used + len(words) + 4 > width:
            rows.append(Content("  ").join(row))
            row, used = [], 0
        row.append(Content.assemble((letter, style), f" {words}"))
        used += len(words) + 4
    return [*rows, Content("  ").join(row), Content.styled("what holds several things shows the first of these", DIM)]
