"""Callgrind profiles, as callgrind_annotate and KCachegrind read them: cost per instruction, with source lines.

Format: Valgrind manual, "Callgrind Format Specification" (version 1). `fl` is the source file of a routine where it is
one of ours and known, `fn` the symbol, a cost line `ADDRESS LINE COSTS`. There are no calls: `fn` costs are of the code
itself. Costs are modelled cycles, instructions executed, and the cycles by cause; a cause without cycles has no column.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from traces.errors import InputError
from traces.exports.columns import plain
from traces.exports.subject import Subject
from traces.names import insn_symbols
from traces.schema import LEAVES

UNKNOWN = "???"
"""What callgrind calls a file that it does not know."""


def write(subject: Subject, stream: IO[bytes]) -> None:
    """Write the profile of a window; its totals are the window's cycles and instructions."""
    rows, count, cycles = subject.instructions()
    causes = np.flatnonzero(cycles.sum(axis=0))
    costs = np.column_stack([cycles.sum(axis=1), count, cycles[:, causes]])
    totals = costs.sum(axis=0).tolist()
    head = (
        "# callgrind format\nversion: 1\ncreator: relocscope\n"
        f"cmd: {plain(subject.name)}\n"
        f"desc: Core: {plain(subject.core)}, {subject.frequency_hz} Hz\n"
        "desc: Trigger: modelled cycles\n"
        "positions: instr line\n"
        f"events: Cycles Instructions {' '.join(LEAVES[leaf] for leaf in causes)}\n"
        f"summary: {_numbers(totals)}\n"
    )
    stream.write(head.encode())
    symbols = insn_symbols(subject.trace)
    functions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, row in enumerate(rows.tolist()):
        known = subject.source.get(row)
        functions[str(known.path) if known else UNKNOWN, symbols[row]].append(at)
    for (path, function), places in sorted(functions.items()):
        stream.write(f"\nfl={plain(path)}\nfn={plain(function)}\n".encode())
        for at in places:
            row = int(rows[at])
            line = subject.source[row].number if row in subject.source else 0
            stream.write(f"{int(subject.trace.insns[row]['va']):#x} {line} {_numbers(costs[at].tolist())}\n".encode())
    stream.write(f"\ntotals: {_numbers(totals)}\n".encode())


def _numbers(values: list[int]) -> str:
    return " ".join(str(value) for value in values)


class Cost(NamedTuple):
    """One cost line of a profile."""

    path: str
    function: str
    va: int
    line: int
    costs: tuple[int, ...]


_COST = re.compile(r"(0x[0-9a-f]+) (\d+)((?: \d+)+)")
_HEADER = re.compile(r"(version|creator|cmd|desc|positions|events|summary|totals): (.*)")


def read(path: Path) -> tuple[tuple[str, ...], list[Cost]]:
    """Return the names of the events and the cost lines of a profile as `write` makes it, or InputError.

    Positions must be absolute and the costs must sum to `summary` and `totals`.
    """
    events: tuple[str, ...] = ()
    claimed: list[tuple[int, tuple[int, ...]]] = []
    costs: list[Cost] = []
    names = {"fl": UNKNOWN, "fn": UNKNOWN}
    for number, line in enumerate(path.read_text("utf-8", errors="replace").split("\n"), 1):
        header, cost = _HEADER.fullmatch(line), _COST.fullmatch(line)
        if header and header[1] == "events":
            events = tuple(header[2].split())
        elif header and header[1] in ("summary", "totals"):
            claimed.append((number, _read_numbers(f"{path}:{number}", header[2], events)))
        elif cost:
            read = _read_numbers(f"{path}:{number}", cost[3], events)
            costs.append(Cost(names["fl"], names["fn"], int(cost[1], 16), int(cost[2]), read))
        elif line[:3] in ("fl=", "fn="):
            names[line[:2]] = line[3:]
        elif line and not line.startswith("#") and not header:
            raise InputError(f"{path}:{number}: is no line of a callgrind profile: {line!r:.60}")
    if not events:
        raise InputError(f"{path}: has no line `events:`")
    sums = tuple(sum(cost.costs[at] for cost in costs) for at in range(len(events)))
    for number, claim in claimed:
        if claim != sums:
            raise InputError(
                f"{path}:{number}: {_numbers(list(claim))} must be the sum of the costs, {_numbers(list(sums))}"
            )
    return events, costs


def _read_numbers(where: str, text: str, events: tuple[str, ...]) -> tuple[int, ...]:
    words = text.split()
    if not events:
        raise InputError(f"{where}: has no line `events:` before it")
    if len(words) != len(events) or not all(word.isdecimal() for word in words):
        raise InputError(f"{where}: must have {len(events)} whole numbers, one an event, not {text.strip()!r:.60}")
    return tuple(int(word) for word in words)
