"""Ranking: which hypotheses could have produced measured times, how probable each is, and what would decide."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relocscope.case import BOOTS, Case
from relocscope.hypotheses import likelihood
from relocscope.hypotheses.bench import bench
from relocscope.hypotheses.experiments import Contender, Laboratory
from relocscope.hypotheses.judged import Judged
from relocscope.hypotheses.observation import Observation, observation
from relocscope.hypotheses.predict import Predictor
from relocscope.quantities import rough_seconds
from traces.errors import InputError

if TYPE_CHECKING:
    from caches import CoreConfig

SCHEMA = "relocscope/theories/1"

ERROR = 0.05
"""Relative error of a measurement where none is stated: what the model itself claims of two times being the same."""

FAR = 3.0
"""Standard deviations beyond which a hypothesis does not explain times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Theory:
    """One hypothesis after the observations."""

    id: str
    rank: int
    prior: float
    why: str
    """The reason for that prior."""
    probability: float
    predicted: tuple[Mapping[str, Any], ...]
    """{size, seconds, state} of each observation, at the free number that fits best; seconds null: never arrives."""
    sentence: str
    test: str | None
    deviation: float | None
    """How far off the times are at best: standard deviations of error and scales, root mean square; null: infinite."""
    fit: Mapping[str, Any] | None
    """The free number that fits best: {label, size, low, high} of a misreported size, {value} of anything else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Theories:
    """All of them, the most probable rank first."""

    core: str
    boot: str
    case: str
    error: float
    observations: tuple[Observation, ...]
    scales: Mapping[str, float]
    ranked: tuple[Theory, ...]

    @property
    def unexplained(self) -> bool:
        """Whether even the best is off by more than FAR: these times do not go together, or the error is larger."""
        return (self.ranked[0].deviation or 0.0) > FAR

    def to_json(self) -> dict[str, Any]:
        """Return the object of `theories --json`."""
        return {
            "schema": SCHEMA,
            "core": self.core,
            "boot": self.boot,
            "case": self.case,
            "error": self.error,
            "observations": [dict(seen.to_json()) for seen in self.observations],
            "unexplained": self.unexplained,
            "scales": {kind: round(sigma, 4) for kind, sigma in self.scales.items()},
            "ranked": [
                {field.name: _plain(getattr(theory, field.name)) for field in dataclasses.fields(theory)}
                for theory in self.ranked
            ],
        }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [dict(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def theories(
    observations: Sequence[Observation],
    case: Case,
    config: "CoreConfig",
    *,
    error: float = ERROR,
    predictor: Predictor | None = None,
    step: Callable[[int, int], None] = lambda _done, _total: None,
) -> Theories:
    """Rank the hypotheses by what they predict of these observations; `case` is what was meant to be MMU-on.

    A `predictor` of an earlier question on that core knows what has been run.
    """
    if not observations:
        raise InputError("--observed: at least one observation must be given, such as 37MB=0.35:off")
    if not 0.001 <= error <= 1:
        raise InputError(f"--error: {error:g} must be between 0.001 and 1")
    predictor = predictor or Predictor(config, min(seen.size for seen in observations))
    subject = bench(case, config, predictor)
    scale = likelihood.scales(config)
    judged: list[Judged] = []
    found = subject.hypotheses()
    for done, world in enumerate(found):
        step(done, len(found))
        lines = [(predictor.line(variant.off), predictor.line(variant.on)) for variant in world.variants]
        judged.append(Judged(world, lines, observations, error, scale))
    return Theories(
        core=config.name,
        boot=case.boot,
        case=case.name,
        error=error,
        observations=tuple(observations),
        scales=scale,
        ranked=tuple(rank(judged, observations, error, likelihood.priors(case.boot), predictor)),
    )


def theories_of(
    observed: Sequence[str | Observation],
    *,
    core: str,
    boot: str | None = None,
    case: str | None = None,
    settings: Mapping[str, Any] | None = None,
    error: float = ERROR,
    step: Callable[[int, int], None] = lambda _done, _total: None,
) -> Theories:
    """Do the same from what the command line takes: a core, how it was booted, and a CASE that was meant as MMU-on.

    Without `boot`, the machine is taken to have booted at EL2; without `case`, it is RFC v1 on that boot path.
    """
    from relocscope.operand import operand, with_settings
    from relocscope.runs import core_config

    seen = [one if isinstance(one, Observation) else observation(one) for one in observed]
    if boot is not None and boot not in BOOTS:
        raise InputError(f"--boot: {boot!r} must be one of {', '.join(BOOTS)}")
    if case is None:
        plain = core_config(with_settings(operand("rfc-v1-nvhe"), {}, core=core))
        case = f"rfc-v1-{boot or ('vhe' if plain.architecture.has_vhe else 'nvhe')}"
    subject = with_settings(operand(case), dict(settings or {}), core=core)
    if subject.case is None:
        raise InputError(f"--case: {case}: must be a case; a recorded trace has one size and cannot be changed")
    if boot is not None and subject.case.boot != boot:
        raise InputError(f"--case: {case}: boots as {subject.case.boot}, and --boot says {boot}")
    return theories(seen, subject.case, core_config(subject), error=error, step=step)


def rank(
    judged: Sequence[Judged],
    observations: Sequence[Observation],
    error: float,
    prior: Mapping[str, float],
    predictor: Predictor,
) -> list[Theory]:
    """Give each its probability and its rank; those that predict the same times share one."""
    logs = {one.world.id: math.log(prior[one.world.id]) + one.log_likelihood for one in judged}
    total = likelihood.log_sum(list(logs.values()))
    if not math.isfinite(total):
        raise InputError("--observed: no hypothesis arrives at a new kernel on this machine; nothing can be ranked")
    probability = {name: math.exp(value - total) for name, value in logs.items()}
    groups = same_times(sorted(judged, key=lambda one: -logs[one.world.id]), error)
    groups.sort(key=lambda group: -likelihood.log_sum([logs[one.world.id] for one in group]))
    laboratory = Laboratory(
        predictor=predictor,
        error=error,
        size=max(seen.size for seen in observations),
        on_was_timed=any(seen.state == "on" for seen in observations),
        unremarkable={_counted(seen.label): seen.label for seen in observations} | {"CPUECTLR_EL1.SMPEN": "1"},
    )
    reasons = {entry["id"]: str(entry["why"]) for entry in likelihood.beliefs()["hypothesis"]}
    found: list[Theory] = []
    for number, group in enumerate(groups):
        for at, one in enumerate(group):
            rival = _rival(groups, number, at)
            found.append(
                Theory(
                    id=one.world.id,
                    rank=number + 1,
                    prior=prior[one.world.id],
                    why=reasons[one.world.id],
                    probability=probability[one.world.id],
                    predicted=tuple(_predicted(one, observations)),
                    sentence=sentence(one, observations),
                    test=laboratory.test(_contender(one), _contender(rival)) if rival else None,
                    deviation=round(one.deviation, 3) if math.isfinite(one.deviation) else None,
                    fit=one.fit(),
                )
            )
    return found


def same_times(judged: Sequence[Judged], error: float) -> list[list[Judged]]:
    """Group those whose times differ by no more than the stated error from those of the group's first."""
    groups: list[list[Judged]] = []
    for one in judged:
        for group in groups:
            pairs = zip(one.predicted, group[0].predicted, strict=True)
            if all(a == b or (math.isfinite(a + b) and abs(math.log(a / b)) <= error) for a, b in pairs):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _rival(groups: Sequence[Sequence[Judged]], number: int, at: int) -> Judged | None:
    """Return whom to tell it from: the first of its rank; the first itself from the second, or from the next rank."""
    group = groups[number]
    if at:
        return group[0]
    if len(group) > 1:
        return group[1]
    if number:
        return groups[0][0]
    return groups[1][0] if len(groups) > 1 else None


