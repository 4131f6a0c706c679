"""Notebook: what a Run, a Comparison and the Table of a sweep show of themselves in Jupyter.

Small, and whole without scripts.
"""

from collections.abc import Sequence

from relocscope.comparison import Comparison
from relocscope.operand import label
from relocscope.quantities import percent, seconds
from relocscope.render_sweep import best, ended_otherwise, not_ok
from relocscope.report.answer import Answer, answer_of_comparison, answer_of_run
from relocscope.report.figures import facts_of
from relocscope.report.palette import LEAF_COLOURS
from relocscope.report.visible import harmless
from relocscope.runs import Run
from relocscope.sweeping.table import Table
from traces.markup import bar, paragraph, table


def run_html(run: Run) -> str:
    """Return the answer, where the time goes, the figures and the hazards of a run."""
    return f"<div>{_said(answer_of_run(run))}{_shown([('', harmless(run))])}</div>"


def comparison_html(found: Comparison) -> str:
    """Return the verdict of two runs, where their time goes, what helps."""
    fixes = [(f"{fix.speedup:.3g}" if fix.speedup else "arrives", fix.sentence) for fix in harmless(found.fixes)]
    helps = table(("speed-up", "what would change it"), fixes, left=2) if fixes else ""
    runs = [("A", harmless(found.a)), ("B", harmless(found.b))]
    return f"<div>{_said(answer_of_comparison(found))}{_shown(runs)}{helps}</div>"


def sweep_html(found: Table) -> str:
    """Return the best points of a sweep, and what became of the others."""
    columns, rows = harmless(best(found))
    figures = 3 if len(found.plan.cases) > 1 else 2
    points = len({row["point"] for row in found.rows})
    arrived = f", the best {len(found.best)} of them" if found.best else ": none arrives"
    others = [words for words in (ended_otherwise(found), *not_ok(found)) if words]
    head = paragraph(" against ".join(harmless(list(found.plan.cases))), strong=True)
    head += paragraph(f"{points:,} points{arrived} (times are modelled)")
    rest = "".join(paragraph(line) for line in harmless(others))
    return f"<div>{head}{table(columns, rows, left=len(columns) - figures)}{rest}</div>"


def _said(found: Answer) -> str:
    answer: Answer = harmless(found)
    ratio = "" if answer.speedup is None else f"Speed-up {answer.speedup:.2f}: "
    head = paragraph(answer.headline, strong=True) + paragraph(answer.plain)
    return head + paragraph(f"{ratio}{answer.times} (modelled). {answer.sentence}")


def _shown(runs: Sequence[tuple[str, Run]]) -> str:
    names = [f"{which} {label(run.case)}".strip() for which, run in runs]
    longest = max(run.seconds for _, run in runs) or 1.0
    bars = "".join(
        paragraph(f"{name}, {seconds(run.seconds)}") + bar(_shares(run, run.seconds / longest))
        for name, (_, run) in zip(names, runs, strict=True)
    )
    stack = [
        (leaf, *(percent(run.cycle_stack[leaf] / max(run.cycles, 1)) for _, run in runs))
        for leaf in LEAF_COLOURS
        if any(run.cycle_stack[leaf] >= 0.001 * run.cycles for _, run in runs)
    ]
    facts = [facts_of(run) for _, run in runs]
    figures = [(name, *(each.get(name, "-") for each in facts)) for name in dict.fromkeys(n for f in facts for n in f)]
    hazards = [
        (which, hazard["severity"], hazard["id"], hazard["title"]) for which, run in runs for hazard in run.hazards
    ]
    warned = table(("", "", "hazard", ""), hazards, left=4) if hazards else ""
    return bars + table(("time spent on", *names), stack) + table(("", *names), figures) + warned


def _shares(run: Run, width: float) -> list[tuple[str, str, float]]:
    whole = max(run.cycles, 1)
    return [(leaf, LEAF_COLOURS[leaf], width * cycles / whole) for leaf, cycles in run.cycle_stack.items()]
