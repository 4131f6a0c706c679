"""How copies went on: rate, load latency, and what caches and TLBs served."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from relocscope.quantities import percent, seconds
from relocscope.report.gathered import Part
from relocscope.report.pace import PARTS, Pace
from relocscope.report.pictures.vega import (
    FADE,
    LOG,
    ZOOM,
    Picture,
    chosen,
    colours,
    measured,
    mib,
    name_of,
    named,
    sides,
    tooltip,
    vega_lite,
)

Paced = Sequence[tuple[Part, Pace]]
"""Runs and how their copies went on."""

_COPIED = measured("MiB", "MiB copied", scale={"nice": False})

_PART_COLOURS = {"l1d": "#63aedb", "l2": "#3f7fc1", "l3": "#5f6fc4", "dtlb": "#dcb93a", "l2tlb": "#c2801e"}


def rate(paced: Paced) -> Picture:
    """Draw the copying rate; on a logarithmic axis where one run is more than ten times as fast as another."""
    data = [
        {
            "run": name_of(part),
            "MiB": mib(each.first_page),
            "GBps": each.bytes_per_second / 1e9,
            "ms": each.start_seconds * 1e3,
        }
        for part, pace in paced
        for each in pace.bins
    ]
    extremes = [(part.which, *_extremes(pace)) for part, pace in paced]
    uneven = max(high for _, _, high in extremes) > 10 * min(low for _, low, _ in extremes) > 0
    since = ("ms", "ms since the copy began", ".4~f")
    encoding = {
        "x": _COPIED,
        "y": measured("GBps", "GB/s", **(LOG if uneven else {})),
        "color": named("run", scale=sides([part for part, _ in paced])),
        "tooltip": tooltip(("run", "run", ""), ("MiB", "MiB copied", ".2f"), since, ("GBps", "GB/s", ".4~f")),
    }
    mark = {"type": "line", "interpolate": "step-after", "strokeWidth": 2, "clip": True}
    spans = "; ".join(f"{which} between {low:.4g} and {high:.4g} GB/s" for which, low, high in extremes)
    return Picture(
        id="rate",
        title="Bandwidth as the copy goes on",
        caption="Bytes stored in each group of pages over the time that it took. Shift+wheel zooms, dragging moves, a "
        "double click goes back.",
        alternative=f"Lines of the copying rate: {spans}.",
        spec=vega_lite(data, 220, params=[ZOOM], mark=mark, encoding=encoding),
        columns=("run", "MiB copied", "since the copy began", "GB/s"),
        rows=tuple(
            (
                part.which,
                f"{mib(each.first_page):.2f}",
                seconds(each.start_seconds),
                f"{each.bytes_per_second / 1e9:.4g}",
            )
            for part, pace in paced
            for each in _thinned(pace.bins)
        ),
    )


def _extremes(pace: Pace) -> tuple[float, float]:
    rates = [each.bytes_per_second / 1e9 for each in pace.bins]
    return min(rates), max(rates)


def _thinned(rows: Sequence[Any], most: int = 24) -> Sequence[Any]:
    """Return some of the rows, evenly: a table that a person can read."""
    return rows[:: max(1, -(-len(rows) // most))]


def latency(paced: Paced) -> Picture:
    """Draw how many of the stepped loads waited how long, by powers of two."""
    counted = {name_of(part): _by_power(pace) for part, pace in paced}
    powers = sorted({power for loads in counted.values() for power in loads})
    words = {
        power: f"{1 << power}-{(2 << power) - 1}" if power else "0-1" for power in range(powers[0], powers[-1] + 1)
    }
    data = [
        {"run": run, "ns": words[power], "loads": loads, "share": 100 * loads / sum(of_run.values())}
        for run, of_run in counted.items()
        for power, loads in sorted(of_run.items())
    ]
    encoding = {
        "x": named("ns", sort=list(words.values()), axis={"labelAngle": -45}) | {"title": "ns from issue to data"},
        "xOffset": {"field": "run", "sort": list(counted)},
        "y": measured("share", "% of the loads"),
        "color": named("run", scale=sides([part for part, _ in paced])),
        "tooltip": tooltip(("run", "run", ""), ("ns", "ns", ""), ("loads", "loads", ","), ("share", "%", ".1f")),
    }
    most = "; ".join(f"{run} {words[max(loads, key=lambda p: loads[p])]} ns" for run, loads in counted.items())
    stepped = " and ".join(str(count) for count in dict.fromkeys(pace.stepped_pages for _, pace in paced))
    return Picture(
        id="latency",
        title="How long loads waited for their data",
        caption=f"Every load of {stepped} pages spread over the copy, from its issue to its data, queueing included.",
        alternative=f"A histogram of load latencies; most loads took, {most}.",
        spec=vega_lite(data, 200, mark={"type": "bar"}, encoding=encoding),
        columns=("run", "ns", "loads", "share"),
        rows=tuple((str(each["run"]), str(each["ns"]), f"{each['loads']:,}", f"{each['share']:.1f}%") for each in data),
    )


def _by_power(pace: Pace) -> dict[int, int]:
    """Return how many loads took 2**n nanoseconds or more, and less than twice that, by n."""
    counted: Counter[int] = Counter()
    for cycles, loads in pace.load_latency.items():
        counted[max(1, round(cycles * 1e9 / pace.frequency_hz)).bit_length() - 1] += loads
    return counted


def hit_rates(part: Part, pace: Pace) -> Picture:
    """Draw the hit rates of each cache and TLB over the copy."""
    data = [
        {
            "MiB": mib(each.first_page),
            "part": name,
            "hits": 100 * (1 - each.misses[name] / looked),
            "accesses": looked,
            "misses": each.misses[name],
        }
        for each in pace.bins
        for name, looked in each.accesses.items()
        if looked
    ]
    used = [name for name in PARTS if any(each["part"] == name for each in data)]
    of_bin = (("hits", "% hits", ".2f"), ("accesses", "look-ups", ","), ("misses", "misses", ","))
    encoding = {
        "x": _COPIED,
        "y": measured("hits", "% of look-ups that hit", scale={"domain": [0, 100]}),
        "color": named("part", scale=colours(_PART_COLOURS, used)),
        "opacity": FADE,
        "tooltip": tooltip(("part", "part", ""), ("MiB", "MiB copied", ".2f"), *of_bin),
    }
    mark = {"type": "line", "strokeWidth": 1.5, "clip": True}
    rows = [(name, *_served(pace, name)) for name in used]
    return Picture(
        id=f"hit-rates-{part.which}",
        title=f"{part.which}: what caches and TLBs served, by page",
        caption="Hits of each cache and TLB while the copy went on. The line of a part that is asked seldom jumps.",
        alternative=f"Lines of hit rates over the copy; over all of it, {', '.join(f'{r[0]} {r[3]}' for r in rows)}.",
        spec=vega_lite(data, 200, params=[*chosen("part"), ZOOM], mark=mark, encoding=encoding),
        columns=("part", "look-ups", "misses", "hits"),
        rows=tuple(rows),
    )


def _served(pace: Pace, name: str) -> tuple[str, str, str]:
    looked = sum(each.accesses.get(name, 0) for each in pace.bins)
    missed = sum(each.misses.get(name, 0) for each in pace.bins)
    return f"{looked:,}", f"{missed:,}", percent(1 - missed / looked)
