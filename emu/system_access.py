"""System register accesses that are done in Unicorn's place: E2H's aliases, forced SCTLR bits, other ID values."""

from collections.abc import Mapping

from asm.insn import Insn
from emu.cpu import Cpu
from emu.registers import E2H_ALIASES, E2H_REDIRECTED, SYSTEM_REGISTERS, encoding, name_of
from traces.errors import InputError
from traces.schema import InsnClass

_ZERO_REGISTER = 31


class SystemAccess:
    """Decides which mrs and msr Unicorn must not execute, and executes those.

    `forced_sctlr`: by level, (mask, value) that every write of SCTLR_ELx gets, by whatever name. `id_registers`: what
    reads of these registers give instead of Unicorn's model.
    """

    def __init__(self, cpu: Cpu, forced_sctlr: Mapping[int, tuple[int, int]], id_registers: Mapping[str, int]) -> None:
        for el in forced_sctlr:
            if el not in (1, 2):
                raise InputError(f"forced SCTLR: EL{el} must be 1 or 2")
        for name in id_registers:
            encoding(name)
        self._cpu = cpu
        self._forced = {f"SCTLR_EL{el}": pair for el, pair in forced_sctlr.items()}
        self._id_registers = {name: value for name, value in id_registers.items() if cpu.sysreg[name] != value}
        self._names = set(self._id_registers) | set(self._forced)
        if cpu.model == "max":
            self._names |= set(E2H_REDIRECTED) | set(E2H_ALIASES)

    def force(self) -> None:
        """Apply the forced bits to the registers as they are: at the start of a run."""
        for name in self._forced:
            self._cpu.sysreg[name] = self._with_forced(name, self._cpu.sysreg[name])

    def wants(self, insn: Insn) -> bool:
        """Whether this instruction is to be executed here."""
        if insn.sysreg is None or insn.cls not in (InsnClass.SYSTEM_READ, InsnClass.SYSTEM_WRITE):
            return False
        return name_of(insn.sysreg) in self._names

    def execute(self, insn: Insn) -> bool:
        """Do what a wanted instruction does to registers; PC stays. False if it is UNDEFINED here."""
        register = None if insn.sysreg is None else self._register(name_of(insn.sysreg))
        if register is None:
            return False
        number = insn.word & 31
        if insn.cls is InsnClass.SYSTEM_READ:
            value = self._id_registers.get(register)
            if value is None:
                value = self._cpu.sysreg[register]
            if number != _ZERO_REGISTER:
                self._cpu.x[number] = value
            return True
        value = 0 if number == _ZERO_REGISTER else self._cpu.x[number]
        self._cpu.sysreg[register] = self._with_forced(register, value)
        self._cpu.flush_tlb()
        return True

    def _register(self, name: str) -> str | None:
        """Return the register that a name means at the current level; None if it means none."""
        redirects = self._cpu.el == 2 and self._cpu.e2h
        if name in E2H_ALIASES:
            return E2H_ALIASES[name] if redirects else None
        if redirects and name in E2H_REDIRECTED:
            return E2H_REDIRECTED[name]
        return name if name in SYSTEM_REGISTERS else None

    def _with_forced(self, name: str, value: int) -> int:
        mask, forced = self._forced.get(name, (0, 0))
        return value & ~mask | forced & mask
