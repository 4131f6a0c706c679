"""Memory: what lies where, and where the copy was when."""

from relocscope.report.gathered import Part
from relocscope.report.pictures.vega import ZOOM, Picture, chosen, colours, mib, tooltip, vega_lite

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


def memory_map(part: Part) -> Picture:
    """Draw the islands above each other, as high as the square root of their size, with the copy's progress on them."""
    islands = part.memory_map.islands
    weights = [island.bytes**0.5 for island in islands]
    heights = [_LEAST_HEIGHT + 100 * weight / sum(weights) for weight in weights]
    bases, top = [], 0.0
    for height in heights:
        bases.append(top)
        top += height + _GAP

    def place(pa: int) -> float | None:
        for island, base, height in zip(islands, bases, heights, strict=True):
            if island.pa <= pa <= island.pa + island.bytes:
                return float(base + height * (pa - island.pa) / island.bytes)
        return None

    pace = part.pace
    end = (pace.bins[-1].start_seconds + pace.bins[-1].seconds) * 1e3 if pace else 1.0
    bands = [
        {
            "role": band.role,
            "low": place(band.pa),
            "high": max(place(band.pa + band.bytes) or 0.0, (place(band.pa) or 0.0) + 0.7),
            "begin": 0,
            "end": end,
            "address": f"{band.pa:#x}",
            "KiB": band.used_bytes / 1024,
        }
        for band in part.memory_map.bands
        if place(band.pa) is not None and band.role in _ROLE_COLOURS
    ]
    points = [
        {
            "role": role,
            "y": place(pa),
            "ms": each.start_seconds * 1e3,
            "address": f"{pa:#x}",
            "MiB": mib(each.first_page),
        }
        for each in (pace.bins if pace else ())
        for role, pa in (("source", each.source_pa), ("destination", each.destination_pa))
        if pa is not None and place(pa) is not None
    ]
    labels = [{"text": f"{island.pa:#x}", "y": base} for island, base in zip(islands, bases, strict=True)]
    used = [role for role in _ROLE_COLOURS if any(band["role"] == role for band in bands)]
    y = {"type": "quantitative", "axis": None, "scale": {"domain": [0, top]}}
    x = {"type": "quantitative", "title": "ms since the copy began", "scale": {"nice": False, "domain": [0, end]}}
    colour = {"field": "role", "type": "nominal", "scale": colours(_ROLE_COLOURS, used)}
    spec = vega_lite([], 300)
    del spec["data"]
    spec["layer"] = [
        {
            "data": {"values": bands},
            "params": [*chosen("role"), ZOOM],
            "mark": {"type": "rect", "clip": True},
            "encoding": {
                "x": {"field": "begin", **x},
                "x2": {"field": "end"},
                "y": {"field": "low", **y},
                "y2": {"field": "high"},
                "color": colour,
                "opacity": {"condition": {"param": "chosen", "value": 0.3}, "value": 0.05},
                "tooltip": tooltip(("role", "role", ""), ("address", "from", ""), ("KiB", "KiB", ",.0f")),
            },
        },
        {
            "data": {"values": points},
            "mark": {"type": "point", "filled": True, "size": 14, "clip": True},
            "encoding": {
                "x": {"field": "ms", **x},
                "y": {"field": "y", **y},
                "color": colour,
                "opacity": {"value": 1},
                "tooltip": tooltip(
                    ("role", "page of", ""),
                    ("address", "address", ""),
                    ("ms", "ms", ".4~f"),
                    ("MiB", "MiB copied", ".2f"),
                ),
            },
        },
        {
            "data": {"values": labels},
            "mark": {
                "type": "text",
                "align": "left",
                "baseline": "bottom",
                "dx": 4,
                "dy": -1,
                "font": "monospace",
                "fontSize": 11,
            },
            "encoding": {"x": {"value": 0}, "y": {"field": "y", **y}, "text": {"field": "text"}},
        },
    ]
    roles = {role: [band for band in part.memory_map.bands if band.role == role] for role in used}
    return Picture(
        id=f"memory-map-{part.which}",
        title=f"{part.which}: what lies where, and the copy's progress",
        caption="Physical memory upwards, gaps left out and small regions drawn larger; time to the right. "
        "Each dot is where a group of pages was read from or stored to.",
        alternative=f"A map of {len(islands)} stretches of physical memory with "
        + ", ".join(role.replace("_", " ") for role in used)
        + ". The table has the addresses.",
        spec=spec,
        columns=("role", "from", "to", "size", "ranges"),
        rows=tuple(
            (
                role.replace("_", " "),
                f"{bands_of[0].pa:#x}",
                f"{max(band.pa + band.bytes for band in bands_of):#x}",
                f"{sum(band.used_bytes for band in bands_of) / 1024:,.0f} KiB",
                f"{sum(band.ranges for band in bands_of):,}",
            )
            for role, bands_of in roles.items()
        ),
    )
