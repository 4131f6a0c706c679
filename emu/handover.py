"""What the old kernel has done when it gives up control: tables, list, structures, registers, vectors, by era.

`hand_over` writes all of it into physical memory and returns the state of the PE at the first instruction of the soft
restart (or of the routine, where the kernel calls that itself): what machine_kexec() of that era leaves behind. The
copy itself, and everything after it, is real code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from asm.routines import Protocol, Routine
from emu.kernel_registers import (
    HCR_RW,
    HCR_VHE,
    SCTLR_EL1_MMU_OFF,
    SCTLR_EL1_RUNNING,
    SCTLR_EL2_MMU_OFF,
)
from emu.kernel_tables import map_linear_copy, map_merged_idmap, map_rfc_v1, map_rfc_v2
from emu.kimage import Kimage
from emu.memory import PhysicalMemory
from emu.old_kernel import OldKernel
from emu.scenario import Boot, Scenario, TableStyle
from emu.spans import Span, merge, page_spans
from emu.tables import TableBuilder
from traces.errors import InputError
from traces.schema import Phase, Role

_JUNK = 0x0BAD_0000_0000_0000
"""In registers that no contract names: real kernels hand over whatever they had in them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Handover:
    """The PE at the first instruction of the run, and what the run's code is called."""

    el: int
    pc: int
    sp: int
    x: tuple[int, ...]
    """X0..X30."""
    sysreg: Mapping[str, int]
    """To be written in this order: HCR_EL2 first, SCTLR of the kernel's own level last."""
    phases: Mapping[int, Phase] = field(default_factory=dict)
    """The phase that begins at an instruction (by VA)."""


def hand_over(memory: PhysicalMemory, scenario: Scenario, kernel: OldKernel, kimage: Kimage) -> Handover:
    """Do what machine_kexec() does, and stop where its last call begins."""
    if scenario.relocate.protocol is Protocol.KIMAGE and not scenario.kdump:
        return _call_routine(memory, scenario, kernel, kimage)
    return _soft_restart(memory, scenario, kernel, kimage)


def _soft_restart(memory: PhysicalMemory, scenario: Scenario, kernel: OldKernel, kimage: Kimage) -> Handover:
    """Leave through cpu_soft_restart(entry, three arguments): kernels before 5.16, and crash kernels of any."""
    idmap, tcr = kernel.build_idmap(scenario)
    if scenario.relocate.protocol is Protocol.KIMAGE:
        entry, arguments = scenario.entry_pa, (scenario.dtb_pa, 0, 0)
        phases: dict[int, Phase] = {}
    else:
        code = kernel.put_code_page(scenario.relocate, Role.CODE)
        entry = code + scenario.relocate.entry
        phases = {entry: Phase.RELOCATE}
        if scenario.relocate.protocol is Protocol.ARGUMENT_PAGE:
            arguments = (_argument_page(memory, scenario, kernel, kimage, code), 0, 0)
        else:
            arguments = (kimage.head, scenario.entry_pa, scenario.dtb_pa)
        if scenario.tables is TableStyle.RFC_V1:
            # RFC v1 writes TTBR0 itself and leaves T0SZ as it is: the kernel's own VA size. It makes no difference for
            # a crash kernel (J10).
            tables = kernel.build_tables("kexec", scenario.va_bits)
            map_rfc_v1(tables, scenario.memory_map, scenario.destinations)
            idmap, tcr = tables.ttbr, kernel.tcr(scenario)
    vbar_el2 = kernel.put_hyp_stub(scenario.hyp_stub) if scenario.escalates and scenario.hyp_stub else None
    if scenario.soft_restart is None:
        return _enter_without_restart(scenario, kernel, entry, arguments, phases)
    pc = kernel.put_idmap_text(scenario.soft_restart) + scenario.soft_restart.entry
    return Handover(
        el=_kernel_el(scenario),
        pc=pc,
        sp=kernel.stack_va,
        x=_registers(int(scenario.escalates), entry, *arguments),
        sysreg=_running(scenario, kernel, idmap, tcr, vbar_el2),
        phases={pc: Phase.SOFT_RESTART, **phases},
    )


def _enter_without_restart(
    scenario: Scenario, kernel: OldKernel, entry: int, arguments: tuple[int, ...], phases: Mapping[int, Phase]
) -> Handover:
    """Begin at the routine itself, as a soft restart would have left the PE: MMU off, at the level it ends at."""
    el = 2 if scenario.escalates or scenario.boot is Boot.VHE else 1
    return Handover(
        el=el,
        pc=entry,
        sp=0,
        x=_registers(*arguments),
        sysreg=_running(scenario, kernel, 0, kernel.tcr(scenario), None)
        | {"SCTLR_EL1": SCTLR_EL1_MMU_OFF, "SCTLR_EL2": SCTLR_EL2_MMU_OFF},
        phases=phases,
    )


