"""Judged: one hypothesis held against the observations."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from relocscope.hypotheses import likelihood
from relocscope.hypotheses.observation import Observation
from relocscope.hypotheses.predict import Line
from relocscope.hypotheses.worlds import Variant, World


class Judged:
    """One hypothesis against the observations: its likelihood, and the free number that fits best."""

    def __init__(
        self,
        world: World,
        lines: Sequence[tuple[Line, Line]],
        observations: Sequence[Observation],
        error: float,
        scale: Mapping[str, float],
    ) -> None:
        self.world = world
        self._lines = lines
        self._observations = observations
        self._error, self._scale = error, scale
        self._measured = np.log([seen.seconds for seen in observations])
        self._labels = list(dict.fromkeys(seen.label for seen in observations))

    def _lines_of(self, at: int) -> list[Line]:
        off, on = self._lines[at]
        return [off if seen.state == "off" else on for seen in self._observations]

    def times(self, at: int, label: str = "", factor: float = 1.0) -> list[float]:
        """Return the predicted times of one variant, with the size of `label` taken times `factor`."""
        sizes = [seen.size * (factor if seen.label == label else 1.0) for seen in self._observations]
        return [line.seconds(size) for line, size in zip(self._lines_of(at), sizes, strict=True)]

    def _spread(self, at: int) -> likelihood.Floats:
        return likelihood.covariance(self._lines_of(at), self._observations, self._error, self._scale)

    def _log_density(self, at: int, label: str = "", factor: float = 1.0) -> float:
        if not all(line.arrives for line in self._lines_of(at)):
            return -math.inf
        return likelihood.log_likelihood(np.log(self.times(at, label, factor)), self._measured, self._spread(at))

    @property
    def deviation(self) -> float:
        """Return how far off the times are at the best fit: standard deviations, root mean square."""
        if not all(map(math.isfinite, self.predicted)):
            return math.inf
        off = self._measured - np.log(self.predicted)
        return math.sqrt(float(off @ np.linalg.solve(self._spread(self.best[0]), off)) / len(off))

    @cached_property
    def terms(self) -> list[tuple[float, int, str, float]]:
        """(logarithm of weight and density, variant, label, factor) of each value of the free number."""
        found: list[tuple[float, int, str, float]] = []
        for at, variant in enumerate(self.world.variants):
            if not self.world.free_size:
                found.append((math.log(variant.weight) + self._log_density(at), at, "", 1.0))
                continue
            for label in self._labels:
                for factor, weight in zip(*likelihood.size_grid(), strict=True):
                    density = self._log_density(at, label, float(factor))
                    found.append((math.log(weight / len(self._labels)) + density, at, label, float(factor)))
        return found

    @cached_property
    def log_likelihood(self) -> float:
        """The free number is averaged over, which is what it costs to have one."""
        return likelihood.log_sum([term[0] for term in self.terms])

    @cached_property
    def best(self) -> tuple[int, str, float]:
        """Variant, label and factor that fit best."""
        _, at, label, factor = max(self.terms, key=lambda term: term[0])
        return at, label, factor

    @property
    def variant(self) -> Variant:
        """The variant that fits best."""
        return self.world.variants[self.best[0]]

    @cached_property
    def predicted(self) -> list[float]:
        """Times at the best fit."""
        return self.times(*self.best)

    def fit(self) -> dict[str, Any] | None:
        """Return the free number that fits best; of a size its central 90 % as well."""
        _, label, _ = self.best
        if not label:
            return {"value": self.variant.value} if self.variant.value else None
        stated = next(seen.size for seen in self._observations if seen.label == label)
        of_label = [term for term in self.terms if term[2] == label]
        top = max(term[0] for term in of_label)
        weights = np.exp(np.array([term[0] - top for term in of_label]))
        below = np.cumsum(weights) / weights.sum()
        low, size, high = (
            float(np.interp(share, below, [term[3] for term in of_label])) for share in (0.05, 0.5, 0.95)
        )
        return {
            "label": label,
            "size": round(stated * size),
            "low": round(stated * low),
            "high": round(stated * high),
        }
