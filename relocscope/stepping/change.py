"""Change: one thing that a person altered by hand, as plain data, so that it can be kept in a file and made again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traces.errors import InputError
from traces.schema import PAGE_BYTES

if TYPE_CHECKING:
    from emu.machine import Machine

_VECTOR = re.compile(r"v([12]?\d|3[01])")
_GENERAL = re.compile(r"x([12]?\d|30)")


@dataclass(frozen=True, slots=True)
class Change:
    """A register, or bytes of physical memory, set before the instruction of that number."""

    insn: int
    register: str = ""
    """x0..x30, sp, pc, pstate, v0..v31, fpcr, fpsr, or a system register by Arm's name; empty for memory."""
    value: int = 0
    pa: int = 0
    data: bytes = b""

    @property
    def pages(self) -> tuple[int, ...]:
        """Physical pages that it writes."""
        if self.register:
            return ()
        first = self.pa // PAGE_BYTES * PAGE_BYTES
        return tuple(range(first, self.pa + len(self.data), PAGE_BYTES))

    def check(self, machine: "Machine") -> None:
        """Raise InputError where the PE has no such register, no RAM is there, or no PE can be in that state."""
        if not self.register:
            machine.memory.read(self.pa, len(self.data))
            return
        read_register(machine, self.register)
        if self.register == "pstate":
            _check_pstate(self.value)
        if self.register == "pc" and self.value % 4:
            raise InputError(f"pc: {self.value:#x}: must be a multiple of 4")
        bits = register_bits(self.register)
        if not 0 <= self.value < 1 << bits:
            raise InputError(f"{self.register}: {self.value:#x} does not fit {bits} bits")

    def apply(self, machine: "Machine") -> None:
        """Make it; `check` has passed."""
        if not self.register:
            machine.memory.write(self.pa, self.data)
            return
        _write_register(machine, self.register, self.value)

    def facts(self) -> dict[str, Any]:
        """Write it as JSON can hold it."""
        if self.register:
            return {"insn": self.insn, "register": self.register, "value": f"{self.value:#x}"}
        return {"insn": self.insn, "pa": f"{self.pa:#x}", "bytes": self.data.hex()}

    def __str__(self) -> str:
        """Say in words what it is."""
        if self.register:
            return f"{self.register} = {self.value:#x}"
        return f"pa {self.pa:#x} = {self.data[:16].hex()}{'...' if len(self.data) > 16 else ''}"


def change_of(facts: Mapping[str, Any]) -> Change:
    """Read what `Change.facts` wrote. Raises KeyError, TypeError or ValueError where it is nothing such."""
    insn = facts["insn"]
    if not isinstance(insn, int) or insn < 0:
        raise ValueError(f"insn {insn!r}: must be a whole number, 0 or more")
    if "register" in facts:
        return Change(insn, str(facts["register"]), int(facts["value"], 16))
    return Change(insn, pa=int(facts["pa"], 16), data=bytes.fromhex(facts["bytes"]))


def register_bits(name: str) -> int:
    """Return the width of a register by the names that a Change has."""
    return 128 if _VECTOR.fullmatch(name) else 32 if name in ("pstate", "fpcr", "fpsr") else 64


def read_register(machine: "Machine", name: str) -> int:
    """Read a register by the names that a Change has."""
    cpu = machine.cpu
    if name in ("sp", "pc", "pstate"):
        return int(getattr(cpu, name))
    general, vector = _GENERAL.fullmatch(name), _VECTOR.fullmatch(name)
    if general:
        return cpu.x[int(general[1])]
    if vector:
        return cpu.v[int(vector[1])]
    if name in ("fpcr", "fpsr"):
        return int(getattr(cpu, name))
    return cpu.sysreg[name]


def _write_register(machine: "Machine", name: str, value: int) -> None:
    """Write a register by the names that a Change has."""
    cpu = machine.cpu
    general, vector = _GENERAL.fullmatch(name), _VECTOR.fullmatch(name)
    if name in ("sp", "pc", "pstate", "fpcr", "fpsr"):
        setattr(cpu, name, value)
    elif general:
        cpu.x[int(general[1])] = value
    elif vector:
        cpu.v[int(vector[1])] = value
    else:
        cpu.sysreg[name] = value
        cpu.flush_tlb()


def _check_pstate(value: int) -> None:
    """Refuse what no AArch64 PSTATE of EL0 to EL2 is."""
    if value >> 2 & 3 == 3 or value & 0x12 or value >> 32:
        raise InputError(f"pstate {value:#x}: must be an AArch64 state of EL0, EL1 or EL2")
