"""The whole address space of a regime: every leaf of its stage 1 tables, touched or not, and where the tables lie.

What a run touched is in its translations. A PE may walk to, prefetch from and cache anything else that is mapped, so
hazards of a mapping are judged by all of it (Arm ARM B2.7, D8.2).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emu.fields import attribute_type
from emu.memory import PhysicalMemory
from emu.regime import RangeControls, Regime
from emu.walker import translate
from traces.schema import MAPPING, TABLE_PAGE, EpochCause
from traces.trace import Records

TABLES_MAX = 1 << 16
"""Tables read of one TTBR: 128 GiB in 4 KiB pages. A table that names itself has no end."""

SPACES_MAX = 64
"""Address spaces listed of one run: a relocation has a handful."""

_AGAIN_MAX = 16
"""How often a run's stores to its tables make them be read again: a copy over live tables stores to every one."""

_ADDRESS = (1 << 48) - 1
_VALID, _TYPE = np.uint64(1), np.uint64(3)
_LIMITS = np.uint64(0xF << 59)
_PXN_TABLE, _XN_TABLE, _NO_EL0_TABLE, _READ_ONLY_TABLE = 59, 60, 61, 62
_STAGE1_OFF = ~1


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """Tables of one level: where each lies, the VA it begins at, and what the tables above it forbid (bits 62:59)."""

    pa: NDArray[np.uint64]
    va: NDArray[np.uint64]
    limits: NDArray[np.uint64]


def address_space(memory: PhysicalMemory, regime: Regime) -> tuple[Records, Records]:
    """Return the MAPPING and TABLE_PAGE rows of a regime, with `epoch` left 0; none where stage 1 is off.

    Tables outside RAM are left out (a walk into them aborts), and leaves that fault for want of the access flag or for
    their address size. Under stage 2, `pa` is what the guest calls physical.
    """
    mappings, pages = [np.zeros(0, MAPPING)], [np.zeros(0, TABLE_PAGE)]
    if regime.stage1:
        for number, controls in enumerate(regime.ranges):
            least = 12 if regime.lva and controls.granule_log2 == 16 else 16
            if not controls.disabled and least <= controls.tsz <= 39:
                leaves, tables = _range(memory, regime, number, controls)
                mappings.append(leaves)
                pages.append(tables)
    return np.concatenate(mappings), np.concatenate(pages)


class AddressSpaces:
    """The address spaces of one run: each read when it is first in force, and again when the run changed it."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self._memory = memory
        self._seen: set[tuple[object, ...]] = set()
        self._again = 0

    def begun(self, regime: Regime, cause: EpochCause) -> tuple[Records, Records] | None:
        """Return the rows of an epoch that begins; None where an earlier epoch's hold."""
        if not regime.stage1:
            return None
        key = (regime.at_el2, regime.e2h, regime.tcr, regime.mair, regime.ttbr0, regime.ttbr1)
        if key in self._seen:
            if cause is not EpochCause.TABLE_STORE or self._again == _AGAIN_MAX:
                return None
            self._again += 1
        if len(self._seen) == SPACES_MAX:
            return None
        self._seen.add(key)
        return address_space(self._memory, regime)


