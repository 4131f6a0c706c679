"""OldKernel: the running kernel in physical memory, as far as a hand-over sees it, and what it allocates for kexec."""

from collections.abc import Callable

from asm.routines import Routine
from emu.hypervisor import hypervisor_span, map_guest
from emu.kernel_registers import tcr_el1, write_back_index
from emu.kernel_tables import idmap_bits, kernel_va, map_kernel_idmap, map_swapper
from emu.layout import PageAllocator
from emu.memory import PhysicalMemory
from emu.scenario import Scenario
from emu.spans import Span
from emu.tables import TableBuilder
from traces.errors import InputError
from traces.schema import Phase, Role

# The last 64 KiB of the kernel's code, where this model puts what a hand-over runs. A real image has them elsewhere.
_IDMAP_TEXT_FROM_END = 0x1_0000
_HYP_STUB_FROM_END = 0xC000
_VECTORS_FROM_END = 0x8000
_HYP_STUB_MAX_BYTES = 0x4000
_PHASES_FROM_END = 0x7000

_SELF_BRANCH = (0x1400_0000).to_bytes(4, "little")
_VECTOR_BYTES, _VECTORS = 0x80, 16
_STACK_BYTES = 16384


class OldKernel:
    """The old kernel's image (code, vectors, tables, zero page), its control pages, and a record of what lies where.

    Its tables and zero page lie in its own data, as swapper_pg_dir and empty_zero_page do, where the new kernel will
    lie. What it allocates for kexec lies outside every destination.
    """

    def __init__(self, memory: PhysicalMemory, scenario: Scenario, pages: PageAllocator) -> None:
        self._memory = memory
        self._pages = pages
        self._granule_bytes = scenario.granule_bytes
        self.ranges: list[tuple[Span, Role]] = []
        self.symbols: dict[str, int] = {}
        self.tables: dict[str, TableBuilder] = {}
        self.code_pa = 0
        """Where the relocation code lies."""
        memory_map = scenario.memory_map
        if memory_map.kernel is None or memory_map.kernel_code is None or memory_map.kernel_data is None:
            raise InputError("memory_map: kernel code and kernel data are missing; the old kernel must be somewhere")
        self._pa_bits = scenario.pa_bits
        if memory_map.ram[-1].end > 1 << self._pa_bits:
            raise InputError(
                f"memory_map: RAM ends at {memory_map.ram[-1].end:#x}; "
                f"the modelled PE has {self._pa_bits}-bit addresses"
            )
        self._code = memory_map.kernel_code.whole(scenario.granule_bytes)
        data = memory_map.kernel_data.whole(scenario.granule_bytes)
        self.zero_page = data.end - scenario.granule_bytes
        self._table_at, self._table_end = data.pa, self.zero_page
        self.index = write_back_index(scenario.mair)
        # The linear map moved to the bottom of the range in 5.4; the MAIR was reordered in 5.10: near enough.
        flipped = self.index == 0 or scenario.lva
        self.va = kernel_va(memory_map, memory_map.kernel, scenario.va_bits, flipped=flipped)
        self.stage2 = map_guest(memory, memory_map, scenario.stage2)
        """Registers of the hypervisor below; none where there is none."""
        if self.stage2:
            self._record(hypervisor_span(memory_map), Role.TABLE)
        self._record(memory_map.kernel, Role.OLD_KERNEL)
        self._record(Span(self.zero_page, scenario.granule_bytes), Role.ZERO_PAGE)
        self.vectors_va = self._put_vectors()
        self.stack_va = self._put_stack()
        self.swapper = self.build_tables("swapper", scenario.va_bits, self.in_image)
        self._text_at = self._code.end - _PHASES_FROM_END
        # Where the tables are copied by the guest itself, it copies what it has.
        leaf = scenario.map_leaf_bytes if Phase.TABLES in scenario.phases else None
        map_swapper(self.swapper, self.va, memory_map, self.index, leaf)

    @property
    def table_roots(self) -> dict[str, int]:
        """Where the tables of each name begin."""
        return {name: tables.root for name, tables in self.tables.items()}

    @property
    def idmap_text_pa(self) -> int:
        """Where code lies that runs while the MMU goes off."""
        return self._code.end - _IDMAP_TEXT_FROM_END

    def build_idmap(self, scenario: Scenario) -> tuple[int, int]:
        """Make the kernel's own identity map of its idmap text; return its root and the TCR_EL1 to use it with."""
        text = Span(self.idmap_text_pa, _IDMAP_TEXT_FROM_END - _HYP_STUB_FROM_END)
        bits = idmap_bits(scenario.va_bits, text)
        tables = self.build_tables("idmap", bits, self.in_image)
        map_kernel_idmap(tables, text, self.index)
        return tables.ttbr, self.tcr(scenario, 64 - bits)

    def tcr(self, scenario: Scenario, t0sz: int | None = None) -> int:
        """Return TCR_EL1 of this kernel, with the T0SZ of an identity map where that differs."""
        return tcr_el1(
            va_bits=scenario.va_bits,
            granule_bytes=scenario.granule_bytes,
            pa_bits=self._pa_bits,
            t0sz=t0sz,
            walks=scenario.walks,
        )

    def build_tables(self, name: str, va_bits: int, allocate: Callable[[int], int] | None = None) -> TableBuilder:
        """Begin tables under `name`; every page they take, from control pages by default, is recorded as TABLE."""
        source = self.control if allocate is None else allocate

        def recorded(size: int) -> int:
            pa = source(size)
            self._record(Span(pa, size), Role.TABLE)
            return pa

        tables = TableBuilder(
            self._memory,
            recorded,
            granule_bytes=self._granule_bytes,
            va_bits=va_bits,
            pa_bits=max(self._pa_bits, 48),
        )
        self.tables[name] = tables
        return tables

    def in_image(self, size: int) -> int:
        """Allocate table memory in the kernel's data; from control pages when that is full."""
        pa = -(-self._table_at // size) * size
        if pa + size > self._table_end:
            return self.control(size)
        self._table_at = pa + size
        return pa

    def control(self, size: int) -> int:
        """Allocate control pages of `size` bytes, aligned to it."""
        return self._pages.control(-(-size // self._granule_bytes))

    def put_memory(self, role: Role, size: int) -> int:
        """Allocate control pages for `size` bytes; return where they begin."""
        pages = -(-size // self._granule_bytes)
        rounded = (1 << (pages - 1).bit_length()) * self._granule_bytes
        pa = self.control(rounded)
        self._record(Span(pa, rounded), role)
        return pa

    def put_page(self, role: Role, content: bytes = b"", at: int | None = None) -> int:
        """Write `content` to a control page of its own, or to the page `at`, which is nobody else's."""
        if len(content) > self._granule_bytes:
            raise InputError(f"control page: {len(content)} bytes do not fit its {self._granule_bytes}")
        pa = self.control(self._granule_bytes) if at is None else at
        self._memory.write(pa, content)
        self._record(Span(pa, self._granule_bytes), role)
        return pa

    def put_code_page(self, routine: Routine, role: Role) -> int:
        """Copy a routine to a control page, and note its symbols there."""
        if len(routine.code) > self._granule_bytes:
            raise InputError(
                f"{routine.name}: {len(routine.code)} bytes do not fit a control page of {self._granule_bytes}"
            )
        pa = self.put_page(role, routine.code)
        if role is Role.CODE:
            self.code_pa = pa
        return self._note_symbols(routine, pa)

    def put_text(self, routine: Routine) -> int:
        """Put a function of the kernel's into its code; return the VA that it runs at."""
        pa = self._text_at
        if pa + len(routine.code) > self._code.end:
            raise InputError(f"{routine.name}: {len(routine.code)} bytes do not fit the end of the kernel's code")
        self._memory.write(pa, routine.code)
        self._text_at += -(-len(routine.code) // 64) * 64
        va = self.va.in_image(pa)
        for name, offset in routine.symbols.items():
            self.symbols.setdefault(name, va + offset)
        return va

    def stack_pa(self, va: int) -> int:
        """Return the PA of an address on the stack."""
        return va - self.va.page_offset + self.va.phys_offset

    def put_idmap_text(self, routine: Routine) -> int:
        """Put the soft restart where it runs from, in the kernel's image."""
        room = _IDMAP_TEXT_FROM_END - _HYP_STUB_FROM_END
        if len(routine.code) > room:
            raise InputError(f"{routine.name}: {len(routine.code)} bytes do not fit the {room} of the idmap text")
        self._memory.write(self.idmap_text_pa, routine.code)
        return self._note_symbols(routine, self.idmap_text_pa)

    def put_hyp_stub(self, routine: Routine) -> int:
        """Put the hyp-stub's vectors where VBAR_EL2 has them since boot, in the kernel's image."""
        if len(routine.code) > _HYP_STUB_MAX_BYTES:
            raise InputError(
                f"{routine.name}: {len(routine.code)} bytes do not fit the {_HYP_STUB_MAX_BYTES} kept for it"
            )
        pa = self._code.end - _HYP_STUB_FROM_END
        self._memory.write(pa, routine.code)
        self._record(Span(pa, len(routine.code)), Role.VECTORS)
        return self._note_symbols(routine, pa)

    def _record(self, span: Span, role: Role) -> None:
        self.ranges.append((span, role))

    def _note_symbols(self, routine: Routine, pa: int) -> int:
        """Note where the symbols of a routine came to lie (it runs VA = PA); return `pa`."""
        for name, offset in routine.symbols.items():
            self.symbols.setdefault(name, pa + offset)
        self.symbols.setdefault(routine.name, pa + routine.entry)
        return pa

    def _put_vectors(self) -> int:
        """Put the kernel's own vectors, each a branch to itself: a real one would print and stop. Return their VA."""
        pa = self._code.end - _VECTORS_FROM_END
        self._memory.write(pa, (_SELF_BRANCH + bytes(_VECTOR_BYTES - 4)) * _VECTORS)
        self._record(Span(pa, _VECTOR_BYTES * _VECTORS), Role.VECTORS)
        self.symbols["vectors"] = self.va.in_image(pa)
        return self.va.in_image(pa)

    def _put_stack(self) -> int:
        """Allocate the stack that machine_kexec() runs on; return the VA of its top."""
        size = max(_STACK_BYTES, self._granule_bytes)
        pa = self.control(size)
        self._record(Span(pa, size), Role.STACK)
        return self.va.linear(pa + size)
