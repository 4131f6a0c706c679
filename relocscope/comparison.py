"""Comparison: what `explain` finds about two runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from relocscope.break_even import BreakEven, break_even
from relocscope.contributions import Contribution, Decomposition, Interaction, attribute, confirm
from relocscope.evidence import Fact, evidence
from relocscope.fixes import Fix, fixes
from relocscope.operand import Operand, operand, with_settings
from relocscope.runs import Run, default_core, needs_vhe, plain
from relocscope.sensitivity import Sensitivity, sensitivity
from relocscope.verdict import Verdict, judge
from relocscope.within import Within, within
from traces.errors import InputError

SCHEMA = "relocscope/explain/1"

FOUNDING_QUESTION = ("v4.19-nvhe", "rfc-v1-nvhe")
"""The runs of July 2019 (docs/history.md): before, and with an MMU that was turned on somewhere."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """Two runs and why their times are what they are."""

    a: Run
    b: Run
    verdict: Verdict
    evidence: tuple[Fact, ...]
    parts: Decomposition
    fixes: tuple[Fix, ...]
    within: Within | None = None
    break_even: BreakEven | None = None
    sensitivity: Sensitivity | None = None
    """None where it was not asked for: beside many other comparisons."""

    @property
    def speedup(self) -> float | None:
        """Return how many times as fast B is; None where one of the two never arrives."""
        return speedup(self.a, self.b)

    @property
    def contributions(self) -> tuple[Contribution, ...]:
        """Return what each group of mechanisms has to do with the difference, largest first."""
        return self.parts.contributions

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """Return the pairs of groups that do much together."""
        return self.parts.interactions

    def to_json(self) -> dict[str, Any]:
        """Return the object of `explain --json`."""
        return {
            "schema": SCHEMA,
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "speedup": self.speedup,
            "verdict": {"cause": self.verdict.cause, "sentence": self.verdict.sentence},
            "evidence": [dict(fact) for fact in self.evidence],
            "contributions": [asdict(one) for one in self.contributions],
            "interactions": [
                {"mechanisms": list(one.mechanisms), "cycles": one.cycles, "share": one.share}
                for one in self.interactions
            ],
            "within": None if self.within is None else {**asdict(self.within), "parts": _listed(self.within.parts)},
            "break_even": None
            if self.break_even is None
            else {**asdict(self.break_even), "points": _listed(self.break_even.points)},
            "sensitivity": plain(None if self.sensitivity is None else self.sensitivity.to_json()),
            "fixes": [{"set": dict(fix.set), "speedup": fix.speedup, "sentence": fix.sentence} for fix in self.fixes],
        }

    def _repr_html_(self) -> str:
        """Show the comparison in a notebook."""
        from relocscope.report.notebook import comparison_html

        return comparison_html(self)


def _listed(records: Iterable[Any]) -> list[dict[str, Any]]:
    return [asdict(record) for record in records]


def speedup(a: Run, b: Run) -> float | None:
    """Return a.seconds / b.seconds; None where one of the two never arrives, whose time means nothing."""
    if not a.outcome == b.outcome == "completed":
        return None
    return a.seconds / b.seconds if b.seconds else 1.0


def sides(
    a: str, b: str, settings: Mapping[str, Any], *, core: str | None = None, sample: bool = False
) -> tuple[Operand, Operand]:
    """Make both operands: a setting is for both, `a.KEY` and `b.KEY` for one.

    Both run on one core, or the comparison would be of cores: the one asked for, else that of the side whose kernel
    needs VHE, else A's default.
    """
    return sides_of((operand(a), operand(b)), settings, core=core, sample=sample)


def sides_of(
    subjects: tuple[Operand, Operand], settings: Mapping[str, Any], *, core: str | None = None, sample: bool = False
) -> tuple[Operand, Operand]:
    """Do the same for operands."""
    both = {key: value for key, value in settings.items() if key[:2] not in ("a.", "b.")}
    common = core or both.get("core") or _common_core(subjects)
    made = []
    for side, subject in zip("ab", subjects, strict=True):
        of_side = {key[2:]: value for key, value in settings.items() if key.startswith(f"{side}.")}
        try:
            made.append(with_settings(subject, {**both, **of_side}, core=of_side.get("core", common), sample=sample))
        except InputError as error:
            raise InputError(f"{side}: {error}" if of_side else str(error)) from None
    return made[0], made[1]


def _common_core(subjects: tuple[Operand, ...]) -> str | None:
    own = [subject for subject in subjects if subject.trace_path is None]
    needing = [subject for subject in own if needs_vhe(subject)]
    return next((default_core(subject) for subject in needing or own), None)


def part_of(a: Run, b: Run, parts: Decomposition, group: str, progress: Progress | None = None) -> Within:
    """Take the contribution of one group apart."""
    (whole,) = (one for one in parts.contributions if one.mechanism == group)
    return within(a, b, whole, progress)


def compare(a: Run, b: Run, progress: Progress | None = None, *, group: str | None = None) -> Comparison:
    """Find everything about two runs. The verdict and the evidence take no time; the rest replays and re-runs.

    `group`: a group of mechanisms whose contribution is taken apart.
    """
    parts = attribute(a, b, progress)
    return Comparison(
        a=a,
        b=b,
        verdict=judge(a, b, lambda: parts),
        evidence=tuple(evidence(a, b)),
        parts=confirm(parts, a, b, progress),
        fixes=tuple(fixes(b, progress)),
        within=None if group is None else part_of(a, b, parts, group, progress),
        break_even=break_even(a, b, progress),
        sensitivity=sensitivity(a, b, progress, attributed=lambda: parts),
    )
