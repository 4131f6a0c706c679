"""Texts: the facts of `views` as lines of plain text, for line mode and gdb's monitor."""

from collections.abc import Iterable, Mapping
from typing import Any


def position(facts: Mapping[str, Any], stopped: str = "") -> str:
    """Write where the session stands: two or three lines."""
    where = f" {facts['where']}" if facts["where"] else ""
    number = f"#{facts['insn']}  cycle {facts['cycle']}  EL{facts['el']}"
    lines = [f"{number}  {facts['pc']}{where}  {facts['text']}".rstrip()]
    if facts["end"]:
        lines.append(f"  the end: {facts['end']}")
    if facts["access"]:
        lines.append(f"  next: {access(facts['access'])}")
    if facts["last_cost"]:
        lines.append(f"  last: {bill(facts['last_cost'])}")
    if stopped:
        lines.append(f"  stopped: {stopped}")
    return "\n".join(lines)


def access(facts: Mapping[str, Any]) -> str:
    """Write an access: what, where, as which memory type and by which rule."""
    kind = facts["memory_type"] or "not translated"
    pa = f" pa {facts['pa']}" if facts["pa"] and facts["pa"] != facts["va"] else ""
    size = f"{facts['bytes']} bytes at " if facts["bytes"] else ""
    why = f" ({facts['why']})" if facts["why"] else ""
    return f"{facts['kind']} {size}va {facts['va']}{pa}, {kind}{why}"


def bill(causes: Mapping[str, int]) -> str:
    """Write what something cost, by cause."""
    total = sum(causes.values())
    parts = ", ".join(f"{leaf} {cycles}" for leaf, cycles in sorted(causes.items(), key=lambda item: -item[1]))
    return f"{total} cycles ({parts})" if parts else "0 cycles"


def table(rows: Iterable[Iterable[Any]]) -> str:
    """Write rows in columns: numbers to the right, all else to the left."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [max(len(row[column]) for row in cells if column < len(row)) for column in range(max(map(len, cells)))]
    lines = ("  ".join(map(_padded, row, widths)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def _padded(cell: str, width: int) -> str:
    return cell.rjust(width) if cell.replace(".", "").replace("%", "").isdigit() else cell.ljust(width)


def registers(facts: Mapping[str, str]) -> str:
    """Write registers, three a line."""
    named = [f"{name:>6} {int(value, 16):#018x}" for name, value in facts.items()]
    return "\n".join("  ".join(named[at : at + 3]) for at in range(0, len(named), 3))


def system_registers(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """Write system registers with their fields."""
    lines = []
    for name, one in facts.items():
        decoded = " ".join(f"{field}={value}" for field, value in one["fields"].items())
        lines.append(f"{name:<10} {one['value']:<18} {decoded}".rstrip())
    return "\n".join(lines)


def translation(facts: Mapping[str, Any]) -> str:
    """Write a walk, a line for each descriptor."""
    lines = [facts["regime"]]
    for read in facts["reads"]:
        value = read["descriptor"] or "(no memory there)"
        lines.append(f"  stage {read['stage']} level {read['level']}: [{read['pa']}] = {value}, in {read['found_in']}")
        if read["says"]:
            lines.append(f"    {read['says']}")
    if "fault" in facts:
        return "\n".join([*lines, f"  {facts['fault']}"])
    size = f"{facts['leaf_bytes']:#x}-byte leaf" if facts["reads"] else "not translated"
    kind = f"{facts['memory_type']}, {facts['shareability']}-shareable, {size}"
    lines.append(f"  {facts['va']} -> pa {facts['pa']}, {kind}")
    return "\n".join(lines)


def code(lines: Iterable[Mapping[str, Any]]) -> str:
    """Write a disassembly: address, instruction, how often, and what it cost."""
    rows = []
    for line in lines:
        dear = max(line["causes"], key=line["causes"].get) if line["causes"] else ""
        mark, times, cycles = ">" if line["current"] else " ", line["count"] or "", line["cycles"] or ""
        rows.append((mark, line["va"], line["symbol"], line["text"], times, cycles, dear))
    return table(rows)


def sets(levels: Iterable[Mapping[str, Any]]) -> str:
    """Write a set of each level, a line for each way that holds something."""
    lines = []
    for level in levels:
        hit = "miss" if level["hit_way"] is None else f"hit in way {level['hit_way']}"
        lines.append(f"{level['level']}: set {level['set']} of {level['sets']}, {level['replacement']}: {hit}")
        for number, way in enumerate(level["ways"]):
            if way is not None:
                marks = " ".join(mark for mark in ("dirty", "prefetched", "stale") if way[mark])
                lines.append(f"  way {number:>2}  {way['pa']}  {marks}".rstrip())
    return "\n".join(lines)


def stack(leaves: Mapping[str, int]) -> str:
    """Write a cycle stack, dearest first."""
    total = sum(leaves.values()) or 1
    rows = [
        (leaf, cycles, f"{100 * cycles / total:.1f}%")
        for leaf, cycles in sorted(leaves.items(), key=lambda item: -item[1])
        if cycles
    ]
    return table([*rows, ("cycles", sum(leaves.values()), "")])


def dump(va: int, data: bytes) -> str:
    """Write memory, sixteen bytes a line."""
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{va + at:#x}  {part.hex(' '):<47}  {text}")
    return "\n".join(lines)
