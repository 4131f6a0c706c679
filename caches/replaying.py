"""Replay: a Trace and a core in, an Outcome out.

Memory does not grow with the trace, whose arrays may be mapped files.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import config as numba_config
from numba.types import int64
from numpy.typing import NDArray

from caches import views
from caches.config import CoreConfig
from caches.initial import kernel_dirty
from caches.kernels.layout import DIRTY, FAILURE_NO_TRANSLATION
from caches.kernels.tape import replay as replay_compiled
from caches.kernels.warming import warm as warm_compiled
from caches.mechanisms import mechanism_names
from caches.passed_lines import Footprint, PassedLines
from caches.state import COUNTER_COLUMNS, COUNTER_ROWS, LEVEL_NAMES, MACHINE_TYPE, Ints, State, fresh, level_ways
from caches.steady import WINDOW, Steady, period, repeats_until
from caches.tape import (
    as_int64,
    blocks_of,
    epochs_of,
    marks_of,
    ops_of,
    promises,
    told_caches,
    translations_of,
    walk_reads_of,
)
from caches.warming import Warming
from traces.errors import InputError
from traces.expand import executed_counts
from traces.outcome import Outcome
from traces.schema import LEAVES
from traces.trace import Trace

INITIAL_STATES = ("cold", "kernel-dirty")

CHUNK_EXECUTIONS = 1 << 17

CHUNK_PAGES = 128
"""Pages whose addresses are looked at together."""

WORTHWHILE = 2048
"""Executions between two marks from which on it is worth while to look for pages that repeat."""


class Saved(NamedTuple):
    """A Replay as it was at one point."""

    at: int
    inside: int
    value: int
    pages_skipped: int
    stale: int
    lost: int
    arrays: Mapping[str, NDArray[Any]]

    @property
    def bytes(self) -> int:
        """What it takes."""
        return sum(array.nbytes for array in self.arrays.values())


class Replay:
    """A replay that can be stopped and gone on with: the machine's state, and how far it is.

    `advance(stop)` replays up to the execution of that number; `outcome()` may be asked at any time. Advancing in two
    steps gives exactly what one step gives.
    """

    def __init__(
        self,
        trace: Trace,
        config: CoreConfig,
        *,
        ablate: Iterable[str] = (),
        initial: str = "cold",
        seed: int = 1,
        checkpoints: Sequence[int] | NDArray[np.uint64] = (),
        steady: bool = True,
    ) -> None:
        if initial not in INITIAL_STATES:
            raise InputError(f"initial = {initial!r}: must be one of {', '.join(INITIAL_STATES)}")
        promises(trace)
        self.trace = trace
        self.config = config
        self.at = 0
        """Executions replayed so far."""
        self.inside = 0
        """Instructions of the next one that have been replayed, by `step`."""
        self._value = 0
        self._warming: Warming | None = None
        self._stale: dict[int, None] = {}
        self._lost: dict[int, None] = {}
        self._state: State = fresh(config, ablate=mechanism_names(ablate), seed=seed)
        if initial == "kernel-dirty":
            code = np.unique(as_int64(trace.insns["pa"]) >> 6)
            kernel_dirty(self._state, config, trace.ranges, code, seed=seed)
        asked = np.array([int(at) for at in checkpoints], np.int64)
        if len(asked) and (np.diff(asked) < 0).any():
            raise InputError("checkpoints: must be in ascending order")
        insns = max(1, len(trace.insns))
        self._members: dict[str, Any] = {
            "tags": self._state.tags,
            "ages": self._state.ages,
            "lines": self._state.lines,
            "trees": self._state.trees,
            "ops": ops_of(trace, config),
            "blocks": blocks_of(trace),
            "epochs": epochs_of(trace),
            "marks": marks_of(trace),
            "translations": translations_of(trace),
            "walk_reads": walk_reads_of(trace),
            "checkpoints": asked,
            "checkpoint_cycles": np.full(len(asked), -1, np.int64),
            "insn_cycles": np.zeros((insns, len(LEAVES)), np.int64),
            "insn_count": np.zeros(insns, np.int64),
            "predictor": np.full((insns, 2), (-1, 0), np.int64),
        }
        words = self._state.words
        words["translation_mask"] = len(self._members["translations"]) - 1
        words["told"] = told_caches(trace, config)
        words["mark_count"], words["checkpoint_count"] = len(trace.marks), len(asked)
        self._enter_first_epoch()
        self.pages_skipped = 0
        """Pages that were added up, not replayed; with the same result (caches.steady)."""
        self._steady = Steady(self._state, self._members) if steady else None
        # What happens at these executions ends whatever repeats.
        events = np.concatenate([as_int64(trace.marks["at"]), asked, [0, len(trace.executions)]])
        self._events = np.unique(events)

    def _enter_first_epoch(self) -> None:
        clock, first = self._state.words, self._members["epochs"][0]
        for name in first.dtype.names or ():
            if name in (clock.dtype.names or ()):
                clock[name] = first[name]

    @property
    def cycles(self) -> int:
        """Modelled cycles so far."""
        return int(self._state.words[0]["retire"])

    @property
    def state(self) -> State:
        """The machine as it is; to be looked at only."""
        return self._state

    @property
    def insn_cycles(self) -> Ints:
        """[row of Trace.insns, leaf]: cycles so far; to be looked at only."""
        cycles: Ints = self._members["insn_cycles"]
        return cycles

    @property
    def insn_count(self) -> Ints:
        """[row of Trace.insns]: how often it was executed so far; to be looked at only."""
        count: Ints = self._members["insn_count"]
        return count

    @property
    def counters(self) -> dict[str, dict[str, int]]:
        """Of every part, so far: `Outcome.counters`."""
        return _counters(self._state)

    def count(self, part: str, name: str) -> int:
        """Return one counter as it is now, by the names of `Outcome.counters`; `stale` and `lost` of lines `truth`."""
        if part == "truth":
            return len(self._stale if name == "stale" else self._lost)
        row, column = COUNTER_ROWS.index(part), COUNTER_COLUMNS[part].index(name)
        return int(self._state.words["counters"][0, row, column])

    def advance(self, stop: int | None = None) -> None:
        """Replay up to execution `stop` of the trace, or to its end."""
        end = len(self.trace.executions) if stop is None else min(stop, len(self.trace.executions))
        while self.at < end:
            begins, ends = self._quiet(self.at)
            if self._steady is None or self.at < begins:
                self._compiled(min(end, begins if self._steady else end))
                continue
            self._compiled(self.at + 1)  # what happens before it is done now
            limit = min(end, ends - 1)
            while self.at < limit and self._steady.possible():
                self._stretch_of_pages(limit)
            self._compiled(min(end, ends))

    def step(self) -> None:
        """Replay one instruction. Inside an execution only this and `restore` may follow."""
        executed = int(executed_counts(self.trace, self.at, self.at + 1)[0])
        block = self._members["blocks"][int(self.trace.executions[self.at])]
        last = self.inside + 1 == executed
        follows = last and self.at + 1 < len(self.trace.executions)
        next_block = self._members["blocks"][int(self.trace.executions[self.at + 1])] if follows else block
        values = np.zeros(max(1, int(block[2])), np.int64)
        values[: int(block[2])] = as_int64(self.trace.values[self._value : self._value + int(block[2])])
        members = {
            "executions": np.array([0, 1 if follows else -1], np.int64),
            "blocks": np.array([[int(block[0]) + self.inside, 1, 0], next_block], np.int64),
            "values": values,
        }
        replay_compiled(views.record(self._state.words, MACHINE_TYPE, self._members | members), self.at, 1)
        self.inside += 1
        if last:
            self._value += int(block[2])
            self.at, self.inside = self.at + 1, 0
        self._drain()
        self._raise_failure()

    def warm(self, pages: int, length: int) -> None:
        """Go past that many pages of `length` executions each, which run the same blocks, without timing them.

        They leave behind what `caches.warming` says; what they cost is in no count of cycles or instructions, and
        the parts' counters are not what a replay would have counted. A page that is not like the first is replayed.
        """
        if pages == 0:
            return
        stop = self.at + pages * length
        if self._warming is None:
            self._warming = Warming(self._state, self._members)
        page = self._warming.page_of(self.trace, self.at, length, self._value)
        while page and self.at < stop:
            values = self._values(0, (stop - self.at) // length, page.words).reshape(-1)
            with self._warming.untimed() as (held, reach, cycle):
                members = self._members | {"values": np.ascontiguousarray(values)}
                machine = views.record(self._state.words, MACHINE_TYPE, members)
                count = len(values) // page.words
                done = int(warm_compiled(machine, page.events, page.words, count, held, reach, cycle))
            self._value += done * page.words
            self.at += done * length
            self._drain()
            self._raise_failure()
            if done == 0:
                self._compiled(self.at + length)
        self._compiled(stop)

    def jump(self, pages: int, length: int) -> None:
        """Go past that many such pages as if they did nothing."""
        self._value += pages * self._consumed(self.trace.executions[self.at : self.at + length].astype(np.int64))
        self.at += pages * length

    def save(self) -> "Saved":
        """Return what `restore` needs to go back to here."""
        arrays = {name: array.copy() for name, array in self._changing()}
        return Saved(self.at, self.inside, self._value, self.pages_skipped, len(self._stale), len(self._lost), arrays)

    def restore(self, saved: "Saved") -> None:
        """Go back, or forward, to where `saved` was made of this replay."""
        for name, array in self._changing():
            np.copyto(array, saved.arrays[name])
        self.at, self.inside, self._value, self.pages_skipped = saved[:4]
        for lines, count in ((self._stale, saved.stale), (self._lost, saved.lost)):
            while len(lines) > count:
                lines.popitem()
        if self._steady:
            self._steady.forget()

    def digest(self) -> str:
        """Return a SHA-256 of all that the model remembers and counts; the same on any machine."""
        found = hashlib.sha256()
        for name, array in self._changing():
            if name != "words":
                found.update(array.tobytes())
                continue
            for each in array.dtype.names or ():
                # Members are addresses of the host; the other two are what `_drain` has taken out.
                if each not in MACHINE_TYPE.layout.members and each not in ("stale", "lost"):
                    found.update(array[each].tobytes())
        found.update(repr((list(self._stale), list(self._lost))).encode())
        return found.hexdigest()

    def _changing(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield what a replay changes, by name."""
        yield from self._state._asdict().items()
        for name in ("checkpoint_cycles", "insn_cycles", "insn_count", "predictor"):
            yield name, self._members[name]

    def _quiet(self, at: int) -> tuple[int, int]:
        """Return the next long stretch in which nothing happens but instructions, or what is left of this one."""
        events = self._events[np.searchsorted(self._events, at, side="right") - 1 :]
        long = np.flatnonzero(np.diff(np.maximum(events, at)) >= WORTHWHILE)
        end = len(self.trace.executions)
        return (max(at, int(events[long[0]])), int(events[long[0] + 1])) if len(long) else (end, end)

    def _compiled(self, stop: int) -> None:
        """Replay up to that execution, instruction by instruction."""
        while self.at < stop:
            executions, values = self._stretch(min(stop, self.at + CHUNK_EXECUTIONS))
            members = self._members | {"executions": executions, "values": values}
            machine = views.record(self._state.words, MACHINE_TYPE, members)
            done = int(replay_compiled(machine, self.at, len(executions) - 1))
            self._value += self._consumed(executions[:done])
            self.at += done
            self._drain()
            self._raise_failure()

    def _stretch_of_pages(self, limit: int) -> None:
        """Go on to where a repetition ends that begins soon, or a little where none does."""
        found = period(self.trace.executions[self.at : min(limit, self.at + WINDOW)])
        if found is None:
            self._compiled(min(limit, self.at + WINDOW // 2))
            return
        start, length = found
        until = repeats_until(self.trace.executions[: limit + 1], self.at + start, length)
        self._compiled(self.at + start)
        self._pages(length, until, min(until, limit))

    def _pages(self, length: int, until: int, stop: int) -> None:
        """Go on to `stop` by pages of that length: skipped where they are steady, looked at ever less where not.

        A page that ends at `until` is not like the others: what follows it is not, and branches know.
        """
        steady = self._steady
        page = self.trace.executions[self.at : self.at + length].astype(np.int64)
        footprint = Footprint.of(page, self._members["ops"], self._members["blocks"])
        patience, misses = 1, 0
        while steady and footprint and self.at + length < until:
            plain = not footprint.crossing(self._values(-footprint.words, 1, footprint.words)).any()
            wanted = (until - 1 - self.at) // length if steady.holds(plain) else 0
            skipped = self._skip(steady, footprint, length, wanted) if wanted else 0
            misses = 0 if skipped > patience else misses + 1
            if misses > 2:
                patience, misses = 2 * patience, 0
                self._compiled(min(stop, self.at + length * patience))
                steady.forget()
            self._compiled(min(stop, self.at + length))
        self._compiled(stop)
        if steady:
            steady.forget()

    def _values(self, offset: int, pages: int, words: int) -> Ints:
        """[page, value]: values of pages from `offset` values after here; no rows where there are not as many."""
        first = self._value + offset
        values = self.trace.values[max(0, first) : max(0, first) + pages * words]
        whole = pages if len(values) == pages * words else 0
        return as_int64(values[: whole * words]).reshape(whole, words)

    def _skip(self, steady: Steady, footprint: Footprint, length: int, pages: int) -> int:
        """Skip up to that many pages; return how many."""
        lines = PassedLines(self._state)
        done, stores = 0, np.zeros(0, np.int64)
        while done < pages:
            wanted = min(CHUNK_PAGES, pages - done)
            rows = self._values(0, wanted, footprint.words)
            if len(rows) < wanted:
                break
            passed = lines.carry_out(footprint, rows)
            stores = footprint.stores(rows[passed - 1]) if passed else stores
            self._value += passed * footprint.words
            self.at += passed * length
            done += passed
            if passed < wanted:
                break
        steady.skip(done, stores)
        self._stale.update(dict.fromkeys(lines.stale))
        self._lost.update(dict.fromkeys(lines.lost))
        self.pages_skipped += done
        return done

    def _consumed(self, executions: Ints) -> int:
        """How many values these executions read."""
        return int(self._members["blocks"][executions, 2].sum())

    def _stretch(self, stop: int) -> tuple[Ints, Ints]:
        """Return executions from here to `stop`, with the one that follows (-1: none) after them, and their values."""
        source = self.trace.executions
        executions = np.full(stop - self.at + 1, -1, np.int64)
        ahead = source[self.at : stop + 1]
        executions[: len(ahead)] = ahead
        needed = self._consumed(executions[:-1])
        if self._value + needed > len(self.trace.values):
            raise InputError(f"trace: values: {len(self.trace.values)} are fewer than its executions consume")
        values = np.zeros(max(1, needed), np.int64)
        values[:needed] = self.trace.values[self._value : self._value + needed].view(np.int64)
        return executions, values

    def _drain(self) -> None:
        """Empty the kernels' lists of lines into ordered sets."""
        clock = self._state.words[0]
        for name, lines, seen in (
            ("stale_count", clock["stale"], self._stale),
            ("lost_count", clock["lost"], self._lost),
        ):
            count = int(clock[name])
            if count:
                seen.update(dict.fromkeys(lines[:count].tolist()))
                clock[name] = 0

    def _raise_failure(self) -> None:
        clock = self._state.words[0]
        if clock["failure"] == FAILURE_NO_TRANSLATION:
            va = int(clock["failure_va"]) & 0xFFFF_FFFF_FFFF_FFFF
            raise InputError(f"trace: translations: no row for page {va >> 12:#x} in epoch {int(clock['epoch'])}")

    def outcome(self) -> Outcome:
        """Return what the replay has cost so far."""
        rows = len(self.trace.insns)
        dirty = _dirty_lines(self._state)
        checkpoints = self._members["checkpoint_cycles"]
        return Outcome(
            core=self.config.name,
            frequency_hz=self.config.frequency_hz,
            insn_cycles=self._members["insn_cycles"][:rows].copy(),
            insn_count=self._members["insn_count"][:rows].copy(),
            checkpoint_cycles=np.where(checkpoints < 0, self.cycles, checkpoints),
            counters=_counters(self._state),
            dirty_lines=dirty,
            stale_lines=_addresses(self._stale),
            lost_lines=_addresses(self._lost),
            calibrated=self.config.calibrated,
            details={
                "old_dirty_lines_discarded": int(self._state.words[0]["old_discarded"]),
                "pages_skipped": self.pages_skipped,
            },
        )


def replay(
    trace: Trace,
    config: CoreConfig,
    *,
    ablate: Iterable[str] = frozenset(),
    initial: str = "cold",
    seed: int = 1,
    checkpoints: Sequence[int] | NDArray[np.uint64] = (),
    steady: bool = True,
) -> Outcome:
    """Return what the trace costs on that core.

    `ablate` names mechanisms or groups that cost nothing; `initial` is the state of the caches at the start;
    `checkpoints` are execution numbers, ascending, whose starting cycles are wanted. With `steady`, pages that are
    known to cost what the one before did are added up; the result is the same (`details["pages_skipped"]`).
    """
    run = Replay(trace, config, ablate=ablate, initial=initial, seed=seed, checkpoints=checkpoints, steady=steady)
    run.advance()
    return run.outcome()


def compile_ahead() -> None:
    """Compile what a replay runs, where it is not in Numba's cache yet."""
    if not numba_config.DISABLE_JIT:
        replay_compiled.compile((MACHINE_TYPE, int64, int64))


def _addresses(lines: Iterable[int]) -> NDArray[np.uint64]:
    return np.array(list(lines), np.uint64) << np.uint64(6)


def _dirty_lines(state: State) -> NDArray[np.uint64]:
    """Lines that a cache before the PoC holds newer than what lies behind it, stores still being merged included."""
    found: list[Ints] = []
    for row in range(3):
        ways = level_ways(state, row)
        if not state.words["level_behind_poc"][0, row]:
            found.append(ways.held[(ways.tags != 0) & ((ways.flags & DIRTY) != 0)])
    merge = state.words["merge"][0]
    found.append(merge[merge[:, 0] != 0, 0] - 1)
    # np.unique() hashes before it sorts, which takes five times as long.
    lines = np.sort(np.concatenate(found)).astype(np.uint64)
    distinct: NDArray[np.uint64] = lines[np.diff(lines, prepend=lines[:1] + np.uint64(1)) != 0] << np.uint64(6)
    return distinct


def _counters(state: State) -> dict[str, dict[str, int]]:
    """Return the counters by name; absent levels are left out."""
    named: dict[str, dict[str, int]] = {}
    for row, part in enumerate(COUNTER_ROWS):
        if part in LEVEL_NAMES and not state.words["level_present"][0, LEVEL_NAMES.index(part)]:
            continue
        columns: Any = COUNTER_COLUMNS[part]
        named[part] = {name: int(state.words["counters"][0, row, at]) for at, name in enumerate(columns) if name}
    return named
