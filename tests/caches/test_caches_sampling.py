"""Sampled replays: the estimate, the warming between what is replayed, and the whole against a replay of everything."""

import numpy as np
import pytest
import traces_synthetic as synthetic
from traces_captured import captured

import caches
from caches.estimate import student, systematic_mean, without_interruptions
from caches.kernels.layout import PREFETCHED
from caches.replaying import Replay
from caches.sampling import LEAST_PAGES, Copy, replay_sampled
from caches.state import level_ways
from caches.warming import Touches, warmed
from traces.expand import accesses
from traces.fold import copy_site
from traces.pages import page_starts
from traces.schema import Maintenance


@pytest.mark.parametrize(
    ("level", "freedom", "value"), [(0.95, 10, 2.2281), (0.95, 24, 2.0639), (0.99, 15, 2.9467), (0.68, 60, 1.0025)]
)
def test_students_t_is_that_of_the_tables(level, freedom, value):
    assert student(level, freedom) == pytest.approx(value, rel=1e-3)


def test_an_interval_covers_as_often_as_it_says():
    draw = np.random.default_rng(1)
    trend = np.linspace(0, 300, 6000)
    population = 1000 + trend + draw.normal(0, 50, 6000)
    inside = 0
    for _ in range(400):
        places = [int(at) for at in (np.arange(30) + draw.random(30)) * 200]
        found = systematic_mean(population[places], share=30 / 6000, level=0.95)
        inside += abs(found.mean - population.mean()) <= found.half
    assert 0.92 <= inside / 400 <= 0.995


def test_interruptions_that_come_by_the_clock_are_taken_out():
    draw = np.random.default_rng(2)
    met = draw.integers(0, 3, 40) * 100.0
    costs = 1000 + 0.8 * met
    settled = without_interruptions(costs, met, 0.05)
    assert settled == pytest.approx(np.full(40, 1000 / (1 - 0.8 * 0.05)))
    assert (without_interruptions(costs, np.zeros(40), 0.05) == costs).all()


def held(replay):
    """Lines of each level, with those that are dirty."""
    found = []
    for level in range(3):
        tags, lines = level_ways(replay.state, level)
        found.append(dict(zip((tags[tags != 0] - 1).tolist(), (lines["info"][tags != 0] & 1).tolist(), strict=True)))
    return found


WARMED = {
    "cleaned": synthetic.relocation(6, after=Maintenance.DC_CIVAC, translated=True),
    "not cleaned": synthetic.relocation(6, data=synthetic.WB),
    "invalidated before": synthetic.relocation(6, before=Maintenance.DC_IVAC, data=synthetic.WB),
}


@pytest.mark.parametrize("core", ["stingray", "rk3328", "thunderx2"])
@pytest.mark.parametrize("name", WARMED)
def test_warming_leaves_in_caches_what_a_replay_leaves(name, core):
    """Without prefetchers, which go by time, and with replacement that goes by order alone: line for line."""
    policies = {f"{level}.replacement": "lru" for level in ("l1d", "l2", "l3")}
    config = caches.core(core).override(policies | {"prefetch.streams": 0, "l2.size": "16KiB", "l1d.size": "4KiB"})
    trace = WARMED[name]
    replayed, follower = Replay(trace, config, steady=False), Replay(trace, config, steady=False)
    replayed.advance()
    touches = Touches.of(trace, np.unique(trace.executions))
    assert touches is not None
    warmed(follower, len(trace.executions), touches, None)
    touched = set((accesses(trace)["pa"] >> np.uint64(6)).tolist())
    for level, (mine, theirs) in enumerate(zip(held(follower), held(replayed), strict=True)):
        # Fetches are not warmed: code, and the tables that map it, are with the replay only.
        assert {line: mine[line] for line in mine if line in touched} == {
            line: theirs[line] for line in theirs if line in touched
        }, f"level {level}"
        assert set(mine) <= set(theirs)
    assert follower.cycles == 0
    assert not follower.words["counters"].any()


def test_prefetchers_keep_to_the_lead_that_was_seen():
    trace, config = WARMED["cleaned"], caches.core("stingray").override({"l2.replacement": "lru"})
    touches = Touches.of(trace, np.unique(trace.executions))
    middle = int(np.flatnonzero(np.bincount(trace.executions)[trace.executions] > 100)[100])
    unused = {}
    for leads in (None, (0, 8), (0, 3), (0, 0)):
        follower = Replay(trace, config, steady=False)
        warmed(follower, middle, touches, leads)
        assert int(follower.words["l2_lines"]) == config.prefetch.l2_lines
        tags, lines = level_ways(follower.state, 1)
        unused[leads] = int(((tags != 0) & (lines["info"] & PREFETCHED != 0)).sum())
    assert unused[None] > unused[0, 8] > unused[0, 3] > unused[0, 0] == 0


