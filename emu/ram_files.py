"""RAM as files hold it: raw from QEMU's `pmemsave`, or an ELF core from its `dump-guest-memory` or a kdump kernel."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from asm.elf import LoadSegment, core_segments
from emu.memory import PhysicalMemory
from emu.spans import PA_BITS, Span
from traces.errors import InputError
from traces.reading import regular_size
from traces.schema import PAGE_BYTES

_MOST_SEGMENTS = 4096
_MOST_ABSENT_BYTES = 1 << 40
"""What makedumpfile leaves out of a segment; a machine with more is not met."""
_TAKE_ELF = (
    "take it again as an ELF core (QEMU: dump-guest-memory without -z, -l, -s; kdump: makedumpfile -E -d 0, or cp)"
)
_REFUSED = {
    b"KDUMP   ": f"kdump-compressed, which makedumpfile does not turn back into memory; {_TAKE_ELF}",
    b"DISKDUMP": f"a diskdump; {_TAKE_ELF}",
    b"makedumpfile": "a flattened makedumpfile stream; `makedumpfile -R NEW < FILE` makes a file of it, "
    "an ELF core if it was made with -E",
}


class RamFile(NamedTuple):
    """A file of memory. `base` is where its first byte lies; None for an ELF core, which says so itself."""

    path: Path
    base: int | None = None


def open_ram(files: Sequence[RamFile]) -> PhysicalMemory:
    """Map the files into memory, copy-on-write: what is not touched is not read, and nothing is written to them.

    Raises InputError, one line, for a file that is cut off or none of these, and for pieces that overlap with different
    content. (A vmcore names the kernel's own image twice, as such and as part of RAM.)
    """
    memory = PhysicalMemory()
    for each in files:
        with _opened(each.path) as file:
            for segment in _segments(each, file):
                _add(memory, each.path, file, segment)
    return memory


def _opened(path: Path) -> BinaryIO:
    regular_size(path)
    try:
        return path.open("rb")
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {problem.strerror}") from None


def _segments(each: RamFile, file: BinaryIO) -> Sequence[LoadSegment]:
    """Return what the file holds of memory, largest first: what another one repeats comes behind it."""
    path, base = each
    size = path.stat().st_size
    start = file.read(16)
    for magic, words in _REFUSED.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {words}")
    if start.startswith(b"\x7fELF") and base is None:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            segments = core_segments(path, data)
    elif base is None:
        raise InputError(f"{path}: no ELF core; of raw memory say where it begins: {path}@0x40000000")
    else:
        segments = (LoadSegment(base, size, 0, size),)
    if len(segments) > _MOST_SEGMENTS:
        raise InputError(f"{path}: {len(segments)} segments of memory; at most {_MOST_SEGMENTS} are looked at")
    for segment in segments:
        _check(path, segment)
    return sorted(segments, key=lambda segment: (-segment.memory_bytes, segment.pa))


def _check(path: Path, segment: LoadSegment) -> None:
    where = f"{path}: memory at {segment.pa:#x}+{segment.memory_bytes:#x}"
    if (segment.pa | segment.memory_bytes) % PAGE_BYTES:
        raise InputError(f"{where} must begin and end on a multiple of {PAGE_BYTES:#x}")
    if segment.pa + segment.memory_bytes > 1 << PA_BITS:
        raise InputError(f"{where} must lie within {PA_BITS}-bit physical addresses")
    if segment.memory_bytes - segment.file_bytes > _MOST_ABSENT_BYTES:
        raise InputError(f"{where}: {segment.memory_bytes - segment.file_bytes:#x} bytes of it are not in the file")


def _add(memory: PhysicalMemory, path: Path, file: BinaryIO, segment: LoadSegment) -> None:
    span = Span(segment.pa, segment.memory_bytes)
    if memory.contains(span.pa, span.size):
        _check_repeats(memory, path, file, segment)
        return
    for region in memory.regions:
        if span.overlaps(Span(region.pa, region.size)):
            raise InputError(f"{path}: memory at {span} overlaps {Span(region.pa, region.size)}")
    mapped = segment.file_bytes // PAGE_BYTES * PAGE_BYTES
    if mapped:
        memory.map_file(span.pa, mapped, file, segment.offset)
    if mapped < span.size:  # the rest reads as zero; makedumpfile leaves such pages out
        memory.add(span.pa + mapped, span.size - mapped)
        file.seek(segment.offset + mapped)
        memory.write(span.pa + mapped, file.read(segment.file_bytes - mapped))


def _check_repeats(memory: PhysicalMemory, path: Path, file: BinaryIO, segment: LoadSegment) -> None:
    """Refuse a segment inside another whose content is not the same."""
    file.seek(segment.offset)
    for done in range(0, segment.file_bytes, 1 << 20):
        size = min(1 << 20, segment.file_bytes - done)
        if memory.read(segment.pa + done, size) != file.read(size):
            raise InputError(
                f"{path}: memory at {Span(segment.pa, segment.memory_bytes)} is there twice, with different content"
            )
