"""A sweep for people: what would be done, and what came out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from relocscope.quantities import seconds
from relocscope.render import plain_table
from relocscope.sweeping.counting import counted_levels
from relocscope.sweeping.keys import bare, key
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.survey import Survey
from relocscope.sweeping.table import BEST, PARQUET, Table
from traces.sizes import size_text

FRONT_SHOWN = 10
"""Points of the front that are shown to people; all of them are in JSON and in the table."""


def show_survey(out: Console, found: Survey) -> None:
    """Show what a plan comes to."""
    _show_plan(out, found.plan)
    skipped = f", {found.impossible} of them impossible" if found.impossible else ""
    out.print(f"points    {found.points:,}{skipped}")
    out.print(f"captures  {found.captures:,}, {found.captures_missing:,} still to be done")
    out.print(f"replays   {found.replays:,}, {found.replays_missing:,} still to be done")
    each = [
        f"{name} {seconds(value)}"
        for name, value in (("a capture", found.capture_seconds), ("a replay", found.replay_seconds))
        if value is not None
    ]
    why = f" ({', '.join(each)}, {max(1, found.workers)} at a time)" if each else ""
    out.print(f"time      about {_duration(found.seconds)}{why}")


def show_table(out: Console, table: Table, directory: Path) -> None:
    """Show the best points, what failed, and where the rest is."""
    _show_plan(out, table.plan)
    host = table.host
    out.print(
        f"{len({row['point'] for row in table.rows}):,} points; {host['captured']:,} captured, "
        f"{host['replayed']:,} replayed, {host['reused']:,} known, in {_duration(host['seconds'])}"
    )
    out.print()
    _show_best(out, table)
    _show_front(out, table)
    for line in not_ok(table):
        out.print(escape(line))
    out.print(f"every point: {escape(str(directory / PARQUET))}")


def show_counts(out: Console, table: Table, directory: Path) -> None:
    """Show the points of a sweep of counts that miss least, what failed, and where the rest is."""
    _show_plan(out, table.plan)
    points, passes = len({row["point"] for row in table.rows}), table.host["passes"]
    out.print(f"{points:,} points counted from {passes:,} streams, none timed; {_duration(table.host['seconds'])}")
    out.print()
    swept = list(dict.fromkeys(map(bare, table.plan.swept)))
    for level in counted_levels(table.plan):
        name = f"count.{level}.misses"
        rows = sorted((row for row in table.rows if row.get(name) is not None), key=lambda row: int(row[name]))[:BEST]
        shown = plain_table("point", *swept, f"{level} misses", "missed", right=(0, len(swept) + 1, len(swept) + 2))
        for row in rows:
            share = row[name] / max(1, row[f"count.{level}.accesses"])
            values = (escape(_value(each, row)) for each in swept)
            shown.add_row(str(row["point"]), *values, f"{row[name]:,}", f"{share:.2%}")
        out.print(shown)
        out.print()
    for line in not_ok(table):
        out.print(escape(line))
    out.print(f"every point: {escape(str(directory / PARQUET))}")


def show_answer(out: Console, table: Table) -> None:
    """Show the plan's question, the times that it is about, and the answer; nothing where it asks none."""
    if table.plan.question is None:
        return
    out.print(escape(table.plan.question.ask), style="bold")
    cases = len(table.plan.cases) > 1
    names = list(dict.fromkeys(map(bare, table.plan.swept)))
    times = [f"{name} {case}" for name, case in zip("AB", table.plan.cases, strict=False)] if cases else ["time"]
    right = tuple(range(len(names), len(names) + len(times) + 1))
    shown = plain_table(*names, *times, "speed-up", right=right)
    points: dict[int, list[Mapping[str, Any]]] = {}
    for row in table.rows:
        points.setdefault(row["point"], []).append(row)
    for rows in points.values():
        gain = "-" if rows[-1]["speedup"] is None else f"{rows[-1]['speedup']:.3f}"
        shown.add_row(
            *(_value(name, rows[0]) for name in names),
            *("-" if row.get("seconds") is None else seconds(row["seconds"]) for row in rows),
            gain,
        )
    out.print(shown)
    out.print()
    for sentence in table.answer:
        out.print(escape(sentence))


