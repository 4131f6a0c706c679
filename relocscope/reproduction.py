"""The reproduction table: what history says each row does (reproduction.toml), run and compared."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from relocscope.case import expectations
from relocscope.operand import Operand, operand, with_settings
from traces.errors import InputError

if TYPE_CHECKING:
    from relocscope.runs import Run

_FILE = "reproduction.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Time:
    """Bounds of a row's modelled seconds over those of another row."""

    of: str
    least: float = 0.0
    most: float = float("inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row: a case, what is set over it, and what its source says comes out."""

    id: str
    case: str
    set: Mapping[str, Any]
    expect: Mapping[str, Any]
    times: tuple[Time, ...]
    source: str

    @property
    def name(self) -> str:
        """The case, with what is set over it."""
        return " ".join([self.case, *(f"{key}={value}" for key, value in self.set.items())])

    def subject(self) -> Operand:
        """Return what is to be run."""
        return with_settings(operand(self.case), self.set)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What one row came to. `run` None: it could not be run, and `refused` says why."""

    row: Row
    run: "Run | None" = None
    refused: str = ""
    mismatches: tuple[str, ...] = ()


@cache
def rows() -> tuple[Row, ...]:
    """Return the rows of the table, in the order of the history."""
    document = tomllib.loads((resources.files("relocscope") / _FILE).read_text(encoding="utf-8"))
    return tuple(
        Row(
            id=table["id"],
            case=table["case"],
            set=table.get("set", {}),
            expect=expectations(table["expect"], f"{_FILE}: {table['id']}"),
            times=tuple(Time(**time) for time in table.get("time", ())),
            source=table["source"],
        )
        for table in document["row"]
    )


def row_of(case: str) -> Row | None:
    """Return the row of a case as it is, with nothing set over it."""
    return next((row for row in rows() if row.case == case and not row.set), None)


def own_row(path: str) -> Row:
    """Return the row of a person's own case file, which states in a table [expect] what comes out."""
    case = operand(path).case if path.endswith(".toml") else None
    if case is None:
        raise InputError(f"{path}: must be a case file, FILE.toml")
    if not case.expect:
        raise InputError(f"{path}: expect: must be given, a table of what should come out")
    source = case.expect.get("source", case.source)
    return Row(id=case.name, case=path, set={}, expect=case.expect, times=(), source=source)


def compare(
    chosen: Sequence[Row],
    settings: Mapping[str, Any] | None = None,
    *,
    core: str | None = None,
    sample: bool | None = None,
) -> Iterator[Comparison]:
    """Run each row, with `settings` over its own, and compare; times are of the rows that ran before, or later ones.

    A row that the settings leave no sense (an image too small for it, a core without VHE) is refused, not compared.
    """
    from relocscope.expectations import mismatches
    from relocscope.runs import run_operand

    seconds: dict[str, float] = {}
    for row in chosen:
        try:
            run = run_operand(with_settings(row.subject(), settings or {}, core=core, sample=sample))
        except InputError as error:
            yield Comparison(row=row, refused=str(error))
            continue
        seconds[row.id] = run.seconds
        wrong = [*mismatches(run, row.expect), *_late(row, seconds)]
        yield Comparison(row=row, run=run, mismatches=tuple(wrong))


def _late(row: Row, seconds: Mapping[str, float]) -> Iterator[str]:
    """Say which bounds on a row's time do not hold. A row is only ever compared with rows above it."""
    for time in row.times:
        if not seconds.get(time.of):
            continue
        ratio = seconds[row.id] / seconds[time.of]
        if not time.least <= ratio <= time.most:
            yield f"time: expected {bounds(time)}, found {ratio:.3g} times"


def bounds(time: Time) -> str:
    """Write the bounds of a time: `at most 0.1 times R2`."""
    if time.least and time.most != float("inf"):
        return f"{time.least:g} to {time.most:g} times {time.of}"
    return f"at least {time.least:g} times {time.of}" if time.least else f"at most {time.most:g} times {time.of}"
