"""Unfold a Trace into its accesses: one row for each executed instruction that forms an address, in program order.

Pure NumPy over slices of executions, so that memory is bounded by the slice and not by the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.schema import Access, InsnFlag, Mark
from traces.trace import Records, Trace

CHUNK_EXECUTIONS = 1 << 17
"""Executions unfolded at a time by `chunks`: about a million accesses of a copy loop, some 50 MB."""

NO_PA = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
"""`pa` of an access for which the trace holds no translation (a prefetch that was dropped)."""

NO_TYPE = 255
"""`memory_type` of the same."""

ACCESS = np.dtype(
    [
        ("execution", "<u8"),  # index in Trace.executions
        ("insn", "<u4"),  # row of Trace.insns
        ("epoch", "<u4"),  # row of Trace.epochs
        ("va", "<u8"),
        ("pa", "<u8"),  # of the first byte; NO_PA without a translation
        ("translation", "<i8"),  # row of Trace.translations; -1 where nothing is translated
        ("size", "<u2"),  # bytes; 0 for maintenance
        ("access", "u1"),  # Access
        ("memory_type", "u1"),  # MemoryType; NO_TYPE without a translation
    ]
)
"""One executed load, store, zero, prefetch or maintenance operation by VA."""


@dataclass(frozen=True, slots=True, eq=False)
class _Index:
    """What every slice of one trace needs: which instructions have addresses, and its translations in order."""

    rows: NDArray[np.int64]  # rows of insns that form an address, block after block
    first: NDArray[np.int64]  # per block: its first place in `rows`
    count: NDArray[np.int64]  # per block: how many
    pages: NDArray[np.uint64]  # distinct pages of the translations
    keys: NDArray[np.uint64]  # epoch * len(pages) + rank of page, sorted
    order: NDArray[np.int64]  # translation row of each key
    epoch_at: NDArray[np.int64]  # first execution of each stretch
    epoch_row: NDArray[np.int64]  # its epoch


def _index(trace: Trace) -> _Index:
    insns, blocks = trace.insns, trace.blocks
    wanted = insns["access"] != Access.NONE
    first_insn = blocks["first"].astype(np.int64)
    owned = [np.arange(f, f + c)[wanted[f : f + c]] for f, c in zip(first_insn, blocks["count"].tolist(), strict=True)]
    count = np.array([len(rows) for rows in owned], dtype=np.int64)
    table = trace.translations
    pages = np.unique(table["page"])
    keys = table["epoch"].astype(np.uint64) * np.uint64(len(pages)) + np.searchsorted(pages, table["page"]).astype(
        np.uint64
    )
    order = np.argsort(keys, kind="stable")
    switches = trace.marks[trace.marks["kind"] == Mark.EPOCH]
    return _Index(
        rows=np.concatenate([*owned, np.empty(0, np.int64)]).astype(np.int64),
        first=np.cumsum(count) - count,
        count=count,
        pages=pages,
        keys=keys[order],
        order=order.astype(np.int64),
        epoch_at=np.concatenate([np.zeros(1, np.int64), switches["at"].astype(np.int64)]),
        epoch_row=np.concatenate([np.zeros(1, np.int64), switches["a"].astype(np.int64)]),
    )


def execution_epochs(trace: Trace, start: int = 0, stop: int | None = None) -> NDArray[np.uint32]:
    """Return the row of `Trace.epochs` that each execution of the slice ran under."""
    stop = len(trace.executions) if stop is None else stop
    switches = trace.marks[trace.marks["kind"] == Mark.EPOCH]
    rows = np.concatenate([np.zeros(1, np.uint32), switches["a"].astype(np.uint32)])
    epochs: NDArray[np.uint32] = rows[np.searchsorted(switches["at"], np.arange(start, stop), side="right")]
    return epochs


def executed_counts(trace: Trace, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
    """Count the instructions that each execution of the slice retired: its block's, or fewer where it was truncated."""
    stop = len(trace.executions) if stop is None else stop
    counts = trace.blocks["count"].astype(np.int64)[trace.executions[start:stop]]
    cuts = trace.marks[trace.marks["kind"] == Mark.TRUNCATE]
    at = cuts["at"].astype(np.int64) - 1
    inside = (at >= start) & (at < stop)
    counts[at[inside] - start] = np.minimum(counts[at[inside] - start], cuts["a"][inside].astype(np.int64))
    return counts


