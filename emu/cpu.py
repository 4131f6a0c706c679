"""Cpu: one PE in Unicorn, its registers by name, and the traps of setting its exception level."""

import ctypes
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from typing import overload

from unicorn import UC_ARCH_ARM64, UC_MODE_ARM, UC_PROT_ALL, Uc, arm64_const, unicorn_const
from unicorn.unicorn_py3 import unicorn as binding
from unicorn.unicorn_py3.arch.arm64 import UcRegCP64

from emu.memory import PhysicalMemory
from emu.regime import Regime
from emu.registers import BANKED_SP, E2H_ALIASES, SYSTEM_REGISTERS, SystemRegister, V, X, encoding
from traces.errors import InputError

MODELS = {"cortex-a72": arm64_const.UC_CPU_ARM64_A72, "max": arm64_const.UC_CPU_ARM64_MAX}
"""The PEs that can be had: Cortex-A72 (v8.0), and Unicorn's `max` for VHE."""

DAIF_MASKED = 0x3C0
SPSEL = 1
RW = 1 << 31
E2H = 1 << 34

_VA_RANGE, _VA_RANGE_LVA = 15 << 16, 1 << 16

_CP_REG = arm64_const.UC_ARM64_REG_CP_REG
UNICORN_PA_BITS = 44
"""Physical address size of every PE in `MODELS` (ID_AA64MMFR0_EL1.PARange)."""

_PA_BITS = (32, 36, 40, 42, 44, 48, 52)
_V8_1 = {"TTBR1_EL2", "CONTEXTIDR_EL2"}
_SCR_EL3 = 0x501
_HAS_DATA_CACHE = 2
"""CLIDR_EL1.Ctype from which on a level has a data or a unified cache."""
"""RW, HCE and NS: lower levels are AArch64 and Non-secure, hvc is enabled (facts/unicorn.md)."""


