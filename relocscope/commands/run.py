"""`relocscope run`."""

import click

from relocscope.commands import offered
from relocscope.commands.options import (
    case_of,
    json_option,
    kernel_options,
    machine_options,
    settings_of,
    wants_text,
    write_json,
)


@click.command(short_help="Run one case: outcome, time, where it went, hazards.")
@click.argument("case", shell_complete=offered.cases, metavar="[CASE]", required=False)
@kernel_options
@click.option(
    "--ram",
    "ram",
    metavar="FILE[@BASE]",
    multiple=True,
    help="Memory of a real machine at its relocation: an ELF core, or raw with its base address; repeatable.",
)
@click.option("--regs", "registers", metavar="FILE", help="Its registers there: gdb's or QEMU's text, or JSON.")
@click.option("--elf", metavar="FILE", help="A bare-metal program, linked or .S: the same as program:FILE@SYMBOL.")
@click.option("--entry", metavar="SYMBOL", help="Where that program is entered; its start, if not given.")
@machine_options
@json_option
def run(
    case: str | None,
    kernel: str | None,
    boot: str | None,
    *,
    ram: tuple[str, ...],
    registers: str | None,
    elf: str | None,
    entry: str | None,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    sample: bool,
    json_path: str | None,
) -> int:
    """Run one case: outcome, modelled time, where it went, hazards.

    The status is 1 where the run ends in a hang, a fault or the budget, or is not what a case file's [expect] states.
    """
    from relocscope.expectations import mismatches
    from relocscope.operand import operand, program_operand, ram_operand, with_settings
    from relocscope.progress import Progress
    from relocscope.runs import run_operand
    from traces.errors import InputError

    if ram or registers is not None:
        if case is not None or kernel is not None:
            raise InputError("--ram: give it with --regs and without CASE or --kernel")
        if not ram or registers is None:
            raise InputError("--ram, --regs: a memory dump needs both, memory and registers")
        subject = ram_operand(ram, registers, boot=boot)
    elif elf is not None or entry is not None:
        if elf is None or case is not None or kernel is not None:
            raise InputError("--elf, --entry: a program is given by --elf, without CASE or --kernel")
        subject = program_operand(elf, entry or "")
    else:
        subject = operand(case_of(case, kernel, boot))
    with Progress(f"running {subject.name}"):
        result = run_operand(with_settings(subject, settings_of(settings, size), core=core, sample=sample))
    expect = subject.case.expect if subject.case else {}
    wrong = mismatches(result, expect)
    if wants_text(json_path):
        from relocscope import render

        out = render.console()
        render.show_run(out, result)
        if expect:
            render.show_mismatches(out, wrong)
    write_json(json_path, result.to_json() | ({"mismatches": wrong} if expect else {}))
    return 0 if result.outcome == "completed" and not wrong else 1
