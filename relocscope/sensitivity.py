"""Sensitivity: what the numbers of a core that are only estimated do to a comparison's speed-up and verdict.

Every estimate is moved over its range on short slices of both runs; the verdict is judged anew each time. What matters
most, and whatever changes the verdict, is then looked at in the whole runs. A verdict that no range changes is asked
what it would take: the numbers that move the speed-up most are followed beyond their ranges. Where a verdict names the
largest contribution, that is the one of the runs as they are.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from relocscope.contributions import Decomposition, attribute, pieces
from relocscope.quantities import number_text
from relocscope.ranges import Estimate, between, estimates, is_whole, moved, responses
from relocscope.runs import Run
from relocscope.verdict import judge

if TYPE_CHECKING:
    from caches import CoreConfig
    from traces.trace import Trace

SLICE_EXECUTIONS = 1 << 12
"""Executions of a slice: some 30 pages of a copy, which meets each of them for the first time."""

LISTED = 5
"""Numbers reported: those that move the speed-up most."""

CONFIRMED = 3
"""Numbers that change the verdict which are looked at in the whole runs: those that move the speed-up most."""

MOVES = 0.01
"""Share of the speed-up that a number must move to be listed or followed."""

FOLLOWED, STRIDE, STRIDES, HALVINGS = 3, 4, 6, 6
"""Numbers followed beyond their ranges, by what factor at a time and how often, and steps of each bisection."""

Stack = tuple[int, ...]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class At:
    """The comparison with one number at another value."""

    value: Any
    speedup: float
    cause: str
    in_full: float | None = None
    """The speed-up that the whole runs have there; None where only slices were looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One estimated number that moves the speed-up, and the comparison at its other values."""

    key: str
    """`a.` or `b.` before it where the two sides have different cores."""
    value: Any
    span: tuple[Any, ...]
    at: tuple[At, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Flip:
    """The value of a number from which on the verdict is another one, or the choice that makes it another one."""

    key: str
    value: Any
    times: float | None
    """How many times what it is taken to be; None of a number taken to be 0."""
    cause: str
    confirmed: bool = False
    """The whole runs have another verdict, too; else only slices were looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """What the estimates leave open of a comparison."""

    estimated: int
    """Numbers of the core (of both, where they differ) that are estimated."""
    moving: int
    """Of these, how many change what one of the runs costs at all."""
    low: float | None
    high: float | None
    """Between what the speed-up lies, all estimates taken as independent; None where there is no speed-up."""
    numbers: tuple[Number, ...]
    flips: tuple[Flip, ...]
    """Within the ranges; none that the whole runs were asked about and deny."""
    beyond: Flip | None
    """Beyond them; looked for only where nothing within them changes the verdict."""
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return the object of `explain --json`."""
        return dataclasses.asdict(self)


class Side:
    """One run, and what it becomes on another core, by slices or in full."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._slices: dict[CoreConfig, Stack] = {}

    @cached_property
    def _pieces(self) -> list[tuple["Trace", float]]:
        """What is replayed, and how much of the whole run a cycle of it stands for."""
        found = pieces(self.run, SLICE_EXECUTIONS)
        return [(one.trace, one.cycles / max(1, sum(self._replayed(one.trace, self.run.config)))) for one in found]

    def slices(self, config: "CoreConfig") -> Stack:
        """Return the cycle stack of the whole run as its slices have it on that core."""
        if config not in self._slices:
            total = [0.0] * len(self.run.cycle_stack)
            for trace, scale in self._pieces:
                for at, cycles in enumerate(self._replayed(trace, config)):
                    total[at] += cycles * scale
            self._slices[config] = tuple(map(round, total))
        return self._slices[config]

    def at(self, config: "CoreConfig") -> Run:
        """Return the run with what the slices say that it costs on that core."""
        if config == self.run.config:
            return self.run
        changes = zip(self.slices(config), self.slices(self.run.config), self.run.cycle_stack.values(), strict=True)
        return _costing(self.run, [max(0, usual + new - old) for new, old, usual in changes])

    def in_full(self, config: "CoreConfig") -> Run:
        """Return the run on that core."""
        return self.run if config == self.run.config else _costing(self.run, self._replayed(self.run.trace, config))

    def _replayed(self, trace: "Trace", config: "CoreConfig") -> list[int]:
        from caches import replay

        return list(replay(trace, config, initial=self.run.initial, seed=self.run.seed).cycle_stack.values())


