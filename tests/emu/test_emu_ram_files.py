"""Files of memory: raw, ELF cores, and what people and fuzzers hand in instead."""

import os
import time

import dumped
import numpy as np
import pytest

from emu.ram_files import RamFile, open_ram
from traces.errors import InputError

PA = 0x4000_0000
CONTENT = bytes(np.random.default_rng(1).integers(0, 256, 0x5000, np.uint8))


def test_raw_memory_lies_at_its_base_and_is_never_written(tmp_path):
    file = tmp_path / "ram"
    file.write_bytes(CONTENT)
    memory = open_ram([RamFile(file, PA)])
    assert [(region.pa, region.size) for region in memory.regions] == [(PA, 0x5000)]
    assert memory.read(PA, 0x5000) == CONTENT
    memory.write(PA + 0x1FFE, b"own")
    assert memory.read(PA + 0x1FFC, 7) == CONTENT[0x1FFC:0x1FFE] + b"own" + CONTENT[0x2001:0x2003]
    assert file.read_bytes() == CONTENT
    assert open_ram([RamFile(file, PA)]).read(PA, 0x5000) == CONTENT


def test_several_files_make_one_memory(tmp_path):
    for name in ("low", "high"):
        (tmp_path / name).write_bytes(name.encode().ljust(4096, b"\0"))
    memory = open_ram([RamFile(tmp_path / "high", 0x8_0000_0000), RamFile(tmp_path / "low", PA)])
    assert (memory.read(PA, 3), memory.read(0x8_0000_0000, 4)) == (b"low", b"high")


def test_a_core_says_where_its_memory_lies_and_what_it_left_out_is_zero(tmp_path):
    # As makedumpfile -E writes: pages that it leaves out are the end of a segment, beyond p_filesz.
    core = dumped.elf(tmp_path / "core", [(PA, CONTENT, 0x5000), (0x8000_0000, CONTENT[:0x1800], 0x4000)])
    memory = open_ram([RamFile(core)])
    assert memory.read(PA, 0x5000) == CONTENT
    assert memory.read(0x8000_0000, 0x4000) == CONTENT[:0x1800] + bytes(0x2800)
    before = core.read_bytes()
    memory.write(PA, bytes(0x5000))
    memory.write_u64(0x8000_1000, 5)
    assert core.read_bytes() == before


def test_the_kernels_own_image_may_be_there_twice(tmp_path):
    """A kdump kernel's vmcore has it as such and as part of RAM."""
    twice = [(PA + 0x1000, CONTENT[0x1000:0x3000], 0x2000), (PA, CONTENT, 0x5000)]
    assert open_ram([RamFile(dumped.elf(tmp_path / "core", twice))]).read(PA, 0x5000) == CONTENT


def test_what_is_not_touched_is_not_read(tmp_path):
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(64 << 30)
        file.seek((64 << 30) - 8)
        file.write(b"the end.")
    began = time.process_time()
    memory = open_ram([RamFile(huge, PA)])
    assert memory.read(PA + (64 << 30) - 8, 8) == b"the end."
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("content", "base", "complaint"),
    [
        (b"", PA, "empty file"),
        (bytes(4097), PA, "memory at 0x40000000+0x1001 must begin and end on a multiple of 0x1000"),
        (bytes(4096), PA + 16, "must begin and end on a multiple"),
        (bytes(4096), 1 << 52, "must lie within 52-bit physical addresses"),
        (bytes(4096), None, "no ELF core; of raw memory say where it begins"),
        (b"KDUMP   ".ljust(4096, b"\0"), None, "kdump-compressed"),
        (b"KDUMP   ".ljust(4096, b"\0"), PA, "kdump-compressed"),
        (b"DISKDUMP".ljust(4096, b"\0"), None, "a diskdump"),
        (b"makedumpfile\0".ljust(4096, b"\0"), None, "makedumpfile -R"),
        (b"\x7fELF", None, "truncated ELF header"),
    ],
)
def test_files_that_are_refused(content, base, complaint, tmp_path):
    refused(tmp_path / "ram", content, complaint, base)


