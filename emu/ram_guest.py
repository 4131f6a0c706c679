"""RamGuest: a real machine at the first instruction of its relocation, from a dump of its memory and registers.

Everything is the machine's own: tables, list, routine, vectors. What it is going to do is read from there as the
routine would read it, so that sources, destinations and the new kernel's entry are known before anything runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asm.kernel_image import import_from_page
from asm.routines import Protocol, Routine
from emu.address_space import address_space
from emu.content import page_rows
from emu.cpu import UNICORN_PA_BITS
from emu.guest import FunctionalRun, Relocation, default_budget
from emu.kimage import Kimage, read_list
from emu.machine import Machine
from emu.memory import PhysicalMemory
from emu.ram_files import RamFile, open_ram
from emu.regime import Regime
from emu.register_files import read_registers, under_vhe
from emu.registers import SYSTEM_REGISTERS
from emu.scenario import Boot
from emu.spans import Span, merge, page_spans, range_rows
from emu.walker import WalkAccess, translate
from traces.errors import InputError, named_input
from traces.schema import PAGE_BYTES, Phase, Role
from traces.trace import Records

_AARCH32 = 1 << 4
_KEPT_PSTATE, _PAN = 0xF000_03CF, 1 << 22
"""NZCV, DAIF, EL and SP; what else a PE may have has no part in a relocation."""
_ROOT = (1 << 48) - 64
_SMALLEST_TSZ = 16
_DS_TWO_RANGES, _DS_ONE_RANGE = 59, 32
"""TCR_ELx.DS, with two VA ranges and with one."""
_SCTLR_C, _SCTLR_I = 1 << 2, 1 << 12
_CHUNK_PAGES = 2048
_VECTORS_BYTES = 0x800

_IDENTIFIES = ("CTR_EL0", "MIDR_EL1", "MPIDR_EL1", "REVIDR_EL1", *(n for n in SYSTEM_REGISTERS if n.startswith("ID_")))
_LEFT_OUT = {
    *_IDENTIFIES,
    *("DCZID_EL0", "CLIDR_EL1", "CCSIDR_EL1", "CSSELR_EL1", "VPIDR_EL2", "VMPIDR_EL2", "PAR_EL1", "SCR_EL3"),
    *("CNTFRQ_EL0", "CNTPCT_EL0", "CNTVCT_EL0"),
    # Software step and traps to a debugger that is not there.
    *("MDSCR_EL1", "MDCR_EL2", "HSTR_EL2"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RamFiles:
    """What a person hands in: memory, registers, and how the machine was booted where they know better."""

    ram: tuple[RamFile, ...]
    registers: Path
    boot: Boot | None = None


Forced = tuple[int | None, int | None]
"""0 or 1 for SCTLR.C and SCTLR.I at the level that the routine runs at; None as the machine has them."""


class RamGuest:
    """A machine about to relocate its new kernel. It runs once; the files stay as they are."""

    def __init__(self, files: RamFiles, *, budget: int | None = None, forced_ci: Forced = (None, None)) -> None:
        self._files, self._forced_ci = files, forced_ci
        self._registers = read_registers(files.registers)
        self.memory = open_ram(files.ram)
        self.machine = self._prepare()
        self.regime = self.machine.cpu.regime()
        self.pc = self.machine.cpu.pc
        self.routine = self._routine()
        self._pa = self._fetched_from(self.pc)
        self._arguments = self._read_arguments()
        self.boot = self._boot()
        self.kimage = self._list()
        self.entry_pa = self._entry()
        self._budget = budget
        self._ran = False

    @property
    def page_bytes(self) -> int:
        """The page size of its kernel."""
        return self.routine.page_bytes

    @property
    def destinations(self) -> tuple[Span, ...]:
        """Where the image will lie."""
        return page_spans(self.kimage.destinations, self.page_bytes)

    def run(self) -> FunctionalRun:
        """Run the relocation, to the new kernel's (or purgatory's) first instruction."""
        if self._ran:
            raise RuntimeError("a guest runs once: its memory is changed by that; prepare another")
        self._ran = True
        symbols = {name: self.pc + offset for name, offset in self.routine.symbols.items()}
        relocation = Relocation(
            routine=self.routine,
            boot=self.boot,
            destinations=self.destinations,
            page_bytes=self.page_bytes,
            symbols=symbols,
            table_roots=self._table_roots(),
            ranges=self._ranges(),
        )
        image_bytes = sum(span.size for span in self.destinations)
        result = self.machine.run(
            stop_pa=self.entry_pa,
            budget=default_budget(image_bytes) if self._budget is None else self._budget,
            phases={self.pc: Phase.RELOCATE},
            symbols=symbols,
        )
        return relocation.conclude(self.machine, result, image_ok=self._image_ok())

    # -- The PE -------------------------------------------------------------------------------------------------------

    def _register(self, name: str, why: str) -> int:
        if name not in self._registers:
            raise InputError(f"{self._files.registers}: {name}: missing; {why}")
        return self._registers[name]

    def _prepare(self) -> Machine:
        """Make the PE with the registers that the file gives."""
        pstate = self._register("PSTATE", "the exception level is in it (gdb calls it cpsr)")
        pc = self._register("PC", "the dump is taken at the relocation routine's first instruction")
        el = pstate >> 2 & 3
        if pstate & _AARCH32 or el not in (1, 2):
            raise InputError(
                f"{self._files.registers}: PSTATE: {pstate:#x} must be of AArch64 at EL1 or EL2, where kernels relocate"
            )
        if el == 2:
            self._register("HCR_EL2", "it says whether EL2 is under VHE")
        e2h = under_vhe(self._registers)
        self._check_translation(f"EL{el}", two_ranges=el == 1 or e2h)
        lva, pa_bits = self._address_sizes(f"EL{el}", two_ranges=el == 1 or e2h)
        machine = Machine(
            self.memory,
            cpu="max" if e2h or lva or pa_bits != UNICORN_PA_BITS else "cortex-a72",
            lva=lva,
            pa_bits=pa_bits,
            forced_sctlr=_forced_sctlr(el, self._forced_ci),
            id_registers={name: self._registers[name] for name in _IDENTIFIES if name in self._registers},
        )
        cpu = machine.cpu
        for name in self._in_order(f"SCTLR_EL{el}", set(cpu.sysreg)):
            cpu.sysreg[name] = self._registers[name]
        cpu.pstate = pstate & (_KEPT_PSTATE | (_PAN if cpu.model == "max" else 0))
        for number in range(31):
            cpu.x[number] = self._registers.get(f"X{number}", 0)
        cpu.sp = self._registers.get("SP", 0)
        cpu.pc = pc
        return machine

    def _in_order(self, last: str, present: set[str]) -> list[str]:
        """Return the system registers to be written: HCR_EL2 first, the SCTLR of the PE's own level last."""
        given = [name for name in SYSTEM_REGISTERS if name in self._registers and name in present - _LEFT_OUT]
        return sorted(given, key=lambda name: (name == last, name != "HCR_EL2"))

    def _check_translation(self, level: str, *, two_ranges: bool) -> None:
        """Refuse to guess what an MMU that is on translates by."""
        sctlr = self._register(f"SCTLR_{level}", f"the PE is at {level}")
        if sctlr & 1:
            for name in ("TCR", "MAIR", "TTBR0", *(("TTBR1",) if two_ranges else ())):
                self._register(f"{name}_{level}", f"the MMU is on (SCTLR_{level} = {sctlr:#x})")
            tcr = self._registers[f"TCR_{level}"]
            if tcr >> (_DS_TWO_RANGES if two_ranges else _DS_ONE_RANGE) & 1:
                raise InputError(
                    f"{self._files.registers}: TCR_{level}: {tcr:#x} has DS set: 52-bit addresses with 4K or 16K pages "
                    "(FEAT_LPA2) are not modelled"
                )

    def _address_sizes(self, level: str, *, two_ranges: bool) -> tuple[bool, int]:
        """Return whether the PE needs FEAT_LVA, and the physical address bits that the memory needs."""
        end = max(region.pa + region.size for region in self.memory.regions)
        pa_bits = next(bits for bits in (UNICORN_PA_BITS, 48, 52) if end <= 1 << bits)
        tcr = self._registers.get(f"TCR_{level}", 0)
        sizes = (tcr & 63, tcr >> 16 & 63) if two_ranges else (tcr & 63,)
        lva = bool(self._registers[f"SCTLR_{level}"] & 1) and min(sizes) < _SMALLEST_TSZ
        return lva, 52 if lva else pa_bits

    # -- What it is going to do ---------------------------------------------------------------------------------------

    @property
    def _where(self) -> Path:
        return self._files.ram[0].path

    def _fetched_from(self, pc: int) -> int:
        """Return the physical address of an instruction."""
        found = translate(self.memory, self.regime, pc, WalkAccess.FETCH)
        if found.fault is not None:
            kind = found.fault.kind.name.lower().replace("_", " ")
            raise InputError(
                f"{self._files.registers}: PC: {pc:#x} cannot be fetched from with these registers and this memory: "
                f"{kind} fault at level {found.fault.level}"
            )
        if not self.memory.contains(found.pa, 4):
            raise InputError(f"{self._files.registers}: PC: {pc:#x} is at {found.pa:#x}, outside the memory given")
        return found.pa

    def _routine(self) -> Routine:
        """Return the routine that PC is at."""
        pa = self._fetched_from(self.pc)
        page = pa & -PAGE_BYTES
        return import_from_page(self._where, self.memory.read(page, PAGE_BYTES), page, pa - page)

    def _read_arguments(self) -> Mapping[str, int]:
        """Return head, start and dtb, and what else the routine reads of struct kimage."""
        if self.routine.protocol is Protocol.MMU_OFF:
            names = {"head": "X0", "start": "X1", "dtb": "X2"}
            return {name: self._register(register, f"kimage's {name} is in it") for name, register in names.items()}
        va = self._register("X0", "struct kimage is at it")
        return {name: self._word(name, va + offset) for name, offset in self.routine.kimage_offsets.items()}

    def _word(self, name: str, va: int) -> int:
        found = translate(self.memory, self.regime, va)
        if found.fault is not None or not self.memory.contains(found.pa, 8):
            raise InputError(f"{self._files.registers}: X0: kimage's {name} at {va:#x} is not in the memory given")
        return self.memory.read_u64(found.pa)

    def _boot(self) -> Boot:
        """Return how the machine was booted: EL2 is left for good by no kernel but one that has its stub there."""
        el2, e2h = self.regime.el == 2, self.regime.e2h
        returns = bool(self._arguments.get("el2_vectors"))
        found = Boot.VHE if el2 and e2h else Boot.NVHE if el2 or returns else Boot.EL1
        if returns and not el2:
            self._register("VBAR_EL2", "the routine leaves by hvc (kimage's el2_vectors is not 0)")
        asked = self._files.boot
        if asked is None or asked is found:
            return found
        if found is Boot.EL1 and asked is Boot.NVHE:
            return asked  # a kernel that copies and ends at EL1 although it has a stub
        raise InputError(
            f"--boot: {asked.value} contradicts the registers, which are of a machine booted {found.value}"
        )

    def _list(self) -> Kimage:
        with named_input(self._where):
            return read_list(self.memory, self._arguments["head"], self.page_bytes)

    def _entry(self) -> int:
        start = self._arguments["start"]
        if start % 4 or not self.memory.contains(start, 4):
            raise InputError(f"{self._where}: kimage's start {start:#x} must be a multiple of 4 in the memory given")
        return start

    # -- What lies where ----------------------------------------------------------------------------------------------

    def _regimes(self) -> dict[str, Regime]:
        """Return what translates at the start, and once the routine has put its copy of the linear map in TTBR1."""
        copied = self._arguments.get("ttbr1")
        found = {"kernel": self.regime} if self.regime.stage1 else {}
        if found and copied and self.regime.two_ranges:
            found["kexec-linear"] = replace(self.regime, ttbr1=copied)
        return found

    def _table_roots(self) -> dict[str, int]:
        """Return the address in each TTBR, without ASID and CnP."""
        roots = {}
        for name, regime in self._regimes().items():
            if name == "kernel":
                roots["ttbr0"] = regime.ttbr0 & _ROOT
            if regime.two_ranges:
                roots["ttbr1" if name == "kernel" else name] = regime.ttbr1 & _ROOT
        return roots

    def _tables(self) -> Iterator[Span]:
        for regime in self._regimes().values():
            for row in address_space(self.memory, regime)[1]:
                yield Span(int(row["pa"]), int(row["size"]))

    def _ranges(self) -> Records:
        """Return every range of memory whose role is known, by role and address."""
        page = self.page_bytes
        by_role: dict[Role, Sequence[Span]] = {
            Role.RAM: merge([Span(region.pa, region.size) for region in self.memory.regions]),
            Role.SOURCE: page_spans(self.kimage.sources, page),
            Role.DESTINATION: self.destinations,
            Role.TABLE: merge(self._tables()),
            Role.CODE: [Span(self._pa & -PAGE_BYTES, PAGE_BYTES)],
            Role.LIST: merge([Span(pa, page) for pa in self.kimage.list_pages]),
            Role.VECTORS: tuple(self._vectors()),
            Role.KIMAGE: tuple(self._structure()),
            Role.ZERO_PAGE: [Span(pa, page) for name, pa in self._arguments.items() if name == "zero_page"],
        }
        return range_rows(by_role)

    def _vectors(self) -> Iterator[Span]:
        """Yield where the vectors of the PE's level are, and those that its hvc goes to."""
        found = translate(self.memory, self.regime, self.regime.vbar)
        places = [] if found.fault is not None else [found.pa]
        if self.boot is Boot.NVHE and not self._registers.get("SCTLR_EL2", 0) & 1:
            places.append(self._registers.get("VBAR_EL2", 0))
        yield from merge(Span(pa, _VECTORS_BYTES) for pa in places if self.memory.contains(pa, _VECTORS_BYTES))

    def _structure(self) -> Iterator[Span]:
        """Yield where struct kimage is, as far as the routine reads it."""
        if self.routine.kimage_offsets:
            va = self._registers["X0"]
            first = translate(self.memory, self.regime, va + min(self.routine.kimage_offsets.values())).pa
            last = translate(self.memory, self.regime, va + max(self.routine.kimage_offsets.values())).pa
            if first <= last < first + PAGE_BYTES:
                yield Span(first, last + 8 - first)

    def _image_ok(self) -> bool:
        """Whether every destination page holds what its source page held in the files."""
        before, moved = open_ram(self._files.ram), self.kimage
        for first in range(0, len(moved.sources), _CHUNK_PAGES):
            chunk = slice(first, first + _CHUNK_PAGES)
            was = _pages(before, moved.sources[chunk], self.page_bytes)
            if not np.array_equal(was, _pages(self.memory, moved.destinations[chunk], self.page_bytes)):
                return False
        return True


def _forced_sctlr(el: int, forced: Forced) -> dict[int, tuple[int, int]]:
    """Return (mask, value) for the level, as Machine takes it."""
    bits = [(bit, bit * wanted) for bit, wanted in zip((_SCTLR_C, _SCTLR_I), forced, strict=True) if wanted is not None]
    return {el: (sum(bit for bit, _ in bits), sum(value for _, value in bits))} if bits else {}


def _pages(memory: PhysicalMemory, pages: NDArray[np.uint64], page_bytes: int) -> NDArray[np.uint64]:
    """Return the content of pages as [page, word]."""
    content = np.zeros((len(pages), page_bytes // 8), np.uint64)
    left = np.ones(len(pages), bool)
    for rows, inside, selected in page_rows(memory, pages, page_bytes):
        chosen = np.ones(len(pages), bool) if selected is None else selected
        content[chosen] = rows[inside]
        left &= ~chosen
    for row in np.flatnonzero(left).tolist():  # across two regions that touch
        content[row] = np.frombuffer(memory.read(int(pages[row]), page_bytes), np.uint64)
    return content
