"""Where everything lies: the default machine and image for a size, and the pages the old kernel's allocator gives out.

The default is what real kexecs do (kexec-tools on arm64): the new kernel goes where the old one runs, initrd, dtb and
purgatory follow it without a gap, so that the destination covers the old kernel's image and tables. What is loaded lies
in whatever pages the allocator had: scattered, a few of them by chance where they belong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.kimage import page_addresses
from emu.memory_map import MemoryMap
from emu.segments import Segment
from emu.spans import Span
from traces.errors import InputError
from traces.schema import PAGE_BYTES

STINGRAY_RAM = Span(0x8000_0000, 8 << 30)
"""One bank. RFC v2's printed TTBR0_EL2 (0x1b3069000) lies in it; the board's real amount is not in the thread."""

TEXT_OFFSET = 0x8_0000
"""Where kernels before 5.10 want to lie above a 2 MiB boundary; newer ones accept it."""

SOURCE_PATTERNS = ("scatter", "sequential")

_KERNEL_SHARE = (13, 37)
"""Kernel and whole, in MB, of the first published timing (T1: Image 13M, initramfs 24M)."""
_DTB_BYTES, _PURGATORY_BYTES = 0x1E07, 0x3460
"""As `kexec -d` printed them for a real board (tests/data)."""
_CRASH_DISTANCE_BYTES, _CRASH_ALIGN_BYTES = 256 << 20, 2 << 20
"""How far above the old kernel a crash kernel's memory begins, and on what boundary (CRASH_ALIGN)."""
_SPARE_PAGES = (5, 4)
"""Scattered sources are drawn from a quarter more pages than are needed: the holes are other people's memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A machine and an image to load on it. `start`: the new kernel's first instruction."""

    memory_map: MemoryMap
    segments: tuple[Segment, ...]
    start: int


