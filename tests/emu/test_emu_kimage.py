"""The kimage list: as the kernel writes it, and what a walk of a foreign one refuses."""

import numpy as np
import pytest

from emu.kimage import Indirection, list_page_count, page_addresses, read_list, write_list
from emu.memory import PhysicalMemory
from emu.spans import Span
from traces.errors import InputError

RAM = Span(0x8000_0000, 64 << 20)
LIST = 0x8200_0000


@pytest.fixture
def memory():
    memory = PhysicalMemory()
    memory.add(*RAM)
    return memory


def sources(count, page_bytes=4096):
    return np.arange(count, dtype=np.uint64) * np.uint64(page_bytes) + np.uint64(0x8300_0000)


def kernel_list(memory, segments, page_bytes=4096):
    """kimage_add_entry() and kimage_terminate(), word by word: the naive twin of write_list."""
    words = []
    pages = iter(range(LIST, RAM.end, page_bytes))
    slots = page_bytes // 8
    head = next(pages) | 2
    at, last = head - 2, head - 2 + (slots - 1) * 8
    source = 0x8300_0000
    for segment in segments:
        words.append(segment.pa | 1)
        for _ in range(segment.size // page_bytes):
            words.append(source | 8)
            source += page_bytes
    for word in words:
        if at == last:
            page = next(pages)
            memory.write_u64(at, page | 2)
            at, last = page, page + (slots - 1) * 8
        memory.write_u64(at, word)
        at += 8
    memory.write_u64(at, 4)
    return head


COUNTS = [1, 2, 509, 510, 511, 512, 1019, 1021, 1022, 1023]


@pytest.mark.parametrize(
    ("page_bytes", "count"),
    [*((4096, count) for count in COUNTS), *((16384, count) for count in (1, 2045, 2046, 2047))],
)
def test_the_list_is_the_kernels_word_by_word(memory, count, page_bytes):
    spans = [Span(0x8008_0000, (count + 1) // 2 * page_bytes), Span(0x83C0_0000, count // 2 * page_bytes)]
    segments = [span for span in spans if span.size]
    pages = [LIST + n * page_bytes for n in range(list_page_count(segments, page_bytes))]
    kimage = write_list(memory, segments, sources(count, page_bytes), pages, page_bytes)
    written = memory.read(LIST, (len(pages) + 1) * page_bytes)
    naive = PhysicalMemory()
    naive.add(*RAM)
    assert kernel_list(naive, segments, page_bytes) == kimage.head
    assert naive.read(LIST, (len(pages) + 1) * page_bytes) == written
    back = read_list(memory, kimage.head, page_bytes, ram=[Span(0x8000_0000, 1 << 31)])
    assert back.list_pages == kimage.list_pages == tuple(pages)
    assert (back.sources == kimage.sources).all()
    assert (back.destinations == kimage.destinations).all()
    assert (back.destinations == page_addresses(segments, page_bytes)).all()


def test_a_25_mib_segment_takes_13_list_pages():
    assert list_page_count([Span(0x8008_0000, 25 << 20)]) == 13


def test_nothing_to_move_is_a_head_that_says_done(memory):
    kimage = write_list(memory, [], sources(0), [])
    assert kimage.head == Indirection.DONE
    assert len(read_list(memory, kimage.head).sources) == 0


def test_counts_must_agree(memory):
    with pytest.raises(InputError, match="2 source pages for 1"):
        write_list(memory, [Span(0x8008_0000, 4096)], sources(2), [LIST])
    with pytest.raises(InputError, match="need 2 list pages"):
        write_list(memory, [Span(0x8008_0000, 511 * 4096)], sources(511), [LIST])


def put(memory, *words, at=LIST):
    memory.write(at, np.array(words, np.uint64).tobytes())


@pytest.mark.parametrize(
    ("head", "words", "message"),
    [
        (0, [], "head is 0x0"),
        (LIST | 8, [], "a link must be"),
        (LIST | 2 | 4, [], "a link must be"),
        (LIST + 8 | 2, [], "a link must be"),
        (0x7000_0000 | 2, [], "list page outside RAM"),
        (LIST | 2, [], "0x82000000 (0x0) is 0: the list is not terminated"),
        (
            LIST | 2,
            [0x8008_0001, 0x8300_0008, LIST | 2],
            "0x82000010 links back to page 0x82000000: the list is cyclic",
        ),
        (LIST | 2, [0x8008_0001, 0x8300_0008, LIST + 0x800 | 2], "0x82000010 is 0x82000802; a link must be"),
        (LIST | 2, [0x8008_0001, 0x8300_0008, 0x9300_0000 | 2], "list page outside RAM"),
        (LIST | 2, [0x8008_0001, 0x8300_0008, 0x8300_1004], "0x82000010 is 0x83001004; a link must be"),
        (LIST | 2, [0x8008_0001] + [0x8300_0008] * 511, "ends without a link or DONE"),
        (LIST | 2, [0x8300_0008, 4], "0x82000000 is a SOURCE before any DESTINATION"),
        (LIST | 2, [0x8008_0001, 0x8300_0018, 4], "0x82000008 (0x83000018) must be a page address"),
        (LIST | 2, [0x8008_0001, 0x8300_0009, 4], "exactly one flag"),
        (LIST | 2, [0x8008_0001, 0x8300_0000, 4], "exactly one flag"),
        (LIST | 2, [0x8008_0001, 0x8400_0008, 4], "0x82000008 (0x84000008) names a page outside RAM"),
        (LIST | 2, [0x7008_0001, 4], "names a page outside RAM"),
        (LIST | 2, [0x8008_0001, 0xFFFF_FFFF_FFFF_F008, 4], "names a page outside RAM"),
        (LIST | 2, [0x8008_0001, 0x8300_0008, 0], "is 0: the list is not terminated"),
    ],
)
def test_foreign_lists_are_refused_in_one_line(memory, head, words, message):
    put(memory, *words)
    with pytest.raises(InputError) as refusal:
        read_list(memory, head)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_ring_of_two_pages_is_cyclic(memory):
    put(memory, 0x8008_0001, LIST + 4096 | 2)
    put(memory, 0x8300_0008, LIST | 2, at=LIST + 4096)
    with pytest.raises(InputError, match="0x82001008 links back to page 0x82000000: the list is cyclic"):
        read_list(memory, LIST | 2)


def test_destinations_carry_over_to_the_next_page(memory):
    put(memory, 0x8008_0001, 0x8300_0008, LIST + 4096 | 2)
    put(memory, 0x8300_1008, 0x8010_0001, LIST + 8192 | 2, at=LIST + 4096)
    put(memory, 0x8300_2008, 4, at=LIST + 8192)
    found = read_list(memory, LIST | 2)
    assert [hex(pa) for pa in found.destinations.tolist()] == ["0x80080000", "0x80081000", "0x80100000"]
    assert found.sources.tolist() == [0x8300_0000, 0x8300_1000, 0x8300_2000]
    assert found.self_copies == 0
