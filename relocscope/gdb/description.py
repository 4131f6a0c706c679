"""Description: the registers that gdb is told of, in XML, and how each is read and set by its number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from relocscope.stepping.change import read_register, register_bits
from relocscope.stepping.views import SYSTEM_REGISTERS
from traces.errors import InputError

if TYPE_CHECKING:
    from emu.cpu import Cpu
    from emu.machine import Machine

CORE, FPU, SYSTEM = "org.gnu.gdb.aarch64.core", "org.gnu.gdb.aarch64.fpu", "org.relocscope.aarch64.system"

_MORE_SYSTEM = (
    *("HCR_EL2", "VTCR_EL2", "VTTBR_EL2", "CPACR_EL1", "CPTR_EL2", "CONTEXTIDR_EL1", "CONTEXTIDR_EL2"),
    *("TPIDR_EL0", "TPIDR_EL1", "TPIDR_EL2", "PAR_EL1"),
)
_FIXED = ("MIDR_EL1", "MPIDR_EL1", "CTR_EL0", "ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1")
"""Read-only. So is CurrentEL, which is no register of its own here but two bits of PSTATE."""

_CPSR_FIELDS = {"SP": (0, 1), "EL": (2, 2), "nRW": (4, 1), "F": (6, 1), "I": (7, 1), "A": (8, 1), "D": (9, 1)} | {
    "SS": (21, 1), "V": (28, 1), "C": (29, 1), "Z": (30, 1), "N": (31, 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Register:
    """One register of gdb's: its name there, and ours (`stepping.change`)."""

    name: str
    ours: str
    feature: str
    bits: int
    kind: str
    """GDB's type."""

    @property
    def writable(self) -> bool:
        """Whether setting it means anything."""
        return self.name != "CurrentEL" and self.name not in _FIXED

    def read(self, machine: "Machine") -> bytes:
        """Return it as it is, least significant byte first."""
        value = machine.cpu.el << 2 if self.name == "CurrentEL" else read_register(machine, self.ours)
        return value.to_bytes(self.bits // 8, "little")


def registers(cpu: "Cpu") -> tuple[Register, ...]:
    """Return what gdb numbers from 0 on; the system registers are those that this PE has."""
    found = [Register(f"x{number}", f"x{number}", CORE, 64, "int") for number in range(31)]
    found += [
        Register("sp", "sp", CORE, 64, "data_ptr"),
        Register("pc", "pc", CORE, 64, "code_ptr"),
        Register("cpsr", "pstate", CORE, 32, "cpsr_flags"),
    ]
    found += [Register(f"v{number}", f"v{number}", FPU, 128, "vector") for number in range(32)]
    found += [Register(name, name, FPU, 32, "int") for name in ("fpsr", "fpcr")]
    levels = [f"{name}_EL{level}" for level in (1, 2) for name in SYSTEM_REGISTERS]
    known = set(cpu.sysreg)
    named = [name for name in (*levels, *_MORE_SYSTEM, *_FIXED) if name in known]
    system = [Register("CurrentEL", "CurrentEL", SYSTEM, 64, "int")]
    system += [Register(name, name, SYSTEM, register_bits(name), _kind(name, cpu)) for name in named]
    return (*found, *system)


def _kind(name: str, cpu: "Cpu") -> str:
    return f"{name}_fields" if _fields(name, cpu) else "int"


def _fields(name: str, cpu: "Cpu") -> dict[str, tuple[int, int]]:
    from emu.fields import layout

    try:
        return dict(layout(name, e2h=cpu.e2h))
    except InputError:
        return {}


def target_xml(known: Sequence[Register], cpu: "Cpu") -> bytes:
    """Write GDB's target description of those registers."""
    lines = [
        '<?xml version="1.0"?>',
        '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
        '<target version="1.0">',
        "<architecture>aarch64</architecture>",
    ]
    for feature in (CORE, FPU, SYSTEM):
        inside = [(number, each) for number, each in enumerate(known) if each.feature == feature]
        lines.append(f"<feature name={quoteattr(feature)}>")
        if feature == CORE:
            lines += _flags("cpsr_flags", 4, _CPSR_FIELDS)
        if feature == FPU:
            lines += _VECTOR
        lines += [line for _, each in inside if each.kind.endswith("_fields") for line in _flags_of(each, cpu)]
        lines += [_entry(number, each) for number, each in inside]
        lines.append("</feature>")
    return "\n".join([*lines, "</target>", ""]).encode()


def _entry(number: int, register: Register) -> str:
    kind = f"int{register.bits}" if register.kind == "int" else register.kind
    group = ' group="system"' if register.feature == SYSTEM else ""
    return f'<reg name="{register.name}" bitsize="{register.bits}" type="{kind}" regnum="{number}"{group}/>'


def _flags_of(register: Register, cpu: "Cpu") -> list[str]:
    return _flags(register.kind, register.bits // 8, _fields(register.name, cpu))


def _flags(name: str, size_bytes: int, fields: dict[str, tuple[int, int]]) -> list[str]:
    rows = [f'<field name="{each}" start="{low}" end="{low + width - 1}"/>' for each, (low, width) in fields.items()]
    return [f'<flags id="{name}" size="{size_bytes}">', *rows, "</flags>"]


# As gdb's own aarch64 has it: the sizes that it makes $d0, $s0 and the like of are its own.
_VECTOR = [
    '<vector id="v2d" type="ieee_double" count="2"/>',
    '<vector id="v4s" type="ieee_single" count="4"/>',
    '<vector id="v2u" type="uint64" count="2"/>',
    '<vector id="v16u" type="uint8" count="16"/>',
    '<union id="vector">',
    '<field name="d" type="v2d"/><field name="s" type="v4s"/><field name="u" type="v2u"/><field name="b" type="v16u"/>',
    '<field name="q" type="uint128"/>',
    "</union>",
]
