"""What a modelled core is: its parts (`caches.parts`), checked against each other, and where each value comes from."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from caches.parts import (
    PARTS,
    Architecture,
    Branch,
    CacheLevel,
    Device,
    Dram,
    Fetch,
    Kernel,
    MaintenanceCost,
    NonCacheable,
    Pipeline,
    Prefetch,
    Store,
    Tlb,
    Walk,
)
from caches.values import read_value
from traces.errors import InputError

if TYPE_CHECKING:
    from caches.extensions import Extension


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
            grouped.setdefault(table, {})[name] = read_value(key, PARTS[table], name, raw)
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
