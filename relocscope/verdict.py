"""The verdict: one cause and one sentence, from what two runs did. No name, label or routine text is looked at here.

Where the regimes of the copies do not settle it, the largest contribution does (relocscope.contributions): tests change
one thing at a time on several cores, and the largest Shapley value is what was changed, where leaves of the cycle stack
mislead (a store buffer fills for many reasons).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emu.fields import fields
from relocscope import phases
from relocscope.contributions import Decomposition, attribute
from relocscope.focus import COPY, MOST, SAME_WITHIN, Focus, differing, focus_of, spent
from relocscope.hazards.translation import xn_fault
from relocscope.limits import (
    NONCACHEABLE,
    UNCACHED_TYPES,
    UNFINISHED,
    past_caches,
    share,
    translated_elsewhere,
    unfinished,
)
from relocscope.regimes import place, regime_name, register
from relocscope.runs import Run
from traces.fold import fetch_types, labelled
from traces.lines import LINE_BYTES

_MISMAPPED = ("data-device", "data-noncacheable")
"""Limits under which MMU and D-cache are on all the same."""

_UNCACHED_FETCHES = 0.01
"""More than this share of the instructions, fetched past the I-cache, can be what fetching costs."""

_WORDS: Mapping[str, str] = {
    "fetch": "instruction fetch",
    "memory_type": "what goes past the caches (memory_type)",
    "hierarchy": "waiting for caches and memory (hierarchy)",
    "dram": "waiting for memory (dram)",
    "translation": "TLB misses and table walks (translation)",
    "maintenance": "cache and TLB maintenance, barriers and exceptions (maintenance)",
    "instructions": "the instructions themselves",
}
"""What each group of mechanisms is (relocscope mechanisms)."""

_CAUSES: Mapping[str, str] = {
    "hierarchy": "dram-bound",
    "dram": "dram-bound",
    "maintenance": "maintenance-bound",
    "instructions": "instructions",
}
"""Causes of groups that need no look at memory types."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Why B is faster than A, or why it is not."""

    cause: str
    sentence: str


def judge(a: Run, b: Run, attributed: Callable[[], Decomposition] | None = None) -> Verdict:
    """Say why B is as fast as it is beside A. `attributed` decomposes the difference, if that has to be asked for."""
    lost = [run for run in (b, a) if run.outcome in UNFINISHED]
    if lost:
        return Verdict(cause=unfinished(lost[0]), sentence=_never_arrive(a, b))
    if a.site is None or b.site is None:
        return Verdict(cause="no-copy", sentence=_no_copy(a, b))
    name = differing(a, b)
    at, bt = focus_of(a, name), focus_of(b, name)
    if at is None or bt is None:
        return Verdict(cause="instructions", sentence=_one_sided(a, b, name))
    settled = _by_limit(a, at, b, bt) or _by_amount(a, b)
    return settled or _by_mechanism(a, at, b, bt, attributed() if attributed else attribute(a, b))


def _by_limit(a: Run, at: Focus, b: Run, bt: Focus) -> Verdict | None:
    """Say what regimes and memory types settle; None where both go through the caches, or neither, for one reason."""
    of_a, of_b = past_caches(a, at), past_caches(b, bt)
    ratio = a.seconds / b.seconds if b.seconds else 1.0
    same, faster = abs(ratio - 1) <= SAME_WITHIN, ratio > 1 + SAME_WITHIN
    if of_b and of_b != of_a and (of_a or not faster):
        return Verdict(cause=of_b, sentence=f"B is {_at_most(ratio)}: its {_held_back(b, bt, of_b)}.")
    if same:
        return Verdict(cause="no-difference", sentence=f"No difference: {_alike(a, at, b, bt)}.")
    if of_b or not of_a or not faster:
        return None
    if of_a in _MISMAPPED:
        return Verdict(cause=of_a, sentence=f"B is {pace(ratio)}: A's {_held_back(a, at, of_a)}.")
    return Verdict(cause="mmu-and-dcache-on", sentence=_cached_sentence(a, at, b, bt, ratio))


def _by_amount(a: Run, b: Run) -> Verdict | None:
    """Say that one side copies more, or has the faster clock; None where neither is so."""
    if (a.cycles > b.cycles) != (a.seconds > b.seconds):
        clocks = [run.costs.frequency_hz / 1e6 for run in (b, a)]
        said = f"its core runs at {clocks[0]:.0f} MHz, A's at {clocks[1]:.0f} MHz; in cycles it is the other way round"
        return Verdict(cause="instructions", sentence=f"B is {pace(a.seconds / b.seconds)}: {said}.")
    copied = [0 if run.site is None else run.site.stored_bytes for run in (a, b)]
    if abs(copied[1] / copied[0] - 1) > SAME_WITHIN:
        paces = [1e9 * run.seconds / (size / LINE_BYTES) for run, size in zip((a, b), copied, strict=True)]
        said = (
            f"it copies {copied[1]:,} bytes, A {copied[0]:,}; per 64 bytes it takes {paces[1]:.3g} ns, A {paces[0]:.3g}"
        )
        return Verdict(cause="instructions", sentence=f"B is {pace(a.seconds / b.seconds)}: {said} ns.")
    return None


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


def _most(counts: Mapping[str, int]) -> str:
    return max(counts, key=lambda name: counts[name])


def _ran(run: Run, focus: Focus) -> str:
    return f"EL{run.trace.epochs[focus.epoch]['el']} with {control_bits(run, focus.epoch)}"


