"""What runs cost: cycle stacks, contributions, memory types, break-even."""

from relocscope.break_even import BreakEven
from relocscope.comparison import Comparison
from relocscope.quantities import percent, seconds, signed
from relocscope.report.gathered import Part, Report
from relocscope.report.palette import LEAF_COLOURS
from relocscope.report.pictures.vega import (
    FADE,
    LOG,
    SIDES,
    Picture,
    chosen,
    colours,
    measured,
    name_of,
    named,
    tooltip,
    vega_lite,
)
from traces.schema import LEAVES, MemoryType

_TYPE_COLOURS = dict(
    zip(
        (kind.label for kind in MemoryType),
        ("#c9485b", "#e0734f", "#ee9a5c", "#f2b877", "#dcb93a", "#63aedb", "#3f9d63"),
        strict=True,
    )
)


def stacks(report: Report) -> Picture | None:
    """Draw the cycle stacks under each other, in time or in shares; None where nothing ran for a single cycle."""
    parts = report.parts
    used = [leaf for leaf in LEAVES if any(part.run.cycle_stack[leaf] for part in parts)]
    if not used:
        return None
    data = [
        {"run": name_of(part), "leaf": leaf, "at": LEAVES.index(leaf), "ms": ms, "share": 100 * _share(part, leaf)}
        for part in parts
        for leaf in used
        if (ms := part.run.seconds_of(leaf) * 1e3)
    ]
    toggle = {"name": "shares", "value": False, "bind": {"input": "checkbox", "name": "as shares "}}
    encoding = {
        "y": named("run", sort=[name_of(part) for part in parts]),
        "x": measured("shown", "milliseconds (or % of the run)"),
        "color": named("leaf", scale=colours(LEAF_COLOURS, used)),
        "order": {"field": "at"},
        "opacity": FADE,
        "tooltip": tooltip(("run", "run", ""), ("leaf", "cause", ""), ("ms", "ms", ".4~f"), ("share", "%", ".1f")),
    }
    spec = vega_lite(
        data,
        46 * len(parts),
        params=[*chosen("leaf"), toggle],
        transform=[{"calculate": "shares ? datum.share : datum.ms", "as": "shown"}],
        mark={"type": "bar", "height": {"band": 0.75}},
        encoding=encoding,
    )
    dearest = "; ".join(f"{part.which}: {max(used, key=lambda leaf: _share(part, leaf))}" for part in parts)
    return Picture(
        id="stacks",
        title="Where the time goes",
        caption="Every modelled cycle has exactly one cause; the causes sum to the time of the run.",
        alternative=f"Bars of the cycle stacks. The largest cause is, {dearest}.",
        spec=spec,
        columns=("cause", *(part.which for part in parts)),
        rows=(
            *(
                (leaf, *(f"{part.run.cycle_stack[leaf]:,} ({percent(_share(part, leaf))})" for part in parts))
                for leaf in used
            ),
            ("cycles", *(f"{part.run.cycles:,}" for part in parts)),
            ("time", *(seconds(part.run.seconds) for part in parts)),
        ),
    )


def _share(part: Part, leaf: str) -> float:
    return part.run.cycle_stack[leaf] / max(part.run.cycles, 1)


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
    encoding = {
        "y": named("step", sort=None),
        "x": measured("from", "cycles", axis={"format": "~s", "tickCount": 6}),
        "x2": {"field": "to"},
        "color": named("kind", scale=scale),
        "tooltip": tooltip(("step", "mechanism", ""), ("cycles", "cycles", "+,")),
    }
    largest = found.contributions[0]
    return Picture(
        id=f"waterfall-{which}",
        title=f"From A to {which}: what each mechanism has to do with the difference",
        caption="Shapley values over the mechanism groups: no order is preferred, nothing is left over. "
        "Instructions are what differs with every mechanism free of cost: other code.",
        alternative=f"A waterfall from A's cycles to {which}'s. The largest step is {largest.mechanism}, "
        f"{signed(largest.cycles)} of {signed(found.a.cycles - found.b.cycles)} cycles.",
        spec=vega_lite(bars, 30 * len(bars), mark={"type": "bar", "height": {"band": 0.7}}, encoding=encoding),
        columns=("mechanism", f"cycles of A - {which}", "share"),
        rows=tuple(
            (one.mechanism, signed(one.cycles), "-" if one.share is None else percent(one.share))
            for one in found.contributions
        ),
    )


_WHAT = {"data": "loads, stores", "fetch": "fetches", "walk": "table walks"}


def memory_types(report: Report) -> Picture | None:
    """Draw the shares of memory types; None where nothing was copied."""
    counted = [
        (part.which, _WHAT[what], kind, count, count / sum(counts.values()))
        for part in report.parts
        for what, counts in (part.run.copy or {}).get("memory_types", {}).items()
        for kind, count in counts.items()
    ]
    if not counted:
        return None
    data = [
        {"row": f"{which} {what}", "type": kind, "share": 100 * share, "count": count}
        for which, what, kind, count, share in counted
    ]
    used = [kind.label for kind in MemoryType if any(each["type"] == kind.label for each in data)]
    bars = list(dict.fromkeys(str(each["row"]) for each in data))
    of_bar = (("type", "memory type", ""), ("count", "count", ","), ("share", "%", ".2f"))
    encoding = {
        "y": named("row", sort=bars),
        "x": measured("share", "% of the copy's accesses", scale={"domainMax": 100}),
        "color": named("type", scale=colours(_TYPE_COLOURS, used)),
        "opacity": FADE,
        "tooltip": tooltip(("row", "accesses", ""), *of_bar),
    }
    mark = {"type": "bar", "height": {"band": 0.75}}
    rows = [(which, what, kind, f"{count:,}", percent(share)) for which, what, kind, count, share in counted]
    said = "; ".join(f"{which} {what} {share} {kind}" for which, what, kind, _, share in rows)
    return Picture(
        id="memory-types",
        title="What kind of memory the copy saw",
        caption="Device and Normal-NC accesses go past the caches; only Normal-WB (and WT) can use them.",
        alternative=f"Bars of the memory types of the copy's accesses: {said}.",
        spec=vega_lite(data, 30 * len(bars), params=chosen("type"), mark=mark, encoding=encoding),
        columns=("run", "accesses", "memory type", "count", "share"),
        rows=tuple(rows),
    )


def break_even(even: BreakEven) -> Picture:
    """Draw both sides' times by size."""
    data = [
        {"side": side, "MiB": point.bytes / (1 << 20), "ms": value * 1e3}
        for point in even.points
        for side, value in (("A", point.a_seconds), ("B", point.b_seconds))
    ]
    encoding = {
        "x": measured("MiB", "MiB copied", **LOG),
        "y": measured("ms", "ms", **LOG),
        "color": named("side", scale={"domain": ["A", "B"], "range": list(SIDES[:2])}),
        "tooltip": tooltip(("side", "run", ""), ("MiB", "MiB", ".4~f"), ("ms", "ms", ".4~f")),
    }
    return Picture(
        id="break-even",
        title="From which size on the set-up pays",
        caption=f"Both sides run at {len(even.points)} sizes, set-up included.",
        alternative=f"{even.sentence}.",
        spec=vega_lite(data, 220, mark={"type": "line", "point": True, "strokeWidth": 2}, encoding=encoding),
        columns=("size", "A", "B"),
        rows=tuple((_mib_text(each.bytes), seconds(each.a_seconds), seconds(each.b_seconds)) for each in even.points),
    )


def _mib_text(size: int) -> str:
    return f"{size / (1 << 20):.4g} MiB"
