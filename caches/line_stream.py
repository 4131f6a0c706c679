"""What one level of the caches is asked for, in order, as a replay asks for it.

A replay of the core, in which that level remembers next to nothing and writes down what it is told
(`kernels.recording`): what lies above it is as the core has it, walks, fetches and write-backs among it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from caches.config import CoreConfig
from caches.exactness import CACHES, conditions
from caches.extensions import Extension
from caches.kernels.layout import FLAG_BITS
from caches.kernels.recording import NOTEBOOK, WRITTEN, open_book, watching
from caches.kernels.stack_distances import AGAIN, FIRST, INVALIDATE
from caches.replaying import Replay
from traces.errors import InputError
from traces.expand import NO_PA, chunks
from traces.lines import LINE_BYTES
from traces.schema import Access, Maintenance
from traces.trace import Trace

Ints = NDArray[np.int64]

_CAPACITY = 1 << 22
"""Notes between two looks at the notebook."""

_NOTES_EACH = 64
"""More than an instruction makes, on the average of many."""

BY_ADDRESS = (
    Maintenance.DC_IVAC,
    Maintenance.DC_CIVAC,
    Maintenance.DC_CVAC,
    Maintenance.DC_CVAU,
    Maintenance.DC_CVAP,
)
_INVALIDATING = (Maintenance.DC_IVAC, Maintenance.DC_CIVAC)
_SET_WAY = (Maintenance.DC_ISW, Maintenance.DC_CSW, Maintenance.DC_CISW)

_NOBODY = 1 << 50
"""A line that nothing asks for."""


@dataclass(frozen=True, slots=True, eq=False)
class LineStream:
    """The accesses of a level, and what is invalidated there, in program order (`kernels.stack_distances`)."""

    places: Ints
    """What is taken modulo the number of sets."""
    lines: NDArray[np.int32]
    """Numbered from 0 on."""
    kinds: Ints
    counted: NDArray[np.bool_]
    """False of what the level above gives up to it: it is used or filled, and counts as no access."""
    accesses: int
    """All that count."""
    repeats: int
    """Those left out, being to what was accessed last: hits everywhere."""


def line_stream(trace: Trace, config: CoreConfig, level: str = "l1d") -> LineStream:
    """Return what l1d, l2 or l3 is asked for.

    Raises InputError, in one line, where that depends on what the level holds or on time (`exactness`).
    """
    failed = conditions(config, level)
    if failed:
        named = ", ".join(f"{each.key} = {each.value}" for each in failed)
        raise InputError(f"{level}: one pass is not exact with {named}")
    if getattr(config, level).size == 0:
        raise InputError(f"{level}: the core {config.name} has none")
    if any(name in (level, "prefetch") for name, _ in config.extensions):
        raise InputError(f"{level}: one pass is not exact with a policy or a prefetcher from outside")
    if np.isin(trace.insns["maintenance"], _SET_WAY).any():
        raise InputError("its guest invalidates by set and way: what that drops depends on the geometry")
    if (trace.insns["access"] == Access.PREFETCH).any():
        raise InputError("its guest prefetches: what comes of that depends on time")
    words, after, accesses = _noted(trace, config, level)
    if level == "l3" and config.l3.behind_poc:
        at, dropped = np.zeros(0, np.int64), np.zeros(0, np.int64)
    else:
        at, dropped = _invalidated(trace)
    where = np.searchsorted(after, at)
    drops = np.insert(np.zeros(len(words), np.bool_), where, True)
    # To L1D a store is an access; to what lies below it, what is written was asked for before.
    written = np.insert((words & WRITTEN == WRITTEN) & (level != "l1d"), where, True)
    lines = np.insert(words >> 1, where, dropped)
    return stream_of(lines, lines, drops, ~written, accesses)


def stream_of(
    places: Ints, ids: Ints, drops: NDArray[np.bool_], counted: NDArray[np.bool_], accesses: int
) -> LineStream:
    """Return events, of which `drops` are invalidations, without what changes nothing, and with runs joined."""
    repeats = accesses - int(counted.sum())
    numbers, kinds = _kinds(ids, drops)
    keep = kinds != _NOTHING
    places, numbers, kinds, counted = places[keep], numbers[keep], kinds[keep], counted[keep]
    once = kinds == _ONCE
    stretch = np.cumsum(~once)
    # Which of the lines that nobody asks for again comes first is all the same, until something else happens.
    order = np.flatnonzero(once)
    order = order[np.lexsort((places[order], stretch[order]))]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(stretch[order]) != 0) | (np.diff(places[order]) != 1)
    first = np.flatnonzero(begins)
    lengths = np.diff(np.append(first, len(order)))
    runs, live = order[first], np.flatnonzero(~once)
    merged = np.concatenate([live, runs])
    kinds = np.concatenate([kinds[live], -lengths])
    in_turn = np.lexsort((np.arange(len(merged)), np.repeat([0, 1], [len(live), len(runs)]), stretch[merged]))
    merged = merged[in_turn]
    return LineStream(places[merged], numbers[merged], kinds[in_turn], counted[merged], accesses, repeats)


_NOTHING, _ONCE = 3, 4


def _kinds(ids: Ints, drops: NDArray[np.bool_]) -> tuple[NDArray[np.int32], Ints]:
    """Return of each event the number of its line, and what it is: `kernels.stack_distances`, _ONCE or _NOTHING.

    _ONCE: to a line that is held nowhere and never asked for again; _NOTHING: an invalidation that finds nothing.
    """
    order = np.argsort(ids, kind="stable")
    same = np.zeros(len(ids) + 1, np.bool_)
    same[1:-1] = np.diff(ids[order]) == 0
    follows, followed = same[:-1], same[1:]
    dropped = drops[order]
    nowhere = ~follows
    nowhere[1:] |= dropped[:-1]
    sorted_kinds = np.select(
        [dropped & nowhere, dropped, nowhere & ~followed, nowhere], [_NOTHING, INVALIDATE, _ONCE, FIRST], AGAIN
    )
    kinds, numbers = np.empty(len(ids), np.int64), np.empty(len(ids), np.int32)
    kinds[order], numbers[order] = sorted_kinds, np.cumsum(~follows) - 1
    return numbers, kinds


def _noted(trace: Trace, config: CoreConfig, level: str) -> tuple[Ints, Ints, int]:
    """Replay; return lines (`WRITTEN` below them), after how many maintenance operations each, and the accesses."""
    policy = Extension(_never, "replacement", [_Watching()])
    small = config.override({f"{level}.size": 2 * LINE_BYTES, f"{level}.ways": 2}).extended(**{level: policy})
    replay = Replay(trace, small)
    state, row = replay.state, CACHES.index(level)
    base = int(state.words["level_base"][0, row])
    book = np.zeros(1, NOTEBOOK)
    lines, after = np.empty(_CAPACITY, np.int64), np.empty(_CAPACITY, np.int64)
    members = {
        "tags": state.tags[base:],
        "counters": state.words["counters"][0],
        "lines": lines,
        "after": after,
    }
    state.tags[base + 1] = (_NOBODY + 1) << FLAG_BITS
    state.ages[base + 1] = open_book(book, members)
    book["capacity"] = _CAPACITY
    longest = int(trace.blocks["count"].max()) if len(trace.blocks) else 1
    step = max(1, _CAPACITY // (_NOTES_EACH * longest))
    parts = [(lines[:0].copy(), after[:0].copy())]
    while replay.at < len(trace.executions):
        replay.advance(replay.at + step)
        count = int(book["count"][0])
        if count > _CAPACITY:
            raise RuntimeError(f"{level}: more accesses than an instruction can make")
        parts.append((lines[:count].copy(), after[:count].copy()))
        book["count"] = 0
    return (
        np.concatenate([noted for noted, _ in parts]),
        np.concatenate([noted for _, noted in parts]),
        replay.count(level, "accesses"),
    )


def _never(_event: int, _ages: Ints, _way: int) -> int:
    raise NotImplementedError  # what is compiled stands beside it


class _Watching:
    """The policy that writes down, as `Extension` keeps what it has compiled."""

    def __init__(self) -> None:
        self._called = watching()

    @property
    def address(self) -> int:
        """What the kernels call."""
        return int(self._called.address)


def _invalidated(trace: Trace) -> tuple[Ints, Ints]:
    """Return, of each DC by VA that invalidates, how many there were up to it, and its line."""
    insns = trace.insns.copy()
    wanted = np.isin(insns["maintenance"], BY_ADDRESS)
    insns["access"] = np.where(wanted, insns["access"], Access.NONE)
    numbers, lines = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    done = 0
    for table in chunks(replace(trace, insns=insns)) if wanted.any() else ():
        chosen = np.isin(insns["maintenance"][table["insn"]], _INVALIDATING) & (table["pa"] != NO_PA)
        numbers.append(np.flatnonzero(chosen) + done + 1)
        lines.append((table["pa"][chosen] // np.uint64(LINE_BYTES)).astype(np.int64))
        done += len(table)
    return np.concatenate(numbers), np.concatenate(lines)
