"""The steady state of a copy past the caches: pages that repeat, exactly, are added up instead of replayed.

With translation off and data Device, what a page costs does not depend on where it lies: no TLB, no cache and no DRAM
row has a part in it. So when the machine at the end of a page is the machine at its beginning, but for its clock, and
the next page runs the same instructions, that page costs the same to the last cycle of every instruction, and leaves
the machine in that state once more. What does depend on addresses is carried out for each page skipped: copies that
maintenance drops, data lost, lines read or written past a cache.

`Steady` compares the whole machine (`_canonical`), field by field; nothing is hashed or sampled. A field that is in
none of the lists below has to be equal, word for word.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caches.kernels import layout
from caches.state import MEMBERS, Ints, State, level_ways
from traces.schema import MemoryType

WINDOW = 8192
"""Executions in which a period has to show, twice."""

_PORTS = layout.CALENDAR_L2
"""Calendars of ports count cycles; what follows them (levels, channels) must not have been used."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TIMES = _names("""
    dispatch issued retire block redirect fetch_next fetched branch_resolved memory_after drained stores_done
    device_stored device_store_begun maintenance_next maintenance_done
""")
_TALLIES = ("tick", "count", "stores", "group")
# Set before they are read by whatever reads them, or carried out by `PassedLines` for each page.
_FREE = _names("""
    slot segments covered segment leaf queue inherited known row_was refreshed refreshes pa type failure_va entry
    merge_block recent_stores observed_read observed_changes observed_write observed_write_changes old_discarded
    stale_count stale lost_count lost counters
""")
# Compared and moved by hand.
_BUFFERS = ("buffer_begin", "buffer_end", "buffer_previous")
_TABLES = ("calendar", "hint", *_BUFFERS, "registers", "entries", "dispatched", "retired", "fetch_groups")
_POINTERS = tuple(MEMBERS)

_QUIET_ROWS = (
    layout.L1D,
    layout.L2,
    layout.L3,
    layout.ROW_ITLB,
    layout.ROW_DTLB,
    layout.ROW_L2TLB,
    layout.ROW_WALK,
    layout.ROW_DRAM,
    layout.ROW_NC,
)
"""Counters of parts whose answer depends on the address or the time: a page that asks them does not repeat."""


def period(executions: NDArray[np.uint32]) -> tuple[int, int] | None:
    """(start, length) of what the executions repeat up to their end, at least twice; None if they do not."""
    tail = executions[len(executions) // 2 :]
    if len(tail) < 16:
        return None
    data, width = tail.tobytes(), tail.itemsize
    beginning = data[: len(data) // 8]
    at = data.find(beginning, 4 * width)
    while 0 <= at <= len(data) // 2:
        length = at // width
        if at % width == 0 and (tail[length:] == tail[:-length]).all():
            differs = np.flatnonzero(executions[length:] != executions[:-length])
            return (int(differs[-1]) + 1 if len(differs) else 0), length
        at = data.find(beginning, at + 1)
    return None


def repeats_until(executions: NDArray[np.uint32], start: int, length: int) -> int:
    """Return the first position after `start` that differs from `length` before it."""
    at = start + length
    while at < len(executions):
        stop = min(len(executions), at + (1 << 16))
        differs = np.flatnonzero(executions[at:stop] != executions[at - length : stop - length])
        if len(differs):
            return at + int(differs[0])
        at = stop
    return at


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The machine at the end of a page: what has to be equal a page later, and what grows."""

    canonical: dict[str, Ints]
    now: int
    tallies: dict[str, int]
    counters: Ints
    insn_cycles: Ints
    insn_count: Ints
    fetch_ages: Ints


@dataclass(frozen=True, slots=True)
class _Proof:
    """A state that one page leads back to, and what that page adds."""

    canonical: dict[str, Ints]
    cycles: int
    tallies: dict[str, int]
    counters: Ints
    insn_cycles: Ints
    insn_count: Ints
    fetched: Ints
    """Ways of L1I that the page uses, and how many ticks before its end."""
    fetched_before: Ints


