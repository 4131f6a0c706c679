"""Whether what a run fetched and accessed is translated: page by page, not access by access."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from traces.expand import CHUNK_EXECUTIONS
from traces.fold import stretches
from traces.schema import Access, InsnFlag, Mark
from traces.trace import Trace


def executed_blocks(trace: Trace) -> Iterator[tuple[int, int]]:
    """Yield (epoch row, block row) of whatever retired an instruction, each pair once, ascending."""
    cuts = trace.marks[(trace.marks["kind"] == Mark.TRUNCATE) & (trace.marks["a"] == 0)]
    nothing = cuts["at"].astype(np.int64) - 1
    found: set[tuple[int, int]] = set()
    for epoch, first, end in stretches(trace):
        ran = trace.executions[first:end]
        left = nothing[(nothing >= first) & (nothing < end)] - first
        found.update((epoch, block) for block in _distinct(np.delete(ran, left) if len(left) else ran, trace))
    yield from sorted(found)


def _distinct(ran: NDArray[np.uint32], trace: Trace) -> list[int]:
    """Blocks among those executions, ascending; never more work than there are executions."""
    found = np.flatnonzero(np.bincount(ran)) if len(ran) > len(trace.blocks) else np.unique(ran)
    return [int(block) for block in found]


def doubtful(trace: Trace) -> Iterator[tuple[int, int]]:
    """Yield slices of executions in which an access may lack a translation; what is in none of them has one."""
    consumed, cursor = trace.blocks["values"].astype(np.int64), 0
    addresses = [_addresses(trace, block) for block in range(len(trace.blocks))]
    pages_of: dict[int, NDArray[np.uint64]] = {}
    for epoch, start, stop in stretches(trace):
        regime = trace.epochs[epoch]
        flat = not (regime["stage1"] or regime["stage2"])
        if epoch not in pages_of:
            pages_of[epoch] = np.sort(trace.translations["page"][trace.translations["epoch"] == epoch])
        for at in range(start, stop, CHUNK_EXECUTIONS):
            ran = trace.executions[at : min(at + CHUNK_EXECUTIONS, stop)]
            ends = cursor + np.cumsum(consumed[ran])
            cursor = int(ends[-1])
            if not flat and _lacks(trace, ran, ends - consumed[ran], addresses, pages_of[epoch]):
                yield at, at + len(ran)


def _addresses(trace: Trace, block: int) -> list[tuple[int, int]]:
    """(slot, offset) of what the block accesses, once each; slot -1 where the offset is the address itself."""
    row = trace.blocks[block]
    found: dict[tuple[int, int], None] = {}
    for insn in trace.insns[int(row["first"]) : int(row["first"]) + int(row["count"])]:
        if insn["access"] in (Access.NONE, Access.PREFETCH):
            continue
        literal = int(insn["flags"]) & InsnFlag.LITERAL
        offset = int(insn["offset"]) + (int(insn["va"]) if literal else 0)
        found[-1 if literal else int(insn["slot"]), offset % (1 << 64)] = None
    return list(found)


def _lacks(
    trace: Trace,
    ran: NDArray[np.uint32],
    first_value: NDArray[np.int64],
    addresses: list[list[tuple[int, int]]],
    pages: NDArray[np.uint64],
) -> bool:
    for block in _distinct(ran, trace):
        values = first_value[ran == block] if addresses[block] else first_value[:0]
        for slot, offset in addresses[block]:
            va = trace.values[values + slot] if slot >= 0 else np.zeros(1, np.uint64)
            if not _all_in((va + np.uint64(offset)) >> np.uint64(12), pages):
                return True
    return False


def _all_in(page: NDArray[np.uint64], pages: NDArray[np.uint64]) -> bool:
    page = page[np.concatenate([np.ones(1, np.bool_), page[1:] != page[:-1]])]
    place = np.searchsorted(pages, page)
    inside = place < len(pages)
    inside[inside] = pages[place[inside]] == page[inside]
    return bool(inside.all())
