"""A timing model of one line a rule, in place of `caches`, so that what is tested is the face and not the model."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from traces.expand import accesses
from traces.fold import cut, fetch_types, stretches
from traces.outcome import Outcome
from traces.schema import LEAVES, Access, MemoryType
from traces.trace import Trace

HZ = 1_000_000_000


class Core(SimpleNamespace):
    """A core that can be looked up by itself, as those of the model can."""

    __hash__ = object.__hash__


CORE = Core(
    name="fake",
    title="A core of one line a rule",
    frequency_hz=HZ,
    provenance={},
    architecture=SimpleNamespace(has_vhe=True, version="v8.1", granules=(4096, 16384, 65536)),
)

UNCACHED_FETCH_CYCLES = 2

_COST = {kind: (200 if kind.is_device else 60 if kind == MemoryType.NORMAL_NC else 4) for kind in MemoryType}


def replay(
    trace: Trace, _config: Any, *, ablate: Iterable[str] = (), checkpoints: Any = (), **_options: Any
) -> Outcome:
    """Charge each access by its type, each uncached fetch 2 cycles, each instruction 1."""
    free = set(ablate)
    stack = dict.fromkeys(LEAVES, 0)
    for _epoch, first, end in stretches(trace):
        piece = cut(trace, first, end)
        table = accesses(piece)
        stack["base"] += sum(fetch_types(piece).values())
        if "fetch" not in free:
            stack["fetch"] += UNCACHED_FETCH_CYCLES * fetch_types(piece).get(MemoryType.NORMAL_NC, 0)
        pairs = np.stack([table["access"], table["memory_type"]], axis=1)
        for (access, memory_type), number in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            kind = MemoryType(int(memory_type))
            cached = kind >= MemoryType.NORMAL_WT
            if ("hierarchy" if cached else "memory_type") in free:
                continue
            leaf = "l1d" if cached else "device_load" if access == Access.LOAD else "device_store"
            stack[leaf] += int(number) * _COST[kind] // (2 if "dram" in free and not cached else 1)
    cycles = np.zeros((len(trace.insns), len(LEAVES)), np.int64)
    cycles[0] = list(stack.values())
    total = int(cycles.sum())
    count = max(len(trace.executions), 1)
    return Outcome(
        core="fake",
        frequency_hz=HZ,
        insn_cycles=cycles,
        insn_count=np.ones(len(trace.insns), np.int64),
        checkpoint_cycles=np.array([total * int(at) // count for at in checkpoints], np.int64),
        counters={"l1d": {"accesses": 1}, "dtlb": {"accesses": 1}, "dram": {"reads": 1}},
        dirty_lines=np.zeros(0, np.uint64),
        stale_lines=np.zeros(0, np.uint64),
        lost_lines=np.zeros(0, np.uint64),
    )
