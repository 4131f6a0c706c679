"""Survey: what a sweep would do, before it does anything, and how long that would take."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relocscope.sweeping.keys import bare, key
from relocscope.sweeping.measured import Subject, captured, measured
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.points import Side
from relocscope.sweeping.sweep import Sweep
from relocscope.sweeping.workers import Inline

SCHEMA = "relocscope/sweep-plan/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """How much there is to do. Captures and replays are counted once, however many points share them."""

    plan: Plan
    points: int
    impossible: int
    captures: int
    captures_missing: int
    replays: int
    replays_missing: int
    capture_seconds: float | None
    """Of one; None where none was measured."""
    replay_seconds: float | None
    """Of one: measured, or as stated."""
    workers: int

    @property
    def seconds(self) -> float:
        """About how long it would take. A sampled sweep's full replays at the end come on top."""
        busy = max(1, self.workers)
        capturing = (self.capture_seconds or 0.0) * self.captures_missing / min(busy, max(1, self.captures_missing))
        return capturing + (self.replay_seconds or 0.0) * self.replays_missing / busy

    def to_json(self) -> dict[str, Any]:
        """Return the object of `sweep --dry-run --json`; what was measured is apart, in `host`."""
        return {
            "schema": SCHEMA,
            **self.plan.to_json(),
            "keys": [{"key": name, "functional": key(bare(name)).functional} for name in self.plan.swept],
            "points": self.points,
            "impossible": self.impossible,
            "captures": {"all": self.captures, "missing": self.captures_missing},
            "replays": {"all": self.replays, "missing": self.replays_missing},
            "host": {
                "seconds": round(self.seconds, 3),
                "capture_seconds": self.capture_seconds,
                "replay_seconds": self.replay_seconds,
                "workers": self.workers,
            },
        }


def survey(plan: Plan, directory: Path, *, workers: int, replay_seconds: float | None = None) -> Survey:
    """Find out what a sweep would do. One point is captured and replayed to see how long it takes, and not kept.

    `replay_seconds`: a stated time of one replay, instead.
    """
    sweep = Sweep(plan, directory)
    sweep.check(Inline(directory))
    captures, missing = sweep.captures(), sweep.missing_captures()
    impossible = {
        point.index
        for point in sweep.points
        if any(side.impossible or side.capture in sweep.impossible for side in point.sides)
    }
    sides = [side for side in sweep.sides() if side.replayed is not None and side.capture not in sweep.impossible]
    unknown = {
        (side.capture, side.replayed.config_hash, side.replayed.initial, side.replayed.seed): side
        for side in sides
        if side.capture in missing and side.replayed is not None
    }
    todo, known = sweep.replays(sides, sample=plan.sample)
    capture_seconds = None
    first = next(iter(unknown.values()), None)
    if replay_seconds is None and (todo or first):
        done = {task.key for task in todo}
        first = first or next(
            side for side in sides if (task := sweep.replay_of(side, plan.sample)) and task.key in done
        )
        capture_seconds, replay_seconds = _measured(sweep, first)
    return Survey(
        plan=plan,
        points=len(sweep.points),
        impossible=len(impossible),
        captures=len(captures.keys() - sweep.impossible.keys()),
        captures_missing=len(missing.keys() - sweep.impossible.keys()),
        replays=known + len(unknown),
        replays_missing=len(todo) + len(unknown),
        capture_seconds=capture_seconds,
        replay_seconds=replay_seconds,
        workers=workers,
    )


def _measured(sweep: Sweep, side: Side) -> tuple[float | None, float]:
    """Return how long one capture, where it is not there, and one replay take."""
    from caches.replaying import compile_ahead

    if side.subject is None or side.replayed is None:
        raise ValueError("a side that cannot be has nothing to measure")
    known = sweep.store.capture(side.capture) or {}
    compile_ahead()
    started = time.perf_counter()
    trace = sweep.store.trace(known["trace"]) if "trace" in known else captured(side.subject)
    taken = None if "trace" in known else round(time.perf_counter() - started, 3)
    subject = Subject.of(trace)
    started = time.perf_counter()
    measured(subject, side.replayed)
    return taken, round(time.perf_counter() - started, 4)
