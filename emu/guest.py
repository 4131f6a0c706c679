"""Guest: a machine that is about to leave its old kernel, and what running it gives."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from asm.routines import Routine
from emu import phases
from emu.content import ImageContent
from emu.cpu import MODELS
from emu.handover import Handover, hand_over
from emu.kimage import Kimage, list_page_count, page_addresses, write_list
from emu.layout import PageAllocator, place_self_copies
from emu.machine import Fault, Machine, RunResult
from emu.memory import PhysicalMemory
from emu.old_kernel import OldKernel
from emu.purgatory import load_purgatory
from emu.scenario import Boot, Scenario
from emu.segments import Segment
from emu.spans import Span, merge, page_spans, range_rows, subtract
from traces.errors import InputError
from traces.fold import CopySite, copy_site
from traces.schema import PAGE_BYTES, Role
from traces.trace import Records, Trace

_INSTRUCTIONS_PER_4K = 1100
"""About 1,030 in every version of the routine that copies a page and maintains its lines."""
_INSTRUCTIONS_HASHED = 2_600
"""For 64 bytes that a purgatory hashes."""
_INSTRUCTIONS_BESIDE = 200_000
"""Set/way loops, list walk, soft restart, vectors."""

_SCTLR_C, _SCTLR_I = 1 << 2, 1 << 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """The PE at the new kernel's first instruction."""

    el: int
    pc: int
    mmu: bool
    x0: int
    x1: int
    x2: int
    x3: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FunctionalRun:
    """What one run did."""

    trace: Trace
    """With ranges and meta complete."""
    outcome: str
    """`completed`, `hang`, `fault` or `budget`."""
    fault: Fault | None
    entry: Entry | None
    image_ok: bool
    """Every destination byte is its source's, self-copies and zero padding included."""
    image_bytes: int
    pages: int
    destination: tuple[tuple[int, int], ...]
    """(pa, size) of each segment."""
    copy: CopySite | None


