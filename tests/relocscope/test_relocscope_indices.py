"""What a time hangs on: known indices come out of the same sweep, and a run's time hangs on what it must."""

import json
import math
from importlib import resources

import jsonschema
import pytest

import relocscope as api
from relocscope.answers.asking import asking_plan
from relocscope.answers.estimated import values_of
from relocscope.answers.indices import sensitivities
from relocscope.ranges import Estimate, between
from relocscope.sweeping import tasks
from relocscope.sweeping.designs import Range, rows_in_group, samples
from relocscope.sweeping.sweep import Means, run_kept
from traces.errors import InputError

pytest.importorskip("SALib")

CASE = "v5.17-nvhe"
SIZE = "64KiB"
KEYS = ("dram.latency_ns", "fetch.uncached_ns", "device.round_trip_ns")
INLINE = Means(0)


@pytest.fixture
def in_place_of_the_model(monkeypatch):
    """Let the time of a point be a function of its core."""

    def use(function):
        def measured(_subject, how):
            return {"outcome": "completed", "seconds": float(function(how.config)), "cycles": 1}

        monkeypatch.setattr(tasks, "measured", measured)

    return use


def asked(ranges, design, groups=10, case=CASE, out=None, **settings):
    plan = asking_plan((case,), settings={"size": SIZE, **settings}, ranges=ranges, design=design, groups=groups)
    return sensitivities(run_kept(plan, out, INLINE))


def numbers(found, answer=0):
    return {mover.key: mover.numbers for mover in found.answers[answer].movers}


def ishigami(config):
    """Ishigami and Homma 1990 with a = 7, b = 0.1, over keys that go from -pi to pi when moved from 10 to 20."""
    x1, x2, x3 = (math.pi * (2 * (float(config.value(key)) - 10) / 10 - 1) for key in KEYS)
    return math.sin(x1) + 7 * math.sin(x2) ** 2 + 0.1 * x3**4 * math.sin(x1)


@pytest.mark.slow
def test_sobol_indices_of_ishigamis_function_are_those_of_its_formula(in_place_of_the_model):
    in_place_of_the_model(ishigami)
    found = numbers(asked(dict.fromkeys(KEYS, "10..20"), "sobol-indices", 256))
    first, third = 0.5 * (1 + 0.1 * math.pi**4 / 5) ** 2, 0.1**2 * math.pi**8 * (1 / 18 - 1 / 50)
    second = 7**2 / 8
    variance = first + second + third
    expected = zip(
        KEYS, (first, second, 0.0), ((first + third), second, third), strict=True
    )  # fmt: skip
    for key, alone, whole in expected:
        given = found[key]
        assert given["s1"] == pytest.approx(alone / variance, abs=0.07), key
        assert given["st"] == pytest.approx(whole / variance, abs=0.07), key
        assert abs(given["s1"] - alone / variance) < 2 * given["s1_conf"], key
        assert abs(given["st"] - whole / variance) < 2 * given["st_conf"], key


def test_elementary_effects_are_those_of_a_sum_over_whole_numbers_choices_and_ratios(in_place_of_the_model):
    """Each effect is that of the whole range, whatever kind of values it has; a product shows as unevenness."""

    def model(config):
        ways = {2: 0.0, 4: 5.0}[config.value("l1d.ways")]
        return 1 + math.log10(config.value(KEYS[0])) + ways - 0.25 * config.value("dram.write_batch")

    in_place_of_the_model(model)
    ranges = {KEYS[0]: "10..1000:log", "l1d.ways": "2,4", "dram.write_batch": "4..16", KEYS[1]: "10..20"}
    found = asked(ranges, "morris", 6)
    effects = numbers(found)
    by_key = {"l1d.ways": 5.0, KEYS[0]: 2.0, "dram.write_batch": -3.0, KEYS[1]: 0.0}
    for key, effect in by_key.items():
        assert effects[key]["mu"] == pytest.approx(effect, abs=1e-9)
        assert effects[key]["mu_star"] == pytest.approx(abs(effect), abs=1e-9)
        assert effects[key]["sigma"] == pytest.approx(0, abs=1e-9)
    assert found.answers[0].movers[0].key == "l1d.ways"
    in_place_of_the_model(lambda config: config.value(KEYS[0]) * config.value(KEYS[1]))
    assert numbers(asked(dict.fromkeys(KEYS, "10..20"), "morris", 6))[KEYS[0]]["sigma"] > 10