def sampled(trace, config, **options):
    site = copy_site(trace)
    copy = Copy(starts=page_starts(trace, site), stop=site.last + 1)
    outcome = replay_sampled(trace, config, copy, checkpoints=[site.first, site.last + 1], **options)
    whole = caches.replay(trace, config, checkpoints=[site.first, site.last + 1], **options)
    return outcome, whole, outcome.details["sampling"]


def judge(outcome, whole, sampling):
    """What holds of every sampled replay, exact or not; returns the error, of the whole."""
    assert sum(outcome.cycle_stack.values()) == outcome.cycles
    assert (outcome.insn_count == whole.insn_count).all()
    assert sampling["cycles"]["low"] <= outcome.cycles <= sampling["cycles"]["high"]
    assert outcome.checkpoint_cycles[0] == whole.checkpoint_cycles[0]
    assert outcome.checkpoint_cycles[-1] <= outcome.cycles
    return outcome.cycles / whole.cycles - 1


def test_a_cached_copy_is_within_its_interval():
    outcome, whole, sampling = sampled(captured("v5.17-el1", 2048), caches.core("stingray"))
    assert sampling["method"] == "systematic"
    assert sampling["replayed_pages"] < sampling["pages"] / 4
    assert abs(judge(outcome, whole, sampling)) < 0.01
    assert sampling["cycles"]["low"] <= whole.cycles <= sampling["cycles"]["high"]
    assert sampling["relative_half_width"] < 0.02
    for part, name in (("l1d", "accesses"), ("l2", "evictions"), ("dram", "reads"), ("dtlb", "misses")):
        assert outcome.counters[part][name] == pytest.approx(whole.counters[part][name], rel=0.05), (part, name)


def test_the_seed_chooses_the_pages_and_the_same_one_the_same_pages():
    trace, config = captured("v5.17-el1", 2048), caches.core("rpi3")
    one, again, other = (sampled(trace, config, seed=seed)[0] for seed in (1, 1, 2))
    assert (one.insn_cycles == again.insn_cycles).all()
    assert one.cycles != other.cycles


@pytest.mark.parametrize(("case", "method"), [("v4.19-el1", "steady"), ("v5.17-el1", "full")])
def test_what_is_exact_says_so(case, method):
    """Pages that are known to cost the same, and a copy that is too short to sample."""
    outcome, whole, sampling = sampled(captured(case, LEAST_PAGES // 2), caches.core("stingray"))
    assert (sampling["method"], sampling["units"], sampling["level"]) == (method, 0, 1.0)
    assert judge(outcome, whole, sampling) == 0
    assert sampling["relative_half_width"] == 0
    assert (sampling["replayed_pages"] < 100) == (method == "steady")


def test_an_exception_in_the_copy_declines():
    trace = captured("v5.17-el1", LEAST_PAGES + 8)
    site = copy_site(trace)
    starts = page_starts(trace, site)
    copy = Copy(starts=starts, stop=site.last + 1)
    outcome = replay_sampled(trace, caches.core("rpi3"), copy, checkpoints=[int(starts[200])])
    assert outcome.details["sampling"]["method"] == "full"
    assert "midst" in outcome.details["sampling"]["reason"]


CASES = ("v4.19-nvhe", "v4.19-vhe", "rfc-v1-el1", "rfc-v1-vhe", "rfc-v2-el1", "v5.17-el1", "v5.17-nvhe", "v5.17-vhe")


@pytest.mark.slow
@pytest.mark.parametrize("mebibytes", [8, 25, 50])
@pytest.mark.parametrize("case", CASES)
def test_sampled_against_everything(case, mebibytes):
    """Within the interval at least as often as its level says, and mostly within one per cent."""
    trace = captured(case, mebibytes * 256)
    inside, errors, intervals = 0, [], []
    for core in ("thunderx2", "altra") if case.endswith("vhe") else ("stingray", "rpi3", "thunderx2", "altra"):
        for seed in (1, 2, 3):
            initial = "kernel-dirty" if seed == 2 else "cold"
            outcome, whole, sampling = sampled(trace, caches.core(core), seed=seed, initial=initial)
            errors.append(abs(judge(outcome, whole, sampling)))
            intervals.append(sampling["relative_half_width"])
            inside += sampling["cycles"]["low"] <= whole.cycles <= sampling["cycles"]["high"]
    assert inside >= len(errors) - 1, (inside, errors, intervals)
    assert np.mean(errors) < 0.01
    assert max(errors) < 0.02
