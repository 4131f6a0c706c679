"""Calibrate: what a synthetic machine measures is found again, what it cannot show is said, bad files are one line."""

import dataclasses
import json
import math
from importlib import resources

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import caches
import relocscope
from relocscope.calibration import calibrate_of, files
from relocscope.calibration.calibrate import calibrate
from relocscope.calibration.fit import choose, contradictions, slopes, solve
from relocscope.calibration.measured import Measured, Reads, is_clear
from relocscope.calibration.model import Model
from relocscope.calibration.numbers import WIDEST, Number, numbers
from relocscope.calibration.preset import preset_text, write_preset
from relocscope.case import shipped_case
from relocscope.cli import relocscope as command
from traces.errors import InputError

HEAD = "tinymembench v0.4.9 (simple benchmark for memory throughput and latency)\n\n"
RATES = """\
 C copy                                               :   4440.5 MB/s
 standard memcpy                                      :   4437.5 MB/s
 standard memset                                      :  12455.4 MB/s (0.6%)
 ---
 NEON LDP/STP copy                                    :   4439.7 MB/s
 ARM LDP/STP copy                                     :   4439.8 MB/s
 ARM STP fill                                         :  12446.0 MB/s (0.6%)

 NEON LDP/STP copy (from framebuffer)                 :    652.0 MB/s
 NEON LDP/STP 2-pass copy (from framebuffer)          :    600.0 MB/s
 ARM LDP/STP copy (from framebuffer)                  :    464.0 MB/s

"""
LADDER = """\
block size : single random read / dual random read, [MADV_NOHUGEPAGE]
      1024 :    0.0 ns          /     0.0 ns
    262144 :    7.9 ns          /    10.3 ns
   1048576 :   11.2 ns          /    15.2 ns
  67108864 :  146.6 ns          /   178.1 ns

block size : single random read / dual random read, [MADV_HUGEPAGE]
    262144 :    6.2 ns          /     8.1 ns
"""
NUUMIO = """\
tinymembench v0.4.9-nuumio (simple benchmark for memory throughput and latency)

      latency test repeats (-l): 3
        latency test count (-c): 1000000
 ARM LDP/STP copy                                     :   1201.5 MB/s (2)
block size : single random read / dual random read, [MADV_NOHUGEPAGE]
  67108864 :  146.6 ns          /   178.1 ns
"""
OLD = (
    HEAD.replace("0.4.9", "0.3")
    + """\
block size : read access time (single random read / dual random read)
  67108864 :  146.6 ns  /  178.1 ns
"""
)
LX = caches.core("lx2160a")


def found_in(tmp_path, text, reader=files.tinymembench, suffix=""):
    (tmp_path / "out.txt").write_text(text)
    return reader(f"{tmp_path / 'out.txt'}{suffix}", LX)


def test_tinymembench_is_read_as_it_is_printed(tmp_path):
    found = found_in(tmp_path, HEAD + RATES + LADDER)
    by_name = {one.name: one for one in found.measured}
    assert by_name["memcpy"].value == 4439.8e6  # the loop that the model has, not the libc's
    assert by_name["memset"].value == 12446.0e6
    assert by_name["nc-read 16"].value == pytest.approx(16e3 / 464)
    assert by_name["nc-read 32"].value == pytest.approx(32e3 / 652)
    far = by_name["latency 64MiB/4KiB"]
    assert far.target(LX) == pytest.approx(146.6 + LX.l1d.hit_cycles / LX.frequency_hz * 1e9)
    assert far.reads == Reads(count=10_000_000, repeats=10, ladder=0)
    assert by_name["latency 256KiB/2MiB"].reads.ladder == 1
    assert "latency 1MiB/4KiB" not in by_name  # as large as L2
    assert len(found.aside) == 1


def test_other_versions_of_tinymembench_are_read(tmp_path):
    (copy, far) = found_in(tmp_path, NUUMIO).measured
    assert copy.value == 1201.5e6
    assert far.reads == Reads(count=1_000_000, repeats=3, ladder=0)
    (far,) = found_in(tmp_path, OLD).measured
    assert (far.bytes, far.value, far.leaf_bytes) == (64 << 20, 146.6, 4096)


