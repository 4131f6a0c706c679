"""Fit: which numbers the figures determine, and the values that meet them; a bounded, robust least-squares search.

Everything is in logarithms: a figure off by a tenth is off by a tenth whatever its unit. `Predict` answers with the
logarithms of all figures for logarithms of some numbers, or None where these make no core.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relocscope.calibration.numbers import WIDEST, Number

Floats = NDArray[np.float64]
Predict = Callable[[Mapping[Number, float]], Floats | None]

SEEN = 1.0
"""A number is seen where its own uncertainty moves the figures by at least so many standard deviations together."""

APART = 0.5
"""Share of what a number does that no number chosen before it does as well; with less, the two act alike."""

_NUDGE = 1.25
_HUBER = 1.5
_ROUNDS, _TRIES, _STILL = 10, 4, 0.002

CONTRADICTS = 3.0
"""Standard deviations between the values that two figures ask of one number."""

_SPEAKS = 0.3
"""A figure speaks of a number where it moves by at least so much of what the number moves by, and by no other more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """A number that is not fitted, and why: `unseen`, `alike` another one, or `contradicted`."""

    number: Number
    reason: str
    like: Number | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """Two groups of figures that ask for different values of a number; `dropped` are left out, unless none outvotes."""

    number: Number
    asked: tuple[tuple[int, float], ...]
    """(figure, value that it alone would have) of each that speaks of the number."""
    dropped: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """The numbers that were fitted, with a standard deviation of each logarithm, and the figures' slopes there."""

    at: Mapping[Number, float]
    """Logarithms."""
    sigma: Mapping[Number, float]
    slopes: Floats
    residuals: Floats
    """Logarithm of the model's figure over the measured one."""


def slopes(predict: Predict, numbers: Sequence[Number], start: Floats, step: Callable[[], None]) -> Floats:
    """Return by how much each figure moves for each number: a column a number, logarithm over logarithm."""
    found = np.zeros((len(start), len(numbers)))
    for column, number in enumerate(numbers):
        step()
        for factor in (_NUDGE, 1 / _NUDGE):
            value = number.rounded(number.value * factor)
            if number.whole and value == number.value:
                value = number.value + (1 if factor > 1 else -1)
            by = math.log(value / number.value) if value > 0 else 0.0
            answer = predict({number: math.log(value)}) if by else None
            if answer is not None and np.any(answer != start):
                found[:, column] = (answer - start) / by
                break
    return found


def choose(found: Floats, sigma: Floats, numbers: Sequence[Number]) -> tuple[list[Number], list[Left]]:
    """Choose the numbers that the figures tell apart, clearest first, and say why the others are not chosen."""
    weighed = found * np.array([number.uncertain for number in numbers]) / sigma[:, None]
    alone, rest = np.linalg.norm(weighed, axis=0), weighed.copy()
    chosen: list[int] = []
    while len(chosen) < min(len(numbers), len(sigma)):
        clear = np.linalg.norm(rest, axis=0)
        usable = (clear >= SEEN) & (clear >= APART * alone)
        usable[chosen] = False
        if not usable.any():
            break
        best = int(np.argmax(np.where(usable, clear, -1.0)))
        chosen.append(best)
        unit = rest[:, best] / clear[best]
        rest -= np.outer(unit, unit @ rest)
    left: list[Left] = []
    for at, number in enumerate(numbers):
        if at in chosen:
            continue
        alike = [abs(weighed[:, at] @ weighed[:, one]) / (alone[at] * alone[one] or 1.0) for one in chosen]
        if alone[at] < SEEN or not chosen:
            left.append(Left(number=number, reason="unseen"))
        else:
            left.append(Left(number=number, reason="alike", like=numbers[chosen[int(np.argmax(alike))]]))
    return [numbers[at] for at in chosen], left


def solve(
    predict: Predict,
    chosen: Sequence[Number],
    measured: Floats,
    sigma: Floats,
    start: Floats,
    found: Floats,
    step: Callable[[], None],
) -> Solution:
    """Search from the preset's values on; far figures pull no harder than those at _HUBER deviations.

    Slopes are taken once and corrected by what each step shows (Broyden's update). A number stays within WIDEST times
    the preset's.
    """
    home = np.log([number.value for number in chosen])
    at, residuals, slope = home.copy(), start - measured, found.copy()
    damping = 1e-4
    for _ in range(_ROUNDS if chosen else 0):
        weight = np.minimum(1.0, _HUBER / np.maximum(np.abs(residuals / sigma), 1e-9)) / sigma**2
        moved = False
        for _ in range(_TRIES):
            normal = slope.T @ (weight[:, None] * slope)
            normal += damping * np.diag(np.maximum(np.diag(normal), 1e-9))
            wanted = at - np.linalg.solve(normal, slope.T @ (weight * residuals))
            there = _settled(chosen, np.clip(wanted, home - math.log(WIDEST), home + math.log(WIDEST)))
            by = there - at
            if np.max(np.abs(by)) < _STILL:
                break
            step()
            answer = predict(dict(zip(chosen, there.tolist(), strict=True)))
            if answer is not None:
                after = answer - measured
                slope = slope + np.outer(after - residuals - slope @ by, by) / (by @ by)
                if _cost(after / sigma) < _cost(residuals / sigma):
                    at, residuals, moved, damping = there, after, True, damping / 4
                    break
            damping = max(damping, 1e-3) * 10
        if not moved:
            break
    return Solution(
        at=dict(zip(chosen, at.tolist(), strict=True)),
        sigma=dict(zip(chosen, _spread(slope, sigma), strict=True)),
        slopes=slope,
        residuals=residuals,
    )


def _settled(chosen: Sequence[Number], wanted: Floats) -> Floats:
    """Return the logarithms of the values as a preset can have them: whole numbers step."""
    values = [math.log(number.rounded(math.exp(at))) for number, at in zip(chosen, wanted.tolist(), strict=True)]
    return np.array(values)


def _cost(off: Floats) -> float:
    """Return Huber's loss of deviations."""
    far = np.abs(off)
    return float(np.where(far <= _HUBER, far * far / 2, _HUBER * (far - _HUBER / 2)).sum())


def _spread(slope: Floats, sigma: Floats) -> list[float]:
    weighed = slope / sigma[:, None]
    return [float(spread) for spread in np.sqrt(np.diag(np.linalg.pinv(weighed.T @ weighed)))]


def contradictions(solution: Solution, sigma: Floats) -> list[Contradiction]:
    """Find numbers of which figures ask different values; the figures of the largest group that agrees are kept.

    What a figure alone would have is taken along its slope, the other numbers as fitted.
    """
    found: list[Contradiction] = []
    chosen = list(solution.at)
    for column, number in enumerate(chosen):
        slope = np.abs(solution.slopes)
        speaks = [
            row for row in range(len(sigma)) if slope[row, column] >= _SPEAKS and slope[row, column] >= slope[row].max()
        ]
        asked = {row: solution.at[number] - solution.residuals[row] / solution.slopes[row, column] for row in speaks}
        wide = {row: sigma[row] / slope[row, column] for row in speaks}
        groups = [
            {row for row in speaks if abs(asked[row] - asked[one]) <= CONTRADICTS * math.hypot(wide[row], wide[one])}
            for one in speaks
        ]
        if all(len(group) == len(speaks) for group in groups):
            continue
        largest = max(groups, key=len)
        outvoted = set(speaks) - largest if len(largest) > len(speaks) / 2 else set()
        values = tuple((row, number.rounded(math.exp(asked[row]))) for row in speaks)
        found.append(Contradiction(number=number, asked=values, dropped=tuple(sorted(outvoted))))
    return found
