"""The page tables that kernels make for kexec, by era, and those that they run on (facts: docs/history.md).

Every function fills a TableBuilder that it is given, so that the caller says where table pages come from. Attribute
constants are the eras' own, with their AttrIndx: paired with another era's MAIR they are wrong, which is a hazard that
a run must be able to show.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emu.memory_map import MemoryMap
from emu.spans import Span, merge, subtract
from emu.tables import AF, AP_READ_ONLY, DBM, PXN, SH_INNER, UXN, TableBuilder, attr_index
from traces.errors import InputError

RFC_V1_BLOCK = 0x711
"""AF, SH inner, AttrIndx 4, valid; RW, neither PXN nor UXN."""
PAGE_KERNEL_V5_3 = 0x0068_0000_0000_0713
PAGE_KERNEL_EXEC_V5_3 = 0x0048_0000_0000_0713
"""Bit 54 is UXN at EL1 and under EL2&0; at EL2 without E2H it is XN."""
PAGE_KERNEL_EXEC_V5_17 = 0x0048_0000_0000_0703

_MIB, _GIB = 1 << 20, 1 << 30
_MODULES_BYTES = 128 * _MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelVa:
    """Where a kernel of `va_bits` sees memory. `flipped`: the linear map at the bottom of the range (since 5.4)."""

    va_bits: int
    phys_offset: int
    image: Span
    flipped: bool

    @property
    def page_offset(self) -> int:
        """VA of the linear map."""
        return (1 << 64) - (1 << self.va_bits if self.flipped else 1 << (self.va_bits - 1))

    @property
    def image_va(self) -> int:
        """VA of the kernel image, behind the modules, as far into 2 MiB as it lies physically.

        Of a 52-bit kernel it lies where a PE with 48 bits reaches it, too (VA_BITS_MIN).
        """
        other_half = (1 << 64) - (1 << (min(self.va_bits, 48) - 1) if self.flipped else 1 << self.va_bits)
        return other_half + _MODULES_BYTES + self.image.pa % (2 * _MIB)

    def linear(self, pa: int) -> int:
        """VA of `pa` in the linear map."""
        return pa - self.phys_offset + self.page_offset

    def in_image(self, pa: int) -> int:
        """VA of `pa` in the kernel image."""
        return pa - self.image.pa + self.image_va


def kernel_va(memory_map: MemoryMap, image: Span, va_bits: int, *, flipped: bool) -> KernelVa:
    """Lay out the VA space for this RAM: memstart is aligned so that the largest blocks can be used."""
    first, end = memory_map.ram[0].pa, memory_map.ram[-1].end
    found = KernelVa(va_bits=va_bits, phys_offset=first // _GIB * _GIB, image=image, flipped=flipped)
    if end - found.phys_offset > 1 << (va_bits - 1):
        raise InputError(f"va_bits: RAM from {first:#x} to {end:#x} does not fit the linear map of {va_bits} bits")
    return found


def kernel_attributes(index: int, *, executable: bool = False, read_only: bool = False) -> int:
    """PAGE_KERNEL, PAGE_KERNEL_EXEC or PAGE_KERNEL_RO of an era whose Normal memory has AttrIndx `index`."""
    return attr_index(index) | SH_INNER | AF | UXN | (0 if executable else PXN) | (AP_READ_ONLY if read_only else DBM)


def map_kernel_idmap(tables: TableBuilder, text: Span, index: int) -> None:
    """Map what switches the MMU off, VA = PA, as head.S does: with 4K pages the whole 2 MiB around it, executable."""
    size = 2 * _MIB if tables.granule_bytes == 4096 else tables.granule_bytes
    for span in _rounded([text], size):
        tables.map(span.pa, span.pa, span.size, attr_index(index) | SH_INNER | AF, size)


def map_swapper(
    tables: TableBuilder, va: KernelVa, memory_map: MemoryMap, index: int, largest_leaf_bytes: int | None = None
) -> None:
    """Map the linear map and the kernel image, as paging_init() does without rodata=full: blocks wherever they fit.

    The image's own memory is read-only in the linear map, so a store through it faults: a copy that is to be written
    through must drop that (map_linear_copy).
    """
    data = kernel_attributes(index)
    read_only = kernel_attributes(index, read_only=True)
    code = _code(memory_map)
    for span in _mapped_ram(memory_map, [code], tables.granule_bytes):
        tables.map(va.linear(span.pa), span.pa, span.size, data, largest_leaf_bytes)
    tables.map(va.linear(code.pa), code.pa, code.size, read_only, largest_leaf_bytes)
    executable = kernel_attributes(index, executable=True, read_only=True)
    tables.map(va.in_image(code.pa), code.pa, code.size, executable, largest_leaf_bytes)
    rest = subtract([va.image], [code])
    for span in rest:
        tables.map(va.in_image(span.pa), span.pa, span.size, data, largest_leaf_bytes)


def map_linear_copy(
    tables: TableBuilder, va: KernelVa, memory_map: MemoryMap, index: int, largest_leaf_bytes: int | None
) -> None:
    """Map the linear map again (trans_pgd_create_copy): blocks kept, or cut to `largest_leaf_bytes`; all writable."""
    code = _code(memory_map)
    for span in (*_mapped_ram(memory_map, [code], tables.granule_bytes), code):
        tables.map(va.linear(span.pa), span.pa, span.size, kernel_attributes(index), largest_leaf_bytes)


def map_rfc_v1(tables: TableBuilder, memory_map: MemoryMap, segments: Sequence[Span]) -> None:
    """Map every memblock region and every segment, VA = PA, in blocks: starts rounded down, ends rounded up.

    memblock's regions include those marked nomap, and rounding may reach beyond them all: J1..J4 of its review.
    """
    block = tables.granule_bytes * tables.granule_bytes // 8
    for span in _rounded([*memory_map.ram, *memory_map.nomap, *segments], block):
        tables.map(_unchecked(tables, span.pa), span.pa, span.size, RFC_V1_BLOCK, block)


def map_rfc_v2(tables: TableBuilder, data: Iterable[Span], code: Span, *, clear_xn: bool = False) -> None:
    """Map what the copy needs, VA = PA, page by page; `clear_xn` takes bit 54 out of the code page's leaf."""
    for span in merge(data):
        tables.map(_unchecked(tables, span.pa), span.pa, span.size, PAGE_KERNEL_V5_3, tables.granule_bytes)
    attributes = PAGE_KERNEL_EXEC_V5_3 & ~UXN if clear_xn else PAGE_KERNEL_EXEC_V5_3
    tables.map(_unchecked(tables, code.pa), code.pa, code.size, attributes, tables.granule_bytes)


