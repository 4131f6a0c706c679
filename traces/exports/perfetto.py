"""Chrome's JSON trace events, as ui.perfetto.dev and trace_processor open them.

Format: "Trace Event Format" (Google), JSON object form. Tracks: phases; regimes; the pipeline, where an instruction
lies over the cycles that were charged to it, so that they follow each other without a gap; memory, one lane for each
access under way at once; table walks. Counters: DRAM's bytes a second, accesses past the caches, instructions a cycle,
and cycles by cause. The last three tracks need times of every instruction (`Subject.timed`), the others do not.

Times are the model's, to a nanosecond because the tools keep no more; `cycle` and `cycles` of an event are exact.
"""

import json
from collections.abc import Iterator
from heapq import heappop, heappush
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.exports.columns import decimal, fixed, lines, texts
from traces.exports.subject import Subject
from traces.names import insn_places
from traces.schema import LEAVES, Access, MemoryType
from traces.timed import EVENTS, TIMED
from traces.trace import Records
from traces.window import EXECUTED, executed

PHASES, REGIMES, PIPELINE, WALKS, MEMORY = 1, 2, 3, 4, 10
"""Thread ids of the tracks; lanes of memory follow MEMORY."""

_LINE_BYTES = 64
_PID = 1


def write(subject: Subject, stream: IO[bytes]) -> None:
    """Write the trace of a window."""
    about = {"name": subject.name, "core": subject.core, "frequency_hz": subject.frequency_hz}
    stream.write(b'{"displayTimeUnit":"ns","otherData":' + json.dumps(about).encode() + b',"traceEvents":[\n')
    _write_event(stream, {"ph": "M", "name": "process_name", "args": {"name": f"{subject.name} on {subject.core}"}})
    for tid, name in ((PHASES, "phases"), (REGIMES, "regimes"), (PIPELINE, "pipeline"), (WALKS, "table walks")):
        _write_track(stream, tid, name)
    for part in subject.parts:
        _write_slice(stream, subject, PHASES, part.phase, part.begin_cycle, part.end_cycle)
    for stretch in subject.regimes:
        _write_slice(stream, subject, REGIMES, stretch.name, stretch.begin_cycle, stretch.end_cycle)
    for event in _counters(subject):
        _write_event(stream, event)
    if subject.timed is not None:
        rows = np.concatenate([np.zeros(0, TIMED), *subject.timed])
        _write_instructions(subject, stream, rows)
        _write_memory(subject, stream, rows)
    # The last event has no comma behind it.
    stream.write(json.dumps({"ph": "M", "pid": _PID, "name": "process_sort_index", "args": {"sort_index": 0}}).encode())
    stream.write(b"\n]}\n")


def _write_event(stream: IO[bytes], event: dict[str, Any]) -> None:
    stream.write(json.dumps({"pid": _PID, **event}, separators=(",", ":")).encode() + b",\n")


