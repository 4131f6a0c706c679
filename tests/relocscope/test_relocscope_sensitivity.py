"""Sensitivity: a number that changes the verdict is found, where it does so, and only then is it said to."""

import io
import json
import math
from importlib import resources

import jsonschema
import pytest
from rich.console import Console

import caches
import relocscope
import relocscope.sensitivity as module
from relocscope.comparison import compare
from relocscope.ranges import between, estimates, interval, moved, responses
from relocscope.render_explain import show_sensitivity
from relocscope.sensitivity import sensitivity
from relocscope.verdict import judge

SIZE = "128KiB"
SMALL = '[l3]\nsize = { value = 0, source = "a test" }\n'


def core_file(path, entries):
    """A Stingray whose MMU-off copy is slow by the round trip of Device alone."""
    head = 'base = "stingray"\nname = "mine"\ntitle = "mine"\ncalibrated = []\n'
    path.write_text(head + '[fetch]\nuncached_ns = { value = 1, source = "a test" }\n' + SMALL + entries)
    return str(path)


def estimated(value, low, high):
    return f'[device]\nround_trip_ns = {{ value = {value}, estimated = [{low}, {high}], why = "a guess" }}\n'


def sides(core, a="v4.19-nvhe", b="v5.17-nvhe"):
    return [relocscope.run(case, core=core, size=SIZE) for case in (a, b)]


@pytest.fixture
def one_estimate(monkeypatch):
    """Leave one number to move, which is quick."""

    def only(config):
        return [one for one in estimates(config) if one.key == "device.round_trip_ns"]

    monkeypatch.setattr(module, "estimates", only)


@pytest.mark.usefixtures("one_estimate")
def test_a_number_that_flips_the_verdict_is_found_with_the_value(tmp_path):
    core = core_file(tmp_path / "mine.toml", estimated(75, 0.5, 90))
    found = sensitivity(*sides(core))
    flip = next(flip for flip in found.flips if flip.key == "device.round_trip_ns")
    assert 0.5 < flip.value < 60
    assert flip.times == pytest.approx(flip.value / 75)
    assert flip.cause != "mmu-and-dcache-on"
    assert flip.confirmed
    assert "hangs on an estimate: device.round_trip_ns at" in found.sentence
    for value, same in ((flip.value * 2, True), (flip.value / 1.3, False)):
        runs = [relocscope.run(case, core=core, size=SIZE, set={"device.round_trip_ns": value}) for case in
                ("v4.19-nvhe", "v5.17-nvhe")]  # fmt: skip
        assert (judge(*runs).cause == "mmu-and-dcache-on") is same
    assert found.beyond is None


@pytest.mark.usefixtures("one_estimate")
def test_a_range_that_ends_before_that_flips_nothing_and_the_value_beyond_is_said(tmp_path):
    core = core_file(tmp_path / "mine.toml", estimated(75, 70, 80))
    found = sensitivity(*sides(core, b="v4.19-el1"))  # both uncached: no difference, at any round trip
    assert not found.flips
    assert found.sentence.startswith("No estimated number within its range changes the verdict.")
    runs = sides(core_file(tmp_path / "other.toml", estimated(75, 30, 80)))
    found = sensitivity(*runs)
    assert not found.flips
    assert found.beyond is not None
    assert found.beyond.key == "device.round_trip_ns"
    assert found.beyond.value < 30
    assert f"{found.beyond.key} would have to be about" in found.sentence


@pytest.mark.slow
def test_what_is_reported_is_what_runs_have(tmp_path):
    """The speed-ups at the ends of a range are those of runs on such cores."""
    runs = sides("stingray")
    found = sensitivity(*runs)
    number = found.numbers[0]
    for at in number.at:
        cycles = [
            caches.replay(run.trace, moved(run.config, {number.key: at.value}), initial=run.initial).cycles
            for run in runs
        ]
        assert at.speedup == pytest.approx(cycles[0] / cycles[1], rel=0.1)
    farthest = max(number.at, key=lambda at: abs(math.log(at.speedup * runs[1].seconds / runs[0].seconds)))
    assert farthest.in_full == pytest.approx(farthest.speedup, rel=0.1)
    assert found.low < runs[0].seconds / runs[1].seconds < found.high
    assert found.moving < found.estimated


@pytest.mark.slow
def test_a_verdict_that_is_read_off_regimes_hangs_on_no_number():
    comparison = compare(*sides("stingray", b="rfc-v1-nvhe"))
    found = comparison.to_json()
    schema = json.loads((resources.files("relocscope") / "schemas" / "explain.json").read_text())
    jsonschema.validate(found, schema)
    assert found["sensitivity"]["flips"] == []
    assert found["sensitivity"]["beyond"] is None
    assert "read off regimes" in found["sensitivity"]["sentence"]
    out = Console(file=io.StringIO(), width=80)
    show_sensitivity(out, comparison.speedup, comparison.sensitivity)
    assert "What hangs on estimates" in out.file.getvalue()
    assert max(map(len, out.file.getvalue().splitlines())) <= 80


def test_a_hang_has_no_speed_up_to_move():
    found = sensitivity(*sides("stingray", b="rfc-v2-nvhe"))
    assert found.numbers == found.flips == ()
    assert found.low is found.high is found.beyond is None
    assert "none of times" in found.sentence


@pytest.mark.slow
def test_sides_on_different_cores_have_numbers_of_their_own():
    runs = (
        relocscope.run("v4.19-nvhe", core="stingray", size=SIZE),
        relocscope.run("v5.17-nvhe", core="altra", size=SIZE),
    )
    found = sensitivity(*runs)
    assert {number.key[:2] for number in found.numbers} <= {"a.", "b."}
    assert found.estimated == sum(len(estimates(run.config)) for run in runs)


def test_every_estimate_is_moved_alone_and_what_makes_no_core_is_left_out():
    config = caches.core("stingray")
    keys = {one.key: one for one in estimates(config)}
    assert keys["l2.size"].others == (2 << 20,)
    assert keys["dram.latency_ns"].others == (55, 95)
    assert not any(one.key.startswith("architecture") for one in estimates(caches.core("thunderx2")))
    assert "device.round_trip_ns" not in keys  # fitted, not estimated
    assert moved(config, {"l3.hit_cycles": 5}) is None
    seen = []

    def ask(core):
        seen.append(core)
        return core.dram.latency_ns

    found = responses(config, ask, list(keys.values()))
    assert {(one.estimate.key, one.value) for one in found} == {("dram.latency_ns", 55), ("dram.latency_ns", 95)}
    assert len(seen) < len(keys)  # tables that change nothing are asked about as a whole


def test_an_interval_is_the_root_of_the_summed_squares():
    config = caches.core("stingray")
    found = interval(config, lambda core: float(core.dram.latency_ns * core.device.access_bytes))
    assert found.value == 75 * 16
    assert found.high == pytest.approx(found.value * 95 / 75)
    down = math.hypot(math.log(55 / 75), math.log(8 / 16))
    assert found.low == pytest.approx(found.value * math.exp(-down))
    assert found.moves[0].estimate.key == "device.access_bytes"
    assert between(2.0, []) == (2.0, 2.0)