def _call_routine(memory: PhysicalMemory, scenario: Scenario, kernel: OldKernel, kimage: Kimage) -> Handover:
    """Call the routine in its idmapped page, MMU and caches on, with the VA of struct kimage (5.16 and later)."""
    code = kernel.put_code_page(scenario.relocate, Role.CODE)
    vectors = None
    if scenario.escalates and scenario.kexec_vectors is not None:
        vectors = kernel.put_code_page(scenario.kexec_vectors, Role.VECTORS)
    # trans_pgd_idmap_page() covers 48 bits, whatever the kernel has; 52 where the page lies higher.
    idmap_va_bits = 48 if code < 1 << 48 else 52
    idmap = kernel.build_tables("kexec-idmap", idmap_va_bits)
    map_merged_idmap(idmap, Span(code, scenario.granule_bytes))
    linear = kernel.build_tables("kexec-linear", scenario.va_bits)
    map_linear_copy(linear, kernel.va, scenario.memory_map, kernel.index, scenario.map_leaf_bytes)
    t0sz = 64 - idmap_va_bits
    structure = kernel.put_page(Role.KIMAGE)
    _put_structure(
        memory,
        scenario.relocate,
        structure,
        {
            "head": kimage.head,
            "start": scenario.entry_pa,
            "nr_segments": len(scenario.segments),
            "dtb": scenario.dtb_pa,
            "dtb_mem": scenario.dtb_pa,
            "kern_reloc": code + scenario.relocate.entry,
            "el2_vectors": vectors or 0,
            "ttbr0": idmap.ttbr,
            "ttbr1": linear.root,  # its address: the routine spells it for TTBR1 itself
            "zero_page": kernel.zero_page,
            "phys_offset": kernel.va.phys_offset - kernel.va.page_offset,
            "t0sz": t0sz,
        },
    )
    entry = code + scenario.relocate.entry
    return Handover(
        el=_kernel_el(scenario),
        pc=entry,
        sp=kernel.stack_va,
        x=_registers(kernel.va.linear(structure)),
        sysreg=_running(scenario, kernel, idmap.ttbr, kernel.tcr(scenario, t0sz), vectors),
        phases={entry: Phase.RELOCATE},
    )


def _argument_page(memory: PhysicalMemory, scenario: Scenario, kernel: OldKernel, kimage: Kimage, code: int) -> int:
    """Make RFC v2's table and struct kern_reloc_arg; return where the latter lies. A crash kernel gets no table."""
    page = kernel.put_page(Role.ARGUMENT)
    ttbr0 = 0
    if not scenario.kdump:
        tables = kernel.build_tables("kexec", scenario.va_bits)
        _map_what_rfc_v2_needs(tables, scenario, kimage, Span(page, scenario.granule_bytes), code)
        ttbr0 = tables.ttbr
    values = {
        "head": kimage.head,
        "entry": scenario.entry_pa,
        "arg0": scenario.dtb_pa,
        "arg1": 0,
        "arg2": 0,
        "arg3": 0,
        "ttbr0": ttbr0,
    }
    _put_structure(memory, scenario.relocate, page, values)
    return page


def _map_what_rfc_v2_needs(tables: TableBuilder, scenario: Scenario, kimage: Kimage, argument: Span, code: int) -> None:
    """Map list pages, sources, destinations and argument page as data, the relocation page as code."""
    page_bytes = scenario.granule_bytes
    pages = page_spans(np.concatenate([np.array(kimage.list_pages, np.uint64), kimage.sources]), page_bytes)
    map_rfc_v2(
        tables,
        merge([*pages, *scenario.destinations, argument]),
        Span(code, page_bytes),
        clear_xn=scenario.clear_xn,
    )


def _put_structure(memory: PhysicalMemory, routine: Routine, pa: int, values: Mapping[str, int]) -> None:
    """Write the fields that the routine reads, at the offsets that it reads them from."""
    for name, offset in routine.kimage_offsets.items():
        if name not in values:
            raise InputError(f"{routine.name}: reads the field {name!r}; known: {', '.join(values)}")
        memory.write_u64(pa + offset, values[name])


def _registers(*arguments: int) -> tuple[int, ...]:
    """X0..X30 with the arguments in the first ones."""
    return (*arguments, *(_JUNK | number for number in range(len(arguments), 31)))


def _kernel_el(scenario: Scenario) -> int:
    """Return the level that the old kernel runs at."""
    return 2 if scenario.boot is Boot.VHE else 1


def _running(scenario: Scenario, kernel: OldKernel, ttbr0: int, tcr: int, vbar_el2: int | None) -> dict[str, int]:
    """Return the registers of a kernel that runs translated at its level, and of the other level as boot left it."""
    vhe = scenario.boot is Boot.VHE
    level, other = ("EL2", "EL1") if vhe else ("EL1", "EL2")
    return {
        "HCR_EL2": HCR_VHE if vhe else HCR_RW,
        f"SCTLR_{other}": SCTLR_EL1_MMU_OFF if vhe else SCTLR_EL2_MMU_OFF,
        "VBAR_EL2": vbar_el2 or 0,
        f"MAIR_{level}": scenario.mair,
        f"TCR_{level}": tcr,
        f"TTBR0_{level}": ttbr0,
        f"TTBR1_{level}": kernel.swapper.ttbr,
        f"VBAR_{level}": kernel.vectors_va,
        f"SCTLR_{level}": SCTLR_EL1_RUNNING,
    }
