"""`relocscope trace`: record, describe, check and replay trace files."""

from pathlib import Path

import click

from relocscope.commands.options import json_option, machine_options, settings_of, wants_text, write_json

_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def trace() -> None:
    """Record and replay what a run did."""


@trace.command()
@click.argument("case")
@click.option("-o", "target", type=click.Path(path_type=Path), required=True, help="Trace file to write.")
@machine_options
def record(
    case: str, target: Path, core: str | None, size: str | None, settings: tuple[str, ...], sample: bool
) -> None:
    """Run CASE without timing it and keep its trace."""
    from relocscope.emulate import emulate, ram_guest
    from relocscope.operand import operand, with_settings
    from relocscope.progress import Progress
    from traces.errors import InputError
    from traces.files import save
    from traces.fold import instruction_count

    subject = with_settings(operand(case), settings_of(settings, size), core=core, sample=sample)
    with Progress(f"recording {case}"):
        if subject.case is not None:
            recorded = emulate(subject.case)
        elif subject.ram is not None:
            recorded = ram_guest(subject.ram).run().trace
        else:
            raise InputError(f"{case}: is a trace already")
        save(recorded, target)
    click.echo(f"{target}: {instruction_count(recorded):,} instructions, {target.stat().st_size:,} bytes")


@trace.command()
@_file
@json_option
def info(file: Path, json_path: str | None) -> None:
    """Show what a trace file says of itself."""
    from traces.files import read_header

    header = read_header(file)
    result = {"schema": "relocscope/trace/1", "file": str(file), "bytes": file.stat().st_size, **_described(header)}
    if wants_text(json_path):
        for name, value in result.items():
            if name not in ("schema", "meta", "arrays"):
                click.echo(f"{name:<14} {value}")
        for name, array in header["arrays"].items():
            click.echo(f"{name:<14} {array['rows']:,} rows of {array['row_bytes']} bytes")
        for name, value in header["meta"].items():
            click.echo(f"{name:<14} {str(value)[:100]}")
    write_json(json_path, result)


def _described(header: dict[str, object]) -> dict[str, object]:
    return {
        "version": header["version"],
        "record_schema": header["schema"],
        "arrays": header["arrays"],
        "meta": header["meta"],
    }


@trace.command(name="check")
@_file
@json_option
def check_file(file: Path, json_path: str | None) -> int:
    """Test every promise that a trace makes; the status is 1 where one is broken."""
    from traces.check import check
    from traces.files import load

    broken = check(load(file, verify=False))
    if wants_text(json_path):
        for sentence in broken or ["keeps all its promises"]:
            click.echo(f"{file}: {sentence}")
    write_json(json_path, {"schema": "relocscope/trace-check/1", "file": str(file), "broken": broken})
    return 1 if broken else 0


@trace.command()
@_file
@machine_options
@json_option
@click.pass_context
def replay(
    context: click.Context,
    file: Path,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    sample: bool,
    json_path: str | None,
) -> int:
    """Time a trace on a core: the same as `relocscope run trace:FILE`."""
    from relocscope.commands.run import run

    return int(
        context.invoke(
            run,
            case=f"trace:{file}",
            kernel=None,
            boot=None,
            ram=(),
            registers=None,
            core=core,
            size=size,
            settings=settings,
            sample=sample,
            json_path=json_path,
        )
    )
