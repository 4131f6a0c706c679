"""Sweeps on this machine: what rows hold, what is kept and known again, what is refused, what survives a kill."""

import importlib.resources
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import polars
import pytest
from command_line import Relocscope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import relocscope
from relocscope.sweeping import tasks
from relocscope.sweeping.confirming import to_confirm
from relocscope.sweeping.measured import captured
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.store import COMPUTED, Store
from relocscope.sweeping.sweep import Means, run
from relocscope.sweeping.table import PARQUET, SUMMARY
from relocscope.sweeping.workers import Processes
from traces.errors import InputError

SMALL = {"size": "64KiB"}
HERE = Means(0)


def plan(case: str | tuple[str, ...] = "v5.17-nvhe", **parts: Any) -> Plan:
    parts = {"settings": SMALL, "grid": {"l2.size": "256KiB,1MiB", "map.leaf": "4KiB,2MiB"}} | parts
    return Plan(cases=(case,) if isinstance(case, str) else case, **parts)


def schema(name: str) -> Any:
    return json.loads((importlib.resources.files("relocscope") / "schemas" / f"{name}.json").read_text())


def results_in(directory: Path) -> int:
    return len(list(directory.glob("results/*/[0-9a-f]*.json")))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("swept")
    return run(plan(), directory, HERE), directory


def test_rows_are_what_runs_say(swept):
    table, _ = swept
    assert [(row["l2.size"], row["map.leaf"]) for row in table.rows] == [
        (size << 10, leaf << 10) for size in (256, 1024) for leaf in (4, 2048)
    ]
    base = relocscope.run("v5.17-nvhe", set=SMALL)
    for row in table.rows:
        alone = relocscope.run("v5.17-nvhe", set=SMALL | {name: row[name] for name in ("l2.size", "map.leaf")})
        stack = {name.removeprefix("stack."): value for name, value in row.items() if name.startswith("stack.")}
        assert (row["cycles"], row["seconds"], stack) == (alone.cycles, alone.seconds, alone.cycle_stack)
        assert row["count.l2.misses"] == alone.caches["l2"]["misses"]
        assert row["ns_per_line"] == pytest.approx(alone.copy["ns_per_line"])
        assert (row["outcome"], row["image_ok"], row["image_visible"]) == ("completed", True, alone.image_visible)
        assert row["speedup"] == base.seconds / row["seconds"]


def test_the_parquet_file_holds_every_row_in_the_columns_that_are_documented(swept):
    table, directory = swept
    frame = polars.read_parquet(directory / PARQUET)
    assert frame.equals(table.to_polars())
    assert frame.columns == list(table.columns)
    assert frame["point"].to_list() == [0, 1, 2, 3]
    assert frame.select("l2.size", "seconds", "status").dtypes == [polars.Int64, polars.Float64, polars.String]
    assert set(table.rows[0]) <= set(table.columns)


def test_captures_are_shared_and_the_unchanged_case_is_one_replay(swept):
    table, directory = swept
    assert (table.captures, table.host["captured"], table.host["replayed"]) == (3, 3, 5)
    assert results_in(directory) == 5
    assert len({row["trace"] for row in table.rows}) == 2


def test_what_is_there_is_not_computed_again(swept):
    table, directory = swept
    before = (directory / PARQUET).read_bytes()
    again = run(plan(), directory, HERE)
    assert (again.host["captured"], again.host["replayed"], again.host["reused"]) == (0, 0, 5)
    assert (directory / PARQUET).read_bytes() == before
    wider = run(plan(grid={"l2.size": "256KiB,512KiB,1MiB", "map.leaf": "4KiB,2MiB"}), directory, HERE)
    assert (wider.host["captured"], wider.host["replayed"]) == (0, 2)
    assert [row for row in wider.rows if row["l2.size"] != 512 << 10] == [
        row | {"point": wide} for row, wide in zip(table.rows, (0, 1, 4, 5), strict=True)
    ]


def test_half_written_and_foreign_entries_are_computed_again(tmp_path):
    first = run(plan(), tmp_path, HERE)
    one, other, *_ = sorted(tmp_path.glob("results/*/*.json"))
    one.write_bytes(one.read_bytes()[:100])
    other.write_text('{"key": "of another", "result": {}}')
    next(tmp_path.glob("traces/*")).unlink()
    again = run(plan(), tmp_path, HERE)
    assert (again.host["captured"], again.host["replayed"]) == (1, 2)
    assert again.rows == first.rows


