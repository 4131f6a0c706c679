"""How copies went on: rate, load latency, and what caches and TLBs served."""

from collections.abc import Iterator, Sequence
from typing import Any

from relocscope.render import percent, seconds
from relocscope.report.gathered import Part
from relocscope.report.pace import PARTS, Pace
from relocscope.report.pictures.vega import (
    FADE,
    ZOOM,
    Picture,
    chosen,
    colours,
    mib,
    name_of,
    sides,
    tooltip,
    vega_lite,
)


def rate(paced: Sequence[tuple[Part, Pace]]) -> Picture:
    """Draw the copying rate; on a logarithmic axis where one run is more than ten times as fast as another."""
    data = [
        {
            "run": name_of(part),
            "MiB": mib(each.first_page),
            "until": mib(each.first_page + each.pages),
            "GBps": each.bytes_per_second / 1e9,
            "ms": each.start_seconds * 1e3,
        }
        for part, pace in paced
        for each in pace.bins
        if each.seconds
    ]
    rates = [each.bytes_per_second for _, pace in paced for each in pace.bins if each.seconds]
    uneven = max(rates, default=1.0) > 10 * min(rates, default=1.0)
    spec = vega_lite(
        data,
        220,
        params=[ZOOM],
        mark={"type": "line", "interpolate": "step-after", "strokeWidth": 2, "clip": True},
        encoding={
            "x": {"field": "MiB", "type": "quantitative", "title": "MiB copied", "scale": {"nice": False}},
            "y": {
                "field": "GBps",
                "type": "quantitative",
                "title": "GB/s",
                "scale": {"type": "log"} if uneven else {"zero": True},
                "axis": {"format": "~g", "tickCount": 5},
            },
            "color": {"field": "run", "type": "nominal", "scale": sides([part for part, _ in paced])},
            "tooltip": tooltip(
                ("run", "run", ""),
                ("MiB", "MiB copied", ".2f"),
                ("ms", "ms since the copy began", ".4~f"),
                ("GBps", "GB/s", ".4~f"),
            ),
        },
    )
    return Picture(
        id="rate",
        title="Bandwidth as the copy goes on",
        caption="Bytes stored in each group of pages over the time that it took. Shift+wheel zooms, dragging moves, a "
        "double click goes back.",
        alternative="Lines of the copying rate: "
        + "; ".join(f"{part.which} between {low:.4g} and {high:.4g} GB/s" for part, low, high in _extremes(paced))
        + ".",
        spec=spec,
        columns=("run", "MiB copied", "since the copy began", "GB/s"),
        rows=tuple(
            (
                part.which,
                f"{mib(each.first_page):.2f}",
                seconds(each.start_seconds),
                f"{each.bytes_per_second / 1e9:.4g}",
            )
            for part, pace in paced
            for each in thinned(pace.bins)
        ),
    )


def _extremes(paced: Sequence[tuple[Part, Pace]]) -> Iterator[tuple[Part, float, float]]:
    for part, pace in paced:
        rates = [each.bytes_per_second / 1e9 for each in pace.bins]
        yield part, min(rates), max(rates)


