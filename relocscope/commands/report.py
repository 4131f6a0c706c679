"""`relocscope report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relocscope.commands import offered
from relocscope.commands.options import json_option, machine_options, settings_of, wants_text, writable, write_json
from traces.errors import InputError
from traces.replacing import replacing

if TYPE_CHECKING:
    from relocscope.report.gathered import Report

_SUFFIXES = (".html", ".htm", ".md", ".txt")


def _known(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse a file whose name does not say what to write."""
    if value is not None and Path(value).suffix.lower() not in _SUFFIXES:
        raise InputError(f"-o: {value}: must end in .html, .md or .txt")
    return writable(context, option, value)


@click.command(short_help="Write a page, a mail or text about one run or several.")
@click.argument("cases", shell_complete=offered.cases, metavar="[CASE]...", nargs=-1)
@click.option(
    "-o",
    "output",
    metavar="FILE",
    callback=_known,
    help="A page (.html), Markdown for mails and issues (.md), or text (.txt); without it, text goes to stdout.",
)
@machine_options
@json_option
def report(
    cases: tuple[str, ...],
    output: str | None,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    sample: bool,
    json_path: str | None,
) -> None:
    """Report on a run, or on runs beside the first one: the answer first, then pictures, tables and sources.

    With two cases the report has all that `explain` finds; with more, each is compared with the first, and no changes
    are tried. Without any, it answers the founding question. The page needs no network and no other file.
    """
    from relocscope.comparison import FOUNDING_QUESTION
    from relocscope.report.gathered import gathered

    cases = cases or FOUNDING_QUESTION
    asked = _arguments(cases, output, core, size, settings, sample=sample)
    made = gathered(cases, settings_of(settings, size), core=core, sample=sample, arguments=asked)
    if output is not None:
        written = _written(made, Path(output).suffix.lower())
        with replacing(output, "-o") as stream:
            stream.write(written.encode())
    elif wants_text(json_path):
        from relocscope import render
        from relocscope.report.text import show

        show(render.console(), made)
    write_json(json_path, made.to_json())


def _written(made: "Report", suffix: str) -> str:
    if suffix == ".md":
        from relocscope.report.markdown import markdown

        return markdown(made)
    if suffix == ".txt":
        from relocscope.report.text import text

        return text(made)
    from relocscope.progress import Progress
    from relocscope.report.html import html

    with Progress("drawing"):
        return html(made)


def _arguments(
    cases: Sequence[str],
    output: str | None,
    core: str | None,
    size: str | None,
    settings: Sequence[str],
    *,
    sample: bool,
) -> list[str]:
    """Write the command line again, for whoever wants the same report."""
    options = [("--core", core), ("--size", size), *(("--set", each) for each in settings)]
    given = [word for name, value in options if value is not None for word in (name, value)]
    named = ["-o", Path(output).name] if output is not None else []
    return ["report", *cases, *given, *(["--sample"] if sample else []), *named]