def test_of_several_runs_one_is_chosen(tmp_path):
    both = "Executing on cpu0\n" + HEAD + RATES + "Executing on cpu2\n" + NUUMIO
    assert found_in(tmp_path, both, suffix="#2").measured[0].value == 1201.5e6
    with pytest.raises(InputError, match="has 2 runs"):
        found_in(tmp_path, both)
    for wrong in ("#3", "#0", "#x"):
        with pytest.raises(InputError):
            found_in(tmp_path, both, suffix=wrong)


LMBENCH = """\
"libc bcopy unaligned
0.000512 114131.34
33.55 4400.5
67.11 4440.12

"unrolled bcopy unaligned
67.11 99999.0

Memory load latency
"stride=128
64.00000 12.5

Random load latency
"stride=16
0.00049 1.999
0.25000 9.9
0.37500 10.5
64.00000 149.2

"""
TRANSCRIPT = """\
$ lat_mem_rd -t 64M 128
"stride=128
64.00000 149.2
$ bw_mem 64M bcopy
67.11 4440.12
$ bw_mem 64M rd
67.11 9999.9
$ lat_mem_rd 64M 128
"stride=128
32.00000 3.1
"""


@pytest.mark.parametrize("text", [LMBENCH, TRANSCRIPT])
def test_lmbench_is_read_where_it_says_what_it_did(tmp_path, text):
    found = found_in(tmp_path, text, files.lmbench)
    by_name = {one.name: one for one in found.measured}
    assert by_name["memcpy"].value == 4440.12e6
    assert by_name["latency 64MiB/4KiB"].target(LX) == 149.2
    assert set(by_name) <= {"memcpy", "latency 64MiB/4KiB", "latency 256KiB/4KiB"}
    assert {what for what, _ in found.aside} == {"strided", "other copies"}


@pytest.mark.parametrize(
    ("reader", "text", "said"),
    [
        (files.tinymembench, "", "no figures"),
        (files.tinymembench, "hello\n", "no figures"),
        (files.tinymembench, HEAD + " ARM STP fill   :   fast MB/s\n", "must be a number"),
        (files.tinymembench, HEAD + " ARM STP fill   :   nan MB/s\n", "must be a number"),
        (files.tinymembench, HEAD + " C copy   :   12.0 MB/s\n", "no figure that the model has"),
        (files.lmbench, "64.00000 149.2\n", "no figure"),
        (files.lmbench, '"stride=128\n64.00000 149.2\n', "without -t"),
        (files.lmbench, "bw_mem 64M bcopy\n67.11 -3\n", "must be a number"),
        (files.lmbench, "bw_mem 1M bcopy\n1.05 9999.0\n", "no figure"),  # in the caches
        (files.lmbench, "\x00\xff" * 50, "no figure"),
    ],
)
def test_files_that_hold_nothing_are_refused_in_one_line(tmp_path, reader, text, said):
    with pytest.raises(InputError, match=said) as caught:
        found_in(tmp_path, text, reader)
    assert "\n" not in str(caught.value)


def test_sizes_at_the_edge_of_a_cache_are_not_used():
    clear = [size >> 10 for size in (1 << log2 for log2 in range(10, 30)) if is_clear(size, LX)]
    assert clear == [64, 128, 256, 512, 2048, 4096, 32768, 65536]  # L1D 32 KiB, L2 1 MiB, L3 8 MiB


# The fit itself, on machines whose figures are powers of their numbers.

A, B, C = (Number(key=key, value=value, whole=False, uncertain=0.3, span=()) for key, value in
           (("a", 10.0), ("b", 5.0), ("c", 2.0)))  # fmt: skip


def power(exponents, numbers_of):
    """Predict figures that are products of powers of the numbers."""

    def predict(values):
        at = np.array([values.get(number, math.log(number.value)) for number in numbers_of])
        return np.array(exponents) @ at

    return predict


def fitted(exponents, numbers_of, truth, noise=0.0, sigma=0.05, off=()):
    predict = power(exponents, numbers_of)
    start = predict({})
    measured = np.array(exponents) @ np.log(truth) + noise
    for row, by in off:
        measured[row] += by
    spread = np.full(len(start), sigma)
    every = slopes(predict, numbers_of, start, lambda: None)
    chosen, left = choose(every, spread, numbers_of)
    columns = [numbers_of.index(number) for number in chosen]
    found = solve(predict, chosen, measured, spread, start, every[:, columns], lambda: None)
    return found, chosen, left, spread


