"""Every estimated number matters: moved to an end of its range, it changes what some run costs; or it is named here."""

from functools import cache

import numpy as np
import pytest
import traces_synthetic as synthetic
from traces_synthetic import DEVICE, NC, WB, Builder

import caches
from traces.errors import InputError
from traces.schema import Barrier, InsnClass, InsnFlag, Maintenance, Mark, MemoryType, Role

CODE, BASE = 0x4000_0000, 0x1_0000_0000
CORES = ("stingray", "seattle", "rk3328", "altra", "thunderx2", "rpi5")

_NO_L3 = "there is no L3"
_ONE_CHANNEL = "there is one channel"
_ONE_CORE = "more than one core ever writes"
INERT = {
    "l1i.hit_cycles": "a hit is hidden by the pipeline; the field is there because a level has one",
    "stingray/l3.miss_buffers": "more than L2 has: they are never all taken",
    "seattle/l3.miss_buffers": "more than L2 has: they are never all taken",
    "thunderx2/l3.miss_buffers": "more than L2 has: they are never all taken",
    "store.stream_buffers": "streaming ends where lines are not filled one after the other: one is enough",
    "seattle/prefetch.walks": "its prefetcher stays within the page",
    **{f"rk3328/l3.{field}": _NO_L3 for field in ("interval_cycles", "replacement", "inclusion", "miss_buffers")},
    "rk3328/store.stream_l3_lines": _NO_L3,
    "rk3328/dram.interleave": _ONE_CHANNEL,
    "rk3328/maintenance.dc_dirty_cycles": "memory's acknowledgement always takes longer",
    "rk3328/prefetch.stores": "stores prefetch into L2, and this prefetcher brings nothing there",
    "altra/dram.write_share": _ONE_CORE,
    "thunderx2/dram.write_share": _ONE_CORE,
}
"""Keys whose scrambling moves nothing, by key or core/key, each with its reason."""


def memory_walk(kind=WB, *, lines, stores=False, step=64, seed=None, tables=True, vector=False, depends=True):
    """Loads or stores through 4 KiB pages, in order or shuffled, dependent on each other or not."""
    build = Builder(kind, WB, stage1=int(tables))
    order = np.arange(lines) if seed is None else np.random.default_rng(seed).permutation(lines)
    if tables:
        build.page(CODE, CODE, tables=())
        for page in sorted({int(at) * step >> 12 for at in order}):
            va = BASE + 4096 * page
            upper = (0x8000_0000, 0x8000_1000 + 8 * (page >> 18), 0x8000_2000 + 8 * (page >> 9))
            build.page(va, va, kind, tables=(*upper, 0x8800_0000 + 8 * page))
    wide = {"size": 64, "flags": int(InsnFlag.VECTOR)} if vector else {}
    if stores:
        block = build.block([synthetic.store(1, 0, 16 * at, 16, src=(2,)) for at in range(4)], 1)
    else:
        block = build.block([synthetic.load(0 if depends else 3, 0 if depends else 20, 0, **wide)], 1)
    for at in order:
        build.run(block, BASE + step * int(at))
    build.run(build.block([synthetic.barrier(Barrier.DSB)]))
    return build.trace()


def instructions():
    """A little of everything that is no memory access, and maintenance one by one."""
    build = Builder(WB, WB)
    kinds = ("ALU_SHIFT", "MUL", "DIV", "FP", "SIMD", "CRYPTO", "SYSTEM_READ", "SYSTEM_WRITE")
    rows = [synthetic.insn(InsnClass[kind], dst=(at % 3,), src=(at % 3,)) for kind in kinds for at in range(4)]
    block = build.block(rows)
    for _ in range(4):
        build.run(block)
    for kind in (Maintenance.DC_IVAC, Maintenance.DC_CIVAC, Maintenance.DC_CVAU):
        write = build.block([synthetic.store(1, 0, src=(2,)), synthetic.dc(kind, 0)], 1)
        clean = build.block([synthetic.dc(kind, 0)], 1)
        for line in range(40):
            build.run(write, BASE + 64 * line)
        for line in range(40):
            build.run(clean, BASE + 0x10_0000 + 64 * line)
        build.run(build.block([synthetic.barrier(Barrier.DSB)]))
    for kind in (Maintenance.IC_IALLU, Maintenance.TLBI_VMALLE1):
        build.run(build.block([synthetic.system(kind), synthetic.barrier(Barrier.DSB)]))
    way = synthetic.insn(InsnClass.MAINTENANCE, src=(0,), maintenance=Maintenance.DC_CISW, slot=0)
    sweep = build.block([way, synthetic.barrier(Barrier.DSB)], 1)
    for at in range(20):
        build.run(sweep, at << 6)
    for barrier in (Barrier.DMB, Barrier.ISB):
        build.run(build.block([synthetic.barrier(barrier), synthetic.load(0, 1, 0)], 1), BASE)
    build.run(build.block([synthetic.insn(InsnClass.ERET)]))
    build.mark(Mark.EXCEPTION)
    build.run(build.block([synthetic.alu(0, 0)]))
    return build.trace()


def code(kind):
    """Long straight code, twice, and a tight loop, fetched as that type."""
    build = Builder(WB, kind)
    blocks = [build.block([synthetic.alu(at % 8, 30) for at in range(24)]) for _ in range(900)]
    loop = build.block([synthetic.alu(0, 0), synthetic.alu(1, 1), synthetic.branch_back(32)])
    slow = build.block([synthetic.load(0, 20, 0), *(synthetic.alu(1, 0) for _ in range(3))], 1)
    for block in blocks * 2:
        build.run(block)
    for turn in range(30):
        build.run(loop)
        build.run(slow, BASE + 4096 * turn)
    return build.trace()


