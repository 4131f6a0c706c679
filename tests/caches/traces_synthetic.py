"""Small traces without a guest: blocks written by hand, executions by loop. For tests of the timing model only."""

import numpy as np

from traces.schema import (
    BLOCK,
    EPOCH,
    EXCEPTION,
    INSN,
    MARK,
    NO_REGISTER,
    RANGE,
    TRANSLATION,
    WALK_READ,
    Access,
    Barrier,
    InsnClass,
    InsnFlag,
    Maintenance,
    Mark,
    MemoryType,
)
from traces.trace import Trace

WB, WT, NC, DEVICE = (
    MemoryType.NORMAL_WB,
    MemoryType.NORMAL_WT,
    MemoryType.NORMAL_NC,
    MemoryType.DEVICE_NGNRNE,
)


def insn(cls=InsnClass.ALU, *, dst=(), src=(), **fields):
    row = np.zeros(1, INSN)[0]
    row["cls"] = cls
    row["slot"] = -1
    row["dst"] = [*dst, *[NO_REGISTER] * (3 - len(dst))]
    row["src"] = [*src, *[NO_REGISTER] * (4 - len(src))]
    for name, value in fields.items():
        row[name] = value
    return row


def alu(dst, *src):
    return insn(InsnClass.ALU, dst=(dst,), src=src)


def load(dst, base, slot, offset=0, size=8, **fields):
    dst = (dst,) if isinstance(dst, int) else dst
    return insn(InsnClass.LOAD, dst=dst, src=(base,), access=Access.LOAD, slot=slot, offset=offset, size=size,
                element=min(size, 8), **fields)  # fmt: skip


def store(base, slot, offset=0, size=8, src=(), **fields):
    return insn(InsnClass.STORE, src=(*src, base), access=Access.STORE, slot=slot, offset=offset, size=size,
                element=min(size, 8), **fields)  # fmt: skip


def dc(kind, slot, base=13):
    return insn(InsnClass.MAINTENANCE, src=(base,), access=Access.MAINTAIN, maintenance=kind, slot=slot)


def system(kind):
    return insn(InsnClass.MAINTENANCE, maintenance=kind)


def barrier(kind, option=15):
    return insn(InsnClass.BARRIER, barrier=kind, barrier_option=option)


def branch_back(*src):
    return insn(InsnClass.BRANCH_CONDITIONAL, src=src, word=0x54FFFF01)


def zva(slot, base=0):
    return insn(InsnClass.MAINTENANCE, src=(base,), access=Access.ZERO, maintenance=Maintenance.DC_ZVA, slot=slot)


class Builder:
    """Collects blocks, executions, epochs and translations; `trace()` gives the Trace."""

    def __init__(self, data=WB, fetch=WB, **epoch):
        self.insns, self.blocks, self.executions, self.values = [], [], [], []
        self.epochs, self.marks, self.ranges, self.translations, self.reads = [], [], [], {}, []
        self.rows = []
        self.at = 0x4000_0000
        self.epoch(data, fetch, mark=False, **epoch)

    def epoch(self, data=WB, fetch=WB, *, mark=True, **fields):
        row = np.zeros(1, EPOCH)[0]
        row["el"] = 1
        row["flat_type"], row["flat_fetch_type"] = data, fetch
        row["walk_type"] = row["walk2_type"] = WB
        row["granule_log2"] = 12
        for name, value in fields.items():
            row[name] = value
        if mark:
            self.mark(Mark.EPOCH, len(self.epochs))
        self.epochs.append(row)

    def mark(self, kind, a=0):
        row = np.zeros(1, MARK)[0]
        row["at"], row["kind"], row["a"] = len(self.executions), kind, a
        self.marks.append(row)

    def range(self, pa, size, role):
        row = np.zeros(1, RANGE)[0]
        row["pa"], row["size"], row["role"] = pa, size, role
        self.ranges.append(row)

    def page(self, va, pa, kind=WB, *, fetch=WB, leaf_log2=12, tables=(), is_global=1, leaf2_log2=0):
        """Translate the page of `va` in the newest epoch; `tables` are the descriptors that its walk reads."""
        row = np.zeros(1, TRANSLATION)[0]
        row["epoch"], row["page"], row["pa"] = len(self.epochs) - 1, va >> 12, pa & ~0xFFF
        row["memory_type"], row["fetch_type"] = kind, fetch
        row["leaf_log2"], row["leaf2_log2"], row["is_global"] = leaf_log2, leaf2_log2, is_global
        row["walk_first"], row["walk_count"] = len(self.reads), len(tables)
        self.reads += [(pa, level, 1, [0] * 6) for level, pa in enumerate(tables)]
        self.translations[(len(self.epochs) - 1, va >> 12)] = row

    def block(self, insns, values=0, va=None):
        va = self.at if va is None else va
        self.at = va + 4 * len(insns)
        row = np.zeros(1, BLOCK)[0]
        row["va"] = row["pa"] = va
        row["first"], row["count"], row["values"] = len(self.insns), len(insns), values
        for at, given in enumerate(insns):
            one = given.copy()
            one["va"] = one["pa"] = va + 4 * at
            self.insns.append(one)
        self.blocks.append(row)
        return len(self.blocks) - 1

    def run(self, block, *values):
        assert len(values) == self.blocks[block]["values"]
        self.executions.append(block)
        self.values += [value & 0xFFFF_FFFF_FFFF_FFFF for value in values]

    def trace(self):
        def rows(items, dtype):
            return np.array([tuple(item) for item in items], dtype) if items else np.zeros(0, dtype)

        return Trace(
            insns=np.array(self.insns, INSN),
            blocks=np.array(self.blocks, BLOCK),
            executions=np.array(self.executions, np.uint32),
            values=np.array(self.values, np.uint64),
            epochs=np.array(self.epochs, EPOCH),
            translations=np.array(list(self.translations.values()), TRANSLATION)
            if self.translations
            else np.zeros(0, TRANSLATION),
            walk_reads=rows(self.reads, WALK_READ),
            exceptions=np.zeros(0, EXCEPTION),
            marks=np.array(self.marks, MARK) if self.marks else np.zeros(0, MARK),
            ranges=np.array(self.ranges, RANGE) if self.ranges else np.zeros(0, RANGE),
        )


