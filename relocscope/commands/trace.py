"""`relocscope trace`: record, describe, check, replay, compare and export what a run did."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from relocscope.commands import offered
from relocscope.commands.options import (
    core_options,
    json_option,
    machine_options,
    settings_of,
    wants_text,
    write_json,
)
from relocscope.terminal import say

_FORMATS = "perfetto, kanata, callgrind, folded, stats, din, tarmac, parquet or parquet-costs."

_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def trace() -> None:
    """Record, replay, compare and export what a run did."""


@trace.command()
@click.argument("case", shell_complete=offered.cases)
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
    say(f"{target}: {instruction_count(recorded):,} instructions, {target.stat().st_size:,} bytes")


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
                say(f"{name:<14} {value}")
        for name, array in header["arrays"].items():
            say(f"{name:<14} {array['rows']:,} rows of {array['row_bytes']} bytes")
        for name, value in header["meta"].items():
            say(f"{name:<14} {str(value)[:100]}")
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
    from relocscope.progress import Progress
    from traces.check import check
    from traces.files import load

    with Progress(f"checking {file}"):
        broken = check(load(file, verify=False))
    if wants_text(json_path):
        for sentence in broken or ["keeps all its promises"]:
            say(f"{file}: {sentence}")
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


@trace.command()
@click.argument("case", shell_complete=offered.cases, metavar="CASE|FILE")
@click.option("--format", "name", metavar="NAME", required=True, help=_FORMATS)
@click.option("-o", "target", metavar="FILE", required=True, help="File to write; - is stdout.")
@click.option("--pages", metavar="A:B", help="Pages A up to B of the copy, counted from 0.")
@click.option("--instructions", metavar="A:B", help="Instructions A up to B of the run, counted from 0.")
@click.option("--cycles", metavar="A:B", help="What began in modelled cycles A up to B.")
@core_options
def export(
    case: str,
    name: str,
    target: str,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    **bounds: str | None,
) -> None:
    """Write a run for other tools to open (docs/exports.md). CASE may be a trace file as it is."""
    from relocscope.exporting import export as write
    from relocscope.exporting import parse_bounds
    from relocscope.operand import operand, with_settings
    from relocscope.progress import Progress
    from traces.errors import InputError

    given = [parse_bounds(unit, text) for unit, text in bounds.items() if text is not None]
    if len(given) > 1:
        raise InputError(f"--{given[1].unit}: give one of --pages, --instructions and --cycles")
    subject = with_settings(operand(_case_text(case)), settings_of(settings, size), core=core)
    with Progress(f"exporting {case}"), _out(target) as stream:
        write(subject, name, stream, given[0] if given else None, note=_note)


def _note(text: str) -> None:
    say(f"relocscope: {text}", file=sys.stderr)


@contextmanager
def _out(target: str) -> Iterator[IO[bytes]]:
    from traces.replacing import replacing

    if target != "-":
        with replacing(target, "-o") as stream:
            yield stream
        return
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def _case_text(text: str) -> str:
    """Return a CASE as it is; a trace file may be named without `trace:`."""
    from relocscope.case import case_names
    from traces.reading import is_file

    is_trace = text not in case_names() and not text.endswith(".toml") and is_file(text)
    return f"trace:{text}" if is_trace else text


@trace.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "target", type=click.Path(path_type=Path), required=True, help="Trace file to write.")
@click.option("--memory-type", "label", default="Normal-WB", metavar="TYPE", help="Of all data; Normal-WB if left out.")
def import_(file: Path, target: Path, label: str) -> None:
    """Make a trace of a Dinero din FILE, plain or gzip'ed, as far as it says anything."""
    from relocscope.progress import Progress
    from traces.errors import InputError
    from traces.exports.din_trace import trace_of_din
    from traces.files import save
    from traces.fold import access_count, instruction_count
    from traces.schema import MemoryType

    kinds = {kind.label: kind for kind in MemoryType}
    if label not in kinds:
        raise InputError(f"--memory-type: {label!r}: must be one of {', '.join(kinds)}")
    with Progress(f"importing {file}"):
        made = trace_of_din(file, kinds[label])
        save(made, target)
    say(f"{target}: {instruction_count(made):,} instructions, {access_count(made):,} accesses")


@trace.command()
@click.argument("a", shell_complete=offered.cases, metavar="A")
@click.argument("b", shell_complete=offered.cases, metavar="B")
@core_options
@json_option
def diff(a: str, b: str, core: str | None, size: str | None, settings: tuple[str, ...], json_path: str | None) -> None:
    """Compare what two runs did and cost: cases or trace files.

    The first instruction at which they part, and the differences of counters, causes and costs by instruction.
    """
    from relocscope.comparison import sides
    from relocscope.progress import Progress
    from relocscope.render import console
    from relocscope.render_diff import show_difference
    from relocscope.trace_diff import compare

    subjects = sides(_case_text(a), _case_text(b), settings_of(settings, size), core=core)
    with Progress(f"comparing {a} and {b}"):
        found = compare(*subjects)
    if wants_text(json_path):
        show_difference(console(), found)
    write_json(json_path, found.to_json())
