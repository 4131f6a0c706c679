"""Tarmac text, as far as a trace knows it: instructions, where they reach, and base registers that they write back.

Format: what Arm's Tarmac Trace Utilities read (github.com/ARM-software/tarmac-trace-utilities, lib/parser.cpp), there
being no other published grammar: `TIME clk cpu0 IT (INDEX) VA:PA WORD O MODE : TEXT`, `LD|ST` with the sixteen bytes
around an address, in which `##` is a byte that moved with an unknown value and `..` one that did not move, and
`R REGISTER VALUE`. A trace holds no data, so no byte is known. TIME is the modelled cycle of retirement.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.exports.columns import Column, beside, decimal, hexadecimal, lines, texts
from traces.exports.subject import Subject
from traces.schema import Access
from traces.timed import RETIRED
from traces.trace import Records
from traces.window import executed

_ROW_BYTES = 16
_PIECE = 1 << 15

_READS = (Access.LOAD, Access.LOAD_STORE)
_WRITES = (Access.STORE, Access.LOAD_STORE, Access.ZERO)


def write(subject: Subject, stream: IO[bytes]) -> None:
    """Write a window; `subject.retired` and `subject.texts` must be there."""
    cycles = _Cycles(subject.retired or iter(()))
    modes = [f"EL{el}{'h' if el else 't'}_n" for el in subject.trace.epochs["el"].tolist()]
    for table in executed(subject.trace, subject.window):
        for at in range(0, len(table), _PIECE):
            rows = table[at : at + _PIECE]
            _write(subject, stream, rows, cycles.take(len(rows)), modes)


class _Cycles:
    """Cycles of retirement, in pieces of any length."""

    def __init__(self, pieces: Iterator[Records]) -> None:
        self._pieces = pieces
        self._rest = np.zeros(0, RETIRED)

    def take(self, count: int) -> NDArray[np.int64]:
        parts = [self._rest]
        while sum(len(part) for part in parts) < count:
            parts.append(next(self._pieces))
        rows = np.concatenate(parts)
        self._rest = rows[count:]
        cycles: NDArray[np.int64] = rows["retire"][:count]
        return cycles


def _write(subject: Subject, stream: IO[bytes], rows: Records, cycles: NDArray[np.int64], modes: list[str]) -> None:
    insns = subject.trace.insns[rows["insn"]]
    stamp = beside([decimal(cycles), b" clk cpu0 "], len(rows))
    number, text = decimal(rows["number"] + 1), texts(subject.texts, rows["insn"])
    va, pa, word = hexadecimal(insns["va"]), hexadecimal(insns["pa"]), hexadecimal(insns["word"], 8)
    mode = texts(modes, rows["epoch"])
    fields: list[Column | bytes] = [b"IT (", number, b") ", va, b":", pa, b" ", word, b" O ", mode, b" : ", text, b"\n"]
    instructions = beside([stamp, *fields], len(rows))
    parts, owners = [instructions], [np.arange(len(rows))]
    for name, kinds in ((b"LD ", _READS), (b"ST ", _WRITES)):
        of = np.flatnonzero(np.isin(rows["access"], kinds))
        memory, owner = _memory(stamp, rows, of, name)
        parts.append(memory)
        owners.append(owner)
    of, register, value = _written_back(insns, rows)
    parts.append(beside([stamp[of], b"R ", texts(_REGISTERS, register), b" ", hexadecimal(value), b"\n"], len(of)))
    owners.append(of)
    owner = np.concatenate(owners)
    width = max(part.shape[1] for part in parts)
    table = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])
    stream.write(lines(table[np.argsort(owner, kind="stable")]))


_REGISTERS = [*(f"X{number}" for number in range(31)), "SP"]


def _memory(stamp: Column, rows: Records, of: NDArray[np.int64], name: bytes) -> tuple[Column, NDArray[np.int64]]:
    """Return a line for every sixteen bytes that an access touches, and the row that each belongs to."""
    size = rows["size"][of].astype(np.uint64)
    block = np.where(rows["access"][of] == Access.ZERO, size, 1).astype(np.uint64)
    va = rows["va"][of] // block * block
    first = va // np.uint64(_ROW_BYTES)
    count = ((va + size - np.uint64(1)) // np.uint64(_ROW_BYTES) - first + np.uint64(1)).astype(np.int64)
    owner = np.repeat(np.arange(len(of)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    base = (first[owner] + within.astype(np.uint64)) * np.uint64(_ROW_BYTES)
    # Sixteen bytes from the highest address down, as a number is written.
    byte = base[:, None] + np.arange(_ROW_BYTES - 1, -1, -1).astype(np.uint64)
    moved = byte - va[owner][:, None] < size[owner][:, None]
    shown = np.repeat(np.where(moved, ord("#"), ord(".")).astype(np.uint8), 2, axis=1)
    words = [shown[:, at : at + 8] for at in range(0, 2 * _ROW_BYTES, 8)]
    parts: list[Column | bytes] = [stamp[of[owner]], name, hexadecimal(base)]
    for word in words:
        parts += [b" ", word]
    return beside([*parts, b"\n"], len(owner)), of[owner]


def _written_back(insns: Records, rows: Records) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    """Return which rows write their base back by an immediate, its number, and its value (Arm ARM C4.1.94)."""
    word = insns["word"].astype(np.int64)
    single = ((word >> 27 & 7) == 7) & ((word >> 24 & 1) == 0) & ((word >> 21 & 1) == 0) & ((word >> 10 & 1) == 1)
    pair = ((word >> 27 & 7) == 5) & ((word >> 23 & 5) == 1) & ((word >> 25 & 1) == 0)
    post = np.where(single, (word >> 11 & 1) == 0, (word >> 24 & 1) == 0)
    scale = np.where(word >> 26 & 1, 4 << (word >> 30 & 3), 4 << (word >> 31 & 1))
    immediate = np.where(single, _signed(word >> 12 & 0x1FF, 9), _signed(word >> 15 & 0x7F, 7) * scale)
    value = rows["va"] + np.where(post, immediate, 0).astype(np.uint64)
    of = np.flatnonzero((single | pair) & (rows["access"] != Access.NONE))
    return of, (word >> 5 & 31)[of], value[of]


def _signed(value: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    return value - (value >> (width - 1) << width)


class Event(NamedTuple):
    """One line: `IT`, `LD`, `ST` or `R`, and what it says."""

    cycle: int
    kind: str
    va: int
    """Of the instruction, or of the first byte of the row; 0 of a register."""
    text: str
    """Disassembly; the sixteen bytes, lowest address first; `X1=VALUE`."""


_HEAD = r"(\d+) clk cpu0 "
_IT = re.compile(_HEAD + r"IT \((\d+)\) ([0-9a-f]{16}):([0-9a-f]{16}) ([0-9a-f]{8}) O EL[0-3][ht]_[ns] : (.*)")
_MEMORY = re.compile(_HEAD + r"(LD|ST) ([0-9a-f]{15}0)((?: [0-9a-f.#]{8}){4})")
_REGISTER = re.compile(_HEAD + r"R (X\d+|SP) ([0-9a-f]{16})")


def read(path: Path) -> Iterator[Event]:
    """Yield the events of a file as `write` makes it, or InputError where a line is none or time goes back."""
    last = 0
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            event = _event(line.rstrip("\n"))
            if event is None:
                raise InputError(
                    f"{path}:{number}: must be an IT, LD, ST or R line of Tarmac, not {line.strip()!r:.60}"
                )
            if event.cycle < last:
                raise InputError(f"{path}:{number}: time {event.cycle} must not be before the {last} of the line above")
            last = event.cycle
            yield event


def _event(line: str) -> Event | None:
    if found := _IT.fullmatch(line):
        return Event(int(found[1]), "IT", int(found[3], 16), found[6])
    if found := _MEMORY.fullmatch(line):
        digits = found[4].replace(" ", "")
        low_first = [digits[at : at + 2] for at in range(30, -2, -2)]
        return Event(int(found[1]), found[2], int(found[3], 16), "".join(low_first))
    if found := _REGISTER.fullmatch(line):
        return Event(int(found[1]), "R", 0, f"{found[2]}={found[3]}")
    return None
