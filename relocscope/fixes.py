"""Fixes: the smallest changes of a case that would alter the verdict, each found by running the changed case."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from relocscope.case import KEYS, Case
from relocscope.focus import SAME_WITHIN
from relocscope.operand import Operand, with_settings
from relocscope.runs import Run, run_operand
from relocscope.verdict import pace
from traces.errors import InputError

SCREEN_BYTES = 1 << 20
"""Size at which every candidate is tried; those that help are run again at the case's own size."""

KEPT = 3
"""Fixes reported: the best ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    """One change, the speed-up over the unchanged run that its own run gave, and what to make of it.

    `speedup` is None where the unchanged run never arrives: its time means nothing.
    """

    set: Mapping[str, Any]
    speedup: float | None
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A change worth trying, and what it is in words."""

    set: Mapping[str, Any]
    words: str


_AT_EL2 = {
    "kernel": "",
    "routine.relocate": "relocate-rfc-v2",
    "routine.soft_restart": "soft-restart-v4.19",
    "routine.hyp_stub": "hyp-stub-v4.19",
    "routine.kexec_vectors": "",
    "map.tables": "rfc-v2",
    "map.mair": "0xbbff440c0400",
    "map.clear_xn": True,
}
"""RFC v2's way: TTBR0, MAIR, TCR and SCTLR of the level that it runs at, with code that EL2 may execute."""

_MERGED = {
    "kernel": "",
    "routine.relocate": "relocate-v5.17",
    "routine.soft_restart": "",
    "map.tables": "merged",
    "map.mair": "0x40044ffff",
}


