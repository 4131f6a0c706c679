"""Views: what there is to see where a session stands, as plain facts (dicts of numbers, texts and lists).

Registers and addresses are hex texts, as in the project's JSON. Nothing here changes a session.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from relocscope.stepping.descriptors import in_words
from relocscope.stepping.session import Session
from traces.errors import InputError
from traces.schema import Access, MemoryType, Role, Shareability

if TYPE_CHECKING:
    from emu.regime import Regime
    from emu.walker import Translation

SYSTEM_REGISTERS = ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR", "ELR", "SPSR", "ESR", "FAR")
"""Shown for EL1 and EL2, where the PE has them."""

_CODE_BEFORE, _CODE_AFTER = 8, 24

_MEANS = {
    MemoryType.DEVICE_NGNRNE: "no gathering, reordering or early acknowledgement: one round trip each",
    MemoryType.DEVICE_NGNRE: "not gathered, not reordered; stores may be acknowledged early",
    MemoryType.DEVICE_NGRE: "not gathered; may be reordered and acknowledged early",
    MemoryType.DEVICE_GRE: "may be gathered, reordered and acknowledged early, not speculated",
    MemoryType.NORMAL_NC: "past the caches; may be merged, reordered and speculated",
    MemoryType.NORMAL_WT: "through the caches; stores go on to memory",
    MemoryType.NORMAL_WB: "through the caches",
}
"""What a type lets a core do (Arm ARM B2.7)."""


def symbol(session: Session, va: int) -> str:
    """Return symbol+offset of an address, or nothing where no symbol is near."""
    named = [(at, name) for name, at in session.symbols.items() if 0 <= va - at < 4096 and not name.startswith(".L")]
    if not named:
        return ""
    at, name = max(named)
    return f"{name}+{va - at:#x}" if va != at else name


def position(session: Session) -> dict[str, Any]:
    """Say where the session stands: instruction, cycle, address, level, what comes next, what the last one cost."""
    insn, cpu = session.insn, session.machine.cpu
    return {
        "insn": session.number,
        "of": session.timeline.end,
        "cycle": session.cycles,
        "seconds": session.seconds,
        "pc": f"{cpu.pc:#x}",
        "where": symbol(session, cpu.pc),
        "el": cpu.el,
        "text": "" if insn is None else insn.text,
        "end": ending(session) if insn is None else None,
        "last_cost": _spent(session.last_bill),
        "access": next_access(session),
    }


def ending(session: Session) -> str:
    """Say in words how the run ends."""
    meta = session.trace.meta
    outcome, reason = str(meta.get("outcome", "completed")), str(meta.get("reason", ""))
    if outcome == "completed":
        return "completed: the next instruction is the new kernel's first"
    return f"{outcome}: {reason}"


def _spent(bill: Mapping[str, int]) -> dict[str, int]:
    """Leave out what cost nothing."""
    return {leaf: cycles for leaf, cycles in bill.items() if cycles}


def next_access(session: Session) -> dict[str, Any] | None:
    """Say what the next instruction does to memory, and why with that memory type; None where it does nothing."""
    from traces.expand import accesses

    place, row = session.place, session.timeline.row(session.number)
    if row is None:
        return None
    table = accesses(session.trace, place.execution, place.execution + 1)
    table = table[table["insn"] == row]
    if not len(table):
        return None
    facts = access_facts(table[0])
    if facts["memory_type"] is None:
        return {**facts, "why": "", "means": ""}
    kind = MemoryType(int(table[0]["memory_type"]))
    return {**facts, "why": _why(session, kind), "means": _MEANS[kind]}


def access_facts(one: Any) -> dict[str, Any]:
    """Say what a row of traces.expand.ACCESS is."""
    from traces.expand import NO_PA, NO_TYPE

    known = one["memory_type"] != NO_TYPE
    return {
        "kind": Access(int(one["access"])).name.lower(),
        "va": f"{int(one['va']):#x}",
        "pa": None if one["pa"] == NO_PA else f"{int(one['pa']):#x}",
        "bytes": int(one["size"]),
        "memory_type": MemoryType(int(one["memory_type"])).label if known else None,
    }


def _why(session: Session, kind: MemoryType) -> str:
    """Say which rule gives an access its memory type."""
    regime = session.regime
    level = "EL2" if regime.at_el2 else "EL1"
    if not regime.stage1:
        if regime.default_cacheable:
            return "stage 1 is off and HCR_EL2.DC = 1: data are Normal-WB"
        return f"SCTLR_{level}.M = 0: the {regime.name} regime translates nothing, and data are Device-nGnRnE" + (
            ", while SCTLR_EL1.M = 1 governs the EL1&0 regime alone"
            if regime.at_el2 and session.machine.cpu.sysreg["SCTLR_EL1"] & 1
            else ""
        )
    if not regime.dcache and kind is MemoryType.NORMAL_NC:
        return f"SCTLR_{level}.C = 0 makes Normal data Non-cacheable"
    second = ", stage 2 combined with it" if regime.stage2 else ""
    return f"by the descriptor's AttrIndx in MAIR_{level}{second}"


def registers(session: Session) -> dict[str, str]:
    """X0..X30, SP, PC and PSTATE."""
    cpu = session.machine.cpu
    values = {f"x{number}": cpu.x[number] for number in range(31)}
    return {name: f"{value:#x}" for name, value in {**values, "sp": cpu.sp, "pc": cpu.pc, "pstate": cpu.pstate}.items()}


def system_registers(session: Session, names: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Value of each system register, and its fields where Arm names them. `names`: these alone."""
    from emu.fields import attribute_type, fields

    cpu = session.machine.cpu
    shown = names or tuple(name for name in (*_both_levels(), "HCR_EL2") if name in set(cpu.sysreg))
    found: dict[str, dict[str, Any]] = {}
    for name in shown:
        value = cpu.sysreg[name]
        try:
            decoded: dict[str, Any] = dict(fields(name, value, e2h=cpu.e2h))
        except InputError:
            decoded = {}
        if name.startswith("MAIR"):
            decoded = {attr: attribute_type(byte).label for attr, byte in decoded.items()}
        found[name] = {"value": f"{value:#x}", "fields": decoded}
    return found


