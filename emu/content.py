"""What the new kernel's image holds: seeded pseudo-random bytes, different in every page, that can be made again.

So that "the image is correct" is a real check, without keeping a copy of hundreds of megabytes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emu.memory import PhysicalMemory
from emu.segments import Segment
from traces.schema import PAGE_BYTES

_CHUNK_PAGES = 2048

Words = NDArray[np.uint64]


class ImageContent:
    """The content of every page of the image, in list order; zero behind each segment's `size`."""

    def __init__(
        self,
        segments: Sequence[Segment],
        seed: int,
        page_bytes: int = PAGE_BYTES,
        *,
        given: Mapping[int, bytes] | None = None,
        unchecked: Collection[int] = (),
    ) -> None:
        """`given`: what pages hold instead, by number. `unchecked`: pages that the image itself may write to."""
        self._page_bytes = page_bytes
        self._given = dict(given or {})
        self._unchecked = np.array(sorted(unchecked), np.int64)
        counts = [segment.memsz // page_bytes for segment in segments]
        filled = [
            np.clip(segment.size - np.arange(n) * page_bytes, 0, page_bytes)
            for segment, n in zip(segments, counts, strict=True)
        ]
        self._filled_bytes = np.concatenate(filled) if filled else np.empty(0, np.int64)
        keys = np.random.default_rng([seed, 2])
        self._page_keys = keys.integers(0, 1 << 64, len(self._filled_bytes), np.uint64)
        self._word_keys = keys.integers(0, 1 << 64, page_bytes // 8, np.uint64)

    @property
    def pages(self) -> int:
        """How many pages the image has."""
        return len(self._page_keys)

    def write(self, memory: PhysicalMemory, at: Words) -> None:
        """Write page i of the image to the physical page `at[i]`."""
        for first, words in self.chunks():
            pages = at[first : first + len(words)]
            for rows, inside, selected in page_rows(memory, pages, self._page_bytes):
                rows[inside] = words if selected is None else words[selected]

    def wrong_pages(self, memory: PhysicalMemory, at: Words) -> NDArray[np.int64]:
        """Return the numbers of the pages of which the physical page `at[i]` does not hold the content."""
        wrong: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        for first, words in self.chunks():
            pages = at[first : first + len(words)]
            for rows, inside, selected in page_rows(memory, pages, self._page_bytes):
                numbers = np.arange(len(pages)) if selected is None else np.flatnonzero(selected)
                same = (rows[inside] == words[numbers]).all(axis=1)
                wrong.append(first + numbers[~same])
        return np.setdiff1d(np.concatenate(wrong), self._unchecked)

    def chunks(self) -> Iterator[tuple[int, Words]]:
        """Make the content, some pages at a time: (first page, [page, word])."""
        for first in range(0, self.pages, _CHUNK_PAGES):
            words = self._page_keys[first : first + _CHUNK_PAGES, None] ^ self._word_keys
            filled = self._filled_bytes[first : first + _CHUNK_PAGES]
            for row in np.flatnonzero(filled < self._page_bytes):
                words[row].view(np.uint8)[filled[row] :] = 0
            for number, content in self._given.items():
                if first <= number < first + len(words):
                    words[number - first] = np.frombuffer(content, np.uint64)
            yield first, words


def page_rows(
    memory: PhysicalMemory, pages: Words, page_bytes: int
) -> Iterator[tuple[Words, NDArray[np.int64], NDArray[np.bool_] | None]]:
    """For each region that holds some of `pages`: memory as [page, word], their rows, and which of `pages` they are.

    `None`: all of them. Pages that lie in no region, or across two, are left out.
    """
    for region in memory.regions:
        first = -region.pa % page_bytes
        inside = (pages >= np.uint64(region.pa + first)) & (pages < np.uint64(region.pa + region.size))
        if not inside.any():
            continue
        whole = (region.size - first) // page_bytes * page_bytes
        rows = region.data[first : first + whole].view(np.uint64).reshape(-1, page_bytes // 8)
        selected = None if inside.all() else inside
        chosen = pages if selected is None else pages[selected]
        yield rows, ((chosen - np.uint64(region.pa + first)) // np.uint64(page_bytes)).astype(np.int64), selected
