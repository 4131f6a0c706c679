"""Timing: when the instructions of a window passed through the core, read off a replay as it goes by.

Nothing is recorded by compiled code: the model's own rings hold the last few hundred dispatches and retirements, and a
replay that goes one instruction at a time shows the rest.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from caches.kernels.layout import NO_DESTINATION
from caches.replaying import Replay
from caches.state import COUNTER_COLUMNS, COUNTER_ROWS
from caches.tape import ops_of
from traces.expand import executed_counts
from traces.timed import EVENTS, RETIRED, SAMPLE, TIMED
from traces.trace import Records
from traces.window import Place

_PIECE = 4096
_SEARCHED_EXECUTIONS = 1 << 13

_EVENT_COUNTERS = {
    "dram_reads": (("dram", "reads"),),
    "dram_writes": (("dram", "writes"),),
    "uncached_reads": (("device", "loads"), ("nc", "misses")),
    "uncached_writes": (("device", "stores"), ("nc", "writes")),
    "walks": (("walk", "walks"),),
    "walk_reads": (("walk", "reads"),),
}


def place_of(replay: Replay) -> Place:
    """Return where a replay stands."""
    return Place(replay.at, replay.inside)


def go(replay: Replay, place: Place) -> None:
    """Go on to a place that is not behind."""
    while replay.inside and replay.at < place.execution:
        replay.step()
    replay.advance(place.execution)
    while replay.inside < place.insns:
        replay.step()


def go_to_cycle(replay: Replay, cycle: int) -> Place:
    """Go on to the first instruction before which at least that many cycles have passed, or to the end."""
    end, window = len(replay.trace.executions), _SEARCHED_EXECUTIONS
    while replay.cycles < cycle and replay.at < end:
        if window <= 1 or replay.inside:
            replay.step()
            continue
        saved = replay.save()
        replay.advance(min(end, replay.at + window))
        if replay.cycles >= cycle:
            replay.restore(saved)
            window //= 8
    return place_of(replay)


def sample(replay: Replay) -> Records:
    """Return one SAMPLE row of what a replay has counted."""
    row = np.zeros(1, SAMPLE)
    row["number"], row["cycle"] = replay.insn_count.sum(), replay.cycles
    row["causes"], row["events"] = replay.insn_cycles.sum(axis=0), _events(replay)
    return row


def _events(replay: Replay) -> NDArray[np.int64]:
    counters = replay.state.words["counters"][0]
    return np.array([sum(int(counters[at]) for at in _EVENT_PLACES[name]) for name in EVENTS], np.int64)


_EVENT_PLACES = {
    name: tuple((COUNTER_ROWS.index(part), COUNTER_COLUMNS[part].index(counter)) for part, counter in counters)
    for name, counters in _EVENT_COUNTERS.items()
}


def retired(replay: Replay, stop: Place, number: int) -> Iterator[Records]:
    """Replay up to `stop`; yield RETIRED rows of the instructions on the way, as many at a time as the rings hold."""
    mask = int(replay.state.words["ring_mask"][0])
    while place_of(replay) < stop:
        before = int(replay.state.words["count"][0])
        if replay.inside or replay.at == stop.execution:
            replay.step()
        else:
            ahead = executed_counts(replay.trace, replay.at, min(replay.at + mask + 1, stop.execution))
            fit = int(np.searchsorted(np.cumsum(ahead), mask + 1, side="right"))
            if fit:
                replay.advance(replay.at + fit)
            else:
                replay.step()
        count = np.arange(before, int(replay.state.words["count"][0]))
        rows = np.zeros(len(count), RETIRED)
        rows["number"] = number + np.arange(len(count))
        for name, ring in (("dispatch", "dispatched"), ("retire", "retired")):
            rows[name] = replay.state.words[ring][0, count & mask]
        number += len(rows)
        yield rows


def timed(replay: Replay, stop: Place, number: int) -> Iterator[Records]:
    """Replay up to `stop` one instruction at a time, some 15,000 a second; yield them as TIMED rows."""
    ops = ops_of(replay.trace, replay.config)
    first = replay.trace.blocks["first"].astype(np.int64)
    fetched = 0
    while place_of(replay) < stop:
        rows = np.zeros(_PIECE, TIMED)
        filled = 0
        while filled < _PIECE and place_of(replay) < stop:
            insn = int(first[replay.trace.executions[replay.at]]) + replay.inside
            rows[filled]["number"], rows[filled]["insn"] = number, insn
            _step(replay, rows[filled], ops[insn])
            # A later group may be there before an earlier one; what goes into the window goes in order.
            fetched = rows[filled]["fetch"] = max(fetched, int(rows[filled]["fetch"]))
            filled, number = filled + 1, number + 1
        yield rows[:filled]


def _step(replay: Replay, row: np.void, op: np.void) -> None:
    """Replay one instruction and fill its row."""
    words, insn = replay.state.words[0], int(row["insn"])
    count, mask = int(words["count"]), int(words["ring_mask"])
    was, events = int(words["retire"]), _events(replay)
    causes = replay.insn_cycles[insn].copy()
    room = int(words["dispatched"][(count - int(words["fetch_queue"])) & mask])
    replay.step()
    row["causes"], row["events"] = replay.insn_cycles[insn] - causes, _events(replay) - events
    dispatch, retire = int(words["dispatched"][count & mask]), int(words["retire"])
    issue = min(max(dispatch, int(words["issued"])), retire)
    row["fetch"] = min(dispatch, max(int(words["fetched"]), room))
    row["dispatch"], row["issue"], row["retire"] = dispatch, issue, retire
    row["complete"] = min(max(issue, _completion(words, op, was)), retire)


def _completion(words: np.void, op: np.void, was: int) -> int:
    """Return when a result was there: as it was written to a register, or held up retirement, or by its class."""
    for at in range(3):
        register = int(op[f"dst{at}"])
        if register != NO_DESTINATION:
            return int(words["registers"][register])
    retire = int(words["retire"])
    return retire if retire > was + 1 else int(words["issued"]) + max(1, int(op["latency"]))
