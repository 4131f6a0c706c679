"""Small traces made by hand: a copy loop of one block, with or without translation, for tests that need no guest."""

from typing import Any

import numpy as np

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
    InsnFlag,
    Mark,
    MemoryType,
    Phase,
    Role,
)
from traces.trace import Trace

CODE = 0x4000_0000
LOOP_LINES = 64
SCTLR_ON = 0x30D0_1805 | 1
SCTLR_EL2_OFF = 0x30C5_0830


def insn_row(va: int, **fields: Any) -> np.void:
    row = np.zeros(1, INSN)
    row["va"], row["pa"], row["slot"] = va, va, -1
    row["dst"], row["src"] = NO_REGISTER, NO_REGISTER
    for name, value in fields.items():
        if name in ("dst", "src"):
            row[name][0, : len(value)] = value
        else:
            row[name] = value
    return row[0]


def copy_loop(va: int = CODE) -> list[np.void]:
    """ldp x2, x3, [x21] ; add x21, #16 ; stnp x2, x3, [x20] ; add x20, #16 ; tst ; b.ne"""
    return [
        insn_row(va, cls=InsnClass.LOAD, access=Access.LOAD, size=16, element=8, slot=0, flags=InsnFlag.PAIR,
                 dst=(2, 3), src=(21,)),
        insn_row(va + 4, cls=InsnClass.ALU, dst=(21,), src=(21,)),
        insn_row(va + 8, cls=InsnClass.STORE, access=Access.STORE, size=16, element=8, slot=1,
                 flags=InsnFlag.PAIR | InsnFlag.NON_TEMPORAL, src=(2, 3, 20)),
        insn_row(va + 12, cls=InsnClass.ALU, dst=(20,), src=(20,)),
        insn_row(va + 16, cls=InsnClass.ALU, dst=(32,), src=(21,)),
        insn_row(va + 20, cls=InsnClass.BRANCH_CONDITIONAL, src=(32,)),
    ]  # fmt: skip


def epoch_row(*, el: int, on: bool, **fields: Any) -> np.void:
    row = np.zeros(1, EPOCH)
    sctlr = SCTLR_ON if on else SCTLR_EL2_OFF
    row["el"], row["sctlr"] = el, sctlr
    row["stage1"], row["dcache"], row["icache"] = sctlr & 1, sctlr >> 2 & 1, sctlr >> 12 & 1
    row["flat_type"], row["flat_fetch_type"] = MemoryType.DEVICE_NGNRNE, MemoryType.NORMAL_NC
    row["walk_type"] = MemoryType.NORMAL_WB
    row["walk2_type"] = MemoryType.NORMAL_WB
    row["granule_log2"] = 12
    for name, value in fields.items():
        row[name] = value
    return row[0]


def copy_trace(
    *,
    pages: int = 2,
    el: int = 2,
    on: bool = False,
    source: int = 0x8000_0000,
    destination: int = 0x9000_0000,
    lines: int = LOOP_LINES * 4,
    memory_type: MemoryType = MemoryType.NORMAL_WB,
    before: tuple[np.void, ...] = (),
    **meta: Any,
) -> Trace:
    """A loop that copies `pages` pages 16 bytes at a time under one regime, after epochs that ran nothing of it."""
    blocks = np.zeros(1, BLOCK)
    blocks["va"], blocks["pa"], blocks["count"], blocks["values"], blocks["accesses"] = CODE, CODE, 6, 2, 2
    iterations = pages * lines
    values = np.empty((iterations, 2), np.uint64)
    values[:, 0] = source + 16 * np.arange(iterations)
    values[:, 1] = destination + 16 * np.arange(iterations)
    epochs = [*before, epoch_row(el=el, on=on)]
    reads = np.zeros(4, WALK_READ)
    reads["pa"], reads["level"], reads["stage"] = 0x7000_0000 + 8 * np.arange(4), np.arange(4), 1
    mapped: list[tuple[int, int]] = []
    if on:
        touched = [CODE, *(base + PAGE_BYTES * page for base in (source, destination) for page in range(pages))]
        mapped = [(len(epochs) - 1, pa) for pa in touched]
    table = np.zeros(len(mapped), TRANSLATION)
    for row, (epoch, pa) in enumerate(mapped):
        table[row]["epoch"], table[row]["page"], table[row]["pa"] = epoch, pa >> 12, pa
        table[row]["memory_type"] = memory_type
        table[row]["fetch_type"] = MemoryType.NORMAL_WB
        table[row]["shareability"], table[row]["leaf_log2"], table[row]["walk_count"] = 3, 12, 4
    marks = np.zeros(1 + (len(epochs) > 1), MARK)
    marks[0]["kind"], marks[0]["a"] = Mark.PHASE, Phase.RELOCATE
    if len(epochs) > 1:
        marks[1]["kind"], marks[1]["a"] = Mark.EPOCH, len(epochs) - 1
    ranges = np.zeros(3, RANGE)
    ranges["pa"] = source, destination, CODE
    ranges["size"] = pages * PAGE_BYTES, pages * PAGE_BYTES, PAGE_BYTES
    ranges["role"] = Role.SOURCE, Role.DESTINATION, Role.CODE
    return Trace(
        insns=np.array(copy_loop(), INSN),
        blocks=blocks,
        executions=np.zeros(iterations, np.uint32),
        values=values.reshape(-1),
        epochs=np.array(epochs, EPOCH),
        translations=table,
        walk_reads=reads,
        exceptions=np.zeros(0, EXCEPTION),
        marks=marks,
        ranges=ranges,
        meta=meta,
    )
