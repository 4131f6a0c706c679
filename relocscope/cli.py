"""The console script: one line on stderr and status 2 for anything that a person got wrong."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import chain

import click

from relocscope.commands import (
    accuracy,
    calibrate,
    check,
    explain,
    kernel,
    lists,
    misses,
    reach,
    report,
    run,
    selftest,
    sensitivity,
    shell,
    step,
    sweep,
    theories,
    trace,
)
from relocscope.versions import described
from traces.errors import InputError
from traces.visible import visible

_BAD_INPUT, _INTERRUPTED = 2, 130


_SECTIONS: Mapping[str, Sequence[click.Command]] = {
    "Understand a relocation": (explain.explain, run.run, report.report, step.step, check.check),
    "Many runs, and other tools": (
        sweep.sweep,
        sensitivity.sensitivity,
        misses.misses,
        reach.reach,
        theories.theories,
        trace.trace,
    ),
    "What there is to run": (lists.cases, lists.cores, lists.mechanisms, kernel.import_),
    "The model, and your machine": (calibrate.calibrate, accuracy.validate, accuracy.microbench),
    "This program": (selftest.doctor, shell.completion, shell.man),
}
"""Every command, in the order of --help."""


class _InSections(click.Group):
    """A group whose --help lists its commands by what they are for, one line each."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(command.name), command.get_short_help_str(70)) for command in commands])


def _version(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(described())
        context.exit()


@click.group(
    cls=_InSections,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show versions, and exit."
)
@click.pass_context
def relocscope(context: click.Context) -> None:
    """Run the arm64 kexec relocation and explain what the MMU and the caches bought it.

    CASE is a case name (`relocscope cases`), a case file (my.toml), image:PATH@el1|nvhe|vhe, elf:PATH@SYMBOL,
    trace:FILE, ram:FILE,REGISTERS (a memory dump: docs/ram.md) or program:FILE@SYMBOL (your own copy loop:
    docs/programs.md). Start with `relocscope explain`.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in chain.from_iterable(_SECTIONS.values()):
    relocscope.add_command(command)


def main() -> None:
    """Run the command line and exit with its status."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = relocscope.main(standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        status = _refuse(str(error))
    except click.ClickException as error:
        status = _refuse(error.format_message())
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("relocscope: interrupted\n")
        status = _INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe went away: no concern of ours, and nothing more to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


def _terminated(number: int, _frame: object) -> None:
    """Leave by an exception, so that what was half-written goes."""
    sys.exit(128 + number)


def _refuse(message: str) -> int:
    sys.stderr.write(f"relocscope: {visible(' '.join(message.split()))}\n")
    return _BAD_INPUT
