"""What people read: Rich text for a terminal of 80 columns or more, plain when it is piped."""

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table

from relocscope import phases
from relocscope.comparison import speedup
from relocscope.evidence import Fact
from relocscope.operand import label
from relocscope.quantities import image_size, percent, rate, seconds, signed
from relocscope.runs import Run
from relocscope.verdict import Verdict, control_bits
from traces.schema import LEAVES
from traces.visible import visible_lines

_GOOD, _BAD, _QUIET = "green", "bold red", "dim"


class _Trimmed(io.TextIOBase):
    """Pass text on to stdout without the blanks that tables and paragraphs end their lines with."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target
        self._pending = ""

    def write(self, text: str) -> int:
        lines = (self._pending + text).split("\n")
        self._pending = lines.pop()
        self._target.writelines(f"{line.rstrip()}\n" for line in lines)
        return len(text)

    def flush(self) -> None:
        self._target.flush()


class _Harmless(Console):
    """A console that shows control characters in what it is given as their numbers; styles are its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible_lines(segment.text), segment.style)


def console() -> Console:
    """Return a console for stdout: colour on a terminal only, 80 columns where there is none."""
    return _Harmless(highlight=False, file=None if sys.stdout.isatty() else cast(IO[str], _Trimmed(sys.stdout)))


def plain_table(*columns: str, right: Sequence[int] = ()) -> Table:
    """Make a table without lines; columns whose number is in `right` are for figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        figures = number in right
        table.add_column(name, justify="right" if figures else "left", no_wrap=figures, overflow="fold")
    return table


def show_heading(out: Console, runs: Mapping[str, Run]) -> None:
    """Show one line a run: what ran, how it ended, how long it took on the model."""
    table = plain_table("", "case", "core", "image", "outcome", "copy", "modelled", right=(6,))
    for which, run in runs.items():
        table.add_row(
            which,
            escape(label(run.case)),
            run.core,
            image_size(run.image_bytes),
            f"[{_GOOD if run.outcome == 'completed' else _BAD}]{run.outcome}[/]",
            _copy_words(run),
            seconds(run.seconds),
        )
    out.print(table)
    for run in {run.core: run for run in runs.values()}.values():
        fitted = f", fitted to a published time: {', '.join(run.calibrated)}" if run.calibrated else ""
        out.print(f"[{_QUIET}]{escape(run.config.title)}{fitted}; times are modelled[/]")
    for which, run in runs.items():
        if run.sampled is not None:
            low, high = (seconds(end) for end in run.sampled["interval"])
            name = f"{which} is" if which else "The time is"
            out.print(f"[{_QUIET}]{name} from a sample: between {low} and {high} in full (95 %)[/]")


def _copy_words(run: Run) -> str:
    if run.copy is None or run.site is None:
        return "none"
    return f"EL{run.copy['el']}, {control_bits(run, run.site.epoch).partition('.')[2]}"


def show_verdict(out: Console, a: Run, b: Run, verdict: Verdict) -> None:
    """Show the answer: cause, speed-up, sentence."""
    ratio = speedup(a, b)
    faster = "" if ratio is None else f", speed-up {ratio:.2f}"
    out.print()
    out.print(f"[bold]Verdict: {verdict.cause}{faster}[/]")
    out.print(Padding(escape(verdict.sentence), (0, 0, 0, 2)))


def show_evidence(out: Console, facts: Sequence[Fact]) -> None:
    """Show the facts, each with its place."""
    out.print()
    out.print("[bold]Evidence[/]")
    for fact in facts:
        out.print(Padding(f"{escape(fact['fact'])} [{_QUIET}]\\[{escape(fact['where'])}][/]", (0, 0, 0, 2)))


def show_stacks(out: Console, a: Run, b: Run) -> None:
    """Show both cycle stacks side by side; leaves that are zero in both are left out."""
    table = plain_table("cycle stack", "A", "", "B", "", "A - B", right=(1, 2, 3, 4, 5))
    for leaf in LEAVES:
        of_a, of_b = a.cycle_stack[leaf], b.cycle_stack[leaf]
        if of_a or of_b:
            table.add_row(
                leaf, f"{of_a:,}", _part(of_a, a.cycles), f"{of_b:,}", _part(of_b, b.cycles), signed(of_a - of_b)
            )
    table.add_row("cycles", f"{a.cycles:,}", "", f"{b.cycles:,}", "", signed(a.cycles - b.cycles), style="bold")
    out.print()
    out.print(table)


def _part(cycles: int, total: int) -> str:
    return percent(cycles / total) if total else ""


def show_run(out: Console, run: Run) -> None:
    """Show one run: outcome, copy, entry, image, where the time went, hazards."""
    show_heading(out, {"": run})
    out.print()
    table = plain_table("", "")
    table.show_header = False
    for name, text in _facts(run):
        table.add_row(f"[{_QUIET}]{name}[/]", escape(text))
    out.print(table)
    out.print()
    stack = plain_table("cycle stack", "cycles", "", "time", right=(1, 2, 3))
    for leaf in LEAVES:
        if run.cycle_stack[leaf]:
            cycles = run.cycle_stack[leaf]
            stack.add_row(leaf, f"{cycles:,}", _part(cycles, run.cycles), seconds(run.seconds_of(leaf)))
    stack.add_row("cycles", f"{run.cycles:,}", "", seconds(run.seconds), style="bold")
    out.print(stack)
    _show_phases(out, run)
    show_hazards(out, run.hazards)


def show_mismatches(out: Console, wrong: Sequence[str]) -> None:
    """Show which statements of a case file's [expect] the run does not bear out."""
    out.print()
    out.print(f"[bold]{'Not as expected' if wrong else 'As expected'}[/] (table expect of the case file)")
    for line in wrong:
        out.print(Padding(escape(line), (0, 0, 0, 2)))