class SystemRegisters(MutableMapping[str, int]):
    """System registers by Arm's name. A name always means that register itself: E2H redirects guests, not this."""

    def __init__(self, uc: Uc, absent: Collection[str] = ()) -> None:
        self._uc, self._absent = uc, frozenset(absent)

    def __getitem__(self, name: str) -> int:
        return self.read(self._encoding(name))

    def __setitem__(self, name: str, value: int) -> None:
        self.write(self._encoding(name), value)

    def _encoding(self, name: str) -> SystemRegister:
        # Unicorn reads what it does not have as 0, and complains on stderr.
        if name in self._absent:
            raise InputError(f"system register {name}: not in this PE")
        return encoding(name)

    def __delitem__(self, name: str) -> None:
        raise InputError(f"system register {name}: cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in SYSTEM_REGISTERS if name not in self._absent)

    def __len__(self) -> int:
        return len(SYSTEM_REGISTERS) - len(self._absent)

    def read(self, register: SystemRegister) -> int:
        """Read any register by encoding; InputError if this PE has none such."""
        access = UcRegCP64(*register, 0)
        self._refuse(binding.uclib.uc_reg_read(self._uc._uch, _CP_REG, ctypes.byref(access)), register)
        return int(access.val)

    def write(self, register: SystemRegister, value: int) -> None:
        """Write any register by encoding; InputError if this PE has none such."""
        access = UcRegCP64(*register, value % (1 << 64))
        self._refuse(binding.uclib.uc_reg_write(self._uc._uch, _CP_REG, ctypes.byref(access)), register)

    @staticmethod
    def _refuse(status: int, register: SystemRegister) -> None:
        if status:
            raise InputError(f"system register {register}: not in this PE")


class Registers(Sequence[int]):
    """A file of registers by number: `numbers` are Unicorn's, each of so many bits."""

    def __init__(self, uc: Uc, numbers: Sequence[int], bits: int) -> None:
        self._uc, self._numbers, self._bits = uc, numbers, bits

    @overload
    def __getitem__(self, number: int) -> int: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[int, ...]: ...
    def __getitem__(self, number: int | slice) -> int | tuple[int, ...]:
        if isinstance(number, slice):
            return tuple(self[each] for each in range(*number.indices(len(self))))
        return int(self._uc.reg_read(self._numbers[number]))

    def __setitem__(self, number: int, value: int) -> None:
        self._uc.reg_write(self._numbers[number], value % (1 << self._bits))

    def __len__(self) -> int:
        return len(self._numbers)


class Pe:
    """The PE of an engine, whoever made that: its registers by name.

    `absent`: system registers that it does not have. `pa_bits` and `lva` are what Regime takes.
    """

    def __init__(
        self, uc: Uc, absent: Collection[str] = (), *, pa_bits: int = UNICORN_PA_BITS, lva: bool = False
    ) -> None:
        self.uc = uc
        self.pa_bits, self.lva = pa_bits, lva
        self.sysreg = SystemRegisters(uc, absent)
        self.x = Registers(uc, X, 64)
        """X0..X30; 31 is the SP in use."""
        self.v = Registers(uc, V, 128)

    @property
    def data_caches(self) -> list[tuple[int, int]]:
        """Sets and ways of each level's data or unified cache, as CLIDR_EL1 and CCSIDR_EL1 tell a guest."""
        read, selected = self.sysreg, self.sysreg["CSSELR_EL1"]
        found: list[tuple[int, int]] = []
        for level in range(7):
            if read["CLIDR_EL1"] >> 3 * level & 7 < _HAS_DATA_CACHE:
                break
            read["CSSELR_EL1"] = level << 1
            told = read["CCSIDR_EL1"]
            found.append(((told >> 13 & 0x7FFF) + 1, (told >> 3 & 0x3FF) + 1))
        read["CSSELR_EL1"] = selected
        return found

    @property
    def pc(self) -> int:
        """The program counter."""
        return int(self.uc.reg_read(arm64_const.UC_ARM64_REG_PC))

    @pc.setter
    def pc(self, va: int) -> None:
        self.uc.reg_write(arm64_const.UC_ARM64_REG_PC, va)

    @property
    def sp(self) -> int:
        """The stack pointer in use."""
        return self.x[31]

    @sp.setter
    def sp(self, va: int) -> None:
        self.x[31] = va

    @property
    def pstate(self) -> int:
        """PSTATE in the layout of SPSR."""
        return int(self.uc.reg_read(arm64_const.UC_ARM64_REG_PSTATE))

    @pstate.setter
    def pstate(self, value: int) -> None:
        """Change PSTATE as an exception or its return does: SP is banked, and the level takes effect at once."""
        self.uc.reg_write(BANKED_SP[_sp_bank(self.pstate)], self.sp)
        self.uc.reg_write(arm64_const.UC_ARM64_REG_PSTATE, value)
        self.sp = self.uc.reg_read(BANKED_SP[_sp_bank(value)])
        # Unicorn keeps a copy of the level that only a system register write refreshes (Unicorn issue 2333).
        self.sysreg["TPIDR_EL1"] = self.sysreg["TPIDR_EL1"]

    @property
    def fpcr(self) -> int:
        """How floating point is done."""
        return int(self.uc.reg_read(arm64_const.UC_ARM64_REG_FPCR))

    @fpcr.setter
    def fpcr(self, value: int) -> None:
        self.uc.reg_write(arm64_const.UC_ARM64_REG_FPCR, value)

    @property
    def fpsr(self) -> int:
        """What floating point has met."""
        return int(self.uc.reg_read(arm64_const.UC_ARM64_REG_FPSR))

    @fpsr.setter
    def fpsr(self, value: int) -> None:
        self.uc.reg_write(arm64_const.UC_ARM64_REG_FPSR, value)

    @property
    def el(self) -> int:
        """The current exception level."""
        return self.pstate >> 2 & 3

    @property
    def e2h(self) -> bool:
        """HCR_EL2.E2H: at EL2 the regime is EL2&0, and EL1's register names mean EL2's."""
        return bool(self.sysreg["HCR_EL2"] & E2H)

    def enter(self, el: int) -> None:
        """Go to EL1h or EL2h (or EL0) with all interrupts masked and the flags clear."""
        if el not in (0, 1, 2):
            raise InputError(f"exception level {el}: must be 0, 1 or 2")
        self.pstate = DAIF_MASKED | el << 2 | (SPSEL if el else 0)

    def regime(self) -> Regime:
        """Read the translation regime that the PE is in."""
        el, hcr, read = self.el, self.sysreg["HCR_EL2"], self.sysreg
        e2h = bool(hcr & E2H)
        level = "EL2" if el == 2 or (el == 0 and e2h and hcr >> 27 & 1) else "EL1"
        two_ranges = level == "EL1" or e2h
        return Regime(
            el=el,
            e2h=e2h,
            sctlr=read["SCTLR_" + level],
            tcr=read["TCR_" + level],
            mair=read["MAIR_" + level],
            ttbr0=read["TTBR0_" + level],
            ttbr1=read["TTBR1_" + level] if two_ranges else 0,
            hcr=hcr,
            vtcr=read["VTCR_EL2"],
            vttbr=read["VTTBR_EL2"],
            vbar=read["VBAR_" + level],
            pa_bits=self.pa_bits,
            lva=self.lva,
        )

    def flush_tlb(self) -> None:
        """Drop what Unicorn's TLB holds: its next accesses walk the tables as they are now."""
        self.uc.ctl(unicorn_const.UC_CTL_TLB_FLUSH, unicorn_const.UC_CTL_IO_WRITE)

    def flush_code(self) -> None:
        """Drop Unicorn's translated code: needed after hooks were added, or memory was written from outside."""
        self.uc.ctl_flush_tb()


class Cpu(Pe):
    """One PE over physical memory, at EL1h with everything masked and both MMUs off until told otherwise.

    Lower levels are AArch64 and Non-secure, HCR_EL2 has RW only. The memory's regions are mapped as they are now. `lva`
    and `pa_bits` give a `max` FEAT_LVA (52-bit VAs with the 64K granule) and another physical address size than
    Unicorn's 44 bits, 52 among them: emu.host_translation makes them good.
    """

    def __init__(
        self, memory: PhysicalMemory, model: str = "cortex-a72", *, lva: bool = False, pa_bits: int = UNICORN_PA_BITS
    ) -> None:
        if model not in MODELS:
            raise InputError(f"cpu model {model!r}: must be one of {', '.join(MODELS)}")
        if pa_bits not in _PA_BITS:
            raise InputError(f"pa_bits {pa_bits}: must be one of {', '.join(map(str, _PA_BITS))}")
        if model != "max" and (lva or pa_bits != UNICORN_PA_BITS):
            raise InputError(
                f"cpu model {model!r}: has {UNICORN_PA_BITS}-bit PAs and no FEAT_LVA; only 'max' may differ"
            )
        uc = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
        uc.ctl_set_cpu_model(MODELS[model])
        super().__init__(uc, absent_registers(v8_1=model != "cortex-a72"), pa_bits=pa_bits, lva=lva)
        self.model = model
        self.memory = memory
        self.sysreg["SCR_EL3"] = _SCR_EL3
        self.sysreg["HCR_EL2"] = RW
        for region in memory.regions:
            self.uc.mem_map_ptr(region.pa, region.size, UC_PROT_ALL, ctypes.c_void_p(region.data.ctypes.data))
        self.enter(1)

    @property
    def id_registers(self) -> dict[str, int]:
        """What ID registers say of this PE where Unicorn's model says something else (Arm ARM D19.2)."""
        told = {}
        if self.pa_bits != UNICORN_PA_BITS:
            told["ID_AA64MMFR0_EL1"] = self.sysreg["ID_AA64MMFR0_EL1"] & ~15 | _PA_BITS.index(self.pa_bits)
        if self.lva:
            told["ID_AA64MMFR2_EL1"] = self.sysreg["ID_AA64MMFR2_EL1"] & ~_VA_RANGE | _VA_RANGE_LVA
        return told


def absent_registers(*, v8_1: bool) -> set[str]:
    """Name the system registers that Unicorn does not have, with VHE or without."""
    return set(E2H_ALIASES) | (set() if v8_1 else _V8_1)


def pa_bits_of(mmfr0: int) -> int:
    """Return the physical address size that ID_AA64MMFR0_EL1.PARange says."""
    return _PA_BITS[min(mmfr0 & 15, len(_PA_BITS) - 1)]


def _sp_bank(pstate: int) -> int:
    """Which SP_ELx is in use."""
    return pstate >> 2 & 3 if pstate & SPSEL else 0
