"""What the copy overwrites while it, or what follows it, still needs it: kimage, list, code, live tables."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emu.spans import Span, merge
from relocscope.hazards.registry import Finding
from relocscope.hazards.subject import Subject, inside, overlap
from relocscope.regimes import place, regime_name
from traces.expand import chunks
from traces.fold import CopySite
from traces.schema import Access, Role
from traces.trace import Records

_READ_ROLES = (Role.KIMAGE, Role.LIST, Role.ARGUMENT)
_STORES = (Access.STORE, Access.LOAD_STORE, Access.ZERO)
_LINE = np.uint64(~63 & (1 << 64) - 1)


def findings(subject: Subject) -> Iterator[Finding]:
    """Yield what of the relocation's own memory lies in a destination, and was used after it was overwritten."""
    if subject.site is not None:
        yield from _kimage(subject)
        yield from _code(subject, subject.site)
        yield from _tables(subject, subject.site)


def _kimage(subject: Subject) -> Iterator[Finding]:
    shared = overlap(subject.spans(*_READ_ROLES), subject.spans(Role.DESTINATION))
    if not shared:
        return
    stored = _first_stores(subject, shared)
    for table in _within(subject, shared):
        loads = table[np.isin(table["access"], (Access.LOAD, Access.LOAD_STORE))]
        at = _stored_at(stored, loads["pa"])
        late = np.flatnonzero(_order(subject, loads) > at)
        if len(late):
            row = loads[late[0]]
            insn = subject.trace.insns[int(row["insn"])]
            yield Finding(
                id="kimage-overwritten",
                where=place(subject.trace, int(insn["va"])),
                evidence=f"reads pa {int(row['pa']):#x}, in {shared[0]} of a destination, at execution "
                f"{int(row['execution'])}; stored to at {int(at[late[0]]) >> _ORDER_BITS}",
            )
            return


def _code(subject: Subject, site: CopySite) -> Iterator[Finding]:
    trace = subject.trace
    ran = np.unique(trace.executions[site.first : subject.relocation_end])
    blocks = trace.blocks[ran]
    image = subject.spans(Role.DESTINATION)
    ran = ran[inside(blocks["pa"], image)]
    if not len(ran):
        return
    code = merge(Span(int(trace.blocks[row]["pa"]), 4 * int(trace.blocks[row]["count"])) for row in ran)
    stored = _first_stores(subject, code)
    for row in ran.tolist():
        block = trace.blocks[row]
        executed = np.flatnonzero(trace.executions[: subject.relocation_end] == row)
        words = block["pa"] + np.uint64(4) * np.arange(int(block["count"]), dtype=np.uint64)
        at = _stored_at(stored, words) >> _ORDER_BITS
        if executed[-1] > at.min():
            yield Finding(
                id="code-overwritten",
                where=place(trace, int(block["va"])),
                evidence=f"pa {int(block['pa']):#x} lies in a destination; stored to at execution {int(at.min())}, "
                f"executed at {int(executed[executed > at.min()][0])}",
            )
            return


def _tables(subject: Subject, site: CopySite) -> Iterator[Finding]:
    epoch = site.epoch
    if not subject.trace.epochs[epoch]["stage1"]:
        return
    known = subject.tables_of(epoch)
    pages = subject.trace.table_pages
    for ttbr in (0, 1):
        rows = pages[(pages["epoch"] == known) & (pages["ttbr"] == ttbr)] if known is not None else pages[:0]
        tables = merge(Span(int(row["pa"]), int(row["size"])) for row in rows)
        hit = overlap(tables, subject.spans(Role.DESTINATION))
        if hit:
            yield Finding(
                id="live-tables-overwritten",
                where=str(hit[0]),
                evidence=f"{sum(span.size for span in hit):#x} bytes of the tables of "
                f"{regime_name(subject.trace, epoch)} that TTBR{ttbr} names lie in destinations",
            )
            return


def _within(subject: Subject, spans: tuple[Span, ...]) -> Iterator[Records]:
    """Yield the accesses to some memory, in order."""
    for table in chunks(subject.trace, stop=subject.relocation_end):
        found = table[inside(table["pa"], spans)]
        if len(found):
            yield found


_ORDER_BITS = 16
"""More than the bits of the longest block's instructions."""


def _order(subject: Subject, table: Records) -> NDArray[np.int64]:
    """Return numbers that are in program order: of the execution, then of the instruction in its block."""
    trace = subject.trace
    execution = table["execution"].astype(np.int64)
    within = table["insn"].astype(np.int64) - trace.blocks["first"][trace.executions[execution]]
    order: NDArray[np.int64] = (execution << _ORDER_BITS) + within
    return order


_Stored = tuple[NDArray[np.uint64], NDArray[np.int64]]


def _first_stores(subject: Subject, spans: tuple[Span, ...]) -> _Stored:
    """Return lines of some memory that were stored to, ascending, and when they were first (see _order)."""
    lines: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    at: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    widened = merge(Span(span.pa & ~63, -(-span.end // 64) * 64 - (span.pa & ~63)) for span in spans)
    for table in _within(subject, widened):
        stores = table[np.isin(table["access"], _STORES)]
        lines.append(stores["pa"] & _LINE)
        at.append(_order(subject, stores))
    every, first = np.unique(np.concatenate(lines), return_index=True)
    return every, np.concatenate(at)[first]


def _stored_at(stored: _Stored, addresses: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return when the line of each address was first stored to; far in the future if never."""
    lines, at = stored
    never = np.full(len(addresses), np.iinfo(np.int64).max)
    if not len(lines):
        return never
    row = np.minimum(np.searchsorted(lines, addresses & _LINE), len(lines) - 1)
    return np.where(lines[row] == addresses & _LINE, at[row], never)