def value_cursor(trace: Trace, execution: int) -> int:
    """Return where in `Trace.values` the captured values of that execution begin."""
    return int(trace.blocks["values"].astype(np.int64)[trace.executions[:execution]].sum())


def accesses(trace: Trace, start: int = 0, stop: int | None = None) -> Records:
    """Unfold the executions start..stop into ACCESS rows, in program order.

    A truncated execution gives only what it retired. An access that crosses a page is one row with the address of its
    first byte. Where neither stage translates, `pa` is `va` and the type is the epoch's flat one.
    """
    stop = len(trace.executions) if stop is None else stop
    return _unfold(trace, _index(trace), start, stop, value_cursor(trace, start))


def chunks(
    trace: Trace, executions: int = CHUNK_EXECUTIONS, start: int = 0, stop: int | None = None
) -> Iterator[Records]:
    """Yield the same rows in pieces of at most that many executions: for runs that do not fit unfolded."""
    stop = len(trace.executions) if stop is None else stop
    index, cursor = _index(trace), value_cursor(trace, start)
    consumed = trace.blocks["values"].astype(np.int64)
    for at in range(start, stop, executions):
        until = min(at + executions, stop)
        yield _unfold(trace, index, at, until, cursor)
        cursor += int(consumed[trace.executions[at:until]].sum())


def _unfold(trace: Trace, index: _Index, start: int, stop: int, cursor: int) -> Records:
    ran = trace.executions[start:stop]
    counts = index.count[ran]
    consumed = trace.blocks["values"].astype(np.int64)[ran]
    first_value = cursor + np.cumsum(consumed) - consumed
    owner = np.repeat(np.arange(len(ran)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    insn = index.rows[index.first[ran][owner] + within]
    kept = insn - trace.blocks["first"].astype(np.int64)[ran][owner] < executed_counts(trace, start, stop)[owner]
    owner, insn = owner[kept], insn[kept]

    table = np.empty(len(owner), ACCESS)
    table["execution"] = owner + start
    table["insn"] = insn
    table["epoch"] = index.epoch_row[np.searchsorted(index.epoch_at, owner + start, side="right") - 1]
    # Fields, not rows: a row is a hundred bytes, and one of them is wanted.
    table["size"], table["access"] = trace.insns["size"][insn], trace.insns["access"][insn]
    table["va"] = _addresses(trace, insn, first_value[owner])
    _translate(trace, index, table)
    return table


def _addresses(trace: Trace, insn: NDArray[np.int64], first_value: NDArray[np.int64]) -> NDArray[np.uint64]:
    insns = trace.insns
    literal = ((insns["flags"] & np.uint16(InsnFlag.LITERAL)) != 0)[insn]
    if not len(trace.values):
        base = np.where(literal, insns["va"][insn], np.uint64(0))
    else:
        where = np.minimum(first_value + np.maximum(insns["slot"].astype(np.int64), 0)[insn], len(trace.values) - 1)
        base = np.where(literal, insns["va"][insn], trace.values[where])
    return base + insns["offset"].astype(np.uint64)[insn]  # modulo 2**64, as the architecture adds


def _translate(trace: Trace, index: _Index, table: Records) -> None:
    epochs = trace.epochs
    flat = ((epochs["stage1"] == 0) & (epochs["stage2"] == 0))[table["epoch"]]
    row = np.full(len(table), -1, np.int64)
    if len(index.pages) and not flat.all():
        page = table["va"] >> np.uint64(12)
        rank = np.minimum(np.searchsorted(index.pages, page), len(index.pages) - 1)
        key = table["epoch"].astype(np.uint64) * np.uint64(len(index.pages)) + rank.astype(np.uint64)
        place = np.minimum(np.searchsorted(index.keys, key), len(index.keys) - 1)
        found = ~flat & (index.pages[rank] == page) & (index.keys[place] == key)
        row[found] = index.order[place[found]]
    found = row >= 0
    table["translation"] = row
    table["pa"] = np.where(flat, table["va"], NO_PA)
    table["memory_type"] = np.where(flat, epochs["flat_type"][table["epoch"]], NO_TYPE)
    used = row[found]
    table["pa"][found] = trace.translations["pa"][used] | (table["va"][found] & np.uint64(0xFFF))
    table["memory_type"][found] = trace.translations["memory_type"][used]
