"""The console script: one line on stderr and status 2 for anything that a person got wrong."""

import os
import signal
import sys

import click

from relocscope.commands import (
    accuracy,
    calibrate,
    check,
    explain,
    kernel,
    lists,
    report,
    run,
    selftest,
    step,
    sweep,
    theories,
    trace,
)
from traces.errors import InputError

STATUS_CHECK_FAILED, STATUS_BAD_INPUT, STATUS_INTERRUPTED = 1, 2, 130


@click.group(
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="relocscope", prog_name="relocscope")
@click.pass_context
def relocscope(context: click.Context) -> None:
    """Run the arm64 kexec relocation and explain what the MMU and the caches bought it.

    CASE is a case name (`relocscope cases`), a case file (my.toml), image:PATH@el1|nvhe|vhe, elf:PATH@SYMBOL,
    trace:FILE, ram:FILE,REGISTERS (a memory dump: docs/ram.md) or program:FILE@SYMBOL (your own copy loop:
    docs/programs.md). Start with `relocscope explain`.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    explain.explain,
    run.run,
    report.report,
    check.check,
    step.step,
    sweep.sweep,
    lists.cases,
    lists.cores,
    lists.mechanisms,
    kernel.import_,
    theories.theories,
    calibrate.calibrate,
    trace.trace,
    accuracy.validate,
    accuracy.microbench,
    selftest.doctor,
):
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
        status = STATUS_INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe went away: no concern of ours, and nothing more to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


def _terminated(number: int, _frame: object) -> None:
    """Leave by an exception, so that what was half-written goes."""
    sys.exit(128 + number)


def _refuse(message: str) -> int:
    sys.stderr.write(f"relocscope: {' '.join(message.split())}\n")
    return STATUS_BAD_INPUT
