"""`relocscope cases`, `cores` and `mechanisms`: what there is, one line each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relocscope.commands.options import json_option, machine_options, settings_of, wants_text, write_json
from relocscope.terminal import say

if TYPE_CHECKING:
    from relocscope.case import Case
    from relocscope.reproduction import Row


@click.command(short_help="List the cases that ship, or run them all.")
@click.argument("files", metavar="[FILE.toml]...", nargs=-1)
@click.option("--run-all", is_flag=True, help="Run every case and compare with what its source says should happen.")
@machine_options
@json_option
def cases(
    files: tuple[str, ...],
    run_all: bool,
    *,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    sample: bool,
    json_path: str | None,
) -> int:
    """List the cases that ship, or run them all; the status is then 1 where one does not do what is expected.

    With case files of your own: those instead, each compared with its table [expect].
    """
    from relocscope.case import case_from_file, case_names, shipped_case
    from relocscope.reproduction import own_row, row_of, rows

    own = [own_row(file) for file in files]
    described: list[tuple[Case, Row | None]] = [(case_from_file(Path(row.case)), row) for row in own]
    described = described or [(shipped_case(name), row_of(name)) for name in case_names()]
    if run_all:
        of_core = {"core": core, "sample": sample}
        return _run_all(described, own or rows(), settings_of(settings, size), of_core, json_path)
    listed = [_described(case, row) for case, row in described]
    if core or size or settings:
        from traces.errors import InputError

        raise InputError("--core, --size, --set: belong to --run-all")
    if wants_text(json_path):
        _show(("case", "core", "what"), [(row["name"], row["core"], row["title"]) for row in listed])
    write_json(json_path, {"schema": "relocscope/cases/1", "cases": listed})
    return 0


def _described(case: "Case", row: "Row | None") -> dict[str, Any]:
    return {
        "name": case.name,
        "title": case.title,
        "source": case.source,
        "boot": case.boot,
        "core": case.core,
        "expect": _plain(row.expect) if row else {},
    }


def _run_all(
    described: "Sequence[tuple[Case, Row | None]]",
    chosen: "Sequence[Row]",
    settings: dict[str, str],
    of_core: Mapping[str, Any],
    json_path: str | None,
) -> int:
    from relocscope import render
    from relocscope.expectations import found
    from relocscope.progress import Progress
    from relocscope.reproduction import compare

    out = render.console() if wants_text(json_path) else None
    table: list[dict[str, Any]] = []
    with Progress("running the cases") as progress:
        for comparison in compare(chosen, settings, **of_core):
            row, run = comparison.row, comparison.run
            entry = {"id": row.id, "case": row.case, "set": dict(row.set), "source": row.source}
            entry |= {"expect": _plain(row.expect)}
            entry |= {"refused": comparison.refused} if run is None else {}
            if run is not None:
                entry |= {"found": _plain(found(run)) | {"seconds": run.seconds}}
                entry |= {"mismatches": list(comparison.mismatches)}
            table.append(entry)
            progress.step(len(table), len(chosen))
            if out:
                _show_row(out, comparison)
    by_case = {entry["case"]: entry for entry in table if not entry["set"]}
    listed: list[dict[str, Any]] = []
    for case, own in described:
        ran = by_case.get(own.case, {}) if own else {}
        listed.append(_described(case, own) | {key: ran[key] for key in _RAN if key in ran})
    write_json(json_path, {"schema": "relocscope/cases/1", "cases": listed, "rows": table})
    wrong = sum(bool(entry.get("mismatches")) for entry in table)
    refused = sum("refused" in entry for entry in table)
    if out:
        equal = len(table) - wrong - refused
        out.print(f"{equal} of {len(table)} as expected, {wrong} not" + (f", {refused} could not run" * bool(refused)))
    # Nothing set over them leaves no case without sense.
    return 1 if wrong or (refused and not settings and not of_core["core"]) else 0


_RAN = ("found", "mismatches", "refused")


def _show_row(out: Any, comparison: Any) -> None:
    """Show a row and what it came to, and below it each statement that it does not bear out."""
    from relocscope.quantities import seconds

    row, run = comparison.row, comparison.run
    if run is None:
        out.print(f"{row.id:<5} cannot run: {comparison.refused}  {row.name}", markup=False)
        return
    state = "[red]differs    [/]" if comparison.mismatches else "[green]as expected[/]"
    where = f"copy at EL{run.copy['el']}" if run.copy else "no copy"
    time = f"{seconds(run.seconds):>11}"
    out.print(f"{row.id:<5} {state} {run.outcome:<10}{where:<12}{time}  {row.name}", soft_wrap=True)
    for line in comparison.mismatches:
        out.print(f"      {line}", markup=False)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


@click.command()
@json_option
def cores(json_path: str | None) -> None:
    """List the modelled cores."""
    from relocscope import cores as listed

    rows = listed()
    if wants_text(json_path):
        _show(("core", "version", "what"), [(row["name"], row["version"], row["title"]) for row in rows])
    write_json(json_path, {"schema": "relocscope/cores/1", "cores": rows})


@click.command(short_help="List the mechanisms, by the group that `explain` reports.")
@json_option
def mechanisms(json_path: str | None) -> None:
    """List the mechanisms of the model, by the group that `explain` reports."""
    from caches.mechanisms import mechanisms as listed

    rows = [{"name": one.name, "group": one.group, "title": one.title} for one in listed()]
    if wants_text(json_path):
        _show(("mechanism", "group", "what"), [(row["name"], row["group"], row["title"]) for row in rows])
    write_json(json_path, {"schema": "relocscope/mechanisms/1", "mechanisms": rows})


def _show(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Show one line a row, whatever the width where it is piped."""
    from relocscope import render

    out = render.console()
    if out.is_terminal:
        from rich.markup import escape

        table = render.plain_table(*columns)
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
