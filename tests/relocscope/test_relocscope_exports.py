"""`trace export`, `import` and `diff` with the model: what they write is the run's, and bad input is one line."""

import importlib.resources
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from command_line import Relocscope

import relocscope as api
from relocscope import cli
from relocscope.commands import trace as trace_commands
from traces.exports import callgrind, din, folded, kanata, perfetto, stats, tarmac
from traces.exports.registry import FORMATS

CASE = ("v5.17-nvhe", "--size", "16KiB")
TEXT_FORMATS = [name for name in FORMATS if not name.startswith("parquet")]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace file, and what `run` says of it."""
    path = tmp_path_factory.mktemp("exports") / "run.trace"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["relocscope", "trace", "record", *CASE, "-o", str(path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    return path


def test_every_format_has_the_runs_own_sums(relocscope: Relocscope, recorded: Path, tmp_path: Path):
    run = api.run(f"trace:{recorded}")
    for name in TEXT_FORMATS:
        status, _, err = relocscope("trace", "export", str(recorded), "--format", name, "-o", str(tmp_path / name))
        assert (status, err) == (0, ""), name
    assert sum(count for _, count in folded.read(tmp_path / "folded")) == run.cycles
    _, costs = callgrind.read(tmp_path / "callgrind")
    assert [sum(column) for column in zip(*(cost.costs[:2] for cost in costs), strict=True)] == [
        run.cycles,
        run.instructions,
    ]
    assert {Path(cost.path).name for cost in costs} >= {"relocate-v5.17.S"}
    found = stats.read(tmp_path / "stats")
    assert (found["system.cpu.numCycles"], found["simInsts"]) == (run.cycles, run.instructions)
    assert found["system.cpu.dcache.overallMisses::total"] == run.caches["l1d"]["misses"]
    shown = kanata.read(tmp_path / "kanata")
    assert (len(shown), shown[-1].retired) == (run.instructions, run.cycles)
    events = perfetto.read(tmp_path / "perfetto")
    pipeline = [event for event in events if event["ph"] == "X" and event["tid"] == perfetto.PIPELINE]
    assert sum(event["args"]["cycles"] for event in pipeline) == run.cycles
    lines = list(tarmac.read(tmp_path / "tarmac"))
    assert sum(line.kind == "IT" for line in lines) == run.instructions
    assert lines[-1].cycle == run.cycles
    references = np.concatenate(list(din.read(tmp_path / "din", 1 << 20)))
    assert (references["label"] == din.FETCH).sum() == run.instructions
    assert (references["label"] != din.FETCH).sum() == run.accesses


def test_source_lines_are_those_of_the_routine(relocscope: Relocscope, recorded: Path, tmp_path: Path):
    relocscope("trace", "export", str(recorded), "--format", "callgrind", "-o", str(tmp_path / "p"))
    _, costs = callgrind.read(tmp_path / "p")
    source = importlib.resources.files("asm") / "routines" / "relocate-v5.17.S"
    text = source.read_text().split("\n")
    words = {text[cost.line - 1].split()[0] for cost in costs if cost.function == "copy_line" and cost.line}
    assert {"ldp", "stnp", "b.ne"} <= words


@pytest.mark.parametrize("bounds", [("--pages", "1:3"), ("--instructions", "500:900"), ("--cycles", "3000:9000")])
def test_windows_add_up(relocscope: Relocscope, recorded: Path, tmp_path: Path, bounds: tuple[str, str]):
    def cycles(*asked: str) -> int:
        target = tmp_path / "folded"
        assert relocscope("trace", "export", str(recorded), "--format", "folded", "-o", str(target), *asked)[0] == 0
        return sum(count for _, count in folded.read(target))

    name, (first, stop) = bounds[0], map(int, bounds[1].split(":"))
    middle = (first + stop) // 2
    parts = [cycles(name, f"{first}:{middle}"), cycles(name, f"{middle}:{stop}")]
    assert sum(parts) == cycles(name, f"{first}:{stop}")
    assert all(parts)


def test_a_din_can_be_run_and_imported(relocscope: Relocscope, recorded: Path, tmp_path: Path):
    text, trace = tmp_path / "x.din", tmp_path / "x.trace"
    relocscope("trace", "export", str(recorded), "--format", "din", "-o", str(text))
    status, out, _ = relocscope("run", f"trace:{text}", "--core", "rpi4", "--json", "-")
    run = json.loads(out)
    assert (status, run["outcome"], run["accesses"]) == (0, "completed", api.run(f"trace:{recorded}").accesses)
    assert relocscope("trace", "import", str(text), "-o", str(trace))[0] == 0
    assert (
        json.loads(relocscope("run", f"trace:{trace}", "--core", "rpi4", "--json", "-")[1])["cycles"] == run["cycles"]
    )
    device = ("trace", "import", str(text), "-o", str(trace), "--memory-type", "Device-nGnRnE")
    assert relocscope(*device)[0] == 0
    again = json.loads(relocscope("run", f"trace:{trace}", "--core", "rpi4", "--json", "-")[1])
    assert again["cycle_stack"]["device_load"] > 0 == run["cycle_stack"]["device_load"]


def valid(text: str) -> Any:
    found = json.loads(text)
    schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "trace-diff.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(found)
    return found


def test_the_difference_of_two_runs(relocscope: Relocscope, recorded: Path):
    found = valid(relocscope("trace", "diff", str(recorded), str(recorded), "--json", "-")[1])
    assert found["identical"]
    assert found["first_divergence"] is None
    assert found["costs"] == []
    found = valid(
        relocscope(
            "trace", "diff", str(recorded), CASE[0], "--set", "b.size=16KiB", "--set", "b.seed=3", "--json", "-"
        )[1]
    )
    first = found["first_divergence"]
    assert first["what"] == "address"
    assert first["a"]["where"] == first["b"]["where"]
    assert first["a"]["access"]["va"] != first["b"]["access"]["va"]
    stack = found["cycle_stack"].values()
    assert sum(row["delta"] for row in stack) == found["b"]["cycles"] - found["a"]["cycles"]
    assert sum(row["delta"] for row in found["costs"]) == found["b"]["cycles"] - found["a"]["cycles"]
    status, out, _ = relocscope("trace", "diff", "v4.19-nvhe", str(recorded), "--set", "a.size=16KiB")
    assert status == 0
    assert "Instruction 0: another instruction runs" in out
    assert max(map(len, out.splitlines())) <= 80


BAD = {
    "format": (["trace", "export", "FILE", "--format", "pdf", "-o", "OUT"], "--format: 'pdf': must be one of perfetto"),
    "bounds": (["trace", "export", "FILE", "--format", "din", "-o", "OUT", "--pages", "3"], "--pages: '3' must be A:B"),
    "order": (["trace", "export", "FILE", "--format", "din", "-o", "OUT", "--cycles", "9:9"], "must be less than B"),
    "beyond": (
        ["trace", "export", "FILE", "--format", "din", "-o", "OUT", "--instructions", "0:99999999"],
        "--instructions: instruction 99999999: the run has ",
    ),
    "pages": (["trace", "export", "FILE", "--format", "din", "-o", "OUT", "--pages", "0:5"], "the run copied 4"),
    "cycle": (
        ["trace", "export", "FILE", "--format", "din", "-o", "OUT", "--cycles", "99999999:999999999"],
        "the run has",
    ),
    "two": (
        ["trace", "export", "FILE", "--format", "din", "-o", "OUT", "--pages", "0:1", "--cycles", "0:1"],
        "give one of --pages, --instructions and --cycles",
    ),
    "nowhere": (["trace", "export", "FILE", "--format", "din", "-o", "/no/dir/x"], "-o: /no/dir/x: cannot be written"),
    "no case": (["trace", "export", "nothing", "--format", "parquet", "-o", "OUT"], "nothing"),
    "no file": (["trace", "diff", "FILE", "trace:/no/such"], "/no/such: cannot be read"),
    "no din": (["trace", "import", "FILE", "-o", "OUT"], "run.trace"),
    "no type": (["trace", "import", "FILE", "-o", "OUT", "--memory-type", "WB"], "--memory-type: 'WB': must be one of"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(name: str, relocscope: Relocscope, recorded: Path, tmp_path: Path):
    arguments, words = BAD[name]
    names = {"FILE": str(recorded), "OUT": str(tmp_path / "out")}
    status, out, err = relocscope(*(names.get(word, word) for word in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("relocscope: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_too_much_for_a_format_is_said(relocscope: Relocscope, recorded: Path, tmp_path: Path, monkeypatch: Any):
    import dataclasses

    monkeypatch.setitem(FORMATS, "kanata", dataclasses.replace(FORMATS["kanata"], limit=100))
    export = ("trace", "export", str(recorded), "--format", "kanata", "-o", str(tmp_path / "k"))
    status, _, err = relocscope(*export)
    assert status == 0
    assert err.startswith("relocscope: only the first 100 of ")
    assert len(kanata.read(tmp_path / "k")) == 100
    status, _, err = relocscope(*export, "--instructions", "0:101")
    assert (status, err.count("\n")) == (2, 1)
    assert "100 instructions are the most" in err


def test_the_help_names_every_format():
    words = trace_commands._FORMATS.replace(" or ", ", ").rstrip(".").split(", ")
    assert sorted(words) == sorted(FORMATS)


_WITHOUT = """
import sys
for name in {absent!r}:
    sys.modules[name] = None
