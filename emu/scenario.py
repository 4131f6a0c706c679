"""Scenario: everything that decides what a functional run does. `prepare` makes a guest of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from asm.routines import Protocol, Routine
from emu.kernel_registers import LINUX_WALKS, WalkAttributes
from emu.layout import SOURCE_PATTERNS
from emu.memory_map import MemoryMap
from emu.segments import Segment, check_segments
from emu.spans import Span
from traces.errors import InputError
from traces.schema import Phase

if TYPE_CHECKING:
    from emu.guest import Guest

GRANULES_BYTES = (4096, 16384, 65536)
VA_BITS = (36, 39, 42, 47, 48, 52)
"""What arm64 kernels are configured with (CONFIG_ARM64_VA_BITS)."""
LEAVES_BYTES = {4096: (4096, 2 << 20, 1 << 30), 16384: (16384, 32 << 20), 65536: (65536, 512 << 20)}
"""Leaf sizes by granule."""

_KERNEL_LEAST_BYTES = 1 << 17
_OWN_VECTORS = (Protocol.KIMAGE, Protocol.WINDOW)
"""Routines that go back to EL2 through vectors that kexec brings."""


class Boot(StrEnum):
    """How the machine was booted, and where its kernel runs."""

    EL1 = "el1"
    NVHE = "nvhe"
    """At EL2 without VHE: the kernel at EL1, its stub at EL2."""
    VHE = "vhe"
    """At EL2 with VHE: the kernel at EL2, under EL2&0."""


class TableStyle(StrEnum):
    """What page tables the old kernel makes for kexec."""

    NONE = "none"
    RFC_V1 = "rfc-v1"
    """All of memory, VA = PA, in blocks."""
    RFC_V2 = "rfc-v2"
    """What the copy needs, VA = PA, in pages."""
    WINDOW = "window"
    """One page of code VA = PA; sources in a row and destinations in a row, in pages (PATCH v1 to v11)."""
    MERGED = "merged"
    """One page of code VA = PA, and a copy of the linear map (v5.16)."""


class Stage2(StrEnum):
    """What a hypervisor below the machine has in HCR_EL2; the machine's boot is then EL1."""

    NONE = "none"
    VM = "vm"
    """Stage 2 translation, and DC IVAC done as DC CIVAC."""
    DC = "dc"
    """The same, and default cacheable: Normal Write-Back wherever the guest's stage 1 is off."""