def test_another_model_version_shares_nothing(tmp_path, monkeypatch):
    run(plan(), tmp_path, HERE)
    monkeypatch.setattr("relocscope.sweeping.sweep.model_version", lambda: "0" * 64)
    assert run(plan(), tmp_path, HERE).host["replayed"] == 5


def test_processes_give_the_same_file_and_say_who_did_what(swept, tmp_path):
    _, directory = swept
    run(plan(), directory, HERE)
    table = run(plan(), tmp_path, Means(2))
    assert (tmp_path / PARQUET).read_bytes() == (directory / PARQUET).read_bytes()
    assert sum(table.host["by"].values()) == 8
    noted = [json.loads(line) for line in (tmp_path / COMPUTED).read_text().splitlines()]
    assert sorted(note["kind"] for note in noted) == ["capture"] * 3 + ["replay"] * 5
    assert not any(note["by"].endswith(f":{os.getpid()}") for note in noted)


def test_two_cases_are_compared_at_every_point(tmp_path):
    table = run(plan(("v4.19-nvhe", "v5.17-nvhe"), grid={"device.round_trip_ns": [10, 600]}), tmp_path, HERE)
    assert [(row["point"], row["side"], row["case"]) for row in table.rows] == [
        (0, "a", "v4.19-nvhe"),
        (0, "b", "v5.17-nvhe"),
        (1, "a", "v4.19-nvhe"),
        (1, "b", "v5.17-nvhe"),
    ]
    assert table.base is None
    for a, b in (table.rows[:2], table.rows[2:]):
        assert (a["speedup"], b["speedup"]) == (1.0, a["seconds"] / b["seconds"])
    assert table.rows[3]["speedup"] > table.rows[1]["speedup"] > 1


def test_one_case_may_be_compared_with_itself_changed(tmp_path):
    table = run(plan(("v5.17-nvhe",) * 2, grid={"b.copy.sctlr_c": [0, 1]}), tmp_path, HERE)
    assert [row["copy.sctlr_c"] for row in table.rows] == [None, 0, None, 1]
    assert table.rows[1]["speedup"] < 1
    assert table.rows[3]["speedup"] == 1


def test_a_guest_that_hangs_is_a_result_without_a_speedup(tmp_path):
    table = run(plan("rfc-v2-nvhe", grid={"map.clear_xn": [True, False]}), tmp_path, HERE)
    arrives, hangs = table.rows
    assert (arrives["outcome"], hangs["outcome"]) == ("completed", "hang")
    assert (hangs["status"], hangs["speedup"]) == ("ok", None)
    assert hangs["seconds"] > 0


def test_a_failing_point_is_recorded_and_the_rest_goes_on(tmp_path, monkeypatch):
    def failing(subject: Any, how: Any) -> Any:
        if how.config.l1d.ways == 4:
            raise MemoryError("no room\nfor this")
        return tasks_measured(subject, how)

    tasks_measured = tasks.measured
    monkeypatch.setattr(tasks, "measured", failing)
    grid = {"l1d.ways": [2, 4, 8]}
    table = run(plan(grid=grid), tmp_path, HERE)
    assert [row["status"] for row in table.rows] == ["ok", "failed", "ok"]
    assert table.rows[1]["error"] == "MemoryError: no room for this"
    assert table.to_json()["failures"] == [{"point": 1, "error": "MemoryError: no room for this"}]
    monkeypatch.setattr(tasks, "measured", tasks_measured)
    again = run(plan(grid=grid), tmp_path, HERE)
    assert (again.host["replayed"], again.count("ok")) == (1, 3)


def test_a_guest_that_reads_a_counter_is_no_guest_for_a_sweep(tmp_path, monkeypatch):
    def timed(subject: Any) -> Any:
        trace = captured_trace(subject)
        trace.meta["timing_dependent"] = subject.case.boot == "el1"
        return trace

    captured_trace = captured.__globals__["functional_run"]
    monkeypatch.setitem(captured.__globals__, "functional_run", timed)
    table = run(plan("v4.19-nvhe", grid={"boot": ["el1", "nvhe"]}), tmp_path, HERE)
    assert [row["status"] for row in table.rows] == ["failed", "ok"]
    assert "its guest reads a counter" in table.rows[0]["error"]


