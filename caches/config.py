"""What a modelled core is: one frozen dataclass a part, flat, each value checked where it enters.

The dotted names of fields (`l1d.size`, `dram.latency_ns`) are the keys of presets and of `--set`. Sizes are bytes and
may be written `32KiB`; fields that are times say so in their names (`_cycles` of the core clock, or `_ns`).
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from traces.errors import InputError

if TYPE_CHECKING:
    from caches.extensions import Extension


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


_MOST_DIGITS = 64
_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: str) -> int:
    """`32KiB`, `37MB` or `4096` in bytes; InputError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in _UNITS or len(found[1]) > _MOST_DIGITS:
        raise InputError(f"{text!r}: must be a number of bytes such as 4096, 32KiB or 37MB")
    return round(float(found[1]) * _UNITS[found[2].upper()])


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where one value comes from: a source, or `estimated` with what else it may be."""

    source: str
    estimated: tuple[Any, ...] = ()
    """(lowest, highest) of a number, or the choices of anything else; () where there is a source."""

    @property
    def is_estimated(self) -> bool:
        """A guess, with a range; not read anywhere."""
        return bool(self.estimated)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreConfig:
    """One machine, complete and consistent. Made by `caches.core`, `caches.load_core` or `override`, never in place."""

    name: str
    title: str
    architecture: Architecture
    pipeline: Pipeline
    branch: Branch
    fetch: Fetch
    l1i: CacheLevel
    l1d: CacheLevel
    l2: CacheLevel
    l3: CacheLevel
    store: Store
    nc: NonCacheable
    device: Device
    itlb: Tlb
    dtlb: Tlb
    l2tlb: Tlb
    walk: Walk
    prefetch: Prefetch
    dram: Dram
    maintenance: MaintenanceCost
    kernel: Kernel
    calibrated: tuple[str, ...] = ()
    """Keys that were fitted to a published time, each with the row it was fitted to in its provenance."""
    provenance: Mapping[str, Provenance] = field(default_factory=dict, compare=False)
    extensions: tuple[tuple[str, "Extension"], ...] = ()
    """Functions from outside in the place of a level's replacement or of the prefetcher, by table (`extended`)."""

    def __post_init__(self) -> None:
        for key in self.calibrated:
            self.value(key)
        entries = self.itlb.entries + self.dtlb.entries + self.l2tlb.entries
        if entries > 10_240:
            raise InputError(f"l2tlb.entries: {entries} entries in all TLBs: must be at most 10240")
        for table in ("l1i", "l1d", "l2"):
            if getattr(self, table).size == 0:
                raise InputError(f"{table}.size = 0: only l3 may be absent")
        if not self.l1d.hit_cycles < self.l2.hit_cycles or (
            self.l3.size and not self.l2.hit_cycles < self.l3.hit_cycles
        ):
            raise InputError(f"l2.hit_cycles = {self.l2.hit_cycles}: must lie between those of l1d and l3")

    @property
    def frequency_hz(self) -> int:
        """Core clock."""
        return self.pipeline.frequency_mhz * 1_000_000

    def cycles(self, nanoseconds: float) -> int:
        """Return the nearest whole number of core cycles."""
        return round(nanoseconds * self.pipeline.frequency_mhz / 1000)

    def extended(self, **extensions: "Extension") -> "CoreConfig":
        """Return this core with functions of one's own (caches.extensions), by table.

        `l1i`, `l1d`, `l2` and `l3` take a replacement policy, `prefetch` a prefetcher.
        """
        for table, extension in extensions.items():
            kind = {"prefetch": "prefetcher"}.get(table, "replacement")
            if table not in ("l1i", "l1d", "l2", "l3", "prefetch") or extension.kind != kind:
                raise InputError(f"extended: {table}: l1i, l1d, l2 and l3 take a replacement, prefetch a prefetcher")
        return dataclasses.replace(self, extensions=tuple(sorted({**dict(self.extensions), **extensions}.items())))

    def extension_at(self, table: str) -> int:
        """Return the address of the function in the place of that table's own; 0 without one."""
        return next((each.address for name, each in self.extensions if name == table), 0)

    def value(self, key: str) -> Any:
        """Return the value of a dotted key; InputError if there is none."""
        table, _, name = key.partition(".")
        if table not in PARTS or name not in {entry.name for entry in dataclasses.fields(PARTS[table])}:
            raise InputError(f"{key}: no such field of a core")
        return getattr(getattr(self, table), name)

    def override(self, changes: Mapping[str, Any]) -> Self:
        """Another core with these dotted keys changed; text is read as the command line gives it."""
        grouped: dict[str, dict[str, Any]] = {}
        for key, raw in changes.items():
            self.value(key)
            table, _, name = key.partition(".")
            grouped.setdefault(table, {})[name] = _read(key, PARTS[table], name, raw)
        parts: dict[str, Any] = {}
        for table, values in grouped.items():
            try:
                parts[table] = dataclasses.replace(_fitted(getattr(self, table), values), **values)
            except InputError as error:
                raise InputError(f"{table}.{error}") from None
        provenance = dict(self.provenance) | {key: Provenance(source="override") for key in changes}
        return dataclasses.replace(self, **parts, provenance=provenance)


def _fitted(part: Any, values: dict[str, Any]) -> Any:
    """Keep the shape: a fully associative TLB stays so when only its number of entries is changed."""
    if isinstance(part, Tlb) and "entries" in values and "ways" not in values and part.ways == part.entries:
        values["ways"] = values["entries"]
    return part


def build_part(table: str, values: Mapping[str, Any]) -> Part:
    """Return the part of that name from a table of raw values; InputError for unknown, missing or wrong ones."""
    kind = PARTS[table]
    names = [entry.name for entry in dataclasses.fields(kind)]
    for name in values:
        if name not in names:
            raise InputError(f"{table}.{name}: no such field; known: {', '.join(names)}")
    for name in names:
        if name not in values:
            raise InputError(f"{table}.{name}: missing")
    try:
        return kind(**{name: _read(f"{table}.{name}", kind, name, raw) for name, raw in values.items()})
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(f"{table}.") else f"{table}.{text}") from None


def _read(key: str, kind: type[Part], name: str, raw: Any) -> Any:
    """Return a raw value (TOML's, or text) as the field's type."""
    entry = next(entry for entry in dataclasses.fields(kind) if entry.name == name)
    try:
        return _as_type(entry, raw)
    except InputError as error:
        raise InputError(f"{key} = {error}") from None
    except (ValueError, KeyError, TypeError, OverflowError):
        raise InputError(f"{key} = {raw!r}: cannot be read as {getattr(entry.type, '__name__', entry.type)}") from None


def _as_type(entry: dataclasses.Field[Any], raw: Any) -> Any:
    if entry.type in (Replacement, Inclusion):
        return _member(entry.type, raw)
    if entry.name in ("sizes", "granules"):
        items = raw.split(",") if isinstance(raw, str) else raw
        return tuple(sorted(parse_size(item) if isinstance(item, str) else int(item) for item in items))
    if not isinstance(raw, str):
        return raw
    readers: dict[Any, Any] = {int: lambda text: int(text, 0), float: float, bool: _BOOLEANS.__getitem__}
    if entry.metadata.get("size"):
        return parse_size(raw)
    return readers.get(entry.type, str)(raw)


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _member(kind: Any, raw: Any) -> Any:
    if isinstance(raw, kind):
        return raw
    name = str(raw).upper().replace("-", "_")
    if name not in kind.__members__:
        known = ", ".join(member.lower().replace("_", "-") for member in kind.__members__)
        raise InputError(f"{raw!r}: must be one of {known}")
    return kind[name]
