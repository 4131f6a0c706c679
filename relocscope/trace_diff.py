"""The difference of two runs, as `trace diff` tells it: where they part, and what they count and cost."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from relocscope.listing import texts
from relocscope.operand import Operand
from relocscope.regimes import regime_switches
from relocscope.runs import Recorded, recorded
from traces.expand import NO_PA, NO_TYPE
from traces.names import Names, insn_places
from traces.outcome import Outcome
from traces.parting import Parting, partings
from traces.schema import LEAVES, Access, MemoryType
from traces.trace import Records, Trace

SCHEMA = "relocscope/trace-diff/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What `trace diff --json` carries. Every `delta` is b - a."""

    a: Mapping[str, Any]
    b: Mapping[str, Any]
    identical: bool
    """They did the same, instruction by instruction; what it cost may differ, on two cores."""
    divergences: tuple[Mapping[str, Any], ...]
    """The first of each kind, in the order in which they happen."""
    cycle_stack: Mapping[str, Mapping[str, int]]
    counters: Mapping[str, Mapping[str, Mapping[str, int]]]
    costs: tuple[Mapping[str, Any], ...]
    """By instruction, largest difference first; only those whose cycles or counts differ."""

    def to_json(self) -> dict[str, Any]:
        """Return the object of `trace diff --json`."""
        return {
            "schema": SCHEMA,
            "a": dict(self.a),
            "b": dict(self.b),
            "identical": self.identical,
            "first_divergence": self.divergences[0] if self.divergences else None,
            "divergences": list(self.divergences),
            "cycle_stack": dict(self.cycle_stack),
            "counters": {part: dict(counters) for part, counters in self.counters.items()},
            "costs": list(self.costs),
        }


def compare(a: Operand, b: Operand) -> Difference:
    """Run or read both, replay each on its core, and compare."""
    from caches import replay

    of_a, of_b = recorded(a), recorded(b)
    costs_a, costs_b = (replay(one.trace, one.config, initial=one.initial, seed=one.seed) for one in (of_a, of_b))
    parted = partings(of_a.trace, of_b.trace)
    return Difference(
        a=_side(a, of_a, costs_a),
        b=_side(b, of_b, costs_b),
        identical=not parted,
        divergences=tuple(_divergence(of_a.trace, of_b.trace, one) for one in parted),
        cycle_stack={leaf: _delta(costs_a.cycle_stack[leaf], costs_b.cycle_stack[leaf]) for leaf in LEAVES},
        counters=_counters(costs_a, costs_b),
        costs=tuple(_costs((of_a.trace, costs_a), (of_b.trace, costs_b))),
    )


def _side(subject: Operand, source: Recorded, costs: Outcome) -> dict[str, Any]:
    return {
        "case": subject.name,
        "core": costs.core,
        "instructions": costs.instructions,
        "cycles": costs.cycles,
        "seconds": costs.seconds,
        "outcome": str(source.trace.meta.get("outcome", "completed")),
    }


def _delta(a: int, b: int) -> dict[str, int]:
    return {"a": a, "b": b, "delta": b - a}


def _divergence(a: Trace, b: Trace, parting: Parting) -> dict[str, Any]:
    sides = {"a": _instruction(a, parting.a), "b": _instruction(b, parting.b)}
    return {"what": parting.kind, "instruction": parting.number, **sides}


def _instruction(trace: Trace, rows: Records | None) -> dict[str, Any] | None:
    """Say what an instruction was and did."""
    if rows is None:
        return None
    from asm.decode import decode

    row = rows[0]
    insn = trace.insns[row["insn"]]
    va, word = int(insn["va"]), int(insn["word"])
    said: dict[str, Any] = {
        "va": f"{va:#x}",
        "where": Names(trace.meta).place(va),
        "word": f"{word:#010x}",
        "text": decode(word.to_bytes(4, "little"), va)[0].text if word else "",
        "regime": regime_switches(trace, int(row["epoch"])),
        "access": None,
    }
    if row["access"] != Access.NONE:
        typed = row["memory_type"] != NO_TYPE
        said["access"] = {
            "kind": Access(int(row["access"])).name.lower(),
            "va": f"{int(row['va']):#x}",
            "pa": f"{int(row['pa']):#x}" if row["pa"] != NO_PA else None,
            "bytes": int(row["size"]),
            "memory_type": MemoryType(int(row["memory_type"])).label if typed else None,
        }
    return said


def _counters(a: Outcome, b: Outcome) -> dict[str, dict[str, dict[str, int]]]:
    parts = list(dict.fromkeys([*a.counters, *b.counters]))
    named = {part: list(dict.fromkeys([*a.counters.get(part, {}), *b.counters.get(part, {})])) for part in parts}
    return {
        part: {
            name: _delta(a.counters.get(part, {}).get(name, 0), b.counters.get(part, {}).get(name, 0)) for name in names
        }
        for part, names in named.items()
    }


def _costs(*sides: tuple[Trace, Outcome]) -> list[dict[str, Any]]:
    """Pair instructions by place (symbol and offset, so that moved code is itself) and encoding."""
    found: dict[tuple[str, int], list[dict[str, int]]] = defaultdict(lambda: [{"count": 0, "cycles": 0} for _ in sides])
    shown: dict[tuple[str, int], str] = {}
    for side, (trace, costs) in enumerate(sides):
        places, cycles, listed = insn_places(trace), costs.insn_cycles.sum(axis=1), texts(trace)
        for row in np.flatnonzero(costs.insn_count).tolist():
            key = (places[row], int(trace.insns["word"][row]))
            shown.setdefault(key, listed[row])
            found[key][side]["count"] += int(costs.insn_count[row])
            found[key][side]["cycles"] += int(cycles[row])
    rows = [
        {
            "where": where,
            "word": f"{word:#010x}",
            "text": shown[where, word],
            "a": a,
            "b": b,
            "delta": b["cycles"] - a["cycles"],
        }
        for (where, word), (a, b) in found.items()
        if a != b
    ]
    return sorted(rows, key=lambda row: (-abs(row["delta"]), row["where"]))