def test_numbers_that_figures_tell_apart_are_found():
    found, _, left, _ = fitted([[1, 0], [0.5, 1], [1, 1]], [A, B], [13.0, 3.0])
    assert {number.key: math.exp(at) for number, at in found.at.items()} == pytest.approx(
        {"a": 13.0, "b": 3.0}, rel=1e-3
    )
    assert left == []


def test_two_that_act_alike_are_not_both_fitted_and_what_is_unseen_stays():
    _, chosen, left, _ = fitted([[1, 0.9, 0], [1, 0.9, 0.01]], [A, B, C], [12.0, 5.0, 2.0])
    assert chosen == [A]
    assert [(one.number.key, one.reason, one.like) for one in left] == [("b", "alike", A), ("c", "unseen", None)]


def test_what_is_seen_but_hardly_apart_is_alike():
    _, chosen, left, _ = fitted([[1, 0.9], [1, 0.9], [1, 1.0]], [A, B], [12.0, 5.0], sigma=0.005)
    assert chosen == [A]
    assert [(one.reason, one.like) for one in left] == [("alike", A)]


def test_a_figure_that_the_others_outvote_is_named_and_pulls_little():
    found, _, _, spread = fitted([[1]] * 4, [A], [12.0], off=[(2, 0.6)])
    (one,) = contradictions(found, spread)
    assert one.dropped == (2,)
    assert dict(one.asked)[2] == pytest.approx(12 * math.exp(0.6), rel=0.02)
    assert math.exp(found.at[A]) == pytest.approx(12, rel=0.04)


def test_of_two_that_contradict_each_other_none_is_dropped():
    found, _, _, spread = fitted([[1]] * 2, [A], [12.0], off=[(1, 0.6)])
    (one,) = contradictions(found, spread)
    assert one.dropped == ()
    assert contradictions(fitted([[1]] * 2, [A], [12.0], off=[(1, 0.1)])[0], spread) == []


def test_a_number_goes_no_farther_than_it_may():
    found, *_ = fitted([[1]], [A], [10.0 * WIDEST * 10])
    assert found.at[A] == pytest.approx(math.log(10 * WIDEST), abs=1e-3)


# With the model.

MACHINE = {"device.round_trip_ns": 121}


def test_an_off_time_says_the_round_trip_of_device_and_nothing_else(tmp_path):
    seconds = relocscope.run("v4.19-nvhe", core="stingray", size="4MiB", set=MACHINE).seconds
    target, report = tmp_path / "mine.toml", tmp_path / "mine.json"
    arguments = ["calibrate", "--core", "stingray", "--observed", f"4MiB={seconds}:off"]
    done = CliRunner().invoke(command, [*arguments, "-o", str(target), "--json", str(report)], standalone_mode=False)
    assert done.exception is None
    found = json.loads(report.read_text())
    jsonschema.validate(found, json.loads((resources.files("relocscope") / "schemas" / "calibrate.json").read_text()))
    (fit,) = found["fitted"]
    assert fit["key"] == "device.round_trip_ns"
    assert fit["after"] == pytest.approx(121, rel=0.02)
    assert fit["low"] < 121 < fit["high"]
    assert {one["reason"] for one in found["undetermined"]} == {"unseen"}
    assert len(found["undetermined"]) == len(numbers(caches.core("stingray"))) - 1
    assert abs(found["observations"][0]["residual_after"]) < 0.02 < abs(found["observations"][0]["residual_before"])
    mine = caches.load_core(target)
    assert "device.round_trip_ns" in mine.calibrated
    assert "4MiB off" in mine.provenance["device.round_trip_ns"].source
    assert mine.l2 == caches.core("stingray").l2
    again = relocscope.run("v4.19-nvhe", core=str(target), size="4MiB")
    assert again.seconds == pytest.approx(seconds, rel=0.02)
    assert sum(str(target) in line for line in done.output.splitlines()) == 1  # the file's name is not broken


