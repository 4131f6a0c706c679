"""Markdown: a report short enough to paste into a mail to a kernel list, and readable there as it is."""

import textwrap
from collections.abc import Iterator, Sequence

from relocscope.operand import label
from relocscope.quantities import image_size, percent, seconds
from relocscope.report.gathered import NOT_TRIED, Report
from relocscope.report.origin import set_options

COLUMNS = 75
"""Of a line; tables and commands may be wider where their names are."""

_MOST_LEAVES = 8
_MOST_HAZARDS = 6
_LEAST_SHARE = 0.005


def markdown(report: Report) -> str:
    """Write the answer, where the time goes, what would change it, and how to make it again."""
    answer = report.answer
    lines = [f"# {_said(answer.headline)}", "", *_wrapped(answer.plain), ""]
    ratio = "" if answer.speedup is None else f"**Speed-up {answer.speedup:.2f}**: "
    lines += [*_wrapped(f"{ratio}{answer.times}, modelled. {answer.sentence}"), ""]
    for fact in answer.proof:
        lines += _item(fact["fact"])
    lines += ["", *_runs(report), "", *_stacks(report), *_changes(report), *_hazards(report), "", *_origin(report)]
    return "\n".join(lines) + "\n"


_MEANT = {character: f"\\{character}" for character in "\\`*<>[]|"}
"""What would be markup; an underscore within a word is none."""


def _said(words: str) -> str:
    return "".join(_MEANT.get(character, character) for character in words)


def _wrapped(words: str, indent: str = "") -> list[str]:
    said = words if words.startswith("**") else _said(words)
    if words.startswith("**"):
        bold, _, rest = words[2:].partition("**")
        said = f"**{_said(bold)}**{_said(rest)}"
    return textwrap.wrap(said, COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _item(words: str) -> list[str]:
    return _wrapped(f"- {words}", "  ")


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table whose columns line up, so that it reads as plain text, too."""
    said = [[_said(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in [list(names), *said]) for place in range(len(names))]
    for row in [list(names), None, *said]:
        cells = (
            ["-" * width for width in widths] if row is None else [c.ljust(w) for c, w in zip(row, widths, strict=True)]
        )
        yield f"| {' | '.join(cells)} |"


def _runs(report: Report) -> list[str]:
    rows = []
    for part in report.parts:
        run = part.run
        copy = "-"
        if run.copy:
            bits = "".join(str(int(run.copy[bit])) for bit in ("mmu", "dcache", "icache"))
            copy = f"EL{run.copy['el']} {bits}"
        rows.append(
            (
                part.which,
                label(run.case),
                image_size(run.image_bytes),
                copy,
                f"{run.copy['ns_per_line']:.0f} ns" if run.copy else "-",
                seconds(run.seconds) if run.outcome == "completed" else run.outcome,
            )
        )
    size = "copied" if report.of_programs else "image"
    return list(_table(("", "case", size, "copy at, M C I", "per 64 B", "time"), rows))


def _stacks(report: Report) -> list[str]:
    runs = [part.run for part in report.parts]
    shares = {leaf: [run.cycle_stack[leaf] / max(run.cycles, 1) for run in runs] for leaf in runs[0].cycle_stack}
    dearest = sorted(shares, key=lambda leaf: -max(shares[leaf]))[:_MOST_LEAVES]
    rows = [(leaf, *map(percent, shares[leaf])) for leaf in dearest if max(shares[leaf]) >= _LEAST_SHARE]
    if not rows:
        return ["Nothing ran for a single cycle."]
    return list(_table(("time spent on", *(part.which for part in report.parts)), rows))


def _changes(report: Report) -> list[str]:
    if not report.changes_tried:
        return ["", *_wrapped(NOT_TRIED)] if report.comparisons else []
    (found,) = report.comparisons
    lines = [""]
    if found.break_even:
        lines += [*_wrapped(f"{found.break_even.sentence}."), ""]
    if not found.fixes:
        return [*lines, "No change that was tried makes B faster."]
    lines.append("What would change it (each one run):")
    for fix in found.fixes:
        lines += [
            "",
            *_item(fix.sentence),
            *(f"      {line}" for line in textwrap.wrap(set_options(fix.set), COLUMNS - 6, break_on_hyphens=False)),
        ]
    return lines


def _hazards(report: Report) -> list[str]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for part in report.parts:
        for hazard in part.run.hazards:
            if hazard["severity"] != "info":
                found.setdefault((hazard["severity"], hazard["id"], hazard["title"]), []).append(part.which)
    ranked = sorted(found.items(), key=lambda item: (item[0][0] != "error", item[0][1]))[:_MOST_HAZARDS]
    lines = ["", "Hazards:"] if ranked else []
    for (severity, name, title), whose in ranked:
        lines += _item(f"{', '.join(dict.fromkeys(whose))}: {name} ({severity}): {title}")
    return lines


def _origin(report: Report) -> list[str]:
    made = report.reproduction
    lines = []
    for core in report.cores:
        fitted = ", ".join(number.key for number in core.numbers if number.calibrated)
        lines += _wrapped(
            f"Modelled by Relocscope {made.version}: {core.title}; fitted to a published time: {fitted or 'nothing'}."
        )
    return [*lines, "", f"    {made.command}"]
