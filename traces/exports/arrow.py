"""Runs as tables of Arrow's types, and as Parquet files: for pandas, polars, DuckDB and whatever else reads either.

Polars makes them (MIT; PyArrow would not do beside Unicorn: docs/decisions.md, Licences).
"""

import json
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces.exports.columns import plain
from traces.exports.subject import Subject
from traces.names import insn_symbols
from traces.schema import LEAVES, Access, MemoryType
from traces.trace import Trace
from traces.window import Window, executed, whole

if TYPE_CHECKING:
    import polars

EVENT_COLUMNS = {
    "number": ("uint64", "", "instructions of the run before it"),
    "execution": ("uint64", "", "execution of a block that it belongs to"),
    "el": ("uint8", "", "exception level"),
    "insn_va": ("uint64", "address", "virtual address of the instruction"),
    "symbol": ("text", "", "routine or label that it lies in"),
    "access": ("text?", "", "load, store, load_store, prefetch, zero or maintain; null where it forms no address"),
    "va": ("uint64?", "address", "virtual address of the access"),
    "pa": ("uint64?", "address", "physical address of the access; null where nothing translates it"),
    "size": ("uint16?", "bytes", "what the access moves; 0 for maintenance"),
    "memory_type": ("text?", "", "Arm's name of the memory type of the access"),
}
"""Name -> type (`?`: may be null), unit and meaning: one row an executed instruction."""

COST_COLUMNS = {
    "phase": ("text", "", "phase of the run"),
    "symbol": ("text", "", "routine or label that the instruction lies in"),
    "va": ("uint64", "address", "virtual address of the instruction"),
    "word": ("uint32", "", "its encoding"),
    "text": ("text", "", "its disassembly; empty where its encoding is not known"),
    "count": ("int64", "instructions", "how often it was executed"),
    "cycles": ("int64", "cycles", "modelled cycles charged to it; the sum of those below"),
    **{leaf: ("int64", "cycles", f"cycles charged to {leaf}") for leaf in LEAVES},
}
"""The same: one row an instruction and phase."""

ROW_GROUP = 1 << 20


_ACCESSES = [access.name.lower() for access in Access]
_TYPES = [kind.label for kind in MemoryType]


def event_frames(trace: Trace, window: Window | None = None) -> "Iterator[polars.DataFrame]":
    """Yield the instructions of a window, or of the whole run, in order, as frames of EVENT_COLUMNS."""
    import polars

    symbols = _symbols(trace)
    words = _words(symbols)
    of_insn = np.searchsorted(words, np.array(symbols, str)) if symbols else np.zeros(0, np.int64)
    for rows in executed(trace, window or whole(trace)):
        none = rows["access"] == Access.NONE
        untyped = none | (rows["memory_type"] > max(MemoryType))
        yield polars.DataFrame(
            {
                "number": rows["number"],
                "execution": rows["execution"],
                "el": trace.epochs["el"][rows["epoch"]],
                "insn_va": trace.insns["va"][rows["insn"]],
                "symbol": _named(words, of_insn[rows["insn"]]),
                "access": _named(_ACCESSES, rows["access"], none),
                "va": _known(rows["va"], none),
                "pa": _known(rows["pa"], untyped),
                "size": _known(rows["size"], none),
                "memory_type": _named(_TYPES, rows["memory_type"], untyped),
            },
            _event_schema(trace),
        )


def _symbols(trace: Trace) -> list[str]:
    return [plain(symbol) for symbol in insn_symbols(trace)]


def _words(symbols: list[str]) -> list[str]:
    """Return the distinct words of a column, in order."""
    return sorted(set(symbols))


def _named(words: list[str], codes: NDArray[Any], null: NDArray[np.bool_] | None = None) -> "polars.Series":
    """Return the word of each code, or null."""
    import polars

    table = polars.Series([*words, None], dtype=polars.Enum(words))
    at = codes.astype(np.uint32)
    return table.gather(at if null is None else np.where(null, np.uint32(len(words)), at).astype(np.uint32))


def _known(values: NDArray[Any], null: NDArray[np.bool_]) -> "polars.Series":
    """Return the values, or null."""
    import polars

    frame = polars.DataFrame({"value": np.ascontiguousarray(values), "known": ~null})
    return frame.select(polars.when("known").then("value").alias("value")).to_series()


def _event_schema(trace: Trace) -> "polars.Schema":
    import polars

    kinds: dict[str, Any] = {"uint64": polars.UInt64, "uint16": polars.UInt16, "uint8": polars.UInt8}
    enums = {"symbol": _words(_symbols(trace)), "access": _ACCESSES, "memory_type": _TYPES}
    return polars.Schema(
        {
            name: polars.Enum(enums[name]) if name in enums else kinds[kind.rstrip("?")]
            for name, (kind, _, _) in EVENT_COLUMNS.items()
        }
    )


def events_to_arrow(trace: Trace, window: Window | None = None) -> "polars.DataFrame":
    """Return the same as one frame, in memory: some 60 bytes an instruction."""
    import polars

    return polars.concat([_event_schema(trace).to_frame(), *event_frames(trace, window)])


def costs_to_arrow(subject: Subject) -> "polars.DataFrame":
    """Return what each instruction cost in each phase, as a frame of COST_COLUMNS; only what was executed."""
    import polars

    kinds: dict[str, Any] = {
        "text": polars.String,
        "uint64": polars.UInt64,
        "uint32": polars.UInt32,
        "int64": polars.Int64,
    }
    symbols = _symbols(subject.trace)
    frames = [polars.DataFrame(schema={name: kinds[kind] for name, (kind, _, _) in COST_COLUMNS.items()})]
    for part in subject.parts:
        rows, executed_count, cycles = subject.instructions(part)
        insns = subject.trace.insns[rows]
        values: dict[str, Any] = {
            "phase": [part.phase] * len(rows),
            "symbol": [symbols[row] for row in rows],
            "va": np.ascontiguousarray(insns["va"]),
            "word": np.ascontiguousarray(insns["word"]),
            "text": [subject.texts[row] for row in rows],
            "count": executed_count,
            "cycles": cycles.sum(axis=1),
            **{leaf: np.ascontiguousarray(cycles[:, at]) for at, leaf in enumerate(LEAVES)},
        }
        frames.append(polars.DataFrame(values, frames[0].schema))
    return polars.concat(frames)


def write_events(subject: Subject, stream: IO[bytes]) -> None:
    """Write the instructions of a window as Parquet, a row group for every few hundred thousand, as they unfold."""
    from polars.io.plugins import register_io_source

    def frames(*_asked: object) -> "Iterator[polars.DataFrame]":
        return event_frames(subject.trace, subject.window)

    lazy = register_io_source(frames, schema=_event_schema(subject.trace))
    lazy.sink_parquet(stream, compression="zstd", row_group_size=ROW_GROUP, metadata=_metadata(EVENT_COLUMNS))


def write_costs(subject: Subject, stream: IO[bytes]) -> None:
    """Write what each instruction cost in each phase of a window as Parquet."""
    costs_to_arrow(subject).write_parquet(stream, compression="zstd", metadata=_metadata(COST_COLUMNS))


def _metadata(columns: dict[str, tuple[str, str, str]]) -> dict[str, str]:
    said = {name: {"unit": unit, "meaning": meaning} for name, (_, unit, meaning) in columns.items()}
    return {"columns": json.dumps(said)}