def _both_levels() -> Iterator[str]:
    for level in (1, 2):
        yield from (f"{name}_EL{level}" for name in SYSTEM_REGISTERS)


def regime_in_words(regime: "Regime") -> str:
    """Say in one line what governs accesses now."""
    level = "EL2" if regime.at_el2 else "EL1"
    switches = f"SCTLR_{level} M={int(regime.stage1)} C={int(regime.dcache)} I={int(regime.icache)}"
    second = ", stage 2 on" if regime.stage2 else ""
    what = "translates by TTBR0" + ("/TTBR1" if regime.two_ranges else "") if regime.stage1 else "translates nothing"
    return f"EL{regime.el}, regime {regime.name}: {switches}; {what}{second}"


def translation(session: Session, va: int) -> dict[str, Any]:
    """How an address is translated here: each descriptor with where it would be found, and what comes of it."""
    from emu.walker import translate

    regime, memory = session.regime, session.memory
    found = translate(memory, regime, va)
    facts: dict[str, Any] = {
        "va": f"{va:#x}",
        "regime": regime_in_words(regime),
        "reads": [_descriptor(session, read) for read in found.reads],
    }
    return facts | (_leaf(found) if found.fault is None else {"fault": _fault_words(found)})


def _descriptor(session: Session, read: Any) -> dict[str, Any]:
    value = session.memory.read_u64(read.pa) if session.memory.contains(read.pa, 8) else None
    return {
        "stage": read.stage,
        "level": read.level,
        "pa": f"{read.pa:#x}",
        "descriptor": None if value is None else f"{value:#x}",
        "says": "" if value is None else in_words(value, read.level, read.stage),
        "found_in": session.model.found_in(read.pa),
    }


def _leaf(found: "Translation") -> dict[str, Any]:
    return {
        "pa": f"{found.pa:#x}",
        "memory_type": found.memory_type.label,
        "fetch_type": found.fetch_type.label,
        "shareability": {Shareability.NON: "non", Shareability.OUTER: "outer", Shareability.INNER: "inner"}[
            found.shareability
        ],
        "leaf_bytes": 1 << found.leaf_log2,
    }