def _at_most(ratio: float) -> str:
    """Write the pace of a run that is held back: where it is faster all the same, it is no more than that."""
    return f"{pace(ratio)}, and no more" if ratio > 1 + SAME_WITHIN else pace(ratio)


def _alike(a: Run, at: Focus, b: Run, bt: Focus) -> str:
    for name in {str(phase["name"]) for phase in b.phases} - phases.USUAL:
        shares = [spent(run, name) / run.seconds for run in (a, b)]
        if min(shares) > MOST:
            return f"both spent {min(shares):.0%} of their time or more in the {name}"
    one, other = _ran(a, at), _ran(b, bt)
    did = "copied" if at.name == COPY else f"ran their {at.name}"
    return f"both {did} at {one}" if one == other else f"A {did} at {one}, B at {other}, and both took the same time"


def _held_back(run: Run, focus: Focus, what: str) -> str:
    """Say at which level and under which bits it ran, and what that made of its data."""
    level = f"EL{run.trace.epochs[focus.epoch]['el']}"
    head = f"{focus.name} ran at {_ran(run, focus)}"
    kind = _most(focus.data)
    if what == "copy-outside-translated-regime":
        other = translated_elsewhere(run)[0].epoch
        return (
            f"{head}, while translation and D-cache were on in the {regime_name(run.trace, other)} regime only "
            f"({control_bits(run, other)}), which governs nothing at {level}; its loads and stores were {kind}"
        )
    regime = regime_name(run.trace, focus.epoch)
    code = ", and its own code," if share(focus.fetch, NONCACHEABLE) > MOST else ""
    tails = {
        "mmu-off": f"; with translation off its loads and stores are {kind}",
        "dcache-off": f"; with M=1 and C=0 Normal memory is {kind}, for data and for table walks",
        "data-device": f"; {regime} translates, but maps what it copies as {kind} (MAIR index mismatch?)",
        "data-noncacheable": f"; {regime} translates with its D-cache on, but maps what it copies{code} as {kind}",
    }
    return head + tails[what]


def _cached_sentence(a: Run, at: Focus, b: Run, bt: Focus, ratio: float) -> str:
    return (
        f"B is {pace(ratio)} because its {bt.name} ran at {_ran(b, bt)} in that level's own regime, so that its data "
        f"went through the caches; A's {at.name} at EL{a.trace.epochs[at.epoch]['el']} had "
        f"{control_bits(a, at.epoch)}."
    )


def _one_sided(a: Run, b: Run, name: str) -> str:
    """Say that most of the difference is a phase that one side does not go through."""
    which, other, run = ("A", "B", a) if spent(a, name) else ("B", "A", b)
    share = spent(run, name) / abs(a.seconds - b.seconds)
    return (
        f"B is {pace(a.seconds / b.seconds)}: {_portion(share)} is {which}'s {name} ({spent(run, name):.4g} s), "
        f"which {other} does not have."
    )


def _portion(share: float) -> str:
    """Write which part of a difference something is; more than all of it where something else makes up for that."""
    if share > MOST:
        return f"{share:.0%} of the difference" if share < 0.995 else "all of the difference"
    return f"the largest part of the difference, {share:.0%},"


def _by_mechanism(a: Run, at: Focus, b: Run, bt: Focus, found: Decomposition) -> Verdict:
    """Name the group that contributes most to the difference, in favour of whoever is faster."""
    sign = 1 if a.cycles > b.cycles else -1
    largest = max(found.contributions, key=lambda one: sign * one.cycles)
    cause, words = _named(largest.mechanism, *(("A", a, at, bt) if sign > 0 else ("B", b, bt, at)))
    within = "" if at.name == COPY else f", in the {at.name},"
    said = f"B is {pace(a.seconds / b.seconds)}: {_portion(largest.share or 0.0)}{within} lies in {words}"
    return Verdict(cause=cause, sentence=f"{said}.")


def _named(group: str, which: str, slower: Run, focus: Focus, other: Focus) -> tuple[str, str]:
    """Return the cause that a group is, by the memory types of the slower run, and what to say of it."""
    words, held = _WORDS[group], past_caches(slower, focus)
    if group == "memory_type" or (group == "hierarchy" and held):
        kind = _most({kind: count for kind, count in focus.data.items() if kind in UNCACHED_TYPES})
        mapped = "data-noncacheable" if kind == NONCACHEABLE else "data-device"
        return held or mapped, f"{words}; {which}'s loads and stores are {kind}"
    if group == "fetch":
        uncached = share(labelled(fetch_types(slower.trace)), *UNCACHED_TYPES) > _UNCACHED_FETCHES
        return (
            ("fetch-uncached", f"{words} past the I-cache") if uncached else ("instructions", f"{words} and branches")
        )
    if group == "translation":
        if share(focus.walk, *UNCACHED_TYPES) <= MOST or share(other.walk, *UNCACHED_TYPES) > MOST:
            return "tlb-bound", words
        tcr = register(slower.trace, focus.epoch, "TCR")
        return "walks-noncacheable", f"{words}; {which}'s walks are {_most(focus.walk)}: {tcr}"
    return _CAUSES[group], words


def _no_copy(a: Run, b: Run) -> str:
    if b.site is not None:
        return "A copies nothing, so there is no copy to compare B's with."
    went = "goes straight to the new kernel" if b.entry else "ends"
    who = "Neither copies anything" if a.site is None else "B copies nothing"
    return f"{who}: B {went} after {b.instructions} instructions."


def _never_arrive(a: Run, b: Run) -> str:
    """Say which of the two never reach the new kernel, why, and what the other one does."""
    lost = {which: run for which, run in (("B", b), ("A", a)) if run.outcome in UNFINISHED}
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
