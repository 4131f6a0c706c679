"""Kimage: the list of entries that the relocation routine walks, built as the kernel builds it, and read back.

An entry is a 64-bit word, the physical address of a page with one flag in its low bits (include/linux/kexec.h). The
list fills pages of PAGE_SIZE / 8 words whose last word links to the next page: 511 entries and a link with 4K pages,
2047 and a link with 16K (kernel/kexec_core.c: kimage_add_entry, kimage_terminate; facts in docs/history.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from emu.memory import PhysicalMemory
from emu.spans import Span, merge
from traces.errors import InputError
from traces.schema import PAGE_BYTES


class Indirection(IntFlag):
    """The flag of a list entry."""

    DESTINATION = 1
    """The address is where the next source page goes; it advances by itself."""
    INDIRECTION = 2
    """The address is that of the next list page."""
    DONE = 4
    SOURCE = 8


_FLAGS = 15
_WORD_BYTES = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Kimage:
    """A list and what it moves: page `sources[i]` to `destinations[i]`, in list order."""

    head: int
    list_pages: tuple[int, ...]
    sources: NDArray[np.uint64]
    destinations: NDArray[np.uint64]
    page_bytes: int = PAGE_BYTES

    @property
    def self_copies(self) -> int:
        """Pages that are loaded where they belong."""
        return int(np.count_nonzero(self.sources == self.destinations))


def list_page_count(segments: Sequence[Span], page_bytes: int = PAGE_BYTES) -> int:
    """How many list pages the kernel takes for one DESTINATION a segment and one SOURCE a page."""
    entries = sum(1 + span.size // page_bytes for span in segments)
    return -(-entries // (page_bytes // _WORD_BYTES - 1))


def write_list(
    memory: PhysicalMemory,
    segments: Sequence[Span],
    sources: NDArray[np.uint64],
    list_pages: Sequence[int],
    page_bytes: int = PAGE_BYTES,
) -> Kimage:
    """Write the list that moves `sources`, in order, to the pages of `segments`, into `list_pages`.

    Without segments (a crash kernel is loaded where it runs) the head alone says DONE and no page is used.
    """
    if not segments:
        empty = np.empty(0, np.uint64)
        return Kimage(head=Indirection.DONE, list_pages=(), sources=empty, destinations=empty, page_bytes=page_bytes)
    destinations = page_addresses(segments, page_bytes)
    if len(destinations) != len(sources):
        raise InputError(f"kimage: {len(sources)} source pages for {len(destinations)} destination pages")
    slots = page_bytes // _WORD_BYTES
    entries = _entries(segments, sources, page_bytes)
    needed = -(-len(entries) // (slots - 1))
    if needed > len(list_pages):
        raise InputError(f"kimage: {len(entries)} entries need {needed} list pages; there are {len(list_pages)}")
    used = tuple(list_pages[:needed])
    rows = np.zeros((needed, slots), np.uint64)
    padded = np.zeros(needed * (slots - 1), np.uint64)
    padded[: len(entries)] = entries
    rows[:, :-1] = padded.reshape(needed, slots - 1)
    rows[:-1, -1] = np.array(used[1:], np.uint64) | np.uint64(Indirection.INDIRECTION)
    # kimage_terminate() takes the next free slot, which may be the one kept for the link.
    rows[-1, len(entries) - (needed - 1) * (slots - 1)] = Indirection.DONE
    for pa, row in zip(used, rows, strict=True):
        memory.write(pa, row.tobytes())
    return Kimage(
        head=used[0] | Indirection.INDIRECTION,
        list_pages=used,
        sources=sources,
        destinations=destinations,
        page_bytes=page_bytes,
    )


def page_addresses(spans: Sequence[Span], page_bytes: int = PAGE_BYTES) -> NDArray[np.uint64]:
    """Return the address of every page of the spans, in their order."""
    if not spans:
        return np.empty(0, np.uint64)
    return np.concatenate([np.arange(span.pa, span.end, page_bytes, dtype=np.uint64) for span in spans])


def read_list(
    memory: PhysicalMemory, head: int, page_bytes: int = PAGE_BYTES, ram: Sequence[Span] | None = None
) -> Kimage:
    """Walk any list, whoever wrote it, as the routine would; InputError where the routine would go astray.

    Refused: a list that comes back to one of its pages, or runs out of a page without a link or DONE; an entry without
    a flag, with two, or with other low bits; an address outside `ram` (default: all of `memory`); a source before any
    destination.
    """
    spans = merge(ram if ram is not None else [Span(region.pa, region.size) for region in memory.regions])
    pages: list[int] = []
    moves: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []
    entry, where, destination = head, "head", None
    while entry != Indirection.DONE:
        pa = _list_page(entry, where, page_bytes, spans, pages)
        pages.append(pa)
        words = np.frombuffer(memory.read(pa, page_bytes), "<u8").astype(np.uint64)
        ends = np.flatnonzero(words & np.uint64(Indirection.INDIRECTION | Indirection.DONE))
        stop = int(ends[0]) if len(ends) else len(words)
        _check_entries(words[:stop], pa, page_bytes, spans)
        if not len(ends):
            raise InputError(f"kimage list: page {pa:#x} ends without a link or DONE: the list is not terminated")
        sources, destinations, destination = _moves(words[:stop], pa, page_bytes, destination)
        moves.append((sources, destinations))
        entry, where = int(words[stop]), f"entry at {pa + stop * _WORD_BYTES:#x}"
    empty = np.empty(0, np.uint64)
    return Kimage(
        head=head,
        list_pages=tuple(pages),
        sources=np.concatenate([empty, *(each[0] for each in moves)]),
        destinations=np.concatenate([empty, *(each[1] for each in moves)]),
        page_bytes=page_bytes,
    )


def _entries(segments: Sequence[Span], sources: NDArray[np.uint64], page_bytes: int) -> NDArray[np.uint64]:
    """Return the list without its links: for each segment one DESTINATION, then its SOURCEs."""
    parts, done = [], 0
    for span in segments:
        count = span.size // page_bytes
        parts.append(np.array([span.pa | Indirection.DESTINATION], np.uint64))
        parts.append(sources[done : done + count] | np.uint64(Indirection.SOURCE))
        done += count
    return np.concatenate(parts)


def _list_page(entry: int, where: str, page_bytes: int, ram: Sequence[Span], seen: Sequence[int]) -> int:
    """Return the list page that a link names; refuse every other entry, and pages seen before."""
    pa = entry & ~(page_bytes - 1)
    if entry & page_bytes - 1 != Indirection.INDIRECTION:
        raise InputError(
            f"kimage list: {where} is {entry:#x}; a link must be a page address with flag 2, or 4 alone (DONE)"
        )
    if pa in seen:
        raise InputError(f"kimage list: {where} links back to page {pa:#x}: the list is cyclic")
    if not any(span.contains(Span(pa, page_bytes)) for span in ram):
        raise InputError(f"kimage list: {where} is {entry:#x}: a list page outside RAM")
    return pa


def _check_entries(words: NDArray[np.uint64], pa: int, page_bytes: int, ram: Sequence[Span]) -> None:
    """Refuse entries of one page that are neither SOURCE nor DESTINATION of a page in RAM."""
    low = words & np.uint64(page_bytes - 1)
    addresses = words - low
    inside = np.zeros(len(words), bool)
    for span in ram:
        if span.size >= page_bytes:
            inside |= (addresses >= np.uint64(span.pa)) & (addresses <= np.uint64(span.end - page_bytes))
    flagged = (low == np.uint64(Indirection.SOURCE)) | (low == np.uint64(Indirection.DESTINATION))
    for good, rule in (
        (words != 0, "is 0: the list is not terminated by DONE"),
        (flagged, "must be a page address with exactly one flag (1, 2, 4 or 8)"),
        (inside, "names a page outside RAM"),
    ):
        if not good.all():
            row = int(np.argmin(good))
            raise InputError(f"kimage list: entry at {pa + row * _WORD_BYTES:#x} ({int(words[row]):#x}) {rule}")


def _moves(
    words: NDArray[np.uint64], pa: int, page_bytes: int, destination: int | None
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], int | None]:
    """Return sources and destinations that the entries of one page move, and the destination that comes next."""
    is_source = (words & np.uint64(Indirection.SOURCE)) != 0
    page = np.uint64(page_bytes)
    if destination is None and len(words) and is_source[0]:
        raise InputError(f"kimage list: entry at {pa:#x} is a SOURCE before any DESTINATION")
    bases = np.concatenate([np.array([destination or 0], np.uint64), words[~is_source] & ~(page - np.uint64(1))])
    segment = np.cumsum(~is_source)
    before = np.cumsum(is_source)
    first = np.concatenate([np.zeros(1, np.int64), before[~is_source]])
    copied = (before - first[segment]).astype(np.uint64)
    following = bases[segment] + copied * page
    if not len(words):
        return words, words, destination
    return words[is_source] & ~(page - np.uint64(1)), following[is_source] - page, int(following[-1])
