"""What a plan means: values, designs, files, and which keys need a functional run of their own."""

from pathlib import Path

import numpy as np
import pytest

from relocscope.case import KEYS
from relocscope.sweeping.designs import Range, grid, samples, values
from relocscope.sweeping.keys import key
from relocscope.sweeping.plan import Plan, plan_from_file
from relocscope.sweeping.points import Resolver
from traces.errors import InputError


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("l2.size", "256KiB,512KiB", ["256KiB", "512KiB"]),
        ("l2.size", "256KiB..2MiB:x2", [256 << 10, 512 << 10, 1 << 20, 2 << 20]),
        ("l1d.size", "32KiB..64KiB:+16KiB", [32 << 10, 48 << 10, 64 << 10]),
        ("dram.latency_ns", "60..100:5", [60.0, 70.0, 80.0, 90.0, 100.0]),
        ("dram.latency_ns", "10..1000:log:3", [10.0, 100.0, 1000.0]),
        ("dtlb.entries", "1..4:10", [1, 2, 3, 4]),
        ("dram.latency_ns", "60..100", Range(60, 100)),
        ("dram.latency_ns", "60..100:log", Range(60, 100, True)),
        ("dram.latency_ns", [60, 70], [60, 70]),
        ("phases", ["loop", "tables,list-flush"], ["loop", "tables,list-flush"]),
        ("kdump", True, [True]),
    ],
)
def test_values_are_lists_and_ranges(name, text, expected):
    assert values(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("l2.size", "1MiB,,2MiB", "must be values with commas"),
        ("l2.size", "2MiB..1MiB:3", "must begin below its end"),
        ("l2.size", "0..1MiB:log:3", "must begin above 0"),
        ("l2.size", "1KiB..1MiB:1", "at least 2"),
        ("l2.size", "1KiB..1MiB:x1", "multiply by more than 1"),
        ("l2.size", "1KiB..1MiB:+0", "the step must be above 0"),
        ("l2.size", "1KiB..many:3", "'many' is no number"),
        ("boot", "el1..vhe:3", "its values are no numbers"),
        ("l2.sise", "1", "did you mean l2.size"),
        ("dram.latency_ns", "1..2:3:4", "must be LOW..HIGH"),
    ],
)
def test_values_that_mean_nothing_are_refused(name, text, rule):
    with pytest.raises(InputError, match=rule):
        values(name, text)


def test_a_grid_has_every_combination_and_no_open_range():
    assert [tuple(row.values()) for row in grid({"l1d.ways": "2,4", "seed": "1,2,3"})] == [
        (ways, seed) for ways in ("2", "4") for seed in ("1", "2", "3")
    ]
    with pytest.raises(InputError, match=r"LOW\.\.HIGH:N"):
        grid({"dram.latency_ns": "1..2"})


@pytest.mark.parametrize("sampler", ["latin-hypercube", "sobol"])
def test_samples_fill_every_range_evenly_and_are_seeded(sampler):
    given = {"dram.latency_ns": "10..1000:log", "dtlb.entries": "16..63", "l1d.ways": "2,4"}
    rows = samples(given, 16, sampler=sampler, seed=3)
    assert rows == samples(given, 16, sampler=sampler, seed=3)
    assert rows != samples(given, 16, sampler=sampler, seed=4)
    shares = np.log10([row["dram.latency_ns"] for row in rows]) / 2 - 0.5
    assert sorted(np.floor(shares * 16).astype(int)) == list(range(16))  # one in each sixteenth, by ratios
    assert sum(row["l1d.ways"] == "2" for row in rows) == 8
    assert all(isinstance(row["dtlb.entries"], int) and 16 <= row["dtlb.entries"] <= 63 for row in rows)


def test_sobol_needs_a_power_of_two():
    with pytest.raises(InputError, match="power of two"):
        samples({"dram.latency_ns": "10..100"}, 12, sampler="sobol", seed=1)


def test_points_are_every_combination_of_grid_list_and_samples():
    plan = Plan(
        cases=("v4.19-nvhe",),
        grid={"l1d.ways": [2, 4]},
        points=[{"l2.size": "256KiB", "l2.ways": 8}, {"l2.size": "1MiB", "l2.ways": 16}],
        ranges={"dram.latency_ns": "60..100"},
        samples=3,
    )
    rows = list(plan.rows())
    assert len(rows) == 2 * 2 * 3
    assert plan.swept == ("l1d.ways", "l2.size", "l2.ways", "dram.latency_ns")
    assert rows[0].keys() == rows[-1].keys() == set(plan.swept)


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ({"grid": {}}, "nothing is swept"),
        ({"grid": {"l1d.ways": [2]}, "points": [{"l1d.ways": 4}]}, "l1d.ways: is given twice"),
        ({"grid": {"l1d.ways": [2]}, "settings": {"l1d.ways": 4}}, "l1d.ways: is given twice"),
        ({"grid": {"a.l1d.ways": [2]}}, "for two cases"),
        ({"grid": {"l1d.wayz": [2]}}, "did you mean l1d.ways"),
        ({"ranges": {"dram.latency_ns": "1..2"}}, "belong together"),
        ({"grid": {"l1d.ways": [2]}, "cases": ("a", "b", "c")}, "one case, or two"),
    ],
)
def test_plans_that_contradict_themselves_are_refused(parts, rule):
    with pytest.raises(InputError, match=rule):
        Plan(**{"cases": ("v4.19-nvhe",)} | parts)


def _plan_file(directory: Path, text: str) -> Path:
    path = directory / "plan.toml"
    path.write_text(text)
    return path


