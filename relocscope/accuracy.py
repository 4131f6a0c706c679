"""docs/accuracy.md as `relocscope validate --write` writes it: the table, and what one must know to read it."""

from collections.abc import Sequence

from relocscope.quantities import rough_seconds
from relocscope.validate import GOAL_MEAN, GOAL_WORST, Row, Table, known_gaps, mean_error, references, worst_error

_HEADER = """# Accuracy

Written by `relocscope validate --write docs/accuracy.md`; never edited. Tests measure a part of it again and
compare.

Each row is one published figure beside what the model gives. A preset may have one number that was fitted to a
published time (`calibrated`); the rows that it was fitted to say so and do not count, nor do those whose author
contradicts himself (`disputed`). Every other number of a preset comes from manuals and standards, from measurements
of *other* boards than the one that it is tested on, or is an estimate with a range. The stand-ins: TDA4VM for the
A72, RK3399's small cores for the A53, an Altra in a cloud for the N1, RK3588 for the A76; what is read off one of
two machines is used for the other (L3 of Seattle and LX2160A). The A57 has no stand-in: where its manual could not
be read, the A15's values are taken. Mechanisms and estimates were chosen with this table in sight, so that it is
not a blind test; but no number was set from a row of the same machine.

Sizes of `latency` are those of tinymembench's random reads, by size of the page; times are load to use, so L1D's
own latency is added to the published figure. Lines that are first read while a figure is measured, and those that
they displace, are part of it (`relocscope/tinymembench.py`). `memcpy` and `memset` are loops of ldp and stp over
64 MiB, `nc-read` reads of a frame buffer (Normal-NC) by width. An error is the model's figure over the published
one, less one.
"""


def accuracy_page(table: Table) -> str:
    """Return the page of the whole table."""
    predicted, rows = table.predicted, table.rows
    disputed = [row for row in rows if row.disputed]
    missed = sum(abs(row.error) > GOAL_WORST for row in predicted)
    summary = (
        f"**{len(predicted)} rows predicted: mean absolute error {_percent(mean_error(predicted))} (goal "
        f"{GOAL_MEAN:.0%}), worst {_percent(worst_error(predicted))} (goal {GOAL_WORST:.0%}), {missed} beyond it. "
        f"{sum(row.calibrated for row in rows)} calibrated, {len(disputed)} disputed "
        f"(mean absolute error {_percent(mean_error(disputed))} at their stated sizes).**"
    )
    lines = [
        _HEADER,
        summary,
        "",
        "| core | predicted | mean | worst | calibrated number |",
        "|---|---|---|---|---|",
        *_by_core(predicted),
        "",
        "## Relocations",
        "",
        *section([row for row in rows if row.kind == "published"]),
    ]
    for core in dict.fromkeys(row.core for row in rows if row.kind != "published"):
        lines += ["", f"## {core}", "", *section([row for row in rows if row.core == core and row.kind != "published"])]
    lines += ["", "## Rows that miss, and why", "", *_gaps(), "", "## Published, and left out", ""]
    lines += [f"- {left['what']}: {left['why']}." for left in references()["left_out"]]
    return "\n".join(lines) + "\n"


def section(rows: Sequence[Row]) -> list[str]:
    """Return the lines of one core's table."""
    return [
        "| row | published | model | error | | source |",
        "|---|---|---|---|---|---|",
        *(f"| {row.id} | {_value(row.reference, row)} | {_value(row.model, row)} | {row.error:+.0%} | {_state(row)} "
          f"| {row.source} |" for row in rows),
    ]  # fmt: skip


def _by_core(predicted: Sequence[Row]) -> list[str]:
    import caches

    lines = []
    for core in caches.core_names():
        of_core = [row for row in predicted if row.core == core]
        fitted = ", ".join(f"`{key}`" for key in caches.core(core).calibrated) or "-"
        mean, worst = _percent(mean_error(of_core)), _percent(worst_error(of_core))
        lines.append(f"| {core} | {len(of_core)} | {mean} | {worst} | {fitted} |")
    return lines


def _gaps() -> list[str]:
    why: dict[str, list[str]] = {}
    for row, reason in known_gaps().items():
        why.setdefault(reason, []).append(f"`{row}`")
    return [f"- {', '.join(rows)}: {reason}." for reason, rows in why.items()]


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{error:.1%}"


def _value(value: float, row: Row) -> str:
    if row.unit == "B/s":
        return f"{value / 1e6:.0f} MB/s"
    if row.unit == "s":
        return rough_seconds(value)
    return f"{value:.1f} ns"


def _state(row: Row) -> str:
    if row.disputed:
        return f"disputed: {row.note}"
    if row.calibrated:
        return "calibrated"
    return "misses" if abs(row.error) > GOAL_WORST else ""