def _range(memory: PhysicalMemory, regime: Regime, number: int, controls: RangeControls) -> tuple[Records, Records]:
    """Read the tables of one TTBR, level by level."""
    granule_log2, bits = controls.granule_log2, 64 - controls.tsz
    stride = granule_log2 - 3
    level = 4 - -(-(bits - granule_log2) // stride)
    first_va = (1 << 64) - (1 << bits) if number else 0
    root = _root(regime, controls, 8 << (bits - granule_log2 - stride * (3 - level)), regime.output_bits[number])
    tables = _Tables(*(np.array([value], np.uint64) for value in (root, first_va, 0)))
    if root >> regime.output_bits[number]:
        tables = _Tables(*(np.zeros(0, np.uint64) for _ in range(3)))
    top, found, pages, left = bits, [np.zeros(0, MAPPING)], [np.zeros(0, TABLE_PAGE)], TABLES_MAX
    while len(tables.pa) and level <= 3:
        low = granule_log2 + stride * (3 - level)
        kept, words = _read(memory, regime, tables, 8 << (top - low))
        tables = _Tables(tables.pa[kept], tables.va[kept], tables.limits[kept])
        pages.append(_pages(tables.pa, 8 << (top - low), number))
        left -= len(tables.pa)
        found.append(_leaves(regime, number, tables, words, level, low))
        tables = _below(regime, number, tables, words, level, low, max(left, 0))
        top, level = low, level + 1
    return joined(np.concatenate(found)), _joined_pages(np.concatenate(pages))


def _root(regime: Regime, controls: RangeControls, size: int, output_bits: int) -> int:
    """Return the address in TTBR, aligned as the first table must be (BADDR; PA[51:48] in bits 5:2)."""
    if output_bits == 52:
        return controls.ttbr & _ADDRESS & -max(size, 64) | (controls.ttbr >> 2 & 15) << 48
    return controls.ttbr & _ADDRESS & -size


def _read(
    memory: PhysicalMemory, regime: Regime, tables: _Tables, size: int
) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """Return which tables lie in RAM, and their descriptors, one row a table."""
    kept, words = [], []
    for place, pa in enumerate(tables.pa.tolist()):
        real = _through_stage2(memory, regime, pa)
        if real is not None and memory.contains(real, size):
            kept.append(place)
            words.append(np.frombuffer(memory.read(real, size), "<u8"))
    rows = np.array(words, np.uint64).reshape(len(words), size // 8)
    return np.array(kept, np.intp), rows


def _through_stage2(memory: PhysicalMemory, regime: Regime, ipa: int) -> int | None:
    if not regime.stage2:
        return ipa
    found = translate(memory, replace(regime, el=1, sctlr=regime.sctlr & _STAGE1_OFF), ipa)
    return found.pa if found.fault is None else None


def _output(regime: Regime, number: int, words: NDArray[np.uint64], low: int) -> NDArray[np.uint64]:
    """Return the output addresses of descriptors that map or name `low` bits."""
    addresses = words & np.uint64(_ADDRESS & ~((1 << low) - 1))
    if regime.output_bits[number] == 52:
        addresses = addresses | (words >> np.uint64(12) & np.uint64(15)) << np.uint64(48)
    return addresses


def _fits(regime: Regime, number: int, addresses: NDArray[np.uint64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = addresses >> np.uint64(regime.output_bits[number]) == 0
    return found


def _leaves(regime: Regime, number: int, tables: _Tables, words: NDArray[np.uint64], level: int, low: int) -> Records:
    """Return a row for each leaf of one level that translates."""
    granule_log2 = regime.ranges[number].granule_log2
    first_block = 1 if granule_log2 == 12 or (granule_log2 == 16 and regime.pa_bits == 52) else 2
    kind = words & _TYPE
    wanted = kind == (_TYPE if level == 3 else _VALID)
    if level < first_block:
        wanted[:] = False
    if not regime.hardware_af:
        wanted &= words >> np.uint64(10) & _VALID != 0
    table, entry = np.nonzero(wanted)
    descriptors = words[table, entry]
    rows = np.zeros(len(descriptors), MAPPING)
    rows["va"] = tables.va[table] + (entry.astype(np.uint64) << np.uint64(low))
    rows["pa"] = _output(regime, number, descriptors, low)
    rows["size"], rows["leaf_log2"], rows["ttbr"] = 1 << low, low, number
    _note_attributes(rows, regime, descriptors, tables.limits[table])
    return rows[_fits(regime, number, rows["pa"])]


def _note_attributes(
    rows: Records, regime: Regime, descriptors: NDArray[np.uint64], limits: NDArray[np.uint64]
) -> None:
    """Note what leaves say of memory and of who may do what (Arm ARM D8.4), under the limits of their tables."""

    def bit(number: int, table_bit: int | None = None) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = descriptors >> np.uint64(number) & _VALID != 0
        return found if table_bit is None else found | (limits >> np.uint64(table_bit) & _VALID != 0)

    types = np.array([attribute_type(regime.mair >> 8 * index & 0xFF) for index in range(8)], np.uint8)
    rows["attr_index"] = descriptors >> np.uint64(2) & np.uint64(7)
    rows["memory_type"] = types[rows["attr_index"]]
    sharing = (descriptors >> np.uint64(8) & np.uint64(3)).astype(np.uint8)
    rows["shareability"] = np.where(sharing == 1, 0, sharing)  # 1 is reserved
    writable = ~bit(7, _READ_ONLY_TABLE)
    if regime.hardware_dirty:
        writable |= bit(51) & (limits >> np.uint64(_READ_ONLY_TABLE) & _VALID == 0)
    never = bit(54, _XN_TABLE)
    rows["is_global"] = 1
    if regime.two_ranges:
        for_el0 = bit(6) & (limits >> np.uint64(_NO_EL0_TABLE) & _VALID == 0)
        never = bit(53, _PXN_TABLE) | (for_el0 & writable)
        rows["is_global"] = ~bit(11)
    rows["writable"] = writable
    rows["executable"] = ~never & ~(writable & bool(regime.sctlr >> 19 & 1))


def _below(
    regime: Regime, number: int, tables: _Tables, words: NDArray[np.uint64], level: int, low: int, most: int
) -> _Tables:
    """Return the tables that descriptors of one level name, at most so many."""
    wanted = (words & _TYPE == _TYPE) & (level < 3)
    table, entry = np.nonzero(wanted)
    table, entry = table[:most], entry[:most]
    descriptors = words[table, entry]
    controls = regime.ranges[number]
    inherited = tables.limits[table] | (np.uint64(0) if controls.hpd else descriptors & _LIMITS)
    addresses = _output(regime, number, descriptors, controls.granule_log2)
    fits = _fits(regime, number, addresses)
    va = tables.va[table] + (entry.astype(np.uint64) << np.uint64(low))
    return _Tables(addresses[fits], va[fits], inherited[fits])


_ALIKE = ("attr_index", "memory_type", "shareability", "leaf_log2", "writable", "executable", "is_global", "ttbr")


def joined(rows: Records) -> Records:
    """Return leaves in the order of their VAs, those that continue each other as one row."""
    rows = rows[np.argsort(rows["va"], kind="stable")]
    if len(rows) < 2:
        return rows
    ends = np.array([True] * len(rows))
    before, after = rows[:-1], rows[1:]
    ends[1:] = (before["va"] + before["size"] != after["va"]) | (before["pa"] + before["size"] != after["pa"])
    for name in _ALIKE:
        ends[1:] |= before[name] != after[name]
    first = np.flatnonzero(ends)
    runs: Records = rows[first].copy()
    runs["size"] = np.add.reduceat(rows["size"], first)
    return runs


def _pages(addresses: NDArray[np.uint64], size: int, number: int) -> Records:
    rows = np.zeros(len(addresses), TABLE_PAGE)
    rows["pa"], rows["size"], rows["ttbr"] = addresses, size, number
    return rows


def _joined_pages(rows: Records) -> Records:
    """Return table memory by rising address, each byte once."""
    runs: list[np.void] = []
    for row in _ascending(rows):
        if runs and row["pa"] <= runs[-1]["pa"] + runs[-1]["size"]:
            runs[-1]["size"] = max(runs[-1]["pa"] + runs[-1]["size"], row["pa"] + row["size"]) - runs[-1]["pa"]
        else:
            runs.append(row.copy())
    return np.array(runs, TABLE_PAGE)


def _ascending(rows: Records) -> Iterator[np.void]:
    yield from rows[np.argsort(rows["pa"], kind="stable")]
