"""Gathered: everything that a report shows, found once. Renderers look nothing up."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from relocscope.break_even import break_even
from relocscope.comparison import Comparison, sides, speedup
from relocscope.contributions import Decomposition, attribute, confirm
from relocscope.evidence import evidence
from relocscope.fixes import fixes
from relocscope.focus import SAME_WITHIN
from relocscope.operand import Operand, operand, with_settings
from relocscope.progress import Progress
from relocscope.report.answer import Answer, answer_of_comparison, answer_of_run, answer_of_several
from relocscope.report.code import Line, code_of
from relocscope.report.memory_map import MemoryMap, memory_map_of
from relocscope.report.origin import Core, Reproduction, core_of, reproduction
from relocscope.report.pace import Pace, pace_of
from relocscope.report.visible import harmless
from relocscope.report.walks import Walk, walks_of
from relocscope.runs import Run, run_operand
from relocscope.sensitivity import sensitivity
from relocscope.verdict import judge
from traces.errors import InputError

SCHEMA = "relocscope/report/1"

MOST_CASES = 16

NOT_TRIED = "Changes, other sizes and other numbers of the core were not tried: a report of two cases tries them."
"""What a report of more than two cases says in their place."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """One run with what only a report shows of it."""

    which: str
    """A, then B, or B1, B2, ... where there are more: every one is the B of its own comparison with A."""
    title: str
    run: Run
    pace: Pace | None
    code: tuple[Line, ...]
    memory_map: MemoryMap
    walks: tuple[Walk, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Report:
    """The facts of one report. `comparisons` are each with the first run, in order; changes are tried only of two."""

    answer: Answer
    parts: tuple[Part, ...]
    comparisons: tuple[Comparison, ...]
    cores: tuple[Core, ...]
    reproduction: Reproduction

    @property
    def changes_tried(self) -> bool:
        """Whether fixes, break-even and what hangs on estimates were looked for."""
        return len(self.comparisons) == 1

    @property
    def of_programs(self) -> bool:
        """Whether none of the runs is of a kernel."""
        return all(part.run.is_program for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `report --json`."""
        return {
            "schema": SCHEMA,
            "answer": asdict(self.answer),
            "parts": [_part(part) for part in self.parts],
            "comparisons": [_without_runs(each) for each in self.comparisons],
            "cores": [asdict(core) for core in self.cores],
            "reproduction": asdict(self.reproduction),
        }


def _part(part: Part) -> dict[str, Any]:
    return {
        "which": part.which,
        "title": part.title,
        "run": part.run.to_json(),
        "pace": None if part.pace is None else _pace(part.pace),
        "code": [{**asdict(line), "va": f"{line.va:#x}"} for line in part.code],
        "memory_map": _hexed(asdict(part.memory_map)),
        "walks": [_hexed(asdict(walk)) for walk in part.walks],
    }


def _pace(pace: Pace) -> dict[str, Any]:
    facts: dict[str, Any] = _hexed(asdict(pace))
    # JSON's keys are texts; a list keeps the cycles numbers
    facts["load_latency"] = [{"cycles": cycles, "loads": loads} for cycles, loads in pace.load_latency.items()]
    return facts