_OWN_MAIR = {"rfc-v1": "0xbbff440c0400", "rfc-v2": "0xbbff440c0400", "window": "0x40044ffff", "merged": "0x40044ffff"}
"""The MAIR that the leaves of each style of tables index."""


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield single changes of that case: one switch, one register bit, or one routine with the tables that it needs."""
    if case.boot == "nvhe" and case.el2_switch:
        yield Candidate(set={"el2_switch": False}, words="copy at EL1 (no hvc to EL2 before the copy)")
    if case.tables != "rfc-v2" or not case.clear_xn:
        level = "EL1" if case.boot == "el1" or not case.el2_switch else "EL2"
        if case.tables == "rfc-v2":
            yield Candidate(set={"map.clear_xn": True}, words="clear bit 54 (XN) in the leaf of the code page")
        else:
            yield Candidate(
                set=_AT_EL2, words=f"translate at {level}, with that level's own table, MAIR, TCR and SCTLR"
            )
    if case.tables != "merged":
        vectors = {"nvhe": ("hyp-stub-v5.17", "kexec-vectors-v5.17"), "vhe": ("hyp-stub-v5.17", ""), "el1": ("", "")}
        stub, copied = vectors[case.boot]
        back = " and go back up to EL2 by hvc only to start the new kernel" if case.boot == "nvhe" else ""
        settings = {**_MERGED, "routine.hyp_stub": stub, "routine.kexec_vectors": copied, "el2_switch": True}
        yield Candidate(set=settings, words=f"copy as 5.16 and later do, in the kernel's own regime{back}")
    if case.copy_sctlr_c is not None or case.tables != "none":
        yield Candidate(set={"copy.sctlr_c": 1}, words="set SCTLR.C at the copy's level")
    yield Candidate(set={"copy.sctlr_i": 1}, words="set SCTLR.I at the copy's level")
    if (case.tcr_irgn, case.tcr_orgn) != (1, 1):
        yield Candidate(set={"map.tcr_irgn": 1, "map.tcr_orgn": 1}, words="walk the tables Write-Back (TCR.IRGN, ORGN)")
    if int(_OWN_MAIR.get(case.tables, "0"), 0) not in (0, case.mair):
        yield Candidate(set={"map.mair": _OWN_MAIR[case.tables]}, words="give MAIR the bytes that those leaves index")
    if case.tables in ("rfc-v2", "merged") and case.leaf_bytes != 2 << 20:
        yield Candidate(set={"map.leaf": "2MiB"}, words="map with 2 MiB leaves")
    if case.sources != "sequential":
        yield Candidate(set={"image.sources": "sequential"}, words="load the image into consecutive pages")


def fixes(run: Run, progress: Callable[[int, int], None] | None = None) -> list[Fix]:
    """Try every candidate on B's case; report those that make it faster, or make it arrive at all, best first.

    Where no single one helps, pairs of them are tried. None is tried on a run that arrives without having copied: there
    is nothing for them to be better at.
    """
    subject = run.operand
    if subject is None or subject.case is None or (run.outcome == "completed" and run.site is None):
        return []
    single = list(candidates(subject.case))
    helpful = _screened(run, single, progress)
    if not helpful:
        helpful = _screened(run, list(pairs(single)), progress)
    confirmed: list[tuple[float, Fix]] = []
    for done, candidate in enumerate(helpful[:KEPT]):
        after = _attempt(run, candidate.set)
        if after is not None and _helps(run, after):
            faster = run.seconds / after.seconds if run.outcome == "completed" else None
            found = Fix(set=_changes(subject, candidate.set), speedup=faster, sentence=_said(candidate, run, after))
            confirmed.append((after.seconds, found))
        if progress:
            progress(len(single) + done + 1, len(single) + KEPT)
    return [fix for _, fix in sorted(confirmed, key=lambda one: one[0])]


def pairs(single: Sequence[Candidate]) -> Iterator[Candidate]:
    """Yield every two changes that can be made together: neither sets what the other one sets."""
    for one, other in combinations(single, 2):
        if not one.set.keys() & other.set.keys():
            yield Candidate(set={**one.set, **other.set}, words=f"{one.words}; and {other.words}")


def _screened(run: Run, tried: Sequence[Candidate], progress: Callable[[int, int], None] | None) -> list[Candidate]:
    """Try candidates at a small size; return those that help, best first."""
    subject = run.operand
    if subject is None or subject.case is None:
        return []
    small = {} if subject.case.segments else {"size": min(SCREEN_BYTES, subject.case.size_bytes)}
    before = run_operand(with_settings(subject, small)) if small else run
    helpful: list[tuple[float, int]] = []
    for number, candidate in enumerate(tried):
        after = _attempt(run, {**candidate.set, **small})
        if after is not None and _helps(before, after):
            helpful.append((after.seconds, number))
        if progress:
            progress(number + 1, len(tried) + KEPT)
    return [tried[number] for _, number in sorted(helpful)]


def _attempt(run: Run, settings: Mapping[str, Any]) -> Run | None:
    """Run the changed case; None where the change makes no sense for it."""
    if run.operand is None:
        return None
    try:
        return run_operand(with_settings(run.operand, settings))
    except InputError:
        return None


def _helps(before: Run, after: Run) -> bool:
    if after.outcome != "completed":
        return False
    return before.outcome != "completed" or before.seconds / after.seconds > 1 + SAME_WITHIN


def _changes(subject: Operand | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the case has already, and what only empties a field."""
    case = subject.case if subject else None
    changed = {}
    for key, value in settings.items():
        attribute, parse, _ = KEYS[key]
        if value != "" and (case is None or getattr(case, attribute) != parse(value, key)):
            changed[key] = value
    return changed


def _said(candidate: Candidate, before: Run, after: Run) -> str:
    words = candidate.words[0].upper() + candidate.words[1:]
    if before.outcome != "completed":
        said = f"{words}: it arrives, in {after.seconds:.4g} s"
    else:
        times = before.seconds / after.seconds
        said = f"{words}: {pace(times)} (simulated: {before.seconds:.4g} s to {after.seconds:.4g} s)"
    said += _level_words(before, after)
    known = {hazard["id"] for hazard in before.hazards}
    new = [hazard["id"] for hazard in after.hazards if hazard["severity"] == "error" and hazard["id"] not in known]
    if new:
        said += f"; it then has the hazard{'s' * (len(new) > 1)} {', '.join(new)}"
    return said + "."


def _level_words(before: Run, after: Run) -> str:
    """Say where the new kernel is entered, if that is not where it was; a hang is entered nowhere."""
    if not after.entry:
        return ""
    level = int(after.entry["el"])
    if not before.entry:
        booted = 1 if before.boot == "el1" else 2
        return f", at EL{level}" + ("" if level == booted else f", though the machine booted at EL{booted}")
    was = int(before.entry["el"])
    return "" if level == was else f"; the new kernel is then entered at EL{level} instead of EL{was}"
