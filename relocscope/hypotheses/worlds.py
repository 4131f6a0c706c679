"""Worlds: what would be run if a hypothesis were true, as changes of a case, of the core, or of what an access is.

Nothing here knows a time. A change of the machine holds with the MMU off too; one of what was meant as MMU-on does not.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from relocscope.case import Case
from traces.schema import MemoryType
from traces.trace import Trace

if TYPE_CHECKING:
    from caches import CoreConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """One thing to run: a case, changes of the core, a change of the trace."""

    case: Case
    core: tuple[tuple[str, Any], ...] = ()
    treatment: str = ""
    """A key of TREATMENTS."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way in which a hypothesis may be true."""

    off: Setup
    on: Setup
    weight: float = 1.0
    value: str = ""
    """Its free number, in words; empty where it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """A hypothesis: its variants, and what one would read off the machine that no time shows."""

    id: str
    variants: tuple[Variant, ...]
    signs: Mapping[str, str] = field(default_factory=dict)
    free_size: bool = False


def _typed(trace: Trace, kind: MemoryType) -> Trace:
    """Make every translated data access of that type; fetches and walks stay as they are."""
    rows = trace.translations.copy()
    rows["memory_type"] = kind
    return dataclasses.replace(trace, translations=rows)


def _uncached_walks(trace: Trace) -> Trace:
    epochs = trace.epochs.copy()
    epochs["walk_type"] = np.minimum(epochs["walk_type"], MemoryType.NORMAL_NC)
    return dataclasses.replace(trace, epochs=epochs)


TREATMENTS: Mapping[str, Callable[[Trace], Trace]] = {
    "": lambda trace: trace,
    "data-device": lambda trace: _typed(trace, MemoryType.DEVICE_NGNRNE),
    "data-noncacheable": lambda trace: _typed(trace, MemoryType.NORMAL_NC),
    # What a core out of coherency makes of Inner Shareable Write-Back memory: data and descriptors alike.
    "not-coherent-smp": lambda trace: _uncached_walks(_typed(trace, MemoryType.NORMAL_NC)),
}
"""Changes of what an access is, for what no field of a case can say."""

_BANDWIDTH_PARTS = (4, 8, 16)
_SLOWER_TIMES = (1.5, 2.0, 3.0)
_FABRIC = (
    "device.round_trip_ns",
    "nc.latency_ns",
    "fetch.uncached_ns",
    "store.write_ack_ns",
    "dram.latency_ns",
    "l3.hit_cycles",
)


def worlds(off: Case, meant: Case, untranslated: Case, config: "CoreConfig") -> list[World]:
    """Return every hypothesis, as changes of `off` (MMU off), `meant` (as it was meant) and `untranslated`."""
    plain = (Setup(case=off), Setup(case=meant))
    return [
        _world("expected", *plain),
        _world("copy-at-untranslated-el", plain[0], Setup(case=untranslated)),
        World(id="size-misreported", variants=(Variant(off=plain[0], on=plain[1]),), free_size=True),
        _world("dcache-off", plain[0], Setup(case=dataclasses.replace(meant, copy_sctlr_c=0))),
        _world("icache-off", plain[0], Setup(case=dataclasses.replace(meant, copy_sctlr_i=0))),
        _world("data-device", plain[0], Setup(case=meant, treatment="data-device")),
        _world("data-noncacheable", plain[0], Setup(case=meant, treatment="data-noncacheable")),
        _world("walks-noncacheable", plain[0], Setup(case=dataclasses.replace(meant, tcr_irgn=0, tcr_orgn=0))),
        _machine("maintenance-per-line", off, meant, _slow_maintenance(config)),
        _machine("tlb-thrash", off, meant, _small_tlbs(config)),
        _grid(
            "dram-bound",
            off,
            meant,
            [(f"1/{parts} of the bandwidth", _narrow(config, parts)) for parts in _BANDWIDTH_PARTS],
        ),
        _machine("prefetch-off", off, meant, {"prefetch.streams": 0}),
        _machine(
            "streaming-off",
            off,
            meant,
            {"store.stream_l1_lines": 0, "store.stream_l2_lines": 0, "store.non_temporal_streams": False},
        ),
        _world("stage2", *(Setup(case=dataclasses.replace(case, stage2="vm")) for case in (off, meant))),
        _grid(
            "slow-interconnect",
            off,
            meant,
            [(f"{times:g} times as slow", _slower(config, times)) for times in _SLOWER_TIMES],
        ),
        World(
            id="not-coherent-smp",
            variants=(Variant(off=plain[0], on=Setup(case=meant, treatment="not-coherent-smp")),),
            signs={"CPUECTLR_EL1.SMPEN": "0"},
        ),
    ]


def _world(name: str, off: Setup, on: Setup) -> World:
    return World(id=name, variants=(Variant(off=off, on=on),))


def _machine(name: str, off: Case, on: Case, settings: Mapping[str, Any]) -> World:
    return _grid(name, off, on, [("", settings)])


def _grid(name: str, off: Case, on: Case, choices: list[tuple[str, Mapping[str, Any]]]) -> World:
    """Return a hypothesis about the machine, its variants equally likely."""
    variants = []
    for value, settings in choices:
        core = tuple(sorted(settings.items()))
        setups = (Setup(case=case, core=core) for case in (off, on))
        variants.append(Variant(off=next(setups), on=next(setups), weight=1 / len(choices), value=value))
    return World(id=name, variants=tuple(variants))


def _slow_maintenance(config: "CoreConfig") -> dict[str, Any]:
    """Each operation by VA to memory and back, and none beside it."""
    cycles = max(config.maintenance.dc_dirty_cycles, round(config.dram.latency_ns * config.frequency_hz / 1e9))
    return {
        "maintenance.dc_outstanding": 1,
        "maintenance.dc_clean_cycles": cycles,
        "maintenance.dc_dirty_cycles": cycles,
    }


def _small_tlbs(_config: "CoreConfig") -> dict[str, Any]:
    """One entry of data translations, next to nothing behind it, and no walk cache."""
    return {
        "dtlb.entries": 1,
        "dtlb.ways": 1,
        "l2tlb.entries": 4,
        "l2tlb.ways": 4,
        "walk.cache_entries": 0,
        "dtlb.sizes": "4096",
        "l2tlb.sizes": "4096",
    }


def _narrow(config: "CoreConfig", parts: int) -> dict[str, Any]:
    return {"dram.bandwidth_gbps": max(0.01, config.dram.bandwidth_gbps / parts), "dram.channels": 1}


def _slower(config: "CoreConfig", times: float) -> dict[str, Any]:
    """Scale what lies behind the core's own caches; without an L3 there is none to scale."""
    settings: dict[str, Any] = {}
    for key in _FABRIC:
        value = config.value(key)
        if key != "l3.hit_cycles":
            settings[key] = min(10_000.0, value * times)
        elif config.l3.size:
            settings[key] = min(500, round(value * times))
    return settings