def thinned(rows: Sequence[Any], most: int = 24) -> list[Any]:
    """Return some of the rows, evenly: a table that a person can read."""
    step = max(1, -(-len(rows) // most))
    return list(rows[::step])


def latency(paced: Sequence[tuple[Part, Pace]]) -> Picture:
    """Draw how many of the stepped loads waited how long, by powers of two."""
    counted: dict[tuple[str, int], int] = {}
    for part, pace in paced:
        for cycles, loads in pace.load_latency.items():
            nanoseconds = max(1, round(cycles * 1e9 / pace.frequency_hz))
            key = (name_of(part), nanoseconds.bit_length() - 1)
            counted[key] = counted.get(key, 0) + loads
    totals = {name_of(part): sum(pace.load_latency.values()) or 1 for part, pace in paced}
    powers = range(min(power for _, power in counted), max(power for _, power in counted) + 1)
    words = {power: f"{1 << power}-{(2 << power) - 1}" if power else "0-1" for power in powers}
    data = [
        {"run": run, "ns": words[power], "loads": loads, "share": 100 * loads / totals[run]}
        for (run, power), loads in sorted(counted.items(), key=lambda item: (item[0][0], item[0][1]))
    ]
    spec = vega_lite(
        data,
        200,
        mark={"type": "bar"},
        encoding={
            "x": {
                "field": "ns",
                "type": "nominal",
                "sort": list(words.values()),
                "title": "ns from issue to data",
                "axis": {"labelAngle": -45},
            },
            "xOffset": {"field": "run", "sort": list(totals)},
            "y": {"field": "share", "type": "quantitative", "title": "% of the loads"},
            "color": {"field": "run", "type": "nominal", "scale": sides([part for part, _ in paced])},
            "tooltip": tooltip(("run", "run", ""), ("ns", "ns", ""), ("loads", "loads", ","), ("share", "%", ".1f")),
        },
    )
    stepped = " and ".join(str(count) for count in dict.fromkeys(pace.stepped_pages for _, pace in paced))
    return Picture(
        id="latency",
        title="How long loads waited for their data",
        caption=f"Every load of {stepped} pages spread over the copy, from its issue to its data, queueing included.",
        alternative="A histogram of load latencies in nanoseconds; the table has its figures.",
        spec=spec,
        columns=("run", "ns", "loads", "share"),
        rows=tuple((str(each["run"]), str(each["ns"]), f"{each['loads']:,}", f"{each['share']:.1f}%") for each in data),
    )


_PART_COLOURS = {"l1d": "#63aedb", "l2": "#3f7fc1", "l3": "#5f6fc4", "dtlb": "#dcb93a", "l2tlb": "#c2801e"}


def hit_rates(part: Part, pace: Pace) -> Picture:
    """Draw the hit rates of each cache and TLB over the copy."""
    data = [
        {
            "MiB": mib(each.first_page),
            "part": name,
            "hits": 100 * (1 - each.misses[name] / each.accesses[name]),
            "accesses": each.accesses[name],
            "misses": each.misses[name],
        }
        for each in pace.bins
        for name in each.accesses
        if each.accesses[name]
    ]
    used = [name for name in PARTS if any(each["part"] == name for each in data)]
    spec = vega_lite(
        data,
        200,
        params=[*chosen("part"), ZOOM],
        mark={"type": "line", "strokeWidth": 1.5, "clip": True},
        encoding={
            "x": {"field": "MiB", "type": "quantitative", "title": "MiB copied", "scale": {"nice": False}},
            "y": {
                "field": "hits",
                "type": "quantitative",
                "title": "% of look-ups that hit",
                "scale": {"domain": [0, 100]},
            },
            "color": {"field": "part", "type": "nominal", "scale": colours(_PART_COLOURS, used)},
            "opacity": FADE,
            "tooltip": tooltip(
                ("part", "part", ""),
                ("MiB", "MiB copied", ".2f"),
                ("hits", "% hits", ".2f"),
                ("accesses", "look-ups", ","),
                ("misses", "misses", ","),
            ),
        },
    )
    sums = {
        name: (
            sum(each.accesses.get(name, 0) for each in pace.bins),
            sum(each.misses.get(name, 0) for each in pace.bins),
        )
        for name in used
    }
    rates = {name: percent(1 - missed / looked) for name, (looked, missed) in sums.items()}
    return Picture(
        id=f"hit-rates-{part.which}",
        title=f"{part.which}: what caches and TLBs served, by page",
        caption="Hits of each cache and TLB while the copy went on. The line of a part that is asked seldom jumps.",
        alternative="Lines of hit rates over the copy; over all of it, "
        + ", ".join(f"{name} {rate}" for name, rate in rates.items())
        + ".",
        spec=spec,
        columns=("part", "look-ups", "misses", "hits"),
        rows=tuple((name, f"{sums[name][0]:,}", f"{sums[name][1]:,}", rates[name]) for name in used),
    )
