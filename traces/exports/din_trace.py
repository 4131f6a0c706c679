"""A din file as a Trace, as far as it says anything: what was fetched, read and written, in order.

It says nothing of instructions, registers, translation, memory types and branches. So each fetch is an instruction
that depends on none and never branches, with the first reference behind it as its access; further references are
instructions at the same address. One epoch translates nothing and gives all data one memory type. Without fetches, a
load and a store in a page behind all data stand for the code.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from traces.errors import InputError
from traces.exports.din import FETCH, READ, REFERENCE, WRITE, read
from traces.schema import (
    BLOCK,
    EPOCH,
    EXCEPTION,
    INSN,
    MARK,
    NO_REGISTER,
    PAGE_BYTES,
    RANGE,
    TRANSLATION,
    WALK_READ,
    Access,
    InsnClass,
    Mark,
    MemoryType,
    Phase,
)
from traces.trace import Records, Trace

REFERENCE_LIMIT = 1 << 28
"""References read of one file: beyond this their trace does not fit in 8 GiB."""

BLOCK_LIMIT = 1 << 20
"""Different instructions (address, access and size)."""

DEFAULT_BYTES = 4
"""Of a reference without a size: Dinero III's word."""

LARGEST_BYTES = 4096

_SCTLR_C_I = 1 << 2 | 1 << 12

_OCCURRENCE = np.dtype([("va", "<u8"), ("access", "u1"), ("size", "<u2"), ("pa", "<u8")])


def trace_of_din(path: Path, memory_type: MemoryType = MemoryType.NORMAL_WB) -> Trace:
    """Read a din file as a Trace; InputError names file, line and rule."""
    known: dict[tuple[int, int, int], int] = {}
    executions: list[Any] = [np.zeros(0, np.uint32)]
    values: list[Any] = [np.zeros(0, np.uint64)]
    for rows in _occurrences(path):
        distinct, inverse = np.unique(rows[["va", "access", "size"]], return_inverse=True)
        numbers = [known.setdefault(key, len(known)) for key in distinct.tolist()]
        if len(known) > BLOCK_LIMIT:
            raise InputError(f"{path}: has more than {BLOCK_LIMIT} different instructions")
        executions.append(np.array(numbers, np.uint32)[inverse])
        values.append(rows["pa"][rows["access"] != Access.NONE])
    if not known:
        raise InputError(f"{path}: has no references")
    return _trace(path, list(known), np.concatenate(executions), np.concatenate(values), memory_type)


def _occurrences(path: Path) -> Iterator[Records]:
    """Yield what was executed: address of the instruction, its access, size, and where."""
    rest, va = np.zeros(0, REFERENCE), -1
    pieces = read(path, REFERENCE_LIMIT)
    piece = next(pieces, None)
    while piece is not None:
        following = next(pieces, None)
        table = np.concatenate([rest, piece])
        fetches = np.flatnonzero(table["label"] == FETCH)
        cut = len(table)
        if following is not None and len(fetches):
            cut = int(fetches[-1])  # what the last instruction does may be in the next piece
        rest, table = table[cut:], table[:cut]
        if (table["size"] > LARGEST_BYTES).any():
            raise InputError(f"{path}: a reference of more than {LARGEST_BYTES} bytes")
        if len(table):
            rows, va = _instructions(table, va)
            yield rows
        piece = following


def _instructions(table: Records, va: int) -> tuple[Records, int]:
    """Return the occurrences of whole instructions; `va`: the fetch before them, -1 where there was none."""
    label, fetch = table["label"], table["label"] == FETCH
    last = np.maximum.accumulate(np.where(fetch, np.arange(len(table)), -1))
    before = np.where(last >= 0, table["pa"][np.maximum(last, 0)], np.uint64(0 if va < 0 else va))
    followed = np.append(~fetch[1:], False) & fetch
    # A fetch, a read and a write of one place are one atomic.
    writes = np.zeros(len(table), np.bool_)
    same = (table["pa"][2:] == table["pa"][1:-1]) & (table["size"][2:] == table["size"][1:-1])
    writes[2:] = fetch[:-2] & (label[1:-1] == READ) & (label[2:] == WRITE) & same
    both = np.append(writes[1:], False)
    kept = ~followed & ~writes
    rows = np.zeros(int(kept.sum()), _OCCURRENCE)
    rows["va"] = before[kept] & ~np.uint64(3)
    access = np.select([fetch, both, label == READ], [Access.NONE, Access.LOAD_STORE, Access.LOAD], Access.STORE)
    rows["access"] = access[kept]
    size = np.where(table["size"] == 0, DEFAULT_BYTES, table["size"])
    rows["size"] = np.where(fetch, 0, size)[kept]
    rows["pa"] = table["pa"][kept]
    return rows, int(table["pa"][last[-1]]) if last[-1] >= 0 else va


def _trace(path: Path, keys: list[tuple[int, int, int]], executions: Any, values: Any, kind: MemoryType) -> Trace:
    insns, blocks = np.zeros(len(keys), INSN), np.zeros(len(keys), BLOCK)
    va, access, size = (np.array(column, np.uint64) for column in zip(*keys, strict=True))
    if not va.any():  # no fetches: behind all data
        va = np.full(len(keys), (int(values.max(initial=0)) // PAGE_BYTES + 1) * PAGE_BYTES % (1 << 48), np.uint64)
    insns["va"] = insns["pa"] = blocks["va"] = blocks["pa"] = va
    insns["access"], insns["size"], insns["element"] = access, size, access != Access.NONE
    classes = {Access.NONE: InsnClass.OTHER, Access.LOAD: InsnClass.LOAD, Access.STORE: InsnClass.STORE}
    insns["cls"] = [classes.get(Access(one), InsnClass.ATOMIC) for one in access.tolist()]
    insns["slot"] = np.where(access == Access.NONE, -1, 0)
    insns["dst"] = insns["src"] = NO_REGISTER
    blocks["first"], blocks["count"] = np.arange(len(keys)), 1
    blocks["values"] = blocks["accesses"] = access != Access.NONE
    epoch = np.zeros(1, EPOCH)
    epoch["el"], epoch["sctlr"], epoch["dcache"], epoch["icache"], epoch["granule_log2"] = 1, _SCTLR_C_I, 1, 1, 12
    epoch["flat_type"], epoch["flat_fetch_type"] = kind, MemoryType.NORMAL_WB
    epoch["walk_type"] = epoch["walk2_type"] = MemoryType.NORMAL_WB
    marks = np.zeros(1, MARK)
    marks["kind"], marks["a"] = Mark.PHASE, Phase.RELOCATE
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Trace(
        insns=insns,
        blocks=blocks,
        executions=executions,
        values=values,
        epochs=epoch,
        translations=np.zeros(0, TRANSLATION),
        walk_reads=np.zeros(0, WALK_READ),
        exceptions=np.zeros(0, EXCEPTION),
        marks=marks,
        ranges=np.zeros(0, RANGE),
        meta={
            "routine": {"name": path.name, "sha256": digest, "source": f"din: {path}"},
            "boot": "",
            "outcome": "completed",
            "reason": "",
            "image_ok": True,
            "image_bytes": 0,
            "pages": 0,
            "symbols": {},
        },
    )
