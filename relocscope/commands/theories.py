"""`relocscope theories`."""

import click

from relocscope.commands import offered
from relocscope.commands.options import core_option, json_option, set_option, settings_of, wants_text, write_json


@click.command(
    short_help="Rank what could have produced measured times.",
    epilog="The question of July 2019: relocscope theories --core stingray --observed 37MB=0.35:off "
    "--observed 37MB=0.35:on",
)
@core_option(required=True)
@click.option(
    "--observed",
    metavar="SIZE=SECONDS:off|on",
    multiple=True,
    required=True,
    help="A measured time: off with the MMU off, on with what was meant to be MMU-on. SIZE may be a range, "
    "25MB..47MB. Repeatable.",
)
@click.option("--error", type=float, default=0.05, show_default=True, help="Relative error of a measurement.")
@click.option(
    "--boot",
    type=click.Choice(["el1", "nvhe", "vhe"]),
    help="How the machine was booted; without it: at EL2, with VHE where the core has it.",
)
@click.option(
    "--case",
    metavar="CASE",
    shell_complete=offered.cases,
    help="What was meant to be MMU-on; without it: RFC v1 on that boot path.",
)
@set_option()
@click.option("--all", "everything", is_flag=True, help="Show the hypotheses that are out of the question as well.")
@json_option
def theories(
    core: str,
    observed: tuple[str, ...],
    error: float,
    boot: str | None,
    case: str | None,
    settings: tuple[str, ...],
    everything: bool,
    json_path: str | None,
) -> None:
    """Rank the hypotheses that could have produced measured times, each one run on the model.

    Hypotheses that predict the same times share a rank; what would tell them apart is said.
    """
    from relocscope.hypotheses import theories_of
    from relocscope.progress import Progress

    with Progress("running what could have been") as progress:
        found = theories_of(
            observed,
            core=core,
            boot=boot,
            case=case,
            settings=settings_of(settings, None),
            error=error,
            step=progress.step,
        )
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_theories import show_theories

        show_theories(console(), found, everything=everything)
    write_json(json_path, found.to_json())
