"""`relocscope validate` and `relocscope microbench`: the model beside published figures, and on its own."""

import click

from relocscope.commands.options import core_option, json_option, set_option, wants_text, write_json
from traces.replacing import replacing


@click.command(short_help="Compare the model with every published figure.")
@core_option("Only the rows of this core (`relocscope cores`).")
@click.option("--intervals", is_flag=True, help="Move each estimate: what the figures may be; takes half an hour.")
@click.option("--workers", type=click.IntRange(0, 1024), metavar="N", help="Processes, with --intervals; one a CPU.")
@click.option("--write", "page", metavar="FILE", help="Write the page docs/accuracy.md as well.")
@json_option
def validate(
    core: str | None, page: str | None, json_path: str | None, *, intervals: bool, workers: int | None
) -> None:
    """Compare the model with every published figure of the cores that ship; takes some minutes.

    With --intervals, each of the model's figures has the interval that the core's estimates leave open, to first order.
    """
    from relocscope.accuracy import accuracy_page
    from relocscope.progress import Progress
    from relocscope.validate import validate as fill
    from traces.errors import InputError

    if page is not None and core is not None:
        raise InputError("--write: the page has all cores; give it without --core")
    with Progress("running what was published") as progress:
        table = fill([core] if core else [], step=progress.step)
    if intervals:
        from relocscope.sweeping.sweep import default_workers
        from relocscope.uncertainty import with_intervals

        with Progress("moving every estimate") as progress:
            table = with_intervals(table, default_workers() if workers is None else workers, progress.step)
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_figures import show_accuracy

        show_accuracy(console(), table)
    write_json(json_path, table.to_json())
    if page is not None:
        with replacing(page, "--write") as stream:
            stream.write(accuracy_page(table).encode())


@click.command(short_help="Run the standard microbenchmarks on a core.")
@core_option(required=True)
@set_option("the core")
@json_option
def microbench(core: str, settings: tuple[str, ...], json_path: str | None) -> None:
    """Run the standard microbenchmarks on a core: latency by size and page, memcpy, memset, uncached reads."""
    import caches
    from relocscope import microbench as benchmarks
    from relocscope.commands.options import settings_of
    from relocscope.progress import Progress

    config = caches.core_named(core)
    config = config.override(settings_of(settings, None)) if settings else config
    with Progress(f"measuring {core}"):
        measured = benchmarks.measure(config)
    if wants_text(json_path):
        from relocscope.render import console
        from relocscope.render_figures import show_microbenchmarks

        show_microbenchmarks(console(), measured)
    write_json(json_path, measured.to_json())
