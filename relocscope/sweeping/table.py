"""Table: what a sweep comes to, one row a point and case; as Parquet, as data frames, as a page of a notebook."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relocscope.sweeping.keys import bare, key
from relocscope.sweeping.measured import columns as measured_columns
from relocscope.sweeping.plan import Plan
from traces.replacing import replacing

if TYPE_CHECKING:
    import pandas
    import polars

SCHEMA = "relocscope/sweep/1"
PARQUET, SUMMARY = "sweep.parquet", "summary.json"

BEST = 10
"""Rows that the summary lists."""

Row = Mapping[str, Any]


def columns(plan: Plan) -> dict[str, tuple[type, str]]:
    """Return every column of a plan's table in its order: kind of its values, and their unit or meaning."""
    swept = dict.fromkeys(bare(name) for name in plan.swept)
    return {
        "point": (int, "number of the row of the plan, from 0"),
        "side": (str, "a or b, where two cases are compared"),
        "case": (str, ""),
        "core": (str, ""),
        **{name: (key(name).kind, key(name).unit) for name in swept if name != "core"},
        "status": (str, "ok, failed or impossible"),
        "error": (str, "why not ok"),
        "speedup": (float, "times as fast as the first case there, or as the case unchanged"),
        "sampled": (bool, "timed by a sample of the copy"),
        "sampled_seconds": (float, "s, what the sample said"),
        "sram_bytes": (int, "bytes"),
        "on_front": (bool, "no point is both as small and as soon"),
        **measured_columns(),
        "trace": (str, "SHA-256"),
        "config": (str, "SHA-256"),
        "model": (str, "SHA-256"),
    }


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """The rows of a sweep, and what it took. Equal plans give equal rows, whoever computed them; `host` is apart."""

    plan: Plan
    rows: Sequence[Row]
    base: Row | None
    """The case unchanged, where one case was swept."""
    captures: int
    """Functional runs that the plan needs."""
    model: str
    host: Mapping[str, Any]
    """What differs between two runs: seconds, what was computed and what was there, by whom."""

    @cached_property
    def columns(self) -> dict[str, tuple[type, str]]:
        """Every column: kind of its values, and their unit or meaning."""
        return columns(self.plan)

    def to_polars(self) -> "polars.DataFrame":
        """Return the table as Polars has it."""
        import polars

        kinds = {int: polars.Int64, float: polars.Float64, bool: polars.Boolean, str: polars.String}
        data = []
        for name, (kind, _) in self.columns.items():
            values = [_as(kind, row.get(name)) for row in self.rows]
            wide = kind is int and any(value >= 1 << 63 for value in values if value is not None)
            data.append(polars.Series(name, values, polars.UInt64 if wide else kinds[kind]))
        return polars.DataFrame(data)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table as pandas has it."""
        from relocscope.sweeping.extras import imported

        kinds = {int: "Int64", float: "Float64", bool: "boolean", str: "string"}
        pd = imported("pandas", "notebook")
        frame: pandas.DataFrame = pd.DataFrame(
            {
                name: pd.array([_as(kind, row.get(name)) for row in self.rows], dtype=kinds[kind])
                for name, (kind, _) in self.columns.items()
            }
        )
        return frame

    def plot(self, x: str | None = None, y: str = "seconds", **options: Any) -> Any:
        """Draw a column over a swept key, a line for each combination of the other keys; return Matplotlib's axes."""
        from relocscope.sweeping.plotting import plot

        return plot(self, x, y, **options)

    def plot_front(self, **options: Any) -> Any:
        """Draw bytes of SRAM against time, and the points than which none is both smaller and sooner."""
        from relocscope.sweeping.plotting import plot_front

        return plot_front(self, **options)

    def heat_map(self, x: str | None = None, y: str | None = None, of: str | None = None, **options: Any) -> Any:
        """Draw times or speed-ups over two swept keys (`sweeping.heat_map`); return Matplotlib's axes."""
        from relocscope.sweeping.heat_map import heat_map

        return heat_map(self, x, y, of, **options)

    def __repr__(self) -> str:
        points = len({row["point"] for row in self.rows})
        return f"<Table: {points:,} points of {' against '.join(self.plan.cases)} over {', '.join(self.plan.swept)}>"

    def _repr_html_(self) -> str:
        from relocscope.report.notebook import sweep_html

        return sweep_html(self)

    @property
    def shown(self) -> list[str]:
        """Columns that people want to see first."""
        cases = ["side", "case"] if len(self.plan.cases) > 1 else []
        swept = dict.fromkeys(map(bare, self.plan.swept))
        failed = ["status", "error"] if any(row["status"] != "ok" for row in self.rows) else []
        return ["point", *cases, *swept, "outcome", "seconds", "speedup", *failed]

    @property
    def best(self) -> list[Row]:
        """The ten best rows (`best_of`)."""
        return best_of(self.plan, self.rows)

    @cached_property
    def front(self) -> list[Row]:
        """The rows than which none is both smaller and sooner (`pareto.front`), cheapest first."""
        return sorted((row for row in self.rows if row["on_front"]), key=lambda row: int(row["sram_bytes"]))

    def count(self, status: str) -> int:
        """How many rows have that status."""
        return sum(row["status"] == status for row in self.rows)

    @cached_property
    def answer(self) -> list[str]:
        """What the rows answer to the plan's question, a sentence each; empty where it asks none."""
        from relocscope.answers.sentences import answer

        return [] if self.plan.question is None else answer(self, self.plan.question)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `sweep --json`: the summary, without the rows."""
        plan = self.plan
        return {
            "schema": SCHEMA,
            **plan.to_json(),
            "keys": [
                {
                    "key": name,
                    "functional": key(bare(name)).functional,
                    "unit": key(bare(name)).unit,
                    "values": len({row.get(bare(name)) for row in self.rows}),
                }
                for name in plan.swept
            ],
            "points": len({row["point"] for row in self.rows}),
            "captures": self.captures,
            "rows": {status: self.count(status) for status in ("ok", "failed", "impossible")},
            "outcomes": {
                outcome: sum(row["outcome"] == outcome for row in self.rows)
                for outcome in ("completed", "hang", "fault", "budget")
            },
            "base": None
            if self.base is None
            else {"seconds": self.base.get("seconds"), "error": self.base.get("error")},
            "best": [{name: row.get(name) for name in self.shown} for row in self.best],
            "front": [{name: row[name] for name in (*self.shown, "sram_bytes", "sampled")} for row in self.front],
            "failures": [{"point": row["point"], "error": row["error"]} for row in self.rows if row["error"]][:BEST],
            "question": None if plan.question is None else plan.question.ask,
            "answer": self.answer,
            "model": self.model,
            "host": dict(self.host),
        }

    def write(self, directory: Path) -> None:
        """Write sweep.parquet and summary.json there: each one whole, or as it was."""
        content = io.BytesIO()
        self.to_polars().write_parquet(content, compression="zstd", row_group_size=1 << 16)
        for name, data in (
            (PARQUET, content.getvalue()),
            (SUMMARY, json.dumps(self.to_json(), indent=2, allow_nan=False).encode() + b"\n"),
        ):
            with replacing(directory / name) as stream:
                stream.write(data)


def best_of(plan: Plan, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that arrive soonest; of two cases, the second's where it gains most."""
    if len(plan.cases) == 1:
        arrived = [row for row in rows if row["outcome"] == "completed"]
        return sorted(arrived, key=lambda row: (row["seconds"], row["point"]))[:BEST]
    gained = [row for row in rows if row["side"] == "b" and row["speedup"] is not None]
    return sorted(gained, key=lambda row: (-row["speedup"], row["point"]))[:BEST]


def _as(kind: type, value: Any) -> Any:
    """Return a value as its column has it."""
    return None if value is None else kind(value)
