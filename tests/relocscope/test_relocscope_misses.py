"""`relocscope misses`: curves that full replays have, what is marked and said, and what is refused."""

import importlib.resources
import json
from xml.etree import ElementTree

import jsonschema
import polars
import pytest
from command_line import Relocscope

import caches
from caches.exactness import alone
from relocscope.miss_curves import FULLY, MissCurves, Shape, miss_curves
from relocscope.operand import operand, with_settings
from relocscope.runs import recorded
from traces.errors import InputError


def subject(case="v5.17-nvhe", **settings):
    return with_settings(operand(case), {"size": "64KiB", **settings}, core="stingray")


@pytest.mark.parametrize("level", ["l1d", "l2", "l3", "dtlb"])
def test_shapes_are_those_of_full_replays(level):
    found = miss_curves(subject(), level)
    trace, config, _, _ = recorded(subject())
    exact = alone(config, level)
    chosen = [each for each in found.shapes if each.capacity in (1024, 32768, 4, 16)]
    assert len(chosen) > 5
    for shape in [*chosen, found.own]:
        unit, name = (64, "size") if found.is_cache else (1, "entries")
        ways = shape.ways or shape.capacity // unit
        if found.is_cache and ways > 32:
            continue
        core = exact.override({f"{level}.{name}": shape.capacity, f"{level}.ways": ways})
        counters = caches.replay(trace, core).counters[level]
        assert (counters["accesses"], counters["misses"]) == (found.accesses, shape.misses)


def test_the_core_as_it_is_stands_beside_its_own_shape():
    found = miss_curves(subject(), "l1d")
    trace, config, initial, seed = recorded(subject())
    counters = caches.replay(trace, config, initial=initial, seed=seed).counters["l1d"]
    assert found.replayed == (counters["accesses"], counters["misses"])
    assert (found.own.capacity, found.own.ways) == (32 << 10, 2)


def test_what_is_set_as_it_has_to_be_is_exact():
    first = miss_curves(subject(), "l1d")
    assert {each.key for each in first.changed} == {
        "prefetch.streams",
        "l2.inclusion",
        "store.stream_l1_lines",
        "initial",
    }
    again = miss_curves(subject(**{each.key: each.needed for each in first.changed}), "l1d")
    assert again.changed == ()
    assert again.replayed == (again.accesses, again.own.misses)
    assert again.shapes == first.shapes


def curves(*ratios, ways=2):
    shapes = [Shape(1024 << at, ways, round(ratio * 1000)) for at, ratio in enumerate(ratios)]
    return MissCurves(
        case="c",
        core="k",
        level="l1d",
        accesses=1000,
        changed=(),
        own=shapes[0],
        replayed=(1000, 1),
        shapes=shapes,
        host={},
    )


def test_knees_are_where_misses_fall():
    found = curves(0.9, 0.89, 0.4, 0.4, 0.05, 0.05, 0.05)
    assert [(one.capacity, other.capacity) for one, other in found.knees] == [(2048, 4096), (8192, 16384)]
    assert found.enough.capacity == 16384
    assert found.sentences[-1] == "From 16KiB on nothing is gained: 5.00% are missed."
    assert curves(0.5, 0.5, 0.5).sentences == ["From 1KiB on nothing is gained: 50.00% are missed."]


