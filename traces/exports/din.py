"""Dinero's `din`: one reference a line, `LABEL ADDRESS SIZE`, addresses and sizes in hexadecimal. Written and read.

Format: Dinero III's din (dineroIV -informat d: label 0 read, 1 write, 2 instruction fetch, hexadecimal address, the
rest of the line ignored; labels 3 and 4 are ignored and flush) and Dinero IV's extended din (-informat D: r, w, i, m,
c, v, and a size in bytes). What is written here is the first, with the size where the second has it.

A fetch is one line an instruction, an access one line: a pair is one reference of 16 bytes. Addresses are physical,
as a cache has them. What forms no data reference (maintenance, prefetch, walks) a din cannot say.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.exports.columns import decimal, hexadecimal, lines
from traces.exports.subject import Subject
from traces.schema import Access
from traces.trace import Records
from traces.window import executed

READ, WRITE, FETCH, MISCELLANEOUS, FLUSH = range(5)

REFERENCE = np.dtype([("label", "u1"), ("pa", "<u8"), ("size", "<u4")])
"""One line; size 0 where it has none."""

_DATA = (Access.LOAD, Access.STORE, Access.LOAD_STORE, Access.ZERO)
LONGEST_LINE = 4096
_PIECE_BYTES = 1 << 22


def write(subject: Subject, stream: IO[bytes]) -> None:
    """Write every fetch and data reference of a window, in program order."""
    for rows in executed(subject.trace, subject.window):
        table = references(subject, rows)
        for at in range(0, len(table), 1 << 17):
            piece = table[at : at + (1 << 17)]
            stream.write(
                lines(
                    decimal(piece["label"]),
                    b" ",
                    hexadecimal(piece["pa"], short=True),
                    b" ",
                    hexadecimal(piece["size"], 8, short=True),
                    b"\n",
                )
            )


def references(subject: Subject, rows: Records) -> Records:
    """Return the REFERENCE rows of EXECUTED ones: the fetch, then what it reads, then what it writes."""
    data = np.isin(rows["access"], _DATA)
    reads = data & np.isin(rows["access"], (Access.LOAD, Access.LOAD_STORE))
    writes = data & (rows["access"] != Access.LOAD)
    table = np.zeros((len(rows), 3), REFERENCE)
    table["label"][:] = FETCH, READ, WRITE
    table["pa"][:, 0], table["size"][:, 0] = subject.trace.insns["pa"][rows["insn"]], 4
    # DC ZVA writes the whole block around its address.
    block = np.where(rows["access"] == Access.ZERO, np.maximum(rows["size"], 1), 1).astype(np.uint64)
    table["pa"][:, 1:], table["size"][:, 1:] = (rows["pa"] // block * block)[:, None], rows["size"][:, None]
    wanted = np.stack([np.ones(len(rows), np.bool_), reads, writes], axis=1)
    chosen: Records = table[wanted]
    return chosen


def read(path: Path, limit: int) -> Iterator[Records]:
    """Yield the references of a din file, plain or gzip'ed, of either kind; InputError at the first bad line.

    Never more than `limit` references, nor more than a few megabytes at a time, whatever the file unpacks to.
    """
    total, line = 0, 1
    try:
        with _opened(path) as stream:
            for text in _whole_lines(path, stream):
                table = _parsed(path, text, line)
                total, line = total + len(table), line + text.count(b"\n")
                if total > limit:
                    raise InputError(f"{path}: has more than {limit} references")
                yield table
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _opened(path: Path) -> Any:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


def _whole_lines(path: Path, stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while data := stream.read(_PIECE_BYTES):
        text, newline, tail = data.rpartition(b"\n")
        if newline:
            yield rest + text + b"\n"
            rest = tail
        else:
            rest += data
        if len(rest) > LONGEST_LINE:
            raise InputError(f"{path}: has a line longer than {LONGEST_LINE} bytes: not a din")
    if rest:
        yield rest + b"\n"


_ANY = re.compile(
    rb"[ \t]*(?:([0-4riwmcv])[ \t]+(?:0[xX])?([0-9a-fA-F]{1,16})"
    rb"(?:[ \t]+(?:0[xX])?([0-9a-fA-F]{1,8}))?(?:[ \t][^\n]*)?)?\r?\n"
)
_LABELS = {b"r": READ, b"w": WRITE, b"i": FETCH, b"m": READ, b"c": FLUSH, b"v": FLUSH}


def _parsed(path: Path, text: bytes, first_line: int) -> Records:
    """Read whole lines. Those that `write` made are read at once, others one at a time."""
    quick = _uniform(text)
    if quick is not None:
        return quick
    rows, at, line = [], 0, first_line
    while at < len(text):
        found = _ANY.match(text, at)
        if found is None:
            shown = text[at : at + 60].split(b"\n")[0].decode("latin1")
            raise InputError(f"{path}:{line}: must be LABEL ADDRESS [SIZE], hexadecimal, label 0 to 4, not {shown!r}")
        at, line = found.end(), line + 1
        if found[1] is not None:
            label = _LABELS[found[1]] if found[1] in _LABELS else int(found[1])
            if label < MISCELLANEOUS:
                rows.append((label, int(found[2], 16), int(found[3] or b"0", 16)))
    return np.array(rows, REFERENCE)


_UNIFORM = re.compile(rb"(?:[0-2] [0-9a-f]{1,16} [0-9a-f]{1,8}\n)*")
_VALUES = np.zeros(256, np.uint64)
_VALUES[[*b"0123456789abcdef"]] = np.arange(16)


def _uniform(text: bytes) -> Records | None:
    """Read lines of exactly three fields by arrays; None where any line is otherwise."""
    if not _UNIFORM.fullmatch(text):
        return None
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data <= ord(" ")).reshape(-1, 3)  # behind label, address and size of each line
    table = np.zeros(len(ends), REFERENCE)
    table["label"] = _VALUES[data[ends[:, 0] - 1]]
    table["pa"] = _number(data, ends[:, 0] + 1, ends[:, 1])
    table["size"] = _number(data, ends[:, 1] + 1, ends[:, 2])
    return table


def _number(data: NDArray[np.uint8], begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.uint64]:
    value = np.zeros(len(begin), np.uint64)
    for place in range(int((end - begin).max(initial=0))):
        at = begin + place
        more = at < end
        value[more] = value[more] << np.uint64(4) | _VALUES[data[at[more]]]
    return value
