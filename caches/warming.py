"""Functional warming of a Replay: caches, TLBs and write streaming follow executions that are not timed.

Prefetchers take part as far ahead as the timed stretches were seen to get: with the clock standing still no buffer is
ever busy, and they would run to the end of their distance.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from caches import views
from caches.kernels import layout
from caches.kernels.warming import LOADED, MAINTAINED, STORED, TOUCH_COLUMNS, warm
from caches.replaying import CHUNK_EXECUTIONS, Replay
from caches.state import MACHINE_TYPE, Ints
from traces.schema import Access, InsnClass, InsnFlag, Maintenance
from traces.trace import Records, Trace

_TIMED = ("on_l2", "on_l3", "on_miss_buffers", "on_dram_latency", "on_dram_bandwidth", "on_dram_turnaround")
"""Switches of what asks for buses, buffers and banks: off while the clock stands still."""
_KEPT = ("counters", "segments", "stores_done", "drained", "maintenance_done")
"""What belongs to the timed stretches alone."""
_BUSES = slice(layout.CALENDAR_L2, layout.CALENDAR_DRAM)

_BY_VA = (Maintenance.DC_IVAC, Maintenance.DC_CVAC, Maintenance.DC_CVAU, Maintenance.DC_CIVAC, Maintenance.DC_CVAP)
_RECENT_TICKS = 4096
_SURE = 3


@dataclass(frozen=True, slots=True)
class Touches:
    """What the blocks of a trace touch: rows of (slot, offset, size, kind, hint), and each block's first row."""

    rows: Ints
    firsts: Ints

    @classmethod
    def of(cls, trace: Trace, executed: Ints) -> "Touches | None":
        """Return the touches of the blocks named by `executed`; None if one of them does what warming does not know."""
        rows: list[list[int]] = []
        firsts = [0]
        wanted = set(executed.tolist())
        for number, block in enumerate(trace.blocks):
            first = int(block["first"])
            if number in wanted:
                found = _touches_of(trace.insns[first : first + int(block["count"])])
                if found is None:
                    return None
                rows += found
            firsts.append(len(rows))
        return cls(np.array(rows, np.int64).reshape(-1, TOUCH_COLUMNS), np.array(firsts, np.int64))


def _touches_of(insns: Records) -> list[list[int]] | None:
    """Neighbouring accesses of one kind through one base are one touch, in the place of the first of them."""
    rows: list[list[int]] = []
    last: dict[tuple[int, int], list[int]] = {}
    for insn in insns:
        access, cls = int(insn["access"]), int(insn["cls"])
        if cls == InsnClass.MAINTENANCE:
            if int(insn["maintenance"]) not in _BY_VA or int(insn["slot"]) < 0:
                return None
            rows.append([int(insn["slot"]), int(insn["offset"]), 1, MAINTAINED + int(insn["maintenance"]), 0])
            last.clear()
        elif access in (Access.NONE, Access.PREFETCH):
            continue
        elif access not in (Access.LOAD, Access.STORE) or int(insn["slot"]) < 0:
            return None
        else:
            kind = LOADED if access == Access.LOAD else STORED
            slot, offset, size = int(insn["slot"]), int(insn["offset"]), int(insn["size"])
            before = last.get((slot, kind))
            if before is not None and before[1] + before[2] == offset:
                before[2] += size
                continue
            hint = int(int(insn["flags"]) & InsnFlag.NON_TEMPORAL != 0)
            rows.append([slot, offset, size, kind, hint])
            last[slot, kind] = rows[-1]
    return rows


def warmed(replay: Replay, stop: int, touches: Touches, leads: tuple[int, int] | None) -> None:
    """Carry `replay` on to execution `stop` without timing; no mark may lie before it.

    `leads`: how many lines ahead prefetchers of L1D and L2 get (`leads_of`); None leaves them their distance.
    """
    tables = [views.table(table) for table in (touches.rows, touches.firsts)]
    with _clock_stopped(replay.words, leads):
        while replay.at < stop:
            executions, values = replay.stretch(min(stop, replay.at + CHUNK_EXECUTIONS))
            machine = views.record(replay.state.words, MACHINE_TYPE, replay.members(executions, values))
            replay.went(executions[: int(warm(machine, *tables, len(executions) - 1))])


@contextmanager
def _clock_stopped(words: Any, leads: tuple[int, int] | None) -> Iterator[None]:
    limits = {} if leads is None else {"l1_lines": leads[0], "l2_lines": leads[1]}
    kept = {name: words[name].copy() for name in (*_TIMED, *_KEPT, *limits)}
    buses = [(name, words[name][_BUSES].copy()) for name in ("calendar", "hint")]
    try:
        for name in _TIMED:
            words[name] = 0
        for name, lines in limits.items():
            words[name] = min(int(words[name]), lines)
        yield
    finally:
        for name, value in kept.items():
            words[name] = value
        for name, rows in buses:
            words[name][_BUSES] = rows


def leads_of(words: Any) -> list[tuple[int, int]]:
    """How many lines the prefetchers of L1D and L2 are ahead of each stream of loads that is under way."""
    streams = words["streams"][: int(words["stream_count"])]
    stride = streams[:, layout.STRIDE]
    alive = (streams[:, layout.STREAM_AGE] > int(words["tick"]) - _RECENT_TICKS) & (np.abs(stride) == 1)
    alive &= streams[:, layout.CONFIDENCE] > _SURE
    ahead = (streams[:, [layout.AHEAD_L1, layout.AHEAD_L2]] - streams[:, [layout.LAST]]) * stride[:, None]
    return [(int(one), int(two)) for one, two in np.maximum(ahead[alive], 0)]
