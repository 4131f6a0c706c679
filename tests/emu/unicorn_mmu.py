"""Unicorn's own MMU as an oracle: real loads, stores and fetches, AT instructions, and the syndrome of what it raises.

Unicorn leaves ESR and FAR alone, but its saved context holds QEMU's `env->exception` = {syndrome: u32, fsr: u32,
vaddress: u64, target_el: u32}. Where that lies is found by making a known fault (`_find_exception`).
"""

import ctypes
import struct
from dataclasses import dataclass

import numpy as np
from unicorn import UC_ARCH_ARM64, UC_HOOK_INTR, UC_MODE_ARM, UC_PROT_ALL, Uc, UcError, arm64_const, unicorn_const

from emu.memory import PhysicalMemory

RAM = 0x4000_0000
RAM_BYTES = 64 << 20
TABLE_BYTES = 8 << 20
"""Tables lie at the start of RAM; every page behind them tells its number."""
CODE = RAM + TABLE_BYTES
LOAD_CODE, STORE_CODE = CODE, CODE + 4
INSTRUCTION_ABORT, DATA_ABORT = 3, 4
EL0T, EL1H, EL2H = 0x3C0, 0x3C5, 0x3C9

# (crn, crm, op0, op1, op2)
REGISTERS = {
    "SCR_EL3": (1, 1, 3, 6, 0),
    "HCR_EL2": (1, 1, 3, 4, 0),
    "SCTLR_EL1": (1, 0, 3, 0, 0),
    "SCTLR_EL2": (1, 0, 3, 4, 0),
    "TCR_EL1": (2, 0, 3, 0, 2),
    "TCR_EL2": (2, 0, 3, 4, 2),
    "TTBR0_EL1": (2, 0, 3, 0, 0),
    "TTBR1_EL1": (2, 0, 3, 0, 1),
    "TTBR0_EL2": (2, 0, 3, 4, 0),
    "TTBR1_EL2": (2, 0, 3, 4, 1),
    "MAIR_EL1": (10, 2, 3, 0, 0),
    "MAIR_EL2": (10, 2, 3, 4, 0),
    "VTCR_EL2": (2, 1, 3, 4, 2),
    "VTTBR_EL2": (2, 1, 3, 4, 0),
    "HPFAR_EL2": (6, 0, 3, 4, 4),
    "PAR_EL1": (7, 4, 3, 0, 0),
    "TPIDR_EL0": (13, 0, 3, 3, 2),
    "AT S1E1R": (7, 8, 1, 0, 0),
    "AT S1E1W": (7, 8, 1, 0, 1),
    "AT S1E0R": (7, 8, 1, 0, 2),
    "AT S1E0W": (7, 8, 1, 0, 3),
    "AT S1E2R": (7, 8, 1, 4, 0),
    "AT S1E2W": (7, 8, 1, 4, 1),
    "AT S12E1R": (7, 8, 1, 4, 4),
    "AT S12E1W": (7, 8, 1, 4, 5),
    "AT S12E0R": (7, 8, 1, 4, 6),
    "AT S12E0W": (7, 8, 1, 4, 7),
}


def page_word(pa: int) -> int:
    """What every 8 bytes of a data page hold: `movz x9, #page; b .`, so that loads and fetches tell where they went."""
    return 0x14000000 << 32 | 0xD2800000 | (pa - RAM >> 12) << 5 | 9


def fresh_memory() -> PhysicalMemory:
    """RAM whose pages behind the tables hold `page_word`."""
    memory = PhysicalMemory()
    memory.add(RAM, RAM_BYTES)
    words = memory.regions[0].data.view(np.uint64).reshape(-1, 512)
    pages = np.arange(len(words), dtype=np.uint64)
    words[TABLE_BYTES >> 12 :] = (np.uint64(page_word(RAM)) | pages << np.uint64(5))[TABLE_BYTES >> 12 :, None]
    memory.write(CODE, struct.pack("<II", 0xF9400001, 0xF9000001))  # ldr x1, [x0]; str x1, [x0]
    return memory


@dataclass(frozen=True)
class Seen:
    """What an access did: the page it reached, or the syndrome and address of its abort."""

    page: int | None = None
    exception: int | None = None
    esr: int = 0
    far: int = 0
    target_el: int = 0
    hpfar: int = 0

    @property
    def fsc(self) -> int:
        return self.esr & 0x3F

    @property
    def on_walk(self) -> bool:
        return bool(self.esr >> 7 & 1)


