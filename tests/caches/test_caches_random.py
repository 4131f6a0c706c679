"""Random programs on random machines: the same with and without the JIT, and what any replay must keep."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import config
from random_guests import answer, config_of, digest, guests, replay_of, trace_of

import caches
from caches.state import level_ways

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture(scope="module")
def other_process():
    """Ask a process that has the JIT off where this one has it on, and the other way round."""
    flipped = "0" if config.DISABLE_JIT else "1"
    here = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, here / "random_guests.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"NUMBA_DISABLE_JIT": flipped, "PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here}"},
    ) as process:  # fmt: skip

        def ask(guest):
            process.stdin.write(json.dumps(guest) + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield ask


@pytest.mark.nojit
@settings(SETTINGS, max_examples=40)
@given(guests)
def test_the_jit_changes_nothing(other_process, guest):
    assert other_process(guest) == answer(guest)


@pytest.mark.nojit
@pytest.mark.parametrize("case", ["v4.19-el1", "v5.17-nvhe", "rfc-v2-el1"])
def test_the_jit_changes_nothing_on_real_runs(other_process, tmp_path, case):
    """The beginning and the end of a run, on a machine as it ships. Capture needs the JIT; one of the two has it."""
    capture = other_process if config.DISABLE_JIT else answer
    capture({"capture": case, "to": str(tmp_path / "run")})
    for part in ("run.begin", "run.end"):
        asked = {"trace": str(tmp_path / part)}
        assert other_process(asked) == answer(asked)


@settings(SETTINGS, max_examples=50)
@given(guests)
def test_the_same_guest_gives_the_same_outcome(guest):
    assert answer(guest) == answer(guest)


@settings(SETTINGS, max_examples=100)
@given(guests)
def test_stacks_sum_and_hits_and_misses_are_all(guest):
    replay = replay_of(guest)
    replay.advance()
    outcome = replay.outcome()
    assert sum(outcome.cycle_stack.values()) == outcome.cycles == replay.cycles
    assert (outcome.insn_cycles >= 0).all()
    for part in ("l1d", "l2", "l3", "l1i", "dtlb", "itlb", "l2tlb"):
        counted = outcome.counters.get(part, {"hits": 0, "misses": 0, "accesses": 0})
        assert counted["hits"] + counted["misses"] == counted["accesses"], part
    executed = trace_of(guest)
    assert outcome.insn_count.sum() <= sum(int(executed.blocks["count"][block]) for block in executed.executions)


@settings(SETTINGS, max_examples=60)
@given(guests, st.lists(st.integers(0, 40), max_size=4))
def test_replays_may_stop_anywhere(guest, stops):
    whole, pieces = replay_of(guest), replay_of(guest)
    whole.advance()
    for stop in sorted(stops):
        pieces.advance(stop)
        pieces.outcome()  # looking changes nothing
    pieces.advance()
    assert digest(pieces.outcome()) == digest(whole.outcome())


@settings(SETTINGS, max_examples=60)
@given(guests, st.lists(st.integers(0, 40), max_size=4))
def test_checkpoints_are_where_a_replay_that_stops_there_is(guest, ends):
    ends = sorted(min(end, len(guest["runs"])) for end in ends)
    marked = replay_of(guest, checkpoints=ends)
    marked.advance()
    found = marked.outcome().checkpoint_cycles.tolist()
    pieces = replay_of(guest)
    for end, cycles in zip(ends, found, strict=True):
        pieces.advance(end)
        assert pieces.cycles == cycles


def held(replay, level):
    ways = level_ways(replay._state, level)
    return set(ways.held[ways.tags != 0].tolist())


@settings(SETTINGS, max_examples=80)
@given(guests)
def test_levels_keep_what_their_inclusion_promises(guest):
    """Inclusive: all that L1D holds is here. Everywhere: no line twice in a level, each in its set."""
    replay = replay_of(guest)
    core = config_of(guest)
    replay.advance()
    for level, name in enumerate(("l1d", "l2", "l3")):
        ways = level_ways(replay._state, level)
        lines = ways.held[ways.tags != 0]
        assert len(np.unique(lines)) == len(lines)
        if len(ways.tags):
            part = getattr(core, name)
            assert (lines % part.sets == np.flatnonzero(ways.tags) // part.ways).all()
    if core.l2.inclusion == caches.Inclusion.INCLUSIVE and guest["initial"] == "cold":
        assert held(replay, 0) <= held(replay, 1)
    if core.l3.size and core.l3.inclusion == caches.Inclusion.INCLUSIVE and guest["initial"] == "cold":
        assert held(replay, 0) | held(replay, 1) <= held(replay, 2)


COSTS = ("device_order", "uncached_fetch", "branch", "dsb", "isb", "dmb", "dc", "ic", "tlbi", "system", "exception")
"""Mechanisms that only add waiting, and change no cache: without them no instruction can be later."""


@settings(SETTINGS, max_examples=60)
@given(guests, st.sampled_from(COSTS))
def test_what_only_costs_saves_nothing(guest, mechanism):
    guest = guest | {"ablate": [], "initial": "cold"}
    whole, without = replay_of(guest), replay_of(guest | {"ablate": [mechanism]})
    whole.advance()
    without.advance()
    # Requests that come earlier may meet others: a slot or two.
    assert without.cycles <= whole.cycles * 1.02 + 8
