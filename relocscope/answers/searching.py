"""Searching: how far along a path a time is first reached.

A search is a generator: it yields the settings that it wants timed (by a sample, or in full) and is sent their times,
so that many searches go on side by side. Nothing is taken to be monotone: a path is scanned, the first place that
reaches the target is closed in on, and what lies before that is looked at again, more finely. Where it is said to be
reached, and just before, was timed in full.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from relocscope.answers.paths import Path, Settings

SAMPLE_OFF = 1.05
"""A sample that is farther than that above the target is not asked in full (docs/sampling.md)."""

RISES = 1.005
"""Times that rise by more than that along a path do not fall evenly."""

LOOKS = 3
"""How often what lies before a place that reaches the target is looked at more finely."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Settings to be timed."""

    settings: Settings
    in_full: bool


Times = list[float | None]
"""Seconds, in the order asked; None where it cannot be or does not arrive."""

Search = Generator[list[Ask], Times, "Found"]


@dataclass(slots=True)
class Found:
    """What became of a path."""

    path: Path
    best: float | None = None
    """Where it takes the shortest, if it reaches the target nowhere; None where nothing changes, or nothing arrives."""
    best_seconds: float | None = None
    """There, by a sample."""
    reached: float | None = None
    """The first place that reaches the target."""
    seconds: float | None = None
    short: float = 0.0
    """The last place before it, which does not; 0: as it is."""
    short_seconds: float | None = None
    until: float | None = None
    """The last scanned place that still reaches it, if not the end of the path."""
    evenly: bool = True
    """Nowhere along the path did the time rise."""


@dataclass(slots=True)
class _Walk:
    """One search in the middle: what is known of the path by now."""

    path: Path
    target: float
    marks: dict[float, float | None] = field(default_factory=dict)
    """Seconds at places, by a sample."""
    full: dict[float, float | None] = field(default_factory=dict)

    def scan(self, places: Sequence[float]) -> Generator[list[Ask], Times, None]:
        """Time places by samples."""
        new = [place for place in places if place not in self.marks]
        if new:
            times = yield [Ask(self.path.at(place), in_full=False) for place in new]
            self.marks.update(zip(new, times, strict=True))

    def exact(self, place: float) -> Generator[list[Ask], Times, float | None]:
        """Time a place in full."""
        if place not in self.full:
            (self.full[place],) = yield [Ask(self.path.at(place), in_full=True)]
        return self.full[place]

    def first(self, places: Iterable[float]) -> Generator[list[Ask], Times, float | None]:
        """Return the first of the places that reaches the target, in full."""
        for place in places:
            about = self.marks.get(place)
            if place in self.full or (about is not None and about <= self.target * SAMPLE_OFF):
                seconds = yield from self.exact(place)
                if seconds is not None and seconds <= self.target:
                    return place
        return None

    def close_in(self, near: float, far: float) -> Generator[list[Ask], Times, tuple[float, float]]:
        """Halve what lies between a place that does not reach the target and one that does, until they are close."""
        while (middle := (yield from self.middle(near, far))) is not None:
            reaches = (self.full[middle] or 0.0) <= self.target
            near, far = (near, middle) if reaches else (middle, far)
        if near:
            seconds = yield from self.exact(near)
            if seconds is not None and seconds <= self.target:  # the sample had it wrong
                return (yield from self.close_in(self.before(near), near))
        return near, far

    def middle(self, near: float, far: float) -> Generator[list[Ask], Times, float | None]:
        """Time a place between two, and return it; where the middle cannot be, one to either side of it."""
        middle = self.path.between(near, far)
        if middle is None:
            return None
        for place in (middle, self.path.between(middle, far), self.path.between(near, middle)):
            if place is not None and (yield from self.exact(place)) is not None:
                return place
        return None

    def before(self, place: float) -> float:
        """Return the last place before this one that was timed; 0 where there is none."""
        return max((each for each in self.marks if each < place and self.marks[each] is not None), default=0.0)


def search(path: Path, usual_seconds: float, usual_sampled: float, target_seconds: float) -> Search:
    """Look for the first place of a path that takes no longer than `target_seconds`; as it is, it takes longer.

    `usual_sampled`: what it takes as it is, by a sample.
    """
    walk, found, stops = _Walk(path, target_seconds), Found(path), path.stops
    if not stops:
        return found
    few = stops if path.is_listed else list(dict.fromkeys([stops[0], stops[len(stops) // 2], stops[-1]]))
    yield from walk.scan(few)
    if all(seconds is None or seconds == usual_sampled for seconds in walk.marks.values()):
        return found
    yield from walk.scan(stops)
    far = yield from walk.first(stops)
    for _ in range(LOOKS):
        if far is None:
            break
        found.short, found.reached = yield from walk.close_in(walk.before(far), far)
        before = [0.0, *sorted(place for place in walk.marks if place < found.short), found.short]
        finer = [middle for pair in pairwise(before) if (middle := path.between(*pair)) is not None]
        yield from walk.scan(finer)
        far = yield from walk.first(finer)
    if far is not None:
        found.short, found.reached = yield from walk.close_in(walk.before(far), far)
    yield from _tell(walk, found, stops, (usual_seconds, usual_sampled))
    return found


def _tell(
    walk: _Walk, found: Found, stops: Sequence[float], usual: tuple[float, float]
) -> Generator[list[Ask], Times, None]:
    """State what was found: times in full, how far it holds, whether the time falls evenly."""
    arrived = [(place, seconds) for place, seconds in sorted(walk.marks.items()) if seconds is not None]
    found.evenly = all(two <= one * RISES for (_, one), (_, two) in pairwise([(0.0, usual[1]), *arrived]))
    if found.reached is None:
        found.best, found.best_seconds = min(arrived, key=lambda one: one[1])
        return
    found.seconds = yield from walk.exact(found.reached)
    found.short_seconds = usual[0] if not found.short else (yield from walk.exact(found.short))
    for place in stops:
        seconds = walk.marks[place]
        if place <= found.reached or seconds is None:
            continue
        if abs(seconds / walk.target - 1) < SAMPLE_OFF - 1:
            seconds = yield from walk.exact(place)
        if seconds is None or seconds > walk.target:
            found.until = found.until or found.reached
            return
        found.until = place
    found.until = None