def map_merged_idmap(tables: TableBuilder, code: Span) -> None:
    """Map the one page of relocation code, VA = PA (trans_pgd_idmap_page)."""
    tables.map(_unchecked(tables, code.pa), code.pa, code.size, PAGE_KERNEL_EXEC_V5_17, tables.granule_bytes)


def map_window(
    tables: TableBuilder, sources: Sequence[int], destinations: Sequence[Span], index: int
) -> tuple[int, int]:
    """Map sources and destinations, each in a row and page by page, in the two halves of TTBR1's range (PATCH v1..v11).

    Return the VAs of the rows: KEXEC_SRC_START and KEXEC_DST_START.
    """
    page, attributes = tables.granule_bytes, kernel_attributes(index)
    first, middle = (1 << 64) - (1 << tables.va_bits), (1 << 64) - (1 << (tables.va_bits - 1))
    for number, pa in enumerate(sources):
        tables.map(first + number * page, pa, page, attributes, page)
    at = middle
    for span in destinations:
        tables.map(at, span.pa, span.size, attributes, page)
        at += span.size
    return first, middle


def idmap_bits(va_bits: int, span: Span) -> int:
    """Return how many VA bits an identity map of `span` needs: the kernel's own, or 48 where it lies above them.

    A 52-bit kernel uses 48 (VA_BITS_MIN), or 52 where it lies above those.
    """
    if va_bits == 52:
        return 48 if span.end <= 1 << 48 else 52
    return va_bits if span.end <= 1 << va_bits else max(va_bits, 48)


def _unchecked(tables: TableBuilder, pa: int) -> int:
    """Return where p?d_index() puts an identity mapping: it masks the address to VA_BITS, and nothing checks (J7)."""
    return pa % (1 << tables.va_bits)


def _code(memory_map: MemoryMap) -> Span:
    if memory_map.kernel_code is None:
        raise InputError("memory map: kernel code is missing; the running kernel must be somewhere")
    return memory_map.kernel_code


def _mapped_ram(memory_map: MemoryMap, without: Iterable[Span], granule_bytes: int) -> tuple[Span, ...]:
    """Return the RAM that the linear map shows, less `without`, in whole granules."""
    spans = subtract(merge(memory_map.ram), (*memory_map.nomap, *memory_map.no_access, *without))
    return tuple(whole for span in spans if (whole := span.whole(granule_bytes)).size > 0)


def _rounded(spans: Iterable[Span], size: int) -> tuple[Span, ...]:
    """Return spans of whole multiples of `size` that cover all, joined."""
    covered = []
    for span in spans:
        first = span.pa // size * size
        covered.append(Span(first, -(-span.end // size) * size - first))
    return merge(covered)