def _fault_words(found: "Translation") -> str:
    fault = found.fault
    assert fault is not None  # noqa: S101 - the caller's condition
    return f"{fault.kind.name.lower().replace('_', ' ')} fault, stage {fault.stage} level {fault.level}"


def code(
    session: Session, *, at: int | None = None, before: int = _CODE_BEFORE, after: int = _CODE_AFTER
) -> list[dict[str, Any]]:
    """Disassemble around an address (PC if none is given), with what was executed up to here and what it cost.

    Where the code is of a source of ours, each line has that too.
    """
    from asm.decode import decode
    from emu.walker import WalkAccess, translate

    pc, costs = session.pc, session.costs_by_address()
    middle = pc if at is None else at
    lines = []
    for va in range(max(0, middle - 4 * before) & ~3, middle + 4 * after, 4):
        found = translate(session.memory, session.regime, va, WalkAccess.FETCH)
        if found.fault is not None or not session.memory.contains(found.pa, 4):
            continue
        word = session.memory.read(found.pa, 4)
        insn, written = decode(word, va)[0], session.source.get(va)
        if written is not None and written.word != int.from_bytes(word, "little"):
            written = None
        count, bill = costs.get(va, (0, {}))
        lines.append(
            {
                "va": f"{va:#x}",
                "symbol": symbol(session, va),
                "text": insn.text,
                "source": None if written is None else {"text": written.text, "remarks": list(written.remarks)},
                "current": va == pc,
                "count": count,
                "cycles": sum(bill.values()),
                "causes": _spent(bill),
            }
        )
    return lines


def physical(session: Session, va: int) -> int:
    """Return where an address leads as a load of the current regime; InputError where the walk faults."""
    from emu.walker import translate

    found = translate(session.memory, session.regime, va)
    if found.fault is not None:
        raise InputError(f"{va:#x}: {_fault_words(found)}")
    return found.pa


def memory(session: Session, va: int, size: int, *, is_physical: bool = False) -> bytes:
    """Return memory as the guest would read it here, page by page; InputError where it cannot."""
    parts, at = [], va
    while at < va + size:
        until = min(va + size, (at // 4096 + 1) * 4096)
        pa = at if is_physical else physical(session, at)
        parts.append(session.memory.read(pa, until - at))
        at = until
    return b"".join(parts)


def kimage(session: Session, around: int = 4) -> dict[str, Any]:
    """Return the list of pages with the cursor: how many have been stored to, and those about to be."""
    sources, destinations = session.kimage.sources, session.kimage.destinations
    done = int(np.searchsorted(session.page_starts[1], session.place.execution))
    window = range(max(0, done - around), min(len(sources), done + around + 1))
    return {
        "pages": len(sources),
        "begun": done,
        "head": f"{session.kimage.head:#x}",
        "list_pages": [f"{pa:#x}" for pa in session.kimage.list_pages[:64]],
        "window": [
            {"page": page, "source": f"{int(sources[page]):#x}", "destination": f"{int(destinations[page]):#x}"}
            for page in window
        ],
    }


def memory_map(session: Session) -> list[dict[str, Any]]:
    """Return what lies where in physical memory, by address."""
    ranges = session.trace.ranges
    order = np.lexsort((ranges["role"], ranges["pa"]))
    return [
        {"pa": f"{int(row['pa']):#x}", "bytes": int(row["size"]), "role": Role(int(row["role"])).name.lower()}
        for row in ranges[order]
    ]


def costs(session: Session, most: int = 20) -> list[dict[str, Any]]:
    """Return the addresses that cost most up to here, dearest first."""
    found = session.costs_by_address()
    ranked = sorted(found.items(), key=lambda item: -sum(item[1][1].values()))[:most]
    return [
        {
            "va": f"{va:#x}",
            "symbol": symbol(session, va),
            "count": count,
            "cycles": sum(bill.values()),
            "causes": _spent(bill),
        }
        for va, (count, bill) in ranked
    ]
