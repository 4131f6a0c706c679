"""What runs cost: cycle stacks, contributions, memory types, break-even."""


from relocscope.comparison import Comparison
from relocscope.render import percent, seconds, signed
from relocscope.report.gathered import Part, Report
from relocscope.report.palette import LEAF_COLOURS
from relocscope.report.pictures.vega import FADE, SIDES, Picture, chosen, colours, name_of, tooltip, vega_lite
from traces.schema import LEAVES, MemoryType

_TYPE_COLOURS = dict(
    zip(
        (kind.label for kind in MemoryType),
        ("#c9485b", "#e0734f", "#ee9a5c", "#f2b877", "#dcb93a", "#63aedb", "#3f9d63"),
        strict=True,
    )
)


def stacks(report: Report) -> Picture:
    """Draw the cycle stacks under each other, in time or in shares."""
    used = [leaf for leaf in LEAVES if any(part.run.cycle_stack[leaf] for part in report.parts)]
    data = [
        {
            "run": name_of(part),
            "leaf": leaf,
            "at": LEAVES.index(leaf),
            "ms": part.run.seconds_of(leaf) * 1e3,
            "share": 100 * part.run.cycle_stack[leaf] / max(part.run.cycles, 1),
        }
        for part in report.parts
        for leaf in used
        if part.run.cycle_stack[leaf]
    ]
    spec = vega_lite(
        data,
        46 * len(report.parts),
        params=[
            *chosen("leaf"),
            {"name": "shares", "value": False, "bind": {"input": "checkbox", "name": "as shares "}},
        ],
        transform=[{"calculate": "shares ? datum.share : datum.ms", "as": "shown"}],
        mark={"type": "bar", "height": {"band": 0.75}},
        encoding={
            "y": {"field": "run", "type": "nominal", "title": None, "sort": [name_of(part) for part in report.parts]},
            "x": {"field": "shown", "type": "quantitative", "title": "milliseconds (or % of the run)"},
            "color": {"field": "leaf", "type": "nominal", "scale": colours(LEAF_COLOURS, used)},
            "order": {"field": "at"},
            "opacity": FADE,
            "tooltip": tooltip(("run", "run", ""), ("leaf", "cause", ""), ("ms", "ms", ".4~f"), ("share", "%", ".1f")),
        },
    )
    rows = tuple(
        (leaf, *(f"{part.run.cycle_stack[leaf]:,} ({_share(part, leaf)})" for part in report.parts)) for leaf in used
    )
    total = ("cycles", *(f"{part.run.cycles:,}" for part in report.parts))
    time = ("time", *(seconds(part.run.seconds) for part in report.parts))
    dearest = "; ".join(
        f"{part.which}: {max(part.run.cycle_stack, key=lambda leaf: part.run.cycle_stack[leaf])}"
        for part in report.parts
    )
    return Picture(
        id="stacks",
        title="Where the time goes",
        caption="Every modelled cycle has exactly one cause; the causes sum to the time of the run.",
        alternative=f"Bars of the cycle stacks. The largest cause is, {dearest}.",
        spec=spec,
        columns=("cause", *(part.which for part in report.parts)),
        rows=(*rows, total, time),
    )


def _share(part: Part, leaf: str) -> str:
    return percent(part.run.cycle_stack[leaf] / max(part.run.cycles, 1))


def waterfall(found: Comparison, which: str) -> Picture:
    """Draw the way from A's cycles to those of the other side, a mechanism a step."""
    at = found.a.cycles
    bars = [{"step": "A", "from": 0, "to": at, "cycles": at, "kind": "whole run"}]
    for one in found.contributions:
        if one.cycles:
            kind = "saves" if one.cycles > 0 else "costs"
            bars.append({"step": one.mechanism, "from": at, "to": at - one.cycles, "cycles": -one.cycles, "kind": kind})
            at -= one.cycles
    bars.append({"step": which, "from": 0, "to": at, "cycles": at, "kind": "whole run"})
    scale = {"domain": ["whole run", "saves", "costs"], "range": ["#8a929a", "#3f9d63", "#c9485b"]}
    spec = vega_lite(
        bars,
        30 * len(bars),
        mark={"type": "bar", "height": {"band": 0.7}},
        encoding={
            "y": {"field": "step", "type": "nominal", "sort": None, "title": None},
            "x": {"field": "from", "type": "quantitative", "title": "cycles", "axis": {"format": "~s", "tickCount": 6}},
            "x2": {"field": "to"},
            "color": {"field": "kind", "type": "nominal", "scale": scale},
            "tooltip": tooltip(("step", "mechanism", ""), ("cycles", "cycles", "+,")),
        },
    )
    rows = tuple(
        (one.mechanism, signed(one.cycles), "-" if one.share is None else percent(one.share))
        for one in found.contributions
    )
    largest = found.contributions[0]
    return Picture(
        id=f"waterfall-{which}",
        title=f"From A to {which}: what each mechanism has to do with the difference",
        caption="Shapley values over the mechanism groups: no order is preferred, nothing is left over. "
        "`instructions` is what differs with every mechanism free of cost: other code.",
        alternative=f"A waterfall from A's cycles to {which}'s. The largest step is {largest.mechanism}, "
        f"{signed(largest.cycles)} of {signed(found.a.cycles - found.b.cycles)} cycles.",
        spec=spec,
        columns=("mechanism", f"cycles of A - {which}", "share"),
        rows=rows,
    )


