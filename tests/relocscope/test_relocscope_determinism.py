"""The same input gives the same output outside `host`: in any process, after any other run, on any processor."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest

import relocscope

CASES = ("v5.17-nvhe", "v4.19-el1", "rfc-v2-el1")
SIZE = "64KiB"


def facts(run):
    """What `run --json` says, as text, without what it says of this host."""
    return json.dumps({key: value for key, value in run.to_json().items() if key != "host"})


@cache
def here(case, **options):
    return facts(relocscope.run(case, size=SIZE, **options))


def elsewhere(case, *options, **environment):
    command = [sys.executable, "-m", "relocscope", "run", case, "--size", SIZE, "--json", "-", *options]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found.pop("host")
    return json.dumps(found)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_another_process_and_another_order_of_hashes(seed):
    assert elsewhere("v5.17-nvhe", PYTHONHASHSEED=seed) == here("v5.17-nvhe")


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_left_over_from_another_run(case):
    first = here(case)
    for other in CASES:
        relocscope.run(other, size=SIZE, core="rpi3", set={"seed": 3})
    assert facts(relocscope.run(case, size=SIZE)) == first


@pytest.mark.slow
def test_the_processor_that_it_was_compiled_for_changes_nothing(tmp_path):
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    for case in CASES:
        assert elsewhere(case, **generic) == here(case)


@pytest.mark.slow
def test_a_sample_is_the_same_everywhere():
    """Its pages are drawn by a seed, and what it scales are floating-point means."""
    mine = facts(relocscope.run("v5.17-el1", size="8MiB", sample=True))
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "PYTHONHASHSEED": "7"}
    assert elsewhere("v5.17-el1", "--size", "8MiB", "--sample", **generic) == mine
