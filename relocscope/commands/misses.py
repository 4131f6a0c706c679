"""`relocscope misses`."""

from pathlib import Path

import click

from relocscope.commands import offered
from relocscope.commands.options import core_options, json_option, settings_of, wants_text, writable, write_json


@click.command(
    short_help="How often a cache or TLB is missed, at every size.",
    epilog="Exact where the level is LRU and nothing is prefetched; what of the core is otherwise is said. "
    "More in docs/misses.md.",
)
@click.argument("case", shell_complete=offered.cases, metavar="CASE")
@click.option(
    "--level",
    type=click.Choice(["l1d", "l2", "l3", "dtlb"]),
    default="l1d",
    show_default=True,
    help="Which cache or TLB.",
)
@click.option("-o", "--output", metavar="FILE", callback=writable, help="Draw the curves: .svg, or .html around it.")
@core_options
@json_option
def misses(
    case: str,
    level: str,
    output: str | None,
    *,
    core: str | None,
    size: str | None,
    settings: tuple[str, ...],
    json_path: str | None,
) -> None:
    """Show how often a level is missed at every size and associativity: from one run, without replaying each.

    The core's own size is marked, and the sizes from which more of it saves something, or nothing more.
    """
    from relocscope.miss_curves import miss_curves
    from relocscope.operand import operand, with_settings
    from relocscope.progress import Progress
    from traces.errors import InputError

    if output is not None and Path(output).suffix not in (".svg", ".html"):
        raise InputError(f"-o: {output}: must end in .svg or .html")
    subject = with_settings(operand(case), settings_of(settings, size), core=core)
    with Progress(f"running {subject.name}"):
        found = miss_curves(subject, level)
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_misses import show_misses

        show_misses(console(), found)
    if output is not None:
        from relocscope.drawn_misses import write_picture

        write_picture(found, output)
    write_json(json_path, found.to_json())
