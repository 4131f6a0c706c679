"""`relocscope calibrate`."""

from pathlib import Path

import click

from relocscope.commands import offered
from relocscope.commands.options import core_option, json_option, wants_text, writable, write_json
from traces.errors import InputError


def _target(context: click.Context, option: click.Parameter, value: str | None) -> Path | None:
    """Refuse a place where no preset can go before anything runs for it."""
    if value is None:
        return None
    target = Path(str(writable(context, option, value)))
    if not target.name.endswith(".toml") or target.name == ".toml":
        raise InputError(f"-o: {target}: must end in .toml, or --core would not know it for a file")
    return target


@click.command(
    short_help="Fit a core to measurements of your own machine.",
    epilog="Then: relocscope explain --core my-core.toml. docs/calibrate.md says how to collect measurements.",
)
@core_option("Core to start from (`relocscope cores`) or a file (my.toml).", required=True)
@click.option(
    "--observed",
    metavar="SIZE=SECONDS:off|on",
    multiple=True,
    help="A timed kexec's copy: off with the MMU off, on with --case. Repeatable.",
)
@click.option(
    "--tinymembench", metavar="FILE", multiple=True, help="Output of tinymembench; FILE#2: the second run in it."
)
@click.option("--lmbench", metavar="FILE", multiple=True, help="Output of lmbench's lat_mem_rd -t and bw_mem bcopy.")
@click.option("--error", type=float, default=0.05, show_default=True, help="Relative error of a measurement.")
@click.option("--boot", type=click.Choice(["el1", "nvhe", "vhe"]), help="How the machine was booted.")
@click.option(
    "--case",
    metavar="CASE",
    shell_complete=offered.cases,
    help="What the on times are of; without it: v5.17 on that boot path.",
)
@click.option("-o", "target", metavar="FILE.toml", callback=_target, help="Write the fitted preset.")
@json_option
def calibrate(
    *,
    core: str,
    observed: tuple[str, ...],
    tinymembench: tuple[str, ...],
    lmbench: tuple[str, ...],
    error: float,
    boot: str | None,
    case: str | None,
    target: Path | None,
    json_path: str | None,
) -> None:
    """Fit a preset to measurements of one's own machine, and say what was fitted and what they leave open.

    The preset builds on --core and has only the fitted numbers; --core takes it everywhere.
    """
    from relocscope.calibration import calibrate_of
    from relocscope.calibration.preset import base_of, write_preset
    from relocscope.progress import Progress

    if target is not None and core.endswith(".toml") and target.resolve() == Path(core).resolve():
        raise InputError(f"-o: {target}: must not be the file that --core names, it would build on itself")
    with Progress("fitting") as progress:
        found = calibrate_of(
            observed,
            core=core,
            tinymembench=tinymembench,
            lmbench=lmbench,
            boot=boot,
            case=case,
            error=error,
            step=progress.step,
        )
    if target is not None:
        write_preset(target, found.preset(target.stem, base_of(core, target)))
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_calibration import show_calibration

        show_calibration(console(), found, target)
    write_json(json_path, found.to_json())
