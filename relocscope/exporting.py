"""Exporting: from a case or trace to the Subject of an export, by a replay that stops where there is to be looked."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from relocscope.listing import source_lines, texts
from relocscope.operand import Operand
from relocscope.phases import stretches
from relocscope.regimes import regime_switches
from relocscope.runs import Recorded, Run, recorded
from traces.errors import InputError, named_input
from traces.exports.registry import FORMATS, TIMED_LIMIT, Format
from traces.exports.subject import Part, Stretch, Subject
from traces.schema import Mark
from traces.trace import Records, Trace
from traces.window import Place, Window, between, by_instructions, by_pages, whole

if TYPE_CHECKING:
    import polars

    from caches.replaying import Replay

SAMPLES = 512
"""Stretches into which a window is cut for what is shown over time."""

_UNITS = ("pages", "instructions", "cycles")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The part of a run that was asked for: first up to stop, counted from 0, in pages, instructions or cycles."""

    unit: str
    first: int
    stop: int


def parse_bounds(unit: str, text: str) -> Bounds:
    """Read A:B."""
    first, colon, stop = text.replace("_", "").partition(":")
    if not colon or not first.isdecimal() or not stop.isdecimal() or len(text) > 60:
        raise InputError(f"--{unit}: {text!r:.60} must be A:B, two whole numbers")
    if int(first) >= int(stop):
        raise InputError(f"--{unit}: {text}: A must be less than B")
    return Bounds(unit, int(first), int(stop))


def export(
    subject: Operand,
    name: str,
    stream: IO[bytes],
    bounds: Bounds | None = None,
    *,
    note: Callable[[str], None] = lambda _text: None,
) -> None:
    """Write a case or trace in that format; `note` is told, in a line, what is left out."""
    if name not in FORMATS:
        raise InputError(f"--format: {name!r}: must be one of {', '.join(FORMATS)}")
    if subject.sample:
        raise InputError("--sample: an export shows a whole run; bound it with --pages, --instructions or --cycles")
    source = recorded(subject)
    FORMATS[name].write(_subject(source, subject.name, FORMATS[name], bounds, note), stream)


def costs_to_arrow(run: Run) -> "polars.DataFrame":
    """Return what each instruction of a run cost in each phase, as the format parquet-costs has it."""
    from traces.exports.arrow import costs_to_arrow as as_table

    source = Recorded(run.trace, run.config, run.initial, run.seed)
    return as_table(_subject(source, run.case, FORMATS["parquet-costs"], None, lambda _text: None))


def _subject(source: Recorded, name: str, form: Format, bounds: Bounds | None, note: Callable[[str], None]) -> Subject:
    trace, needs = source.trace, form.needs
    window = _window(source, bounds)
    if form.limit is not None and window.instructions > form.limit:
        if bounds is not None:
            at_most = f"{form.limit:,} instructions are the most that this format is written for"
            raise InputError(f"--{bounds.unit}: {window.instructions:,} instructions; {at_most}")
        note(f"only the first {form.limit:,} of {window.instructions:,} instructions; --pages or --instructions choose")
        window = by_instructions(trace, 0, form.limit)
    timed = "timed" in needs or ("timed?" in needs and window.instructions <= TIMED_LIMIT)
    if "timed?" in needs and not timed:
        tracks = f"tracks of single instructions are written for up to {TIMED_LIMIT:,}"
        note(f"{window.instructions:,} instructions: {tracks}; --pages or --instructions choose")
    found = Subject(
        name=name, trace=trace, window=window, core=source.config.name, frequency_hz=source.config.frequency_hz
    )
    if "costs" in needs:
        found = _costed(source, found)
    return dataclasses.replace(
        found,
        timed=_timed(source, window) if timed else None,
        retired=_retired(source, window) if "retired" in needs else None,
        texts=texts(trace) if "texts" in needs else (),
        source=source_lines(trace) if "source" in needs else {},
    )


def _window(source: Recorded, bounds: Bounds | None) -> Window:
    trace = source.trace
    if bounds is None:
        return whole(trace)
    with named_input(f"--{bounds.unit}"):
        if bounds.unit == "pages":
            return by_pages(trace, bounds.first, bounds.stop)
        if bounds.unit == "instructions":
            return by_instructions(trace, bounds.first, bounds.stop)
        return _by_cycles(source, bounds)


