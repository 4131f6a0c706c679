"""Segments: from TOML and from three kinds of debug output, and what is refused in one line."""

from pathlib import Path

import pytest

from emu.memory_map import MemoryMap, memory_map_from_file
from emu.segments import Segment, check_segments, segments_from_file, segments_from_kexec_debug, segments_from_toml
from emu.spans import Span
from traces.errors import InputError

DATA = Path(__file__).parent.parent / "data"
RAM = MemoryMap(ram=(Span(0x8000_0000, 1 << 30),), nomap=(Span(0x9000_0000, 1 << 20),))


@pytest.mark.parametrize(
    ("version", "kernel", "start"), [("5.10", 0x16B_0000, 0x416F_C690), ("6.1", 0x1AA_0000, 0x41AE_C690)]
)
def test_real_debug_output_of_kexec_tools(version, kernel, start):
    load = segments_from_file(DATA / f"qemu-virt-{version}.kexec-debug.txt")
    assert load.start == start
    assert not load.crash
    assert [segment.name for segment in load.segments] == ["kernel", "segment[1]", "segment[2]", "purgatory"]
    assert load.segments[0].span == Span(0x4000_0000, kernel)
    assert load.segments[1].size == 300000
    assert load.segments[3].memsz == 0x4000
    check_segments(version, load.segments, memory_map_from_file(DATA / f"qemu-virt-{version}.iomem.txt"))


def test_debug_output_of_the_kernels_own_loader():
    load = segments_from_kexec_debug(
        "[   12.345678] kexec_file: nr_segments = 2\n"
        "[   12.345679] kexec_file: segment[0]: buf=0x00000000a bufsz=0x1a mem=0x80080000 memsz=0x2000\n"
        "[   12.345680] kexec_file: segment[1]: buf=0x00000000b bufsz=0x1001 mem=0x80082000 memsz=0x2000\n"
        "[   12.345681] kexec_file: kexec_file_load: type:1, start:0x80080000 head:0x4 flags:0x8\n"
    )
    assert load.start == 0x8008_0000
    assert load.crash
    assert load.segments[1] == Segment(pa=0x8008_2000, size=0x1001, memsz=0x2000, name="segment[1]")


def test_debug_output_of_machine_kexec_and_of_initrd_and_dtb_lines():
    load = segments_from_kexec_debug(
        "dtb:    base 80090000, size 1e07h (7687)\n"
        "  kexec kimage info:\n    start:       80080000\n"
        "      segment[0]: 0000000080080000 - 0000000080090000, 0x10000 bytes, 16 pages\n"
        "      segment[1]: 0000000080090000 - 0000000080092000, 0x2000 bytes, 2 pages\n"
    )
    assert load.start == 0x8008_0000
    assert [(segment.name, segment.size) for segment in load.segments] == [("kernel", 0x1_0000), ("dtb", 0x2000)]


def test_toml():
    load = segments_from_toml(
        "start = 0x8008_0040\n[[segment]]\nname='kernel'\npa=0x8008_0000\nsize=5000\n"
        "[[segment]]\npa=0x8010_0000\nsize='1MiB'\nmemsz='2MiB'\n"
    )
    assert load.start == 0x8008_0040
    assert load.segments[0] == Segment(pa=0x8008_0000, size=5000, memsz=8192, name="kernel")
    assert load.segments[1].name == "segment[1]"
    check_segments("toml", load.segments, RAM)


def segment(pa=0x8008_0000, size=4096, memsz=4096, name="s"):
    return Segment(pa=pa, size=size, memsz=memsz, name=name)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([], "no segment"),
        ([segment(pa=0x8000_0000 + n * 4096) for n in range(17)], "at most 16"),
        ([segment(pa=0x8008_0800)], "pa 0x80080800 must be a multiple"),
        ([segment(memsz=5000)], "size 0x1388 must be a multiple"),
        ([segment(memsz=0, size=0)], "must be positive"),
        ([segment(memsz=-4096)], "must be positive"),
        ([segment(size=5000)], "between 0 and memsz"),
        ([segment(size=-1)], "between 0 and memsz"),
        ([segment(pa=0x7000_0000)], "must lie in RAM"),
        ([segment(pa=0x8FFF_F000, memsz=8192)], "must lie in RAM"),
        ([segment(pa=(1 << 52) - 4096, memsz=8192)], "52-bit"),
        ([segment(), segment(pa=0x8007_F000, memsz=8192, name="t")], "t overlaps s"),
    ],
)
def test_bad_segments_are_refused_in_one_line(segments, message):
    with pytest.raises(InputError) as refusal:
        check_segments("file", segments, RAM)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("file: ")
    assert "\n" not in str(refusal.value)


def test_segments_must_fit_the_page_size():
    with pytest.raises(InputError, match="multiple of 0x4000"):
        check_segments("file", [segment(pa=0x8008_1000, memsz=0x4000)], RAM, 0x4000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "no line names a segment"),
        ("segment[1].mem = 0x1000\nsegment[1].memsz = 0x1000\n", "segment[0].mem is missing"),
        ("segment[0].mem = 0x1000\n", "segment[0].memsz is missing"),
        ("segment[4000000000].mem = 0x1000\n", "at most 16"),
    ],
)
def test_bad_debug_output_is_refused_in_one_line(text, message):
    with pytest.raises(InputError) as refusal:
        segments_from_kexec_debug(text, "log")
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("log")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start = 'x'\n[[segment]]\npa=0\nsize=1", "start: 'x' is not a size"),
        ("[[segment]]\npa=0", "'size' is missing"),
        ("[[segment]]\npa=0\nsize=1\nname=3", "name: 3 must be text"),
        ("[[segment]]\npa=0\nsize=1\nbss=3", "unknown key 'bss'"),
        ("[[memory]]\npa=0", "[[segment]]"),
    ],
)
def test_bad_toml_is_refused_in_one_line(text, message):
    with pytest.raises(InputError) as refusal:
        segments_from_toml(text, "my.toml")
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("my.toml")
