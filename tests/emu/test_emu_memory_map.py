"""Memory maps: what is read from TOML and /proc/iomem, and what is refused in one line."""

from pathlib import Path

import numpy as np
import pytest

from emu.memory_map import MemoryMap, memory_map_from_file, memory_map_from_iomem, memory_map_from_toml
from emu.segments import check_segments, segments_from_toml
from emu.spans import Span, merge, page_spans, subtract
from traces.errors import InputError

DATA = Path(__file__).parent.parent / "data"

TOML = """
[[memory]]
kind = "ram"
pa = 0x8000_0000
size = "1GiB"
[[memory]]
kind = "nomap"
pa = 0x9000_0000
size = "16MiB"
[[memory]]
kind = "no-access"
pa = 0x8000_0000
size = 4096
[[memory]]
kind = "kernel-code"
pa = 0x8008_0000
size = "16MiB"
[[memory]]
kind = "kernel-data"
pa = 0x8108_0000
size = "4MiB"
"""


def test_toml():
    found = memory_map_from_toml(TOML)
    assert found.ram == (Span(0x8000_0000, 1 << 30),)
    assert found.nomap == (Span(0x9000_0000, 16 << 20),)
    assert found.no_access == (Span(0x8000_0000, 4096),)
    assert found.kernel == Span(0x8008_0000, 20 << 20)
    assert found.is_ram(Span(0x8100_0000, 4096))
    assert not found.is_ram(Span(0x8FFF_F000, 8192))
    assert not found.is_ram(Span(0x8000_0000, 4096))
    assert found.allocatable() == (
        Span(0x8000_1000, 0x7_F000),
        Span(0x8148_0000, 0x9000_0000 - 0x8148_0000),
        Span(0x9100_0000, 0xC000_0000 - 0x9100_0000),
    )


@pytest.mark.parametrize(("version", "code"), [("5.10", 0x4020_0000), ("6.1", 0x4021_0000)])
def test_a_real_iomem(version, code):
    found = memory_map_from_file(DATA / f"qemu-virt-{version}.iomem.txt")
    assert found.ram == (Span(0x4000_0000, 0x1000_0000),)
    assert found.kernel_code is not None
    assert found.kernel_code.pa == code
    assert len(found.reserved) == 8
    assert all(found.is_ram(span) for span in found.reserved)
    assert not any(span.overlaps(other) for span in found.allocatable() for other in found.reserved)


def test_iomem_top_level_reserved_is_nomap_and_edges_are_cut_to_pages():
    found = memory_map_from_iomem(
        "80000800-8fffffff : System RAM\n  80081000-80081fff : Kernel code\n  8f000010-8f00001f : reserved\n"
        "90000000-900fffff : reserved\n90100000-9fffffff : System RAM\n"
    )
    assert found.ram == (Span(0x8000_1000, 0x0FFF_F000), Span(0x9010_0000, 0x0FF0_0000))
    assert found.nomap == (Span(0x9000_0000, 0x10_0000),)
    assert found.reserved == (Span(0x8F00_0000, 0x1000),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n", "read it as root"),
        ("80000000-8fffffff : System RAM\nnonsense\n", ":2: 'nonsense' is not a line"),
        ("8fffffff-80000000 : System RAM\n", ":1: 'System RAM' ends"),
        ("  80000000-8fffffff : System RAM\n", "indented below nothing"),
        ("80000000-8fffffff : System RAM\n  90000000-90000fff : reserved\n", ":2: 'reserved' does not lie inside"),
        ("80000000-8fffffff : System RAM\n88000000-97ffffff : System RAM\n", "overlaps"),
        ("09000000-09000fff : uart\n", "System RAM"),
        ("80000000-ffffffffffffffff : System RAM\n", "52-bit"),
    ],
)
def test_bad_iomem_is_refused_in_one_line(text, message):
    with pytest.raises(InputError) as refusal:
        memory_map_from_iomem(text, "iomem.txt")
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("iomem.txt")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "not TOML"),
        ("", "[[memory]]"),
        ("memory = 3", "[[memory]]"),
        ("memory = [3]", "must be a table"),
        ("[[memory]]\nkind='ram'\npa=0x80000000", "memory[0]: 'size' is missing"),
        ("[[memory]]\nkind='ram'\npa=0x80000000\nsize='1GiB'\ncolour='red'", "unknown key 'colour'"),
        ("[[memory]]\nkind='rom'\npa=0x80000000\nsize='1GiB'", "'rom' must be one of ram"),
        ("[[memory]]\nkind='ram'\npa=-4096\nsize='1GiB'", "-4096 is negative"),
        ("[[memory]]\nkind='ram'\npa=0x80000010\nsize='1GiB'", "multiple of 0x1000"),
        ("[[memory]]\nkind='ram'\npa=0x80000000\nsize=0", "must be positive"),
        ("[[memory]]\nkind='ram'\npa=0x80000000\nsize='8PB'", "is not a size"),
        ("[[memory]]\nkind='ram'\npa=0xffffffffff000\nsize='1GiB'", "52-bit"),
        ("[[memory]]\nkind='ram'\npa=true\nsize='1GiB'", "True is not a size"),
        ("[[memory]]\nkind='nomap'\npa=0x80000000\nsize='1GiB'", "no RAM"),
        (TOML + "[[memory]]\nkind='kernel-code'\npa=0x80000000\nsize=4096", "may be given once"),
        (TOML + "[[memory]]\nkind='ram'\npa=0xb0000000\nsize='1GiB'", "overlaps"),
        (TOML.replace("0x8008_0000", "0x8fff_f000"), "kernel_code"),
    ],
)
def test_bad_toml_is_refused_in_one_line(text, message):
    with pytest.raises(InputError) as refusal:
        memory_map_from_toml(text, "my.toml")
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("my.toml")
    assert "\n" not in str(refusal.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        memory_map_from_file(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        memory_map_from_file(tmp_path / "binary")


def test_spans():
    assert subtract([Span(0, 10)], [Span(0, 2), Span(4, 1), Span(9, 5)]) == (Span(2, 2), Span(5, 4))
    assert subtract([Span(0, 10), Span(20, 5)], [Span(5, 20)]) == (Span(0, 5),)
    assert merge([Span(4, 4), Span(0, 4), Span(10, 2), Span(11, 4)]) == (Span(0, 8), Span(10, 5))
    pages = np.array([8, 0, 4, 20, 24, 16, 40], np.uint64)
    assert page_spans(pages, 4) == (Span(0, 12), Span(16, 12), Span(40, 4))
    assert page_spans(pages[:0], 4) == ()
    assert MemoryMap(ram=(Span(4096, 4096), Span(0, 4096))).is_ram(Span(0, 8192))


def test_the_documented_examples_are_accepted():
    text = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")
    memory, segments = (block.split("```")[0] for block in text.split("```toml\n")[1:])
    found = memory_map_from_toml(memory, "docs")
    load = segments_from_toml(segments, "docs")
    check_segments("docs", load.segments, found)
    assert load.start == load.segments[0].pa == found.kernel_code.pa
