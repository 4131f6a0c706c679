"""The verdict: one cause and one sentence, from what two runs did. No name, label or routine text is looked at here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emu.fields import fields
from relocscope.hazards.translation import xn_fault
from relocscope.regimes import InForce, elsewhere, place, regime_name
from relocscope.runs import Run
from traces.fold import CopySite
from traces.schema import MemoryType

SAME_WITHIN = 0.05
"""Two times that differ by less are the same: the model claims no more."""

_DOMINANT = 0.5
"""A memory type must be that of more than this share of the accesses to be the cause."""

UNCACHED = ("copy-outside-translated-regime", "mmu-off", "dcache-off", "data-device", "data-noncacheable")
"""Limits under which the copy's data does not go through the caches."""

_UNFINISHED = ("hang", "fault", "budget")

_LEAF_CAUSES: Mapping[str, tuple[str, ...]] = {
    "fetch-uncached": ("fetch",),
    "data-device": ("device_load", "device_store"),
    "tlb-bound": ("tlb_walk",),
    "maintenance-bound": ("maintenance", "barrier"),
    "dram-bound": ("dram_latency", "dram_bandwidth", "l2", "l3", "store_buffer"),
    "instructions": ("base", "branch", "l1d", "exception"),
}
"""Which leaves of the cycle stack speak for which cause, where memory types and regimes do not settle it."""

_LEAF_WORDS: Mapping[str, str] = {
    "fetch-uncached": "fetching instructions without the I-cache",
    "data-device": "loads and stores that go one at a time to memory",
    "tlb-bound": "translation table walks",
    "maintenance-bound": "cache maintenance and barriers",
    "dram-bound": "waiting for memory behind the L1 cache",
    "instructions": "the instructions themselves: it executes other code",
}

_DEVICE = tuple(kind.label for kind in MemoryType if kind.is_device)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Why B is faster than A, or why it is not."""

    cause: str
    sentence: str


def translated_elsewhere(run: Run) -> list[InForce]:
    """Return the regimes of other levels with translation on while this run copied with it off."""
    if run.site is None or run.trace.epochs[run.site.epoch]["stage1"]:
        return []
    return [state for state in elsewhere(run.trace, run.site) if run.trace.epochs[state.epoch]["stage1"]]


def limit(run: Run) -> str:
    """Return what holds this run back, from its regime, memory types and cycles: one of the causes."""
    if run.outcome in _UNFINISHED:
        return "fault" if run.outcome == "fault" else "hang"
    if run.site is None or run.copy is None:
        return "no-copy"
    uncached = _uncached(run, run.site)
    if uncached:
        return uncached
    heaviest = max(_LEAF_CAUSES, key=lambda cause: sum(run.cycle_stack[leaf] for leaf in _LEAF_CAUSES[cause]))
    walks = run.copy["memory_types"]["walk"]
    if heaviest == "tlb-bound" and _share(walks, MemoryType.NORMAL_NC.label, *_DEVICE) > _DOMINANT:
        return "walks-noncacheable"
    return heaviest


def _uncached(run: Run, site: CopySite) -> str | None:
    """Return why the copy's data bypasses the caches; None where it goes through them."""
    regime = run.trace.epochs[site.epoch]
    data: Mapping[str, int] = run.copy["memory_types"]["data"] if run.copy else {}
    device, noncacheable = _share(data, *_DEVICE) > _DOMINANT, _share(data, MemoryType.NORMAL_NC.label) > _DOMINANT
    if not device and not noncacheable:
        return None  # also with HCR_EL2.DC, where nothing translates and everything is cached
    if not regime["stage1"]:
        return "copy-outside-translated-regime" if translated_elsewhere(run) else "mmu-off"
    if device:
        return "data-device"
    return "data-noncacheable" if regime["dcache"] else "dcache-off"


def judge(a: Run, b: Run) -> Verdict:
    """Say why B is as fast as it is beside A."""
    lost = [run for run in (b, a) if run.outcome in _UNFINISHED]
    if lost:
        return Verdict(cause=limit(lost[0]), sentence=_never_arrive(a, b))
    if a.site is None or b.site is None:
        return Verdict(cause="no-copy", sentence=_no_copy(a, b))
    ratio = a.seconds / b.seconds if b.seconds else 1.0
    of_a, of_b = limit(a), limit(b)
    if of_b in UNCACHED and of_b != of_a:
        return Verdict(cause=of_b, sentence=_uncached_sentence(b, b.site, of_b, ratio))
    if abs(ratio - 1) <= SAME_WITHIN:
        return Verdict(cause="no-difference", sentence=f"No difference: {_alike(a, a.site, b, b.site)}.")
    if of_a in UNCACHED and of_b not in UNCACHED and ratio > 1:
        return Verdict(cause="mmu-and-dcache-on", sentence=_cached_sentence(a, a.site, b, b.site, ratio))
    return _by_leaf(a, b, ratio)


def pace(ratio: float) -> str:
    """Write a ratio of times as people say it."""
    if abs(ratio - 1) <= SAME_WITHIN:
        return "no faster"
    large, word = (ratio, "fast") if ratio > 1 else (1 / ratio, "slow")
    return f"{large:.1f} times as {word}" if large < 10 else f"{large:.0f} times as {word}"


