"""Parts of a modelled core: one frozen dataclass each, flat, every value checked where it enters.

The dotted names of fields (`l1d.size`, `dram.latency_ns`) are the keys of presets and of `--set`. Sizes are bytes and
may be written `32KiB`; fields that are times say so in their names (`_cycles` of the core clock, or `_ns`).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from traces.errors import InputError


class Replacement(IntEnum):
    """How a level chooses its victim. `kernels.sets` is the only place that asks."""

    LRU = 0
    FIFO = 1
    RANDOM = 2
    TREE_PLRU = 3
    SRRIP = 4


class Inclusion(IntEnum):
    """What a level promises about the levels above it."""

    NON_INCLUSIVE = 0
    """Filled on the way in; an eviction here leaves the copies above alone."""
    INCLUSIVE = 1
    """Filled on the way in; an eviction here takes the copies above with it."""
    EXCLUSIVE = 2
    """Filled only by what the level above evicts."""


def _rule(
    low: float | None = None, high: float | None = None, *, power_of_two: bool = False, size: bool = False
) -> Any:
    return field(metadata={"low": low, "high": high, "power_of_two": power_of_two, "size": size})


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Checks every field against the rule beside it; raises InputError naming field, value and rule."""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value, rule = getattr(self, entry.name), entry.metadata
            if entry.type is int and (isinstance(value, bool) or not isinstance(value, int)):
                raise InputError(f"{entry.name} = {value!r}: must be a whole number")
            if entry.type is float and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise InputError(f"{entry.name} = {value!r}: must be a number")
            if entry.type is bool and not isinstance(value, bool):
                raise InputError(f"{entry.name} = {value!r}: must be true or false")
            if rule.get("low") is not None and not value >= rule["low"]:
                raise InputError(f"{entry.name} = {value!r}: must be at least {rule['low']}")
            if rule.get("high") is not None and not value <= rule["high"]:
                raise InputError(f"{entry.name} = {value!r}: must be at most {rule['high']}")
            if rule.get("power_of_two") and value & (value - 1):
                raise InputError(f"{entry.name} = {value!r}: must be a power of two")


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture(Part):
    """What the core implements of the architecture: facts, not times."""

    version: str
    has_vhe: bool
    granules: tuple[int, ...]
    pa_bits: int = _rule(32, 52)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline(Part):
    """The window, its width, its ports, and latencies by instruction class."""

    frequency_mhz: int = _rule(1, 10_000)
    in_order: bool
    dispatch_width: int = _rule(1, 16)
    retire_width: int = _rule(1, 16)
    rob_entries: int = _rule(1, 1024)
    alu_ports: int = _rule(1, 6)
    multi_ports: int = _rule(1, 2)
    load_ports: int = _rule(1, 4)
    store_ports: int = _rule(1, 4)
    stores_use_load_ports: bool
    """Loads and stores share `load_ports` pipes; `store_ports` is then not used."""
    vector_ports: int = _rule(1, 4)
    branch_ports: int = _rule(1, 2)
    load_bytes_per_cycle: int = _rule(4, 64, power_of_two=True)
    store_bytes_per_cycle: int = _rule(4, 64, power_of_two=True)
    alu_cycles: int = _rule(1, 8)
    alu_shift_cycles: int = _rule(1, 8)
    multiply_cycles: int = _rule(1, 32)
    divide_cycles: int = _rule(1, 64)
    vector_cycles: int = _rule(1, 32)
    crypto_cycles: int = _rule(1, 32)
    system_read_cycles: int = _rule(1, 1000)
    system_write_cycles: int = _rule(1, 1000)
    exception_cycles: int = _rule(1, 10_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch(Part):
    """Prediction: two-bit counters a branch, last target of an indirect one, returns always right."""

    mispredict_cycles: int = _rule(1, 100)
    in_order_untranslated: bool
    """While stage 1 is off: no static prediction, and branches resolve in program order (A72 TRM)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch(Part):
    """Instruction fetch ahead of dispatch, and what it costs with SCTLR.I = 0."""

    queue_instructions: int = _rule(1, 64)
    uncached_bytes: int = _rule(4, 64, power_of_two=True)
    uncached_ns: float = _rule(0, 10_000)
    uncached_outstanding: int = _rule(1, 8)
    buffer_groups: int = _rule(0, 8)
    """Groups that an uncached fetch leaves behind for a tight loop."""
    prefetch_lines: int = _rule(0, 8)
    """Lines brought into L2 beside an L1I miss, within its 4 KiB page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheLevel(Part):
    """One level. `hit_cycles` is load-to-use for a hit at this level, all levels above included."""

    size: int = _rule(0, 1 << 30, size=True)
    ways: int = _rule(1, 32)
    line: int = _rule(64, 64)
    hit_cycles: int = _rule(1, 500)
    interval_cycles: int = _rule(1, 64)
    """Between two accesses that the level accepts."""
    replacement: Replacement
    inclusion: Inclusion
    miss_buffers: int = _rule(1, 256)
    behind_poc: bool
    """Uncached observers see what it holds: a system cache, not a cache of the core."""

    def __post_init__(self) -> None:
        Part.__post_init__(self)
        if self.size % (self.ways * self.line):
            raise InputError(f"size = {self.size}: must be a multiple of ways times line, {self.ways * self.line}")
        if self.size and self.replacement == Replacement.TREE_PLRU and self.ways & (self.ways - 1):
            raise InputError(f"ways = {self.ways}: must be a power of two with tree-plru")

    @property
    def sets(self) -> int:
        """Sets; need not be a power of two (a 48 KiB 3-way cache has 256, a 12 MiB 16-way one 12,288)."""
        return self.size // (self.ways * self.line)


@dataclass(frozen=True, kw_only=True, slots=True)
class Store(Part):
    """The store buffer, merging, and write streaming."""

    buffer_entries: int = _rule(1, 64)
    merge_bytes: int = _rule(8, 64, power_of_two=True)
    write_allocate: bool
    stream_l1_lines: int = _rule(0, 4096)
    """Consecutive full lines after which L1 no longer allocates; 0: never streams."""
    stream_l2_lines: int = _rule(0, 4096)
    """The same of L2."""
    stream_l3_lines: int = _rule(0, 1 << 20)
    """The same of L3; 0: L3 always allocates."""
    stream_buffers: int = _rule(1, 8)
    """Lines that are being merged at once while streaming."""
    non_temporal_streams: bool
    """STNP takes the streaming path from its first line."""
    write_ack_ns: float = _rule(0, 10_000)
    """From the interconnect's taking a line to its acknowledgement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NonCacheable(Part):
    """Normal-NC (and Normal-WT where the core treats it so) data."""

    latency_ns: float = _rule(0, 10_000)
    outstanding: int = _rule(1, 64)
    forward_bytes: int = _rule(0, 64)
    """Bytes read and kept for later loads by one transaction; 0: exactly what was asked."""
    structure_bytes: int = _rule(4, 64, power_of_two=True)
    """What a transaction of ld1 to ld4 of several vectors reads; 64: as many bytes as any other load."""
    write_buffers: int = _rule(1, 64)
    write_through_is_nc: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Device(Part):
    """Device memory: never speculative, in program order where the type says so."""

    round_trip_ns: float = _rule(0, 100_000)
    access_bytes: int = _rule(4, 64, power_of_two=True)
    """The widest single access; a wider instruction makes several, one after another."""
    outstanding_reads: int = _rule(1, 64)
    outstanding_writes: int = _rule(1, 64)
    load_waits_for_stores: bool
    early_ack_ns: float = _rule(0, 100_000)
    """Write acknowledgement of nGnRE and weaker, from a point before the endpoint."""
    gathers: bool
    """Stores to one line of Device-GRE memory make one transaction; else GRE is as nGRE."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tlb(Part):
    """One TLB. `ways` = entries: fully associative. `sizes`: what an entry can map; larger leaves are split."""

    entries: int = _rule(1, 8192)
    ways: int = _rule(1, 8192)
    hit_cycles: int = _rule(0, 100)
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        Part.__post_init__(self)
        if self.entries % self.ways:
            raise InputError(f"entries = {self.entries}: must be a multiple of ways, {self.ways}")
        if not self.sizes or len(self.sizes) > 8:
            raise InputError(f"sizes = {self.sizes}: must have 1 to 8 elements")
        for size in self.sizes:
            if size < 4096 or size & (size - 1):
                raise InputError(f"sizes = {self.sizes}: each must be a power of two, at least 4096")


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk(Part):
    """The table walker: its cache of intermediate descriptors, and how many walk at once."""

    cache_entries: int = _rule(0, 256)
    walkers: int = _rule(1, 8)
    through_l1d: bool
    """Descriptor reads look up L1D first (else they begin at L2)."""
    step_cycles: int = _rule(0, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefetch(Part):
    """Stream detection on loads (into L1D and L2) and on stores (into L2)."""

    streams: int = _rule(0, 64)
    train_lines: int = _rule(1, 32)
    max_stride_lines: int = _rule(1, 64)
    l1_lines: int = _rule(0, 64)
    l2_lines: int = _rule(0, 256)
    degree: int = _rule(1, 32)
    """Lines asked for by one access at most."""
    crosses_pages: bool
    walks: bool
    """Past a page whose translation the L2 TLB lacks, the prefetcher has it walked for; else it stops there."""
    stores: bool
    spare_buffers: int = _rule(0, 64)
    """Miss buffers of L2 that prefetches leave free for demand misses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dram(Part):
    """Memory behind the last cache."""

    latency_ns: float = _rule(0, 10_000)
    """From the last level's miss to the line, idle, the row closed."""
    row_hit_saves_ns: float = _rule(0, 1000)
    row_conflict_adds_ns: float = _rule(0, 1000)
    bandwidth_gbps: float = _rule(0.01, 10_000)
    """10**9 bytes a second, all channels together."""
    write_share: float = _rule(0.05, 1)
    """Of the bandwidth, what writes alone can take: less than 1 where what takes them is narrower than the bus."""
    channels: int = _rule(1, 8)
    interleave: int = _rule(64, 1 << 20, power_of_two=True, size=True)
    banks: int = _rule(1, 64, power_of_two=True)
    row: int = _rule(512, 1 << 20, power_of_two=True, size=True)
    bank_busy_ns: float = _rule(0, 1000)
    turnaround_ns: float = _rule(0, 1000)
    write_batch: int = _rule(1, 256)
    refresh_interval_ns: float = _rule(0, 1_000_000)
    refresh_ns: float = _rule(0, 10_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel(Part):
    """What a running kernel has left in the caches (`initial = kernel-dirty`)."""

    dirty_share: float = _rule(0, 1)
    """Of the lines that are held."""
    destination_share: float = _rule(0, 1)
    """Of the lines that are held: those of the destination, which lies over the running kernel's image and tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceCost(Part):
    """Maintenance by VA and by set/way, IC, TLBI, and barriers."""

    dc_interval_cycles: int = _rule(1, 1000)
    dc_clean_cycles: int = _rule(1, 10_000)
    """From issue to completion where no data have to move; not less than the last cache that is asked takes to hit."""
    dc_dirty_cycles: int = _rule(1, 10_000)
    """The same where a dirty line is written back; the write itself is added."""
    dc_outstanding: int = _rule(1, 64)
    ivac_cleans: bool
    """DC IVAC always acts as DC CIVAC on this core."""
    zva: int = _rule(16, 2048, power_of_two=True, size=True)
    set_way_cycles: int = _rule(1, 10_000)
    ic_cycles: int = _rule(1, 100_000)
    tlbi_ns: float = _rule(0, 100_000)
    dsb_cycles: int = _rule(1, 10_000)
    dmb_cycles: int = _rule(1, 10_000)
    isb_ns: float = _rule(0, 10_000)


PARTS: Mapping[str, type[Part]] = MappingProxyType(
    {
        "architecture": Architecture,
        "pipeline": Pipeline,
        "branch": Branch,
        "fetch": Fetch,
        "l1i": CacheLevel,
        "l1d": CacheLevel,
        "l2": CacheLevel,
        "l3": CacheLevel,
        "store": Store,
        "nc": NonCacheable,
        "device": Device,
        "itlb": Tlb,
        "dtlb": Tlb,
        "l2tlb": Tlb,
        "walk": Walk,
        "prefetch": Prefetch,
        "dram": Dram,
        "maintenance": MaintenanceCost,
        "kernel": Kernel,
    }
)
