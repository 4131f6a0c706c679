"""Likelihood of measured times under a hypothesis, and what it is believed to be before there are any.

Logarithms of times are normal: the stated error of each measurement, and common factors by which the model's own times
of one kind may be off. A run has such a factor in proportion to its share of that kind (first order), so that two times
of one kind stand or fall together: their ratio counts, not their level. Factors are marginalised in closed form.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relocscope.hypotheses.observation import Observation
from relocscope.hypotheses.predict import Line

if TYPE_CHECKING:
    from caches import CoreConfig

Floats = NDArray[np.float64]

_GRID_STEPS = 401


@cache
def beliefs() -> Mapping[str, Any]:
    """Return relocscope/hypotheses/priors.toml, read."""
    text = (resources.files("relocscope.hypotheses") / "priors.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def priors(boot: str) -> dict[str, float]:
    """Return the prior of each hypothesis, summing to 1, for a machine that was booted so."""
    given = {entry["id"]: float(entry["prior"]) for entry in beliefs()["hypothesis"]}
    if boot != "nvhe":
        given["copy-at-untranslated-el"] *= beliefs()["elsewhere"]["factor"]
    total = sum(given.values())
    return {name: prior / total for name, prior in given.items()}


def scales(config: "CoreConfig") -> dict[str, float]:
    """Return, by kind of time, the standard deviation of the logarithm of the model's common factor on that core."""
    found = {}
    for kind, entry in beliefs()["scale"].items():
        found[kind] = float(entry["sigma"])
        source = config.provenance.get(entry.get("key", ""))
        if source is None:
            continue
        if "calibrated" in entry and entry["key"] in config.calibrated:
            found[kind] = float(entry["calibrated"])
        elif len(source.estimated) == 2 and min(source.estimated) > 0:
            found[kind] = math.log(source.estimated[1] / source.estimated[0]) / 4
    return found


def covariance(
    lines: Sequence[Line], observations: Sequence[Observation], error: float, scale: Mapping[str, float]
) -> Floats:
    """Return the covariance of the logarithms of the times that these lines give to these observations."""
    count = len(observations)
    total = np.diag([error**2 + line.bend**2 for line in lines])
    for kind, sigma in scale.items():
        share = np.array([line.shares.get(kind, 0.0) for line in lines])
        total += sigma**2 * np.outer(share, share)
    for label in {seen.label for seen in observations if seen.size_sigma}:
        same = [at for at in range(count) if observations[at].label == label]
        total[np.ix_(same, same)] += observations[same[0]].size_sigma ** 2
    return total


def log_likelihood(predicted: Floats, measured: Floats, spread: Floats) -> float:
    """Return the logarithm of the normal density of `measured` around `predicted` (both logarithms of times)."""
    if not np.all(np.isfinite(predicted)):
        return -math.inf
    lower = np.linalg.cholesky(spread)
    off = np.linalg.solve(lower, measured - predicted)
    return float(-0.5 * off @ off - np.log(np.diag(lower)).sum() - 0.5 * len(off) * math.log(2 * math.pi))


def size_grid() -> tuple[Floats, Floats]:
    """Return factors of a misreported size, and the prior of each, summing to 1."""
    given = beliefs()["size"]
    logs = np.linspace(-math.log(given["limit"]), math.log(given["limit"]), _GRID_STEPS)
    weights = np.exp(-0.5 * (logs / given["sigma"]) ** 2)
    return np.exp(logs), weights / weights.sum()


def log_sum(terms: Sequence[float]) -> float:
    """Return the logarithm of the sum of what these are the logarithms of."""
    top = max(terms, default=-math.inf)
    return top if not math.isfinite(top) else top + math.log(sum(math.exp(term - top) for term in terms))
