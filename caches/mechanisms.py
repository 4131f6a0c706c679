"""What can be switched off. Off means that it costs nothing; with everything off the instructions alone are left."""

from collections.abc import Iterable
from dataclasses import dataclass

from traces.errors import InputError

GROUPS = ("fetch", "memory_type", "hierarchy", "translation", "maintenance", "dram")
"""What a difference of two runs is decomposed into."""

CORE = "instructions"
"""The group of what stays when all of these are off: switched one by one only, and no part of a decomposition."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One switch of the model; its name with `on_` before it is the field of state.SPEC that the kernels ask."""

    name: str
    group: str
    title: str


_MECHANISMS = (
    Mechanism("icache", "fetch", "misses of the L1 instruction cache"),
    Mechanism("uncached_fetch", "fetch", "fetches past the caches, a group at a time, while SCTLR.I = 0"),
    Mechanism("branch", "fetch", "mispredicted branches"),
    Mechanism("branch_order", "fetch", "branches in program order, unpredicted at first, while stage 1 is off"),
    Mechanism(
        "device_order", "memory_type", "Device accesses: never speculative, in order, each waiting for its endpoint"
    ),
    Mechanism("noncacheable", "memory_type", "Normal Non-cacheable accesses: transactions on the bus"),
    Mechanism("cacheable", "hierarchy", "cacheable accesses cost more than one cycle at all"),
    Mechanism("l1d", "hierarchy", "load-to-use latency of an L1D hit"),
    Mechanism("l2", "hierarchy", "latency and throughput of L2"),
    Mechanism("l3", "hierarchy", "latency and throughput of L3 or the system cache"),
    Mechanism("miss_buffers", "hierarchy", "limits on outstanding requests, at every level and of every type"),
    Mechanism("store_buffer", "hierarchy", "dispatch waiting for a store buffer entry"),
    Mechanism(
        "streaming", "hierarchy", "write streaming: full lines written without reading them first (off: they are read)"
    ),
    Mechanism("prefetch", "hierarchy", "prefetchers (off: nothing is prefetched)"),
    Mechanism("l2tlb", "translation", "latency of the second-level TLB"),
    Mechanism("walk", "translation", "table walks"),
    Mechanism("dc", "maintenance", "data cache maintenance by VA and by set/way"),
    Mechanism("ic", "maintenance", "instruction cache invalidation"),
    Mechanism("tlbi", "maintenance", "TLB invalidation"),
    Mechanism("dsb", "maintenance", "DSB and what it waits for"),
    Mechanism("dmb", "maintenance", "DMB"),
    Mechanism("isb", "maintenance", "ISB and the fetch that begins anew after it"),
    Mechanism("system", "maintenance", "writes of system registers"),
    Mechanism("exception", "maintenance", "exception entry and return"),
    Mechanism("dram_latency", "dram", "latency of memory"),
    Mechanism("dram_rows", "dram", "open rows and bank conflicts"),
    Mechanism("dram_bandwidth", "dram", "bandwidth of the channels"),
    Mechanism("dram_turnaround", "dram", "turning a channel between reads and writes"),
    Mechanism("dram_refresh", "dram", "refresh"),
    Mechanism("window", CORE, "the number of instructions in flight"),
    Mechanism("ports", CORE, "ports that instructions of a kind share"),
    Mechanism("latency", CORE, "latencies of instructions that stay within the core"),
)

# Switches whose being off costs time instead of saving it; a group that is switched off keeps them on.
_SAVERS = frozenset({"streaming", "prefetch"})


def mechanisms() -> list[Mechanism]:
    """Every mechanism of the model, by group."""
    return list(_MECHANISMS)


def mechanism_names(ablate: Iterable[str]) -> frozenset[str]:
    """Mechanisms named, those of groups named included; InputError for a name that is neither.

    A group means what it costs: its savers (prefetch, streaming) stay on unless they are named themselves.
    """
    names: set[str] = set()
    known = {mechanism.name for mechanism in _MECHANISMS}
    for name in ablate:
        if name in GROUPS:
            names |= {mechanism.name for mechanism in _MECHANISMS if mechanism.group == name} - _SAVERS
        elif name in known:
            names.add(name)
        else:
            raise InputError(f"{name}: no such mechanism or group; known: {', '.join([*GROUPS, *sorted(known)])}")
    return frozenset(names)