def default_layout(
    size_bytes: int,
    *,
    page_bytes: int = PAGE_BYTES,
    ram: Span = STINGRAY_RAM,
    crash: bool = False,
    purgatory_bytes: int = _PURGATORY_BYTES,
) -> Layout:
    """Lay out an image of `size_bytes` (rounded up to pages) in all, over the old kernel at the bottom of `ram`.

    A `crash` kernel instead lies in memory reserved for it (crashkernel=), where it will run. `purgatory_bytes`: of the
    purgatory's segment, where the image is large enough to have one.
    """
    pages = -(-size_bytes // page_bytes)
    if pages < 1:
        raise InputError(f"size: {size_bytes} must be at least one byte")
    if 3 * pages * page_bytes > ram.size:
        raise InputError(f"size: {size_bytes} must be at most a third of RAM, which is {ram.size >> 20} MiB")
    base = ram.pa + max(TEXT_OFFSET, page_bytes)
    # The old kernel is of the new one's make, and never so small that its tables do not fit its data.
    code = Span(base, min(max(pages * 2 // 5, 64), (17 << 20) // page_bytes) * page_bytes)
    data = Span(code.end, min(max(pages // 10, 96), (4 << 20) // page_bytes) * page_bytes)
    reserved: tuple[Span, ...] = ()
    if crash:
        base = -(-(data.end + _CRASH_DISTANCE_BYTES) // _CRASH_ALIGN_BYTES) * _CRASH_ALIGN_BYTES
        reserved = (Span(base, pages * page_bytes),)
    memory_map = MemoryMap(ram=(ram,), reserved=reserved, kernel_code=code, kernel_data=data)
    return Layout(memory_map=memory_map, segments=_segments(base, pages, page_bytes, purgatory_bytes), start=base)


def _segments(base: int, pages: int, page_bytes: int, purgatory_bytes: int) -> tuple[Segment, ...]:
    """Kernel, initrd, dtb and purgatory, one behind the other; of an image too small for that, the kernel alone."""
    dtb, purgatory = (-(-size // page_bytes) for size in (_DTB_BYTES, purgatory_bytes))
    kernel = pages * _KERNEL_SHARE[0] // _KERNEL_SHARE[1]
    initrd = pages - kernel - dtb - purgatory
    if initrd < 1 or kernel < 1:
        return (Segment(pa=base, size=pages * page_bytes, memsz=pages * page_bytes, name="kernel"),)
    segments, at = [], base
    for name, count, size in (
        ("kernel", kernel, (kernel - kernel // 40) * page_bytes),  # .bss: 151 of 5,808 pages in a real kernel
        ("initrd", initrd, initrd * page_bytes - 0xC20),
        ("dtb", dtb, _DTB_BYTES),
        ("purgatory", purgatory, purgatory_bytes),
    ):
        segments.append(Segment(pa=at, size=size, memsz=count * page_bytes, name=name))
        at += count * page_bytes
    return tuple(segments)


class PageAllocator:
    """Pages of free RAM outside every destination, as kimage_alloc_*_pages() end up with them. Nothing is given twice.

    Sources and list pages are drawn from the bottom of free memory, control pages and tables from its top.
    """

    def __init__(self, memory_map: MemoryMap, destinations: Sequence[Span], page_bytes: int = PAGE_BYTES) -> None:
        self._page_bytes = page_bytes
        spans = memory_map.allocatable(destinations)
        self._free = [whole for span in spans if (whole := span.whole(page_bytes)).size > 0]

    def control(self, count: int = 1) -> int:
        """Give `count` pages in a row and return the address of the first. It is aligned to its own size."""
        size = count * self._page_bytes
        for index in reversed(range(len(self._free))):
            span = self._free[index]
            pa = span.end - size & -(1 << (size - 1).bit_length())
            if pa >= span.pa:
                # What the alignment leaves above is lost: at most as much as is asked for.
                self._free[index] = Span(span.pa, pa - span.pa)
                return pa
        raise InputError(f"memory map: no {count} free pages in a row are left for tables and control pages")

    def sources(self, count: int, pattern: str, seed: int) -> NDArray[np.uint64]:
        """Give `count` single pages: consecutive ones, or a seeded shuffle of a somewhat larger stretch."""
        if pattern not in SOURCE_PATTERNS:
            raise InputError(f"sources: {pattern!r} must be one of {', '.join(SOURCE_PATTERNS)}")
        if pattern == "sequential":
            self._raise_to_row(count)
        pool = self._lowest(count if pattern == "sequential" else count * _SPARE_PAGES[0] // _SPARE_PAGES[1])
        if len(pool) < count:
            raise InputError(f"memory map: {count} source and list pages are needed; {len(pool)} are free")
        if pattern == "scatter":
            pool = np.random.default_rng(seed).permutation(pool)
        return pool[:count]

    def _raise_to_row(self, count: int) -> None:
        """Put the first stretch that has `count` pages in a row before all others."""
        for index, span in enumerate(self._free):
            if span.size >= count * self._page_bytes:
                self._free.insert(0, self._free.pop(index))
                return

    def _lowest(self, count: int) -> NDArray[np.uint64]:
        """Take up to `count` pages from the bottom of free memory."""
        taken: list[Span] = []
        while count and self._free:
            span = self._free.pop(0)
            size = min(count * self._page_bytes, span.size)
            taken.append(Span(span.pa, size))
            count -= size // self._page_bytes
            if size < span.size:
                self._free.insert(0, Span(span.pa + size, span.size - size))
        return page_addresses(taken, self._page_bytes)


def place_self_copies(
    sources: NDArray[np.uint64], destinations: NDArray[np.uint64], count: int, seed: int, allocatable: Sequence[Span]
) -> NDArray[np.uint64]:
    """Return `sources` with up to `count` of them, seeded, where they belong: kimage_alloc_page() hits those by chance.

    Only pages of `allocatable` can be hit, which the old kernel's own image is not part of.
    """
    possible = np.zeros(len(destinations), bool)
    for span in allocatable:
        possible |= (destinations >= np.uint64(span.pa)) & (destinations < np.uint64(span.end))
    places = np.flatnonzero(possible)
    chosen = np.random.default_rng([seed, 1]).choice(places, min(count, len(places)), replace=False)
    placed = sources.copy()
    placed[chosen] = destinations[chosen]
    return placed