def _costing(run: Run, stack: list[int]) -> Run:
    cycles = max(1, sum(stack))
    return dataclasses.replace(
        run,
        cycles=cycles,
        seconds=cycles / run.costs.frequency_hz,
        cycle_stack=dict(zip(run.cycle_stack, stack, strict=True)),
    )


class Question:
    """Two runs, and the numbers that may be moved under both of them, or under the one whose core has them."""

    def __init__(self, a: Run, b: Run, attributed: Callable[[], Decomposition] | None = None) -> None:
        self.sides = Side(a), Side(b)
        self.usual = a.seconds / b.seconds
        # Which group contributes most is asked of the runs as they are: what a number makes of that is not looked for.
        self._attributed = attributed or cache(lambda: attribute(a, b))
        self.cause = self._judged(a, b)
        self._one_core = a.config.name == b.config.name
        self.subjects: dict[str, dict[int, Estimate]] = {}
        for side, run in enumerate((a, b)):
            for one in estimates(run.config):
                self.subjects.setdefault(self._label(side, one.key), {})[side] = one

    def _judged(self, a: Run, b: Run) -> str:
        return judge(a, b, self._attributed).cause

    def _label(self, side: int, key: str) -> str:
        return key if self._one_core else f"{'ab'[side]}.{key}"

    def moving(self, progress: Progress | None) -> dict[str, tuple[Any, ...]]:
        """Return the numbers that change what one of the runs costs, and at which of their other values."""
        found: dict[str, dict[Any, None]] = {}
        for number, side in enumerate(self.sides):
            mine = [each[number] for each in self.subjects.values() if number in each]

            def step(done: int, total: int, before: int = number) -> None:
                if progress:
                    progress(before * total + done, 2 * total)

            for one in responses(side.run.config, side.slices, mine, step):
                found.setdefault(self._label(number, one.estimate.key), {})[one.value] = None
        return {label: tuple(values) for label, values in found.items()}

    def at(self, label: str, value: Any, *, in_full: bool = False) -> At | None:
        """Return the comparison with that number at that value; None where that makes no core."""
        runs: list[Run] = []
        for number, side in enumerate(self.sides):
            config = side.run.config
            if number in self.subjects[label]:
                changed = moved(config, {self.subjects[label][number].key: value})
                if changed is None:
                    return None
                config = changed
            runs.append(side.in_full(config) if in_full else side.at(config))
        return At(value=value, speedup=runs[0].seconds / runs[1].seconds, cause=self._judged(*runs))

    def timeless(self) -> bool:
        """Whether the verdict is the same whatever the times are."""
        a, b = (side.run for side in self.sides)
        return all(
            self._judged(dataclasses.replace(a, seconds=b.seconds * times), b) == self.cause for times in (0.1, 1, 10)
        )

    def estimate(self, label: str) -> Estimate:
        """Return what the number is taken to be, and its range."""
        return next(iter(self.subjects[label].values()))


def sensitivity(
    a: Run,
    b: Run,
    progress: Progress | None = None,
    *,
    attributed: Callable[[], Decomposition] | None = None,
) -> Sensitivity:
    """Find what the estimates of the core do to the comparison of two runs. `attributed` decomposes the difference."""
    question = Question(a, b, attributed)
    if not a.outcome == b.outcome == "completed" or a.site is None or b.site is None:
        return _without_times(question)
    moving = question.moving(progress)
    numbers: list[Number] = []
    for label, values in moving.items():
        one = question.estimate(label)
        at = tuple(found for found in (question.at(label, value) for value in values) if found is not None)
        numbers.append(Number(key=label, value=one.value, span=one.span, at=at))
    numbers.sort(key=lambda one: -_swing(one, question.usual))
    low, high = between(question.usual, [(one.key, at.speedup) for one in numbers for at in one.at])
    sampled = any(run.operand is not None and run.operand.sample for run in (a, b))
    if not sampled and numbers and _swing(numbers[0], question.usual) > MOVES:
        numbers[0] = _in_full(question, numbers[0])
    flips = _flips(question, numbers, 0 if sampled else CONFIRMED)
    listed = [one for one in numbers if _swing(one, question.usual) > MOVES][:LISTED]
    beyond = None if flips or question.timeless() else _beyond(question, _followable(question, listed))
    return Sensitivity(
        estimated=len(question.subjects),
        moving=len(moving),
        low=low,
        high=high,
        numbers=tuple(listed),
        flips=tuple(flips),
        beyond=beyond,
        sentence=_sentence(question, flips, beyond, listed),
    )


def _without_times(question: Question) -> Sensitivity:
    said = "The verdict is none of times: no number of the core has a part in it."
    count = len(question.subjects)
    return Sensitivity(estimated=count, moving=0, low=None, high=None, numbers=(), flips=(), beyond=None, sentence=said)


