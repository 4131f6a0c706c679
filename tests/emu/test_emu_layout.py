"""The default layout, the pages that the allocator gives, and the image's content."""

from itertools import pairwise

import numpy as np
import pytest

from emu.content import ImageContent
from emu.kimage import page_addresses
from emu.layout import PageAllocator, default_layout, place_self_copies
from emu.memory import PhysicalMemory
from emu.memory_map import MemoryMap
from emu.segments import Segment, check_segments
from emu.spans import Span
from traces.errors import InputError


@pytest.mark.parametrize("page_bytes", [4096, 16384, 65536])
@pytest.mark.parametrize("size", [1, 5 * 4096, 1 << 20, 25 << 20, 380_000_000])
def test_default_layout_is_a_real_kexec(size, page_bytes):
    layout = default_layout(size, page_bytes=page_bytes)
    check_segments("default", layout.segments, layout.memory_map, page_bytes)
    assert sum(segment.memsz for segment in layout.segments) == -(-size // page_bytes) * page_bytes
    assert layout.start == layout.segments[0].pa == layout.memory_map.kernel.pa
    for segment, following in pairwise(layout.segments):
        assert segment.span.end == following.pa
    if size >= 25 << 20:
        assert [segment.name for segment in layout.segments] == ["kernel", "initrd", "dtb", "purgatory"]
        assert Span(layout.segments[0].pa, size).contains(layout.memory_map.kernel), "old kernel and tables overwritten"


def test_default_layout_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="at least one byte"):
        default_layout(0)
    with pytest.raises(InputError, match="a third of RAM"):
        default_layout(4 << 30)


def allocator(segments, **ranges):
    memory_map = MemoryMap(ram=(Span(0x8000_0000, 64 << 20), Span(0x9000_0000, 64 << 20)), **ranges)
    return memory_map, PageAllocator(memory_map, segments)


@pytest.mark.parametrize("pattern", ["scatter", "sequential"])
def test_nothing_is_given_twice_or_from_where_it_must_not_be(pattern):
    destination = Span(0x8008_0000, 16 << 20)
    taken = Span(0x8200_0000, 1 << 20)
    memory_map, pages = allocator([destination], reserved=(taken,), nomap=(Span(0x9000_0000, 4096),))
    control = [Span(pages.control(n), n * 4096) for n in (1, 1, 2, 3, 16, 1)]
    sources = pages.sources(16000, pattern, seed=1).tolist()
    given = [*control, *(Span(pa, 4096) for pa in sources)]
    assert len(set(sources)) == 16000
    assert all(memory_map.is_ram(span) for span in given)
    assert not any(span.overlaps(destination) or span.overlaps(taken) for span in given)
    ordered = sorted(given)
    assert not any(a.overlaps(b) for a, b in pairwise(ordered))
    assert all(span.pa % (1 << (span.size - 1).bit_length()) == 0 for span in control)
    assert (sources == sorted(sources)) == (pattern == "sequential")


def test_scatter_is_seeded():
    draws = [allocator([])[1].sources(100, "scatter", seed).tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_memory_runs_out_in_one_line():
    with pytest.raises(InputError, match="40000 source and list pages are needed; 32768 are free"):
        allocator([])[1].sources(40000, "scatter", 1)
    with pytest.raises(InputError, match="no 20000 free pages in a row"):
        allocator([])[1].control(20000)
    with pytest.raises(InputError, match="must be one of scatter, sequential"):
        allocator([])[1].sources(1, "random", 1)


def test_self_copies():
    sources, destinations = np.arange(50, dtype=np.uint64), np.arange(100, 150, dtype=np.uint64)
    placed = place_self_copies(sources, destinations, 4, 7, [Span(0, 1000)])
    assert int((placed == destinations).sum()) == 4
    assert int((placed == sources).sum()) == 46
    few = place_self_copies(sources, destinations, 4, 7, [Span(110, 3), Span(150, 9)])
    assert np.flatnonzero(few == destinations).tolist() == [10, 11, 12]
    assert (place_self_copies(sources, destinations, 4, 7, []) == sources).all()


def test_content_is_different_everywhere_and_zero_behind_size():
    memory = PhysicalMemory()
    memory.add(0x8000_0000, 8 << 20)
    memory.add(0x9000_0000, 8 << 20)
    segments = (
        Segment(pa=0x8000_0000, size=2 * 4096 + 100, memsz=4 * 4096, name="kernel"),
        Segment(pa=0x8001_0000, size=0, memsz=4096, name="zero"),
    )
    content = ImageContent(segments, seed=3)
    at = np.array([0x8010_0000, 0x9000_0000, 0x8030_0000, 0x9005_0000, 0x8000_1000], np.uint64)
    for pa in at.tolist():
        memory.write(pa, b"\xff" * 4096)
    content.write(memory, at)
    pages = [memory.read(pa, 4096) for pa in at.tolist()]
    words = np.frombuffer(b"".join(pages[:2]) + pages[2][:96], "<u8")
    assert len(np.unique(words)) == len(words)
    assert pages[2][:100] != bytes(100)
    assert pages[2][100:] == bytes(3996)
    assert pages[3] == pages[4] == bytes(4096)
    assert content.wrong_pages(memory, at).tolist() == []
    memory.write(0x9000_0FFF, bytes([pages[1][-1] ^ 1]))
    memory.write(0x8030_0000 + 2000, b"\x01")
    assert content.wrong_pages(memory, at).tolist() == [1, 2]
    assert ImageContent(segments, seed=4).wrong_pages(memory, at).tolist() == [0, 1, 2]


def test_content_at_16k_pages():
    memory = PhysicalMemory()
    memory.add(0x8000_1000, 8 << 20)  # the region begins off a page boundary
    segments = (Segment(pa=0x8010_0000, size=5 * 16384, memsz=5 * 16384, name="kernel"),)
    content = ImageContent(segments, seed=3, page_bytes=16384)
    at = page_addresses([segments[0].span], 16384)[::-1].copy()
    content.write(memory, at)
    assert not len(content.wrong_pages(memory, at))
    assert content.wrong_pages(memory, at[::-1].copy()).tolist() == [0, 1, 3, 4]
