"""Random programs on random small machines, as JSON: what Hypothesis draws, and what another process can be told.

`python random_guests.py` answers each line of standard input with a line that says what the replay of that guest costs.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import traces_synthetic as synthetic
from hypothesis import strategies as st
from traces_captured import captured
from traces_synthetic import Builder

import caches
from caches.replaying import Replay
from traces.files import load, save
from traces.fold import cut
from traces.schema import Barrier, InsnClass, InsnFlag, Maintenance, Mark, MemoryType

BASE = 0x8000_0000
CODE = 0x4000_0000
PAGES = 12
TABLES = 0x5000_0000

_registers = st.integers(0, 6)
_slots = st.integers(0, 2)
_insns = st.one_of(
    st.tuples(st.sampled_from(["alu", "mul", "shift"]), _registers, _registers),
    st.tuples(st.just("load"), _registers, _slots, st.sampled_from([1, 4, 8, 16, 32])),
    st.tuples(st.just("store"), _registers, _slots, st.sampled_from([1, 8, 16, 64]), st.booleans()),
    st.tuples(st.just("dc"), st.sampled_from(["DC_IVAC", "DC_CVAC", "DC_CIVAC", "DC_CVAU"]), _slots),
    st.tuples(st.just("zva"), _slots),
    st.tuples(st.just("barrier"), st.sampled_from(["DSB", "DMB", "ISB"]), st.sampled_from([1, 2, 15])),
    st.tuples(st.just("system"), st.sampled_from(["TLBI_VMALLE1", "IC_IALLU", "DC_CISW", "DC_ISW"])),
)
_offsets = st.integers(0, 4096 * PAGES - 65)
_levels = st.fixed_dictionaries(
    {
        "sets": st.sampled_from([1, 2, 3, 4]),
        "ways": st.sampled_from([1, 2, 4]),
        "replacement": st.sampled_from(["lru", "fifo", "random", "tree-plru", "srrip"]),
        "inclusion": st.sampled_from(["non-inclusive", "inclusive", "exclusive"]),
        "miss_buffers": st.integers(1, 4),
    }
)
_kinds = st.sampled_from([int(kind) for kind in MemoryType])
guests = st.fixed_dictionaries(
    {
        "core": st.sampled_from(["stingray", "thunderx2", "rk3328"]),
        "l1d": _levels,
        "l2": _levels,
        "l3": st.one_of(st.none(), _levels),
        "numbers": st.fixed_dictionaries(
            {
                "store.buffer_entries": st.integers(1, 4),
                "store.stream_l1_lines": st.integers(0, 2),
                "store.non_temporal_streams": st.booleans(),
                "prefetch.streams": st.sampled_from([0, 2]),
                "prefetch.crosses_pages": st.booleans(),
                "dtlb.entries": st.integers(1, 4),
                "walk.cache_entries": st.integers(0, 3),
                "nc.forward_bytes": st.sampled_from([0, 64]),
                "maintenance.ivac_cleans": st.booleans(),
                "l3.behind_poc": st.booleans(),
            }
        ),
        "ablate": st.sets(st.sampled_from([one.name for one in caches.mechanisms()]), max_size=2).map(sorted),
        "initial": st.sampled_from(["cold", "kernel-dirty"]),
        "epochs": st.lists(
            st.fixed_dictionaries({"data": _kinds, "fetch": _kinds, "stage1": st.integers(0, 1)}),
            min_size=1,
            max_size=3,
        ),
        "blocks": st.lists(st.lists(_insns, min_size=1, max_size=8), min_size=1, max_size=3),
        # (block, epoch it is entered in or None to stay, offsets of its slots)
        "runs": st.lists(
            st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 2)), st.tuples(*[_offsets] * 3)),
            min_size=1,
            max_size=40,
        ),
    }
)  # fmt: skip


CLASSES = {"alu": InsnClass.ALU, "mul": InsnClass.MUL, "shift": InsnClass.ALU_SHIFT}
INSNS = {
    **{kind: lambda to, of, cls=cls: synthetic.insn(cls, dst=(to,), src=(of,)) for kind, cls in CLASSES.items()},
    "load": lambda to, slot, size: synthetic.load(to, 20, slot, size=size),
    "store": lambda of, slot, size, hint: synthetic.store(
        20, slot, size=size, src=(of,), flags=int(InsnFlag.NON_TEMPORAL) * hint
    ),
    "dc": lambda kind, slot: synthetic.dc(Maintenance[kind], slot),
    "zva": synthetic.zva,
    "barrier": lambda kind, option: synthetic.barrier(Barrier[kind], option),
    "system": lambda kind: synthetic.system(Maintenance[kind]),
}


def trace_of(guest):
    epochs = guest["epochs"]
    build = Builder(MemoryType(epochs[0]["data"]), MemoryType(epochs[0]["fetch"]), stage1=epochs[0]["stage1"])
    blocks = []
    for at, insns in enumerate(guest["blocks"]):
        rows = [INSNS[kind](*given) for kind, *given in insns]
        blocks.append(build.block([*rows, synthetic.branch_back(32)], 3, va=CODE + 0x400 * at))

    def map_pages(epoch):
        kind, fetch = MemoryType(epoch["data"]), MemoryType(epoch["fetch"])
        for at in range(PAGES + 1):
            va = BASE + 4096 * at
            build.page(va, va, kind, fetch=fetch, tables=(TABLES, TABLES + 0x1000, TABLES + 0x2000 + 8 * at))
        build.page(CODE, CODE, kind, fetch=fetch, tables=(TABLES, TABLES + 0x3000))

    map_pages(epochs[0])
    for block, epoch, offsets in guest["runs"]:
        if epoch is not None:
            chosen = epochs[epoch % len(epochs)]
            build.epoch(MemoryType(chosen["data"]), MemoryType(chosen["fetch"]), stage1=chosen["stage1"])
            map_pages(chosen)
        if build.executions and offsets[0] % 7 == 0:
            build.mark(Mark.TRUNCATE, 1)
        build.run(blocks[block % len(blocks)], *(BASE + (offset & ~63) + 8 * (offset & 7) for offset in offsets))
    return build.trace()


def config_of(guest):
    changes = dict(guest["numbers"])
    for name in ("l1d", "l2", "l3"):
        level = guest[name]
        if level is None:
            changes["l3.size"] = 0
            continue
        changes[f"{name}.size"] = level["sets"] * level["ways"] * 64
        changes |= {f"{name}.{key}": level[key] for key in ("ways", "replacement", "miss_buffers")}
        changes[f"{name}.inclusion"] = "non-inclusive" if name == "l1d" else level["inclusion"]
    changes |= {"l1d.hit_cycles": 4, "l2.hit_cycles": 20, "l3.hit_cycles": 200}
    return caches.core(guest["core"]).override(changes)


def replay_of(guest, **fields):
    return Replay(trace_of(guest), config_of(guest), ablate=guest["ablate"], initial=guest["initial"], **fields)


def digest(outcome):
    """Everything that an outcome says, in a line."""
    text = hashlib.sha256()
    lines = (outcome.dirty_lines, outcome.stale_lines, outcome.lost_lines)
    for table in (outcome.insn_cycles, outcome.insn_count, *lines):
        text.update(np.ascontiguousarray(table).tobytes())
    text.update(json.dumps([outcome.counters, dict(outcome.details)], sort_keys=True).encode())
    return f"{outcome.cycles} {text.hexdigest()}"


def answer(guest):
    """Reply to a guest, to {"capture": case, "to": path} with nothing, and to {"trace": path}."""
    if "capture" in guest:
        trace = captured(guest["capture"], 2)
        executions = len(trace.executions)
        save(cut(trace, 0, 60), Path(guest["to"]).with_suffix(".begin"))
        save(cut(trace, executions - 60, executions), Path(guest["to"]).with_suffix(".end"))
        return ""
    if "trace" in guest:
        return digest(caches.replay(load(Path(guest["trace"])), caches.core("stingray"), initial="kernel-dirty"))
    replay = replay_of(guest)
    replay.advance()
    return digest(replay.outcome())


if __name__ == "__main__":
    for line in sys.stdin:
        print(answer(json.loads(line)), flush=True)  # noqa: T201