def _swing(number: Number, usual: float) -> float:
    return max((abs(math.log(at.speedup / usual)) for at in number.at), default=0.0)


def _in_full(question: Question, number: Number) -> Number:
    """Look at the end of its range that moves the speed-up most in the whole runs."""
    farthest = max(number.at, key=lambda at: abs(math.log(at.speedup / question.usual)))
    whole = question.at(number.key, farthest.value, in_full=True)
    checked = dataclasses.replace(farthest, in_full=whole.speedup if whole else None)
    return dataclasses.replace(number, at=tuple(checked if at is farthest else at for at in number.at))


def _flips(question: Question, numbers: Sequence[Number], in_full: int) -> list[Flip]:
    """Find the numbers that change the verdict within their ranges; the first few are asked of the whole runs."""
    found: list[Flip] = []
    for number in numbers:
        far = next((at for at in number.at if at.cause != question.cause), None)
        if far is None:
            continue
        look = in_full > 0
        in_full -= 1
        whole = question.at(number.key, far.value, in_full=True) if look else far
        if whole is None or whole.cause == question.cause:
            continue
        if question.estimate(number.key).is_number:
            flip = _crossing(question, number.key, number.value, far)
        else:
            flip = Flip(key=number.key, value=far.value, times=None, cause=whole.cause)
        found.append(dataclasses.replace(flip, confirmed=look))
    return found


def _crossing(question: Question, label: str, near: Any, far: At) -> Flip:
    """Find the value between `near`, where the verdict is the usual one, and `far`, where it is not, by bisection."""
    usual, whole = question.estimate(label).value, is_whole(question.estimate(label).key)
    for _ in range(HALVINGS):
        between_them = math.sqrt(near * far.value) if near * far.value > 0 else (near + far.value) / 2
        middle = round(between_them) if whole else between_them
        found = question.at(label, middle) if middle not in (near, far.value) else None
        if found is None:
            break
        if found.cause == question.cause:
            near = middle
        else:
            far = found
    return Flip(key=label, value=far.value, times=far.value / usual if usual else None, cause=far.cause)


def _beyond(question: Question, numbers: Sequence[Number]) -> Flip | None:
    """Follow numbers, those first that move the speed-up most, until one of them changes the verdict."""
    for number in numbers[:FOLLOWED]:
        ends = (max(number.span), STRIDE), (min(number.span), 1 / STRIDE)
        ways = [_followed(question, number, end, factor) for end, factor in ends]
        found = [flip for flip in ways if flip is not None]
        if found:
            return min(found, key=lambda flip: abs(math.log(flip.times)) if flip.times else math.inf)
    return None


def _followable(question: Question, numbers: Sequence[Number]) -> list[Number]:
    """Return those that have a range; a choice has nothing beyond it, nor has a size that is written as text."""
    return [one for one in numbers if question.estimate(one.key).is_number and all(map(_is_number, one.span))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _followed(question: Question, number: Number, end: float, factor: float) -> Flip | None:
    """Make it larger or smaller, from the end of its range on, until the verdict is another one."""
    near, whole = end, is_whole(question.estimate(number.key).key)
    for _ in range(STRIDES):
        value = round(near * factor) if whole else near * factor
        at = question.at(number.key, value) if value != near else None
        if at is None:
            return None
        if at.cause != question.cause:
            return _crossing(question, number.key, near, at)
        near = value
    return None


def _sentence(question: Question, flips: Sequence[Flip], beyond: Flip | None, listed: Sequence[Number]) -> str:
    if flips:
        named = [f"{flip.key} at {number_text(flip.value)} makes it {flip.cause}" for flip in flips[:CONFIRMED]]
        more = f"; so do {len(flips) - CONFIRMED} more, by slices alone" if len(flips) > CONFIRMED else ""
        return f"The verdict hangs on an estimate: {'; '.join(named)}{more}."
    if question.timeless():
        return "No number of the core changes the verdict: it is read off regimes and memory types, not off times."
    said = "No estimated number within its range changes the verdict."
    if beyond is not None:
        times = "" if beyond.times is None else f", {number_text(beyond.times)} times what it is taken to be,"
        return (
            f"{said} {beyond.key} would have to be about {number_text(beyond.value)}{times} to make it {beyond.cause}."
        )
    if not _followable(question, listed):
        return said
    farthest = f"{STRIDE**STRIDES:,} times as large or small"
    return f"{said} Nor do the first {FOLLOWED} of those below beyond it, up to {farthest}."
