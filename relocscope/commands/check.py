"""`relocscope check`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relocscope.commands import offered
from relocscope.commands.options import json_option, set_option, settings_of, wants_text, write_json

if TYPE_CHECKING:
    from relocscope.checking import Check


def _file(*names: str, text: str) -> Any:
    return click.option(*names, type=click.Path(path_type=Path), metavar="FILE", help=text)


@click.command(short_help="List hazards of a case, or of your own machine's kexec.")
@click.argument("case", shell_complete=offered.cases, metavar="[CASE]", required=False)
@_file("--iomem", text="/proc/iomem of your machine, read as root; with --kexec-debug instead of CASE.")
@_file("--kexec-debug", text="What `kexec -d -l ...` printed there.")
@_file("--dmesg", text="The kernel's log there: version, exception level, page size.")
@_file("--dtb", text="Its device tree (/sys/firmware/fdt): memory that must not be mapped.")
@_file("--kernel", text="The image of the kernel that runs there, to take the routine out of it.")
@click.option("--size", metavar="SIZE", help="Size of the image: 25MiB, 37MB, 4096.")
@set_option("the case")
@json_option
def check(
    case: str | None, size: str | None, settings: tuple[str, ...], json_path: str | None, **files: Path | None
) -> int:
    """List what would go wrong: hazards of a CASE, or of the kexec that your own machine is about to do.

    Nothing is timed. The status is 1 where a hazard is an error, 0 where there are none or only warnings.
    """
    from relocscope.progress import Progress

    with Progress(f"checking {case or files['iomem']}"):
        result = _result(case, {name: path for name, path in files.items() if path}, settings_of(settings, size))
    if wants_text(json_path):
        from relocscope import render, render_check

        render_check.show_check(render.console(), result)
    write_json(json_path, result.to_json())
    return 0 if result.passed else 1


def _result(case: str | None, files: Mapping[str, Path], settings: Mapping[str, Any]) -> "Check":
    """Check what was asked for: a case, or a machine of which the two files that it cannot do without are there."""
    from relocscope import check as checked
    from traces.errors import InputError

    if case is None and not files:
        raise InputError(
            "CASE: missing; `relocscope cases` lists them, --iomem and --kexec-debug take your own machine"
        )
    return checked(case, set=settings, **{name: str(path) for name, path in files.items()})
