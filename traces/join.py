"""Join: the beginning of one run and another that goes on from there, as one Trace."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.fold import cut
from traces.schema import EpochCause, Mark
from traces.trace import Records, Trace


def joined(before: Trace, execution: int, insns: int, after: Trace) -> Trace:
    """Return `before` up to that execution, or to that many instructions into it, followed by all of `after`.

    Blocks that both have are one. Ranges and meta are those of `after`.
    """
    stop = execution + (insns > 0)
    head = cut(before, 0, stop)
    if insns:
        head = replace(head, marks=_truncated(head.marks, stop, insns))
    rows, blocks, more = _blocks(head, after)
    return Trace(
        insns=np.concatenate([head.insns, *more]),
        blocks=blocks,
        executions=np.concatenate([head.executions, rows[after.executions]]),
        values=np.concatenate([head.values, after.values]),
        epochs=np.concatenate([head.epochs, _continued(head, after.epochs)]),
        translations=np.concatenate([head.translations, _shifted(head, after.translations)]),
        walk_reads=np.concatenate([head.walk_reads, after.walk_reads]),
        exceptions=np.concatenate([head.exceptions, _later(after.exceptions, stop)]),
        marks=np.concatenate([head.marks, _marks(head, after.marks, stop)]),
        ranges=after.ranges,
        meta=after.meta,
        mappings=np.concatenate([head.mappings, _of_later_epochs(head, after.mappings)]),
        table_pages=np.concatenate([head.table_pages, _of_later_epochs(head, after.table_pages)]),
    )


def _truncated(marks: Records, at: int, insns: int) -> Records:
    """Return the marks up to execution `at` - 1, which does only that many instructions."""
    last = np.zeros(1, marks.dtype)
    last["at"], last["kind"], last["a"] = at, Mark.TRUNCATE, insns
    return np.concatenate([marks[marks["at"] < at], last])


def _blocks(head: Trace, after: Trace) -> tuple[NDArray[np.uint32], Records, list[Records]]:
    """Return the row of each block of `after`, all blocks, and the instructions of those that are new."""
    known = {_key(head, block): row for row, block in enumerate(head.blocks)}
    rows, count, first = np.zeros(len(after.blocks), np.uint32), len(head.blocks), len(head.insns)
    blocks, insns = [head.blocks], []
    for number, block in enumerate(after.blocks):
        rows[number] = known.setdefault(_key(after, block), count)
        if rows[number] == count:
            fresh = after.blocks[number : number + 1].copy()
            fresh["first"] = first
            insns.append(_insns(after, block))
            blocks.append(fresh)
            first, count = first + len(insns[-1]), count + 1
    return rows, np.concatenate(blocks), insns


def _insns(trace: Trace, block: Any) -> Records:
    return trace.insns[int(block["first"]) : int(block["first"]) + int(block["count"])]


def _key(trace: Trace, block: Any) -> tuple[int, int, bytes]:
    return int(block["va"]), int(block["pa"]), _insns(trace, block).tobytes()


def _continued(head: Trace, epochs: Records) -> Records:
    """Return the later epochs: the first of them is no start but what a write of system registers does, or less."""
    epochs = epochs.copy()
    switches = head.marks[head.marks["kind"] == Mark.EPOCH]
    held = head.epochs[int(switches["a"][-1]) if len(switches) else 0]
    names = [name for name in epochs.dtype.names or () if name != "cause"]
    same = all(held[name] == epochs[0][name] for name in names)
    epochs["cause"][0] = EpochCause.CODE_STORE if same else EpochCause.SYSTEM_WRITE
    return epochs


def _of_later_epochs(head: Trace, rows: Records) -> Records:
    rows = rows.copy()
    rows["epoch"] += len(head.epochs)
    return rows


def _shifted(head: Trace, translations: Records) -> Records:
    translations = _of_later_epochs(head, translations)
    translations["walk_first"] += len(head.walk_reads)
    return translations


def _later(exceptions: Records, by: int) -> Records:
    exceptions = exceptions.copy()
    exceptions["at"] += by
    return exceptions


def _marks(head: Trace, marks: Records, by: int) -> Records:
    """Return the later marks, after one for the epoch that begins there."""
    first = np.zeros(1, marks.dtype)
    first["at"], first["kind"], first["a"] = by, Mark.EPOCH, len(head.epochs)
    marks = marks.copy()
    marks["at"] += by
    for kind, more in ((Mark.EPOCH, len(head.epochs)), (Mark.EXCEPTION, len(head.exceptions))):
        marks["a"][marks["kind"] == kind] += more
    return np.concatenate([first, marks])
