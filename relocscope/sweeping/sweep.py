"""A sweep from its plan to its table: check, capture, replay, and confirm in full what a sample singled out."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from relocscope.operand import Operand
from relocscope.sweeping.confirming import to_confirm
from relocscope.sweeping.keys import bare
from relocscope.sweeping.pareto import front, sram_bytes
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.points import Resolver, Side
from relocscope.sweeping.store import Store, result_key
from relocscope.sweeping.table import Table
from relocscope.sweeping.tasks import Answer, Capture, Check, Replay, Task
from relocscope.sweeping.versions import model_version
from relocscope.sweeping.workers import Executor, Inline, Processes
from traces.errors import InputError

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and how much there is."""


@dataclass(frozen=True, slots=True)
class Means:
    """Who does the work: so many processes of this machine (0 or 1: this one), or a Dask cluster."""

    workers: int
    scheduler: str | None = None


def default_workers() -> int:
    """Return one process for each CPU that this one may use."""
    return len(os.sched_getaffinity(0))


class Sweep:
    """One plan in one directory. Everything that is found out is in the store before it counts as done."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        resolver = Resolver(plan)
        self.plan, self.store = plan, Store(directory)
        self.points = list(resolver.points())
        self.base = resolver.base()
        self.model = model_version()
        self.impossible: dict[str, str] = {}
        """Captures that cannot be, and why."""
        self.failed: dict[str, str] = {}
        """What failed in a way that may not happen again: not in the store."""
        self.computed: Counter[str] = Counter()
        """Captures and replays done now, by kind and by worker."""

    def sides(self) -> Iterable[Side]:
        """Every case at every point, and the case unchanged."""
        for point in self.points:
            yield from point.sides
        if self.base is not None:
            yield self.base

    def captures(self) -> dict[str, Operand]:
        """Return what the plan needs captured, by key."""
        return {side.capture: side.subject for side in self.sides() if side.subject is not None}

    def missing_captures(self) -> dict[str, Operand]:
        """Return those of them that are not in the store."""
        return {key: subject for key, subject in self.captures().items() if self.store.capture(key) is None}

    def replays(self, sides: Iterable[Side], *, sample: bool) -> tuple[list[Replay], int]:
        """Return the replays that are still to be done, those of a trace together, and how many there are in all."""
        wanted: dict[str, Replay] = {}
        for side in sides:
            task = self.replay_of(side, sample)
            if task is not None:
                wanted[task.key] = task
        todo = [task for task in wanted.values() if self.store.result(task.key) is None]
        return sorted(todo, key=lambda task: task.trace), len(wanted)

    def replay_of(self, side: Side, sample: bool) -> Replay | None:
        """Return the replay of a case at a point; None where there is no trace of it."""
        if side.replayed is None:
            return None
        trace = (self.store.capture(side.capture) or {}).get("trace")
        if trace is None:
            return None
        how = replace(side.replayed, sample=sample)
        key = result_key(trace, how.config_hash, initial=how.initial, seed=how.seed, sample=sample, version=self.model)
        return Replay(key, trace, how.bare())

    def check(self, executor: Executor, progress: Progress | None = None) -> None:
        """Refuse, or note, what cannot be, before anything runs."""
        tasks = [Check(key, subject) for key, subject in self.missing_captures().items()]
        for done, (task, answer) in enumerate(executor.perform(tasks), 1):
            if answer.error is not None and answer.lasting:
                self.impossible[task.key] = answer.error
            if progress:
                progress("checking", done, len(tasks))
        if self.plan.skip_impossible:
            return
        for point in self.points:
            for side in point.sides:
                if side.capture in self.impossible:
                    raise InputError(f"{point.label}: {self.impossible[side.capture]}")

    def capture(self, executor: Executor, progress: Progress | None) -> None:
        """Run the guests that are missing."""
        missing = {key: each for key, each in self.missing_captures().items() if key not in self.impossible}
        tasks = [Capture(key, subject, self.store.directory) for key, subject in missing.items()]
        for done, (task, answer) in enumerate(executor.perform(tasks), 1):
            self._keep(task, answer, self.store.keep_capture)
            if progress:
                progress("capturing", done, len(tasks))

    def replay(self, executor: Executor, tasks: list[Replay], progress: Progress | None) -> None:
        """Time what is missing."""
        for done, (task, answer) in enumerate(executor.perform(tasks), 1):
            self._keep(task, answer, self.store.keep_result)
            if progress:
                progress("replaying", done, len(tasks))

    def _keep(self, task: Task, answer: Answer, keep: Callable[[str, Mapping[str, Any]], None]) -> None:
        if answer.lasting:
            keep(task.key, answer.facts)
        else:
            self.failed[task.key] = str(answer.error)
        kind = type(task).__name__.lower()
        self.computed[kind] += 1
        self.computed[answer.by] += 1
        self.store.note(
            {"kind": kind, "key": task.key, "by": answer.by, "seconds": answer.seconds, "at": round(time.time(), 3)}
        )

    def described(self, point: int, side: Side, *, sample: bool = False) -> dict[str, Any]:
        """Return a row of the table as far as it is known before its replay: all of what cannot be."""
        swept = {bare(name): side.value(bare(name)) for name in self.plan.swept}
        row: dict[str, Any] = {"point": point, "case": side.case, **swept, "core": side.value("core")}
        row |= {"status": "ok", "error": None, "speedup": None, "sampled": sample, "sampled_seconds": None}
        row |= {"sram_bytes": None, "on_front": False}
        why = side.impossible or self.impossible.get(side.capture)
        if why or side.replayed is None:
            return row | {"status": "impossible", "error": why, "outcome": None}
        row |= {"config": side.replayed.config_hash, "model": self.model}
        return row | {"sram_bytes": sram_bytes(side.replayed.config)}

    def row(self, point: int, side: Side, *, sample: bool) -> dict[str, Any]:
        """Return one row of the table, without its speed-up."""
        row = self.described(point, side, sample=sample)
        if row["status"] != "ok":
            return row
        known = self.store.capture(side.capture) or {"error": self.failed.get(side.capture)}
        task = self.replay_of(side, sample)
        if task is not None:
            known = self.store.result(task.key) or {"error": self.failed.get(task.key), "trace": task.trace}
        if "result" not in known:
            return row | {"status": "failed", "error": known["error"], "trace": known.get("trace"), "outcome": None}
        return row | {"trace": known["trace"], **known["result"]}


def run(plan: Plan, directory: Path, means: Means, progress: Progress | None = None) -> Table:
    """Do what of the plan is not in the directory, and write its table there. May be interrupted at any time."""
    started = time.perf_counter()
    sweep = Sweep(plan, directory)
    sweep.store.prepare()
    with ExitStack() as stack:
        here: Executor = stack.enter_context(local(means, directory))
        replayer: Executor = here
        if means.scheduler is not None:
            from relocscope.sweeping.cluster import Cluster

            replayer = stack.enter_context(Cluster(means.scheduler, directory))
        sweep.check(here, progress)
        sweep.capture(here, progress)
        todo, total = sweep.replays(sweep.sides(), sample=plan.sample)
        sweep.replay(replayer, todo, progress)
        rows, base = _rows(sweep, set())
        if plan.sample:
            confirmed = to_confirm(plan, rows)
            exact = [side for point in sweep.points if point.index in confirmed for side in point.sides]
            again, more = sweep.replays([*exact, *_listed(sweep.base)], sample=False)
            sweep.replay(replayer, again, progress)
            total += more
            rows, base = _rows(sweep, confirmed)
    host = {
        "seconds": round(time.perf_counter() - started, 3),
        "captured": sweep.computed["capture"],
        "replayed": sweep.computed["replay"],
        "reused": total - sweep.computed["replay"],
        "by": {who: n for who, n in sorted(sweep.computed.items()) if who not in ("capture", "replay")},
    }
    table = Table(plan=plan, rows=rows, base=base, captures=len(sweep.captures()), model=sweep.model, host=host)
    table.write(directory)
    return table


def run_kept(plan: Plan, out: Path | str | None, means: Means) -> Table:
    """Do the same with what is kept in `out`; without it, nothing is."""
    if out is not None:
        return run(plan, Path(out), means)
    with TemporaryDirectory(prefix="relocscope-sweep-") as directory:
        return run(plan, Path(directory), means)


def _listed(side: Side | None) -> list[Side]:
    return [] if side is None else [side]


def local(means: Means, directory: Path) -> Executor:
    """Return who works on this machine. Beside a cluster's client no guest runs (docs/decisions.md)."""
    if means.workers <= 1 and means.scheduler is None:
        return Inline(directory)
    return Processes(max(1, means.workers), directory)


def _rows(sweep: Sweep, confirmed: Set[int]) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return all rows and the case unchanged; points `confirmed` by full replays say beside it what the sample said."""
    rows = []
    sampled = sweep.plan.sample
    base = None if sweep.base is None else sweep.row(-1, sweep.base, sample=sampled and not confirmed)
    for point in sweep.points:
        made = [sweep.row(point.index, side, sample=sampled) for side in point.sides]
        if point.index in confirmed:
            quick = [row.get("seconds") for row in made]
            made = [sweep.row(point.index, side, sample=False) for side in point.sides]
            for row, seconds in zip(made, quick, strict=True):
                row["sampled_seconds"] = seconds
        for name, row in zip("ab", made, strict=False):
            row |= {"side": name, "speedup": _speedup(made[0] if base is None else base, row)}
        rows += made
    for row in front(rows):
        row["on_front"] = True
    return rows, base


def _speedup(before: Mapping[str, Any], after: Mapping[str, Any]) -> float | None:
    """How many times as fast; None where one of the two never arrives, as its time means nothing."""
    if not before["outcome"] == after["outcome"] == "completed" or not after["seconds"]:
        return None
    return float(before["seconds"] / after["seconds"])
