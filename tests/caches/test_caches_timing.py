import numpy as np
import pytest
from traces_captured import captured

import caches
from caches.replaying import Replay
from caches.timing import go, go_to_cycle, place_of, retired, sample, timed
from traces.expand import executed_counts
from traces.fold import instruction_count
from traces.schema import NO_REGISTER, InsnClass
from traces.window import Place


def trace_and_core(name="rfc-v2-nvhe", core="stingray"):
    return captured(name, pages=2), caches.core(core)


def end_of(trace):
    return Place(len(trace.executions), 0)


CASES = [("rfc-v2-nvhe", "stingray"), ("rfc-v1-nvhe", "stingray"), ("v5.17-nvhe", "rpi3")]


@pytest.mark.parametrize(("name", "core"), CASES)
def test_times_of_instructions_are_those_of_the_run(name, core):
    trace, config = trace_and_core(name, core)
    whole = caches.replay(trace, config)
    replay = Replay(trace, config)
    rows = np.concatenate(list(timed(replay, end_of(trace), 0)))
    assert len(rows) == instruction_count(trace) == whole.instructions
    assert rows["retire"][-1] == whole.cycles
    exposed = rows["causes"].sum(axis=1)
    assert (np.diff(rows["retire"], prepend=0) == exposed).all()
    cycles = np.zeros_like(whole.insn_cycles)
    np.add.at(cycles, rows["insn"], rows["causes"])
    assert (cycles == whole.insn_cycles).all()
    for before, after in (("fetch", "dispatch"), ("dispatch", "issue"), ("issue", "complete"), ("complete", "retire")):
        assert (rows[before] <= rows[after]).all(), (before, after)
    for field in ("fetch", "dispatch", "retire"):
        assert (np.diff(rows[field]) >= 0).all(), field
    simple = (trace.insns["cls"][rows["insn"]] == InsnClass.ALU) & (trace.insns["dst"][rows["insn"], 0] != NO_REGISTER)
    assert simple.any()
    assert (rows["complete"] - rows["issue"] == config.pipeline.alu_cycles)[simple].all()
    walks, reads = rows["events"].sum(axis=0)[4:]
    assert (walks, reads) == (whole.counters["walk"]["walks"], whole.counters["walk"]["reads"])
    assert rows["events"].sum(axis=0)[0] == whole.counters["dram"]["reads"]


def test_retirements_are_the_same_at_any_speed():
    trace, config = trace_and_core()
    slow = np.concatenate(list(timed(Replay(trace, config), end_of(trace), 0)))
    quick = np.concatenate(list(retired(Replay(trace, config), end_of(trace), 0)))
    for name in ("number", "dispatch", "retire"):
        assert (slow[name] == quick[name]).all(), name


def test_a_window_is_timed_as_in_the_whole():
    trace, config = trace_and_core()
    whole = np.concatenate(list(timed(Replay(trace, config), end_of(trace), 0)))
    counts = executed_counts(trace)
    first = next(at for at in range(20, len(counts)) if counts[at] > 3)
    number = int(counts[:first].sum()) + 2
    for times in (timed, retired):
        replay = Replay(trace, config)
        go(replay, Place(first, 2))
        rows = np.concatenate(list(times(replay, Place(first + 30, 1), number)))
        assert place_of(replay) == Place(first + 30, 1)
        assert len(rows) == counts[first : first + 30].sum() - 1
        for name in ("number", "dispatch", "retire"):
            assert (rows[name] == whole[name][number : number + len(rows)]).all(), (times, name)


def test_a_cycle_is_found_where_it_has_passed():
    trace, config = trace_and_core()
    rows = np.concatenate(list(retired(Replay(trace, config), end_of(trace), 0)))
    before = np.concatenate([[0], rows["retire"]])
    for cycle in (0, 1, 777, 20_000, int(rows["retire"][-1])):
        replay = Replay(trace, config)
        place = go_to_cycle(replay, cycle)
        number = int(executed_counts(trace, 0, place.execution).sum()) + place.insns
        assert number == int(np.searchsorted(before, cycle))
        assert replay.cycles >= cycle
    assert go_to_cycle(Replay(trace, config), 10**12) == end_of(trace)


def test_a_sample_is_what_was_counted():
    trace, config = trace_and_core()
    replay = Replay(trace, config)
    go(replay, Place(100, 1))
    (row,) = sample(replay)
    assert row["number"] == executed_counts(trace, 0, 100).sum() + 1
    assert row["cycle"] == row["causes"].sum() == replay.cycles
