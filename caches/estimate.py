"""A mean from a systematic sample, and an interval for it."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and the half of its interval."""

    mean: float
    half: float


def student(level: float, freedom: int) -> float:
    """Return the two-sided quantile of Student's t (Hill's expansion about the normal one; 1e-3 from 8 on)."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def systematic_mean(costs: Floats, *, share: float, level: float) -> Estimate:
    """Mean of a population of which `costs` are every n-th unit, in order; `share` of it was measured.

    The variance is that of successive differences (von Neumann), so that a trend through the run, which systematic
    sampling follows, does not widen the interval.
    """
    units = len(costs)
    variance = float((np.diff(costs) ** 2).sum()) / (2 * (units - 1))
    error = (variance / units * max(0.0, 1.0 - share)) ** 0.5
    # Successive differences estimate a variance as about two thirds as many independent deviations would.
    return Estimate(float(costs.mean()), student(level, max(2, (2 * (units - 1)) // 3)) * error)


def without_interruptions(costs: Floats, interrupted: Floats, fraction: float) -> Floats:
    """Return what the units would cost, had each been interrupted for just `fraction` of its time.

    `interrupted` is for how many cycles each was (DRAM refresh: regular in time, not in pages). How much of an
    interruption is felt is estimated from the units themselves: a control variate, whose mean is known.
    """
    steps = np.diff(interrupted)
    spread = float((steps**2).sum())
    felt = float((steps * np.diff(costs)).sum()) / spread if spread else 0.0
    felt = min(1.0, max(0.0, felt))
    adjusted: Floats = (costs - felt * interrupted) / (1.0 - felt * fraction)
    return adjusted