def _by_cycles(source: Recorded, bounds: Bounds) -> Window:
    from caches.timing import go_to_cycle

    replay = _replay(source)
    first = go_to_cycle(replay, bounds.first)
    if replay.cycles < bounds.first:
        raise InputError(f"cycle {bounds.first}: the run has {replay.cycles}")
    return between(source.trace, first, go_to_cycle(replay, bounds.stop))


def _replay(source: Recorded) -> "Replay":
    from caches.replaying import Replay

    return Replay(source.trace, source.config, initial=source.initial, seed=source.seed)


def _at(source: Recorded, window: Window) -> "Replay":
    from caches.timing import go

    replay = _replay(source)
    go(replay, window.first)
    return replay


def _timed(source: Recorded, window: Window) -> Iterator[Records]:
    from caches.timing import timed

    return timed(_at(source, window), window.stop, window.number)


def _retired(source: Recorded, window: Window) -> Iterator[Records]:
    from caches.timing import retired

    return retired(_at(source, window), window.stop, window.number)


def _costed(source: Recorded, found: Subject) -> Subject:
    """Replay the window from one place to the next at which there is to be looked."""
    from caches.timing import go, sample

    trace, window = source.trace, found.window
    phases = _inside(window, [(stretch.first, stretch.name) for stretch in stretches(trace)])
    regimes = _inside(window, _regimes(trace))
    evenly = np.linspace(window.first.execution, window.stop.execution, SAMPLES + 1)[1:-1].astype(int)
    stops = {window.first, window.stop, *(place for place, _ in (*phases, *regimes))}
    stops |= {Place(int(at), 0) for at in evenly if window.first < Place(int(at), 0) < window.stop}
    replay = _at(source, window)
    counters, rows = replay.outcome().counters, []
    seen: dict[Place, tuple[int, Any, Any]] = {}
    wanted = {place for place, _ in phases} | {window.stop}
    for place in sorted(stops):
        go(replay, place)
        rows.append(sample(replay))
        costs = (replay.insn_cycles.copy(), replay.insn_count.copy()) if place in wanted else (None, None)
        seen[place] = (replay.cycles, *costs)
    after = replay.outcome().counters
    return dataclasses.replace(
        found,
        parts=tuple(_part(name, seen[a], seen[b], len(trace.insns)) for name, a, b in _named(phases, window.stop)),
        regimes=tuple(Stretch(name, seen[a][0], seen[b][0]) for name, a, b in _named(regimes, window.stop)),
        counters={part: {key: now - counters[part][key] for key, now in of.items()} for part, of in after.items()},
        samples=np.concatenate(rows),
    )


def _inside(window: Window, named: list[tuple[int, str]]) -> list[tuple[Place, str]]:
    """Return where in a window what has a name begins; what holds at its first place begins there."""
    found: list[tuple[Place, str]] = []
    for execution, name in named:
        place = Place(execution, 0)
        if place <= window.first:
            found = [(window.first, name)]
        elif place < window.stop:
            found.append((place, name))
    return found


def _named(begins: list[tuple[Place, str]], stop: Place) -> Iterator[tuple[str, Place, Place]]:
    for (place, name), (end, _) in pairwise([*begins, (stop, "")]):
        yield name, place, end


def _part(name: str, before: tuple[int, Any, Any], after: tuple[int, Any, Any], rows: int) -> Part:
    return Part(name, before[0], after[0], (after[1] - before[1])[:rows], (after[2] - before[2])[:rows])


def _regimes(trace: Trace) -> list[tuple[int, str]]:
    """Return (first execution, name) of each stretch under one regime; epochs of one name are one."""
    marks = trace.marks[trace.marks["kind"] == Mark.EPOCH]
    named: list[tuple[int, str]] = []
    for at, epoch in [(0, 0), *zip(marks["at"].tolist(), marks["a"].tolist(), strict=True)]:
        name = regime_switches(trace, epoch)
        if named and named[-1][0] == at:
            named.pop()
        if not named or named[-1][1] != name:
            named.append((at, name))
    return named
