"""Text: a report for a terminal of 80 columns or more, or for a file. The parts that `explain` shows look as there."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from relocscope import render, render_explain
from relocscope.operand import label
from relocscope.quantities import percent, rate
from relocscope.report.figures import figures_of
from relocscope.report.gathered import NOT_TRIED, Part, Report
from relocscope.report.pace import PARTS, Pace
from relocscope.report.walks import Walk
from traces.sizes import size_text

_QUIET = "dim"
_DEAREST = 12
_MOST_COLUMNS = 2


def text(report: Report, columns: int = 80) -> str:
    """Write the report without colour."""
    written = io.StringIO()
    show(Console(file=written, width=columns, color_system=None, highlight=False), report)
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().rstrip().split("\n"))


def show(out: Console, report: Report) -> None:
    """Show the report: the answer first."""
    _answer(out, report)
    for number, found in enumerate(report.comparisons):
        if len(report.comparisons) > 1:
            out.print()
            out.print(f"[bold]{report.parts[number + 1].which} beside A[/]")
            out.print(Padding(escape(found.verdict.sentence), (0, 0, 0, 2)))
        else:
            render.show_evidence(out, found.evidence)
            render_explain.show_phases(out, found.a, found.b)
    if len(report.parts) <= _MOST_COLUMNS:
        _figures(out, report)
    else:
        out.print()
        render.show_heading(out, {part.which: part.run for part in report.parts})
    _stacks(out, report.parts)
    for number, found in enumerate(report.comparisons):
        out.print()
        if len(report.comparisons) > 1:
            out.print(f"[bold]From A to {report.parts[number + 1].which}[/]", end="")
        render_explain.show_contributions(out, found.a, found.b, found.parts)
    for part in report.parts:
        _part(out, part)
    if report.changes_tried:
        (found,) = report.comparisons
        render_explain.show_break_even(out, found.break_even)
        render_explain.show_fixes(out, found.b, found.fixes)
        if found.sensitivity is not None:
            render_explain.show_sensitivity(out, found.speedup, found.sensitivity)
    elif report.comparisons:
        out.print()
        out.print(NOT_TRIED)
    _origin(out, report)


def _answer(out: Console, report: Report) -> None:
    answer = report.answer
    out.print(f"[bold]{escape(answer.headline)}[/]")
    out.print()
    out.print(escape(answer.plain))
    out.print()
    ratio = "" if answer.speedup is None else f"Speed-up {answer.speedup:.2f}: "
    out.print(f"[bold]{ratio}{escape(answer.times)}[/]")
    out.print(Padding(escape(answer.sentence), (0, 0, 0, 2)))
    for fact in answer.proof:
        out.print(Padding(f"- {escape(fact['fact'])} [{_QUIET}]\\[{escape(fact['where'])}][/]", (0, 0, 0, 2)))
    out.print()
    out.print(f"[{_QUIET}]{escape(answer.about)}[/]")


def _figures(out: Console, report: Report) -> None:
    names, rows = figures_of(report)
    table = render.plain_table(*names)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    out.print()
    out.print(table)


def _stacks(out: Console, parts: Sequence[Part]) -> None:
    table = render.plain_table("cycle stack", *(part.which for part in parts), right=range(1, len(parts) + 1))
    for leaf in parts[0].run.cycle_stack:
        if any(part.run.cycle_stack[leaf] for part in parts):
            table.add_row(leaf, *(_share(part, leaf) for part in parts))
    if table.row_count:
        out.print()
        out.print(table)


def _share(part: Part, leaf: str) -> str:
    return percent(part.run.cycle_stack[leaf] / max(part.run.cycles, 1))


def _part(out: Console, part: Part) -> None:
    """Show what only one run has: pace, dearest instructions, walks, memory, hazards."""
    out.print()
    out.print(f"[bold]{part.which} {escape(label(part.run.case))}[/]  {escape(part.title)}")
    if part.pace is not None:
        for said in _pace_lines(part.pace):
            out.print(Padding(said, (0, 0, 0, 2)))
    table = render.plain_table("dearest instructions", "", "executed", "share", "spent on", right=(2, 3))
    for line in sorted(part.code, key=lambda each: -each.cycles)[:_DEAREST]:
        if line.share >= 0.001:
            cause = next(iter(line.causes))
            table.add_row(
                escape(line.symbol or f"{line.va:#x}"),
                escape(line.text),
                f"{line.count:,}",
                percent(line.share),
                cause,
            )
    if table.row_count:
        out.print(Padding(table, (1, 0, 0, 2)))
    if part.walks:
        out.print()
    for walk in part.walks:
        out.print(Padding(escape(walk_line(walk)), (0, 0, 0, 2)))
    _memory(out, part)
    render.show_hazards(out, part.run.hazards)


def _pace_lines(pace: Pace) -> list[str]:
    rates = [each.bytes_per_second for each in pace.bins]
    lines = [f"rate: {rate(min(rates))} to {rate(max(rates))} over {len(rates)} groups of pages"]
    waits = sorted(pace.load_latency.items())
    total = sum(loads for _, loads in waits)
    if total:
        cycles = {share: _at(waits, share * total) for share in (0.5, 0.99)}
        words = [f"{1e9 * each / pace.frequency_hz:.1f} ns" for each in cycles.values()]
        lines.append(f"loads waited {words[0]} for their data (median), {words[1]} (99%); {pace.stepped_pages} pages")
    served = []
    for name in PARTS:
        looked = sum(each.accesses.get(name, 0) for each in pace.bins)
        missed = sum(each.misses.get(name, 0) for each in pace.bins)
        if looked:
            served.append(f"{name} {percent(1 - missed / looked)}")
    if served:
        lines.append(f"look-ups that hit: {', '.join(served)}")
    return lines


def _at(waits: Sequence[tuple[int, int]], count: float) -> int:
    """Return the cycles within which that many loads had their data."""
    seen = 0
    for cycles, loads in waits:
        seen += loads
        if seen >= count:
            return cycles
    return waits[-1][0]


def walk_line(walk: Walk) -> str:
    """Write a walk on one line."""
    whose = walk.what if walk.governs_copy else "not for the copy"
    if not walk.reads:
        return f"{whose}, {walk.regime}: no walk ({walk.table}); data {walk.data_type}, fetches {walk.fetch_type}"
    reads = " > ".join(f"{'s2 ' * (read.stage == 2)}L{read.level} {read.pa:#x}" for read in walk.reads)
    leaf = f"{size_text(walk.leaf_bytes)} leaf, {walk.data_type}"
    return f"{whose}, {walk.regime}: VA {walk.va:#x} > {walk.table} > {reads} > PA {walk.pa:#x} ({leaf})"


def _memory(out: Console, part: Part) -> None:
    roles: dict[str, list[int]] = {}
    for band in part.memory_map.bands:
        first, end, used = roles.get(band.role, [band.pa, 0, 0])
        roles[band.role] = [min(first, band.pa), max(end, band.pa + band.bytes), used + band.used_bytes]
    table = render.plain_table("memory", "from", "to", "KiB", right=(3,))
    for role, (first, end, used) in roles.items():
        table.add_row(role.replace("_", " "), f"{first:#x}", f"{end:#x}", f"{used / 1024:,.0f}")
    out.print(Padding(table, (1, 0, 0, 2)))


def _origin(out: Console, report: Report) -> None:
    out.print()
    out.print("[bold]The modelled core[/]")
    for core in report.cores:
        fitted = [f"{number.key} = {number.value} ({number.source})" for number in core.numbers if number.calibrated]
        estimated = sum(bool(number.estimated) for number in core.numbers)
        said = f"{core.title}: {len(core.numbers)} numbers, {estimated} of them estimated; "
        said += f"fitted to a published time: {'; '.join(fitted) or 'none'}."
        out.print(Padding(escape(said), (0, 0, 0, 2)))
    out.print()
    out.print("[bold]Make it again[/]")
    out.print(Padding(escape(report.reproduction.command), (0, 0, 0, 2)))
    out.print(Padding(f"relocscope {report.reproduction.version}", (0, 0, 0, 2)))
    for each in report.reproduction.hashes:
        out.print(Padding(escape(f"{each['sha256'][:32]}...  {each['what']}"), (0, 0, 0, 2)))
