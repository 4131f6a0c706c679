"""`relocscope step`."""

from typing import IO

import click

from relocscope.commands.options import case_of, core_options, kernel_options, settings_of


@click.command()
@click.argument("case", metavar="[CASE]", required=False)
@kernel_options
@click.option("--repl", is_flag=True, help="Line mode: commands from stdin, one a line; `help` lists them.")
@click.option("--json", "json_file", type=click.File("w"), help="With --repl: one object a command (- for stdout).")
@core_options
def step(
    case: str | None,
    kernel: str | None,
    boot: str | None,
    repl: bool,
    json_file: IO[str] | None,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
) -> int:
    """Step through a case, instruction by instruction, forwards and backwards, and see what each one cost and why.

    CASE is rfc-v1-nvhe, the founding question, if nothing is said.
    """
    from relocscope.operand import operand, with_settings
    from relocscope.progress import Progress
    from relocscope.stepping.control import Control
    from relocscope.stepping.repl import converse
    from relocscope.stepping.session import Session
    from traces.errors import InputError

    if not repl:
        raise InputError("step: say --repl")
    name = case_of(case, kernel, boot, default="rfc-v1-nvhe")
    with Progress(f"running {name}"):
        session = Session(with_settings(operand(name), settings_of(settings, size), core=core))
    converse(Control(session), json_file, text=json_file is None or json_file.name not in ("-", "<stdout>"))
    return 0
