"""Ranges: what the numbers of a core that are only estimated may be instead, and what that does to a prediction.

A preset marks a number `estimated` with its two ends, or with its choices (`caches/presets.py`). Each is moved alone;
what several of them do together is taken as the sum of independent deviations of the logarithm (`interval`).
"""

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from traces.errors import InputError

if TYPE_CHECKING:
    from caches import CoreConfig

Answer = TypeVar("Answer", bound=Hashable)
Step = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number that is only estimated; `others` are the ends of its range, or the choices, that it is not at."""

    key: str
    value: Any
    span: tuple[Any, ...]
    others: tuple[Any, ...]

    @property
    def is_number(self) -> bool:
        """Whether it lies in a range; else it is one of some choices."""
        return isinstance(self.value, int | float) and not isinstance(self.value, bool | Enum)


@dataclass(frozen=True, kw_only=True, slots=True)
class Response(Generic[Answer]):
    """What is answered with one estimate at another value."""

    estimate: Estimate
    value: Any
    answer: Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A prediction, and between what it may lie as far as the estimates go; `moves`: those that move it, most first."""

    low: float
    value: float
    high: float
    moves: tuple[Response[float], ...]


def estimates(config: "CoreConfig") -> list[Estimate]:
    """Return the estimated numbers of a core that can be anything else; what the core implements is none of them."""
    found: list[Estimate] = []
    for key, origin in config.provenance.items():
        if not origin.is_estimated or key.startswith("architecture."):
            continue
        values = [changed.value(key) for changed in (moved(config, {key: other}) for other in origin.estimated)
                  if changed is not None]  # fmt: skip
        others = tuple(value for value in dict.fromkeys(values) if value != config.value(key))
        if others:
            found.append(Estimate(key=key, value=config.value(key), span=origin.estimated, others=others))
    return found


def is_whole(key: str) -> bool:
    """Whether a core's number can only be whole: its field's type says so, not how a preset writes it."""
    from caches.parts import PARTS

    table, _, name = key.partition(".")
    return next(entry.type for entry in dataclasses.fields(PARTS[table]) if entry.name == name) is int


def moved(config: "CoreConfig", changes: "dict[str, Any]") -> "CoreConfig | None":
    """Return the core with these numbers changed; None where that makes no core."""
    try:
        return config.override(changes)
    except InputError:
        return None


def responses(
    config: "CoreConfig",
    ask: "Callable[[CoreConfig], Answer]",
    found: Sequence[Estimate],
    step: Step = lambda _done, _total: None,
) -> list[Response[Answer]]:
    """Ask with each estimate at each of its other values; return the answers that differ from the one as it is.

    A table of the preset (`l2`, `dram`, ...) is first moved as a whole, every number to its lowest and then to its
    highest value: only if one of the two makes a difference are its numbers moved one by one.
    """
    usual = ask(config)
    tables: dict[str, list[Estimate]] = {}
    for one in found:
        tables.setdefault(one.key.partition(".")[0], []).append(one)
    answered: list[Response[Answer]] = []
    done = 0
    for table in tables.values():
        if len(table) == 1 or any(_answer(config, ask, together) != usual for together in _together(table)):
            for one in table:
                for value in one.others:
                    answer = _answer(config, ask, {one.key: value})
                    if answer is not None and answer != usual:
                        answered.append(Response(estimate=one, value=value, answer=answer))
        done += len(table)
        step(done, len(found))
    return answered


def _together(table: Iterable[Estimate]) -> Iterator[dict[str, Any]]:
    """Yield the two settings that a whole table is tried at: they need not make a core, and then say nothing."""
    rows = list(table)
    yield {one.key: one.others[0] for one in rows}
    yield {one.key: one.others[-1] for one in rows}


def _answer(config: "CoreConfig", ask: "Callable[[CoreConfig], Answer]", changes: dict[str, Any]) -> "Answer | None":
    changed = moved(config, changes)
    return None if changed is None else ask(changed)


def interval(
    config: "CoreConfig", predict: "Callable[[CoreConfig], float]", step: Step = lambda _done, _total: None
) -> Interval:
    """Return a prediction with what the estimates of the core leave open of it.

    `predict` returns a positive number. Each estimate is moved alone over its range; the largest deviations of the
    logarithm to either side are summed as squares, which takes the estimates as independent.
    """
    usual = predict(config)
    moves = responses(config, predict, estimates(config), step)
    moves.sort(key=lambda one: -abs(math.log(one.answer / usual)))
    low, high = between(usual, [(one.estimate.key, one.answer) for one in moves])
    return Interval(low=low, value=usual, high=high, moves=tuple(moves))


def between(usual: float, moves: Iterable[tuple[str, float]]) -> tuple[float, float]:
    """Return between what a positive number lies, given what it becomes when each of some keys alone is moved."""
    largest: dict[tuple[str, bool], float] = {}
    for key, answer in moves:
        off = math.log(answer / usual)
        side = key, off > 0
        largest[side] = max(largest.get(side, 0.0), abs(off))
    down, up = (
        math.sqrt(sum(off * off for (_, above), off in largest.items() if above == wanted)) for wanted in (False, True)
    )
    return usual * math.exp(-down), usual * math.exp(up)
