"""Translation: executable where it must be, within reach, of the right type, one at a time, changed by the rules."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from emu.spans import Span, merge
from relocscope.hazards.registry import Finding
from relocscope.hazards.subject import Subject, inside, overlap
from relocscope.regimes import place, regime_name, register
from traces.lines import Deed
from traces.schema import EpochCause, Maintenance, MemoryType, Role
from traces.trace import Records, Trace

INSTRUCTION_ABORT_SAME_EL = 0x21
_ABORTS = (0x20, 0x21, 0x24, 0x25)
_TRANSLATION_FAULT, _PERMISSION_FAULT = 0b0001, 0b0011
_WXN = 1 << 19
_NEEDED = (Role.CODE, Role.LIST, Role.KIMAGE, Role.ARGUMENT, Role.SOURCE, Role.DESTINATION)
_TLB_ALL = tuple(kind for kind in Maintenance if kind.name.startswith("TLBI"))


def findings(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with tables and with the registers that name them."""
    yield from _xn_at_el2(subject)
    yield from _idmap(subject)
    yield from _mair(subject)
    yield from _break_before_make(subject)
    yield from _mismatched(subject)


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


def _xn_at_el2(subject: Subject) -> Iterator[Finding]:
    fault = xn_fault(subject.trace)
    if fault is not None:
        yield Finding(
            id="xn-at-el2",
            where=place(subject.trace, int(fault.get("elr", 0))),
            evidence=f"ESR_EL2 = {int(fault.get('esr', 0)):#x}: instruction abort from EL2, permission fault at level "
            f"{int(fault.get('iss', 0)) & 3}",
        )


def _reach(epoch: np.void) -> int:
    """Return the first address that TTBR0 cannot translate."""
    return 1 << (64 - int(epoch["tcr"]) % 64)


def _idmap(subject: Subject) -> Iterator[Finding]:
    """Look at the tables, and at an abort that may have come before any table was walked."""
    trace = subject.trace
    for row in trace.mappings[trace.mappings["ttbr"] == 0]:
        reach = _reach(trace.epochs[int(row["epoch"])])
        if int(row["pa"]) >= reach and int(row["va"]) == int(row["pa"]) % reach:
            yield Finding(
                id="idmap-out-of-reach",
                where=str(Span(int(row["pa"]), int(row["size"]))),
                evidence=f"mapped at va {int(row['va']):#x}, not at its own address: "
                f"{register(trace, int(row['epoch']), 'TCR')} reaches up to {reach - 1:#x}",
            )
            return
    yield from _beyond_reach(subject)


def _beyond_reach(subject: Subject) -> Iterator[Finding]:
    """Look at an abort in RAM that TTBR0 has no bits for, or its tables none: those are of the kernel's VA size."""
    trace = subject.trace
    fault = trace.meta.get("fault")
    if not fault or int(fault.get("ec", 0)) not in _ABORTS or int(fault["iss"]) >> 2 & 0xF != _TRANSLATION_FAULT:
        return
    far = int(fault.get("far", 0))
    for epoch in np.flatnonzero(trace.epochs["stage1"] == 1).tolist() if _is(subject, far, Role.RAM) else ():
        row = trace.epochs[epoch]
        two_ranges = row["el"] < 2 or row["e2h"]
        kernel_bits = 64 - (int(row["tcr"]) >> 16 & 63) if two_ranges else 64
        if far >= min(_reach(row), 1 << kernel_bits):
            why = "" if far >= _reach(row) else f", but tables of the kernel's {kernel_bits} bits do not"
            yield Finding(
                id="idmap-out-of-reach",
                where=place(trace, int(fault.get("elr", 0))),
                evidence=f"{far:#x} is RAM, and faults in translation: {register(trace, epoch, 'TCR')} reaches up to "
                f"{_reach(row) - 1:#x}{why}",
            )
            return


def _is(subject: Subject, pa: int, *roles: Role) -> bool:
    return bool(inside(np.array([pa], np.uint64), subject.spans(*roles))[0])


def _mair(subject: Subject) -> Iterator[Finding]:
    mappings = subject.trace.mappings
    device = mappings[mappings["memory_type"] <= MemoryType.DEVICE_GRE]
    if not len(device) or not len(subject.ranges(Role.RAM)):
        return
    needed = overlap(subject.spans(*_NEEDED), subject.usable)
    for row in device:
        hit = overlap((Span(int(row["pa"]), int(row["size"])),), needed)
        if hit:
            epoch, index = int(row["epoch"]), int(row["attr_index"])
            yield Finding(
                id="mair-index-mismatch",
                where=str(hit[0]),
                evidence=f"AttrIndx {index} at va {int(row['va']):#x} is "
                f"{MemoryType(int(row['memory_type'])).label} by {register(subject.trace, epoch, 'MAIR')}",
            )
            return


