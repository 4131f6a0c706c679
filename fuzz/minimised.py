"""Minimised: the shortest input found within some seconds that fails in the same way."""

import time

from fuzz.attempt import Failure, attempt
from fuzz.drawn import kind
from fuzz.targets import Target

LONGEST_SECONDS = 20.0


def minimised(target: Target, failure: Failure, *, seconds: float = LONGEST_SECONDS) -> Failure:
    """Leave out halves, quarters, ... bytes, as long as the kind of failure stays."""
    until, shortest = time.monotonic() + seconds, failure
    piece = len(failure.data) // 2
    while piece:
        at = 0
        while at < len(shortest.data):
            if time.monotonic() > until:
                return shortest
            again = attempt(target, shortest.data[:at] + shortest.data[at + piece :])
            if again is not None and kind(again) == kind(failure):
                shortest = again
            else:
                at += piece
        piece //= 2
    return shortest