def copy_block(hint=True):
    """One turn of the relocation's copy loop: 64 bytes, 12 instructions; slots: source, destination."""
    flags = int(InsnFlag.PAIR) | (int(InsnFlag.NON_TEMPORAL) if hint else 0)
    return [
        *(load((2 * k, 2 * k + 1), 21, 0, 16 * k, 16, flags=int(InsnFlag.PAIR)) for k in range(4)),
        alu(21, 21),
        *(store(20, 1, 16 * k, 16, src=(2 * k, 2 * k + 1), flags=flags) for k in range(4)),
        alu(20, 20),
        insn(InsnClass.ALU, src=(21,), dst=(32,)),
        branch_back(32),
    ]


def dc_block(kind):
    """One turn of the maintenance loop; slot: the line."""
    return [dc(kind, 0, 13), alu(13, 13, 15), insn(InsnClass.ALU, src=(13, 12), dst=(32,)), branch_back(32)]


def relocation(pages, *, before=None, after=None, data=DEVICE, fetch=NC, translated=False, scatter=True, seed=1,
               leaf_log2=12, **epoch):  # fmt: skip
    """The page loop of a relocation: per page a list entry, maintenance before or after, and 64 turns of the copy."""
    draw = np.random.default_rng(seed)
    build = Builder(data, fetch, stage1=int(translated), **epoch)
    sources = draw.permutation(pages) if scatter else np.arange(pages)
    listing = build.block(
        [load(16, 14, 0, 0), alu(14, 14), insn(InsnClass.ALU, src=(16,), dst=(12,)), branch_back(32)], 1
    )
    copy = build.block(copy_block(), 2)
    first = build.block(dc_block(before), 1) if before is not None else None
    last = build.block(dc_block(after), 1) if after is not None else None
    sync = build.block([barrier(Barrier.DSB)])
    tables, list_pa = 0x5000_0000, 0x6000_0000
    base_va = 0x0

    def map_page(va):
        if not translated or (len(build.epochs) - 1, va >> 12) in build.translations:
            return
        leaf = tables + (va >> leaf_log2) * 8 + 0x10_0000
        upper = (tables, tables + 0x1000 + (va >> 30) * 8, tables + 0x2000 + (va >> 21) * 8)
        build.page(va, va, tables=(*upper, leaf) if leaf_log2 == 12 else (*upper[:2], leaf), leaf_log2=leaf_log2)

    map_page(0x4000_0000)
    for index in range(pages):
        destination = 0x8000_0000 + index * 4096 + base_va
        source = 0xC000_0000 + int(sources[index]) * 4096
        for va in (destination, source, list_pa + 8 * index):
            map_page(va)
        build.run(listing, list_pa + 8 * index)
        if first is not None:
            for line in range(64):
                build.run(first, destination + 64 * line)
            build.run(sync)
        for line in range(64):
            build.run(copy, source + 64 * line, destination + 64 * line)
        if last is not None:
            for line in range(64):
                build.run(last, destination + 64 * line)
            build.run(sync)
    build.run(sync)
    return build.trace()
