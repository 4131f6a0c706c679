"""The bounded run comes through as much of each reader as it did."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fuzz.drawn import inputs
from fuzz.reached import floors, reached
from fuzz.targets import BY_NAME, TARGETS


def test_every_reader_has_a_floor():
    assert list(floors()) == [target.name for target in TARGETS]


@pytest.mark.slow
def test_no_reader_falls_below_its_floor():
    """In a process of its own: what a reader keeps from an earlier input it does not come through again."""
    command = [sys.executable, "-m", "fuzz", "--reached"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    found = tomllib.loads(done.stdout)
    assert {name: share for name, share in found.items() if share < floors()[name]} == {}
    assert found.keys() == floors().keys()


def test_less_input_reaches_less():
    target = BY_NAME["gdb-packets"]
    assert 0 < reached(target, [b"+"]) < reached(target, inputs(target, 100, 1))
