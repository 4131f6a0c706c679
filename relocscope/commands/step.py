"""`relocscope step`."""

from typing import IO

import click

from relocscope.commands.options import case_of, core_options, kernel_options, settings_of


@click.command()
@click.argument("case", metavar="[CASE]", required=False)
@kernel_options
@click.option("--repl", is_flag=True, help="Line mode: commands from stdin, one a line; `help` lists them.")
@click.option("--gdb", metavar="HOST:PORT", help="Serve gdb's remote protocol there (docs/gdb.md); port 0: any.")
@click.option("--json", "json_file", type=click.File("w"), help="With --repl: one object a command (- for stdout).")
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

    CASE is rfc-v1-nvhe, the founding question, if nothing is said.
    """
    from relocscope.gdb.face import serve_gdb
    from relocscope.gdb.server import address_of
    from relocscope.operand import operand, with_settings
    from relocscope.progress import Progress
    from relocscope.stepping.control import Control
    from relocscope.stepping.repl import converse
    from relocscope.stepping.session import Session
    from traces.errors import InputError

    if not repl and gdb is None:
        raise InputError("step: say --repl, or --gdb HOST:PORT")
    place = None if gdb is None else address_of(gdb)
    name = case_of(case, kernel, boot, default="rfc-v1-nvhe")
    with Progress(f"running {name}"):
        session = Session(with_settings(operand(name), settings_of(settings, size), core=core))
    if place is not None:
        return serve_gdb(Control(session), *place, json_file)
    converse(Control(session), json_file, text=json_file is None or json_file.name not in ("-", "<stdout>"))
    return 0
