"""Hazards: what would go wrong on hardware, found from page tables, memory map, segments, list and the run itself.

Every rule looks at a Trace and at nothing else, so a hazard needs no modelled time, and no name plays a part: a case, a
person's own machine, a RAM dump and a trace file are judged alike. What a model adds (how many lines were dirty) is
evidence, never a reason.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from relocscope.hazards import device, levels, maintenance, memory, overwriting, translation
from relocscope.hazards.registry import REGISTRY, SEVERITIES, Finding, Hazard
from relocscope.hazards.subject import Subject
from traces.fold import CopySite, copy_site
from traces.trace import Trace

if TYPE_CHECKING:
    from traces.outcome import Outcome

__all__ = ["REGISTRY", "Finding", "Hazard", "hazards"]

_RULES: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    translation.findings,
    overwriting.findings,
    maintenance.findings,
    memory.findings,
    levels.findings,
    device.findings,
)


def hazards(
    trace: Trace, site: CopySite | None = None, costs: "Outcome | None" = None, *, static: bool = False
) -> list[dict[str, Any]]:
    """List each hazard that this run raises, once: {id, severity, title, where, evidence}, worst first.

    `site`: where it copied, found here if not given. `costs`: what the timing model made of it, for evidence. `static`:
    nothing was run, so what only a run can show is not looked for.
    """
    subject = Subject(trace=trace, site=site or (None if static else copy_site(trace)), costs=costs)
    found = [finding for rule in _RULES for finding in rule(subject)]
    order = list(REGISTRY)
    found.sort(key=lambda each: (SEVERITIES.index(REGISTRY[each.id].severity), order.index(each.id)))
    return [each.to_json() for each in found]
