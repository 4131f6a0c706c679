"""Intervals of the accuracy table: the first-order ones hold what sampling the box gives, and are not far wider."""

import dataclasses
import json
import math
from importlib import resources

import jsonschema
import pytest

import relocscope as api
from relocscope import microbench
from relocscope.answers.estimated import estimated_ranges, values_of
from relocscope.ranges import estimates, moved
from relocscope.sensitivity import Side
from relocscope.sweeping.designs import samples
from relocscope.uncertainty import of_board, spans
from relocscope.validate import Row, Table, board_config, references
from traces.sizes import parse_size

POINTS = 64


def sampled(config, ranges, predict):
    """What the prediction is at points that fill the whole box."""
    rows = samples(ranges, POINTS, sampler="sobol", seed=5)
    return [predict(made)[0] for row in rows if (made := moved(config, row)) is not None]


def assert_holds(interval, found):
    low, high = interval
    assert len(found) > POINTS / 2
    inside = sum(low <= one <= high for one in found) / len(found)
    assert inside > 0.8
    assert math.log(high / low) < 2.5 * math.log(max(found) / min(found))


@pytest.mark.parametrize("case", ["v4.19-nvhe", "v5.17-nvhe"])
def test_of_a_relocation_they_hold_what_sampling_the_box_gives(case):
    pytest.importorskip("scipy")
    run = api.run(case, size="128KiB")
    side = Side(run)

    def predict(config):
        return (side.at(config).seconds,)

    interval = spans(["it"], run.config, predict)["it"]
    assert interval[0] < run.seconds < interval[1]
    assert_holds(interval, sampled(run.config, estimated_ranges([run]), predict))


@pytest.mark.slow
def test_of_a_benchmark_they_hold_what_sampling_the_box_gives():
    pytest.importorskip("scipy")
    board = next(each for each in references()["board"] if each["core"] == "rk3328")
    config = board_config(board)
    ranges = {one.key: values_of(config, one) for one in estimates(config)}
    found = of_board({**{name: board[name] for name in ("core", "source", "memset")}})
    assert list(found) == ["rk3328/memset"]
    assert_holds(
        found["rk3328/memset"], sampled(config, ranges, lambda made: (microbench.memset(made, 4096).bytes_per_second,))
    )


def test_what_no_estimate_moves_has_no_width_and_a_fitted_number_stays(monkeypatch):
    run = api.run("v4.19-nvhe", size="4KiB")
    asked = []

    def predict(config):
        asked.append(config.device.round_trip_ns)
        return 2.0, float(config.dram.latency_ns)

    found = spans(["still", "moving"], run.config, predict)
    assert found["still"] == (2.0, 2.0)
    assert found["moving"] == pytest.approx((55, 95))
    assert set(asked) == {run.config.device.round_trip_ns}


@pytest.mark.slow
def test_a_row_says_whether_the_published_figure_is_within(relocscope, monkeypatch, tmp_path):
    """One published row, in a process of its own; text and JSON say the same."""
    entry = references()["published"][0]
    bytes_, size = parse_size(entry["size"], "size"), entry["size"]
    row = Row(
        id=entry["id"], kind="published", case=entry["case"], core=entry["core"], bytes=bytes_, note="", unit="s",
        reference=entry["seconds"], model=api.run(entry["case"], core=entry["core"], size=size).seconds,
        calibrated=False, disputed=False, source="a test",
    )  # fmt: skip
    far = dataclasses.replace(row, low=1e-3, high=2e-3)
    assert (row.within, far.within) == (None, False)
    monkeypatch.setattr("relocscope.validate.validate", lambda *_args, **_rest: Table((row,)))
    target = tmp_path / "j.json"
    status, out, _ = relocscope("validate", "--intervals", "--workers", "1", "--json", target)
    assert status == 0
    found = json.loads(target.read_text())
    schema = json.loads((resources.files("relocscope") / "schemas" / "validate.json").read_text())
    jsonschema.validate(found, schema)
    (made,) = found["rows"]
    assert made["low"] < made["model"] < made["high"]
    within = made["low"] <= made["reference"] <= made["high"]
    assert found["intervals"] == {"within": int(within), "of": 1}
    assert "may be" in out
    assert ("outside" in out) != within
    assert max(map(len, out.splitlines())) <= 80
