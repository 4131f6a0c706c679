"""Miss curves for people: a table of sizes, what is marked in it, and sentences; or a picture."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from relocscope.miss_curves import FULLY, MissCurves, Shape
from relocscope.render import plain_table

_BAR = 16
"""Characters of the bar of a level that misses always."""


def show_misses(out: Console, found: MissCurves) -> None:
    """Show misses by size and associativity, the core's own marked."""
    out.print(
        f"{escape(found.case)} on {escape(found.core)}, {found.level}: {found.accesses:,} accesses; missed of them"
    )
    out.print()
    ways = list(dict.fromkeys(shape.ways for shape in found.shapes))
    table = plain_table("size", *map(_words, ways), f"{_words(found.own.ways)}", right=range(1, len(ways) + 1))
    shapes = {(shape.capacity, shape.ways): shape for shape in found.shapes}
    for capacity in _told(found):
        own = shapes.get((capacity, found.own.ways))
        cells = [_cell(found, shapes.get((capacity, each))) for each in ways]
        table.add_row(found.size(capacity).removesuffix(" entries"), *cells, _bar(found, own))
    out.print(table)
    out.print()
    out.print(f"* {escape(found.core)}'s own: {_own(found)}")
    for sentence in found.sentences:
        out.print(sentence)
    if found.changed:
        out.print()
        out.print(f"Not exact for {escape(found.core)} as it is. The curves are those with")
        for each in found.changed:
            out.print(f"  --set {each.key}={each.needed} (it is {each.value}: {each.why})")


def _own(found: MissCurves) -> str:
    accesses, misses = found.replayed
    share = misses / accesses if accesses else 0.0
    return (
        f"{found.size(found.own.capacity)}, {_words(found.own.ways)}: {found.ratio(found.own.misses):.2%} missed; "
        f"replayed as it is: {share:.2%} of {accesses:,}"
    )


def _told(found: MissCurves) -> list[int]:
    """Return the sizes that are worth a row: from the smallest to where nothing changes at any associativity."""
    sizes = sorted({shape.capacity for shape in found.shapes if shape.ways in (found.own.ways, FULLY)})
    last = max(
        [found.own.capacity]
        + [
            shape.capacity
            for ways in {shape.ways for shape in found.shapes}
            for shape in found.of(ways)
            if found.ratio(shape.misses - found.of(ways)[-1].misses) >= 0.00005
        ]
    )
    first = 1024 if found.is_cache else 4
    return [size for size in sizes if first <= size <= 2 * last or size == found.own.capacity]


def _words(ways: int) -> str:
    return "full" if ways == FULLY else f"{ways}-way"


def _cell(found: MissCurves, shape: Shape | None) -> str:
    if shape is None:
        return ""
    mark = "*" if shape == found.own else ""
    return f"{mark}{100 * found.ratio(shape.misses):.2f}%"


def _bar(found: MissCurves, shape: Shape | None) -> str:
    return "" if shape is None else "#" * round(_BAR * found.ratio(shape.misses))


def picture(found: MissCurves) -> dict[str, Any]:
    """Return the curves as Vega-Lite has them, the core's own shape marked."""
    unit = "bytes" if found.is_cache else "entries"
    rows = [_row(found, shape) for shape in found.shapes]
    own = {**_row(found, found.own), "text": f"{found.core}: {found.size(found.own.capacity)}"}
    axes: Mapping[str, Any] = {
        "x": {
            "field": "capacity",
            "type": "quantitative",
            "scale": {"type": "log", "base": 2},
            "title": f"{found.level}, {unit}",
        },
        "y": {"field": "missed", "type": "quantitative", "axis": {"format": ".1%"}, "title": "missed, of all accesses"},
    }
    order = list(dict.fromkeys(row["ways"] for row in rows))
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": f"{found.case} on {found.core}: {found.level}, LRU",
        "width": 640,
        "height": 320,
        "background": "white",
        "layer": [
            {
                "data": {"values": rows},
                "mark": {"type": "line", "point": True},
                "encoding": {**axes, "color": {"field": "ways", "type": "nominal", "sort": order, "title": None}},
            },
            {
                "data": {"values": [own]},
                "encoding": axes,
                "layer": [
                    {"mark": {"type": "point", "shape": "diamond", "size": 160, "filled": True, "color": "black"}},
                    {"mark": {"type": "text", "dy": -14}, "encoding": {"text": {"field": "text"}}},
                ],
            },
        ],
    }  # fmt: skip


def _row(found: MissCurves, shape: Shape) -> dict[str, Any]:
    return {"capacity": shape.capacity, "ways": _words(shape.ways), "missed": found.ratio(shape.misses)}
