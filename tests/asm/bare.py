"""A bare Unicorn A72 for trying routines alone: no exception delivery, no capture, nothing of `emu`."""

import struct

from unicorn import UC_ARCH_ARM64, UC_HOOK_INTR, UC_MODE_ARM, Uc, UcError
from unicorn.arm64_const import (
    UC_ARM64_REG_CP_REG,
    UC_ARM64_REG_PC,
    UC_ARM64_REG_PSTATE,
    UC_ARM64_REG_X0,
    UC_ARM64_REG_X28,
    UC_ARM64_REG_X29,
    UC_CPU_ARM64_A72,
)

RAM = 0x4000_0000
RAM_BYTES = 0x100_0000
CODE = RAM + 0x1000
HVC = 11

# crn, crm, op0, op1, op2: the order that Unicorn's CP_REG takes.
SCR_EL3 = (1, 1, 3, 6, 0)
HCR_EL2 = (1, 1, 3, 4, 0)
SCTLR_EL1 = (1, 0, 3, 0, 0)
SCTLR_EL2 = (1, 0, 3, 4, 0)
TCR_EL1 = (2, 0, 3, 0, 2)
TCR_EL2 = (2, 0, 3, 4, 2)
MAIR_EL1 = (10, 2, 3, 0, 0)
MAIR_EL2 = (10, 2, 3, 4, 0)
TTBR0_EL2 = (2, 0, 3, 4, 0)
VBAR_EL2 = (12, 0, 3, 4, 0)
ELR_EL2 = (4, 0, 3, 4, 1)
SPSR_EL2 = (4, 0, 3, 4, 0)
TPIDR_EL1 = (13, 0, 3, 0, 4)

INDIRECTION, DESTINATION, DONE, SOURCE = 2, 1, 4, 8


class Bare:
    """One A72 with 16 MiB of memory and code at CODE."""

    def __init__(self, code: bytes, el: int) -> None:
        self.uc = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
        self.uc.ctl_set_cpu_model(UC_CPU_ARM64_A72)
        self.uc.mem_map(RAM, RAM_BYTES)
        self.uc.mem_write(CODE, code)
        self.set(SCR_EL3, 0x501)  # RW, HCE, NS
        self.set(HCR_EL2, 1 << 31)  # RW
        self.uc.reg_write(UC_ARM64_REG_PSTATE, 0x3C5 if el == 1 else 0x3C9)
        self.set(TPIDR_EL1, 0)  # Unicorn refreshes its idea of the level at the next such write
        self.exceptions: list[int] = []
        self.uc.hook_add(UC_HOOK_INTR, self._on_exception)

    def _on_exception(self, uc: Uc, number: int, _: object) -> None:
        self.exceptions.append(number)
        uc.emu_stop()

    def set(self, register: tuple[int, ...], value: int) -> None:
        self.uc.reg_write(UC_ARM64_REG_CP_REG, (*register, value))

    def get(self, register: tuple[int, ...]) -> int:
        return int(self.uc.reg_read(UC_ARM64_REG_CP_REG, register))

    def x(self, number: int) -> int:
        return int(self.uc.reg_read(_x(number)))

    def write(self, pa: int, *words: int) -> None:
        self.uc.mem_write(pa, struct.pack(f"<{len(words)}Q", *words))

    def run(self, start: int, until: int, *arguments: int) -> int:
        """Run from start to until with x0.. set; return the PC at the end."""
        for number, value in enumerate(arguments):
            self.uc.reg_write(_x(number), value)
        try:
            self.uc.emu_start(start, until)
        except UcError as problem:  # pragma: no cover - makes a failing test readable
            raise AssertionError(f"{problem} at {self.uc.reg_read(UC_ARM64_REG_PC):#x}") from None
        return int(self.uc.reg_read(UC_ARM64_REG_PC))


def _x(number: int) -> int:
    return UC_ARM64_REG_X0 + number if number <= 28 else UC_ARM64_REG_X29 + number - 29


assert UC_ARM64_REG_X28 == UC_ARM64_REG_X0 + 28