_TABLES_OF: Mapping[Protocol | None, TableStyle] = {
    Protocol.ARGUMENT_PAGE: TableStyle.RFC_V2,
    Protocol.WINDOW: TableStyle.WINDOW,
    Protocol.KIMAGE: TableStyle.MERGED,
}
"""Routines that cannot do without their own era's tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One machine, one old kernel, one image to relocate. Refuses what contradicts itself, naming the field."""

    boot: Boot
    relocate: Routine
    soft_restart: Routine | None = None
    hyp_stub: Routine | None = None
    kexec_vectors: Routine | None = None
    purgatory: Routine | None = None
    """Lies in the segment of that name, is what the relocation starts, and starts the new kernel."""
    tables: TableStyle
    mair: int
    va_bits: int = 48
    granule_bytes: int = 4096
    map_leaf_bytes: int | None = None
    """Largest leaf of the merged style's linear map copy; None keeps the blocks that the kernel has."""
    t0sz: int | None = None
    """TCR.T0SZ of kexec's identity map, and what its table is made for; None: as the era does."""
    walks: WalkAttributes = LINUX_WALKS
    """Of the kernel's own TCR, which every copy that translates takes over; a purgatory of ours has its own."""
    stage2: Stage2 = Stage2.NONE
    el2_switch: bool = True
    """False leaves out the escalation of a non-VHE kernel to EL2."""
    clear_xn: bool = False
    """Clear bit 54 in RFC v2's leaf of the code page."""
    copy_sctlr_c: int | None = None
    copy_sctlr_i: int | None = None
    """0 or 1: SCTLR.C or I forced at the exception level that the copy runs at."""
    kdump: bool = False
    """A crash kernel: it was loaded where it runs."""
    kimage_in_destination: bool = False
    """struct kimage happens to lie in memory that the image will be copied to."""
    memory_map: MemoryMap
    segments: tuple[Segment, ...]
    start: int | None = None
    """Where the image is entered, a purgatory of ours left aside; None: the first byte of the first segment."""
    segments_anywhere: bool = False
    """Let segments lie where there is no usable RAM, as the kernel does; what that leads to is for the run to show."""
    sources: str = "scatter"
    self_copies: int = 4
    """At most so many pages are loaded where they belong: only what the old kernel could allocate can be."""
    seed: int = 1
    instruction_budget: int | None = None
    """None: derived from the number of pages."""
    phases: frozenset[Phase] = frozenset()
    """What the run has before the soft restart, of Phase.TABLES and Phase.LIST_FLUSH; `emu.phases` leaves out what this
    kernel does not do."""

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_routines()
        self._check_ways()
        self._check_machine()

    @property
    def entry_pa(self) -> int:
        """Where the relocation enters the image: the new kernel, or the purgatory before it."""
        return self.end_pa if self.purgatory is None else self.purgatory_segment.pa + self.purgatory.entry

    @property
    def end_pa(self) -> int:
        """The new kernel's first instruction, where the run ends."""
        return self.segments[0].pa if self.start is None else self.start

    @property
    def purgatory_segment(self) -> Segment:
        """The segment called purgatory."""
        for segment in self.segments:
            if segment.name == "purgatory":
                return segment
        raise InputError("purgatory: no segment has that name; a default image of less than 15 pages has none")

    @property
    def dtb_pa(self) -> int:
        """What x0 is to hold there: the device tree's segment; 0 if none is so named, or a purgatory sees to it."""
        names = {segment.name: segment for segment in self.segments}
        inside = next(each.name for each in self.segments if each.pa <= self.entry_pa < each.span.end)
        return names["dtb"].pa if "dtb" in names and inside != "purgatory" else 0

    @property
    def destinations(self) -> tuple[Span, ...]:
        """Where the image must lie."""
        return tuple(segment.span for segment in self.segments)

    @property
    def image_bytes(self) -> int:
        """Bytes of the image in memory, zero padding included."""
        return sum(segment.memsz for segment in self.segments)

    @property
    def pages(self) -> int:
        """The same in pages of the kernel."""
        return self.image_bytes // self.granule_bytes

    @property
    def lva(self) -> bool:
        """Whether the machine has FEAT_LVA; without, such a kernel runs with 48 bits."""
        return self.va_bits == 52

    @property
    def pa_bits(self) -> int:
        """Physical address size of the machine: Cortex-A72's; where there is FEAT_LVA, there is FEAT_LPA as well."""
        return 52 if self.lva else 44

    @property
    def escalates(self) -> bool:
        """Whether the new kernel is started by a call to EL2 (the kernel's el2_switch)."""
        return self.boot is Boot.NVHE and self.el2_switch

    def _check_choices(self) -> None:
        choices: tuple[tuple[str, object, Collection[object]], ...] = (
            ("granule_bytes", self.granule_bytes, GRANULES_BYTES),
            ("va_bits", self.va_bits, VA_BITS),
            ("sources", self.sources, SOURCE_PATTERNS),
            ("copy_sctlr_c", self.copy_sctlr_c, (None, 0, 1)),
            ("copy_sctlr_i", self.copy_sctlr_i, (None, 0, 1)),
            ("walks.irgn", self.walks.irgn, range(4)),
            ("walks.orgn", self.walks.orgn, range(4)),
            ("walks.sh", self.walks.sh, (0, 2, 3)),
            ("map_leaf_bytes", self.map_leaf_bytes, (None, *LEAVES_BYTES.get(self.granule_bytes, ()))),
        )
        for name, value, allowed in choices:
            if value not in allowed:
                raise InputError(f"{name}: {value!r} must be one of {', '.join(map(str, allowed))}")
        if self.va_bits == 52 and self.granule_bytes != 65536:
            raise InputError(f"va_bits: 52 needs a granule of 65536; it is {self.granule_bytes}")
        if self.va_bits == 52 and self.tables in (TableStyle.RFC_V1, TableStyle.RFC_V2):
            raise InputError(f"va_bits: kernels have 52 since 5.4; tables {self.tables.value!r} are of 5.2 and 5.3")
        if not 0 <= self.mair < 1 << 64:
            raise InputError(f"mair: {self.mair:#x} must be a 64-bit value")
        if self.instruction_budget is not None and self.instruction_budget < 1:
            raise InputError(f"instruction_budget: {self.instruction_budget} must be at least 1")

    def _check_ways(self) -> None:
        """Refuse what the boot path or the era cannot have."""
        own_idmap = self.tables in (TableStyle.RFC_V1, TableStyle.WINDOW, TableStyle.MERGED)
        if self.t0sz is not None and not (own_idmap and 16 <= self.t0sz <= 39):
            raise InputError(
                f"t0sz: {self.t0sz} must be 16 to 39, with tables rfc-v1, window or merged, not {self.tables.value}"
            )
        if self.stage2 is not Stage2.NONE and self.boot is not Boot.EL1:
            raise InputError(f"stage2: {self.stage2.value} needs boot el1, a guest's; it is {self.boot.value}")
        if self.kimage_in_destination and (self.relocate.protocol is not Protocol.KIMAGE or self.kdump):
            raise InputError(f"kimage_in_destination: {self.relocate.name} is told of no struct kimage")

    def _check_routines(self) -> None:
        protocol, name = self.relocate.protocol, self.relocate.name
        if protocol is None:
            raise InputError(f"relocate: {name} is no relocation routine (it has no protocol)")
        if self.relocate.page_bytes != self.granule_bytes:
            raise InputError(
                f"relocate: {name} has pages of {self.relocate.page_bytes} bytes; granule_bytes is {self.granule_bytes}"
            )
        if self.purgatory is not None and "arm64_kernel_entry" not in self.purgatory.symbols:
            raise InputError(f"purgatory: {self.purgatory.name} is no purgatory (kexec fills in nothing of it)")
        wanted = _TABLES_OF.get(protocol)
        if wanted is not None and self.tables is not wanted and not self.kdump:
            raise InputError(f"tables: {self.tables.value!r} must be {wanted.value!r} for {name}")
        if wanted is None and self.tables in _TABLES_OF.values():
            raise InputError(f"tables: {self.tables.value!r} must be 'none' or 'rfc-v1' for {name}")
        calls_stub = protocol is not Protocol.KIMAGE or self.kdump
        if self.escalates and calls_stub and self.soft_restart is not None and self.hyp_stub is None:
            raise InputError("hyp_stub: missing; a kernel booted at EL2 without VHE goes back up through it")
        if self.escalates and protocol in _OWN_VECTORS and not self.kdump and self.kexec_vectors is None:
            raise InputError("kexec_vectors: missing; this routine goes back to EL2 through its own copy of them")
        if self.kdump and protocol is Protocol.KIMAGE and self.soft_restart is None:
            raise InputError("soft_restart: missing; with kdump these kernels go straight through it")

    def _check_machine(self) -> None:
        anywhere = self.segments_anywhere
        check_segments("segments", self.segments, self.memory_map, self.granule_bytes, anywhere=anywhere)
        if not any(segment.pa <= self.entry_pa < segment.span.end for segment in self.segments):
            raise InputError(f"start: {self.entry_pa:#x} must lie in a segment")
        if self.entry_pa % 4:
            raise InputError(f"start: {self.entry_pa:#x} must be a multiple of 4")
        if not 0 <= self.self_copies <= self.pages:
            raise InputError(
                f"self_copies: {self.self_copies} must lie between 0 and the {self.pages} pages of the image"
            )
        code, data = self.memory_map.kernel_code, self.memory_map.kernel_data
        if code is None or data is None:
            raise InputError("memory_map: kernel code and kernel data are missing; the old kernel must be somewhere")
        if self.purgatory is not None and self.purgatory.entry >= self.purgatory_segment.memsz:
            raise InputError("purgatory: its entry lies outside of its segment")
        if self.kdump and any(span.overlaps(image) for span in self.destinations for image in (code, data)):
            raise InputError("kdump: a crash kernel lies where it will run; its segments must not touch the old kernel")
        for field, span in (("kernel_code", code), ("kernel_data", data)):
            if span.whole(self.granule_bytes).size < _KERNEL_LEAST_BYTES:
                raise InputError(f"memory_map.{field}: {span} must hold at least {_KERNEL_LEAST_BYTES} bytes")


def prepare(scenario: Scenario) -> "Guest":
    """Make the guest: memory with everything that the old kernel left in it, and a PE about to leave the old kernel."""
    from emu.guest import prepare_guest

    return prepare_guest(scenario)