def test_times_that_contradict_each_other_are_named_and_not_averaged():
    three = calibrate_of(["37MB=0.35:off", "380MB=3.58:off", "25MB=0.440510736:off"], core="stingray")
    (one,) = three.contradictions
    assert one["dropped"] == ["25MB off"]
    assert three.fitted[0].after == pytest.approx(75, abs=1)
    assert [each.used for each in three.observations] == [True, True, False]
    two = calibrate_of(["37MB=0.35:off", "25MB=0.440510736:off"], core="stingray")
    assert two.fitted == ()
    assert two.contradictions[0]["dropped"] == []
    assert "device.round_trip_ns" in {one.key for one in two.undetermined if one.reason == "contradicted"}


@pytest.mark.slow
def test_a_synthetic_machine_is_recovered_from_its_own_figures():
    truth = {"dram.latency_ns": 125.0, "l3.hit_cycles": 90, "l2.hit_cycles": 24, "device.round_trip_ns": 140.0}
    machine = LX.override(truth)
    cases = shipped_case("v4.19-nvhe"), shipped_case("v5.17-nvhe")
    figures = [
        *(files.latency(size, 1.0, "x", leaf_bytes=leaf, reads=Reads(), beyond_l1d=False)
          for leaf in (4096, 2 << 20) for size in (128 << 10, 256 << 10, 2 << 20, 4 << 20, 32 << 20, 64 << 20)),
        Measured(name="37MB off", kind="relocation", value=1.0, unit="s", source="x", bytes=37_000_000, state="off"),
    ]  # fmt: skip
    model = Model(*cases)
    assert model.arrives("off", machine)
    told = [dataclasses.replace(figure, value=value) for figure, value in
            zip(figures, model.predict(figures, machine), strict=True)]  # fmt: skip
    found = calibrate(told, LX, cases)
    assert {one.key: one.after for one in found.fitted} == pytest.approx(truth, rel=0.06)
    assert (
        max(abs(one.off_after) for one in found.observations)
        < 0.02
        < max(abs(one.off_before) for one in found.observations)
    )
    assert found.contradictions == ()


def test_a_preset_cannot_build_on_itself(tmp_path):
    mine = tmp_path / "mine.toml"
    text = preset_text("stingray", "mine", "t", (), {})
    mine.write_text(text)
    arguments = ["calibrate", "--core", str(mine), "--observed", "37MB=0.35:off", "-o", str(mine)]
    done = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert isinstance(done.exception, InputError)
    assert "build on itself" in str(done.exception)
    assert mine.read_text() == text


def test_a_preset_builds_on_a_file_and_loads_from_anywhere(tmp_path):
    first, second = tmp_path / "first.toml", tmp_path / "deep" / "second.toml"
    second.parent.mkdir()
    text = preset_text("stingray", 'a "name"', "t\\itle", (), {"dram.latency_ns": (80.5, 'said "so"')})
    write_preset(first, text)
    write_preset(second, preset_text("../first.toml", "b", "t", ("l2.hit_cycles",), {"l2.hit_cycles": (21, "x")}))
    core = caches.load_core(second)
    assert (core.dram.latency_ns, core.l2.hit_cycles, core.calibrated) == (80.5, 21, ("l2.hit_cycles",))
    first.write_text('base = "first.toml"\n')
    with pytest.raises(InputError, match="circle"):
        caches.load_core(first)
    first.write_text('base = "gone.toml"\n')
    with pytest.raises(InputError, match=r"gone.toml: cannot be read"):
        caches.load_core(first)
    first.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text"):
        caches.load_core(first)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "at least one measurement"),
        (["--observed", "37MB"], "SIZE=SECONDS"),
        (["--tinymembench", "/no/such"], "cannot be read"),
        (["--lmbench", "/"], "cannot be read"),
        (["--observed", "37MB=0.35:off", "-o", "core"], "must end in .toml"),
        (["--observed", "37MB=0.35:off", "-o", "/no/such/core.toml"], "cannot be written"),
        (["--observed", "37MB=0.35:off", "--error", "0"], "--error"),
        (["--observed", "37MB=0.35:off", "--case", "v5.17-vhe"], "VHE"),
        (["--observed", "37MB=0.35:on", "--case", "rfc-v2-nvhe"], "never copies"),
        (["--observed", "37MB=0.35:off", "--case", "trace:x"], "must be a case"),
    ],
)
def test_bad_input_is_one_line(arguments, said):
    done = CliRunner().invoke(command, ["calibrate", "--core", "stingray", *arguments], standalone_mode=False)
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
