"""Kanata pipeline logs, version 4, as Konata shows them: one row an instruction, its stages over cycles.

Format: docs/kanata-log-format.md in Konata's repository (github.com/shioyadan/Konata). Stages: F fetched and waiting
for the window, D in the window and waiting for operands or a port, X executing, C complete and waiting to retire in
order. A stage that lasts no cycle is left out. Lane 1 has what the exposed cycles were charged to, over the cycles
that they hold up retirement.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.exports.columns import Column, beside, decimal, lines, only, texts
from traces.exports.subject import Subject
from traces.names import insn_places
from traces.schema import LEAVES
from traces.timed import TIMED
from traces.trace import Records

HEADER = "Kanata\t0004"

STAGES = (
    ("F", "fetch", "dispatch"),
    ("D", "dispatch", "issue"),
    ("X", "issue", "complete"),
    ("C", "complete", "retire"),
)

_PIECE = 1 << 14

_EVENT = np.dtype([("cycle", "<i8"), ("order", "u1"), ("id", "<i8"), ("row", "<i8")])
_BEGIN, _CAUSE, _RETIRE = 0, 1 + len(STAGES), 2 + len(STAGES)


def write(subject: Subject, stream: IO[bytes]) -> None:
    """Write the log of a window; `subject.timed` must be there. A cycle of the log is one of the model."""
    pieces = [] if subject.timed is None else list(subject.timed)
    rows = np.concatenate([np.zeros(0, TIMED), *pieces])
    stream.write(f"{HEADER}\n".encode())
    if not len(rows):
        return
    events = _events(rows)
    stream.write(f"C=\t{events['cycle'][0]}\n".encode())
    passed = np.diff(events["cycle"], prepend=events["cycle"][0])
    for at in range(0, len(events), _PIECE):
        piece = slice(at, at + _PIECE)
        stream.write(_text(subject, rows, events[piece], passed[piece]))


def _events(rows: Records) -> Records:
    """Return what is to be written, in order: by cycle, then retirements last, then by instruction."""
    parts = [_event(rows, rows["fetch"], _BEGIN)]
    for order, (_, begin, end) in enumerate(STAGES, 1):
        parts.append(_event(rows, rows[begin], order, rows[end] > rows[begin]))
    exposed = rows["causes"].sum(axis=1)
    parts.append(_event(rows, rows["retire"] - exposed, _CAUSE, exposed > 0))
    parts.append(_event(rows, rows["retire"], _RETIRE))
    events = np.concatenate(parts)
    # An instruction is named before anything is said of it; what held up retirement may have begun before its fetch.
    events["cycle"] = np.maximum(events["cycle"], rows["fetch"][events["row"]])
    return events[np.lexsort((events["order"], events["id"], events["cycle"]))]


def _event(rows: Records, cycles: NDArray[np.int64], order: int, wanted: NDArray[np.bool_] | None = None) -> Records:
    at = np.arange(len(rows)) if wanted is None else np.flatnonzero(wanted)
    events = np.zeros(len(at), _EVENT)
    events["cycle"], events["order"], events["id"], events["row"] = cycles[at], order, at, at
    return events


def _text(subject: Subject, rows: Records, events: Records, passed: NDArray[np.int64]) -> bytes:
    of, order, number = rows[events["row"]], events["order"], decimal(events["id"])
    begin, retire, cause = order == _BEGIN, order == _RETIRE, order == _CAUSE
    stage = (order > _BEGIN) & ~cause & ~retire
    insns, places = subject.trace.insns, insn_places(subject.trace)
    labels = [f"{place}: {text}" for place, text in zip(places, subject.texts, strict=True)]
    words = [f"{va:x} {word:08x}" for va, word in zip(insns["va"].tolist(), insns["word"].tolist(), strict=True)]
    stages = texts(["", *(name for name, _, _ in STAGES), "", ""], order)
    main = of["causes"].argmax(axis=1)

    def where(wanted: NDArray[np.bool_], *columns: Column | bytes) -> Column:
        return only(beside(columns, len(events)), wanted)

    return lines(
        where(passed > 0, b"C\t", decimal(passed), b"\n"),
        where(begin, b"I\t", number, b"\t", decimal(of["number"]), b"\t0\n"),
        where(begin, b"L\t", number, b"\t0\t", texts(labels, of["insn"]), b"\n"),
        where(begin, b"L\t", number, b"\t1\t", texts(words, of["insn"]), b"\n"),
        where(stage, b"S\t", number, b"\t0\t", stages, b"\n"),
        where(cause, b"S\t", number, b"\t1\t", texts(LEAVES, main), b"\n"),
        where(retire, b"R\t", number, b"\t", number, b"\t0\n"),
    )


@dataclass(slots=True)
class Shown:
    """One instruction of a log."""

    number: int
    """Its number in the simulator."""
    label: str = ""
    details: str = ""
    stages: list[tuple[int, str, int]] = field(default_factory=list)
    """(lane, name, cycle in which it begins), in order."""
    retired: int | None = None
    """Cycle; None where it was flushed or the log ends before."""


_FIELDS = {"C=": 1, "C": 1, "I": 3, "L": 3, "S": 3, "E": 3, "R": 3, "W": 3}
_NUMBERS = {
    "C=": (0,),
    "C": (0,),
    "I": (0, 1, 2),
    "L": (0, 1),
    "S": (0, 1),
    "E": (0, 1),
    "R": (0, 1, 2),
    "W": (0, 1, 2),
}


def read(path: Path) -> list[Shown]:
    """Return the instructions of a log, by id, or InputError where a line breaks the format."""
    shown: list[Shown] = []
    cycle = 0
    with path.open(encoding="utf-8", errors="replace") as stream:
        if stream.readline(100).rstrip("\n") != HEADER:
            raise InputError(f"{path}:1: must be 'Kanata', a tab and 0004")
        for number, line in enumerate(stream, 2):
            try:
                cycle = _apply(line.rstrip("\n").split("\t"), shown, cycle)
            except ValueError as error:
                raise InputError(f"{path}:{number}: {error}: {line.rstrip()!r:.60}") from None
    return shown


def _apply(words: list[str], shown: list[Shown], cycle: int) -> int:
    """Act on one command; return the cycle that holds after it. ValueError says what is wrong."""
    command, arguments = words[0], words[1:]
    if len(arguments) != _FIELDS.get(command, -1):
        raise ValueError("must be a command of the format with its arguments")
    if not all(arguments[at].isdecimal() for at in _NUMBERS[command]):
        raise ValueError("must have whole numbers where the format has ids and cycles")
    if command in ("C=", "C"):
        return int(arguments[0]) + (cycle if command == "C" else 0)
    which = int(arguments[0])
    if command == "I":
        if which != len(shown):
            raise ValueError(f"the id of the next instruction must be {len(shown)}")
        shown.append(Shown(int(arguments[1])))
        return cycle
    if which >= len(shown) or shown[which].retired is not None:
        raise ValueError("its instruction must have begun and not ended")
    one = shown[which]
    if command == "L" and arguments[1] == "0":
        one.label += arguments[2]
    elif command == "L":
        one.details += arguments[2]
    elif command == "S":
        one.stages.append((int(arguments[1]), arguments[2], cycle))
    elif command == "R":
        one.retired = cycle if arguments[2] == "0" else None
    return cycle
