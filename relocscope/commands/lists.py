"""`relocscope cases`, `cores` and `mechanisms`: what there is, one line each."""

from typing import Any

import click

from relocscope.commands.options import json_option, machine_options, settings_of, wants_text, write_json


@click.command()
@click.option("--run-all", is_flag=True, help="Run every case and compare with what its source says should happen.")
@machine_options
@json_option
def cases(
    run_all: bool, core: str | None, size: str | None, settings: tuple[str, ...], sample: bool, json_path: str | None
) -> int:
    """List the cases that ship, or run them all; the status is then 1 where one does not do what is expected."""
    from relocscope.case import case_names, shipped_case

    listed: list[dict[str, Any]] = []
    for name in case_names():
        case = shipped_case(name)
        listed.append(
            {
                "name": name,
                "title": case.title,
                "source": case.source,
                "boot": case.boot,
                "core": case.core,
                "expect": {k: list(v) if isinstance(v, tuple) else v for k, v in case.expect.items()},
            }
        )
    if run_all:
        return _run_all(listed, settings_of(settings, size), core, sample, json_path)
    if core or size or settings:
        from traces.errors import InputError

        raise InputError("--core, --size, --set: belong to --run-all")
    if wants_text(json_path):
        _show(("case", "core", "what"), [(row["name"], row["core"], row["title"]) for row in listed])
    write_json(json_path, {"schema": "relocscope/cases/1", "cases": listed})
    return 0


def _run_all(
    listed: list[dict[str, Any]], settings: dict[str, str], core: str | None, sample: bool, json_path: str | None
) -> int:
    from relocscope import render
    from relocscope.expectations import found, mismatches
    from relocscope.operand import operand, with_settings
    from relocscope.runs import CannotRunError, run_operand

    out = render.console() if wants_text(json_path) else None
    wrong = 0
    for row in listed:
        subject = with_settings(operand(row["name"]), settings, core=core, sample=sample)
        try:
            run = run_operand(subject)
        except CannotRunError as error:
            row["refused"] = str(error)
            if out:
                out.print(f"{row['name']:<22} cannot run: {error}", markup=False)
            continue
        broken = mismatches(run, subject.case.expect if subject.case else {})
        wrong += bool(broken)
        facts = found(run)
        row["found"] = {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items()} | {"seconds": run.seconds}
        row["mismatches"] = broken
        if out:
            state = "[red]differs[/]" if broken else "[green]as expected[/]"
            where = f"copy at EL{facts['copy_el']}" if facts["copies"] else "no copy"
            out.print(f"{row['name']:<22} {state:<24} {run.outcome:<10} {where:<12} {render.seconds(run.seconds):>11}")
            for line in broken:
                out.print(f"    {line}", markup=False)
    write_json(json_path, {"schema": "relocscope/cases/1", "cases": listed})
    return 1 if wrong else 0


@click.command()
@json_option
def cores(json_path: str | None) -> None:
    """List the modelled cores."""
    from relocscope import cores as listed

    rows = listed()
    if wants_text(json_path):
        _show(("core", "version", "what"), [(row["name"], row["version"], row["title"]) for row in rows])
    write_json(json_path, {"schema": "relocscope/cores/1", "cores": rows})


@click.command()
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
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
