"""What the first data TLB is asked for, in order: the translations of a trace's accesses, and what TLBI drops of them.

An entry maps as much of a leaf as the TLB's sizes allow, under one regime and ASID (`kernels.translation`).
"""

import numpy as np
from numpy.typing import NDArray

from caches.config import CoreConfig
from caches.kernels.codes import (
    TLBI_ALLE1,
    TLBI_ALLE1IS,
    TLBI_ALLE2,
    TLBI_ALLE2IS,
    TLBI_OTHER,
    TLBI_VMALLE1,
    TLBI_VMALLE1IS,
    TLBI_VMALLS12E1,
    TLBI_VMALLS12E1IS,
)
from caches.line_stream import BY_ADDRESS, Ints, LineStream, stream_of
from caches.tape import epochs_of, translations_of
from traces.errors import InputError
from traces.expand import chunks
from traces.lines import LINE_BYTES
from traces.schema import Access, InsnClass, Maintenance, Mark
from traces.trace import Records, Trace

_PAGE_LOG2 = 12
_TRANSLATED = (*BY_ADDRESS, Maintenance.IC_IVAU)
_SET_WAY = (Maintenance.DC_ISW, Maintenance.DC_CSW, Maintenance.DC_CISW)
_OF_L1I = (Maintenance.IC_IALLU, Maintenance.IC_IALLUIS)
_NO_TLBI = (*_TRANSLATED, *_SET_WAY, *_OF_L1I, Maintenance.NONE, Maintenance.AT)
_NAMED_BY = {
    "el1_named": (TLBI_VMALLE1, TLBI_VMALLE1IS),
    "vm_regime": (TLBI_VMALLS12E1, TLBI_VMALLS12E1IS),
    "el2_regime": (TLBI_ALLE2, TLBI_ALLE2IS),
}
"""Which TLBI drops the entries of which regime, of the epoch that it runs in."""


def tlb_stream(trace: Trace, config: CoreConfig) -> LineStream:
    """Return what the data TLB is asked for. Raises InputError where the guest makes it more than a matter of order."""
    rows = translations_of(trace)[: len(trace.translations)]
    epochs = epochs_of(trace)
    tags, shifts, entries, regimes = _entries(rows, epochs, config.dtlb.sizes)
    _check_mapped_once(rows, shifts, entries, regimes)
    asked, executions, accesses = _asked(trace, entries, config)
    at, regime_dropped = _dropped(trace, epochs)
    # By entry: its regime and its tag.
    count = int(entries.max(initial=-1)) + 1
    regime_of, tag_of = np.zeros(count, np.int64), np.zeros(count, np.int64)
    regime_of[entries], tag_of[entries] = regimes, tags
    where, dropped = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for position, regime in zip(np.searchsorted(executions, at), regime_dropped, strict=True):
        meant = {_ANY: np.ones(count, np.bool_), _EVERY_EL1: regime_of % 2 == 0}.get(regime, regime_of == regime)
        dropped.append(np.flatnonzero(meant))
        where.append(np.full(len(dropped[-1]), position, np.int64))
    places = np.concatenate(where)
    ids = np.insert(asked, places, np.concatenate(dropped))
    drops = np.insert(np.zeros(len(asked), np.bool_), places, True)
    return stream_of(tag_of[ids], ids, drops, ~drops, accesses)


_ANY, _EVERY_EL1 = -1, -2


def _entries(rows: Records, epochs: Records, sizes: tuple[int, ...]) -> tuple[Ints, Ints, Ints, Ints]:
    """Return of each translation tag, log2 of the size, number and regime of the entry that holds it."""
    leaf, leaf2 = rows["leaf_log2"], rows["leaf2_log2"]
    leaf = np.where((leaf == 0) | ((leaf2 != 0) & (leaf2 < leaf)), leaf2, leaf)
    shifts = np.full(len(rows), _PAGE_LOG2, np.int64)
    for size in sizes:
        log2 = size.bit_length() - 1
        shifts = np.where(log2 <= leaf, log2, shifts)
    tags = rows["page"] >> (shifts - _PAGE_LOG2)
    epoch = epochs[rows["epoch"]]
    asid = np.where(rows["is_global"] == 1, -1, epoch["asid"])
    whole = np.stack([tags, shifts, epoch["regime"], asid], axis=1)
    _, entries = np.unique(whole, axis=0, return_inverse=True)
    return tags, shifts, entries.reshape(-1).astype(np.int64), epoch["regime"]


