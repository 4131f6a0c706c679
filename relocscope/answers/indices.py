"""Indices: what the times of a sweep, and the speed-up of two, hang on, key by key.

From the rows of a design that asks for it (`designs.ASKING`): Morris' elementary effects and Sobol' indices by SALib
(Morris 1991, Campolongo et al. 2007, Saltelli et al. 2010), and one key at a time. Keys are looked at by how far along
their values they are, so that whole numbers, choices and ranges by ratios count as what they are drawn from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relocscope.ranges import between
from relocscope.sweeping.designs import ASKING, Range, rows_in_group, shares, values
from relocscope.sweeping.keys import bare, key
from relocscope.sweeping.points import plain_value
from relocscope.sweeping.salib import STEP, Indices, indices
from traces.errors import InputError
from traces.replacing import replacing

if TYPE_CHECKING:
    from relocscope.sweeping.table import Table

SCHEMA = "relocscope/sensitivity/1"
FILE = "sensitivity.json"

LEAST_GROUPS = 4
"""Fewer whole groups than that say nothing."""

NOTHING = 1e-3
"""Share of the first key's weight below which a key is not shown."""

Row = Mapping[str, Any]
Numbers = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mover:
    """One key: the values that it was given, and its indices.

    `morris`: `mu_star` (what moving it over its range does on average, or from one listed value to another, in the
    answer's unit), `mu` (the same with its sign), `sigma` (how that differs from place to place), `mu_star_conf`.
    `sobol-indices`: `s1` (share of the variance that it explains alone), `st` (with all that it does together with
    others), `s1_conf`, `st_conf`. `one-at-a-time`: `low` and `high`, the answers that it reaches alone. `_conf` is half
    of a 95 % interval.
    """

    key: str
    values: str
    numbers: Numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """One answer of a sweep over the points that count, and the keys that move it, most first."""

    what: str
    """seconds or speedup."""
    case: str | None
    """Whose; None of a speed-up."""
    usual: float | None
    """With nothing moved; known of one case, and of a design that tries one key at a time."""
    low: float
    mean: float
    high: float
    interval: tuple[float, float] | None
    """Between what it lies with all keys independent (`ranges.between`); of one key at a time only."""
    movers: tuple[Mover, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivities:
    """What a sweep's answers hang on. Equal plans give equal ones; `host` is apart."""

    table: "Table"
    groups: int
    """Trajectories or samples of which every point has all answers; of one key at a time: such points."""
    left_out: int
    """Those that have not: one of their points cannot be, failed or does not arrive."""
    answers: tuple[Answered, ...]

    @property
    def method(self) -> str:
        """The design: morris, sobol-indices or one-at-a-time."""
        return self.table.plan.design

    def to_json(self) -> dict[str, Any]:
        """Return the object of `sensitivity --json`."""
        plan, rows = self.table.plan, self.table.rows
        return {
            "schema": SCHEMA,
            "cases": list(plan.cases),
            "core": plan.core,
            "set": {name: plain_value(value) for name, value in plan.settings.items()},
            "sample": plan.sample,
            "method": self.method,
            "seed": plan.design_seed,
            "points": len({row["point"] for row in rows}),
            "groups": self.groups,
            "left_out": self.left_out,
            "keys": [
                {"key": name, "values": values_text(one), "unit": key(bare(name)).unit}
                for name, one in plan.ranges.items()
            ],
            "answers": [asdict(answer) for answer in self.answers],
            "model": self.table.model,
            "host": dict(self.table.host),
        }

    def write(self, directory: Path) -> None:
        """Write sensitivity.json there, beside what the sweep wrote."""
        with replacing(directory / FILE) as stream:
            stream.write(json.dumps(self.to_json(), indent=2, allow_nan=False).encode() + b"\n")

    def tornado(self, answer: Answered | None = None, *, axes: Any = None) -> Any:
        """Draw what an answer hangs on, the last one if none is given; return Matplotlib's axes."""
        from relocscope.sweeping.tornado import tornado_of

        return tornado_of(answer or self.answers[-1], self.method, axes=axes)


def sensitivities(table: "Table") -> Sensitivities:
    """Compute what a sweep's answers hang on. Points that have no time take their whole group along.

    InputError where the plan has no such design, or too few of its groups are whole.
    """
    plan = table.plan
    if not plan.ranges or plan.design not in ASKING or plan.grid or plan.points:
        raise InputError(f"design: must be one of {', '.join(ASKING)}, and no grid or points beside it")
    answers = _answers(table)
    points = len(next(iter(answers.values())))
    size = rows_in_group(len(plan.ranges), plan.design)
    whole = [
        start for start in range(0, points, size)
        if all(None not in given[start : start + size] for given in answers.values())
    ]  # fmt: skip
    if plan.design == "one-at-a-time":
        if not whole or whole[0] != 0:
            raise InputError("sensitivity: the case as it is has no time, so that nothing can be said of changes to it")
        found = [_one_at_a_time(table, *each) for each in answers.items()]
    else:
        if len(whole) < min(LEAST_GROUPS, plan.samples):
            raise InputError(_too_few(table, len(whole), points // size))
        used = [start + step for start in whole for step in range(size)]
        found = _of_groups(table, answers, used)
    return Sensitivities(table=table, groups=len(whole), left_out=points // size - len(whole), answers=tuple(found))


def _too_few(table: "Table", whole: int, groups: int) -> str:
    why = next((str(row["error"]) for row in table.rows if row["error"]), "points do not arrive")
    return (
        f"sensitivity: only {whole} of {groups} groups of points have a time at each of them; at others: {why} "
        "(list the values that can be: KEY=V1,V2 or LOW..HIGH:x2)"
    )


def _answers(table: "Table") -> dict[tuple[str, str | None], list[float | None]]:
    """Return each answer by the number of the point; None where it has none."""
    sides = ("a", "b")[: len(table.plan.cases)]
    found: dict[tuple[str, str | None], list[float | None]] = {}
    for side, case in zip(sides, table.plan.cases, strict=True):
        rows = [row for row in table.rows if row["side"] == side]
        name = case if len(set(table.plan.cases)) == len(sides) else f"{side}: {case}"
        found["seconds", name] = [row["seconds"] if row["outcome"] == "completed" else None for row in rows]
        if side == "b":
            found["speedup", None] = [row["speedup"] for row in rows]
    return found


def _one_at_a_time(table: "Table", what: tuple[str, str | None], given: Sequence[float | None]) -> Answered:
    usual, *others = given
    if usual is None:
        raise ValueError("asked for before the case as it is was seen to have a time")
    moves = [
        (next(iter(row)), answer)
        for row, answer in zip(list(table.plan.rows())[1:], others, strict=True)
        if answer is not None
    ]
    movers = []
    for name, one in table.plan.ranges.items():
        reached = [usual, *(answer for moved, answer in moves if moved == name)]
        numbers = {"low": min(reached), "high": max(reached)}
        movers.append(Mover(key=name, values=values_text(one), numbers=numbers))
    reached = [usual, *(answer for _, answer in moves)]
    return Answered(
        what=what[0], case=what[1], usual=usual, low=min(reached), mean=sum(reached) / len(reached), high=max(reached),
        interval=between(usual, moves), movers=_ordered(movers),
    )  # fmt: skip


def _of_groups(
    table: "Table", answers: Mapping[tuple[str, str | None], Sequence[float | None]], used: Sequence[int]
) -> list[Answered]:
    plan = table.plan
    design = shares(len(plan.ranges), plan.samples, sampler=plan.design, seed=plan.design_seed)
    given = [[float(each[at] or 0.0) for at in used] for each in answers.values()]
    computed = indices([design[at] for at in used], given, method=plan.design, seed=plan.design_seed)
    base = table.base["seconds"] if table.base and table.base["outcome"] == "completed" else None
    found = []
    for (what, case), reached, numbers in zip(answers, given, computed, strict=True):
        movers = [
            Mover(key=name, values=values_text(one), numbers=_of_key(plan.design, name, one, numbers, at))
            for at, (name, one) in enumerate(plan.ranges.items())
        ]
        found.append(
            Answered(
                what=what, case=case, usual=base, low=min(reached), mean=sum(reached) / len(reached),
                high=max(reached), interval=None, movers=_ordered(movers),
            )
        )  # fmt: skip
    return found


def _of_key(design: str, name: str, given: Any, computed: Indices, at: int) -> Numbers:
    """Return the indices of one key. Between listed values there is nothing, and no whole way: a change is a change."""
    listed = design == "morris" and not isinstance(values(name, given), Range)
    scale = STEP if listed else 1.0
    return {index: None if each[at] is None else (each[at] or 0.0) * scale for index, each in computed.items()}


def weight(mover: Mover) -> float:
    """Return by what keys are put in order: the effect, the total share, or how far the answer moves."""
    numbers = mover.numbers
    if "low" in numbers:
        return float((numbers["high"] or 0.0) - (numbers["low"] or 0.0))
    return float(numbers.get("mu_star", numbers.get("st")) or 0.0)


def listed(answer: Answered) -> list[Mover]:
    """Return the keys worth showing: those with more than a thousandth of what the first one does, or the first."""
    return [mover for mover in answer.movers if weight(mover) > NOTHING * weight(answer.movers[0])] or [
        answer.movers[0]
    ]


def _ordered(movers: Sequence[Mover]) -> tuple[Mover, ...]:
    return tuple(sorted(movers, key=lambda mover: (-weight(mover), mover.key)))


def values_text(given: Any) -> str:
    """Write the values of a key as a plan does."""
    if isinstance(given, Range):
        return f"{given.low:g}..{given.high:g}{':log' if given.log else ''}"
    return given if isinstance(given, str) else ",".join(str(plain_value(value)) for value in given)


def check_values(given: Mapping[str, Any]) -> None:
    """Refuse keys that cannot move: those of a single value; InputError names them."""
    for name, one in given.items():
        found = values(name, one)
        if not isinstance(found, Range) and len(set(map(str, found))) < 2:
            raise InputError(f"{name}: {values_text(one)!r}: needs two values or more: with one, nothing hangs on it")
