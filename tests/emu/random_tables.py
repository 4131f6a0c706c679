"""Random translation tables: trees grown towards given addresses, with every attribute that decides an access."""

import random
from collections.abc import Callable

from unicorn_mmu import CODE, RAM, RAM_BYTES, TABLE_BYTES

from emu.memory import PhysicalMemory

AF = 1 << 10


class TablePool:
    """The table area at the start of RAM, given out at random places and zeroed."""

    def __init__(self, memory: PhysicalMemory, rng: random.Random) -> None:
        self.memory = memory
        self.rng = rng
        self.taken: set[int] = set()

    def allocate(self, size: int) -> int:
        while True:
            pa = RAM + self.rng.randrange(TABLE_BYTES // size) * size
            pages = set(range(pa, pa + size, 4096))
            if not pages & self.taken:
                self.taken |= pages
                self.memory.write(pa, bytes(size))
                return pa


class Tree:
    """One stage's tables. `plant` makes the descriptors on the way to an address, where there are none yet."""

    def __init__(
        self,
        pool: TablePool,
        granule_log2: int,
        input_bits: int,
        *,
        leaf_attributes: Callable[[random.Random], int],
        table_attributes: Callable[[random.Random], int] = lambda rng: 0,
        start_level: int | None = None,
    ) -> None:
        self.pool, self.rng, self.memory = pool, pool.rng, pool.memory
        self.granule_log2, self.input_bits = granule_log2, input_bits
        self.stride = granule_log2 - 3
        self.leaf_attributes, self.table_attributes = leaf_attributes, table_attributes
        levels = -(-(input_bits - granule_log2) // self.stride)
        self.start_level = 4 - levels if start_level is None else start_level
        self.first_log2 = 3 + input_bits - self.leaf_log2(self.start_level)
        self.root = pool.allocate(max(1 << granule_log2, 1 << self.first_log2))

    def leaf_log2(self, level: int) -> int:
        return self.granule_log2 + self.stride * (3 - level)

    def plant(self, va: int, *, to: int | None = None, attributes: int = 0) -> None:
        """Grow towards `va`; with `to`, a whole path of plain tables and one page that maps it there."""
        table, top = self.root, self.input_bits
        for level in range(self.start_level, 4):
            low = self.leaf_log2(level)
            at = table + (va >> low & (1 << top - low) - 1) * 8
            descriptor = self.memory.read_u64(at)
            if not descriptor & 1 or (to is not None and level == 3):
                descriptor = self._choose(level, to, attributes)
                self.memory.write_u64(at, descriptor)
            if level == 3 or descriptor & 3 != 3:
                return
            table, top = descriptor & (1 << 48) - (1 << self.granule_log2), low

    def _choose(self, level: int, to: int | None, attributes: int) -> int:
        rng = self.rng
        if to is not None and level == 3:
            return to | attributes | 3
        if to is None and rng.random() < 0.06:
            # Invalid, with the other bits as they fall; at level 3 a block's encoding is as invalid.
            return rng.getrandbits(64) & ~3 | rng.choice([0, 2, 1] if level == 3 else [0, 2])
        may_end = level >= (1 if self.granule_log2 == 12 else 2)
        if to is None and may_end and (level == 3 or rng.random() < 0.4):
            return self._leaf(level)
        plain = 0 if to is not None else self.table_attributes(rng)
        return self.pool.allocate(1 << self.granule_log2) | plain | 3

    def _leaf(self, level: int) -> int:
        """A leaf that mostly maps RAM: its own, whatever the size, or anywhere below 2**32."""
        rng, size = self.rng, 1 << self.leaf_log2(level)
        pa = RAM + rng.randrange(TABLE_BYTES, RAM_BYTES) if rng.random() < 0.85 else rng.getrandbits(32)
        return pa & ~(size - 1) | self.leaf_attributes(rng) | (3 if level == 3 else 1)


def stage1_leaf(rng: random.Random) -> int:
    """All of AttrIndx, AP, SH, nG, contiguous, PXN, UXN and the software bits; AF now and then clear."""
    bits = rng.getrandbits(64) & (7 << 2 | 3 << 6 | 3 << 8 | 1 << 11 | 1 << 52 | 3 << 53 | 15 << 55)
    if rng.random() < 0.5:
        bits &= ~(3 << 53)
    return bits | (AF if rng.random() < 0.9 else 0)


def stage1_table(rng: random.Random) -> int:
    """PXNTable, UXNTable and APTable, each now and then."""
    return sum(1 << bit for bit in (59, 60, 61, 62) if rng.random() < 0.08)


def stage2_leaf(rng: random.Random) -> int:
    """S2AP, XN, SH and MemAttr without its reserved encodings."""
    bits = rng.getrandbits(64) & (3 << 6 | 3 << 8 | 1 << 54)
    if rng.random() < 0.6:
        bits |= 3 << 6
    memattr = rng.choice([0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15])
    return bits | memattr << 2 | (AF if rng.random() < 0.9 else 0)


def random_address(rng: random.Random, input_bits: int, *, upper: bool, few: int = 3) -> int:
    """An address of a range, near few places so that paths are shared, with low bits that fall into RAM's pattern."""
    va = rng.randrange(few) * 0x1_2345_6789 << 9
    va ^= rng.choice([0, 0, 1 << 39, 1 << 47, 1 << 30, 1 << 21, 1 << 12])
    va = va & ~((1 << 30) - 1) | rng.randrange(TABLE_BYTES, RAM_BYTES)
    va = va & ~7 & (1 << input_bits) - 1
    if upper:
        va |= (1 << 64) - (1 << input_bits)
    return va


__all__ = ["AF", "CODE", "TablePool", "Tree", "random_address", "stage1_leaf", "stage1_table", "stage2_leaf"]