def _contender(one: Judged) -> Contender:
    signs = dict(one.world.signs)
    fit = one.fit()
    if fit and "label" in fit:
        signs[_counted(fit["label"])] = f"{fit['size'] / 1e6:.3g}MB"
    return Contender(id=one.world.id, variant=one.variant, signs=signs)


def _counted(label: str) -> str:
    return f'what `kexec -d` loads for "{label}"'


def _predicted(one: Judged, observations: Sequence[Observation]) -> list[dict[str, Any]]:
    return [
        {"size": seen.size, "seconds": seconds if math.isfinite(seconds) else None, "state": seen.state}
        for seen, seconds in zip(observations, one.predicted, strict=True)
    ]


def sentence(one: Judged, observations: Sequence[Observation]) -> str:
    """Say what it is and where it fits worst."""
    title = next(entry["title"] for entry in likelihood.beliefs()["hypothesis"] if entry["id"] == one.world.id)
    title += _fit_words(one.fit())
    if not all(map(math.isfinite, one.predicted)):
        return f"{title}; it would never arrive."
    worst, predicted = max(
        zip(observations, one.predicted, strict=True), key=lambda pair: abs(math.log(pair[0].seconds / pair[1]))
    )
    times = worst.seconds / predicted
    if abs(times - 1) <= ERROR:
        return f"{title}; it fits within {max(0.01, abs(times - 1)):.0%}."
    what = f"{worst.label} {worst.state}"
    return f"{title}; {what} would take {rough_seconds(predicted)}, and {rough_seconds(worst.seconds)} was measured."


def _fit_words(fit: Mapping[str, Any] | None) -> str:
    if not fit:
        return ""
    if "value" in fit:
        return f" ({fit['value']})"
    size, low, high = (f"{fit[key] / 1e6:.3g}" for key in ("size", "low", "high"))
    return f" ({fit['label']} was about {size}MB, {low} to {high})"