class UnicornMmu:
    """One PE over `memory`; write registers with `set`, then ask."""

    def __init__(self, memory: PhysicalMemory, model: str) -> None:
        self.memory = memory
        self.uc = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
        self.uc.ctl_set_cpu_model(getattr(arm64_const, "UC_CPU_ARM64_" + model))
        for region in memory.regions:
            self.uc.mem_map_ptr(region.pa, region.size, UC_PROT_ALL, ctypes.c_void_p(region.data.ctypes.data))
        self._exception: int | None = None
        self._context = b""
        self._hpfar = 0
        self.uc.hook_add(UC_HOOK_INTR, self._on_exception)
        self.set(SCR_EL3=0x501, HCR_EL2=1 << 31)
        self._at = self._find_exception()

    def set(self, **registers: int) -> None:
        for name, value in registers.items():
            self.uc.reg_write(arm64_const.UC_ARM64_REG_CP_REG, (*REGISTERS[name], value))

    def get(self, name: str) -> int:
        return self.uc.reg_read(arm64_const.UC_ARM64_REG_CP_REG, REGISTERS[name])

    def flush(self) -> None:
        """Forget cached translations: tables were changed."""
        self.uc.ctl(unicorn_const.UC_CTL_TLB_FLUSH, unicorn_const.UC_CTL_IO_WRITE)

    def at(self, operation: str, va: int) -> int:
        """PAR_EL1 after an address translation instruction."""
        self.uc.reg_write(arm64_const.UC_ARM64_REG_CP_REG, (*REGISTERS["AT " + operation], va))
        return self.get("PAR_EL1")

    def load(self, pstate: int, code_va: int, va: int) -> Seen:
        return self._run(pstate, code_va + LOAD_CODE - CODE, va, arm64_const.UC_ARM64_REG_X1)

    def store(self, pstate: int, code_va: int, va: int, value: int) -> Seen:
        """Store `value`; the page is then the caller's to find."""
        self.uc.reg_write(arm64_const.UC_ARM64_REG_X1, value)
        return self._run(pstate, code_va + STORE_CODE - CODE, va, None)

    def fetch(self, pstate: int, va: int) -> Seen:
        self.uc.reg_write(arm64_const.UC_ARM64_REG_X9, 0)
        return self._run(pstate, va, 0, arm64_const.UC_ARM64_REG_X9)

    def _run(self, pstate: int, pc: int, x0: int, answer: int | None) -> Seen:
        self.uc.reg_write(arm64_const.UC_ARM64_REG_PSTATE, pstate)
        self.set(TPIDR_EL0=0)  # the cached EL is only refreshed by a system register write
        self.uc.reg_write(arm64_const.UC_ARM64_REG_X0, x0)
        self._exception = None
        try:
            self.uc.emu_start(pc, 1, count=1)
        except UcError as error:
            raise AssertionError(f"Unicorn: {error} at pc {pc:#x}, x0 {x0:#x}") from error
        if self._exception is not None:
            esr, _, far, target_el = struct.unpack_from("<IIQI", self._context, self._at)
            return Seen(exception=self._exception, esr=esr, far=far, target_el=target_el, hpfar=self._hpfar)
        if answer is None:
            return Seen()
        word = self.uc.reg_read(answer)
        return Seen(page=word if answer == arm64_const.UC_ARM64_REG_X9 else word >> 5 & 0xFFFF)

    def _on_exception(self, uc: Uc, number: int, _: object) -> None:
        # Now, not after emu_start: on its way out Unicorn fetches at address 0, and that may abort as well.
        context = uc.context_save()
        self._exception = number
        self._context = ctypes.string_at(context.context, context.size)
        self._hpfar = self.get("HPFAR_EL2")
        uc.emu_stop()

    def _find_exception(self) -> int:
        """Offset of `env->exception` in a saved context: fault on an odd address and look for it."""
        level1 = RAM
        self.memory.write(level1, struct.pack("<QQ", 0, RAM | 0x7C1))
        self.set(TCR_EL1=25, TTBR0_EL1=level1, SCTLR_EL1=1)
        va = 0x5A_1234_5678
        self._at = 0
        self._run(EL1H, LOAD_CODE, va, None)
        context, places, at = self._context, [], 0
        while (at := context.find(struct.pack("<Q", va), at) + 1) > 0:
            if struct.unpack_from("<I", context, at - 9)[0] >> 26 == 0x25:
                places.append(at - 9)
        assert len(places) == 1, "the layout of Unicorn's context is not what this file says"
        self.memory.write(level1, bytes(16))
        self.set(SCTLR_EL1=0)
        return places[0]