def test_what_cannot_be_takes_its_group_along_and_no_other(in_place_of_the_model):
    """In a part of the box the L2 has a size that is no multiple of its ways; indices are those of the rest."""
    in_place_of_the_model(lambda config: 1 + config.value("l2.size") / (1 << 20) + config.value(KEYS[0]))
    ranges = {"l2.size": "512KiB,1MiB,2MiB,1000001", KEYS[0]: "10..20"}
    found = asked(ranges, "morris", 24)
    rows = found.table.rows
    size = rows_in_group(2, "morris")
    broken = {row["point"] // size for row in rows if row["status"] == "impossible"}
    assert broken
    assert (found.groups, found.left_out) == (24 - len(broken), len(broken))
    assert numbers(found)[KEYS[0]]["mu"] == pytest.approx(10)
    with pytest.raises(InputError, match=r"only 0 of 4 groups.*list the values"):
        asked({"l2.size": "1000001..1000010", KEYS[0]: "10..20"}, "morris", 4)


def test_one_at_a_time_reaches_from_the_case_as_it_is(in_place_of_the_model):
    in_place_of_the_model(lambda config: config.value(KEYS[0]) + 10 * (config.value("l2.ways") == 8))
    usual = api.run(CASE, size=SIZE).config
    found = asked({KEYS[0]: "50..100", "l2.ways": "8,16", KEYS[1]: "1..2"}, "one-at-a-time")
    (answer,) = found.answers
    as_it_is = usual.value(KEYS[0]) + 10 * (usual.value("l2.ways") == 8)
    given = numbers(found)
    assert answer.usual == as_it_is
    assert given[KEYS[0]] == {
        "low": 50 + as_it_is - usual.value(KEYS[0]),
        "high": 100 + as_it_is - usual.value(KEYS[0]),
    }
    assert given[KEYS[1]] == {"low": as_it_is, "high": as_it_is}
    assert answer.interval == pytest.approx(
        between(as_it_is, [(KEYS[0], given[KEYS[0]]["low"]), (KEYS[0], given[KEYS[0]]["high"]),
                           ("l2.ways", given["l2.ways"]["high"])])
    )  # fmt: skip


@pytest.mark.slow
def test_the_round_trip_of_device_is_what_an_mmu_off_copy_hangs_on(tmp_path):
    """And no cache is: its index is 0, not small."""
    ranges = {"device.round_trip_ns": "40..90", "dram.latency_ns": "55..95", "l2.ways": "8,16"}
    for design, groups, index in (("morris", 4, "mu_star"), ("sobol-indices", 16, "st")):
        found = asked(ranges, design, groups, case="v4.19-nvhe", out=tmp_path)
        given = numbers(found)
        assert found.answers[0].movers[0].key == "device.round_trip_ns"
        assert given["l2.ways"][index] == 0
        assert given["device.round_trip_ns"][index] > 10 * given["dram.latency_ns"][index]


def test_of_two_cases_both_times_and_the_speed_up_are_answered_and_nothing_is_done_twice(tmp_path):
    plan = asking_plan(
        ("v4.19-nvhe", CASE), settings={"size": SIZE}, ranges={"device.round_trip_ns": "40..90", KEYS[0]: "55..95"},
        groups=4,
    )  # fmt: skip
    once, again = (sensitivities(run_kept(plan, tmp_path, INLINE)) for _ in range(2))
    assert [(answer.what, answer.case) for answer in once.answers] == [
        ("seconds", "v4.19-nvhe"), ("seconds", CASE), ("speedup", None),
    ]  # fmt: skip
    assert (
        numbers(once, 1)["device.round_trip_ns"]["mu_star"] < numbers(once, 0)["device.round_trip_ns"]["mu_star"] / 50
    )
    assert once.answers == again.answers
    assert again.table.host["replayed"] == again.table.host["captured"] == 0


def schema():
    return json.loads((resources.files("relocscope") / "schemas" / "sensitivity.json").read_text())


@pytest.mark.parametrize("method", ["one-at-a-time", "morris", pytest.param("sobol", marks=pytest.mark.slow)])
def test_the_command_by_default_moves_the_estimates_that_matter(relocscope, tmp_path, monkeypatch, method):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = relocscope(
        "sensitivity", CASE, "--size", "4KiB", "--method", method, "--groups", 4, "--workers", 0,
        "-o", tmp_path, "--tornado", tmp_path / "t.html", "--json", tmp_path / "j.json",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    found = json.loads((tmp_path / "j.json").read_text())
    jsonschema.validate(found, schema())
    assert json.loads((tmp_path / "sensitivity.json").read_text()) == found
    keys = {each["key"] for each in found["keys"]}
    assert "dram.latency_ns" in keys
    assert "device.early_ack_ns" not in keys  # nothing of this case is Device-nGnRE
    first = found["answers"][0]["movers"][0]["key"]
    assert first in out
    assert (tmp_path / "t.html").read_text().count("<svg") == 1


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--range", "l2.size=1MiB"], "l2.size: '1MiB': needs two values"),
        (["--method", "sobol", "--groups", "6", "--range", "l2.ways=8,16"], "power of two"),
        (["--tornado", "t.gif"], "must end in .svg"),
        (["--range", "l2.sise=1,2"], "did you mean l2.size"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(relocscope, words, rule):
    pytest.importorskip("matplotlib")
    status, out, err = relocscope("sensitivity", CASE, "--size", "4KiB", "--workers", "0", *words)
    assert (status, out) == (2, "")
    assert rule in err


def test_estimates_are_ranges_choices_or_the_sizes_that_make_a_core():
    import caches

    core = caches.core("stingray")

    def values(key, value, *others):
        return values_of(core, Estimate(key=key, value=value, span=(value, *others), others=others))

    assert values("dram.latency_ns", 75, 55, 95) == Range(55, 95, log=True)
    assert values("walk.step_cycles", 2, 0, 8) == Range(0, 8)
    assert values("l3.size", 8 << 20, 4 << 20, 16 << 20) == [4 << 20, 8 << 20, 16 << 20]
    assert values("l3.replacement", core.value("l3.replacement"), *(
        type(core.value("l3.replacement"))[name] for name in ("LRU", "RANDOM")
    )) == ["tree-plru", "lru", "random"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("design", "size"), [("morris", 3), ("sobol-indices", 4)])
def test_designs_are_groups_of_rows_and_seeded(design, size):
    given = {"dram.latency_ns": "10..1000:log", "l1d.ways": "2,4"}
    rows = samples(given, 4, sampler=design, seed=3)
    assert len(rows) == 4 * size == 4 * rows_in_group(2, design)
    assert rows == samples(given, 4, sampler=design, seed=3) != samples(given, 4, sampler=design, seed=4)
