"""Limits: what holds one run back, from its regime, memory types and cycles; nothing is compared here."""

from collections.abc import Mapping

from relocscope.focus import COPY, MOST, Focus, focus_of
from relocscope.regimes import InForce, elsewhere
from relocscope.runs import Run
from traces.schema import MemoryType

UNCACHED = ("copy-outside-translated-regime", "mmu-off", "dcache-off", "data-device", "data-noncacheable")
"""Limits under which the copy's data does not go through the caches."""

UNFINISHED = ("hang", "fault", "budget")
"""Outcomes of runs that never reach the new kernel."""

_LEAVES: Mapping[str, tuple[str, ...]] = {
    "fetch-uncached": ("fetch",),
    "data-device": ("device_load", "device_store"),
    "tlb-bound": ("tlb_walk",),
    "maintenance-bound": ("maintenance", "barrier"),
    "dram-bound": ("dram_latency", "dram_bandwidth", "l2", "l3", "store_buffer"),
    "instructions": ("base", "branch", "l1d", "exception"),
}
"""Which leaves of the cycle stack are what, of a copy whose data goes through the caches."""

_DEVICE = tuple(kind.label for kind in MemoryType if kind.is_device)
NONCACHEABLE = MemoryType.NORMAL_NC.label
UNCACHED_TYPES = (*_DEVICE, NONCACHEABLE)


def limit(run: Run) -> str:
    """Return what holds this run back: one of the causes. A difference of two runs is judged otherwise."""
    focus = focus_of(run, COPY)
    if run.outcome in UNFINISHED:
        return unfinished(run)
    if focus is None:
        return "no-copy"
    past = past_caches(run, focus)
    if past:
        return past
    heaviest = max(_LEAVES, key=lambda cause: sum(run.cycle_stack[leaf] for leaf in _LEAVES[cause]))
    uncached = heaviest == "tlb-bound" and share(focus.walk, *UNCACHED_TYPES) > MOST
    return "walks-noncacheable" if uncached else heaviest


def unfinished(run: Run) -> str:
    """Return the cause that a run's never arriving is."""
    return "fault" if run.outcome == "fault" else "hang"


def translated_elsewhere(run: Run) -> list[InForce]:
    """Return the regimes of other levels with translation on while this run copied with it off."""
    if run.site is None or run.trace.epochs[run.site.epoch]["stage1"]:
        return []
    return [state for state in elsewhere(run.trace, run.site) if run.trace.epochs[state.epoch]["stage1"]]


def past_caches(run: Run, focus: Focus) -> str | None:
    """Return which of UNCACHED holds a run back; None where its data goes through the caches."""
    regime = run.trace.epochs[focus.epoch]
    device, noncacheable = share(focus.data, *_DEVICE) > MOST, share(focus.data, NONCACHEABLE) > MOST
    if not device and not noncacheable:
        return None  # also with HCR_EL2.DC, where nothing translates and everything is cached
    if not regime["stage1"]:
        outside = focus.name == COPY and translated_elsewhere(run)
        return "copy-outside-translated-regime" if outside else "mmu-off"
    if device:
        return "data-device"
    return "data-noncacheable" if regime["dcache"] else "dcache-off"


def share(counts: Mapping[str, int], *kinds: str) -> float:
    """Return the share of these types among the accesses."""
    total = sum(counts.values())
    return sum(counts.get(kind, 0) for kind in kinds) / total if total else 0.0
