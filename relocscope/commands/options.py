"""Options that several commands share, and what they come to."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from relocscope.commands import offered
from traces.errors import InputError
from traces.reading import is_directory
from traces.replacing import replacing

Command = TypeVar("Command", bound=Callable[..., Any])

STATUS_INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of SIGINT, as shells have it."""


def writable(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse a place that cannot be written before anything runs for it; a callback of options that name a file."""
    if value is not None and value != "-":
        target = Path(value)
        if is_directory(target) or not os.access(target.parent, os.W_OK):
            why = "is a directory" if is_directory(target) else "its directory cannot be written to"
            raise InputError(f"{option.opts[0]}: {target}: {why}")
    return value


json_option = click.option(
    "--json",
    "json_path",
    metavar="FILE",
    callback=writable,
    help="Write the result as JSON; - is stdout, and then nothing else goes there.",
)


def core_option(text: str = "Modelled core (`relocscope cores`) or a core file (my.toml).", **more: Any) -> Any:
    """Return --core."""
    return click.option("--core", metavar="NAME", shell_complete=offered.cores, help=text, **more)


def set_option(what: str = "case or core") -> Any:
    """Return --set, of whose fields."""
    return click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        shell_complete=offered.keys,
        multiple=True,
        help=f"Set a field of {what}; repeatable.",
    )


workers_option = click.option(
    "--workers", type=click.IntRange(0, 1024), metavar="N", help="Processes; 0 or 1: none but this one."
)
scheduler_option = click.option(
    "--scheduler", metavar="ADDRESS", help="Replay on the workers of a Dask scheduler: tcp://HOST:8786."
)


def machine_options(command: Command) -> Command:
    """Add --core, --size, --set and --sample."""
    return _SAMPLE(core_options(command))


_SAMPLE = click.option(
    "--sample", is_flag=True, help="Time a long copy by a few of its pages, with an interval."
)


def core_options(command: Command) -> Command:
    """Add --core, --size and --set."""
    for option in (
        set_option(),
        click.option("--size", metavar="SIZE", help="Size of the image: 25MiB, 37MB, 4096."),
        core_option(),
    ):
        command = option(command)
    return command


def kernel_options(command: Command) -> Command:
    """Add --kernel and --boot, the other way to write CASE (`case_of`)."""
    boots = click.Choice(["el1", "nvhe", "vhe"])
    of_image = "A kernel image or vmlinux; with --boot the same as image:IMAGE@BOOT."
    return click.option("--kernel", metavar="IMAGE", help=of_image)(
        click.option("--boot", type=boots, help="How that kernel was booted.")(command)
    )


def case_of(case: str | None, kernel: str | None, boot: str | None, default: str | None = None) -> str:
    """Return CASE, or what --kernel and --boot mean; `default` where neither is given."""
    if kernel is not None:
        if case is not None or boot is None:
            raise InputError("--kernel: give it with --boot and without CASE")
        return f"image:{kernel}@{boot}"
    if boot is not None:
        raise InputError("--boot: belongs to --kernel; for a case write --set boot=...")
    if case is None and default is None:
        raise InputError("CASE: missing; `relocscope cases` lists them")
    return str(case or default)


def settings_of(pairs: tuple[str, ...], size: str | None) -> dict[str, str]:
    """Return the settings of --set and --size as one mapping."""
    from relocscope.case import KEYS
    from relocscope.operand import parse_setting

    settings = dict(parse_setting(pair) for pair in pairs)
    if size is not None:
        KEYS["size"][1](size, "--size")  # so that the error names the option that was written
        settings["size"] = size
    return settings


def wants_text(json_path: str | None) -> bool:
    """Whether text for people may go to stdout."""
    return json_path != "-"


def write_json(json_path: str | None, result: Mapping[str, Any]) -> None:
    """Write the result where --json says, if anywhere; a file appears complete or not at all."""
    if json_path is None:
        return
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    if json_path == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with replacing(json_path, "--json") as stream:
        stream.write(text.encode())
