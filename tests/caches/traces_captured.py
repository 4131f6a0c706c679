"""Traces of real runs of the shipped cases, made small; each is captured once a test session."""

from functools import cache

from relocscope.case import override, shipped_case
from relocscope.emulate import emulate


@cache
def captured(name, pages=4, **changes):
    return emulate(override(shipped_case(name), {"size": f"{4 * pages}KiB"} | changes))
