"""The smallest change that reaches a time: what a search claims is so, whatever the times do along its path."""

import importlib.resources
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path as Directory
from typing import Any

import jsonschema
import pytest
from command_line import Relocscope
from hypothesis import given
from hypothesis import strategies as st

import relocscope
from relocscope.answers.paths import Move, Path, paths_of
from relocscope.answers.searching import Found, search
from traces.errors import InputError

USUAL = 1.0


def searched(path: Path, seconds: Callable[..., float | None], target: float, sample: float = 1.0) -> Found:
    """Search with times that are computed; samples are off by that factor."""
    one, times = search(path, USUAL, USUAL * sample, target), None
    while True:
        try:
            asks = next(one) if times is None else one.send(times)
        except StopIteration as end:
            return end.value
        exact = [seconds(**{name.replace(".", "_"): value for name, value in ask.settings.items()}) for ask in asks]
        times = [each if each is None or ask.in_full else each * sample for each, ask in zip(exact, asks, strict=True)]


def number(usual: float = 10.0, end: float = 160.0, grain: str = "any") -> Path:
    return Path((Move("x", usual, end, grain),))


@given(st.floats(1.05, 15.5), st.sampled_from([0.97, 1.0, 1.03]))
def test_where_the_time_falls_evenly_the_crossing_is_found_to_a_percent(times, sample):
    crossing, target = 10 * times, 1 / times
    found = searched(number(), lambda x: 10 / x, target, sample)
    value, short = found.path.at(found.reached)["x"], found.path.at(found.short)["x"] if found.short else 10
    assert short < crossing <= value <= crossing * 1.011
    assert (found.seconds, found.evenly, found.until) == (10 / value, True, None)


@given(st.floats(1.05, 15.5))
def test_downward_is_found_as_well(times):
    found = searched(number(end=10 / 16), lambda x: x / 10, 1 / times)
    assert 10 / times / 1.011 <= found.path.at(found.reached)["x"] <= 10 / times


@given(st.lists(st.floats(0.1, 2), min_size=16, max_size=16), st.sampled_from([0.97, 1.0, 1.03]))
def test_whatever_times_listed_values_take_the_first_that_reaches_it_is_found(times, sample):
    path = Path((Move("x", 0, 16, "listed", tuple(range(1, 17))),))
    found = searched(path, lambda x: times[x - 1], 0.5, sample)
    first = next((x for x in range(1, 17) if times[x - 1] <= 0.5), None)
    assert (None if found.reached is None else path.at(found.reached)["x"]) == first
    if first is not None:
        assert found.seconds == times[first - 1]
        lost = next((x for x in range(first + 1, 17) if times[x - 1] > 0.5), None)
        assert (None if found.until is None else path.at(found.until)["x"]) == (None if lost is None else lost - 1)


def test_a_dip_before_the_crossing_is_not_stepped_over_where_the_finer_look_meets_it():
    for low, high in ((23.0, 27.5), (12.0, 30.0)):

        def dips(x: float, low: float = low, high: float = high) -> float:
            return 0.4 if low <= x <= high or x > 100 else 1.0 - x / 1e3

        found = searched(number(), dips, 0.5)
        value = found.path.at(found.reached)["x"]
        assert low <= value <= low * 1.011
        assert not found.evenly
        assert found.until is not None
        assert found.path.at(found.until)["x"] <= high


@given(st.integers(0, 96), st.sampled_from([0.88, 1.02, 1.12]))
def test_the_two_ends_of_a_bracket_are_always_on_their_sides(seed, sample):
    def rough(x: float) -> float:
        return 1 - 0.08 * math.log2(x / 10) + 0.2 * math.sin(math.log2(x) * seed / 5)

    found = searched(number(), rough, 0.8, sample)
    if found.reached is not None:
        assert rough(found.path.at(found.reached)["x"]) == found.seconds <= 0.8
        assert found.short_seconds > 0.8
        assert found.short == 0 or rough(found.path.at(found.short)["x"]) == found.short_seconds
    elif sample < 1.05:
        assert min(rough(found.path.at(stop)["x"]) for stop in found.path.stops) > 0.8


def test_what_does_not_reach_it_says_how_near_it_comes():
    found = searched(number(), lambda x: max(0.6, 10 / x), 0.5)
    assert (found.reached, found.best_seconds) == (None, 0.6)
    assert found.path.at(found.best)["x"] <= 20
    assert searched(number(), lambda x: 1.0, 0.5).best is None
    assert searched(number(), lambda x: None, 0.5).best is None


def test_values_that_cannot_be_are_passed_over():
    found = searched(number(8, 64, "whole"), lambda x: 8 / x if x % 2 == 0 else None, 0.5)
    assert found.path.at(found.reached)["x"] == 16


def test_whole_numbers_and_powers_of_two_stay_so():
    whole = searched(number(3, 48, "whole"), lambda x: 3 / x, 3 / 17)
    assert (whole.path.at(whole.reached)["x"], whole.path.at(whole.short)["x"]) == (17, 16)
    (down, up) = paths_of("l2.size", 1 << 20)
    assert {up.at(stop)["l2.size"] for stop in up.stops} == {2 << 20, 4 << 20, 8 << 20, 16 << 20}
    assert {down.at(stop)["l2.size"] for stop in down.stops} == {64 << 10, 128 << 10, 256 << 10, 512 << 10}
    doubled = searched(up, lambda l2_size: (1 << 20) / l2_size, 0.3)
    assert (up.at(doubled.reached)["l2.size"], up.at(doubled.short)["l2.size"]) == (4 << 20, 2 << 20)


