"""Heat map: the times of a sweep, or its speed-ups, over two keys."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relocscope.answers.sentences import value
from relocscope.sweeping.keys import bare, key
from relocscope.sweeping.picture_files import blank
from traces.errors import InputError

if TYPE_CHECKING:
    from relocscope.sweeping.table import Table

COLOURS = "cividis"
"""Even in lightness, and the same to people who do not see red or green."""

LABELLED = 144
"""Cells that have their number written on them, at most."""


def heat_map(table: "Table", x: str | None = None, y: str | None = None, of: str | None = None, *, axes: Any = None,
             **at: Any) -> Any:  # fmt: skip
    """Draw `of` (seconds or speedup) over two swept keys; return Matplotlib's axes.

    Without names: the first two keys, and the speed-up where two cases are compared. Keys that are swept beside them
    are held at the values given in `at` (dots written as __). Cells without a number are hatched.
    """
    swept = list(dict.fromkeys(map(bare, table.plan.swept)))
    x = x or next((name for name in swept if name != y), None)
    y = y or next((name for name in swept if name != x), None)
    of = of or ("speedup" if len(table.plan.cases) > 1 else "seconds")
    if x not in swept or y not in swept or x == y or of not in ("seconds", "speedup"):
        raise InputError("heat map: needs two of the swept keys, and seconds or speedup of them")
    cells = _cells(table, x, y, of, {name.replace("__", "."): one for name, one in at.items()})
    across, up = (_ordered({place[side] for place in cells}) for side in (0, 1))
    unit, scale = _unit(table.plan.cases, of, [one for one in cells.values() if one is not None])
    grid = [[_at(cells, column, row, scale) for column in across] for row in up]
    if axes is None:
        size = (max(5.0, 1.8 + 0.75 * len(across)), max(3.5, 1.2 + 0.45 * len(up)))
        axes = blank(size)
    return _drawn(axes, grid, (x, across), (y, up), unit)


def _cells(table: "Table", x: str, y: str, of: str, at: dict[str, Any]) -> dict[tuple[Any, Any], float | None]:
    side = "a" if len(table.plan.cases) == 1 else "b"
    rows = [row for row in table.rows if row["side"] == side and all(row.get(name) == one for name, one in at.items())]
    found: dict[tuple[Any, Any], float | None] = {}
    for row in rows:
        place = (row.get(x), row.get(y))
        if place in found:
            raise InputError(f"heat map: {x} and {y} do not settle the point: hold the other swept keys at one value")
        found[place] = row.get(of) if row["outcome"] == "completed" else None
    if not any(one is not None for one in found.values()):
        raise InputError(f"heat map: no point has {of}")
    return found


def _ordered(found: set[Any]) -> list[Any]:
    return sorted(found, key=lambda one: (one is None, isinstance(one, str), one if one is not None else 0))


def _unit(cases: Sequence[str], of: str, given: Sequence[float]) -> tuple[str, float]:
    if of == "speedup":
        return (f"speed-up of {cases[-1]}"), 1.0
    most = max(given)
    name, scale = ("s", 1.0) if most >= 1 else ("ms", 1e3) if most >= 1e-3 else ("µs", 1e6)
    return f"time of {cases[-1]} [{name}]", scale


def _at(cells: dict[tuple[Any, Any], float | None], column: Any, row: Any, scale: float) -> float:
    found = cells.get((column, row))
    return float("nan") if found is None else found * scale


def _drawn(axes: Any, grid: Sequence[Sequence[float]], across: tuple[str, Sequence[Any]], up: tuple[str, Sequence[Any]],
           unit: str) -> Any:  # fmt: skip
    axes.set_facecolor("#d9d9d9")
    axes.patch.set(hatch="////", edgecolor="#9a9a9a")
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap=COLOURS)
    axes.figure.colorbar(image, ax=axes, label=unit)
    for (name, values), ticks, label in (
        (across, axes.set_xticks, axes.set_xlabel),
        (up, axes.set_yticks, axes.set_ylabel),
    ):
        step = max(1, -(-len(values) // 16))
        shown = range(0, len(values), step)
        ticks(list(shown), [value(name, values[one]).removesuffix(f" {key(name).unit}") for one in shown])
        sizes = key(name).unit in ("", "bytes")
        label(name if sizes else f"{name} [{key(name).unit}]")
    if len(grid) * len(grid[0]) <= LABELLED:
        for row, cells in enumerate(grid):
            for column, number in enumerate(cells):
                if not math.isnan(number):
                    bright = image.norm(number) > 0.5
                    axes.text(column, row, f"{number:.3g}", ha="center", va="center", fontsize="small",
                              color="black" if bright else "white")  # fmt: skip
    return axes
