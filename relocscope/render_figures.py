"""The accuracy table and the microbenchmarks for people, as render.py shows runs."""

from rich.console import Console
from rich.markup import escape

from relocscope.microbench import Microbenchmarks
from relocscope.quantities import rate, seconds
from relocscope.render import plain_table
from relocscope.validate import GOAL_MEAN, GOAL_WORST, Row, Table, mean_error, worst_error
from traces.sizes import size_text


def show_accuracy(out: Console, table: Table) -> None:
    """Show every row, then what the predicted ones come to."""
    if not table.rows:
        out.print("nothing published about this core can be compared; docs/accuracy.md says what was left out")
        return
    # 80 columns have room for one of the two
    last = "may be" if table.intervals else "error"
    shown = plain_table("row", "published", "model", last, "", right=(1, 2, 3))
    for row in table.rows:
        figure = _between(row) if table.intervals else f"{row.error:+.1%}"
        shown.add_row(row.id, _value(row.reference, row), _value(row.model, row), figure, _state(row))
    out.print(shown)
    out.print()
    for row in table.rows:
        if row.disputed:
            out.print(f"{row.id}: disputed: {escape(row.note)}")
    predicted = table.predicted
    missed = sum(abs(row.error) > GOAL_WORST for row in predicted)
    mean, worst = mean_error(predicted), worst_error(predicted)
    if mean is not None and worst is not None:
        out.print(
            f"[bold]{len(predicted)} predicted rows: mean absolute error {mean:.1%} (goal {GOAL_MEAN:.0%}), "
            f"worst {worst:.1%} (goal {GOAL_WORST:.0%}), {missed} beyond it[/]"
        )
    if table.intervals:
        within, of = table.intervals["within"], table.intervals["of"]
        out.print(f"of {of} predicted rows, {within} have the published figure within what the estimates leave open")


def _between(row: Row) -> str:
    if row.low is None or row.high is None:
        return "-"
    low, high = (_value(value, row) for value in (row.low, row.high))
    same = low.partition(" ")[2] == high.partition(" ")[2]
    return f"{low.partition(' ')[0] if same else low} to {high}"


def show_microbenchmarks(out: Console, measured: Microbenchmarks) -> None:
    """Show the ladder, the rates and the uncached reads."""
    leaves = sorted(next(iter(measured.latency_ns.values())))
    ladder = plain_table("latency", *(f"{size_text(leaf)} pages" for leaf in leaves), right=(1, 2))
    for size, by_leaf in measured.latency_ns.items():
        ladder.add_row(size_text(size), *(f"{by_leaf[leaf]:.1f} ns" for leaf in leaves))
    out.print(ladder)
    out.print()
    out.print(f"memcpy 64MiB   {rate(measured.memcpy.bytes_per_second)}")
    out.print(f"memset 64MiB   {rate(measured.memset.bytes_per_second)}")
    out.print()
    widths = list(next(iter(measured.uncached_read_ns.values())))
    reads = plain_table("uncached read", *(f"{width} bytes" for width in widths), right=range(1, len(widths) + 1))
    for kind, by_width in measured.uncached_read_ns.items():
        reads.add_row(kind, *(f"{by_width[width]:.1f} ns" for width in widths))
    out.print(reads)


def _value(value: float, row: Row) -> str:
    if row.unit == "B/s":
        return rate(value)
    return seconds(value) if row.unit == "s" else f"{value:.1f} ns"


def _state(row: Row) -> str:
    if row.disputed or row.calibrated:
        return "disputed" if row.disputed else "calibrated"
    if abs(row.error) > GOAL_WORST:
        return "[yellow]misses[/]"
    return "outside" if row.within is False else ""
