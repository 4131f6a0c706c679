"""`relocscope run`."""

import click

from relocscope.commands.options import json_option, machine_options, settings_of, wants_text, write_json


@click.command()
@click.argument("case", metavar="[CASE]", required=False)
@click.option("--kernel", metavar="IMAGE", help="A kernel image or vmlinux; with --boot the same as image:IMAGE@BOOT.")
@click.option("--boot", type=click.Choice(["el1", "nvhe", "vhe"]), help="How that kernel was booted.")
@machine_options
@json_option
def run(
    case: str | None,
    kernel: str | None,
    boot: str | None,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    sample: bool,
    json_path: str | None,
) -> int:
    """Run one case: outcome, modelled time, where it went, hazards.

    The status is 1 where the run ends in a hang, a fault or the budget.
    """
    from relocscope.operand import operand, with_settings
    from relocscope.progress import Progress
    from relocscope.runs import run_operand
    from traces.errors import InputError

    if kernel is not None:
        if case is not None or boot is None:
            raise InputError("--kernel: give it with --boot and without CASE")
        case = f"image:{kernel}@{boot}"
    elif boot is not None:
        raise InputError("--boot: belongs to --kernel; for a case write --set boot=...")
    if case is None:
        raise InputError("CASE: missing; `relocscope cases` lists them")
    with Progress(f"running {case}"):
        result = run_operand(with_settings(operand(case), settings_of(settings, size), core=core, sample=sample))
    if wants_text(json_path):
        from relocscope import render

        render.show_run(render.console(), result)
    write_json(json_path, result.to_json())
    return 0 if result.outcome == "completed" else 1