def _check_mapped_once(rows: Records, shifts: Ints, entries: Ints, regimes: Ints) -> None:
    """Refuse a guest that maps a page anew in one regime: which of two entries is found depends on what is held."""
    for shift in np.unique(shifts):
        area = np.stack([regimes, rows["page"] >> (shift - _PAGE_LOG2)], axis=1)
        _, area_of = np.unique(area, axis=0, return_inverse=True)
        area_of = area_of.reshape(-1)
        of_size = shifts == shift
        first = np.full(int(area_of.max(initial=-1)) + 1, -1, np.int64)
        first[area_of[of_size]] = entries[of_size]
        known = first[area_of]
        if ((known >= 0) & (known != entries)).any():
            raise InputError("its guest maps a page in two ways: which of two entries is used depends on what is held")


def _asked(trace: Trace, entries: Ints, config: CoreConfig) -> tuple[Ints, Ints, int]:
    """Return the entries asked for, each but once in a row, the execution of each, and how often any is."""
    maintenance = trace.insns["maintenance"]
    parts, executions, accesses, last = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0, -1
    for table in chunks(trace):
        maintains = table["access"] == Access.MAINTAIN
        wanted = (table["translation"] >= 0) & (~maintains | np.isin(maintenance[table["insn"]], _TRANSLATED))
        kept = table[wanted]
        accesses += int(_pieces(kept, config.maintenance.zva).sum())
        found = entries[kept["translation"]]
        new = found != np.concatenate([[last], found[:-1]])
        parts.append(found[new])
        executions.append(kept["execution"][new].astype(np.int64))
        last = int(found[-1]) if len(found) else last
    return np.concatenate(parts), np.concatenate(executions), accesses


def _pieces(rows: Records, zva: int) -> NDArray[np.int64]:
    """Return how often each access looks its page up: once for each line, twice for an atomic."""
    size = np.maximum(rows["size"], 1).astype(np.uint64)
    size[np.isin(rows["access"], [Access.MAINTAIN, Access.PREFETCH])] = 1
    va, end = rows["va"], rows["va"] + size - np.uint64(1)
    if ((va >> np.uint64(_PAGE_LOG2)) != (end >> np.uint64(_PAGE_LOG2))).any():
        raise InputError("its guest has accesses that cross a page: their second page is not looked up here")
    lines = (end // LINE_BYTES - va // LINE_BYTES + np.uint64(1)).astype(np.int64)
    lines = np.where(rows["access"] == Access.ZERO, max(1, zva // LINE_BYTES), lines)
    return lines * np.where(rows["access"] == Access.LOAD_STORE, 2, 1)


def _dropped(trace: Trace, epochs: Records) -> tuple[Ints, list[int]]:
    """Return where TLBI are executed, and the regime whose entries each drops."""
    kinds = trace.insns["maintenance"]
    tlbi = (trace.insns["cls"] == InsnClass.MAINTENANCE) & ~np.isin(kinds, _NO_TLBI)
    found: list[tuple[int, int]] = []
    marks = trace.marks[trace.marks["kind"] == Mark.EPOCH]
    for row in np.flatnonzero(tlbi):
        kind = int(kinds[row])
        blocks = np.flatnonzero((trace.blocks["first"] <= row) & (row < trace.blocks["first"] + trace.blocks["count"]))
        for execution in np.flatnonzero(np.isin(trace.executions, blocks)):
            mark = int(np.searchsorted(marks["at"], execution, side="right")) - 1
            found.append((int(execution), _regime(kind, epochs[int(marks["a"][mark]) if mark >= 0 else 0])))
    found.sort()
    return np.array([at for at, _ in found], np.int64), [regime for _, regime in found]


def _regime(kind: int, epoch: Records) -> int:
    for name, kinds in _NAMED_BY.items():
        if kind in kinds:
            return int(epoch[name])
    if kind in (TLBI_ALLE1, TLBI_ALLE1IS):
        return _EVERY_EL1
    if kind == TLBI_OTHER:
        return _ANY
    raise InputError("its guest invalidates single TLB entries: that is not followed here")