def refused(path, content: bytes, complaint: str, base: int | None = None) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError) as problem:
        open_ram([RamFile(path, base)])
    assert str(problem.value).startswith(str(path))
    assert complaint in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("parts", "changes", "complaint"),
    [
        ([(PA, CONTENT, 0x5000)], {"kind": 2}, "no core dump"),
        ([(PA, CONTENT, 0x5000)], {"machine": 62}, "ELF machine 62"),
        ([(PA, CONTENT, 0x5000)], {"width": 1}, "32-bit ELF"),
        ([(PA, CONTENT, 0x5000)], {"order": 2}, "big-endian ELF"),
        ([(PA, CONTENT, 0x5000)], {"count": 60000}, "program headers 0x40+0x334500 are not inside the file"),
        ([(PA, CONTENT, 0x5000)], {"count": 0xFFFF}, "65535 program headers or more"),
        ([(PA, CONTENT, 0x5000)], {"entry": 32}, "program headers"),
        ([], {}, "without a segment of memory"),
        ([(PA, CONTENT, 0x4000)], {}, "p_filesz 0x5000 must not exceed p_memsz 0x4000"),
        ([(PA + 8, CONTENT, 0x5000)], {}, "must begin and end on a multiple"),
        ([(PA, CONTENT, 0x5008)], {}, "must begin and end on a multiple"),
        ([((1 << 64) - 0x1000, CONTENT[:0x1000], 0x1000)], {}, "must lie within 52-bit"),
        ([(0, CONTENT, (1 << 64) - 0x1000)], {}, "must lie within 52-bit"),
        ([(0, CONTENT, 1 << 52)], {}, "0xfffffffffb000 bytes of it are not in the file"),
        ([(0, CONTENT, 1 << 44)], {}, "are not in the file"),
        ([(PA, CONTENT, 0x5000), (PA + 0x4000, CONTENT, 0x5000)], {}, "overlaps 0x40000000..0x40004fff"),
        ([(PA, CONTENT, 0x5000), (PA, CONTENT[::-1], 0x5000)], {}, "is there twice, with different content"),
        ([(PA + 0x1000 * n, CONTENT[:16], 0x1000) for n in range(5000)], {}, "5000 segments of memory; at most 4096"),
    ],
)
def test_cores_that_are_refused(parts, changes, complaint, tmp_path):
    refused(tmp_path / "core", dumped.elf(tmp_path / "made", parts, **changes).read_bytes(), complaint)


@pytest.mark.parametrize("keep", [40, 64, 100, 0x4F0, 0x1000, 0x54EF])
def test_a_truncated_core(keep, tmp_path):
    whole = dumped.elf(tmp_path / "made", [(PA, CONTENT, 0x5000)]).read_bytes()
    refused(tmp_path / "core", whole[:keep], "")


def test_random_damage_is_refused_or_read_but_never_a_crash(tmp_path):
    whole = dumped.elf(tmp_path / "made", [(PA, CONTENT, 0x5000), (0x8000_0000, CONTENT, 0x8000)]).read_bytes()
    draw, outcomes = np.random.default_rng(7), set()
    for _ in range(300):
        damaged = bytearray(whole)
        for at in draw.integers(0, 64 + 112, 3):
            damaged[at] = draw.integers(0, 256)
        (tmp_path / "core").write_bytes(damaged)
        outcomes.add(outcome(tmp_path / "core"))
    assert outcomes == {"read", "refused"}


def outcome(path) -> str:
    try:
        open_ram([RamFile(path)])
    except InputError as problem:
        return "refused" if "\n" not in str(problem) else "refused at length"
    return "read"


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, complaint in (("fifo", "not a regular file"), (".", "not a regular file"), ("none", "cannot be read")):
        with pytest.raises(InputError, match=complaint):
            open_ram([RamFile(tmp_path / path, PA)])
