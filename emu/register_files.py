"""Registers as a person gets hold of them: gdb's or QEMU's `info registers`, any list of names and values, or JSON."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from emu.registers import SYSTEM_REGISTERS
from traces.errors import InputError
from traces.reading import read_text

LARGEST_FILE_BYTES = 4 << 20
_MOST = 1 << 64
_E2H = 1 << 34

_GENERAL = {**{f"X{number}": f"X{number}" for number in range(31)}, "SP": "SP", "PC": "PC", "PSTATE": "PSTATE"}
_OTHERWISE = {
    **{f"X{number:02}": f"X{number}" for number in range(10)},
    "CPSR": "PSTATE",
    "FP": "X29",
    "LR": "X30",
    # QEMU's stub gives registers that AArch32 has as well the names of AArch32.
    **{name: f"{name}_EL1" for name in ("SCTLR", "VBAR", "CPACR", "CNTKCTL", "CSSELR", "MIDR", "MPIDR", "CTR")},
    "AMAIR0": "AMAIR_EL1",
    "CTR": "CTR_EL0",
}

# `PC=0000000041c0a000 X00=...` (QEMU's monitor: hexadecimal without 0x), or `NAME 0x...`, `NAME = 0x...` a line.
_JOINED = re.compile(r"(?<![\w.])([A-Za-z]\w*)=(?:0[xX])?([0-9A-Fa-f_]+)(?![\w:])")
_LISTED = re.compile(r"\s*(?:\(\d+\)\s*)?([A-Za-z]\w*)\s*(?:\(/\d+\))?\s*[:=]?\s*0[xX]([0-9A-Fa-f_]+)(?![\w:])")


def read_registers(path: Path) -> Mapping[str, int]:
    """Return registers by Arm's name (X0..X30, SP, PC, PSTATE, TTBR0_EL1 ...) as a file lists them.

    Names that this project does not know are passed over: gdb lists hundreds. Raises InputError for a file without any
    register, a value of more than 64 bits, and a register that is given twice with different values.
    """
    found: dict[str, int] = {}
    for name, value, where in _entries(path, read_text(path, LARGEST_FILE_BYTES)):
        register = _register(name)
        if register is None:
            continue
        if not 0 <= value < _MOST:
            raise InputError(f"{path}: {where}{name}: {value:#x} must be a 64-bit value")
        if found.setdefault(register, value) != value:
            raise InputError(
                f"{path}: {where}{name}: {value:#x}, and {found[register]:#x} before; "
                "all registers must be of one PE at one moment"
            )
    if not found:
        raise InputError(f"{path}: no registers; expected `NAME 0xVALUE` lines, QEMU's `info registers`, or JSON")
    return found


def under_vhe(registers: Mapping[str, int]) -> bool:
    """Whether the PE is at EL2 with HCR_EL2.E2H set."""
    return registers.get("PSTATE", 0) >> 2 & 3 == 2 and bool(registers.get("HCR_EL2", 0) & _E2H)


def _entries(path: Path, text: str) -> Iterator[tuple[str, int, str]]:
    """Yield (name, value, where) of everything that looks like a register."""
    if text.lstrip().startswith("{"):
        yield from _of_json(path, text)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        listed = _LISTED.match(line)
        pairs = [listed.groups()] if listed else [each.groups() for each in _JOINED.finditer(line)]
        for name, digits in pairs:
            yield str(name), int(str(digits).replace("_", "") or "0", 16), f"line {number}: "


def _of_json(path: Path, text: str) -> Iterator[tuple[str, int, str]]:
    """Yield the registers of one object: numbers, or texts such as "0x30d00800"."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path}: not JSON: {problem}") from None
    for name, value in document.items():
        if _register(name) is None:
            continue
        try:
            yield name, value if type(value) is int else int(value, 0), ""
        except (TypeError, ValueError):
            raise InputError(f"{path}: {name}: {value!r} must be a number, or text such as '0x30d00800'") from None


def _register(name: str) -> str | None:
    upper = name.upper()
    upper = _OTHERWISE.get(upper, upper)
    return upper if upper in _GENERAL or upper in SYSTEM_REGISTERS else None