def test_what_cannot_be_is_refused_before_anything_runs_or_skipped_where_asked(tmp_path):
    grid = {"map.granule": ["4KiB", "64KiB"], "map.leaf": ["4KiB", "2MiB"]}
    with pytest.raises(InputError, match=r"point 2 \(map.granule=64KiB, map.leaf=4KiB\): "):
        run(plan(grid=grid, core="thunderx2"), tmp_path, HERE)
    assert not (tmp_path / COMPUTED).exists()
    table = run(plan(grid=grid, core="thunderx2", skip_impossible=True), tmp_path, HERE)
    assert [row["status"] for row in table.rows] == ["ok", "ok", "impossible", "impossible"]
    assert table.rows[2]["outcome"] is None
    assert table.rows[2]["error"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changed=st.fixed_dictionaries(
        {},
        optional={
            "l1d.ways": st.sampled_from([2, 4]),
            "dram.latency_ns": st.floats(50, 200),
            "initial": st.sampled_from(["cold", "kernel-dirty"]),
            "core": st.sampled_from(["stingray", "seattle", "rpi3"]),
            "map.leaf": st.sampled_from(["4KiB", "2MiB"]),
            "image.sources": st.sampled_from(["scatter", "sequential"]),
            "seed": st.integers(1, 3),
            "copy.sctlr_c": st.sampled_from([0, 1]),
        },
    ).filter(bool)
)
def test_replaying_a_shared_trace_is_capturing_anew(changed: dict[str, Any], swept):
    _, directory = swept  # one store: whatever the planner thinks it has is used
    table = run(plan(grid={name: [value] for name, value in changed.items()}), directory, HERE)
    alone = relocscope.run("v5.17-nvhe", set=SMALL | changed)
    row = table.rows[0]
    assert (row["cycles"], row["core"], row["count.dram.reads"]) == (alone.cycles, alone.core, alone.dram["reads"])


@pytest.mark.slow
def test_a_sampled_sweep_replays_the_ten_best_in_full(tmp_path):
    grid = {"l2.hit_cycles": "12..23:12"}
    sampled = run(plan(grid=grid, settings={"size": "13MiB"}, sample=True), tmp_path, HERE)
    again = run(plan(grid=grid, settings={"size": "13MiB"}, sample=True), tmp_path, HERE)
    assert (again.rows, again.host["replayed"]) == (sampled.rows, 0)
    exact = run(plan(grid=grid, settings={"size": "13MiB"}), tmp_path, HERE)
    confirmed = [row for row in sampled.rows if not row["sampled"]]
    assert len(confirmed) == 10
    assert exact.host["replayed"] == 2
    for row, full in zip(sampled.rows, exact.rows, strict=True):
        assert row["seconds"] == pytest.approx(full["seconds"], rel=0.02)
        if not row["sampled"]:
            assert row["seconds"] == full["seconds"]
            assert row["sampled_seconds"] == pytest.approx(full["seconds"], rel=0.02)
            assert row["sampled_seconds"] != row["seconds"]
    left = [row["seconds"] for row in sampled.rows if row["sampled"]]
    assert min(left) >= max(row["sampled_seconds"] for row in confirmed)


def test_where_two_cases_change_places_both_neighbours_are_confirmed():
    both = plan(("v4.19-nvhe", "v5.17-nvhe"), grid={"seed": list(range(30)), "dram.latency_ns": [50, 100]})
    gains = {
        (seed, latency): seed / 20.5 * (1 if latency == 50 else 0.1) for seed in range(30) for latency in (50, 100)
    }
    rows = [
        {
            "point": point,
            "side": side,
            "seed": seed,
            "dram.latency_ns": latency,
            "outcome": "completed",
            "speedup": gain,
        }
        for point, ((seed, latency), gain) in enumerate(gains.items())
        for side, gain in (("a", 1.0), ("b", gain))
    ]
    best = {2 * seed for seed in range(20, 30)}
    assert to_confirm(both, rows) == best | {2 * seed + 1 for seed in range(21, 30)} | {40, 42}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "relocscope", "sweep", *map(str, arguments)]


LONG = ("v5.17-nvhe", "--size", "256KiB", "--grid", "dram.latency_ns=50..150:40")
LONG_PLAN = Plan(cases=("v5.17-nvhe",), settings={"size": "256KiB"}, grid={"dram.latency_ns": "50..150:40"})


