"""From a Case to a Trace: the only place of this package that speaks to `asm` and `emu`."""

import gc
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relocscope.case import HASHING_PHASE, OPTIONAL_PHASES, Case
from relocscope.operand import Ram
from relocscope.warm import compiled_meanwhile
from traces.errors import InputError
from traces.schema import Phase

if TYPE_CHECKING:
    from asm.kernel_image import ImportedKernel
    from asm.routines import Routine
    from emu.layout import Layout
    from emu.memory_map import MemoryMap
    from emu.ram_guest import RamGuest
    from emu.segments import KexecLoad
    from traces.trace import Trace

_LARGE_BYTES = 64 << 20


@lru_cache(maxsize=4)
def imported(path: Path, symbol: str = "") -> "ImportedKernel":
    """Return what the importer finds in a kernel image or ELF file; kept, since a search takes seconds.

    With `symbol`, the relocation routine must have been found under that name.
    """
    from asm.kernel_image import import_kernel

    kernel = import_kernel(path)
    names = [finding.how.removeprefix("symbol ") for finding in kernel.found if finding.how.startswith("symbol ")]
    if symbol and symbol not in names:
        raise InputError(
            f"{path}: {symbol}: is no routine of the relocation; its symbols are {', '.join(names) or 'none'}"
        )
    return kernel


def generation(path: Path, symbol: str = "") -> str:
    """Return which era the routine is of: v4.19 where it expects the MMU off, v5.17 where it copies with it on."""
    from asm.routines import Protocol

    protocol = imported(path, symbol).relocate.protocol
    if protocol == Protocol.MMU_OFF:
        return "v4.19"
    if protocol == Protocol.KIMAGE:
        return "v5.17"
    raise InputError(f"{path}: its relocation routine takes its arguments in a way that no known kernel does")


def emulate(case: Case) -> "Trace":
    """Run the case in Unicorn and return its Trace; guest faults and hangs are results, not exceptions."""
    from emu.scenario import prepare

    with compiled_meanwhile():
        trace = prepare(scenario(case)).run().trace
    if trace.meta["image_bytes"] > _LARGE_BYTES:
        # The machine is a cycle of references with its engine's callbacks: all its memory would lie there meanwhile.
        gc.collect()
    return trace


def emulate_untimed(case: Case, *, memory_map: "MemoryMap | None" = None, load: "KexecLoad | None" = None) -> "Trace":
    """Do the same for whom no timing follows, on another machine and for another load where these are given.

    Segments may lie outside RAM: what comes of it is a result, too.
    """
    from emu.scenario import prepare

    return prepare(scenario(case, memory_map=memory_map, load=load, segments_anywhere=True)).run().trace


def ram_guest(ram: Ram) -> "RamGuest":
    """Open a memory dump: what it holds is known, nothing has run."""
    from emu.ram_files import RamFile
    from emu.ram_guest import RamFiles, RamGuest
    from emu.scenario import Boot

    files = tuple(RamFile(path, base) for path, base in ram.files)
    boot = None if ram.boot is None else Boot(ram.boot)
    forced = (ram.sctlr_c, ram.sctlr_i)
    return RamGuest(RamFiles(ram=files, registers=ram.registers, boot=boot), budget=ram.budget, forced_ci=forced)