def _hexed(value: Any, key: str = "") -> Any:
    """Return nested facts with their addresses as hex texts."""
    if isinstance(value, Mapping):
        return {name: _hexed(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hexed(item) for item in value]
    is_address = key in ("va", "pa") or key.endswith("_pa")
    return f"{value:#x}" if is_address and isinstance(value, int) else value


def _without_runs(found: Comparison) -> dict[str, Any]:
    facts = found.to_json()
    return {"a": found.a.case, "b": found.b.case, **{k: v for k, v in facts.items() if k not in ("schema", "a", "b")}}


def gathered(
    cases: Sequence[str],
    settings: Mapping[str, Any],
    *,
    core: str | None = None,
    sample: bool = False,
    arguments: Sequence[str] = (),
) -> Report:
    """Run the cases, each beside the first, and find out everything. `arguments`: how a command line would ask."""
    if len(cases) > MOST_CASES:
        raise InputError(f"CASE: {len(cases)} cases: at most {MOST_CASES} in one report")
    return report_of(_runs(cases, settings, core, sample), arguments)


def _runs(cases: Sequence[str], settings: Mapping[str, Any], core: str | None, sample: bool) -> list[Run]:
    with Progress(f"running {', '.join(cases)}") as progress:
        subjects = _subjects(cases, settings, core, sample)
        runs = []
        for subject in subjects:
            runs.append(run_operand(subject))
            progress.step(len(runs), len(subjects))
    return runs


def _subjects(cases: Sequence[str], settings: Mapping[str, Any], core: str | None, sample: bool) -> list[Operand]:
    """Return the operands; all on one core, as `explain` has it, and the first one's settings wherever it stands."""
    if len(cases) == 1:
        return [with_settings(operand(cases[0]), settings, core=core, sample=sample)]
    pairs = [sides(cases[0], other, settings, core=core, sample=sample) for other in cases[1:]]
    if len(pairs) > 1 and core is None:
        # One that needs another core than the first takes all of them there.
        needed = {subject.core for pair in pairs for subject in pair} - {pairs[0][0].core}
        if needed:
            pairs = [
                sides(cases[0], other, settings, core=sorted(map(str, needed))[0], sample=sample) for other in cases[1:]
            ]
    return [pairs[0][0], *(pair[1] for pair in pairs)]


def report_of(runs: Sequence[Run], arguments: Sequence[str] = ()) -> Report:
    """Find out everything about these runs, each beside the first. No text in it steers a terminal."""
    first, *others = runs
    comparisons = tuple(_compared(first, other, changes=len(others) == 1) for other in others)
    answer = _answer(first, comparisons)
    parts = tuple(_looked_into(which, run) for which, run in zip(_letters(len(runs)), runs, strict=True))
    configs = {run.config.name: run.config for run in runs}
    found: Report = harmless(
        Report(
            answer=answer,
            parts=parts,
            comparisons=comparisons,
            cores=tuple(core_of(config) for config in configs.values()),
            reproduction=reproduction(arguments, {part.which: part.run for part in parts}),
        )
    )
    return found


def _letters(count: int) -> list[str]:
    return ["A", *(["B"] if count == 2 else [f"B{number}" for number in range(1, count)])]


def _answer(first: Run, comparisons: Sequence[Comparison]) -> Answer:
    if not comparisons:
        return answer_of_run(first)
    return answer_of_comparison(comparisons[0]) if len(comparisons) == 1 else answer_of_several(comparisons)


def _compared(a: Run, b: Run, *, changes: bool) -> Comparison:
    """Do what `explain` does; where there are many, without trying changes, other sizes and other numbers."""
    attributed = cache(lambda: _attributed(a, b))
    parts = Decomposition(contributions=(), interactions=())
    verdict = judge(a, b, attributed)
    if _differ(a, b):
        with Progress(f"{b.case}: replaying the whole runs without the largest contributions") as progress:
            parts = confirm(attributed(), a, b, progress.step)
    found = Comparison(a=a, b=b, verdict=verdict, evidence=tuple(evidence(a, b)), parts=parts, fixes=())
    if not changes:
        return found
    with Progress("running other sizes") as progress:
        crossing = break_even(a, b, progress.step)
    with Progress("trying changes") as progress:
        tried = tuple(fixes(b, progress.step))
    with Progress("moving the core's estimated numbers") as progress:
        estimates = sensitivity(a, b, progress.step)
    return replace(found, fixes=tried, break_even=crossing, sensitivity=estimates)


def _attributed(a: Run, b: Run) -> Decomposition:
    with Progress(f"{b.case}: replaying with mechanisms switched off") as progress:
        return attribute(a, b, progress.step)


def _differ(a: Run, b: Run) -> bool:
    """Whether there is a difference to decompose: the model claims none below SAME_WITHIN."""
    return speedup(a, b) is not None and abs(a.cycles - b.cycles) > SAME_WITHIN * a.cycles


def _looked_into(which: str, run: Run) -> Part:
    with Progress(f"{run.case}: replaying page by page") as progress:
        pace = pace_of(run, progress.step)
    case = run.operand.case if run.operand else None
    return Part(
        which=which,
        title=case.title if case else "",
        run=run,
        pace=pace,
        code=code_of(run),
        memory_map=memory_map_of(run),
        walks=walks_of(run),
    )
