"""Plan: what a sweep was asked for, from the command line, from Python or from a TOML file (docs/sweep.md)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from relocscope.answers.question import Question, question_of
from relocscope.case import flattened
from relocscope.sweeping.designs import MOST_POINTS, Row, grid, samples
from relocscope.sweeping.keys import bare, key
from traces.errors import InputError, named_input
from traces.reading import read_text
from traces.toml import parse_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One case, or two to be compared, and the rows of settings at which they run.

    The points are every combination of the grid's values, the listed points and the samples.
    """

    cases: tuple[str, ...]
    core: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Set at every point."""
    sample: bool = False
    """Time long copies by a sample; the ten best and what lies at a crossing are then replayed in full."""
    skip_impossible: bool = False
    """Record points that cannot be, instead of refusing the whole plan."""
    grid: Mapping[str, Any] = field(default_factory=dict)
    points: Sequence[Row] = ()
    ranges: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 0
    design: str = "latin-hypercube"
    design_seed: int = 1
    question: Question | None = None
    """What the sweep is to answer (docs/questions.md)."""

    def __post_init__(self) -> None:
        if len(self.cases) not in (1, 2):
            raise InputError("case: a sweep takes one case, or two to compare")
        if bool(self.ranges) != bool(self.samples):
            raise InputError("samples: ranges and the number of samples belong together")
        names = list(self.swept)
        if not names and not self.points:
            raise InputError("grid: nothing is swept; give --grid KEY=V1,V2,... or a plan file")
        for name in [*names, *self.settings]:
            if name != bare(name) and len(self.cases) == 1:
                raise InputError(f"{name}: a. and b. are for two cases")
            key(bare(name))
        parts = [list(self.grid), list(self._listed), list(self.ranges), list(self.settings)]
        for name in names:
            if sum(name in part for part in parts) > 1:
                raise InputError(f"{name}: is given twice: by grid, points, samples and set, each key may be in one")

    @property
    def swept(self) -> tuple[str, ...]:
        """Return the keys that change, in the order in which they were given."""
        return tuple(dict.fromkeys([*self.grid, *self._listed, *self.ranges]))

    @property
    def _listed(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for row in self.points for name in row))

    def to_json(self) -> dict[str, Any]:
        """Return what every object about this plan begins with."""
        return {"cases": list(self.cases), "core": self.core, "set": dict(self.settings), "sample": self.sample}

    def rows(self) -> Iterator[Row]:
        """Yield the settings of each point, in the order of the points."""
        factors: list[Sequence[Row]] = []
        if self.grid:
            factors.append(grid(self.grid))
        if self.points:
            factors.append(self.points)
        if self.ranges:
            factors.append(samples(self.ranges, self.samples, sampler=self.design, seed=self.design_seed))
        total = 1
        for factor in factors:
            total *= len(factor)
        if total > MOST_POINTS:
            raise InputError(f"plan: {total:,} points are more than {MOST_POINTS:,}")
        for rows in product(*factors):
            yield {name: value for row in rows for name, value in row.items()}


def plan_from_file(path: Path) -> Plan:
    """Read a plan; the files that its cases name lie where the command is run, as on the command line."""
    return plan_from_toml(read_text(path), str(path))


def plan_from_toml(text: str, where: str) -> Plan:
    """Read a plan from TOML text; `where` it was found is named in errors."""
    document = parse_toml(text, where)
    with named_input(where):
        return _plan(document)


_KINDS: Mapping[str, tuple[type, ...]] = {
    "case": (str, list),
    "core": (str,),
    "size": (str, int),
    "sample": (bool,),
    "skip-impossible": (bool,),
    "set": (dict,),
    "grid": (dict,),
    "points": (list,),
    "samples": (dict,),
    "question": (dict,),
}
_SAMPLE_KINDS: Mapping[str, tuple[type, ...]] = {
    "design": (str,),
    "count": (int,),
    "seed": (int,),
    "ranges": (dict,),
}


def _plan(document: Mapping[str, Any]) -> Plan:
    _check(document, _KINDS, "")
    sampled = document.get("samples", {})
    _check(sampled, _SAMPLE_KINDS, "samples.")
    if not all(isinstance(row, dict) for row in document.get("points", [])):
        raise InputError("points: each must be a table of keys and values")
    cases = document.get("case", "")
    settings = flattened(document.get("set", {}))
    plan = Plan(
        cases=(cases,) if isinstance(cases, str) else tuple(map(str, cases)),
        core=document.get("core"),
        settings=settings | ({"size": document["size"]} if "size" in document else {}),
        sample=document.get("sample", False),
        skip_impossible=document.get("skip-impossible", False),
        grid=flattened(document.get("grid", {})),
        points=[flattened(row) for row in document.get("points", [])],
        ranges=flattened(sampled.get("ranges", {})),
        samples=sampled.get("count", 0),
        design=sampled.get("design", "latin-hypercube"),
        design_seed=sampled.get("seed", 1),
    )
    if "question" not in document:
        return plan
    return replace(plan, question=question_of(document["question"], plan.swept, len(plan.cases)))


def _check(table: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], prefix: str) -> None:
    for name, value in table.items():
        if name not in kinds:
            raise InputError(f"{prefix}{name}: unknown key; known: {', '.join(kinds)}")
        if not isinstance(value, kinds[name]) or (isinstance(value, bool) and bool not in kinds[name]):
            raise InputError(f"{prefix}{name}: {value!r} must be {_WORDS[kinds[name][0]]}")


_WORDS = {str: "text", bool: "true or false", dict: "a table", list: "a list", int: "a whole number"}
