"""Page tables: descriptor bits, and a builder for any granule, VA size and stage (facts/kernel.md 3.2)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from emu.memory import PhysicalMemory
from traces.errors import InputError

VALID = 1 << 0
TABLE = 1 << 1
"""A table at levels 0..2, a page at level 3; clear in a block."""
AP_EL0 = 1 << 6
AP_READ_ONLY = 1 << 7
SH_OUTER = 2 << 8
SH_INNER = 3 << 8
AF = 1 << 10
NG = 1 << 11
DBM = 1 << 51
CONTIGUOUS = 1 << 52
PXN = 1 << 53
UXN = 1 << 54
"""XN in the EL2 regime (E2H = 0), which has no EL0 and ignores PXN."""
XN = UXN

TABLE_PXN = 1 << 59
TABLE_UXN = 1 << 60
TABLE_AP_READ_ONLY = 1 << 62

S2_READ = 1 << 6
S2_WRITE = 1 << 7
S2_XN = 1 << 54
S2_NORMAL_WB = 0xF << 2
S2_NORMAL_NC = 0x5 << 2
S2_DEVICE_NGNRNE = 0 << 2
"""MemAttr of stage 2 leaves."""

_GRANULES_LOG2 = {4096: 12, 16384: 14, 65536: 16}
_ADDRESS_BITS = (1 << 48) - 1


def attr_index(index: int) -> int:
    """Return AttrIndx: which byte of MAIR gives the leaf its memory type."""
    if not 0 <= index <= 7:
        raise InputError(f"descriptor: AttrIndx {index} must be 0..7")
    return index << 2


class Descriptor(NamedTuple):
    """A descriptor in memory, and the VA bits that it covers."""

    pa: int
    value: int
    level: int
    leaf_log2: int


class LeafRun(NamedTuple):
    """Leaves side by side in one table, `leaves` of `leaf_bytes` each from `va` on; the first one is `first`."""

    va: int
    leaves: int
    leaf_bytes: int
    first: int


class TableBuilder:
    """Writes one stage's tables into physical memory.

    `allocate(size)` gives the address of `size` bytes of RAM, aligned to `size`; the builder zeroes them. `va_bits` is
    the input size, 64 - T0SZ (for stage 2 the IPA size). Stage 2 starts as deep as concatenated tables allow, or at
    `start_level`. `pa_bits=52` spells addresses as FEAT_LPA does, with the 64K granule only.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        allocate: Callable[[int], int],
        *,
        granule_bytes: int = 4096,
        va_bits: int = 48,
        stage: int = 1,
        start_level: int | None = None,
        pa_bits: int = 48,
    ) -> None:
        if granule_bytes not in _GRANULES_LOG2:
            raise InputError(f"tables: granule {granule_bytes} must be 4096, 16384 or 65536")
        if not 25 <= va_bits <= (52 if granule_bytes == 65536 else 48):
            raise InputError(f"tables: va_bits {va_bits} must be 25..48, or up to 52 with 64K granules")
        if pa_bits > 48 and granule_bytes != 65536:
            raise InputError(f"tables: pa_bits {pa_bits} above 48 need the 64K granule")
        self.granule_bytes = granule_bytes
        self.va_bits = va_bits
        self.stage = stage
        self.pa_bits = pa_bits
        self._memory = memory
        self._allocate = allocate
        self._granule_log2 = _GRANULES_LOG2[granule_bytes]
        self._stride = self._granule_log2 - 3
        self._pages: list[int] = []
        self._runs: list[LeafRun] = []
        self._tables_at: dict[int, int] = {}  # entry -> the table made there: most of a walk without reading memory
        self.start_level = self._first_level() if start_level is None else start_level
        self.first_bits = va_bits - self._leaf_log2(self.start_level)
        """VA bits that the first table is indexed by."""
        if not 1 <= self.first_bits <= self._stride + (4 if stage == 2 else 0):
            raise InputError(f"tables: start level {self.start_level} does not resolve {va_bits} bits")
        self.root = self._new_table(max(granule_bytes, 8 << self.first_bits))

    @property
    def pages(self) -> tuple[int, ...]:
        """Every granule of table memory, in the order of allocation."""
        return tuple(self._pages)

    @property
    def runs(self) -> tuple[LeafRun, ...]:
        """The leaves, in the order of writing."""
        return tuple(self._runs)

    @property
    def stride_bits(self) -> int:
        """VA bits that each table but the first is indexed by."""
        return self._stride

    @property
    def ttbr(self) -> int:
        """The root as TTBR or VTTBR spells it (PA[51:48] in bits 5:2)."""
        return self.root & _ADDRESS_BITS | (self.root >> 48) << 2

    @property
    def sl0(self) -> int:
        """VTCR_EL2.SL0 of a stage 2 table."""
        return (2 if self._granule_log2 == 12 else 3) - self.start_level

    def map(
        self,
        va: int,
        pa: int,
        size: int,
        attributes: int,
        largest_leaf_bytes: int | None = None,
        *,
        table_attributes: int = 0,
    ) -> None:
        """Map [va, va + size) to `pa` on, with the largest leaves that fit, at most `largest_leaf_bytes`.

        `attributes` are the leaf's bits beside address and type (a kernel's constants carry type bits: they are
        replaced); `table_attributes` are set in tables made here. A block already there is kept if it says the same,
        and refused if not; a leaf of the same size is replaced.
        """
        self._check_range(va, pa, size)
        attributes &= ~(VALID | TABLE)
        limit = largest_leaf_bytes or 1 << 52
        while size:
            done = self._map_run(va, pa, size, limit, attributes, table_attributes)
            va, pa, size = va + done, pa + done, size - done

    def walk(self, va: int) -> list[tuple[int, int, int]]:
        """Return (table, address of the entry, its value) of each level on the way of `va`, from the first."""
        steps, table = [], self.root
        for level in range(self.start_level, 4):
            at = self._entry(table, va, level)
            value = self._memory.read_u64(at)
            steps.append((table, at, value))
            if not self._is_table(value, level):
                break
            table = self._output(value)
        return steps

    def lookup(self, va: int) -> Descriptor:
        """Return the last descriptor on the way of `va`: its leaf, or the invalid entry that ends the walk."""
        table = self.root
        for level in range(self.start_level, 4):
            at = self._entry(table, va, level)
            value = self._memory.read_u64(at)
            if not self._is_table(value, level):
                break
            table = self._output(value)
        return Descriptor(at, value, level, self._leaf_log2(level))

    def _map_run(self, va: int, pa: int, size: int, limit: int, attributes: int, table_attributes: int) -> int:
        """Write the leaves of one table, at the first level that allows them; return the bytes mapped."""
        table = self.root
        for level in range(self.start_level, 4):
            at = self._entry(table, va, level)
            if at in self._tables_at:
                table = self._tables_at[at]
                continue
            value = self._memory.read_u64(at)
            leaf_bytes = 1 << self._leaf_log2(level)
            fits = self._has_leaves(level) and (va | pa) % leaf_bytes == 0 and leaf_bytes <= min(size, limit)
            if fits and not self._is_table(value, level):
                left = (1 << self._width(level)) - (at - table) // 8
                written = self._write_leaves(at, pa, min(left, size // leaf_bytes), level, attributes)
                self._runs.append(LeafRun(va, written, leaf_bytes, self._memory.read_u64(at)))
                return leaf_bytes * written
            if value & VALID and not self._is_table(value, level):
                return self._keep_block(va, pa, size, attributes, Descriptor(at, value, level, self._leaf_log2(level)))
            if not value & VALID:
                table = self._new_table(self.granule_bytes)
                self._memory.write_u64(at, self._spell(table) | table_attributes | TABLE | VALID)
                self._tables_at[at] = table
            else:
                table = self._output(value)
        raise AssertionError("a page fits at level 3: _check_range aligned everything to it")

    def _write_leaves(self, at: int, pa: int, count: int, level: int, attributes: int) -> int:
        """Write up to `count` leaves from the entry `at` on, stopping at a table; return how many."""
        found = np.frombuffer(self._memory.read(at, 8 * count), np.uint64)
        if level < 3:
            tables = np.flatnonzero(found & np.uint64(VALID | TABLE) == VALID | TABLE)
            count = int(tables[0]) if len(tables) else count
        step = np.uint64(1 << self._leaf_log2(level))
        addresses = np.uint64(pa) + np.arange(count, dtype=np.uint64) * step
        spelt = addresses & np.uint64(_ADDRESS_BITS) | addresses >> np.uint64(48) << np.uint64(12)
        kind = VALID | (TABLE if level == 3 else 0)
        self._memory.write(at, (spelt | np.uint64(attributes | kind)).tobytes())
        return count

    def _keep_block(self, va: int, pa: int, size: int, attributes: int, block: Descriptor) -> int:
        """Accept a block that already maps what is asked for; return how much of it."""
        into = va % (1 << block.leaf_log2)
        if block.value != self._spell(pa - into) | attributes | VALID:
            raise InputError(f"tables: va {va:#x} already lies in another block, {block.value:#x} at {block.pa:#x}")
        return min(size, (1 << block.leaf_log2) - into)

    def _check_range(self, va: int, pa: int, size: int) -> None:
        """Refuse what the tables cannot say."""
        if size <= 0 or (va | pa | size) % self.granule_bytes:
            raise InputError(
                f"tables: va {va:#x}, pa {pa:#x}, size {size:#x} must be positive multiples of {self.granule_bytes:#x}"
            )
        if pa + size > 1 << self.pa_bits:
            raise InputError(f"tables: pa {pa:#x}+{size:#x} does not fit {self.pa_bits} bits")
        space = 1 << self.va_bits
        from_top = (1 << 64) - va % (1 << 64)
        in_low = 0 <= va <= space - size
        in_high = self.stage == 1 and size <= from_top <= space
        if not in_low and not in_high:
            raise InputError(f"tables: va {va:#x}+{size:#x} does not fit {self.va_bits} bits")

    def _first_level(self) -> int:
        """Level of the first table: the deepest that resolves the input, with 16 tables side by side for stage 2."""
        extra = 4 if self.stage == 2 else 0
        # With 4K granules SL0 has no way to say 3 (Arm ARM D8.2.2, without FEAT_TTST).
        deepest = 2 if self.stage == 2 and self._granule_log2 == 12 else 3
        for level in range(deepest, 0, -1):
            if 1 <= self.va_bits - self._leaf_log2(level) <= self._stride + extra:
                return level
        return 0

    def _has_leaves(self, level: int) -> bool:
        """Whether the granule has blocks or pages at `level`."""
        if self._granule_log2 == 12 or (self._granule_log2 == 16 and self.pa_bits == 52):
            return level >= 1
        return level >= 2

    def _leaf_log2(self, level: int) -> int:
        return self._granule_log2 + self._stride * (3 - level)

    def _entry(self, table: int, va: int, level: int) -> int:
        """Return where the descriptor of `va` lies in `table`."""
        return table + ((va >> self._leaf_log2(level)) % (1 << self._width(level))) * 8

    def _width(self, level: int) -> int:
        """Return how many input bits a lookup at `level` resolves; the first one takes all that are left."""
        return self.va_bits - self._leaf_log2(level) if level == self.start_level else self._stride

    def _is_table(self, value: int, level: int) -> bool:
        return level < 3 and value & (VALID | TABLE) == VALID | TABLE

    def _spell(self, pa: int) -> int:
        """Return the address bits of a descriptor."""
        return pa & _ADDRESS_BITS | (pa >> 48) << 12

    def _output(self, value: int) -> int:
        """Return the table address in a descriptor."""
        table = value & _ADDRESS_BITS & ~(self.granule_bytes - 1)
        return table | (value >> 12 & 15) << 48 if self.pa_bits == 52 else table

    def _new_table(self, size: int) -> int:
        pa = self._allocate(size)
        if pa % size:
            raise InputError(f"tables: allocator gave {pa:#x}, which is not aligned to {size:#x}")
        self._memory.write(pa, bytes(size))
        self._pages += range(pa, pa + size, self.granule_bytes)
        return pa