def scenario(
    case: Case,
    *,
    memory_map: "MemoryMap | None" = None,
    load: "KexecLoad | None" = None,
    segments_anywhere: bool = False,
) -> Any:
    """Make the emulator's Scenario of a case. Memory map and load, where given, stand for the case's own."""
    from emu.kernel_registers import WalkAttributes
    from emu.memory_map import memory_map_from_file
    from emu.scenario import Boot, Scenario, Stage2, TableStyle
    from emu.segments import segments_from_file

    layout = _layout(case)
    if memory_map is None:
        memory_map = memory_map_from_file(Path(case.memory_map)) if case.memory_map else layout.memory_map
    segments, start = layout.segments, layout.start
    if load is None and case.segments:
        load = segments_from_file(Path(case.segments))
    if load is not None:
        segments, start = load.segments, load.segments[0].pa if load.start is None else load.start
    pages = sum(segment.memsz for segment in segments) // case.granule_bytes
    relocate, others = _routines(case)
    return Scenario(
        boot=Boot(case.boot),
        relocate=relocate,
        soft_restart=others["soft_restart"],
        hyp_stub=others["hyp_stub"],
        kexec_vectors=others["kexec_vectors"],
        purgatory=others["purgatory"],
        tables=TableStyle(case.tables),
        mair=case.mair,
        va_bits=case.va_bits,
        granule_bytes=case.granule_bytes,
        map_leaf_bytes=case.leaf_bytes,
        t0sz=case.t0sz,
        walks=WalkAttributes(irgn=case.tcr_irgn, orgn=case.tcr_orgn, sh=case.tcr_sh),
        stage2=Stage2(case.stage2),
        kimage_in_destination=case.kimage_in_destination,
        el2_switch=case.el2_switch,
        clear_xn=case.clear_xn,
        copy_sctlr_c=case.copy_sctlr_c,
        copy_sctlr_i=case.copy_sctlr_i,
        kdump=case.kdump,
        memory_map=memory_map,
        segments=segments,
        start=start,
        segments_anywhere=segments_anywhere,
        sources=case.sources,
        self_copies=min(4, pages) if case.self_copies is None else case.self_copies,
        seed=case.seed,
        instruction_budget=case.instruction_budget,
        phases=frozenset(Phase[name.upper().replace("-", "_")] for name in case.phases if name in OPTIONAL_PHASES),
    )


def _layout(case: Case) -> "Layout":
    """Lay out the default machine and image of a case."""
    from emu.layout import STINGRAY_RAM, default_layout
    from emu.purgatory import SEGMENT_BYTES
    from emu.spans import Span

    ram = STINGRAY_RAM if case.ram_base is None else Span(case.ram_base, STINGRAY_RAM.size)
    options = {"purgatory_bytes": SEGMENT_BYTES} if _purgatory(case) else {}
    return default_layout(case.size_bytes, page_bytes=case.granule_bytes, ram=ram, crash=case.kdump, **options)


def _routines(case: Case) -> "tuple[Routine, dict[str, Routine | None]]":
    """Return the relocation routine, and what else runs on the way to it."""
    if case.kernel:
        path, _, symbol = case.kernel.partition("@")
        found = imported(Path(path), symbol)
        ours = _borrowed(Path(path), symbol, case)
        purgatory = _own(_purgatory(case))
        return found.relocate, {"purgatory": purgatory} | {name: getattr(found, name) or ours[name] for name in ours}
    from asm.routines import routine

    names = ("soft_restart", "hyp_stub", "kexec_vectors")
    others = {name: _own(getattr(case, name)) for name in names} | {"purgatory": _own(_purgatory(case))}
    return routine(case.relocate, case.granule_bytes), others


def _purgatory(case: Case) -> str:
    """Return the routine between the relocation and the new kernel: the case's own, or what the phase asks for."""
    return case.purgatory or (HASHING_PHASE if HASHING_PHASE in case.phases else "")


def _own(name: str) -> "Routine | None":
    from asm.routines import routine

    return routine(name) if name else None


def _borrowed(path: Path, symbol: str, case: Case) -> "dict[str, Routine | None]":
    """Return our own routines for what a kernel's file does not hold, as its generation has them on this boot path."""
    from asm.routines import routine
    from relocscope.case import shipped_case

    like = shipped_case(f"{generation(path, symbol)}-{case.boot}")
    names = ("soft_restart", "hyp_stub", "kexec_vectors")
    return {name: routine(getattr(like, name)) if getattr(like, name) else None for name in names}