def _show_plan(out: Console, plan: Plan) -> None:
    kinds: dict[str, list[str]] = {"captured anew": [], "replayed": []}
    for name in plan.swept:
        kinds["captured anew" if key(bare(name)).functional else "replayed"].append(name)
    out.print(" against ".join(escape(case) for case in plan.cases))
    for words, names in kinds.items():
        if names:
            out.print(f"{words} for each value of {', '.join(names)}")


def _show_best(out: Console, table: Table) -> None:
    columns, rows = best(table)
    cases = len(table.plan.cases) > 1
    shown = plain_table(*columns, right=(0, *range(len(columns) - (3 if cases else 2), len(columns))))
    for row in rows:
        shown.add_row(*map(escape, row))
    out.print(shown)
    others = ended_otherwise(table)
    if others:
        out.print(others)
    out.print()


def _show_front(out: Console, table: Table) -> None:
    """Show what every byte of SRAM buys; nothing where all points have as many."""
    if len(table.front) < 2:
        return
    swept = list(dict.fromkeys(map(bare, table.plan.swept)))
    out.print("Bytes of SRAM against time: no other point is both as small and as soon")
    shown = plain_table("point", *swept, "SRAM", "time", "speed-up", right=(0, *range(len(swept) + 1, len(swept) + 4)))
    for row in table.front[:FRONT_SHOWN]:
        values = (escape(_value(name, row)) for name in swept)
        size, times = f"{row['sram_bytes'] / 1024:,.0f}KiB", "-" if row["speedup"] is None else f"{row['speedup']:.3f}"
        shown.add_row(str(row["point"]), *values, size, seconds(row["seconds"]), times)
    out.print(shown)
    if len(table.front) > FRONT_SHOWN:
        out.print(f"and {len(table.front) - FRONT_SHOWN} larger ones")
    if any(row["sampled"] for row in table.front):
        out.print("(timed by a sample, but for the ten best)")
    out.print()


def best(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the best points; where one case is swept, the case unchanged comes first."""
    swept = list(dict.fromkeys(map(bare, table.plan.swept)))
    times_of = {(row["point"], row["side"]): row.get("seconds") or 0.0 for row in table.rows}
    cases = len(table.plan.cases) > 1
    rows = []
    if table.base is not None and table.base.get("seconds") is not None:
        values = (_value(name, table.base) for name in swept)
        rows.append(["", *values, seconds(table.base["seconds"]), _unchanged(table.base)])
    for row in table.best:
        times = "-" if row["speedup"] is None else f"{row['speedup']:.3f}"
        before = [seconds(times_of[row["point"], "a"])] if cases else []
        values = (_value(name, row) for name in swept)
        rows.append([str(row["point"]), *values, *before, seconds(row["seconds"]), times])
    return ["point", *swept, *(["A", "B"] if cases else ["time"]), "speed-up"], rows


def not_ok(table: Table) -> list[str]:
    """Say why points failed or are impossible: the first five, and how many more."""
    failed = [row for row in table.rows if row["status"] != "ok"]
    more = [f"and {len(failed) - 5:,} more that are not ok"] if len(failed) > 5 else []
    return [f"point {row['point']} {row['status']}: {row['error']}" for row in failed[:5]] + more


def ended_otherwise(table: Table) -> str:
    """Say how many rows hung, faulted or ran out of their budget; empty where none did."""
    outcomes = table.to_json()["outcomes"]
    return ", ".join(f"{n:,} ended in {name}" for name, n in outcomes.items() if n and name != "completed")


def _unchanged(base: Mapping[str, Any]) -> str:
    return "unchanged" if base["outcome"] == "completed" else f"unchanged: {base['outcome']}"


def _value(name: str, row: Mapping[str, Any]) -> str:
    value = row.get(name)
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return size_text(value) if key(name).unit == "bytes" else str(value)


def _duration(value: float) -> str:
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
