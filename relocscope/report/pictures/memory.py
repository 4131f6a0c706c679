"""Memory: what lies where, and where the copy was when."""

from collections.abc import Sequence
from typing import Any

from relocscope.report.gathered import Part
from relocscope.report.memory_map import Island
from relocscope.report.pictures.vega import (
    ZOOM,
    Picture,
    Row,
    chosen,
    colours,
    measured,
    mib,
    named,
    tooltip,
    vega_lite,
)

_ROLE_COLOURS = {
    "source": "#3f7fc1",
    "destination": "#d9772b",
    "table": "#8e6bbf",
    "code": "#3f9d63",
    "nomap": "#c9485b",
    "no_access": "#8c2f3f",
    "list": "#2a9d8f",
    "vectors": "#a3c24f",
    "kimage": "#5f6fc4",
    "old_kernel": "#8a929a",
    "argument": "#b98ad9",
    "zero_page": "#b09c84",
    "stack": "#dcb93a",
}

_GAP = 4.0
_LEAST_HEIGHT = 8.0
_LEAST_BAND = 0.7


class _Heights:
    """Islands above each other, as high as the square root of their size, with gaps between them."""

    def __init__(self, islands: Sequence[Island]) -> None:
        weights = [island.bytes**0.5 for island in islands]
        self.stretches: list[tuple[Island, float, float]] = []
        self.top = 0.0
        for island, weight in zip(islands, weights, strict=True):
            height = _LEAST_HEIGHT + 100 * weight / sum(weights)
            self.stretches.append((island, self.top, height))
            self.top += height + _GAP

    def of(self, pa: int) -> float | None:
        """Return the height of an address; None off all islands."""
        for island, base, height in self.stretches:
            if island.pa <= pa <= island.pa + island.bytes:
                return base + height * (pa - island.pa) / island.bytes
        return None


def memory_map(part: Part) -> Picture:
    """Draw the islands with the copy's progress on them."""
    heights = _Heights(part.memory_map.islands)
    bands = _bands(part, heights)
    used = [role for role in _ROLE_COLOURS if any(band["role"] == role for band in bands)]
    shown = ", ".join(role.replace("_", " ") for role in used)
    return Picture(
        id=f"memory-map-{part.which}",
        title=f"{part.which}: what lies where, and the copy's progress",
        caption="Physical memory upwards, gaps left out and small regions drawn larger; time to the right. "
        "Each dot is where a group of pages was read from or stored to.",
        alternative=f"A map of {len(heights.stretches)} stretches of physical memory with {shown}. "
        "The table has the addresses.",
        spec=_layers(bands, _points(part, heights), heights, _end_ms(part), used),
        columns=("role", "from", "to", "size", "ranges"),
        rows=tuple(_row(part, role) for role in used),
    )


def _end_ms(part: Part) -> float:
    last = part.pace.bins[-1] if part.pace else None
    return (last.start_seconds + last.seconds) * 1e3 if last else 1.0


def _bands(part: Part, heights: _Heights) -> list[dict[str, Any]]:
    bands = []
    for band in part.memory_map.bands:
        low, high = heights.of(band.pa), heights.of(band.pa + band.bytes)
        if low is None or high is None or band.role not in _ROLE_COLOURS:
            continue
        place = {"low": low, "high": max(high, low + _LEAST_BAND), "begin": 0, "end": _end_ms(part)}
        bands.append({"role": band.role, **place, "address": f"{band.pa:#x}", "KiB": band.used_bytes / 1024})
    return bands


def _points(part: Part, heights: _Heights) -> list[dict[str, Any]]:
    points = []
    for each in part.pace.bins if part.pace else ():
        when = {"ms": each.start_seconds * 1e3, "MiB": mib(each.first_page)}
        for role, pa in (("source", each.source_pa), ("destination", each.destination_pa)):
            if pa is not None:
                points.append({"role": role, "y": heights.of(pa), "address": f"{pa:#x}", **when})
    return points


def _layers(
    bands: list[dict[str, Any]], points: list[dict[str, Any]], heights: _Heights, end_ms: float, used: list[str]
) -> dict[str, Any]:
    y: dict[str, Any] = {"axis": None, "scale": {"domain": [0, heights.top]}}
    x = {"scale": {"nice": False, "domain": [0, end_ms]}}
    when, colour = "ms since the copy began", named("role", scale=colours(_ROLE_COLOURS, used))
    of_band = tooltip(("role", "role", ""), ("address", "from", ""), ("KiB", "KiB", ",.0f"))
    of_page = tooltip(
        ("role", "page of", ""), ("address", "address", ""), ("ms", "ms", ".4~f"), ("MiB", "MiB copied", ".2f")
    )
    dot = {"type": "point", "filled": True, "size": 20, "stroke": "var(--text)", "strokeWidth": 0.4, "clip": True}
    words = {"type": "text", "align": "left", "baseline": "bottom", "dx": 4, "dy": -1, "font": "monospace"}
    spec = vega_lite([], 300)
    spec["layer"] = [
        {
            "data": {"values": bands},
            "params": [*chosen("role"), ZOOM],
            "mark": {"type": "rect", "clip": True},
            "encoding": {
                "x": measured("begin", when, **x),
                "x2": {"field": "end"},
                "y": measured("low", **y),
                "y2": {"field": "high"},
                "color": colour,
                "opacity": {"condition": {"param": "chosen", "value": 0.3}, "value": 0.05},
                "tooltip": of_band,
            },
        },
        {
            "data": {"values": points},
            "mark": dot,
            "encoding": {
                "x": measured("ms", when, **x),
                "y": measured("y", **y),
                "color": colour,
                "tooltip": of_page,
                "opacity": {"value": 1},
            },
        },
        {
            "data": {"values": [{"text": f"{island.pa:#x}", "y": base} for island, base, _ in heights.stretches]},
            "mark": words,
            "encoding": {"x": {"value": 0}, "y": measured("y", **y), "text": {"field": "text"}},
        },
    ]
    return spec


def _row(part: Part, role: str) -> Row:
    bands = [band for band in part.memory_map.bands if band.role == role]
    return (
        role.replace("_", " "),
        f"{bands[0].pa:#x}",
        f"{max(band.pa + band.bytes for band in bands):#x}",
        f"{sum(band.used_bytes for band in bands) / 1024:,.0f} KiB",
        f"{sum(band.ranges for band in bands):,}",
    )
