"""Decompositions on the real model: exact sums, what pairs do together, one group taken apart, and whole runs."""

from itertools import combinations

import pytest

import relocscope
from caches.mechanisms import GROUPS, mechanism_names
from relocscope import contributions, within
from relocscope.comparison import Comparison, part_of
from relocscope.contributions import LEAST_PHASE, pieces
from relocscope.operand import operand, with_settings
from relocscope.runs import run_operand
from relocscope.sensitivity import sensitivity
from relocscope.shapley import interaction, shapley, subsets
from relocscope.verdict import judge
from traces.errors import InputError

SIZE = "1MiB"


@pytest.fixture(scope="module")
def found() -> Comparison:
    """All of a comparison but its fixes, with slices short enough for there to be some."""
    settings = {"phases": "all", "size": SIZE}
    a, b = (run_operand(with_settings(operand(case), settings)) for case in ("v4.19-nvhe", "v5.17-nvhe"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contributions, "SLICE_EXECUTIONS", 4096)
        patch.setattr(within, "SLICE_EXECUTIONS", 2048)
        parts = contributions.decompose(a, b)
        apart = part_of(a, b, parts, "memory_type")
    return Comparison(
        a=a, b=b, verdict=judge(a, b), evidence=(), parts=parts, fixes=(), within=apart, sensitivity=sensitivity(a, b)
    )


def test_a_game_of_two_that_need_each_other():
    players = ("a", "b", "c")
    worth = {chosen: 6.0 * ({"a", "b"} <= chosen) + 4.0 * ("c" in chosen) for chosen in subsets(players)}
    assert shapley(players, worth) == pytest.approx({"a": 3, "b": 3, "c": 4})
    pairs = {pair: interaction(players, worth, *pair) for pair in combinations(players, 2)}
    assert pairs == pytest.approx({("a", "b"): 6, ("a", "c"): 0, ("b", "c"): 0})


def test_parts_of_a_run_with_set_up_sum_to_the_difference(found: Comparison):
    difference = found.a.cycles - found.b.cycles
    assert sum(one.cycles for one in found.contributions) == difference
    assert {one.mechanism for one in found.contributions} == {*GROUPS, "instructions"}


def test_the_largest_are_looked_at_in_the_whole_runs(found: Comparison):
    from caches import replay

    checked = [one for one in found.contributions if one.in_full is not None]
    assert checked == [one for one in found.contributions if one.mechanism in GROUPS][:2]
    difference = found.a.cycles - found.b.cycles
    for one in checked:
        assert one.sampled == pytest.approx(one.in_full, abs=0.03 * difference)
        without = [
            replay(run.trace, run.config, ablate={one.mechanism}, initial=run.initial, seed=run.seed).cycles
            for run in (found.a, found.b)
        ]
        assert one.in_full == difference - (without[0] - without[1])


def test_interactions_above_a_twentieth_are_named(found: Comparison):
    assert found.interactions
    for pair in found.interactions:
        assert abs(pair.share) > 0.05
        assert pair.cycles == pytest.approx(pair.share * (found.a.cycles - found.b.cycles))
    assert {"memory_type", "fetch"} in [set(pair.mechanisms) for pair in found.interactions]


def test_one_group_is_taken_apart(found: Comparison, monkeypatch: pytest.MonkeyPatch):
    assert found.within is not None
    (whole,) = (one for one in found.contributions if one.mechanism == "memory_type")
    assert sum(part.cycles for part in found.within.parts) == whole.cycles
    assert {part.mechanism for part in found.within.parts} == mechanism_names(["memory_type"])
    cycles = {part.mechanism: part.cycles for part in found.within.parts}
    assert cycles["device_order"] == whole.cycles, "nothing in either run is Normal Non-cacheable data"
    monkeypatch.setattr(within, "SLICE_EXECUTIONS", 2048)
    translation = part_of(found.a, found.b, found.parts, "translation")
    (whole,) = (one for one in found.contributions if one.mechanism == "translation")
    assert sum(part.cycles for part in translation.parts) == whole.cycles
    assert {part.mechanism for part in translation.parts if part.cycles} == {"walk", "l2tlb"}


def test_a_group_that_there_is_not():
    with pytest.raises(InputError, match="--within: 'memory' must be one of fetch, memory_type,"):
        relocscope.explain(size="4KiB", within="memory")


def test_every_phase_that_costs_something_is_replayed_by_itself(found: Comparison):
    dear = [phase for phase in found.b.phases if phase["cycles"] > LEAST_PHASE * found.b.cycles]
    assert {phase["name"] for phase in dear} == {"tables", "relocate"}
    replayed = pieces(found.b, 4096)
    assert len(replayed) == len(dear)
    assert sum(piece.cycles for piece in replayed) == found.b.cycles
    first = {int(piece.trace.executions[0]) for piece in replayed}
    assert len(first) == len(replayed)
    assert all(len(piece.trace.executions) <= 4096 for piece in replayed)