sys.argv = ["relocscope", *{arguments!r}]
from relocscope.cli import main
main()
"""


def without(absent: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = _WITHOUT.format(absent=absent, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_trace_is_replayed_and_exported_without_unicorn(recorded: Path, tmp_path: Path):
    done = without(["unicorn", "pyarrow"], "trace", "replay", str(recorded), "--core", "rpi4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "dram_latency" in done.stdout
    done = without(
        ["unicorn"], "trace", "export", str(recorded), "--format", "parquet-costs", "-o", str(tmp_path / "c")
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = without(["unicorn"], "run", *CASE)
    assert done.returncode != 0  # or the lines above would have said nothing


_READERS = """
import json, sys
import duckdb, pandas, polars
from pyarrow import parquet
events, costs = sys.argv[1:]
said = json.loads(parquet.ParquetFile(costs).metadata.metadata[b"columns"])
assert said["cycles"]["unit"] == "cycles", said
frame = pandas.read_parquet(events)
assert frame["access"].isna().sum() == frame["va"].isna().sum() > 0
lazy = polars.scan_parquet(events).filter(polars.col("access") == "store")
moved = int(lazy.select(polars.col("size").cast(polars.Int64).sum()).collect().item())
count, loads = duckdb.sql(f"select count(*), count(*) filter (access = 'load') from '{events}'").fetchall()[0]
cycles = duckdb.sql(f"select sum(cycles), sum(base + dram_latency), sum(count) from '{costs}'").fetchall()[0]
assert polars.read_parquet(costs)["cycles"].sum() == pandas.read_parquet(costs)["cycles"].sum() == cycles[0]
print(len(frame), count, loads, moved, *map(int, cycles))
"""


@pytest.mark.slow
def test_pandas_polars_and_duckdb_read_parquet(recorded: Path, tmp_path: Path):
    """In another process: pandas loads PyArrow, which is not to be beside Unicorn."""
    run = api.run(f"trace:{recorded}")
    command = [sys.executable, "-m", "relocscope", "trace", "export"]
    subprocess.run([*command, str(recorded), "--format", "parquet", "-o", tmp_path / "e.parquet"], check=True)
    subprocess.run(
        [*command, *CASE, "--core", "stingray", "--format", "parquet-costs", "-o", tmp_path / "c.parquet"], check=True
    )
    readers = [sys.executable, "-c", _READERS, str(tmp_path / "e.parquet"), str(tmp_path / "c.parquet")]
    done = subprocess.run(readers, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, count, loads, moved, cycles, some, executed = map(int, done.stdout.split())
    assert rows == count == executed == run.instructions
    assert 0 < loads < run.accesses
    assert moved >= run.image_bytes
    assert cycles == api.run("v5.17-nvhe", size="16KiB", core="stingray").cycles
    assert 0 < some < cycles


_ARROW = """
import relocscope
run = relocscope.run("v5.17-nvhe", size="16KiB")
events, costs = run.trace.to_arrow(), run.to_arrow()
print(events.height == run.instructions, costs["cycles"].sum() == run.cycles, hasattr(costs, "__arrow_c_stream__"))
"""


def test_arrow_from_python():
    done = subprocess.run([sys.executable, "-c", _ARROW], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


@pytest.mark.slow
def test_callgrind_annotate_reads_a_profile(relocscope: Relocscope, recorded: Path, tmp_path: Path):
    assert shutil.which("callgrind_annotate"), "needs Debian's valgrind (.ci/run)"
    relocscope("trace", "export", str(recorded), "--format", "callgrind", "-o", str(tmp_path / "p"))
    done = subprocess.run(["callgrind_annotate", tmp_path / "p"], capture_output=True, text=True, check=True)
    assert "WARNING" not in done.stdout + done.stderr
    total = next(line for line in done.stdout.splitlines() if line.endswith("PROGRAM TOTALS"))
    assert total.split()[0] == f"{api.run(f'trace:{recorded}').cycles:,}"
    assert "relocate-v5.17.S:copy_line" in done.stdout
    assert any("stnp" in line and "%" in line for line in done.stdout.splitlines())


_ONE_GIBIBYTE = 1 << 30

_PEAK = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
_PEAK += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


@pytest.fixture(scope="module")
def recorded_380_mebibytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recording holds the guest, image and copy, beside the trace, and so takes more than what is tested here."""
    big = tmp_path_factory.mktemp("large") / "big.trace"
    command = [sys.executable, "-m", "relocscope", "trace", "record", "v5.17-nvhe", "--size", "380MiB", "-o", big]
    subprocess.run(command, check=True, capture_output=True)
    return big


def _peak_bytes(*arguments: str | Path) -> int:
    """Return the most memory that relocscope has had at once, as a process of its own."""
    command = [sys.executable, "-c", _PEAK, sys.executable, "-m", "relocscope", *arguments]
    return 1024 * int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_380_mebibytes_are_exported_within_a_gibibyte(recorded_380_mebibytes: Path, tmp_path: Path):
    target = tmp_path / "p"
    peak = _peak_bytes("trace", "export", recorded_380_mebibytes, "--format", "perfetto", "-o", target)
    assert peak < _ONE_GIBIBYTE
    assert sum(event["args"]["cycles"] for event in perfetto.read(target) if event.get("tid") == 1 and "dur" in event)


@pytest.mark.slow
def test_380_mebibytes_are_reported_within_a_gibibyte(recorded_380_mebibytes: Path, tmp_path: Path):
    page, facts = tmp_path / "x.html", tmp_path / "x.json"
    peak = _peak_bytes("report", f"trace:{recorded_380_mebibytes}", "-o", page, "--json", facts)
    assert peak < _ONE_GIBIBYTE
    assert json.loads(facts.read_text())["parts"][0]["run"]["image_bytes"] == 380 << 20
    assert "copies 380MiB in" in page.read_text(encoding="utf-8")
