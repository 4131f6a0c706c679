"""What a sweep says of bytes of SRAM against time: the cost of a core, and the points that nothing is better than."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Relocscope
from hypothesis import given
from hypothesis import strategies as st

import caches
from relocscope.sweeping.pareto import front, sram_bytes

ASKED = ("sweep", "v5.17-nvhe", "--size", "64KiB", "--grid", "l2.size=512KiB,1MiB", "--grid", "dram.latency_ns=60,90")


def row(point: int, size: int, seconds: float, side: str = "a", outcome: str = "completed") -> dict[str, Any]:
    return {"point": point, "sram_bytes": size, "seconds": seconds, "side": side, "outcome": outcome}


def test_the_cost_counts_lines_and_entries_by_hand():
    core = caches.core("stingray")
    lines = (48 + 32 + 1024 + 8192) * 1024 // 64
    assert sram_bytes(core) == lines * (64 + 8) + 16 * (48 + 32 + 1024 + 16)
    assert sram_bytes(core.override({"dtlb.entries": 64, "dtlb.ways": 64})) == sram_bytes(core) + 16 * 32
    assert sram_bytes(core.override({"l3.size": 0})) == sram_bytes(core) - 8 * (1 << 20) // 64 * 72


points = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), max_size=12)


@given(points)
def test_the_front_is_what_nothing_is_better_than(given):
    rows = [row(number, size, float(seconds)) for number, (size, seconds) in enumerate(given)]
    better = [
        each
        for each in rows
        if not any(
            (other["sram_bytes"], other["seconds"]) != (each["sram_bytes"], each["seconds"])
            and other["sram_bytes"] <= each["sram_bytes"]
            and other["seconds"] <= each["seconds"]
            for other in rows
        )
    ]
    distinct = {(each["sram_bytes"], each["seconds"]): each for each in reversed(better)}
    assert front(rows) == [distinct[place] for place in sorted(distinct)]


def test_what_never_arrives_is_on_no_front_and_of_two_cases_the_second_counts():
    rows = [row(0, 1, 0.1, outcome="hang"), row(1, 2, 0.3), row(2, 3, 0.2)]
    assert [each["point"] for each in front(rows)] == [1, 2]
    both = [row(0, 1, 0.1), row(0, 1, 0.3, "b"), row(1, 2, 0.1), row(1, 2, 0.4, "b")]
    assert front(both) == [both[1]]


def test_the_command_shows_it_in_text_json_and_a_picture(relocscope: Relocscope, tmp_path: Path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("COLUMNS", "80")
    where = ("--workers", 0, "-o", tmp_path / "out")
    status, out, err = relocscope(*ASKED, *where, "--front", tmp_path / "front.svg", "--json", tmp_path / "json")
    assert (status, err) == (0, "")
    found = json.loads((tmp_path / "json").read_text())["front"]
    assert [each["dram.latency_ns"] for each in found] == [60.0] * len(found)
    assert found[0]["sram_bytes"] == sram_bytes(caches.core("stingray").override({"l2.size": 512 << 10}))
    assert ("Bytes of SRAM against time" in out) == (len(found) > 1)
    picture = (tmp_path / "front.svg").read_bytes()
    assert b"</svg>" in picture
    relocscope(*ASKED, *where, "--front", tmp_path / "front.svg", "--json", "-")
    assert (tmp_path / "front.svg").read_bytes() == picture


@pytest.mark.parametrize(("name", "rule"), [("front.gif", "must end in .svg"), ("no/front.svg", "cannot be written")])
def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_runs(
    relocscope: Relocscope, tmp_path: Path, name: str, rule: str
):
    status, out, err = relocscope(*ASKED, "-o", tmp_path / "out", "--front", tmp_path / name)
    assert (status, out, err.count("\n"), rule in err) == (2, "", 1, True)
    assert not (tmp_path / "out").exists()