def far_code(pages):
    """One instruction a page, round and round."""
    build = Builder(WB, WB, stage1=1)
    blocks = []
    for page in range(pages):
        va = CODE + 4096 * page + 64 * (page % 32)
        build.page(va, va & ~4095, tables=(0x8000_0000, 0x8000_1000 + 8 * page))
        blocks.append(build.block([synthetic.alu(0, 0)], va=va))
    for block in blocks * 6:
        build.run(block)
    return build.trace()


def strided(stride, turns, streams):
    build = Builder(WB, WB)
    block = build.block([synthetic.load(at, 20, 0, at * (1 << 22)) for at in range(streams)], 1)
    for turn in range(turns):
        build.run(block, BASE + 64 * stride * turn)
    return build.trace()


def partial_stores(kind=WB, *, step=4096, words=6):
    """Stores of 8 bytes, 24 bytes apart: they merge in part, and no line is ever full."""
    build = Builder(kind, WB)
    block = build.block([synthetic.store(1, 0, 24 * at, 8, src=(2,)) for at in range(words)], 1)
    for turn in range(300):
        build.run(block, BASE + step * turn)
    return build.trace()


@cache
def runs():
    """Name -> (trace, options)."""
    fresh = synthetic.relocation(6, before=Maintenance.DC_IVAC)
    merged = synthetic.relocation(24, after=Maintenance.DC_CIVAC, translated=True)
    build = Builder(WB, WB)
    build.range(0x8000_0000, 1 << 26, Role.RAM)
    build.range(0x9000_0000, 1 << 26, Role.DESTINATION)
    build.run(build.block([synthetic.alu(0, 0)]))
    left = build.trace()
    return {
        "left": (left, {"initial": "kernel-dirty"}),
        "off": (fresh, {}),
        "merged": (merged, {}),
        "instructions": (instructions(), {}),
        "code": (code(WB), {}),
        "uncached code": (code(NC), {}),
        "copy": (synthetic.relocation(160, translated=True, leaf_log2=21, scatter=False), {}),
        **{f"device {kind.name}": (partial_stores(kind), {}) for kind in (DEVICE, MemoryType(1), MemoryType(3))},
        "nc reads": (memory_walk(NC, lines=400, step=16, depends=False, tables=False), {}),
        "nc vectors": (memory_walk(NC, lines=100, vector=True, tables=False), {}),
        "wt": (memory_walk(MemoryType.NORMAL_WT, lines=300, tables=False), {}),
        "nc writes": (memory_walk(NC, lines=400, stores=True, tables=False), {}),
        "fill": (memory_walk(lines=9000, stores=True), {}),
        "partial": (partial_stores(), {}),
        "chase": (memory_walk(lines=30_000, seed=1), {}),
        "pages": (memory_walk(lines=3000, step=4096 + 64, seed=1), {}),
        "parallel pages": (memory_walk(lines=3000, step=4096 + 64, seed=2, depends=False), {}),
        "big": (memory_walk(lines=300_000, step=64, seed=3), {}),
        "stream": (memory_walk(lines=4000, depends=False), {}),
        **{f"stride {stride}": (strided(stride, 60, 4), {}) for stride in (1, 2, 3, 5, 12)},
        "many streams": (strided(1, 60, 20), {}),
        "far code": (far_code(44), {}),
        "word a line": (partial_stores(step=64, words=1), {}),
    }


@cache
def cost(name, config):
    trace, options = runs()[name]
    outcome = caches.replay(trace, config, **options)
    return outcome.cycles, tuple(sorted((part, tuple(row.items())) for part, row in outcome.counters.items()))


def alternatives(core, key):
    """The core with that estimate at the ends of its range, or at its other choices."""
    value, span = core.value(key), core.provenance[key].estimated
    for other in span:
        changes = {key: other}
        if key.endswith(".entries") and core.value(key) == core.value(key.replace("entries", "ways")):
            changes[key.replace("entries", "ways")] = other
        try:
            changed = core.override(changes)
        except InputError:
            continue
        if changed.value(key) != value:
            yield caches.presets.without_provenance(changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", CORES)
def test_every_estimate_moves_something(name):
    core = caches.core(name)
    plain = caches.presets.without_provenance(core)
    inert = []
    for key, origin in core.provenance.items():
        others = list(alternatives(core, key)) if origin.is_estimated and not key.startswith("architecture") else []
        if others and not any(cost(run, other) != cost(run, plain) for run in runs() for other in others):
            inert.append(key)
    assert sorted(inert) == sorted(key for key in core.provenance if key in INERT or f"{name}/{key}" in INERT)


@pytest.mark.parametrize("name", caches.core_names())
def test_every_number_has_a_source_or_a_range_that_is_one(name):
    """A range has two ends or several choices, and says why; a source says more than that there is none."""
    for key, origin in caches.core(name).provenance.items():
        assert origin.source, key
        if origin.is_estimated:
            assert len(set(map(str, origin.estimated))) > 1, key
            assert caches.core(name).value(key) is not None
        else:
            assert not any(word in origin.source.lower() for word in ("not found", "guess", "assumed", "unknown")), key