def test_the_command_says_it_in_80_columns_as_json_and_as_pictures(relocscope: Relocscope, tmp_path):
    page, drawing = tmp_path / "m.html", tmp_path / "m.svg"
    words = ("misses", "v5.17-nvhe", "--size", "64KiB", "--core", "stingray")
    status, out, err = relocscope(*words, "-o", str(drawing))
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "*" in next(line for line in out.splitlines() if line.startswith("32KiB"))
    assert "on nothing is gained" in out
    assert "--set prefetch.streams=0 (it is 8:" in out
    texts = [each.text for each in ElementTree.parse(drawing).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert "stingray: 32KiB" in texts
    status, out, _ = relocscope(*words, "--level", "dtlb", "--json", "-", "-o", str(page))
    result = json.loads(out)
    schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "misses.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(result)
    assert (status, result["unit"], result["own"]["capacity"]) == (0, "entries", 32)
    assert result["own"]["ways"] is None
    assert "nothing is gained" in page.read_text()


def test_a_fully_associative_curve_never_rises():
    found = miss_curves(subject(), "l2")
    misses = [shape.misses for shape in found.of(FULLY)]
    assert misses == sorted(misses, reverse=True)
    assert misses[0] > misses[-1] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("v5.17-nvhe", "--core", "rpi4", "--level", "l3"), "--level: the core rpi4 has no l3"),
        (("v5.17-nvhe", "-o", "a.png"), "-o: a.png: must end in .svg or .html"),
        (("rfc-v2-el1", "--size", "64KiB"), "its guest invalidates by set and way"),
    ],
)
def test_what_cannot_be_is_one_line(relocscope: Relocscope, words, said):
    status, out, err = relocscope("misses", *words)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_level_of_another_name_is_refused():
    with pytest.raises(InputError, match="--level: 'l4' must be one of"):
        miss_curves(subject(), "l4")


EXACT = {"prefetch.streams": 0, "l2.inclusion": "non-inclusive", "store.stream_l1_lines": 0, "initial": "cold"}
EXACT_L2 = {"l2.replacement": "lru", "fetch.prefetch_lines": 0, "walk.through_l1d": "false"}


def sweep_both(relocscope: Relocscope, tmp_path, grid, settings):
    """The same sweep as counts and as replays: what of their tables is counted."""
    tables = []
    for name, option in (("counts", ["--counts-only"]), ("replays", ["--workers", "1"])):
        words = [word for key, values in grid.items() for word in ("--grid", f"{key}={values}")]
        words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        status, out, err = relocscope(
            "sweep", "v5.17-nvhe", "--size", "64KiB", *words, *option, "-o", tmp_path / name, "--json", "-"
        )
        assert (status, err) == (0, "")
        schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "sweep.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(json.loads(out))
        tables.append(polars.read_parquet(tmp_path / name / "sweep.parquet"))
    return tables


@pytest.mark.parametrize(
    ("grid", "settings", "levels"),
    [
        ({"l1d.ways": "1,2,4", "l1d.size": "1KiB,12KiB", "dtlb.entries": "2,5,32"}, EXACT, ("l1d", "dtlb")),
        ({"l1d.size": "128,32KiB", "l2.size": "16KiB,64KiB", "l2.ways": "1,16"}, EXACT | EXACT_L2, ("l1d", "l2")),
        ({"map.leaf": "4KiB,2MiB", "l1d.size": "128,32KiB"}, EXACT, ("l1d",)),
    ],
)
def test_a_sweep_of_counts_has_those_of_the_sweep_of_replays(relocscope, tmp_path, grid, settings, levels):
    counts, replays = sweep_both(relocscope, tmp_path, grid, settings)
    assert counts.columns == replays.columns
    same = ["point", "side", "case", "core", *grid, "status", "trace", "config", "sram_bytes"]
    same += [f"count.{level}.{name}" for level in levels for name in ("accesses", "hits", "misses")]
    assert counts.select(same).equals(replays.select(same))
    assert counts["seconds"].null_count() == len(counts)
    assert counts["count.l1d.misses"].n_unique() > 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grid", "l1d.size=1KiB"), "point 0 (l1d.size=1KiB): exact only with --set prefetch.streams=0 (it is 8)"),
        (("--grid", "dram.latency_ns=80,90"), "--counts-only: sweep the shape of what is to be counted"),
        (("--grid", "dtlb.entries=1", "--sample"), "--counts-only: a sample and a question are of times"),
        (("--grid", "dtlb.entries=1", "--dry-run"), "--counts-only: needs -o; and takes no --scheduler"),
        (("--grid", "dtlb.entries=128", "--set", "dtlb.ways=64"), "dtlb.ways: 64 ways of several sets"),
    ],
)
def test_a_sweep_of_counts_refuses_in_one_line(relocscope: Relocscope, tmp_path, words, said):
    status, out, err = relocscope("sweep", "v5.17-nvhe", "--counts-only", *words, "-o", tmp_path / "it")
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "it").exists()