class Guest:
    """Memory with everything that the old kernel left in it, and how the PE leaves that kernel. It runs once."""

    def __init__(
        self,
        scenario: Scenario,
        memory: PhysicalMemory,
        kernel: OldKernel,
        kimage: Kimage,
        handover: Handover,
        content: ImageContent,
    ) -> None:
        self.scenario = scenario
        self.memory = memory
        self.kimage = kimage
        self.handover = handover
        self.symbols = {**kernel.symbols, **_purgatory_symbols(scenario)}
        self.tables = dict(kernel.tables)
        self.table_roots = dict(kernel.table_roots)
        self.ranges = _ranges(scenario, kernel, kimage)
        self._before = phases.instructions(scenario, kernel)
        self._content = content
        self._ran = False

    @property
    def image_pages(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Where each page of the image must lie at the end."""
        return page_addresses(self.scenario.destinations, self.scenario.granule_bytes)

    def machine(self) -> Machine:
        """Make the PE, with every register as the old kernel left it."""
        scenario, handover = self.scenario, self.handover
        machine = Machine(
            self.memory,
            cpu=cpu_model(scenario),
            lva=scenario.lva,
            pa_bits=scenario.pa_bits,
            forced_sctlr=_forced_sctlr(scenario),
        )
        cpu = machine.cpu
        for name, value in handover.sysreg.items():
            cpu.sysreg[name] = value
        cpu.enter(handover.el)
        for number, value in enumerate(handover.x):
            cpu.x[number] = value
        cpu.sp = handover.sp
        cpu.pc = handover.pc
        return machine

    @property
    def budget(self) -> int:
        """Instructions after which the run is given up."""
        if self.scenario.instruction_budget is not None:
            return self.scenario.instruction_budget
        hashed = self.scenario.image_bytes // 64 if self.scenario.purgatory is not None else 0
        return default_budget(self.scenario.image_bytes) + hashed * _INSTRUCTIONS_HASHED + self._before

    def run(self, *, capture: bool = True) -> FunctionalRun:
        """Run from here to the new kernel's first instruction. Without `capture` the trace has no executions."""
        if self._ran:
            raise RuntimeError("a guest runs once: its memory is changed by that; prepare another")
        self._ran = True
        machine = self.machine()
        result = machine.run(
            stop_pa=self.scenario.end_pa,
            budget=self.budget,
            phases=self.handover.phases,
            symbols=self.symbols,
            capture=capture,
        )
        present = all(self.memory.contains(span.pa, span.size) for span in self.scenario.destinations)
        image_ok = present and not len(self._content.wrong_pages(self.memory, self.image_pages))
        relocation = Relocation(
            routine=self.scenario.relocate,
            boot=self.scenario.boot,
            destinations=self.scenario.destinations,
            page_bytes=self.scenario.granule_bytes,
            symbols=self.symbols,
            table_roots=self.table_roots,
            ranges=self.ranges,
        )
        return relocation.conclude(machine, result, image_ok=image_ok)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Relocation:
    """What a run relocates: what its trace cannot find out for itself."""

    routine: Routine
    boot: Boot
    destinations: tuple[Span, ...]
    page_bytes: int
    symbols: Mapping[str, int]
    table_roots: Mapping[str, int]
    ranges: Records

    def conclude(self, machine: Machine, result: RunResult, *, image_ok: bool) -> FunctionalRun:
        """Put together what is known once the machine has run."""
        entry = _entry(machine) if result.outcome == "completed" else None
        trace = replace(result.trace, ranges=self.ranges)
        copy = copy_site(trace) if len(trace.executions) else None
        image_bytes = sum(span.size for span in self.destinations)
        told = {
            **result.trace.meta,
            "routine": {"name": self.routine.name, "sha256": self.routine.sha256, "source": self.routine.source},
            "boot": self.boot.value,
            "outcome": result.outcome,
            "fault": None if result.fault is None else asdict(result.fault),
            "entry": None if entry is None else asdict(entry),
            "image_ok": image_ok,
            "image_bytes": image_bytes,
            "pages": image_bytes // self.page_bytes,
            "symbols": dict(self.symbols),
            "table_roots": dict(self.table_roots),
            "copy": None if copy is None else _copy_meta(trace, copy),
        }
        return FunctionalRun(
            trace=replace(trace, meta=told),
            outcome=result.outcome,
            fault=result.fault,
            entry=entry,
            image_ok=image_ok,
            image_bytes=image_bytes,
            pages=image_bytes // self.page_bytes,
            destination=tuple((span.pa, span.size) for span in self.destinations),
            copy=copy,
        )


def default_budget(image_bytes: int) -> int:
    """Return the instructions after which a relocation of so many bytes is given up."""
    return image_bytes // 4096 * _INSTRUCTIONS_PER_4K + _INSTRUCTIONS_BESIDE


def prepare_guest(scenario: Scenario) -> Guest:
    """Build the old kernel, its list, its tables and the loaded image in memory."""
    memory = PhysicalMemory()
    for span in _present(scenario):
        memory.add(span.pa, span.size)
    pages = PageAllocator(scenario.memory_map, scenario.destinations, scenario.granule_bytes)
    kernel = OldKernel(memory, scenario, pages)
    kimage = _load(memory, scenario, pages)
    handover = phases.prepended(memory, scenario, kernel, kimage, hand_over(memory, scenario, kernel, kimage))
    # Last, as kexec loads a crash kernel: an image in place lies over nothing that is still needed.
    loaded = kimage.sources if len(kimage.sources) else page_addresses(scenario.destinations, scenario.granule_bytes)
    content = _content(scenario)
    content.write(memory, loaded)
    return Guest(scenario, memory, kernel, kimage, handover, content)


def _purgatory_symbols(scenario: Scenario) -> dict[str, int]:
    """Say where a purgatory's symbols come to lie."""
    if scenario.purgatory is None:
        return {}
    at = scenario.purgatory_segment.pa
    return {name: at + offset for name, offset in scenario.purgatory.symbols.items()}


def cpu_model(scenario: Scenario) -> str:
    """Return the PE to emulate: VHE and FEAT_LVA need one newer than Cortex-A72."""
    model = "max" if scenario.boot is Boot.VHE or scenario.lva else "cortex-a72"
    if model not in MODELS:
        raise InputError(f"boot: {scenario.boot.value} needs the PE {model}")
    return model


def _present(scenario: Scenario) -> tuple[Span, ...]:
    """Return what answers on the bus: RAM, nomap or not, less what must not be touched."""
    memory_map = scenario.memory_map
    return subtract(merge([*memory_map.ram, *memory_map.nomap]), memory_map.no_access)


def _load(memory: PhysicalMemory, scenario: Scenario, pages: PageAllocator) -> Kimage:
    """Choose source and list pages as the kernel's allocator might, and write the list."""
    if scenario.kdump:
        return write_list(memory, [], np.empty(0, np.uint64), [], scenario.granule_bytes)
    destinations = page_addresses(scenario.destinations, scenario.granule_bytes)
    list_pages = list_page_count(scenario.destinations, scenario.granule_bytes)
    drawn = pages.sources(len(destinations) + list_pages, scenario.sources, scenario.seed)
    sources = place_self_copies(
        drawn[list_pages:], destinations, scenario.self_copies, scenario.seed, scenario.memory_map.allocatable()
    )
    return write_list(memory, scenario.destinations, sources, drawn[:list_pages].tolist(), scenario.granule_bytes)


def _content(scenario: Scenario) -> ImageContent:
    """Return what the image holds: a purgatory of ours, and noise."""
    noise = ImageContent(scenario.segments, scenario.seed, scenario.granule_bytes)
    if scenario.purgatory is None:
        return noise
    loaded = load_purgatory(scenario, scenario.purgatory, noise)
    page, segment = scenario.granule_bytes, scenario.purgatory_segment
    before = sum(each.memsz for each in scenario.segments[: scenario.segments.index(segment)]) // page
    given = {before + at // page: loaded.content[at : at + page] for at in range(0, segment.memsz, page)}
    scratch = before + loaded.scratch_page * PAGE_BYTES // page
    return ImageContent(scenario.segments, scenario.seed, page, given=given, unchecked=(scratch,))


def _forced_sctlr(scenario: Scenario) -> dict[int, tuple[int, int]]:
    """Return the bits forced at the level that the copy runs at, found by a run of one page; none without a copy."""
    mask = value = 0
    for bit, wanted in ((_SCTLR_C, scenario.copy_sctlr_c), (_SCTLR_I, scenario.copy_sctlr_i)):
        if wanted is not None:
            mask |= bit
            value |= bit * wanted
    if not mask:
        return {}
    page = scenario.granule_bytes
    first = scenario.end_pa // page * page
    probe = replace(
        scenario,
        segments=(Segment(pa=first, size=page, memsz=page, name="probe"),),
        self_copies=0,
        start=scenario.end_pa,
        purgatory=None,
        kimage_in_destination=False,
        copy_sctlr_c=None,
        copy_sctlr_i=None,
        instruction_budget=None,
        phases=frozenset(),
    )
    run = prepare_guest(probe).run()
    return {} if run.copy is None else {int(run.trace.epochs[run.copy.epoch]["el"]): (mask, value)}


def _entry(machine: Machine) -> Entry:
    """Read the PE at the new kernel's first instruction."""
    cpu = machine.cpu
    x0, x1, x2, x3 = (cpu.x[number] for number in range(4))
    return Entry(el=cpu.el, pc=cpu.pc, mmu=cpu.regime().stage1, x0=x0, x1=x1, x2=x2, x3=x3)


def _copy_meta(trace: Trace, copy: CopySite) -> dict[str, Any]:
    """Say where the copy ran, with the regime that it ran under."""
    regime = trace.epochs[copy.epoch]
    return {**asdict(copy), "el": int(regime["el"]), "e2h": bool(regime["e2h"]), "sctlr": int(regime["sctlr"])}


def _ranges(scenario: Scenario, kernel: OldKernel, kimage: Kimage) -> Records:
    """Return every range of memory that has a role, by role and address."""
    page, memory_map = scenario.granule_bytes, scenario.memory_map
    by_role: dict[Role, list[Span]] = {role: [] for role in Role}
    for span, role in kernel.ranges:
        by_role[role].append(span)
    by_role[Role.TABLE] = [*merge(by_role[Role.TABLE])]
    by_role[Role.RAM] += merge(memory_map.ram)
    by_role[Role.NOMAP] += merge(memory_map.nomap)
    by_role[Role.NO_ACCESS] += merge(memory_map.no_access)
    by_role[Role.LIST] += merge(Span(pa, page) for pa in kimage.list_pages)
    # A crash kernel lies where it will run: each page is its own source, cleaned to the PoC when it was loaded.
    in_place = scenario.destinations if scenario.kdump else ()
    by_role[Role.SOURCE] += merge([*page_spans(kimage.sources, page), *in_place])
    # One row a segment, not joined: a hazard may name it.
    by_role[Role.DESTINATION] += scenario.destinations
    return range_rows({role: sorted(spans) for role, spans in by_role.items()})