def _show_phases(out: Console, run: Run) -> None:
    """Show where the time went by phase; nothing if only the relocation ran."""
    if {phase["name"] for phase in run.phases} <= phases.USUAL:
        return
    table = plain_table("phase", "instructions", "cycles", "", "time", right=(1, 2, 3, 4))
    for phase in run.phases:
        when = " (when the image is loaded)" if phase["when"] == "load" else ""
        cycles = int(phase["cycles"])
        table.add_row(
            f"{phase['name']}{when}",
            f"{phase['instructions']:,}",
            f"{cycles:,}",
            _part(cycles, run.cycles),
            seconds(phase["seconds"]),
        )
    out.print()
    out.print(table)


def _facts(run: Run) -> list[tuple[str, str]]:
    facts = [("routine", f"{run.routine.get('name')} ({run.routine.get('source')})")]
    if run.fault:
        facts.append(("first fault", f"EL{run.fault.get('el')}, ESR {run.fault.get('esr')}: {run.fault.get('reason')}"))
        facts.append(("at", f"ELR {run.fault.get('elr')}, FAR {run.fault.get('far')}, {run.fault.get('where')}"))
    facts.append(
        ("executed", f"{run.instructions:,} instructions, {run.accesses:,} loads and stores, {run.pages:,} pages")
    )
    if run.copy and run.site:
        facts.append(
            ("copy", f"EL{run.copy['el']} with {control_bits(run, run.site.epoch)} (SCTLR {run.copy['sctlr']})")
        )
        for what, counts in run.copy["memory_types"].items():
            if counts:
                facts.append((what, ", ".join(f"{name} {count:,}" for name, count in counts.items())))
        facts.append(("speed", f"{run.copy['ns_per_line']:.1f} ns per 64 bytes, {rate(run.copy['bytes_per_second'])}"))
    if run.entry:
        facts.append(("new kernel", f"entered at EL{run.entry['el']}, pc {run.entry['pc']}, x0 {run.entry['x0']}"))
    if not run.is_program:
        facts.append(("image", _image_words(run)))
    facts.append(("host", f"{run.host['seconds']:.2f} s ({run.host['emulate_seconds']:.2f} s emulating)"))
    return facts


def _image_words(run: Run) -> str:
    if not run.image_ok:
        return "wrong: destination bytes differ from their sources"
    if run.image_visible:
        return "correct, and visible with the caches off"
    return f"correct, but {run.dirty_at_entry} lines are only in caches at entry and {run.lost_lines} were lost"


def show_hazards(out: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Show hazards, one paragraph each."""
    if not found:
        return
    out.print()
    out.print("[bold]Hazards[/]")
    for hazard in found:
        colour = _BAD if hazard["severity"] == "error" else "yellow"
        text = f"[{colour}]{hazard['id']}[/] {escape(str(hazard['title']))}: {escape(str(hazard['evidence']))}"
        out.print(Padding(f"{text} [{_QUIET}]\\[{escape(str(hazard['where']))}][/]", (0, 0, 0, 2)))
