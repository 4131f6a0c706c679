"""Figures: the table of what was run and what came out, a column a run."""

from collections.abc import Sequence

from relocscope.operand import label
from relocscope.quantities import image_size, rate, seconds
from relocscope.report.gathered import Report
from relocscope.runs import Run
from relocscope.verdict import control_bits


def figures_of(report: Report) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the columns and rows."""
    columns = ["", *(part.which for part in report.parts)]
    facts = [facts_of(part.run) for part in report.parts]
    names = list(dict.fromkeys(name for each in facts for name in each))
    return columns, [(name, *(each.get(name, "-") for each in facts)) for name in names]


def facts_of(run: Run) -> dict[str, str]:
    """Return the figures of one run by name."""
    facts = {
        "case": label(run.case),
        "core": run.core,
        **({} if run.is_program else {"boot": run.boot}),
        "copied" if run.is_program else "image": f"{image_size(run.image_bytes)}, {run.pages:,} pages",
        "outcome": run.outcome,
        "time": seconds(run.seconds),
        "cycles": f"{run.cycles:,}",
        "instructions": f"{run.instructions:,}",
        "loads and stores": f"{run.accesses:,}",
    }
    if run.copy and run.site:
        facts |= {
            "copy at": f"EL{run.copy['el']}, {control_bits(run, run.site.epoch)}",
            "per 64 bytes": f"{run.copy['ns_per_line']:.1f} ns",
            "rate": rate(run.copy["bytes_per_second"]),
        }
    if run.entry:
        facts["new kernel entered at"] = f"EL{run.entry['el']}, {run.entry['pc']}"
    if run.fault:
        facts["first fault"] = f"EL{run.fault.get('el')}, ESR {run.fault.get('esr')}"
    if not run.is_program:
        facts["image correct"] = _yes(run.image_ok)
        facts["visible with caches off"] = _yes(run.image_visible)
    return facts | {
        "stale, lost, dirty lines": f"{run.stale_reads:,}, {run.lost_lines:,}, {run.dirty_at_entry:,}",
    }


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