def wait_for(directory: Path, count: int, process: "subprocess.Popen[Any]") -> None:
    """Return once so many results are there and the process still works on the rest."""
    give_up = time.monotonic() + 120
    while results_in(directory) < count:
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.001)


@pytest.mark.slow
def test_a_sweep_killed_half_way_goes_on_and_comes_to_the_same_file(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(LONG_PLAN, whole, HERE)
    process = subprocess.Popen(command(*LONG, "--workers", 2, "-o", broken), stdout=subprocess.DEVNULL)
    wait_for(broken, 8, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = results_in(broken)
    assert 8 <= done < 41
    assert not (broken / PARQUET).exists()
    table = run(LONG_PLAN, broken, Means(2))
    assert (table.host["captured"], table.host["replayed"]) == (0, 41 - done)
    assert (broken / PARQUET).read_bytes() == (whole / PARQUET).read_bytes()
    noted = [note["key"] for note in Store(broken).noted() if note["kind"] == "replay"]
    assert len(noted) == len(set(noted)) >= 40  # what was written but not yet noted when the kill came, is one at most


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_only_its_task_is_done_again(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(LONG_PLAN, whole, HERE)
    begun: list[str] = []
    done = Processes.perform

    def killing(self: Processes, given_tasks: Any) -> Any:
        for task, answer in done(self, given_tasks):
            yield task, answer
            begun.append(answer.by)
            if len(begun) == 10:
                self._children[0].process.kill()

    Processes.perform = killing  # type: ignore[method-assign]
    try:
        table = run(LONG_PLAN, broken, Means(2))
    finally:
        Processes.perform = done  # type: ignore[method-assign]
    assert (broken / PARQUET).read_bytes() == (whole / PARQUET).read_bytes()
    assert (table.host["replayed"], table.count("failed")) == (41, 0)
    assert len(set(begun)) == 3


def test_a_task_that_ends_its_process_twice_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("relocscope.sweeping.workers.python", _dying)
    table = run(plan(), tmp_path, Means(2))
    assert table.count("failed") == 4
    assert "its process ended with status 3, 2 times" in str(table.rows[0]["error"])


def _dying(*_module: str, **_options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"])


@pytest.mark.slow
def test_two_sweeps_at_once_in_one_directory_do_no_harm(tmp_path):
    run(LONG_PLAN, tmp_path / "whole", HERE)
    both = [
        subprocess.Popen(command(*LONG, "--workers", 1, "-o", tmp_path / "both"), stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(120) for process in both] == [0, 0]
    assert (tmp_path / "both" / PARQUET).read_bytes() == (tmp_path / "whole" / PARQUET).read_bytes()


def test_ctrl_c_says_how_far_it_was_and_leaves_nothing_half_written(tmp_path):
    process = subprocess.Popen(
        command(*LONG, "--workers", 2, "-o", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(tmp_path, 4, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.startswith("relocscope: interrupted; replaying: ")
    assert err.endswith(" of 41 done; the same command goes on from there\n")
    assert not list(tmp_path.rglob(".*"))


@pytest.fixture
def called(relocscope: Relocscope) -> Relocscope:
    return partial(relocscope, "sweep")


ASKED = ("v5.17-nvhe", "--size", "64KiB", "--grid", "l2.size=256KiB,1MiB", "--workers", 0)


def test_the_command_writes_a_summary_that_its_schema_knows(called, tmp_path):
    status, out, err = called(*ASKED, "-o", tmp_path, "--json", "-")
    assert (status, err) == (0, "")
    result = json.loads(out)
    jsonschema.Draft202012Validator(schema("sweep")).validate(result)
    assert result == json.loads((tmp_path / SUMMARY).read_text())
    assert result["keys"] == [{"key": "l2.size", "functional": False, "unit": "bytes", "values": 2}]
    assert [row["l2.size"] for row in result["best"]] == [1 << 20, 256 << 10]


def test_the_command_shows_the_best_points_in_80_columns(called, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = called(*ASKED, "-o", tmp_path)
    assert (status, err) == (0, "")
    assert "2 points; 1 captured, 2 replayed, 0 known" in out
    assert "unchanged" in out
    assert str(tmp_path / PARQUET) in "".join(out.split("\n"))


def test_a_dry_run_counts_measures_and_writes_nothing(called, tmp_path):
    status, out, err = called(*ASKED, "-o", tmp_path / "out", "--dry-run", "--json", "-")
    assert (status, err) == (0, "")
    result = json.loads(out)
    jsonschema.Draft202012Validator(schema("sweep-plan")).validate(result)
    assert (result["points"], result["captures"], result["replays"]) == (
        2,
        {"all": 1, "missing": 1},
        {"all": 2, "missing": 2},
    )
    assert result["host"]["replay_seconds"] > 0
    assert not (tmp_path / "out").exists()
    _, stated, _ = called(*ASKED, "-o", tmp_path / "out", "--dry-run", "--rate", 100)
    assert "about 3 min" in stated
    called(*ASKED, "-o", tmp_path / "out")
    _, nothing, _ = called(*ASKED, "-o", tmp_path / "out", "--dry-run")
    assert "replays   2, 0 still to be done" in nothing


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("v5.17-nvhe",), "grid: nothing is swept; give --grid KEY=V1,V2,... or a plan file"),
        (("--grid", "l2.size=1MiB"), "CASE: missing"),
        (("v5.17-nvhe", "--grid", "l2.size"), "--grid: 'l2.size' must be KEY=VALUES"),
        (("v5.17-nvhe", "--grid", "l2.size=1MiB", "--grid", "l2.size=2MiB"), "l2.size is given twice"),
        (("v5.17-nvhe", "--grid", "l2.size=1MiB"), "-o: must be given"),
        (("v5.17-nvhe", "--grid", "l2.size=100", "-o", "OUT"), "point 0 (l2.size=100): l2.size = 100: must be"),
        (("v5.17-nvhe", "--grid", "map.leaf=3", "-o", "OUT"), "point 0 (map.leaf=3): map.leaf: 3 must be one of"),
        (("no-such", "--grid", "l2.size=1MiB", "-o", "OUT"), "'no-such' is no case"),
        (("--plan", "missing.toml", "-o", "OUT"), "--plan: 'missing.toml': no such file, and no plan that ships"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(called, tmp_path, arguments, said):
    status, out, err = called(*(tmp_path / "out" if text == "OUT" else text for text in arguments))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (tmp_path / "out").exists()


def test_a_plan_file_may_be_run_at_another_size(called, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('case = "v5.17-nvhe"\nsize = "25MiB"\n[grid]\nl2.size = ["256KiB", "1MiB"]\n')
    status, out, _ = called("--plan", path, "--size", "64KiB", "--workers", 0, "-o", tmp_path / "out", "--json", "-")
    assert status == 0
    assert json.loads(out)["set"] == {"size": "64KiB"}
    status, _, err = called("--plan", path, "--grid", "l1d.ways=2", "-o", tmp_path / "out")
    assert (status, "--grid: belongs into the plan file" in err) == (2, True)


# pandas loads PyArrow where that is installed, which is not to share a process with Unicorn (docs/decisions.md).
FRAMES = """
import relocscope, sys
from pathlib import Path
grid = {"l2.size": ["256KiB", "1MiB"], "map.leaf": "4KiB,2MiB"}
table = relocscope.sweep("v5.17-nvhe", grid=grid, size="64KiB", workers=2, out=Path(sys.argv[1]))
frame = table.to_pandas()
assert frame["seconds"].to_list() == table.to_polars()["seconds"].to_list()
assert frame["map.leaf"].to_list() == [4096, 2 << 20] * 2
assert frame["error"].isna().all()
assert "<table" in table._repr_html_()
assert "unicorn" not in sys.modules
"""


def test_python_returns_a_table_for_data_frames_and_notebooks(swept):
    _, directory = swept
    pytest.importorskip("pandas")
    subprocess.run([sys.executable, "-c", FRAMES, str(directory)], check=True, timeout=120)


def test_plots_have_a_line_for_each_other_value(swept):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    table, _ = swept
    axes = table.plot()
    assert [line.get_label() for line in axes.lines] == ["map.leaf=4KiB", "map.leaf=2MiB"]
    assert repr(table) == "<Table: 4 points of v5.17-nvhe over l2.size, map.leaf>"
    assert list(axes.lines[0].get_xdata()) == [256 << 10, 1 << 20]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("l2.size [bytes]", "seconds [s, modelled]")
    assert len(table.plot("map.leaf", "count.l2.misses").lines) == 2
    with pytest.raises(InputError, match="no such column"):
        table.plot("nonsense")
