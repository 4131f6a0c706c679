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
from emu.kernel_tables import map_linear_copy, map_merged_idmap, map_rfc_v1, map_rfc_v2, map_window
from emu.kimage import Kimage, page_addresses
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
        if scenario.relocate.protocol is Protocol.WINDOW:
            arguments = (_window_argument(memory, scenario, kernel, kimage, code), 0, 0)
        elif scenario.relocate.protocol is Protocol.ARGUMENT_PAGE:
            arguments = (_argument_page(memory, scenario, kernel, kimage, code), 0, 0)
        else:
            arguments = (kimage.head, scenario.entry_pa, scenario.dtb_pa)
        if scenario.tables is TableStyle.RFC_V1:
            # RFC v1 writes TTBR0 itself and leaves T0SZ as it is: the kernel's own VA size. It makes no difference for
            # a crash kernel (J10).
            bits = scenario.va_bits if scenario.t0sz is None else 64 - scenario.t0sz
            tables = kernel.build_tables("kexec", bits)
            map_rfc_v1(tables, scenario.memory_map, scenario.destinations)
            idmap, tcr = tables.ttbr, kernel.tcr(scenario, 64 - bits)
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
        phases={pc: Phase.SOFT_RESTART, **phases, **_purgatory_phase(scenario)},
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
    idmap, t0sz = _idmap_of_code(scenario, kernel, code)
    linear = kernel.build_tables("kexec-linear", scenario.va_bits)
    map_linear_copy(linear, kernel.va, scenario.memory_map, kernel.index, scenario.map_leaf_bytes)
    structure = kernel.put_page(Role.KIMAGE, at=_overwritten_page(scenario, kimage))
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
        phases={entry: Phase.RELOCATE, **_purgatory_phase(scenario)},
    )


def _purgatory_phase(scenario: Scenario) -> dict[int, Phase]:
    """Say where the purgatory begins, if there is one of ours."""
    return {} if scenario.purgatory is None else {scenario.entry_pa: Phase.PURGATORY}


def _idmap_of_code(scenario: Scenario, kernel: OldKernel, code: int) -> tuple[TableBuilder, int]:
    """Map the page of relocation code VA = PA; return the table and its T0SZ.

    trans_pgd_idmap_page() covers 48 bits, whatever the kernel has; 52 where the page lies higher.
    """
    t0sz = (16 if code < 1 << 48 else 12) if scenario.t0sz is None else scenario.t0sz
    idmap = kernel.build_tables("kexec-idmap", 64 - t0sz)
    map_merged_idmap(idmap, Span(code, scenario.granule_bytes))
    return idmap, t0sz


def _overwritten_page(scenario: Scenario, kimage: Kimage) -> int | None:
    """Find a page that the old kernel may allocate, and that the image will be copied to; None unless asked for."""
    if not scenario.kimage_in_destination:
        return None
    free = (span.whole(scenario.granule_bytes) for span in scenario.memory_map.allocatable())
    pages = page_addresses([span for span in free if span.size > 0], scenario.granule_bytes)
    found = np.setdiff1d(np.intersect1d(pages, kimage.destinations), kimage.sources)
    if not len(found):
        raise InputError(
            "kimage_in_destination: the image covers no page that the old kernel could allocate; make it larger"
        )
    return int(found[len(found) // 2])


def _window_argument(memory: PhysicalMemory, scenario: Scenario, kernel: OldKernel, kimage: Kimage, code: int) -> int:
    """Make the tables and struct kern_reloc_arg of PATCH v1 to v11; return where the latter lies."""
    values = dict.fromkeys(scenario.relocate.kimage_offsets, 0)
    values |= {"entry": scenario.entry_pa, "arg0": scenario.dtb_pa}
    if scenario.escalates and scenario.kexec_vectors is not None:
        values["el2_vectors"] = kernel.put_code_page(scenario.kexec_vectors, Role.VECTORS)
    if not scenario.kdump:
        idmap, t0sz = _idmap_of_code(scenario, kernel, code)
        window = kernel.build_tables("kexec-window", scenario.va_bits)
        source, destination = map_window(window, kimage.sources.tolist(), scenario.destinations, kernel.index)
        values |= {"ttbr0": idmap.ttbr, "ttbr1": window.ttbr, "t0sz": t0sz, "length": scenario.image_bytes}
        values |= {"source": source, "destination": destination}
    page = kernel.put_page(Role.ARGUMENT)
    _put_structure(memory, scenario.relocate, page, values)
    return page


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
        **kernel.stage2,
        f"SCTLR_{other}": SCTLR_EL1_MMU_OFF if vhe else SCTLR_EL2_MMU_OFF,
        "VBAR_EL2": vbar_el2 or 0,
        f"MAIR_{level}": scenario.mair,
        f"TCR_{level}": tcr,
        f"TTBR0_{level}": ttbr0,
        f"TTBR1_{level}": kernel.swapper.ttbr,
        f"VBAR_{level}": kernel.vectors_va,
        f"SCTLR_{level}": SCTLR_EL1_RUNNING,
    }
