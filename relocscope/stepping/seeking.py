"""Seeking: the first of several stops ahead, or the last behind, a stretch at a time, so that a person may break in."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from relocscope.stepping.session import Session
from relocscope.stepping.stops import Stop

_FIRST_STRETCH, _LAST_STRETCH = 1 << 12, 1 << 19
"""Instructions that are looked at between two questions whether to go on; doubled each time that nothing is found."""


class Reached(NamedTuple):
    """Where a search ended: at a stop (its index), or at the end of the run, or where it was broken off."""

    number: int
    stop: int | None = None
    interrupted: bool = False


def ahead(session: Session, stops: Sequence[Stop], start: int, interrupted: Callable[[], bool]) -> Reached:
    """Return the first instruction from `start` on that any of the stops is for, or the end of the run.

    The model may be left elsewhere.
    """
    end, stretch = session.timeline.end, _FIRST_STRETCH
    while start < end and stops:
        until = min(start + stretch, end)
        found = [(stop.after(session, start, until), index) for index, stop in enumerate(stops)]
        there = [(number, index) for number, index in found if number is not None]
        if there:
            return Reached(*min(there))
        if interrupted():
            return Reached(until, interrupted=True)
        start, stretch = until, min(2 * stretch, _LAST_STRETCH)
    return Reached(end)


def behind(session: Session, stops: Sequence[Stop], number: int, interrupted: Callable[[], bool]) -> Reached:
    """Return the last instruction before `number` that any of the stops is for, or the start of the run; as `ahead`."""
    stretch = _FIRST_STRETCH
    while number > 0 and stops:
        since = max(0, number - stretch)
        found = [(stop.before(session, number, since), index) for index, stop in enumerate(stops)]
        there = [(at, index) for at, index in found if at is not None]
        if there:
            return Reached(*max(there))
        if interrupted():
            return Reached(since, interrupted=True)
        number, stretch = since, min(2 * stretch, _LAST_STRETCH)
    return Reached(0)
