"""The bounded run comes through as much of each reader as it did."""

import pytest

from fuzz.__main__ import inputs
from fuzz.reached import INPUTS, floors, reached
from fuzz.targets import BY_NAME, TARGETS


def test_every_reader_has_a_floor():
    assert list(floors()) == [target.name for target in TARGETS]


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_no_reader_falls_below_its_floor(name):
    target = BY_NAME[name]
    assert reached(target, inputs(target, INPUTS // 10 if target.is_slow else INPUTS, 1)) >= floors()[name]


def test_less_input_reaches_less():
    target = BY_NAME["gdb-packets"]
    assert 0 < reached(target, [b"+"]) < reached(target, inputs(target, 100, 1))