def control_bits(run: Run, epoch: int) -> str:
    """Write SCTLR.M, C and I of an epoch's regime."""
    row = run.trace.epochs[epoch]
    name = f"SCTLR_EL{max(int(row['el']), 1)}"
    bits = fields(name, int(row["sctlr"]), e2h=bool(row["e2h"]))
    if bits["M"] == bits["C"] == bits["I"]:
        return f"{name}.M=C=I={bits['M']}"
    return f"{name}.M={bits['M']}, C={bits['C']}, I={bits['I']}"


def _share(counts: Mapping[str, int], *kinds: str) -> float:
    total = sum(counts.values())
    return sum(counts.get(kind, 0) for kind in kinds) / total if total else 0.0


def _level(run: Run, site: CopySite) -> str:
    return f"EL{run.trace.epochs[site.epoch]['el']}"


def _alike(a: Run, at: CopySite, b: Run, bt: CopySite) -> str:
    one = f"{_level(a, at)} with {control_bits(a, at.epoch)}"
    other = f"{_level(b, bt)} with {control_bits(b, bt.epoch)}"
    return f"both copied at {one}" if one == other else f"A copied at {one}, B at {other}, and both took the same time"


def _uncached_sentence(run: Run, site: CopySite, what: str, ratio: float) -> str:
    level = _level(run, site)
    regime = regime_name(run.trace, site.epoch)
    head = f"B is {pace(ratio)}: its copy ran at {level} with {control_bits(run, site.epoch)}"
    data: Mapping[str, int] = run.copy["memory_types"]["data"] if run.copy else {}
    kind = max(data, key=lambda name: data[name])
    if what == "copy-outside-translated-regime":
        other = translated_elsewhere(run)[0].epoch
        return (
            f"{head}, while translation and D-cache were on in the {regime_name(run.trace, other)} regime only "
            f"({control_bits(run, other)}), which governs nothing at {level}; its loads and stores were {kind}."
        )
    tails = {
        "mmu-off": f"; with translation off its loads and stores are {kind}",
        "dcache-off": f"; with M=1 and C=0 Normal memory is {kind}, for data and for table walks",
        "data-device": f"; {regime} translates, but maps what it copies as {kind} (MAIR index mismatch?)",
        "data-noncacheable": f"; {regime} translates with its D-cache on, but maps what it copies as {kind}",
    }
    return f"{head}{tails[what]}."


def _cached_sentence(a: Run, at: CopySite, b: Run, bt: CopySite, ratio: float) -> str:
    return (
        f"B is {pace(ratio)} because its copy ran at {_level(b, bt)} with {control_bits(b, bt.epoch)} in that level's "
        f"own regime, so that its data went through the caches; A's copy at {_level(a, at)} had "
        f"{control_bits(a, at.epoch)}."
    )


def _by_leaf(a: Run, b: Run, ratio: float) -> Verdict:
    """Name the cause whose leaves of the cycle stack differ most, in favour of whoever is faster."""

    def gained(cause: str) -> float:
        leaves = _LEAF_CAUSES[cause]
        return sum(run_sign * run.seconds_of(leaf) for run, run_sign in ((a, 1), (b, -1)) for leaf in leaves)

    cause = (max if ratio > 1 else min)(_LEAF_CAUSES, key=gained)
    named = limit(a if ratio > 1 else b)
    said = (
        f"B is {pace(ratio)}: most of the difference lies in {_LEAF_WORDS[cause]} ({', '.join(_LEAF_CAUSES[cause])})."
    )
    return Verdict(cause=named if cause == "data-device" and named in UNCACHED else cause, sentence=said)


def _no_copy(a: Run, b: Run) -> str:
    if b.site is not None:
        return "A copies nothing, so there is no copy to compare B's with."
    went = "goes straight to the new kernel" if b.entry else "ends"
    who = "Neither copies anything" if a.site is None else "B copies nothing"
    return f"{who}: B {went} after {b.instructions} instructions."


def _never_arrive(a: Run, b: Run) -> str:
    """Say which of the two never reach the new kernel, why, and what the other one does."""
    lost = {which: run for which, run in (("B", b), ("A", a)) if run.outcome in _UNFINISHED}
    if len(lost) == 2:
        of_b, of_a = _ended(b), _ended(a)
        of_a = "for the same reason" if (a.outcome, of_a) == (b.outcome, of_b) else of_a
        return f"Neither reaches the new kernel: B ({b.outcome}) {of_b}; A ({a.outcome}) {of_a}."
    ((which, run),) = lost.items()
    other, arrived = ("A", a) if which == "B" else ("B", b)
    return (
        f"{which} never reaches the new kernel ({run.outcome}): {_ended(run)}. {other} arrives, "
        f"in {arrived.seconds:.4g} s: there is no speed-up to speak of."
    )


def _ended(run: Run) -> str:
    """Say where and why a run ended that did not arrive."""
    fault: Mapping[str, Any] = run.fault or {}
    if not fault:
        return f"ends after {run.instructions:,} instructions"
    where = place(run.trace, int(str(fault.get("elr", "0")), 0))
    reason = str(fault.get("reason", "an exception that nothing handles")).rstrip(".")
    said = f"at EL{fault.get('el')}, {where}: {reason}"
    if xn_fault(run.trace) is not None:
        said += (
            "; bit 54 of the code's leaf, meant as UXN, is XN in the EL2 regime, so the first fetch after the MMU is "
            "turned on aborts"
        )
    return said
