"""`relocscope step`."""

import os
import sys
from typing import IO

import click

from relocscope.commands import offered
from relocscope.commands.options import case_of, core_options, kernel_options, settings_of


@click.command(short_help="Step through a case on a screen, in line mode or from gdb.")
@click.argument("case", shell_complete=offered.cases, metavar="[CASE]", required=False)
@kernel_options
@click.option("--repl", is_flag=True, help="Line mode: commands from stdin, one a line; `help` lists them.")
@click.option("--gdb", metavar="HOST:PORT", help="Serve gdb's remote protocol there (docs/gdb.md); port 0: any.")
@click.option(
    "--json",
    "json_file",
    type=click.File("w"),
    metavar="FILE",
    help="With --repl or --gdb: one object a command or event; - is stdout.",
)
@core_options
def step(
    *,
    case: str | None,
    kernel: str | None,
    boot: str | None,
    repl: bool,
    gdb: str | None,
    json_file: IO[str] | None,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
) -> int:
    """Step through a case, instruction by instruction, forwards and backwards, and see what each one cost and why.

    On a terminal it opens a screen: `?` shows its keys. CASE is rfc-v1-nvhe, the founding question, if nothing is said.
    """
    from relocscope.gdb.face import serve_gdb
    from relocscope.gdb.server import address_of
    from relocscope.operand import operand, with_settings
    from relocscope.progress import Progress
    from relocscope.stepping.control import Control
    from relocscope.stepping.session import Session
    from traces.errors import InputError

    if repl and gdb is not None:
        raise InputError("step: --repl, --gdb: give one of them: line mode, or a session that gdb drives")
    if not repl and gdb is None and json_file is not None:
        raise InputError("step: --json: belongs to --repl or --gdb")
    if not repl and gdb is None and not is_screen():
        raise InputError("step: stdin, stdout and stderr are no terminal with a screen; use --repl, or --gdb HOST:PORT")
    place = None if gdb is None else address_of(gdb)
    name = case_of(case, kernel, boot, default="rfc-v1-nvhe")
    with Progress(f"running {name}"):
        session = Session(with_settings(operand(name), settings_of(settings, size), core=core))
    if place is not None:
        return serve_gdb(Control(session), *place, json_file)
    if not repl:
        from relocscope.screen.app import Stepper

        Stepper(Control(session)).run()
        return 0
    from relocscope.stepping.repl import converse

    converse(Control(session), json_file, text=json_file is None or json_file.name not in ("-", "<stdout>"))
    return 0


def is_screen() -> bool:
    """Whether there is a terminal to read keys from and to draw on: Textual draws on stderr."""
    terminals = all(each.isatty() for each in (sys.stdin, sys.stdout, sys.stderr))
    return terminals and os.environ.get("TERM", "dumb") != "dumb"
