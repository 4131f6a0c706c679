"""Theories without a run: what is believed beforehand, where that comes from, and what is computed from it."""

import io
import json
import math
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import caches
from relocscope.hypotheses import Theories, Theory, likelihood, observation, theories_of
from relocscope.hypotheses.judged import Judged
from relocscope.hypotheses.predict import Line
from relocscope.hypotheses.ranking import same_times
from relocscope.hypotheses.worlds import Setup, Variant, World
from relocscope.render_theories import show_theories
from traces.errors import InputError

ACCURACY = Path(__file__).parents[2] / "docs" / "accuracy.md"
MIB = 1 << 20
UNITS = {"MB/s": 1e6, "ms": 1e-3, "s": 1.0, "ns": 1e-9}


def line(ns_per_byte, **shares):
    sizes = (MIB, 2 * MIB, 3 * MIB)
    return Line(sizes=sizes, seconds_at=tuple(size * ns_per_byte * 1e-9 for size in sizes), bend=0.0, shares=shares)


def judged(off, on, texts, *, free_size=False, name="x", device=0.2):
    setup = Setup(case=None)
    world = World(id=name, variants=(Variant(off=setup, on=setup),), free_size=free_size)
    return Judged(world, [(off, on)], [observation(text) for text in texts], 0.05, {"device": device, "cached": 0.4})


DEVICE, CACHED = line(10, device=1.0), line(1, cached=1.0)


def test_a_range_of_sizes_is_an_uncertain_size():
    seen = observation("25MB..100MB=0.44:off")
    assert seen.size == 50_000_000
    assert seen.size_sigma == pytest.approx(math.log(4) / math.sqrt(12))


@pytest.mark.parametrize(
    "text",
    ["", "=", "37MB=:off", "37MB=0:off", "37MB=inf:on", "37MB=nan:on", "37MB=1e999:on", "37XB=1:on", "0=1:on",
     "65GiB=1:on", "5MB..3MB=1:on", "..3MB=1:on", "5MB..=1:on", "\x00=1:on", "37MB=0,35:off"],
)  # fmt: skip
def test_a_bad_observation_is_refused_in_one_line(text):
    with pytest.raises(InputError) as caught:
        observation(text)
    assert str(caught.value).startswith("--observed: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"observed": []}, "--observed"),
        ({"error": 0.0}, "--error"),
        ({"error": math.nan}, "--error"),
        ({"boot": "el3"}, "--boot"),
        ({"boot": "vhe"}, "VHE"),
        ({"case": "rfc-v1-el1", "boot": "nvhe"}, "--boot says nvhe"),
        ({"core": "no-such"}, "no-such"),
    ],
)
def test_bad_questions_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        theories_of(**{"observed": ["37MB=0.35:off"], "core": "stingray", **options})


def test_every_hypothesis_has_a_prior_a_title_and_a_reason():
    schema = json.loads((resources.files("relocscope") / "schemas" / "theories.json").read_text())
    listed = schema["properties"]["ranked"]["items"]["properties"]["id"]["enum"]
    entries = likelihood.beliefs()["hypothesis"]
    assert sorted(entry["id"] for entry in entries) == sorted(listed)
    assert all(entry["why"] and entry["title"] for entry in entries)
    elsewhere = {boot: likelihood.priors(boot)["copy-at-untranslated-el"] for boot in ("nvhe", "el1", "vhe")}
    assert elsewhere["el1"] == elsewhere["vhe"] < 0.2 * elsewhere["nvhe"]
    for boot in elsewhere:
        assert sum(likelihood.priors(boot).values()) == pytest.approx(1)
        assert min(likelihood.priors(boot).values()) > 0


def logarithms(pattern):
    """Logarithms of the model's figure over the published one, of rows of docs/accuracy.md."""
    found = []
    for row in ACCURACY.read_text().splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) > 3 and re.fullmatch(pattern, cells[0]):
            published, model = (float(cell.split()[0]) * UNITS[cell.split()[1]] for cell in cells[1:3])
            found.append(math.log(model / published))
    return np.array(found)


@pytest.mark.parametrize(
    ("kind", "key", "pattern"),
    [
        ("device", "calibrated", r"T4|T5|T6"),
        ("cached", "sigma", r".*/memcpy(@.*)?|T5-on|T6-on"),
        ("noncacheable", "sigma", r".*/nc-read/.*"),
    ],
)
def test_scales_are_those_of_the_accuracy_page(kind, key, pattern):
    off = logarithms(pattern)
    assert len(off) >= 3
    assert likelihood.beliefs()["scale"][kind][key] == pytest.approx(math.sqrt((off**2).mean()), abs=0.015)


