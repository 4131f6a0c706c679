"""Hazards that a run itself shows: what would go wrong on hardware, found from what was executed and what it left."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from relocscope.regimes import elsewhere, place, regime_name, register
from traces.fold import CopySite
from traces.lines import stored_and_uncleaned
from traces.schema import Maintenance, Role
from traces.trace import Records, Trace

if TYPE_CHECKING:
    from traces.outcome import Outcome

SET_WAY = (Maintenance.DC_ISW, Maintenance.DC_CSW, Maintenance.DC_CISW)
TO_POC = (Maintenance.DC_CVAC, Maintenance.DC_CIVAC, Maintenance.DC_CVAP)

INSTRUCTION_ABORT_SAME_EL = 0x21
_PERMISSION_FAULT = 0b0011
_WXN = 1 << 19


def hazards(trace: Trace, costs: "Outcome", site: CopySite | None) -> Iterator[dict[str, Any]]:
    """Yield each hazard that this run raises: {id, severity, title, where, evidence}, worst first."""
    yield from _xn_at_el2(trace)
    yield from _left_in_caches(trace, costs, site)
    yield from _copy_level(trace, site)
    yield from _set_way(trace)
    yield from _point_of_unification(trace, costs)
    yield from _entry_level(trace)


def _hazard(name: str, severity: str, title: str, where: str, evidence: str) -> dict[str, Any]:
    return {"id": name, "severity": severity, "title": title, "where": where, "evidence": evidence}


def xn_fault(trace: Trace) -> dict[str, Any] | None:
    """Return the first fault if it is a fetch that EL2 without E2H refused for want of permission, with WXN clear.

    There bit 54 of a leaf is XN, whatever the kernel meant by UXN (Arm ARM D8.4; bit 53 is ignored).
    """
    fault = trace.meta.get("fault")
    if not fault or int(fault.get("ec", 0)) != INSTRUCTION_ABORT_SAME_EL or int(fault.get("el", 0)) != 2:
        return None
    permission = (int(fault.get("iss", 0)) >> 2) & 0b1111 == _PERMISSION_FAULT
    epochs = trace.epochs[trace.epochs["el"] == 2]
    if not permission or not len(epochs) or epochs[-1]["e2h"] or int(epochs[-1]["sctlr"]) & _WXN:
        return None
    return dict(fault)


def _xn_at_el2(trace: Trace) -> Iterator[dict[str, Any]]:
    fault = xn_fault(trace)
    if fault is not None:
        yield _hazard(
            "xn-at-el2",
            "error",
            "code mapped with bit 54 set cannot be executed at EL2: where E2H is 0, UXN is XN",
            place(trace, int(fault.get("elr", 0))),
            f"ESR_EL2 = {int(fault.get('esr', 0)):#x}: instruction abort from EL2, permission fault at level "
            f"{int(fault.get('iss', 0)) & 3}",
        )


def _inside(lines: Any, ranges: Records) -> int:
    found = np.zeros(len(lines), np.bool_)
    for row in ranges:
        found |= (lines >= row["pa"]) & (lines - row["pa"] < row["size"])
    return int(found.sum())


def _left_in_caches(trace: Trace, costs: "Outcome", site: CopySite | None) -> Iterator[dict[str, Any]]:
    """Look at what the run cleaned as well as at what the model's caches hold: what a cache evicts in time is luck."""
    image = trace.ranges[trace.ranges["role"] == Role.DESTINATION]
    entry = trace.meta.get("entry")
    dirty, lost = _inside(costs.dirty_lines, image), _inside(costs.lost_lines, image)
    if lost:
        yield _hazard(
            "invalidate-lost-dirty",
            "error",
            "lines of the image lost their newest data: invalidated while dirty, or overwritten by an older dirty line",
            f"{lost} lines",
            f"first at pa {int(costs.lost_lines[0]):#x}",
        )
    if not entry or entry.get("mmu") or site is None:
        return
    stored, uncleaned = stored_and_uncleaned(trace, image, TO_POC)
    if dirty or len(uncleaned):
        yield _hazard(
            "dirty-at-entry",
            "error",
            "the new kernel starts uncached while lines of its image may be only in caches",
            place(trace, int(trace.insns[site.insn]["va"])),
            f"{len(uncleaned)} of {len(stored)} lines stored through the caches were not cleaned by address to the PoC "
            f"afterwards; the model still holds {dirty} lines dirty at entry",
        )


def _copy_level(trace: Trace, site: CopySite | None) -> Iterator[dict[str, Any]]:
    if site is None or trace.epochs[site.epoch]["stage1"]:
        return
    for state in elsewhere(trace, site):
        if trace.epochs[state.epoch]["stage1"]:
            yield _hazard(
                "copy-el-differs",
                "warning",
                "the copy runs at another exception level than the one whose translation is on",
                place(trace, int(trace.insns[site.insn]["va"])),
                f"{register(trace, site.epoch, 'SCTLR')} governs it; {regime_name(trace, state.epoch)} has "
                f"{register(trace, state.epoch, 'SCTLR')}",
            )


def _executed(trace: Trace, kinds: tuple[Maintenance, ...]) -> Records:
    """Return the distinct instructions of these kinds in blocks that ran."""
    ran = np.zeros(len(trace.blocks), np.bool_)
    ran[trace.executions] = True
    rows = [np.arange(b["first"], int(b["first"]) + int(b["count"])) for b in trace.blocks[ran]]
    insns = trace.insns[np.concatenate(rows)] if rows else trace.insns[:0]
    return insns[np.isin(insns["maintenance"], kinds)]


def _set_way(trace: Trace) -> Iterator[dict[str, Any]]:
    found = _executed(trace, SET_WAY)
    if len(found):
        yield _hazard(
            "set-way-maintenance",
            "warning",
            "maintenance by set and way reaches this core's own level only, and no system cache",
            place(trace, int(found[0]["va"])),
            f"{len(found)} instructions use it (Mark Rutland's review of RFC v2, 31 July 2019)",
        )


def _point_of_unification(trace: Trace, costs: "Outcome") -> Iterator[dict[str, Any]]:
    to_pou = _executed(trace, (Maintenance.DC_CVAU,))
    if len(to_pou) and not len(_executed(trace, TO_POC)):
        yield _hazard(
            "clean-to-pou-only",
            "warning",
            "the image is cleaned to the PoU; an uncached reader needs the PoC",
            place(trace, int(to_pou[0]["va"])),
            f"{len(costs.dirty_lines)} lines are dirty at the end",
        )


def _entry_level(trace: Trace) -> Iterator[dict[str, Any]]:
    entry = trace.meta.get("entry")
    if entry and trace.meta.get("boot") in ("nvhe", "vhe") and int(entry.get("el", 2)) < 2:
        yield _hazard(
            "entry-el-differs",
            "warning",
            "the machine booted at EL2 and the new kernel is entered below it: it has no hypervisor any more",
            place(trace, int(entry.get("pc", 0))),
            f"entered at EL{int(entry['el'])}",
        )
