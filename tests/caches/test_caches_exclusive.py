"""What the presets of the Cortex-A53 rest on, each mechanism alone: an exclusive L2, and loads of several vectors."""

import numpy as np
import pytest
import traces_synthetic as synthetic
from traces_synthetic import Builder

import caches
from traces.schema import InsnFlag, MemoryType

BASE = 0x8000_0000
SMALL = {
    "l1d.size": 2 * 64, "l1d.ways": 2, "l1d.replacement": "lru", "l2.size": 4 * 64, "l2.ways": 4,
    "l2.replacement": "lru", "l3.size": 0, "prefetch.streams": 0, "fetch.prefetch_lines": 0,
}  # fmt: skip


def replayed(lines, stores=(), **changes):
    build = Builder()
    read = build.block([synthetic.load(0, 1, 0)], 1)
    write = build.block([synthetic.store(1, 0, src=(2,))], 1)
    for line in lines:
        build.run(write if line in stores else read, BASE + 64 * line)
    return caches.replay(build.trace(), caches.core("stingray").override(SMALL | changes))


def test_an_exclusive_l2_is_filled_by_evictions_and_gives_its_line_up():
    # 2 lines of L1D and 4 of L2, one of them code: five lines of data fit, and only together.
    rounds = [0, 1, 2, 3, 4] * 4
    apart = replayed(rounds, **{"l2.inclusion": "exclusive"}).counters
    assert apart["dram"]["reads"] == 5 + 1
    assert apart["l2"]["hits"] == 15
    together = replayed(rounds, **{"l2.inclusion": "non-inclusive"}).counters
    assert together["dram"]["reads"] > 6


def test_dirtiness_moves_with_the_line():
    outcome = replayed([0, 1, 2, 3, 0], stores=(0,), **{"l2.inclusion": "exclusive"})
    assert outcome.dirty_lines.tolist() == [BASE]
    assert outcome.counters["dram"]["writes"] == 0


def test_code_stays_in_an_exclusive_l2():
    assert replayed([0, 1], **{"l2.inclusion": "exclusive"}).counters["l2"]["misses"] == 3


@pytest.mark.parametrize(("flags", "size", "transactions"), [
    (InsnFlag.VECTOR, 64, 8), (InsnFlag.VECTOR, 16, 1), (InsnFlag.VECTOR | InsnFlag.PAIR, 32, 1), (0, 8, 1),
])  # fmt: skip
def test_a_noncacheable_load_of_several_vectors_goes_in_pieces(flags, size, transactions):
    build = Builder(data=MemoryType.NORMAL_NC)
    build.run(build.block([synthetic.load(64, 1, 0, size=size, flags=flags)], 1), BASE)
    config = caches.core("rk3328")
    assert caches.replay(build.trace(), config).counters["nc"]["misses"] == transactions
    whole = config.override({"nc.structure_bytes": 64})
    assert caches.replay(build.trace(), whole).counters["nc"]["misses"] == 1


def test_pieces_come_one_after_another():
    build = Builder(data=MemoryType.NORMAL_NC)
    block = build.block([synthetic.load(64, 1, 0, size=64, flags=InsnFlag.VECTOR)], 1)
    for line in range(10):
        build.run(block, BASE + 64 * line)
    config = caches.core("rk3328")
    outcome = caches.replay(build.trace(), config, ablate={"fetch", "dram_bandwidth"}, checkpoints=np.arange(2, 10))
    steps = np.diff(outcome.checkpoint_cycles)
    assert steps.tolist() == [8 * config.cycles(config.nc.latency_ns)] * len(steps)