def _break_before_make(subject: Subject) -> Iterator[Finding]:
    """Follow what a TLB may hold: everything that was mapped since the regime's last TLBI.

    A TLBI of any extent is taken to reach everything: what is found has had none at all.
    """
    trace = subject.trace
    held: dict[tuple[bool, bool], list[int]] = {}
    invalidates = np.isin(trace.insns["maintenance"], _TLB_ALL)
    clears = [invalidates[int(b["first"]) : int(b["first"]) + int(b["count"])].any() for b in trace.blocks]
    for epoch, first, end in subject.epochs_run:
        row = trace.epochs[epoch]
        regime = (bool(row["el"] >= 2), bool(row["e2h"]))
        space = subject.tables_of(epoch) if row["stage1"] else None
        before = held.setdefault(regime, [])
        if space is not None and space not in before:
            for other in before:
                conflict = _conflict(_rows(trace, other), _rows(trace, space))
                if conflict is not None:
                    yield _unbroken(subject, epoch, first, *conflict)
                    return
            before.append(space)
        if any(clears[block] for block in np.unique(trace.executions[first:end]).tolist()):
            for key in held:  # one at EL2 may be for EL1
                if key == regime or row["el"] >= 2:
                    held[key] = [space] if space is not None and key == regime else []


def _rows(trace: Trace, epoch: int) -> Records:
    rows: Records = trace.mappings[trace.mappings["epoch"] == epoch]
    return rows[np.argsort(rows["va"])]


_BREAKING = ("memory_type", "shareability", "leaf_log2", "is_global")


def _conflict(held: Records, made: Records) -> tuple[np.void, np.void] | None:
    """Return the first two rows that map one VA in ways that must not follow each other."""
    at = 0
    for row in made:
        while at < len(held) and int(held[at]["va"]) + int(held[at]["size"]) <= int(row["va"]):
            at += 1
        place = at
        while place < len(held) and int(held[place]["va"]) < int(row["va"]) + int(row["size"]):
            other = held[place]
            moved = int(other["pa"]) - int(other["va"]) != int(row["pa"]) - int(row["va"])
            if moved or any(other[name] != row[name] for name in _BREAKING):
                return other, row
            place += 1
    return None


def _unbroken(subject: Subject, epoch: int, first: int, held: np.void, made: np.void) -> Finding:
    trace = subject.trace
    va = max(int(held["va"]), int(made["va"]))
    caused = EpochCause(int(trace.epochs[epoch]["cause"])).name.lower().replace("_", " ")
    pa_held, pa_made = (int(row["pa"]) + va - int(row["va"]) for row in (held, made))
    return Finding(
        id="break-before-make",
        where=place(trace, int(trace.blocks[trace.executions[first]]["va"])),
        evidence=f"va {va:#x} of {regime_name(trace, epoch)}: {_words(held, pa_held)}, then by {caused} "
        f"{_words(made, pa_made)}, with no TLBI between",
    )


def _words(row: np.void, pa: int) -> str:
    return f"pa {pa:#x} {MemoryType(int(row['memory_type'])).label} in {1 << int(row['leaf_log2']):#x} bytes"


def _mismatched(subject: Subject) -> Iterator[Finding]:
    lines = subject.lines
    mixed = lines.did(Deed.MIXED)
    if mixed.any():
        yield Finding(
            id="mismatched-attributes",
            where=place(subject.trace, int(subject.trace.insns[lines.insns[Deed.MIXED]]["va"])),
            evidence=f"{int(mixed.sum())} lines of the image were stored through the caches and then past them, with "
            f"no clean between, first at pa {int(lines.lines(mixed)[0]):#x}",
        )
        return
    for epoch in np.unique(subject.trace.mappings["epoch"]).tolist():
        found = _aliases(_rows(subject.trace, epoch))
        if found is not None:
            pa, one, other = found
            yield Finding(
                id="mismatched-attributes",
                where=f"{pa:#x}",
                evidence=f"{regime_name(subject.trace, epoch)} maps it as {_alias(one)} and as {_alias(other)}",
            )
            return


def _alias(row: np.void) -> str:
    kind = MemoryType(int(row["memory_type"]))
    sharing = f" SH={int(row['shareability'])}" if kind > MemoryType.NORMAL_NC else ""
    return f"{kind.label}{sharing} at va {int(row['va']):#x}"


def _aliases(rows: Records) -> tuple[int, np.void, np.void] | None:
    """Find a PA with two types, or two shareabilities where it is cacheable: (PA, one row, other row)."""
    cacheable = rows["memory_type"] > MemoryType.NORMAL_NC
    kinds = rows["memory_type"].astype(np.int64) * 4 + np.where(cacheable, rows["shareability"], 0)
    if len(np.unique(kinds)) < 2:
        return None
    groups = {
        kind: merge(Span(int(row["pa"]), int(row["size"])) for row in rows[kinds == kind])
        for kind in np.unique(kinds).tolist()
    }
    listed = sorted(groups)
    for index, kind in enumerate(listed):
        for other in listed[index + 1 :]:
            shared = overlap(groups[kind], groups[other])
            if shared:
                pa = shared[0].pa
                return pa, _covering(rows[kinds == kind], pa), _covering(rows[kinds == other], pa)
    return None


def _covering(rows: Records, pa: int) -> np.void:
    inside_row = (rows["pa"] <= pa) & (np.uint64(pa) - rows["pa"] < rows["size"])
    row: np.void = rows[np.argmax(inside_row)]
    return row