_WHAT = {"data": "loads, stores", "fetch": "fetches", "walk": "table walks"}


def memory_types(report: Report) -> Picture | None:
    """Draw the shares of memory types; None where nothing was copied."""
    data, rows = [], []
    for part in report.parts:
        for what, counts in (part.run.copy or {}).get("memory_types", {}).items():
            total = sum(counts.values())
            for kind, count in counts.items():
                share = 100 * count / total
                data.append({"row": f"{part.which} {_WHAT[what]}", "type": kind, "share": share, "count": count})
                rows.append((part.which, _WHAT[what], kind, f"{count:,}", percent(count / total)))
    if not data:
        return None
    used = [kind.label for kind in MemoryType if any(each["type"] == kind.label for each in data)]
    bars = list(dict.fromkeys(str(each["row"]) for each in data))
    spec = vega_lite(
        data,
        30 * len(bars),
        params=chosen("type"),
        mark={"type": "bar", "height": {"band": 0.75}},
        encoding={
            "y": {"field": "row", "type": "nominal", "sort": bars, "title": None},
            "x": {
                "field": "share",
                "type": "quantitative",
                "title": "% of the copy's accesses",
                "scale": {"domainMax": 100},
            },
            "color": {"field": "type", "type": "nominal", "scale": colours(_TYPE_COLOURS, used)},
            "opacity": FADE,
            "tooltip": tooltip(
                ("row", "accesses", ""), ("type", "memory type", ""), ("count", "count", ","), ("share", "%", ".2f")
            ),
        },
    )
    return Picture(
        id="memory-types",
        title="What kind of memory the copy saw",
        caption="Device and Normal-NC accesses go past the caches; only Normal-WB (and WT) can use them.",
        alternative="Bars of the memory types of the copy's accesses: "
        + "; ".join(f"{row[0]} {row[1]} {row[4]} {row[2]}" for row in rows)
        + ".",
        spec=spec,
        columns=("run", "accesses", "memory type", "count", "share"),
        rows=tuple(rows),
    )


def break_even(found: Comparison) -> Picture:
    """Draw both sides' times by size."""
    even = found.break_even
    points = even.points if even else ()
    data = [
        {"side": side, "MiB": point.bytes / (1 << 20), "ms": value * 1e3}
        for point in points
        for side, value in (("A", point.a_seconds), ("B", point.b_seconds))
    ]
    spec = vega_lite(
        data,
        220,
        mark={"type": "line", "point": True, "strokeWidth": 2},
        encoding={
            "x": {
                "field": "MiB",
                "type": "quantitative",
                "title": "MiB copied",
                "scale": {"type": "log"},
                "axis": {"format": "~g", "tickCount": 6},
            },
            "y": {
                "field": "ms",
                "type": "quantitative",
                "title": "ms",
                "scale": {"type": "log"},
                "axis": {"format": "~g", "tickCount": 5},
            },
            "color": {"field": "side", "type": "nominal", "scale": {"domain": ["A", "B"], "range": list(SIDES[:2])}},
            "tooltip": tooltip(("side", "run", ""), ("MiB", "MiB", ".4~f"), ("ms", "ms", ".4~f")),
        },
    )
    sentence = even.sentence if even else ""
    return Picture(
        id="break-even",
        title="From which size on the set-up pays",
        caption=f"Both sides run at {len(points)} sizes, set-up included.",
        alternative=f"{sentence}.",
        spec=spec,
        columns=("size", "A", "B"),
        rows=tuple(
            (f"{point.bytes / (1 << 20):.4g} MiB", seconds(point.a_seconds), seconds(point.b_seconds))
            for point in points
        ),
    )
