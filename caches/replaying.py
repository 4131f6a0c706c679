"""Replay: a Trace and a core in, an Outcome out.

Memory does not grow with the trace, whose arrays may be mapped files.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caches import kernels, views
from caches.config import CoreConfig
from caches.initial import kernel_dirty
from caches.mechanisms import mechanism_names
from caches.state import COUNTER_COLUMNS, COUNTER_ROWS, LEVEL_NAMES, MACHINE_TYPE, Ints, State, fresh, level_ways
from caches.tape import (
    as_int64,
    blocks_of,
    epochs_of,
    marks_of,
    ops_of,
    promises,
    translations_of,
    walk_reads_of,
)
from traces.errors import InputError
from traces.outcome import Outcome
from traces.schema import LEAVES
from traces.trace import Trace

INITIAL_STATES = ("cold", "kernel-dirty")

CHUNK_EXECUTIONS = 1 << 17


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
    ) -> None:
        if initial not in INITIAL_STATES:
            raise InputError(f"initial = {initial!r}: must be one of {', '.join(INITIAL_STATES)}")
        promises(trace)
        self.trace = trace
        self.config = config
        self.at = 0
        """Executions replayed so far."""
        self._value = 0
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
            "lines": self._state.lines,
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
        words["mark_count"], words["checkpoint_count"] = len(trace.marks), len(asked)
        self._enter_first_epoch()

    def _enter_first_epoch(self) -> None:
        clock, first = self._state.words, self._members["epochs"][0]
        for name in first.dtype.names or ():
            if name in (clock.dtype.names or ()):
                clock[name] = first[name]

    @property
    def cycles(self) -> int:
        """Modelled cycles so far."""
        return int(self._state.words[0]["retire"])

    def advance(self, stop: int | None = None) -> None:
        """Replay up to execution `stop` of the trace, or to its end."""
        end = len(self.trace.executions) if stop is None else min(stop, len(self.trace.executions))
        while self.at < end:
            executions, values = self._stretch(min(end, self.at + CHUNK_EXECUTIONS))
            members = self._members | {"executions": executions, "values": values}
            machine = views.record(self._state.words, MACHINE_TYPE, members)
            done = int(kernels.replay(machine, self.at, len(executions) - 1))
            self._value += self._consumed(executions[:done])
            self.at += done
            self._drain()
            self._raise_failure()

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
        if clock["failure"] == kernels.FAILURE_NO_TRANSLATION:
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
            details={"old_dirty_lines_discarded": int(self._state.words[0]["old_discarded"])},
        )


def replay(
    trace: Trace,
    config: CoreConfig,
    *,
    ablate: Iterable[str] = frozenset(),
    initial: str = "cold",
    seed: int = 1,
    checkpoints: Sequence[int] | NDArray[np.uint64] = (),
) -> Outcome:
    """Return what the trace costs on that core.

    `ablate` names mechanisms or groups that cost nothing; `initial` is the state of the caches at the start;
    `checkpoints` are execution numbers, ascending, whose starting cycles are wanted.
    """
    run = Replay(trace, config, ablate=ablate, initial=initial, seed=seed, checkpoints=checkpoints)
    run.advance()
    return run.outcome()


def _addresses(lines: Iterable[int]) -> NDArray[np.uint64]:
    return np.array(list(lines), np.uint64) << np.uint64(6)


def _dirty_lines(state: State) -> NDArray[np.uint64]:
    """Lines that a cache before the PoC holds newer than what lies behind it, stores still being merged included."""
    found: list[Ints] = []
    for row in range(3):
        tags, lines = level_ways(state, row)
        if not state.words["level_behind_poc"][0, row]:
            found.append(tags[(tags != 0) & ((lines["info"] & kernels.DIRTY) != 0)] - 1)
    merge = state.words["merge"][0]
    found.append(merge[merge[:, 0] != 0, 0] - 1)
    return _addresses(np.unique(np.concatenate(found)).tolist())


def _counters(state: State) -> dict[str, dict[str, int]]:
    """Return the counters by name; absent levels are left out."""
    named: dict[str, dict[str, int]] = {}
    for row, part in enumerate(COUNTER_ROWS):
        if part in LEVEL_NAMES and not state.words["level_present"][0, LEVEL_NAMES.index(part)]:
            continue
        columns: Any = COUNTER_COLUMNS[part]
        named[part] = {name: int(state.words["counters"][0, row, at]) for at, name in enumerate(columns) if name}
    return named