class Steady:
    """Watches one machine at the ends of pages, and moves it on by pages that are known to cost the same."""

    def __init__(self, state: State, members: dict[str, Any]) -> None:
        self._state = state
        self._members = members
        self._last: _Snapshot | None = None
        self._proof: _Proof | None = None
        names = state.words.dtype.names or ()
        known = {*_TIMES, *_TALLIES, *_FREE, *_TABLES, *_POINTERS}
        self._equal = [name for name in names[names.index("tick") :] if name not in known]

    def possible(self) -> bool:
        """Whether data are Device and flat now, and no line is half merged or may still gather."""
        words = self._state.words[0]
        last = MemoryType.DEVICE_NGRE if words["device_gathers"] else MemoryType.DEVICE_GRE
        return bool(words["flat"] == 1 and words["flat_type"] <= last and words["merging"] == 0)

    def forget(self) -> None:
        """Begin anew: the next page is another one."""
        self._last = self._proof = None

    def holds(self, plain: bool) -> bool:
        """Look at the machine at the end of a page; True if a page leads from this state back to it, and is known.

        `plain` says whether no access of the last page crossed a line: pages are only like others that are.
        """
        now = self._snapshot()
        if self._proof is not None and _same(self._proof.canonical, now.canonical):
            return True
        before, self._last = self._last, now
        self._proof = None
        if before is not None and plain and _same(before.canonical, now.canonical):
            self._proof = self._prove(before, now)
        return self._proof is not None

    def skip(self, pages: int, stores: Ints) -> None:
        """Move the machine on by that many pages; `holds` has just said that it may.

        `stores` are the addresses of the last page's stores in order, MISS for maintenance: what the store buffer saw.
        """
        proof, words = self._proof, self._state.words[0]
        if proof is None or pages == 0:
            return
        shift = pages * proof.cycles
        horizon = _horizon(words)
        self._shift_tables(horizon, shift, pages)
        for name in _TIMES:
            if words[name] >= horizon and words[name] != 0:
                words[name] += shift
        for name in _TALLIES:
            words[name] += pages * proof.tallies[name]
        groups = int(words["buffer_groups"])
        if groups:
            words["fetch_groups"][:groups] = np.roll(words["fetch_groups"][:groups], pages * proof.tallies["group"])
            words["group"] %= groups
        words["counters"] += pages * proof.counters
        self._members["insn_cycles"] += pages * proof.insn_cycles
        self._members["insn_count"] += pages * proof.insn_count
        ages = level_ways(self._state, layout.L1I).ages
        ages[proof.fetched] = words["tick"] - proof.fetched_before
        words["observed_read"] = words["observed_write"] = layout.MISS
        if len(stores):
            last = stores[-8:]
            words["recent_stores"][(words["stores"] - np.arange(len(last), 0, -1)) & 7] = (last >> 4) + 1
            block = (last[-1] >> words["merge_log2"]) + 1
            words["merge_block"] = 0 if last[-1] == layout.MISS else block

    def _shift_tables(self, horizon: int, shift: int, pages: int) -> None:
        words = self._state.words[0]
        calendar = words["calendar"][:_PORTS]
        row, at = np.nonzero(calendar >= horizon)
        taken = calendar[row, at]
        calendar[row, at] = -1
        calendar[row, (taken + shift) & layout.SLOTS_MASK] = taken + shift
        moved = [words[name] for name in _BUFFERS]
        for table in (words["hint"][:_PORTS], *moved, words["registers"], words["entries"][:, 0]):
            table[table >= horizon] += shift
        proof = self._proof
        count, uses = (0, 0) if proof is None else (proof.tallies["count"], proof.tallies["stores"])
        entries = int(words["store_entries"])
        words["entries"][:entries] = np.roll(words["entries"][:entries], pages * uses, axis=0)
        words["entry"] = (words["entry"] + pages * uses) % entries
        for name in ("dispatched", "retired"):
            ring = words[name][: int(words["ring_mask"]) + 1]
            ring[ring >= horizon] += shift
            ring[:] = np.roll(ring, pages * count)

    def _snapshot(self) -> _Snapshot:
        words = self._state.words[0]
        return _Snapshot(
            canonical=self._canonical(),
            now=int(words["retire"]),
            tallies={name: int(words[name]) for name in _TALLIES},
            counters=words["counters"].copy(),
            insn_cycles=self._members["insn_cycles"].copy(),
            insn_count=self._members["insn_count"].copy(),
            fetch_ages=level_ways(self._state, layout.L1I).ages.copy(),
        )

    def _canonical(self) -> dict[str, Ints]:
        """Return the machine with times relative to now; what lies before the horizon is gone, however long.

        The horizon is the earliest cycle at which anything that is still to come can ask for anything.
        """
        words = self._state.words[0]
        now, horizon = int(words["retire"]), _horizon(words)

        def relative(times: Any) -> Ints:
            return np.asarray(np.maximum(times, horizon) - now)

        entries, groups = int(words["store_entries"]), int(words["buffer_groups"])
        stores = np.roll(words["entries"][:entries], -int(words["entry"]), axis=0)
        alive = stores[:, 0] > horizon
        ring = int(words["ring_mask"]) + 1
        calendar = words["calendar"][:_PORTS]
        row, at = np.nonzero(calendar >= horizon)
        taken = row.astype(np.int64) * (1 << 40) + calendar[row, at] - now
        fetch = level_ways(self._state, layout.L1I)
        age = fetch.ages if words["level_replacement"][layout.L1I] not in (0, 1) else np.zeros(0, np.int64)
        rows = int(words["tlb_rows"])
        same = {name: np.array(words[name]) for name in self._equal if name != "tlb"}
        return same | {
            "tlb": words["tlb"][:rows].copy(),
            "times": np.array([max(int(words[name]), horizon) - now for name in _TIMES]),
            "waits": np.array([words["redirect"] == 0], np.int64),
            "calendar": np.sort(taken),
            "levels": words["calendar"][_PORTS:].copy(),
            "level hints": words["hint"][_PORTS:].copy(),
            "hint": relative(words["hint"][:_PORTS]),
            "buffers": relative(np.stack([words[name] for name in _BUFFERS])),
            "registers": relative(words["registers"]),
            "entries": relative(stores[:, 0]),
            "entry leaves": np.where(alive, stores[:, 1], -1),
            "dispatched": relative(np.roll(words["dispatched"][:ring], -int(words["count"]))),
            "retired": relative(np.roll(words["retired"][:ring], -int(words["count"]))),
            # Filled in turn and searched as a whole: where the turn begins is all the same.
            "fetch groups": np.roll(words["fetch_groups"][:groups], -(int(words["group"]) % max(1, groups))),
            "trees": self._state.trees.copy(),
            "predictor": self._members["predictor"].copy(),
            "l1i": np.concatenate([fetch.tags, np.maximum(fetch.lines["ready"], horizon) - now, age]),
        }

    def _prove(self, before: _Snapshot, now: _Snapshot) -> _Proof | None:
        """State what the page between two equal states adds; None if it asked what depends on addresses or time."""
        counters = now.counters - before.counters
        fetches = counters[layout.L1I]
        if counters[list(_QUIET_ROWS)].any() or fetches[layout.MISSES] or counters[layout.ROW_MAINTENANCE, 4]:
            return None
        if 0 < now.tallies["stores"] - before.tallies["stores"] < len(self._state.words[0]["recent_stores"]):
            return None  # the last stores would be those of several pages
        used = np.flatnonzero(now.fetch_ages != before.fetch_ages)
        return _Proof(
            canonical=now.canonical,
            cycles=now.now - before.now,
            tallies={name: now.tallies[name] - before.tallies[name] for name in _TALLIES},
            counters=counters,
            insn_cycles=now.insn_cycles - before.insn_cycles,
            insn_count=now.insn_count - before.insn_count,
            fetched=used,
            fetched_before=now.tallies["tick"] - now.fetch_ages[used],
        )


def _horizon(words: Any) -> int:
    """Return the earliest cycle that an instruction still to come can ask for."""
    count = int(words["count"])
    dispatched = words["dispatched"][(count - int(words["fetch_queue"])) & int(words["ring_mask"])]
    return int(min(words["dispatch"], max(words["fetch_next"], dispatched)))


def _same(one: dict[str, Ints], other: dict[str, Ints]) -> bool:
    return all(np.array_equal(value, other[name]) for name, value in one.items())