def test_a_calibrated_core_is_surer_of_its_scale_than_an_estimated_one():
    fitted, guessed = (likelihood.scales(caches.core(name))["device"] for name in ("stingray", "lx2160a"))
    low, high = caches.core("lx2160a").provenance["device.round_trip_ns"].estimated
    assert fitted == 0.06
    assert guessed == pytest.approx(math.log(high / low) / 4)


def test_ratios_count_more_than_levels():
    """Both times twice as long is a slow machine; one of them is not."""
    alike = judged(DEVICE, DEVICE, ["1MiB=0.0209715:off", "1MiB=0.0209715:on"]).log_likelihood
    unlike = judged(DEVICE, DEVICE, ["1MiB=0.0209715:off", "1MiB=0.01048576:on"]).log_likelihood
    assert alike > unlike + 20


def test_kinds_of_time_have_scales_of_their_own():
    """Device times that are off say nothing of cached ones."""
    texts = ["1MiB=0.0209715:off", "1MiB=0.00104858:on"]
    own = judged(DEVICE, CACHED, texts).log_likelihood
    shared = judged(DEVICE, line(1, device=1.0), texts).log_likelihood
    assert own > shared + 20


def test_the_likelihood_is_the_normal_density_of_the_logarithms():
    one = judged(DEVICE, CACHED, ["1MiB=0.0209715:off"])
    sigma = math.hypot(0.05, 0.2)
    expected = -0.5 * (math.log(2) / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
    assert one.log_likelihood == pytest.approx(expected, abs=1e-3)
    assert one.deviation == pytest.approx(math.log(2) / sigma, rel=1e-3)


def test_a_misreported_size_is_found_and_costs_its_freedom():
    odd = ["1MiB=0.01048576:off", "4MiB=0.04194304:off", "2MiB=0.03774874:off"]
    free = judged(DEVICE, CACHED, odd, free_size=True)
    fit = free.fit()
    assert fit["label"] == "2MiB"
    assert fit["size"] == pytest.approx(1.8 * 2 * MIB, rel=0.03)
    assert fit["low"] < fit["size"] < fit["high"]
    assert free.log_likelihood > judged(DEVICE, CACHED, odd).log_likelihood + 10
    even = [f"{size}MiB={size * 0.01048576}:off" for size in (1, 4, 2)]
    assert judged(DEVICE, CACHED, even, free_size=True).log_likelihood < judged(DEVICE, CACHED, even).log_likelihood


def test_an_uncertain_size_explains_what_a_certain_one_does_not():
    certain, ranged = (
        judged(DEVICE, CACHED, [f"{size}=0.02:off"], device=0.0).log_likelihood for size in ("1MiB", "512KiB..2MiB")
    )
    assert ranged > certain + 50


def test_those_that_predict_the_same_times_share_a_rank():
    never = Line(sizes=(), seconds_at=(), bend=0.0, shares={})
    lines = {"one": line(10), "far": line(10.6), "near": line(10.4), "never": never}
    each = [judged(line(10), on, ["1MiB=0.01:off", "1MiB=0.01:on"], name=name) for name, on in lines.items()]
    assert [[one.world.id for one in group] for group in same_times(each, 0.05)] == [
        ["one", "near"],
        ["far"],
        ["never"],
    ]


def test_a_line_is_followed_beyond_what_was_run_and_goes_to_nothing():
    measured = Line(sizes=(100, 200, 300), seconds_at=(3.0, 5.0, 7.0), bend=0.0, shares={})
    assert [measured.seconds(size) for size in (50, 100, 250, 300, 1000)] == [1.5, 3.0, 6.0, 7.0, 21.0]


def test_priors_are_shown_with_their_reasons():
    theory = Theory(
        id="expected", rank=1, prior=0.18, why="most changes do", probability=1.0, sentence="It works.", test=None,
        predicted=({"size": 1, "seconds": 2.0, "state": "on"},), deviation=0.0, fit=None,
    )  # fmt: skip
    seen = observation("1MiB=2:on")
    told = Theories(core="c", boot="el1", case="x", error=0.05, observations=(seen,), scales={}, ranked=(theory,))
    out = Console(file=io.StringIO(), width=80)
    show_theories(out, told)
    assert "Prior 18.0%: most changes do" in out.file.getvalue()
    assert told.to_json()["ranked"][0]["why"] == "most changes do"
