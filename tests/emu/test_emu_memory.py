import numpy as np
import pytest

from emu.memory import PhysicalMemory
from traces.errors import InputError


@pytest.fixture
def memory():
    memory = PhysicalMemory()
    memory.add(0x8000_0000, 0x2000)
    memory.add(0x4000_0000, 0x2000)
    memory.add(0x4000_2000, 0x1000)
    return memory


def test_reads_zero_until_written_and_back_what_was_written(memory):
    assert memory.read(0x4000_0000, 16) == bytes(16)
    memory.write(0x4000_0004, b"abcd")
    assert memory.read(0x4000_0003, 6) == b"\0abcd\0"
    memory.write_u64(0x8000_0000, -1)
    assert memory.read_u64(0x8000_0000) == 2**64 - 1


def test_a_range_may_span_regions_that_touch(memory):
    memory.write(0x4000_1FFE, b"wxyz")
    assert memory.read(0x4000_1FFE, 4) == b"wxyz"
    assert memory.contains(0x4000_0000, 0x3000)


def test_the_region_table_names_the_host_memory_itself(memory):
    table = memory.region_table
    assert table[:, 0].tolist() == [0x4000_0000, 0x4000_2000, 0x8000_0000]
    assert table.dtype == np.uint64
    for region, row in zip(memory.regions, table, strict=True):
        assert row[2] == region.data.ctypes.data
        assert row[2] % 4096 == 0
    memory.regions[2].data[5] = 7
    assert memory.read(0x8000_0005, 1) == b"\7"


@pytest.mark.parametrize(("pa", "size"), [(0x4000_2FFF, 2), (0x3FFF_FFFF, 2), (0, 1), (0x8000_2000, 1)])
def test_what_is_not_ram_is_refused_and_nothing_is_written(memory, pa, size):
    assert not memory.contains(pa, size)
    before = [region.data.copy() for region in memory.regions]
    with pytest.raises(InputError, match="not RAM"):
        memory.read(pa, size)
    with pytest.raises(InputError, match="not RAM"):
        memory.write(pa, b"\1" * size)
    assert all((region.data == old).all() for region, old in zip(memory.regions, before, strict=True))


@pytest.mark.parametrize(
    ("pa", "size"),
    [(0x4000_1000, 0x1000), (0x3FFF_F000, 0x2000), (0x100, 0x1000), (0x1000, 0), (-0x1000, 0x1000), (1 << 52, 0x1000)],
)
def test_regions_are_whole_pages_that_do_not_overlap(memory, pa, size):
    with pytest.raises(InputError, match="memory: region"):
        memory.add(pa, size)
