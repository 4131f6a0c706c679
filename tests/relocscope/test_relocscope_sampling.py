"""`--sample`: what its interval says, and that it is said."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import relocscope
from caches.warming import Pages
from relocscope.sampling import ALLOWANCE, REPLAYED_PAGES, STUDENT_T, UNITS, _executed, _half_interval, units_of
from traces.fold import CopySite

SCHEMA = Path(relocscope.__file__).parent / "schemas" / "run.json"
SITE = CopySite(first=0, last=0, epoch=0, block=0, insn=0, stored_bytes=6000 << 12)


def test_units_lie_apart_in_their_order_and_stand_for_the_whole_copy():
    starts = np.arange(6000) * 131 + 50
    starts[511:] += 4  # a page that is not like the others lies between
    pages, site = Pages(131, starts), replace(SITE, first=50, last=int(starts[-1]) + 130)
    for settling in (700, 6000):
        units = units_of(pages, site, settling, 16)
        assert len(units) == UNITS
        assert all(one.stop + REPLAYED_PAGES <= other.first for one, other in pairwise(units))
        assert all(starts[unit.stop] - starts[unit.first] == 16 * 131 for unit in units)
        assert sum(unit.weight for unit in units) * 16 * 131 == pytest.approx(site.last + 1 - site.first)
    assert sum(unit.stop <= 700 for unit in units_of(pages, site, 700, 16)) == UNITS // 2


def test_the_interval_is_of_neighbours_and_allows_for_what_warming_misses():
    weights = np.full(UNITS, 10.0)
    even, drifting = np.full(UNITS, 1000.0), np.linspace(1000, 1300, UNITS)
    assert _half_interval(weights, even, ALLOWANCE) == pytest.approx(ALLOWANCE * weights @ even)
    jumping = np.random.default_rng(1).permutation(drifting)
    assert _half_interval(weights, drifting, ALLOWANCE) < _half_interval(weights, jumping, ALLOWANCE) / 2
    assert _half_interval(weights, jumping, ALLOWANCE) > STUDENT_T * 10 * 50 * np.sqrt(UNITS)


def test_instructions_are_counted_not_scaled():
    run = relocscope.run("v5.17-nvhe", size="64KiB")
    assert run.trace is not None
    assert run.costs is not None
    assert np.array_equal(_executed(run.trace), run.costs.insn_count)


def test_a_run_in_full_has_no_interval():
    assert relocscope.run("v5.17-nvhe", size="64KiB", sample=True).to_json()["sampled"] is None


@pytest.mark.slow
@pytest.mark.parametrize("core", ["stingray", "thunderx2", "rk3328"])
@pytest.mark.parametrize("case", ["v4.19-el1", "rfc-v2-nvhe-xn-clear"])
def test_the_interval_holds_the_exact_time(case: str, core: str):
    whole, sampled = relocscope.run(case, core=core), relocscope.run(case, core=core, sample=True)
    assert sampled.sampled is not None
    low, high = sampled.sampled["interval"]
    assert low <= whole.seconds <= high
    assert low < sampled.seconds < high
    assert sampled.seconds == pytest.approx(whole.seconds, rel=0.015)
    assert (high - low) / whole.seconds < 0.07
    assert sampled.instructions == whole.instructions
    assert sampled.costs is not None
    assert whole.costs is not None
    assert len(sampled.costs.dirty_lines) == pytest.approx(len(whole.costs.dirty_lines), rel=0.05, abs=50)


@pytest.mark.slow
def test_a_sampled_run_says_so_in_text_and_json(tmp_path: Path):
    target = tmp_path / "run.json"
    command = [sys.executable, "-m", "relocscope", "run", "v5.17-nvhe", "--sample", "--json", str(target)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "from a sample: between" in said.stdout
    document = json.loads(target.read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["sampled"]["pages"] == 6400
