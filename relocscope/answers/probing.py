"""Probing: the replays that searches ask for, many searches at a time."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as Directory
from typing import Any

from relocscope.answers.paths import Path, Settings
from relocscope.answers.searching import Ask, Found, Search, Times, search
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.sweep import Sweep
from relocscope.sweeping.workers import Executor

Progress = Callable[[str, int, int], None]


class Probe:
    """Times a case with changed settings; what is in the directory is not computed again."""

    def __init__(self, plan: Plan, directory: Directory, executor: Executor) -> None:
        self._plan, self._directory, self._executor = plan, directory, executor
        self.computed = 0
        """Replays done now."""

    def rows(self, asked: Sequence[Settings], *, sample: bool) -> list[Mapping[str, Any]]:
        """Return the rows of a sweep (docs/sweep.md) with these settings, each at least one."""
        moved = {name for settings in asked for name in settings}
        # A plan has each key in one place: what is set and moved stands in every row.
        usual = {name: value for name, value in self._plan.settings.items() if name in moved}
        plan = dataclasses.replace(
            self._plan,
            settings={name: value for name, value in self._plan.settings.items() if name not in moved},
            points=[{**usual, **settings} for settings in asked],
            sample=sample,
            skip_impossible=True,
        )
        sweep = Sweep(plan, self._directory)
        sweep.store.prepare()
        sweep.check(self._executor)
        sweep.capture(self._executor, None)
        todo, _ = sweep.replays((side for point in sweep.points for side in point.sides), sample=sample)
        sweep.replay(self._executor, todo, None)
        self.computed += sweep.computed["replay"]
        return [sweep.row(point.index, point.sides[0], sample=sample) for point in sweep.points]

    def seconds(self, asks: Sequence[Ask]) -> Times:
        """Return what each takes; None where it cannot be, failed or does not arrive."""
        found: dict[int, float | None] = {}
        for in_full in (False, True):
            numbers = [number for number, ask in enumerate(asks) if ask.in_full == in_full]
            rows = self.rows([asks[number].settings for number in numbers], sample=not in_full) if numbers else []
            for number, row in zip(numbers, rows, strict=True):
                found[number] = row["seconds"] if row["outcome"] == "completed" else None
        return [found[number] for number in range(len(asks))]


class Look:
    """Searches side by side, each round of what they ask timed together. `usual`: seconds as it is, in full."""

    def __init__(self, probe: Probe, usual: float, target: float, progress: Progress) -> None:
        self._probe, self._usual, self._target, self._progress = probe, usual, target, progress
        (sampled,) = probe.seconds([Ask({}, in_full=False)])
        self._sampled = sampled or usual

    def along(self, paths: Sequence[Path], what: str) -> list[Found]:
        """Search every path."""
        searches = [search(path, self._usual, self._sampled, self._target) for path in paths]
        ended: dict[int, Found] = {}
        waiting: dict[int, list[Ask]] = {}
        for number, each in enumerate(searches):
            _advance(number, each, None, waiting, ended)
        while waiting:
            asked = dict(waiting)
            waiting.clear()
            times = iter(self._probe.seconds([ask for asks in asked.values() for ask in asks]))
            for number, asks in asked.items():
                _advance(number, searches[number], [next(times) for _ in asks], waiting, ended)
            self._progress(what, len(ended), len(searches))
        return [ended[number] for number in range(len(searches))]


def _advance(
    number: int, one: Search, times: Times | None, waiting: dict[int, list[Ask]], ended: dict[int, Found]
) -> None:
    """Let a search go on with the times that it asked for, to what it asks next or to its end."""
    try:
        waiting[number] = next(one) if times is None else one.send(times)
    except StopIteration as end:
        ended[number] = end.value
