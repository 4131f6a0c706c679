"""Calibrate: from measurements to the numbers of a core that meet them, with what remains of each, and what is open."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relocscope.calibration import files
from relocscope.calibration.fit import Contradiction, Floats, Left, Solution, choose, contradictions, slopes, solve
from relocscope.calibration.measured import Measured, relocation
from relocscope.calibration.model import Model
from relocscope.calibration.numbers import WIDEST, Number, core_with, numbers
from relocscope.calibration.preset import preset_text
from relocscope.case import BOOTS, Case, shipped_case
from relocscope.hypotheses.observation import Observation, observation
from relocscope.ranges import is_whole
from traces.errors import InputError

if TYPE_CHECKING:
    from caches import CoreConfig

SCHEMA = "relocscope/calibrate/1"

ERROR = 0.05
"""Relative error of a measurement where none is stated."""

_CENTRAL = 1.645
"""Deviations either side that hold nine tenths."""

_CALIBRATED = ", calibrated"

_SHARE = 0.1
"""A measurement is named as one that a number was fitted to if it moves by so much of what the number moves by."""

_NAMED = 3
"""Measurements named beside a number in the preset."""

_REASONS = {
    "unseen": "none of these measurements shows it",
    "contradicted": "the measurements ask for values that exclude each other",
}

Step = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """One number that was fitted; nine tenths of what it may be lie from `low` to `high`."""

    key: str
    before: float
    after: float
    low: float
    high: float
    outside: bool
    """Outside the range that the preset states."""
    at_bound: bool
    """As far from the preset's as it may get: the measurements ask for more."""
    by: tuple[str, ...]
    """The measurements that speak of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual:
    """One measurement and the model's figure for it, before and after."""

    name: str
    kind: str
    unit: str
    measured: float
    before: float
    after: float
    used: bool
    source: str

    def words(self) -> str:
        """Return what was measured, where."""
        return f"{self.name} = {figure_text(self.measured, self.unit)} ({self.source})"

    @property
    def off_before(self) -> float:
        """How much larger the model's figure was, as a share of the measured one."""
        return self.before / self.measured - 1

    @property
    def off_after(self) -> float:
        """The same with the fitted numbers."""
        return self.after / self.measured - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """A number that was not fitted, and why."""

    key: str
    value: float
    reason: str
    like: str | None
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was fitted to what."""

    core: str
    title: str
    off: str
    on: str
    error: float
    fitted: tuple[Fitted, ...]
    observations: tuple[Residual, ...]
    undetermined: tuple[Open, ...]
    contradictions: tuple[Mapping[str, Any], ...]
    aside: tuple[tuple[str, str], ...]
    """Figures that were found and not used, with the reason."""
    calibrated: tuple[str, ...]

    def preset(self, name: str, base: str) -> str:
        """Return the preset file's text."""
        measured = {one.name: one for one in self.observations}
        entries: dict[str, tuple[Any, str]] = {}
        for one in self.fitted:
            said = "; ".join(measured[each].words() for each in one.by[:_NAMED])
            said += f"; and {len(one.by) - _NAMED} more" if len(one.by) > _NAMED else ""
            value = int(one.after) if is_whole(one.key) else one.after
            entries[one.key] = value, f"calibrated on {said}"
        title = f"{self.title.removesuffix(_CALIBRATED)}{_CALIBRATED}"
        return preset_text(base, name, title, self.calibrated, entries)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `calibrate --json`."""
        return {
            "schema": SCHEMA,
            "core": self.core,
            "off": self.off,
            "on": self.on,
            "error": self.error,
            "fitted": [asdict(one) | {"by": list(one.by)} for one in self.fitted],
            "observations": [
                asdict(one) | {"residual_before": one.off_before, "residual_after": one.off_after}
                for one in self.observations
            ],
            "undetermined": [asdict(one) for one in self.undetermined],
            "contradictions": [dict(one) for one in self.contradictions],
            "aside": [{"what": what, "why": why} for what, why in dict.fromkeys(self.aside)],
            "calibrated": list(self.calibrated),
        }


def calibrate_of(
    observed: Sequence[str | Observation] = (),
    *,
    core: str,
    tinymembench: Sequence[str] = (),
    lmbench: Sequence[str] = (),
    boot: str | None = None,
    case: str | None = None,
    error: float = ERROR,
    step: Step = lambda _done, _total: None,
) -> Calibration:
    """Calibrate from what the command line takes: a core, times of kexecs, and files of benchmarks.

    `off` times are of kernels before 5.16 on that boot path; `on` ones of `case`, the merged version if not given.
    """
    from relocscope.operand import operand, with_settings
    from relocscope.runs import check_core, core_config

    if boot is not None and boot not in BOOTS:
        raise InputError(f"--boot: {boot!r} must be one of {', '.join(BOOTS)}")
    config = core_config(with_settings(operand("v4.19-nvhe"), {}, core=core))
    boot = boot or ("vhe" if config.architecture.has_vhe else "nvhe")
    meant = operand(case or f"v5.17-{boot}").case
    if meant is None:
        raise InputError(f"--case: {case}: must be a case, whose size can be changed")
    if meant.segments:
        raise InputError(f"--case: {case}: image.segments: must not be given, the observations state the sizes")
    check_core(meant.boot, meant.granule_bytes, config)
    found = [relocation(one if isinstance(one, Observation) else observation(one)) for one in observed]
    aside: list[tuple[str, str]] = []
    for read, given in ((files.tinymembench, tinymembench), (files.lmbench, lmbench)):
        for file in given:
            of_file = read(file, config)
            found += of_file.measured
            aside += of_file.aside
    return calibrate(found, config, (shipped_case(f"v4.19-{meant.boot}"), meant), error=error, aside=aside, step=step)


def calibrate(
    figures: Sequence[Measured],
    config: "CoreConfig",
    cases: tuple[Case, Case],
    *,
    error: float = ERROR,
    aside: Sequence[tuple[str, str]] = (),
    step: Step = lambda _done, _total: None,
) -> Calibration:
    """Fit what the figures determine; `cases`: with the MMU off, and what was meant to be on."""
    if not figures:
        raise InputError("--observed, --tinymembench or --lmbench: at least one measurement must be given")
    if not 0.001 <= error <= 1:
        raise InputError(f"--error: {error:g} must be between 0.001 and 1")
    model = Model(*cases)
    for state, case in zip(("off", "on"), cases, strict=True):
        if any(figure.state == state for figure in figures) and not model.arrives(state, config):
            raise InputError(f"--case: {case.name}: never copies an image and arrives; its time cannot be predicted")
    search = Search(figures, config, model, error, step)
    return search.result(tuple(case.name for case in cases), aside)


class Search:
    """One fit: figures, a core, and the model between them."""

    def __init__(
        self, figures: Sequence[Measured], config: "CoreConfig", model: Model, error: float, step: Step
    ) -> None:
        self._figures, self._config, self._model, self._error = figures, config, model, error
        self._sigma = np.array([figure.sigma(error) for figure in figures])
        self._measured = np.log([figure.target(config) for figure in figures])
        self._candidates = numbers(config)
        self._done, self._report = 0, step

    def _step(self) -> None:
        self._done += 1
        self._report(min(self._done, 2 * len(self._candidates)), 2 * len(self._candidates))

    def _predict(self, values: Mapping[Number, float]) -> Floats | None:
        core = core_with(self._config, {number: math.exp(at) for number, at in values.items()})
        return None if core is None else self._of(core)

    def _of(self, core: "CoreConfig") -> Floats:
        return np.log(self._model.predict(self._figures, core))

    def _solved(self, chosen: Sequence[Number], start: Floats, every: Floats, rows: Sequence[int]) -> Solution:
        """Fit to some of the figures."""
        kept = list(rows)
        columns = [self._candidates.index(number) for number in chosen]

        def predict(values: Mapping[Number, float]) -> Floats | None:
            answer = self._predict(values)
            return None if answer is None else answer[kept]

        return solve(
            predict,
            chosen,
            self._measured[kept],
            self._sigma[kept],
            start[kept],
            every[np.ix_(kept, columns)],
            self._step,
        )

    def result(self, cases: tuple[str, ...], aside: Sequence[tuple[str, str]]) -> Calibration:
        """Fit, name what contradicts itself, and fit again without what the others outvote."""
        start = self._of(self._config)
        every = slopes(self._predict, self._candidates, start, self._step)
        chosen, left = choose(every, self._sigma, self._candidates)
        rows = list(range(len(self._figures)))
        found = self._solved(chosen, start, every, rows)
        against = contradictions(found, self._sigma)
        torn = {one.number for one in against if not one.dropped}
        rows = [row for row in rows if not any(row in one.dropped for one in against)]
        if against:
            left += [Left(number=number, reason="contradicted") for number in chosen if number in torn]
            chosen = [number for number in chosen if number not in torn]
            found = self._solved(chosen, start, every, rows)
        after = self._predict(found.at)
        after = start if after is None else after
        fitted = [self._fitted(number, column, found, rows) for column, number in enumerate(found.at)]
        keys = [one.key for one in fitted]
        return Calibration(
            core=self._config.name,
            title=self._config.title,
            off=cases[0],
            on=cases[1],
            error=self._error,
            fitted=tuple(fitted),
            observations=tuple(self._residuals(start, after, rows)),
            undetermined=tuple(_open(one) for one in left),
            contradictions=tuple(self._said(one) for one in against),
            aside=tuple(aside),
            calibrated=tuple(dict.fromkeys([*self._config.calibrated, *keys])),
        )

    def _fitted(self, number: Number, column: int, found: Solution, rows: Sequence[int]) -> Fitted:
        at, spread = found.at[number], _CENTRAL * found.sigma[number]
        after = number.rounded(math.exp(at))
        share = np.abs(found.slopes)
        clearest = int(np.argmax(share[:, column] / self._sigma[list(rows)]))
        speaks = [
            row
            for at_row, row in enumerate(rows)
            if at_row == clearest or share[at_row, column] > max(_SHARE, share[at_row].max() / 3)
        ]
        return Fitted(
            key=number.key,
            before=number.value,
            after=after,
            low=float(f"{math.exp(at - spread):.4g}"),
            high=float(f"{math.exp(at + spread):.4g}"),
            outside=len(number.span) == 2 and not min(number.span) <= after <= max(number.span),
            at_bound=abs(at - math.log(number.value)) > math.log(WIDEST) - 0.01,
            by=tuple(self._figures[row].name for row in speaks),
        )

    def _residuals(self, before: Floats, after: Floats, rows: Sequence[int]) -> list[Residual]:
        return [
            Residual(
                name=figure.name,
                kind=figure.kind,
                unit=figure.unit,
                measured=figure.target(self._config),
                before=float(math.exp(before[at])),
                after=float(math.exp(after[at])),
                used=at in rows,
                source=figure.source,
            )
            for at, figure in enumerate(self._figures)
        ]

    def _said(self, one: Contradiction) -> dict[str, Any]:
        asked = [{"observation": self._figures[row].name, "value": value} for row, value in one.asked]
        dropped = [self._figures[row].name for row in one.dropped]
        words = ", ".join(f"{each['observation']} asks for {each['value']:.4g}" for each in asked)
        ends = f"left out: {', '.join(dropped)}" if dropped else "none outvotes the others, so it is not fitted"
        return {
            "key": one.number.key,
            "asked": asked,
            "dropped": dropped,
            "sentence": f"{one.number.key}: {words}; {ends}",
        }


def figure_text(value: float, unit: str) -> str:
    """Write a figure as people do."""
    if unit == "B/s":
        return f"{value / 1e6:,.0f} MB/s"
    return f"{value:.4g} {unit}"


def _open(one: Left) -> Open:
    like = one.like.key if one.like else None
    why = f"acts on these measurements as {like} does" if like else _REASONS[one.reason]
    return Open(key=one.number.key, value=one.number.value, reason=one.reason, like=like, sentence=why)
