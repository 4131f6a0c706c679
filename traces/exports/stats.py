"""stats.txt as gem5 writes it: `name value # description (Unit)`, one scalar a line between two rulers.

Format: gem5, base/stats/text.cc (learning.gem5.org, "Understanding gem5 statistics and output"). Names are gem5's where
the thing is the same, and else ours below `system.cpu`, so that a script that parses stats.txt reads it.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from traces.errors import InputError
from traces.exports.subject import Subject
from traces.schema import LEAVES

BEGIN = "---------- Begin Simulation Statistics ----------"
END = "---------- End Simulation Statistics   ----------"

_TICKS_PER_SECOND = 10**12

_CACHES = {"l1i": "icache", "l1d": "dcache", "l2": "l2cache", "l3": "l3cache"}
_CACHE_NAMES = {
    "accesses": ("overallAccesses::total", "number of overall accesses"),
    "hits": ("overallHits::total", "number of overall hits"),
    "misses": ("overallMisses::total", "number of overall misses"),
    "evictions": ("replacements", "number of replacements"),
    "write_backs": ("writebacks::total", "number of writebacks"),
}


class Stat(NamedTuple):
    """One line."""

    name: str
    value: float
    what: str


def write(subject: Subject, stream: IO[bytes]) -> None:
    """Write the statistics of a window."""
    stream.write(f"\n{BEGIN}\n".encode())
    for stat in statistics(subject):
        value = f"{stat.value:.6f}" if isinstance(stat.value, float) else str(stat.value)
        stream.write(f"{stat.name:<50} {value:>16} # {stat.what}\n".encode())
    stream.write(f"\n{END}\n".encode())


def statistics(subject: Subject) -> Iterator[Stat]:
    """Yield every figure of a window, in order."""
    cycles, instructions = subject.cycles, int(subject.insn_count().sum())
    seconds = cycles / subject.frequency_hz
    yield Stat("simSeconds", seconds, "Number of seconds simulated (Second)")
    yield Stat("simTicks", round(seconds * _TICKS_PER_SECOND), "Number of ticks simulated (Tick)")
    yield Stat("simFreq", _TICKS_PER_SECOND, "The number of ticks per simulated second ((Tick/Second))")
    yield Stat("simInsts", instructions, "Number of instructions simulated (Count)")
    yield Stat(
        "system.clk_domain.clock", round(_TICKS_PER_SECOND / subject.frequency_hz), "Clock period in ticks (Tick)"
    )
    yield Stat("system.cpu.numCycles", cycles, "Number of cpu cycles simulated (Cycle)")
    yield Stat("system.cpu.commitStats0.numInsts", instructions, "Number of instructions committed (Count)")
    if cycles and instructions:
        yield Stat("system.cpu.cpi", cycles / instructions, "CPI: cycles per instruction ((Cycle/Count))")
        yield Stat("system.cpu.ipc", instructions / cycles, "IPC: instructions per cycle ((Count/Cycle))")
    by_leaf = subject.insn_cycles().sum(axis=0)
    for leaf, count in zip(LEAVES, by_leaf.tolist(), strict=True):
        yield Stat(f"system.cpu.cycleStack::{leaf}", count, f"Cycles charged to {leaf} (Cycle)")
    yield Stat("system.cpu.cycleStack::total", int(by_leaf.sum()), "Cycles charged to all causes (Cycle)")
    for part, counters in subject.counters.items():
        yield from _of_part(part, counters)


def _of_part(part: str, counters: Mapping[str, int]) -> Iterator[Stat]:
    where = f"system.cpu.{_CACHES.get(part, part)}"
    for name, count in counters.items():
        theirs = _CACHE_NAMES.get(name) if part in _CACHES else None
        yield Stat(f"{where}.{theirs[0] if theirs else name}", count, f"{theirs[1] if theirs else name} (Count)")
    if part in _CACHES and counters["accesses"]:
        rate = counters["misses"] / counters["accesses"]
        yield Stat(f"{where}.overallMissRate::total", rate, "miss rate for overall accesses (Ratio)")


_LINE = re.compile(r"(\S+)\s+(-?\d+(?:\.\d+)?|nan|inf)\s+# (.*)")


def read(path: Path) -> dict[str, float]:
    """Return name -> value of a stats.txt with one dump; InputError where it is none or a line is no scalar."""
    found: dict[str, float] = {}
    begun = ended = False
    for number, line in enumerate(path.read_text("utf-8", errors="replace").split("\n"), 1):
        if line == BEGIN and not begun:
            begun = True
        elif line == END and begun:
            ended = True
        elif line.strip():
            stat = _LINE.fullmatch(line)
            if not begun or ended or not stat:
                raise InputError(f"{path}:{number}: must be `name value # description` in one dump, not {line!r:.60}")
            if stat[1] in found:
                raise InputError(f"{path}:{number}: {stat[1]} stands twice")
            found[stat[1]] = float(stat[2]) if "." in stat[2] or not stat[2].lstrip("-").isdigit() else int(stat[2])
    if not ended:
        raise InputError(f"{path}: has no {END!r}")
    return found
