"""Check: what would go wrong in a case, a recorded trace, or the kexec of a person's own machine; nothing is timed."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relocscope.hazards import hazards
from relocscope.operand import Operand
from relocscope.own_machine import Plan
from relocscope.runs import copy_regime, plain, read_trace, recorded_facts
from traces.errors import named_input
from traces.fold import copy_site

if TYPE_CHECKING:
    from traces.trace import Trace

SCHEMA = "relocscope/check/1"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Check:
    """What one functional run shows. Fields up to `hazards` are those of `check --json`, named as in `run --json`."""

    case: str
    boot: str
    routine: Mapping[str, str]
    image_bytes: int
    pages: int
    host: Mapping[str, Any]
    outcome: str
    fault: Mapping[str, Any] | None
    copy: Mapping[str, Any] | None
    entry: Mapping[str, Any] | None
    image_ok: bool
    plan: Mapping[str, Any] | None
    """What a person's own machine is about to do; None of a case."""
    hazards: tuple[Mapping[str, Any], ...]
    trace: "Trace" = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether no hazard is an error."""
        return not any(hazard["severity"] == "error" for hazard in self.hazards)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `check --json`."""
        keys = [f.name for f in dataclasses.fields(self)]
        return {"schema": SCHEMA, **{key: plain(getattr(self, key)) for key in keys[: keys.index("trace")]}}


def check_operand(subject: Operand) -> Check:
    """Check a case or a memory dump by running it, or a recorded trace as it is."""
    started = time.perf_counter()
    if subject.ram is not None:
        from relocscope.emulate import ram_guest

        trace = ram_guest(subject.ram).run().trace
    elif subject.case is None:
        trace = read_trace(subject.trace_path or Path())
    else:
        from relocscope.emulate import emulate_untimed

        trace = emulate_untimed(subject.case)
    return _checked(subject.name, trace, None, started)


def check_machine(found: Plan) -> Check:
    """Check what a person's own machine is about to do, by doing it."""
    from relocscope.emulate import emulate_untimed

    started = time.perf_counter()
    with named_input(f"{found.files.iomem} with {found.files.kexec_debug}"):
        trace = emulate_untimed(found.case, memory_map=found.memory_map, load=found.load)
    return _checked(found.case.name, trace, found, started)


def _checked(name: str, trace: "Trace", found: Plan | None, started: float) -> Check:
    site = copy_site(trace)
    return Check(
        case=name,
        **recorded_facts(trace),
        host={"seconds": round(time.perf_counter() - started, 6)},
        copy=None if site is None else copy_regime(trace, site),
        plan=None if found is None else found.to_json(),
        hazards=tuple(hazards(trace, site)),
        trace=trace,
    )