def test_two_move_together():
    path = Path((Move("x", 10.0, 40.0, "any"), Move("y", 4, 8, "whole")))
    found = searched(path, lambda x, y: 40 / (x * y), 1 / 4)
    at = path.at(found.reached)
    assert at["x"] * at["y"] >= 160
    assert math.prod(path.at(found.short).values()) < 160


@pytest.mark.parametrize(
    ("name", "usual", "values", "expected"),
    [
        ("prefetch.crosses_pages", True, None, [False]),
        ("l2.replacement", "random", None, ["lru", "fifo", "tree-plru", "srrip"]),
        ("map.leaf", 4096, "4KiB,2MiB,1GiB", [1 << 30]),
        ("dram.latency_ns", 75.0, "60,90", [60.0, 90.0]),
        ("dispatch", None, None, None),
        ("pipeline.dispatch_width", 3, None, [1, 16]),
        ("store.stream_l3_lines", 0, None, []),
    ],
)
def test_where_a_key_may_go(name, usual, values, expected):
    if expected is None:
        with pytest.raises(InputError, match="dispatch"):
            paths_of(name, usual, "1..2")
    else:
        assert [path.moves[0].end for path in paths_of(name, usual, values)] == expected


@pytest.fixture
def called(relocscope: Relocscope) -> Relocscope:
    return partial(relocscope, "reach")


ASKED = ("v5.17-nvhe", "--size", "64KiB", "--workers", 0)


def test_the_command_is_confirmed_by_runs_and_goes_on_from_what_it_has(called, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    keys = ("--key", "dram.latency_ns", "--key", "pipeline.frequency_mhz=1000..6000", "--key", "l2.size")
    status, out, err = called(*ASKED, "--speedup", 1.2, *keys, "-o", tmp_path / "out", "--json", tmp_path / "json")
    assert (status, err) == (0, "")
    result = json.loads((tmp_path / "json").read_text())
    schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "reach.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(result)
    usual = relocscope.run("v5.17-nvhe", size="64KiB").seconds
    assert (result["usual_seconds"], result["target_seconds"]) == (usual, usual / 1.2)
    assert [each["changes"][0]["key"] for each in result["reached"]] == ["pipeline.frequency_mhz", "dram.latency_ns"]
    for each in result["reached"]:
        (change,) = each["changes"]
        at, short = (
            relocscope.run("v5.17-nvhe", size="64KiB", set={change["key"]: change[name]}).seconds
            for name in ("value", "short")
        )
        assert (at, short) == (each["seconds"], each["short_seconds"])
        assert at <= usual / 1.2 < short
    assert max(map(len, out.splitlines())) <= 80
    assert "dram.latency_ns" in out
    again = called(*ASKED, "--speedup", 1.2, *keys, "-o", tmp_path / "out", "--json", "-")
    assert json.loads(again[1])["host"]["replayed"] == 0
    assert json.loads(again[1]) | {"host": 0} == result | {"host": 0}


def test_pairs_are_tried_where_nothing_reaches_it_alone(called):
    keys = ("--key", "dram.latency_ns=65..75", "--key", "pipeline.frequency_mhz=3000..3300")
    _, alone, _ = called(*ASKED, "--speedup", 1.09, *keys[:2], "--json", "-")
    _, out, _ = called(*ASKED, "--speedup", 1.09, *keys, "--json", "-")
    assert json.loads(alone)["reached"] == []
    found = json.loads(out)["reached"]
    assert [len(each["changes"]) for each in found] == [2]
    changes = {change["key"]: change["value"] for change in found[0]["changes"]}
    run = relocscope.run("v5.17-nvhe", size="64KiB", set=changes)
    assert run.seconds == found[0]["seconds"] <= json.loads(out)["target_seconds"]


def test_what_is_quick_enough_already_is_said_so_and_python_has_the_same(called):
    _, out, _ = called(*ASKED, "--target", "1s")
    assert "as fast as that already" in out
    found = relocscope.reach("v5.17-nvhe", target_seconds=1.0, size="64KiB", workers=0)
    assert (found.reached, found.missed) == ((), ())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--target, --speedup: give one of them"),
        (("--target", "30ms", "--speedup", "2"), "--target, --speedup: give one of them"),
        (("--target", "30"), "--target: '30': must be a time above 0 with its unit"),
        (("--speedup", "0"), "--speedup: 0: must be above 0"),
        (("--speedup", "2", "--key", "l2.sise"), "l2.sise"),
        (("--speedup", "2", "--key", "l2.size="), "--key: 'l2.size=' must be KEY"),
        (("--speedup", "2", "--key", "l2.size", "--key", "l2.size"), "--key: l2.size is given twice"),
        (("--speedup", "2", "--key", "dram.latency_ns=10..20"), "the range must hold the value that is in force"),
        (("--speedup", "2", "--key", "l2.size=0..1MiB"), "goes by powers of two"),
        (("--speedup", "2", "--set", "routine.relocate=relocate-rfc-v2"), "does not arrive as it is"),
    ],
)
def test_bad_input_is_one_line(called: Relocscope, tmp_path: Directory, arguments: Any, said: str):
    status, out, err = called(*ASKED, *arguments, "-o", tmp_path / "out")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