def test_a_plan_file_says_what_options_say(tmp_path):
    text = """
        case = ["v4.19-nvhe", "v5.17-nvhe"]
        core = "seattle"
        size = "1MiB"
        sample = true
        [set]
        l2.size = "512KiB"
        [grid]
        "dram.latency_ns" = "60..100:5"
        map.leaf = ["4KiB", "2MiB"]
        [[points]]
        l1d.ways = 4
        [samples]
        design = "sobol"
        count = 8
        seed = 7
        ranges.dtlb.entries = "16..64"
    """
    assert plan_from_file(_plan_file(tmp_path, text)) == Plan(
        cases=("v4.19-nvhe", "v5.17-nvhe"),
        core="seattle",
        settings={"l2.size": "512KiB", "size": "1MiB"},
        sample=True,
        grid={"dram.latency_ns": "60..100:5", "map.leaf": ["4KiB", "2MiB"]},
        points=[{"l1d.ways": 4}],
        ranges={"dtlb.entries": "16..64"},
        samples=8,
        design="sobol",
        design_seed=7,
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("case = ", "not TOML"),
        ('case = "v4.19-nvhe"\ngird.seed = [1]', "gird: unknown key; known: case, core"),
        ('case = "v4.19-nvhe"\ngrid = 3', "grid: 3 must be a table"),
        ('case = "v4.19-nvhe"\nsample = 1\ngrid.seed = [1]', "sample: 1 must be true or false"),
        ('case = "v4.19-nvhe"\nsamples.count = true', "samples.count: True must be a whole number"),
        ('case = "v4.19-nvhe"\npoints = [1]', "points: each must be a table"),
        ('case = "v4.19-nvhe"\ngrid.bogus = [1]', "bogus: unknown key"),
    ],
)
def test_plan_files_with_mistakes_are_refused_by_name(tmp_path, text, rule):
    with pytest.raises(InputError, match=f"plan.toml: .*{rule}"):
        plan_from_file(_plan_file(tmp_path, text))


def test_what_a_plan_cannot_be_is_refused_with_the_point_and_the_rule():
    def plan(**parts):
        return Plan(cases=("v4.19-nvhe",), settings={"size": "64KiB"}, **parts)

    with pytest.raises(InputError, match=r"point 1 \(l2.size=500\): l2.size = 500: must be a multiple of ways times"):
        list(Resolver(plan(grid={"l2.size": ["1MiB", 500]})).points())
    with pytest.raises(InputError, match=r"point 0 \(boot=vhe\): core stingray: boot vhe needs VHE"):
        list(Resolver(plan(grid={"boot": ["vhe", "el1"]})).points())
    points = list(Resolver(plan(grid={"boot": ["vhe", "el1"]}, skip_impossible=True)).points())
    assert [bool(point.sides[0].impossible) for point in points] == [True, False]


CHANGED = {
    "boot": "el1",
    "size": "128KiB",
    "seed": "7",
    "kdump": "true",
    "el2_switch": "false",
    "phases": "all",
    "budget": "1000000",
    "routine.relocate": "relocate-v5.17",
    "routine.soft_restart": "",
    "routine.hyp_stub": "hyp-stub-v5.17",
    "routine.kexec_vectors": "kexec-vectors-v5.17",
    "routine.purgatory": "purgatory",
    "map.tables": "merged",
    "map.va_bits": "39",
    "map.granule": "64KiB",
    "map.leaf": "2MiB",
    "map.mair": "0xff",
    "map.tcr_irgn": "0",
    "map.tcr_orgn": "0",
    "map.tcr_sh": "2",
    "map.clear_xn": "true",
    "map.t0sz": "20",
    "map.stage2": "vm",
    "copy.sctlr_c": "0",
    "copy.sctlr_i": "1",
    "image.sources": "sequential",
    "image.self_copies": "1",
    "image.ram_base": "0x40000000",
    "image.kimage_in_destination": "true",
}
TIMING_ONLY = {"core": "seattle", "initial": "cold", "title": "x", "source": "y"}


def test_every_key_of_a_case_is_known_to_be_functional_or_not():
    named = {name for name in KEYS if not name.startswith(("kernel", "image.memory_map", "image.segments"))}
    assert named == {*CHANGED, *TIMING_ONLY}
    assert {name for name in KEYS if not key(name).functional} == TIMING_ONLY.keys()
    assert not key("l2.size").functional
    assert (key("l2.size").unit, key("dram.latency_ns").kind, key("map.leaf").kind) == ("bytes", float, int)


@pytest.mark.parametrize("name", [*CHANGED, *TIMING_ONLY, "l2.size"])
def test_a_capture_is_shared_unless_a_functional_key_changes(name):
    value = (CHANGED | TIMING_ONLY | {"l2.size": "2MiB"})[name]
    plan = Plan(cases=("v4.19-nvhe",), grid={name: [value]})
    resolver = Resolver(plan)
    (point,), base = list(resolver.points()), resolver.base()
    assert base is not None
    assert (point.sides[0].capture != base.capture) == key(name).functional


def test_a_file_that_a_case_names_counts_by_its_content(tmp_path):
    ram, plan = (
        tmp_path / "ram.toml",
        Plan(cases=("v4.19-nvhe",), grid={"image.memory_map": [str(tmp_path / "ram.toml")]}),
    )

    def capture(text: str) -> str:
        ram.write_text(text)
        (point,) = Resolver(plan).points()
        return point.sides[0].capture

    assert capture("a = 1") == capture("a = 1") != capture("a = 22")
    ram.unlink()
    with pytest.raises(InputError, match=r"ram.toml: cannot be read"):
        list(Resolver(plan).points())