def _write_track(stream: IO[bytes], tid: int, name: str) -> None:
    _write_event(stream, {"ph": "M", "tid": tid, "name": "thread_name", "args": {"name": name}})
    _write_event(stream, {"ph": "M", "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}})


def _write_slice(stream: IO[bytes], subject: Subject, tid: int, name: str, begin: int, end: int) -> None:
    at, until = (_nanoseconds(subject, np.array([cycle]))[0] / 1000 for cycle in (begin, end))
    args = {"cycle": begin, "cycles": end - begin}
    event = {"ph": "X", "tid": tid, "name": name, "ts": at, "dur": round(until - at, 3), "args": args}
    _write_event(stream, event)


def _nanoseconds(subject: Subject, cycles: NDArray[Any]) -> NDArray[np.int64]:
    rounded: NDArray[np.int64] = np.rint(cycles * (1e9 / subject.frequency_hz)).astype(np.int64)
    return rounded


def _counters(subject: Subject) -> Iterator[dict[str, Any]]:
    """Yield counters of each stretch between two samples, at its beginning; the last falls to nothing at the end."""
    samples = subject.samples
    at = _nanoseconds(subject, samples["cycle"]) / 1000
    for before, after, ts in zip(samples[:-1], samples[1:], at[:-1].tolist(), strict=True):
        cycles = int(after["cycle"] - before["cycle"])
        if not cycles:
            continue
        events = dict(zip(EVENTS, (after["events"] - before["events"]).tolist(), strict=True))
        rate = _LINE_BYTES * subject.frequency_hz / cycles / 1e9
        reads, writes = events["dram_reads"] * rate, events["dram_writes"] * rate
        yield _counter("DRAM GB/s", ts, {"read": round(reads, 6), "write": round(writes, 6)})
        past = events["uncached_reads"] + events["uncached_writes"]
        yield _counter("uncached accesses/us", ts, {"accesses": round(past * subject.frequency_hz / cycles / 1e6, 6)})
        ipc = int(after["number"] - before["number"]) / cycles
        yield _counter("instructions/cycle", ts, {"instructions": round(ipc, 6)})
        causes = (after["causes"] - before["causes"]).tolist()
        yield _counter("cycles by cause", ts, dict(zip(LEAVES, causes, strict=True)))
    if len(samples):
        for name in ("DRAM GB/s", "uncached accesses/us", "instructions/cycle"):
            yield _counter(name, float(at[-1]), {"end": 0})


def _counter(name: str, ts: float, values: dict[str, float]) -> dict[str, Any]:
    return {"ph": "C", "name": name, "ts": ts, "args": values}


def _write_instructions(subject: Subject, stream: IO[bytes], rows: Records) -> None:
    exposed = rows["causes"].sum(axis=1)
    begin = _nanoseconds(subject, rows["retire"] - exposed)
    walks = rows["events"][:, EVENTS.index("walks")] > 0
    waited = rows["causes"][:, LEAVES.index("tlb_walk")]
    names = [
        json.dumps(f"{place}: {text}")[1:-1]
        for place, text in zip(insn_places(subject.trace), subject.texts, strict=True)
    ]
    causes = [json.dumps(leaf) for leaf in LEAVES]
    main = rows["causes"].argmax(axis=1)
    stream.write(
        _slices(
            rows, PIPELINE, texts(names, rows["insn"]), begin, _nanoseconds(subject, rows["retire"]) - begin,
            b',"cycle":', decimal(rows["retire"] - exposed), b',"cycles":', decimal(exposed),
            b',"dispatch":', decimal(rows["dispatch"]), b',"issue":', decimal(rows["issue"]),
            b',"complete":', decimal(rows["complete"]), b',"cause":', texts(causes, main),
        )
    )  # fmt: skip
    of = rows[walks]
    if len(of):
        end = _nanoseconds(subject, (rows["retire"] - exposed + waited)[walks])
        reads = decimal(of["events"][:, EVENTS.index("walk_reads")])
        walk = texts(["walk"], np.zeros(len(of), np.int64))
        more = (b',"cycles":', decimal(waited[walks]), b',"reads":', reads)
        stream.write(_slices(of, WALKS, walk, begin[walks], end - begin[walks], *more))


def _slices(
    rows: Records,
    tid: int | NDArray[np.int64],
    names: Any,
    begin: NDArray[np.int64],
    length: NDArray[np.int64],
    *args: Any,
) -> bytes:
    """Write complete events; `names` are without their quotes, `args` follow the number of the instruction."""
    tids = decimal(np.full(len(rows), tid) if isinstance(tid, int) else tid)
    head = [b'{"pid":1,"ph":"X","tid":', tids, b',"name":"', names, b'","ts":', fixed(begin, 3)]
    number = decimal(rows["number"])
    return lines(*head, b',"dur":', fixed(length, 3), b',"args":{"number":', number, *args, b"}},\n")


def _write_memory(subject: Subject, stream: IO[bytes], rows: Records) -> None:
    """Write what each access was under way, in lanes."""
    accesses = np.concatenate([np.zeros(0, EXECUTED), *executed(subject.trace, subject.window)])
    of = np.flatnonzero((accesses["access"] != Access.NONE) & (accesses["memory_type"] <= max(MemoryType)))
    rows, accesses = rows[of], accesses[of]
    lanes = _lanes(rows["issue"].tolist(), np.maximum(rows["complete"], rows["issue"] + 1).tolist())
    for lane in range(max(lanes, default=-1) + 1):
        _write_track(stream, MEMORY + lane, f"memory {lane}")
    kinds = [f"{access.name.lower()} {kind.label}" for access in Access for kind in MemoryType]
    begin = _nanoseconds(subject, rows["issue"])
    length = np.maximum(_nanoseconds(subject, rows["complete"]) - begin, 0)
    which = accesses["access"].astype(np.int64) * len(MemoryType) + accesses["memory_type"]
    pa = [f'"{int(value):#x}"' for value in accesses["pa"]]
    more = (b',"cycles":', decimal(rows["complete"] - rows["issue"]), b',"pa":', texts(pa, np.arange(len(pa))))
    if len(rows):
        stream.write(_slices(rows, np.array(lanes) + MEMORY, texts(kinds, which), begin, length, *more))


def _lanes(begins: list[int], ends: list[int]) -> list[int]:
    """Give each interval the lowest lane that is free when it begins."""
    order = sorted(range(len(begins)), key=begins.__getitem__)
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    lanes, used = [0] * len(begins), 0
    for at in order:
        while busy and busy[0][0] <= begins[at]:
            heappush(free, heappop(busy)[1])
        if not free:
            heappush(free, used)
            used += 1
        lanes[at] = heappop(free)
        heappush(busy, (ends[at], lanes[at]))
    return lanes


_KEYS = {"X": ("name", "tid", "ts", "dur"), "C": ("name", "ts", "args"), "M": ("name", "args")}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file as `write` makes it, or InputError.

    Slices of one track must follow each other or nest, as the tools need it, and counters must be numbers.
    """
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from None
    events = found.get("traceEvents") if isinstance(found, dict) else None
    if not isinstance(events, list):
        raise InputError(f"{path}: must be an object with a list traceEvents")
    for at, event in enumerate(events):
        kind = event.get("ph") if isinstance(event, dict) else None
        if kind not in _KEYS or not all(key in event for key in _KEYS[kind]):
            raise InputError(f"{path}: traceEvents[{at}]: must be an X, C or M event with its keys, not {event!r:.60}")
        numbers = [event[key] for key in ("ts", "dur") if key in event]
        if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
            raise InputError(f"{path}: traceEvents[{at}]: ts and dur must be numbers, 0 or more")
    _check_nesting(path, [event for event in events if event["ph"] == "X"])
    return events


def _check_nesting(path: Path, slices: list[dict[str, Any]]) -> None:
    open_until: dict[int, list[float]] = {}
    for event in sorted(slices, key=lambda one: (one["tid"], one["ts"], -one["dur"])):
        stack = open_until.setdefault(event["tid"], [])
        end = round(event["ts"] + event["dur"], 3)
        while stack and stack[-1] <= event["ts"]:
            stack.pop()
        if stack and end > stack[-1]:
            raise InputError(f"{path}: {event['name']!r:.60} at {event['ts']}: overlaps another slice of its track")
        stack.append(end)
