"""Pictures: what the pictures of a report show, as Vega-Lite, each with the same figures as a table."""

from collections.abc import Iterator

from relocscope.report.gathered import Report
from relocscope.report.pictures import costs, memory, paces
from relocscope.report.pictures.vega import Picture

__all__ = ["Picture", "pictures"]


def pictures(report: Report) -> Iterator[Picture]:
    """Make those that the facts allow, in the order in which they are shown."""
    waterfalls = [
        costs.waterfall(found, report.parts[number + 1].which)
        for number, found in enumerate(report.comparisons)
        if found.contributions
    ]
    yield from filter(None, (costs.stacks(report), *waterfalls, costs.memory_types(report)))
    paced = [(part, part.pace) for part in report.parts if part.pace is not None]
    if paced:
        yield paces.rate(paced)
        if any(pace.load_latency for _, pace in paced):
            yield paces.latency(paced)
    for part, pace in paced:
        if any(sum(each.accesses.values()) for each in pace.bins):
            yield paces.hit_rates(part, pace)
    for part in report.parts:
        if part.memory_map.islands:
            yield memory.memory_map(part)
    for found in report.comparisons:
        if found.break_even is not None and len(found.break_even.points) > 1:
            yield costs.break_even(found.break_even)
