"""Exporting: a stretch of instructions with their bills as rows, and what is in view as text."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from relocscope.stepping import texts, views
from relocscope.stepping.session import Session
from traces.errors import InputError
from traces.schema import LEAVES

MOST_ROWS = 1 << 18
"""Half a minute's work."""
SCHEMA = "relocscope/step-export/1"
_CHUNK = 1 << 12
_COLUMNS = ("insn", "va", "symbol", "text", "el", "cycle", "cycles")
_ACCESS = ("kind", "va", "pa", "bytes", "memory_type")


def instructions(session: Session, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Yield the instructions from `first` up to `last`, each with what it cost; the session stands where it stood."""
    if not 0 <= first <= last <= session.timeline.end:
        raise InputError(f"export: {first} to {last}: must lie between 0 and {session.timeline.end}, in order")
    if last - first > MOST_ROWS:
        raise InputError(f"export: {last - first} instructions: at most {MOST_ROWS}; say FROM and TO")
    number = session.number
    try:
        session.model.go(*session.timeline.place(first))
        for begin in range(first, last, _CHUNK):
            yield from _rows(session, begin, min(begin + _CHUNK, last))
    finally:
        session.go(number)


def _rows(session: Session, first: int, last: int) -> Iterator[dict[str, Any]]:
    from traces.expand import execution_epochs

    trace, timeline, replay = session.trace, session.timeline, session.model.replay
    begin, end = timeline.place(first).execution, timeline.place(last - 1).execution + 1
    accesses = {(each["execution"], each["row"]): each["access"] for each in _accesses(session, begin, end)}
    levels = trace.epochs["el"][execution_epochs(trace, begin, end)]
    static = cache(lambda row: _static(session, row))
    for number in range(first, last):
        row = timeline.row(number)
        assert row is not None  # noqa: S101 - `last` is not beyond the end
        execution = timeline.place(number).execution
        before, cycle = replay.insn_cycles[row].copy(), replay.cycles
        replay.step()
        bill = dict(zip(LEAVES, (replay.insn_cycles[row] - before).tolist(), strict=True))
        yield {
            "insn": number,
            **static(row),
            "el": int(levels[execution - begin]),
            "cycle": cycle,
            "cycles": replay.cycles - cycle,
            "causes": {leaf: spent for leaf, spent in bill.items() if spent},
            "access": accesses.get((execution, row)),
        }


def _static(session: Session, row: int) -> dict[str, Any]:
    """Say what an instruction of the trace is, whenever it is executed."""
    from asm.decode import decode

    static = session.trace.insns[row]
    va = int(static["va"])
    text = decode(int(static["word"]).to_bytes(4, "little"), va)[0].text
    return {"va": f"{va:#x}", "symbol": views.symbol(session, va), "text": text}


def _accesses(session: Session, begin: int, end: int) -> Iterator[dict[str, Any]]:
    from traces.expand import accesses

    for one in accesses(session.trace, begin, end):
        yield {"execution": int(one["execution"]), "row": int(one["insn"]), "access": views.access_facts(one)}


def as_csv(session: Session, first: int, last: int) -> Iterator[str]:
    """Write one line an instruction: where, what, a column for each cause, and what it did to memory."""
    yield _csv_line([*_COLUMNS, *LEAVES, *(f"access_{name}" for name in _ACCESS)])
    for row in instructions(session, first, last):
        access = row["access"] or {}
        spent = [row["causes"].get(leaf, 0) for leaf in LEAVES]
        yield _csv_line([*(row[name] for name in _COLUMNS), *spent, *(access.get(name) for name in _ACCESS)])


def _csv_line(cells: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def as_json(session: Session, first: int, last: int) -> Iterator[str]:
    """Write one object: what is stepped, and its instructions, one a line."""
    facts = {"schema": SCHEMA, "case": session.subject.name, "core": session.config.name, "from": first, "to": last}
    yield json.dumps({**facts, "instructions": []}).removesuffix("]}")
    comma = "\n"
    for row in instructions(session, first, last):
        yield f"{comma} {json.dumps(row)}"
        comma = ",\n"
    yield "\n]}\n"


def as_text(session: Session, _: int, __: int) -> Iterator[str]:
    """Write what is in view where the session stands."""
    parts = (
        ("where", texts.position(views.position(session))),
        ("regime", views.regime_in_words(session.regime)),
        ("code", texts.code(views.code(session))),
        ("registers", texts.registers(views.registers(session))),
        ("system registers", texts.system_registers(views.system_registers(session))),
        ("cycles so far", texts.stack(session.cycle_stack())),
    )
    yield "\n".join(f"-- {title}\n{text}\n" for title, text in parts)


WRITERS: dict[str, Callable[[Session, int, int], Iterator[str]]] = {".csv": as_csv, ".json": as_json, ".txt": as_text}
"""By the suffix of the file."""
