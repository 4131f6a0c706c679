"""Which translation regimes were in force when, read from a run's epochs; and registers by field name."""

from dataclasses import dataclass

import numpy as np

from emu.fields import attribute_type, fields
from traces.fold import CopySite, stretches
from traces.trace import Trace

_MSR_SCTLR_EL1 = 0xD518_1000
"""`msr sctlr_el1, x0`; the register number is in bits 4:0."""

_SHOWN = {
    "SCTLR": ("M", "C", "I", "A", "WXN"),
    "TCR": ("T0SZ", "TG0", "SH0", "ORGN0", "IRGN0"),
    "HCR": ("E2H", "TGE", "VM", "DC", "RW"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class InForce:
    """The regime of one exception level as its own code last left it."""

    el: int
    epoch: int
    """Row of the epoch."""
    last: int
    """Last execution under it."""


def regime_name(trace: Trace, epoch: int) -> str:
    """Return Arm's name of the regime of an epoch: EL1&0, EL2 or EL2&0."""
    row = trace.epochs[epoch]
    if row["el"] <= 1:
        return "EL1&0"
    return f"EL{row['el']}&0" if row["e2h"] else f"EL{row['el']}"


def regime_switches(trace: Trace, epoch: int) -> str:
    """Return the same with what is on: `EL2 M=0 C=0 I=0`."""
    row = trace.epochs[epoch]
    return f"{regime_name(trace, epoch)} M={row['stage1']} C={row['dcache']} I={row['icache']}"


def elsewhere(trace: Trace, site: CopySite) -> list[InForce]:
    """Find the regimes of the *other* exception levels that were in force while the copy ran, lowest level first.

    A level's system registers keep what its own code wrote last. SCTLR_EL1 written from EL2 since then makes the EL1
    regime unknown, and it is left out.
    """
    here = int(trace.epochs[site.epoch]["el"])
    began = [first for epoch, first, end in stretches(trace) if epoch == site.epoch and end > site.first]
    latest: dict[int, InForce] = {}
    written: list[int] = []
    for epoch, first, end in stretches(trace, 0, max(began[0], site.first) + 1):
        el = int(trace.epochs[epoch]["el"])
        latest[el] = InForce(el=el, epoch=epoch, last=end - 1)
        if el > 1 and _writes_sctlr_el1(trace, first, end) and not trace.epochs[epoch]["e2h"]:
            written.append(end - 1)
    found = [state for el, state in sorted(latest.items()) if el != here]
    return [state for state in found if state.el != 1 or not any(at > state.last for at in written)]


def _writes_sctlr_el1(trace: Trace, first: int, end: int) -> bool:
    blocks = trace.blocks[np.unique(trace.executions[first:end])]
    return any(
        bool(
            (
                (trace.insns["word"][b["first"] : int(b["first"]) + int(b["count"])] & ~np.uint32(31)) == _MSR_SCTLR_EL1
            ).any()
        )
        for b in blocks
    )


def register(trace: Trace, epoch: int, kind: str) -> str:
    """Write a register of an epoch's regime: name, value, fields that matter (`SCTLR_EL2 = 0x30c50830 (M=0 ...)`).

    Of MAIR those attributes that are not zero, each with its memory type.
    """
    row = trace.epochs[epoch]
    level = 2 if kind == "HCR" else max(int(row["el"]), 1)
    name, value = f"{kind}_EL{level}", int(row[kind.lower()])
    if kind == "MAIR":
        used = {attr: byte for place, (attr, byte) in enumerate(fields(name, value).items()) if value >> 8 * place}
        words = " ".join(f"{attr}={attribute_type(byte).label}" for attr, byte in used.items())
        return f"{name} = {value:#x} ({words})" if words else f"{name} = {value:#x}"
    shown = _SHOWN.get(kind)
    if shown is None:
        return f"{name} = {value:#x}"
    decoded = fields(name, value, e2h=bool(row["e2h"]))
    words = " ".join(f"{field}={decoded[field]}" for field in shown if field in decoded)
    return f"{name} = {value:#x} ({words})"


def place(trace: Trace, va: int) -> str:
    """Write an address, with the symbol that it lies behind where the run knows one."""
    named = symbol(trace, va)
    return f"{va:#x} ({named})" if named else f"{va:#x}"


def symbol(trace: Trace, va: int) -> str:
    """Return symbol+offset of an address, or nothing where the run knows no symbol near it."""
    symbols = {str(name): int(at) for name, at in dict(trace.meta.get("symbols", {})).items()}
    symbols = {name: at for name, at in symbols.items() if not name.startswith(".L")}  # the assembler's own
    below = [(at, name) for name, at in symbols.items() if 0 <= va - at < 4096]
    if not below:
        return ""
    at, name = max(below)
    return f"{name}+{va - at:#x}" if va != at else name
