"""Folded stacks, as flame graph tools read them: `phase;routine;instruction;cause cycles`, one line a stack.

Format: Brendan Gregg, FlameGraph's README (frames divided by semicolons, a space, a whole number). Frames therefore
hold neither semicolons nor spaces at their ends; the counts here are cycles.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from traces.errors import InputError
from traces.exports.columns import plain
from traces.exports.subject import Subject
from traces.names import insn_places, insn_symbols
from traces.schema import LEAVES

_LINE = re.compile(r"(\S.*?) (\d+)\n?")
_LONGEST_LINE = 1 << 16


def write(subject: Subject, stream: IO[bytes]) -> None:
    """Write one line for every phase, routine, instruction and cause with cycles; they sum to the window's."""
    symbols, places = insn_symbols(subject.trace), insn_places(subject.trace)
    for part in subject.parts:
        rows, _, cycles = subject.instructions(part)
        for at, leaf in zip(*cycles.nonzero(), strict=True):
            row = rows[at]
            frames = (part.phase, symbols[row], f"{places[row]} {subject.texts[row]}", LEAVES[leaf])
            stack = ";".join(_frame(frame) for frame in frames)
            stream.write(f"{stack} {cycles[at, leaf]}\n".encode())


def _frame(text: str) -> str:
    return plain(text).replace(";", ":").strip() or "?"


def read(path: Path) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield (frames, count) of each line; InputError for anything that is none."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        number = 0
        while line := stream.readline(_LONGEST_LINE):
            number += 1
            found = _LINE.fullmatch(line)
            frames = tuple(found[1].split(";")) if found else ()
            if not found or not all(frames):
                raise InputError(f"{path}:{number}: must be FRAME;FRAME;... COUNT, not {line.strip()!r:.60}")
            yield frames, int(found[2])
