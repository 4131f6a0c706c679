"""The formats, by name: what each is for, what it needs of a run, and how much of one it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from traces.exports import arrow, callgrind, din, folded, kanata, perfetto, stats, tarmac
from traces.exports.subject import Subject


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One format. `needs` names fields of Subject: `costs` stands for parts, regimes, counters and samples."""

    title: str
    write: Callable[[Subject, IO[bytes]], None]
    needs: frozenset[str] = frozenset()
    limit: int | None = None
    """Instructions beyond which a window has to be asked for; None: any number."""


def _needs(*names: str) -> frozenset[str]:
    return frozenset(names)


TIMED_LIMIT = 50_000
"""Instructions that are timed one by one: some four seconds."""

FORMATS = {
    "perfetto": Format(
        title="Chrome JSON trace: ui.perfetto.dev, trace_processor",
        write=perfetto.write,
        needs=_needs("costs", "timed?", "texts"),
    ),
    "kanata": Format(
        title="pipeline log: Konata", write=kanata.write, needs=_needs("timed", "texts"), limit=TIMED_LIMIT
    ),
    "callgrind": Format(
        title="profile by source line: callgrind_annotate, KCachegrind",
        write=callgrind.write,
        needs=_needs("costs", "source"),
    ),
    "folded": Format(title="stacks: flamegraph.pl, speedscope", write=folded.write, needs=_needs("costs", "texts")),
    "stats": Format(title="stats.txt as gem5 writes it", write=stats.write, needs=_needs("costs")),
    "din": Format(title="references: Dinero III and IV, and back in", write=din.write),
    "tarmac": Format(
        title="instructions and accesses: Tarmac Trace Utilities",
        write=tarmac.write,
        needs=_needs("retired", "texts"),
        limit=2_000_000,
    ),
    "parquet": Format(title="instructions as a table: pandas, polars, DuckDB", write=arrow.write_events),
    "parquet-costs": Format(
        title="cost of each instruction as a table",
        write=arrow.write_costs,
        needs=_needs("costs", "texts"),
    ),
}
