"""One capture, one replay: what any process does of a sweep, and all that it says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relocscope.runs import cost_of, functional_run, visibility
from traces.digest import digest
from traces.errors import InputError
from traces.fold import CopySite, copy_site, instruction_count
from traces.lines import LINE_BYTES

if TYPE_CHECKING:
    from relocscope.operand import Operand
    from relocscope.sweeping.points import Replayed
    from traces.trace import Trace

Result = dict[str, Any]
"""Columns of one replay: numbers, truth and text only, the same wherever it was computed."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A trace, its name, and what is the same in every replay of it."""

    trace: "Trace"
    hash: str
    site: CopySite | None
    instructions: int

    @classmethod
    def of(cls, trace: "Trace") -> "Subject":
        """Look at a trace once for all its replays."""
        return cls(trace, digest(trace), copy_site(trace), instruction_count(trace))


def captured(subject: "Operand") -> "Trace":
    """Run the case or the dump, or read the file; InputError where the guest depends on time: one trace is not all."""
    trace = functional_run(subject)
    if trace.meta.get("timing_dependent"):
        raise InputError("its guest reads a counter: what it does depends on time, and no one trace stands for it")
    return trace


def check_captured(subject: "Operand") -> None:
    """Raise the InputError that capturing would raise for what cannot be; nothing runs."""
    if subject.case is not None:
        from emu.scenario import prepare
        from relocscope.emulate import scenario

        prepare(scenario(subject.case))


def measured(subject: Subject, how: "Replayed") -> Result:
    """Replay the trace on the core and state what it cost."""
    site = subject.site
    asked = np.array([] if site is None else [site.first, site.last + 1], np.uint64)
    costs = cost_of(subject.trace, how.config, site, asked, initial=how.initial, seed=how.seed, sample=how.sample)
    meta = subject.trace.meta
    visible, dirty = visibility(subject.trace, costs)
    stack = {f"stack.{leaf}": cycles for leaf, cycles in costs.cycle_stack.items()}
    counters = {
        f"count.{part}.{name}": value for part, named in costs.counters.items() for name, value in named.items()
    }
    return {
        "outcome": str(meta.get("outcome", "completed")),
        "cycles": costs.cycles,
        "seconds": costs.seconds,
        "ns_per_line": None if site is None else _ns_per_line(site, costs.checkpoint_cycles, costs.frequency_hz),
        "instructions": subject.instructions,
        "image_bytes": int(meta.get("image_bytes", 0)),
        "image_ok": bool(meta.get("image_ok", False)),
        "image_visible": bool(meta.get("image_ok", False)) and visible,
        "stale_reads": len(costs.stale_lines),
        "lost_lines": len(costs.lost_lines),
        "dirty_at_entry": dirty if meta.get("entry") else 0,
        **stack,
        **counters,
    }


def _ns_per_line(site: CopySite, at: Any, frequency_hz: int) -> float:
    seconds = int(at[1] - at[0]) / frequency_hz
    return float(seconds * 1e9 / max(site.stored_bytes / LINE_BYTES, 1))


def columns() -> Mapping[str, tuple[type, str]]:
    """Return the columns of a Result, in their order in tables: kind and unit of each."""
    from caches.state import COUNTER_COLUMNS, COUNTER_ROWS
    from traces.schema import LEAVES

    found: dict[str, tuple[type, str]] = {
        "outcome": (str, "completed, hang, fault or budget"),
        "cycles": (int, "cycles of the core"),
        "seconds": (float, "s, modelled"),
        "ns_per_line": (float, "ns per 64 bytes copied"),
        "instructions": (int, "instructions executed"),
        "image_bytes": (int, "bytes"),
        "image_ok": (bool, ""),
        "image_visible": (bool, ""),
        "stale_reads": (int, "lines"),
        "lost_lines": (int, "lines"),
        "dirty_at_entry": (int, "lines"),
    }
    found |= {f"stack.{leaf}": (int, "cycles") for leaf in LEAVES}
    for part in COUNTER_ROWS:
        found |= {f"count.{part}.{name}": (int, "events") for name in COUNTER_COLUMNS[part] if name}
    return found
