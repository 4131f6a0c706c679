"""Break-even: the size of the image from which on one side's set-up pays, found by runs at sizes.

Set-up (page tables to build, a list to flush) is paid before the first byte is copied, so that which side is the faster
one may depend on how much is copied.
"""

from collections.abc import Callable
from dataclasses import dataclass

from relocscope import phases
from relocscope.operand import with_settings
from relocscope.runs import Run, run_operand
from traces.schema import Phase
from traces.sizes import size_text

PRECISION = 0.02
"""Share of the size to which it is found, where that is more than a page."""

MOST_RUNS = 12
"""Sizes at which both sides are run, at most."""

_WITH_PURGATORY_PAGES = 16
"""Of the smallest default image that has all of kernel, initrd, dtb and purgatory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Both sides at one size."""

    bytes: int
    a_seconds: float
    b_seconds: float

    @property
    def gained(self) -> float:
        """How much less time B takes than A."""
        return self.a_seconds - self.b_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakEven:
    """Where the two sides cross: B is on the other side of A at `bytes` than just below; None where they never do.

    `points` are the sizes that were run, ascending.
    """

    bytes: int | None
    sentence: str
    points: tuple[Point, ...]


def matters(a: Run, b: Run) -> bool:
    """Whether set-up cost is among what these runs paid, and other sizes can be run."""
    if a.operand is None or b.operand is None or not a.outcome == b.outcome == "completed":
        return False
    cases = [run.operand.case for run in (a, b) if run.operand]
    if any(case is None or case.segments or case.kdump for case in cases) or a.image_bytes != b.image_bytes:
        return False
    return any(phase["name"] in phases.SET_UP for run in (a, b) for phase in run.phases)


def break_even(a: Run, b: Run, progress: Callable[[int, int], None] | None = None) -> BreakEven | None:
    """Look for the crossing between the least size and the one that was run; None where set-up does not matter."""
    if not matters(a, b):
        return None
    page = max(run.image_bytes // run.pages for run in (a, b))
    points = {a.image_bytes // page: Point(bytes=a.image_bytes, a_seconds=a.seconds, b_seconds=b.seconds)}
    low, high = _least(a, b), a.image_bytes // page

    def at(pages: int) -> Point:
        if pages not in points:
            points[pages] = _point(a, b, pages * page)
            if progress:
                progress(min(len(points), MOST_RUNS), MOST_RUNS)
        return points[pages]

    crosses = (at(low).gained > 0) != (at(high).gained > 0)
    while crosses and len(points) < MOST_RUNS and high - low > _step(high):
        middle = _between(low, at(low).gained, high, at(high).gained)
        if (at(middle).gained > 0) == (at(low).gained > 0):
            low = middle
        else:
            high = middle
    ran = tuple(points[pages] for pages in sorted(points))
    if not crosses:
        return BreakEven(bytes=None, sentence=_never(ran), points=ran)
    return BreakEven(bytes=points[high].bytes, sentence=_crossing(points[low], points[high]), points=ran)


def _least(a: Run, b: Run) -> int:
    """Return the pages of the smallest image: one, or what has a segment for the purgatory."""
    hashed = any(phase["name"] == Phase.PURGATORY.label for run in (a, b) for phase in run.phases)
    return _WITH_PURGATORY_PAGES if hashed else 1


def _step(pages: int) -> int:
    return max(1, int(PRECISION * pages / 2))


def _between(low: int, of_low: float, high: int, of_high: float) -> int:
    """Guess where a straight line would cross, but leave a step on either side, so that the bracket closes."""
    guess = low + round((high - low) * abs(of_low) / (abs(of_low) + abs(of_high)))
    step = _step(high)
    return min(max(guess, low + step), high - step) if high - low > 2 * step else (low + high) // 2


def _point(a: Run, b: Run, size: int) -> Point:
    seconds = [
        run_operand(with_settings(run.operand, {"size": size})).seconds for run in (a, b) if run.operand is not None
    ]
    return Point(bytes=size, a_seconds=seconds[0], b_seconds=seconds[1])


def _size(size: int) -> str:
    return size_text(size) if size < 1 << 20 else f"{size / (1 << 20):.2f}MiB"


def _at(point: Point) -> str:
    return f"at {_size(point.bytes)} A takes {point.a_seconds * 1e3:.3f} ms and B {point.b_seconds * 1e3:.3f} ms"


def _crossing(below: Point, from_on: Point) -> str:
    who, other = ("B", "A") if from_on.gained > 0 else ("A", "B")
    return (
        f"{who}'s set-up pays from {_size(from_on.bytes)} on; below, {other} is the faster one: "
        f"{_at(below)}, {_at(from_on)}"
    )


def _never(points: tuple[Point, ...]) -> str:
    first, last = points[0], points[-1]
    who = "B" if last.gained > 0 else "A"
    return f"{who} is the faster one at every size from {_size(first.bytes)} to {_size(last.bytes)}: {_at(first)}"
