"""The replay as a whole: sums, continuity, determinism, bad traces, and the same numbers without the JIT."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import traces_synthetic as synthetic
from traces_synthetic import NC, WB, Builder

import caches
from caches.replaying import Replay
from traces.errors import InputError
from traces.schema import Maintenance, Mark, Role

GOLDEN = Path(__file__).with_name("golden_cycles.json")


def samples():
    return {
        "off": synthetic.relocation(2, before=Maintenance.DC_IVAC),
        "on": synthetic.relocation(2, after=Maintenance.DC_CIVAC, translated=True),
        "nc": synthetic.relocation(2, data=NC, fetch=WB),
        "wb": synthetic.relocation(2, data=WB, fetch=WB),
    }


def measured():
    result = {}
    for core in ("stingray", "thunderx2", "rk3328"):
        for name, trace in samples().items():
            for initial in ("cold", "kernel-dirty") if name == "off" else ("cold",):
                outcome = caches.replay(trace, caches.core(core), initial=initial)
                result[f"{core}/{name}/{initial}"] = outcome.cycle_stack
    return result


@pytest.mark.nojit
def test_the_stored_traces_cost_what_they_did_with_and_without_the_jit():
    # Regenerate with: RELOCSCOPE_REGENERATE=1 pytest tests/caches/test_caches_replay.py
    now = measured()
    if os.environ.get("RELOCSCOPE_REGENERATE"):
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n")
    assert now == json.loads(GOLDEN.read_text())


@pytest.mark.slow
def test_without_the_jit_in_another_process():
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "nojit", __file__],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        check=True,
    )


@pytest.mark.parametrize("core", ["stingray", "thunderx2", "rk3328"])
@pytest.mark.parametrize("name", ["off", "on", "nc", "wb"])
def test_the_stack_sums_to_the_last_retirement(core, name):
    replay = Replay(samples()[name], caches.core(core))
    replay.advance()
    outcome = replay.outcome()
    assert sum(outcome.cycle_stack.values()) == outcome.cycles == replay.cycles
    assert (outcome.insn_cycles >= 0).all()


def test_hits_and_misses_are_all_accesses():
    outcome = caches.replay(samples()["on"], caches.core("stingray"))
    for part in ("l1d", "l2", "l3", "l1i", "dtlb", "itlb", "l2tlb"):
        counted = outcome.counters[part]
        assert counted["hits"] + counted["misses"] == counted["accesses"]
    assert outcome.counters["dtlb"]["accesses"] > 1000


@pytest.mark.parametrize("name", ["off", "on"])
def test_advancing_in_pieces_is_the_same_as_in_one(name):
    trace, core = samples()[name], caches.core("stingray")
    whole = caches.replay(trace, core)
    pieces = Replay(trace, core)
    for stop in (1, 2, 60, 61, 150, 151, 200):
        pieces.advance(stop)
    pieces.advance()
    assert (pieces.outcome().insn_cycles == whole.insn_cycles).all()
    assert pieces.outcome().counters == whole.counters


def test_checkpoints_are_the_cycles_at_the_start_of_executions():
    trace, core = samples()["off"], caches.core("stingray")
    ends = [0, 1, 70, len(trace.executions) - 1, len(trace.executions)]
    outcome = caches.replay(trace, core, checkpoints=ends)
    expected = []
    for end in ends:
        replay = Replay(trace, core)
        replay.advance(end)
        expected.append(replay.cycles)
    assert outcome.checkpoint_cycles.tolist() == expected
    assert outcome.checkpoint_cycles[0] == 0
    assert outcome.checkpoint_cycles[-1] == outcome.cycles


def test_the_same_input_gives_the_same_output():
    first, second = (caches.replay(samples()["off"], caches.core("stingray"), initial="kernel-dirty") for _ in range(2))
    assert (first.insn_cycles == second.insn_cycles).all()
    assert first.dirty_lines.tolist() == second.dirty_lines.tolist()


def test_truncated_blocks_run_as_far_as_they_ran():
    build = Builder()
    block = build.block([synthetic.alu(0, 0)] * 5)
    build.run(block)
    build.mark(Mark.TRUNCATE, 2)
    build.run(block)
    outcome = caches.replay(build.trace(), caches.core("stingray"))
    assert outcome.insn_count.tolist() == [2, 2, 1, 1, 1]


def test_an_exception_costs_what_the_core_says():
    def cycles(mark):
        build = Builder()
        block = build.block([synthetic.alu(0, 0)] * 5)
        build.run(block)
        if mark:
            build.mark(Mark.EXCEPTION, 0)
        build.run(block)
        return caches.replay(build.trace(), caches.core("stingray")).cycle_stack

    assert cycles(mark=False)["exception"] == 0
    assert cycles(mark=True)["exception"] == caches.core("stingray").pipeline.exception_cycles


def test_values_above_the_signed_range_are_addresses_too():
    build = Builder(stage1=1)
    va = 0xFFFF_8000_0000_0000
    build.page(va, 0x8000_0000)
    build.page(0x4000_0000, 0x4000_0000)
    build.run(build.block([synthetic.load(0, 1, 0, 0x40)], 1), va)
    outcome = caches.replay(build.trace(), caches.core("stingray"))
    assert outcome.counters["l1d"]["misses"] == 1


def broken(trace, **changes):
    from dataclasses import replace

    return replace(trace, **changes)


def test_bad_traces_are_refused():
    trace = samples()["on"]
    core = caches.core("stingray")
    with pytest.raises(InputError, match="values"):
        caches.replay(broken(trace, values=trace.values[:-1]), core)
    with pytest.raises(InputError, match="executions"):
        caches.replay(broken(trace, executions=np.array([99], np.uint32)), core)
    with pytest.raises(InputError, match="no row for page"):
        caches.replay(broken(trace, translations=trace.translations[:3]), core)
    with pytest.raises(InputError, match="walk reads"):
        caches.replay(broken(trace, walk_reads=trace.walk_reads[:3]), core)
    slots = trace.insns.copy()
    slots["slot"][0] = 5
    with pytest.raises(InputError, match="slot"):
        caches.replay(broken(trace, insns=slots), core)
    with pytest.raises(InputError, match="epochs"):
        caches.replay(broken(trace, epochs=trace.epochs[:0]), core)
    with pytest.raises(InputError, match="initial"):
        caches.replay(trace, core, initial="warm")
    with pytest.raises(InputError, match="ascending"):
        caches.replay(trace, core, checkpoints=[5, 1])
    with pytest.raises(InputError, match="nonsense"):
        caches.replay(trace, core, ablate={"nonsense"})


@pytest.mark.parametrize("mechanism", caches.mechanisms(), ids=lambda one: one.name)
def test_switching_a_mechanism_off_never_costs_time(mechanism):
    if mechanism.name in ("streaming", "prefetch"):
        pytest.skip("saves time: off is slower")
    for name in ("off", "on"):
        trace, core = samples()[name], caches.core("stingray")
        whole = caches.replay(trace, core).cycles
        without = caches.replay(trace, core, ablate={mechanism.name}).cycles
        # One request more in time can move others by a few slots.
        assert without <= whole * 1.02


@pytest.mark.parametrize(
    ("group", "name", "leaves"),
    [
        ("memory_type", "off", ("device_load", "device_store")),
        ("hierarchy", "on", ("l1d", "l2", "l3", "dram_latency", "dram_bandwidth", "store_buffer")),
        ("translation", "on", ("tlb_walk",)),
        ("maintenance", "on", ("maintenance", "barrier", "exception")),
        ("fetch", "off", ("fetch", "branch")),
    ],
)
def test_a_group_switched_off_leaves_nothing_in_its_leaves(group, name, leaves):
    trace, core = samples()[name], caches.core("stingray")
    assert any(caches.replay(trace, core).cycle_stack[leaf] for leaf in leaves)
    stack = caches.replay(trace, core, ablate={group}).cycle_stack
    assert {leaf: stack[leaf] for leaf in leaves if stack[leaf]} == {}


def test_everything_off_is_the_instructions_alone():
    off, on = (
        caches.replay(samples()[name], caches.core("stingray"), ablate=set(caches.GROUPS)).cycles / 2 / 64
        for name in ("off", "on")
    )
    assert abs(off - on) < 2
    assert on < 30


def test_kernel_dirty_holds_no_line_that_was_cleaned():
    build = Builder()
    build.run(build.block([synthetic.alu(0, 0)]))
    build.range(0x8000_0000, 1 << 24, Role.RAM)
    build.range(0x8000_0000, 1 << 20, Role.DESTINATION)
    build.range(0x8040_0000, 1 << 22, Role.SOURCE)
    outcome = caches.replay(build.trace(), caches.core("stingray"), initial="kernel-dirty")
    lines = outcome.dirty_lines
    assert len(lines) > 1000
    assert ((lines >= 0x8000_0000) & (lines < 0x8100_0000)).all()
    assert not ((lines >= 0x8040_0000) & (lines < 0x8080_0000)).any()
    assert (lines < 0x8010_0000).mean() > 0.3
