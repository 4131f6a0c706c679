"""No damaged input makes a reader do anything but refuse it in one line: a bounded run of every target of `fuzz`."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import edits
from fuzz.attempt import attempt
from fuzz.targets import TARGETS, Target, damaged, scratch

BY_NAME = [pytest.param(target, id=target.name) for target in TARGETS]
QUICK_INPUTS = 40

EDITS = st.lists(
    st.builds(edits.Edit, st.integers(0, 255), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1)),
    max_size=edits.MOST_EDITS,
)


@pytest.fixture(autouse=True)
def _there():
    """What the stepper's commands write goes to the scratch directory."""
    before = os.getcwd()  # noqa: PTH109
    os.chdir(scratch())
    yield
    os.chdir(before)


def explore(target: Target, inputs: int) -> None:
    seeds = target.seeds()

    @settings(max_examples=inputs, deadline=None, database=None, derandomize=True, print_blob=False,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.integers(0, len(seeds) - 1), EDITS)
    def explored(seed: int, changes: list[edits.Edit]) -> None:
        data = damaged(target, seeds[seed], changes, seeds)
        failure = attempt(target, data)
        if failure is not None:
            raise AssertionError(f"{target.name}: {failure.what}: {data!r:.300}") from failure.cause

    explored()


@pytest.mark.parametrize("target", BY_NAME)
def test_seeds_are_read(target: Target):
    for data in target.seeds():
        target.read(data)


@pytest.mark.parametrize("target", BY_NAME)
def test_damaged_input_is_refused_in_one_line(target: Target):
    explore(target, QUICK_INPUTS // 5 if target.is_slow else QUICK_INPUTS)


@pytest.mark.slow
@pytest.mark.parametrize("target", BY_NAME)
def test_much_damaged_input_is_refused_in_one_line(target: Target):
    explore(target, 200 if target.is_slow else 1000)
