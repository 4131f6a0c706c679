"""Stepping: a replay that goes to any instruction of its trace, forwards and back, by checkpoints."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

from caches.config import CoreConfig
from caches.inspect import found_in
from caches.replaying import Replay, Saved
from caches.state import State
from traces.trace import Trace

FIRST_SPACING = 1 << 13
"""Executions between two checkpoints, until they take too much memory: then each time twice as many."""

MOST_BYTES = 512 << 20
"""What all checkpoints may take."""


class SteppedReplay:
    """One trace on one core. `go` moves; everything else only looks.

    Every instruction is replayed, also of pages that repeat: what is added up leaves entries of calendars that can
    matter no more, and here the state itself is to be the same, however it was reached.
    """

    def __init__(self, trace: Trace, config: CoreConfig, **options: Any) -> None:
        self.replay = Replay(trace, config, steady=False, **options)
        self._spacing = FIRST_SPACING
        self._saved: list[Saved] = [self.replay.save()]

    @property
    def place(self) -> tuple[int, int]:
        """The execution that is next or under way, and how many of its instructions have been replayed."""
        return self.replay.at, self.replay.inside

    @property
    def state(self) -> State:
        """The machine as it is here; to be looked at only."""
        return self.replay.state

    def found_in(self, pa: int) -> str:
        """Name the nearest level where a read of data at that address would hit, or `dram`."""
        return found_in(self.replay.state, pa)

    def go(self, execution: int, insns: int = 0) -> None:
        """Stand before that instruction."""
        replay = self.replay
        if (execution, insns) < self.place or (replay.inside and execution > replay.at):
            self._back(execution)
        while replay.at < execution:
            replay.advance(min(execution, (replay.at // self._spacing + 1) * self._spacing))
            if replay.at % self._spacing == 0 and replay.at > self._saved[-1].at:
                self._keep()
        while replay.inside < insns:
            replay.step()

    def _back(self, execution: int) -> None:
        self.replay.restore(self._saved[bisect_right(self._saved, execution, key=lambda saved: saved.at) - 1])

    def _keep(self) -> None:
        self._saved.append(self.replay.save())
        if sum(saved.bytes for saved in self._saved) > MOST_BYTES:
            self._spacing *= 2
            self._saved = [saved for saved in self._saved if saved.at % self._spacing == 0]

    def first_at_cycle(self, cycle: int) -> tuple[int, int]:
        """Return the first place before which at least that many cycles have passed, or the end; and move there."""
        replay, end = self.replay, len(self.replay.trace.executions)
        before = self._saved[max(bisect_left(self._saved, cycle, key=_cycles_at) - 1, 0)]
        replay.restore(before)
        while replay.cycles < cycle and replay.at < end:
            before = replay.save()
            self.go(min(replay.at + self._spacing, end))
        if replay.cycles < cycle:
            return self.place
        low, high = before.at, replay.at
        while high - low > 1:
            replay.restore(before)
            replay.advance((low + high) // 2)
            if replay.cycles >= cycle:
                high = replay.at
            else:
                low, before = replay.at, replay.save()
        replay.restore(before)
        while replay.cycles < cycle:
            replay.step()
        return self.place

    def next_change(self, count: "Count", place: tuple[int, int], end: tuple[int, int]) -> tuple[int, int] | None:
        """Move to before the first instruction, from `place` on, that changes a count, and return where it is.

        None, and at `end` or a little after it, where none before `end` does.
        """
        replay = self.replay
        self.go(*place)
        was = count(replay)
        window = 1
        while self.place < end:
            saved, at = replay.save(), self.place
            one = window == 1 or replay.inside > 0 or replay.at == end[0]
            if one:
                replay.step()
            else:
                self.go(min(end[0], replay.at + window))
            if count(replay) == was:
                window = min(2 * window, self._spacing) if not replay.inside else 1
                continue
            replay.restore(saved)
            if one:
                return at
            window //= 2
        return None

    def last_change(
        self, count: "Count", place: tuple[int, int], begin: tuple[int, int] = (0, 0)
    ) -> tuple[int, int] | None:
        """Move to before the last instruction before `place` that changes a count, and return where it is.

        None, and at `begin`, where none from `begin` on does.
        """
        self.go(*place)
        while self.place > begin:
            stop = self.place
            start = max(begin, *((saved.at, 0) for saved in self._saved if (saved.at, 0) < stop))
            found = self._last_between(count, start, stop)
            if found is not None:
                return found
            self.go(*start)
        return None

    def _last_between(self, count: "Count", begin: tuple[int, int], stop: tuple[int, int]) -> tuple[int, int] | None:
        """Do the same between two places."""
        last = self._counted(count, stop)
        if self._counted(count, begin) == last:
            return None
        low, high = begin, stop[0] + 1
        while high - low[0] > 1:
            middle = (low[0] + high) // 2
            if self._counted(count, (middle, 0)) != last:
                low = middle, 0
            else:
                high = middle
        self.go(*low)
        found = low
        while count(self.replay) != last:
            found = self.place
            self.replay.step()
        self.go(*found)
        return found

    def _counted(self, count: "Count", place: tuple[int, int]) -> int:
        self.go(*place)
        return count(self.replay)


Count = Callable[[Replay], int]
"""A count of events of a replay, that never falls."""


def _cycles_at(saved: Saved) -> int:
    return int(saved.arrays["words"]["retire"][0])
