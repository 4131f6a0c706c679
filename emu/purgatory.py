"""Purgatory: our own between the relocation and the new kernel, with what kexec fills in before it loads it.

Its segment holds, page by page: the code, one page that it writes to (message schedule, last block, digest), and the
tables that its D-cache variant translates through, which kexec builds in user space.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asm.routines import Routine
from emu.content import ImageContent
from emu.memory import PhysicalMemory
from emu.scenario import Scenario
from emu.segments import Segment
from emu.tables import AF, TableBuilder, attr_index
from traces.errors import InputError
from traces.schema import PAGE_BYTES

SEGMENT_BYTES = 8 * PAGE_BYTES
"""Code, scratch and the tables of an image that spans less than 3 GiB."""

_LAST_BLOCK = 512
"""Where in the scratch page the padded end of the message is made; the schedule lies at its start."""
_BLOCK_BYTES = 2 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedPurgatory:
    """The segment as kexec loads it."""

    content: bytes
    scratch_page: int
    """Number of the page, in the segment, that it writes to."""
    digest: bytes
    """SHA-256 of every other segment."""


def load_purgatory(scenario: Scenario, routine: Routine, image: ImageContent) -> LoadedPurgatory:
    """Make the segment's content; `image` is what the other segments hold."""
    segment = scenario.purgatory_segment
    others = [each for each in scenario.segments if each is not segment]
    scratch_page = -(-len(routine.code) // PAGE_BYTES)
    scratch = segment.pa + scratch_page * PAGE_BYTES
    memory = PhysicalMemory()
    memory.add(segment.pa, segment.memsz)
    ttbr0 = _tables(memory, segment, scratch + PAGE_BYTES, scenario)
    memory.write(segment.pa, routine.code)
    digest = _digest(scenario, image, segment)

    def fill(name: str, *values: int) -> None:
        for place, value in enumerate(values):
            memory.write_u64(segment.pa + routine.symbols[name] + 8 * place, value)

    spans = [value for each in others for value in (each.pa, each.memsz)]
    fill("arm64_kernel_entry", scenario.end_pa)
    fill("arm64_dtb_addr", next((each.pa for each in others if each.name == "dtb"), 0))
    fill("purgatory_ttbr0", ttbr0)
    fill("sha256_schedule", scratch)
    fill("sha256_last_block", scratch + _LAST_BLOCK)
    # As the registers hold it: eight words, most significant byte first.
    fill("sha256_digest", *np.frombuffer(digest, ">u4").astype("<u4").view("<u8").tolist())
    fill("sha256_regions", *spans)
    fill("clean_regions", *spans, segment.pa, segment.memsz)
    content = memory.read(segment.pa, segment.memsz)
    return LoadedPurgatory(content=content, scratch_page=scratch_page, digest=digest)


def _tables(memory: PhysicalMemory, segment: Segment, at: int, scenario: Scenario) -> int:
    """Map every segment VA = PA in 2 MiB blocks: AF, AttrIndx 0, Non-shareable, no XN bit. Return TTBR0."""

    def allocate(size: int) -> int:
        nonlocal at
        pa, at = at, at + size
        if at > segment.span.end:
            raise InputError(
                f"purgatory: its segment of {segment.memsz} bytes is too small for its tables; "
                f"{SEGMENT_BYTES} are enough for an image that spans less than 3 GiB"
            )
        return pa

    tables = TableBuilder(memory, allocate)
    for span in scenario.destinations:
        first = span.pa // _BLOCK_BYTES * _BLOCK_BYTES
        last = -(-span.end // _BLOCK_BYTES) * _BLOCK_BYTES
        tables.map(first, first, last - first, AF | attr_index(0), _BLOCK_BYTES)
    return tables.ttbr


def _digest(scenario: Scenario, image: ImageContent, without: Segment) -> bytes:
    """SHA-256 of the image's pages in list order, zero padding included, less one segment's."""
    pages = [np.full(each.memsz // scenario.granule_bytes, each is not without) for each in scenario.segments]
    hashed: NDArray[np.bool_] = np.concatenate(pages)
    found = hashlib.sha256()
    for first, words in image.chunks():
        found.update(words[hashed[first : first + len(words)]].tobytes())
    return found.digest()
