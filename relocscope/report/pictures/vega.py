"""Vega-Lite that every picture is made of: sizes, colours, tooltips, zoom; and the picture itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relocscope.operand import label
from relocscope.report.gathered import Part
from traces.schema import PAGE_BYTES

WIDTH = 640
"""Of a picture that is not fitted to its page, in CSS pixels."""

SIDES = ("#3f7fc1", "#d9772b", "#3f9d63", "#9a62b8", "#b8902a", "#c2506b")

Row = Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture. `alternative` says in a sentence what it shows; `columns` and `rows` are its figures."""

    id: str
    title: str
    caption: str
    alternative: str
    spec: Mapping[str, Any]
    columns: Row
    rows: tuple[Row, ...]


def name_of(part: Part) -> str:
    """Name a run in a picture: its letter and its case, on one line."""
    return f"{part.which} {label(part.run.case)}"[:40]


def vega_lite(data: Sequence[Mapping[str, Any]], height: int, **rest: Any) -> dict[str, Any]:
    """Return a specification of these rows; without any, its layers have their own."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": WIDTH,
        "height": height,
        **({"data": {"values": list(data)}} if data else {}),
        "config": _CONFIG,
        **rest,
    }


_CONFIG: Mapping[str, Any] = {
    "background": None,
    # Arial and what has its widths: the drawing and the page measure the same.
    "font": "Arial, 'Liberation Sans', Helvetica, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--quiet)",
        "titleColor": "var(--quiet)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 220,
        "labelOverlap": "greedy",
    },
    "axisQuantitative": {"tickCount": 6},
    "legend": {
        "orient": "top",
        "title": None,
        "columns": 4,
        "labelColor": "var(--text)",
        "labelFontSize": 12,
        "symbolType": "square",
        "symbolOpacity": 1,
    },
    "text": {"color": "var(--text)", "fontSize": 12},
}

ZOOM = {
    "name": "zoom",
    "select": {
        "type": "interval",
        "encodings": ["x"],
        # the wheel alone scrolls the page, and a finger does
        "zoom": "wheel![event.shiftKey]",
        "translate": "[mousedown, window:mouseup] > window:mousemove!",
    },
    "bind": "scales",
}


def chosen(field: str) -> list[dict[str, Any]]:
    """Let a click on the legend single out what it names."""
    return [{"name": "chosen", "select": {"type": "point", "fields": [field]}, "bind": "legend"}]


FADE = {"condition": {"param": "chosen", "value": 1}, "value": 0.15}


def tooltip(*fields: tuple[str, str, str]) -> list[dict[str, str]]:
    """Make a tooltip of (field, title, format); a format of nothing is for names."""
    return [
        {"field": field, "title": title, "type": "quantitative", "format": form}
        if form
        else {"field": field, "title": title, "type": "nominal"}
        for field, title, form in fields
    ]


def measured(field: str, title: str | None = None, **rest: Any) -> dict[str, Any]:
    """Return the channel of a figure."""
    return {"field": field, "type": "quantitative", "title": title, **rest}


def named(field: str, **rest: Any) -> dict[str, Any]:
    """Return the channel of a name."""
    return {"field": field, "type": "nominal", "title": None, **rest}


LOG = {"scale": {"type": "log"}, "axis": {"format": "~g", "tickCount": 6, "gridOpacity": 0.4}}
"""A logarithmic channel."""


def colours(palette: Mapping[str, str], used: Sequence[str]) -> dict[str, Any]:
    """Return the scale of those colours that are used."""
    return {"domain": list(used), "range": [palette[name] for name in used]}


def sides(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the scale of the runs' own colours."""
    names = [name_of(part) for part in parts]
    return {"domain": names, "range": [SIDES[_place(part) % len(SIDES)] for part in parts]}


def _place(part: Part) -> int:
    """Return 0 of A, 1 of B or B1, 2 of B2, ..."""
    return 0 if part.which == "A" else int(part.which[1:] or 1)


def mib(pages: int) -> float:
    """Return the size of pages of 4 KiB in MiB."""
    return pages * PAGE_BYTES / (1 << 20)
