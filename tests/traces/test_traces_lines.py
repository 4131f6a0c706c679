"""Which lines were stored through write-back caches, and which of them nothing cleaned afterwards."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import CODE, copy_trace, insn_row

from traces.lines import stored_and_uncleaned
from traces.schema import BLOCK, INSN, Access, InsnClass, Maintenance, MemoryType, Role
from traces.trace import Trace

DESTINATION = 0x9000_0000
PAGE_LINES = 64
TO_POC = (Maintenance.DC_CVAC, Maintenance.DC_CIVAC)


def with_cleans(trace: Trace, lines, kind=Maintenance.DC_CIVAC, first=False) -> Trace:
    """Add one `dc` by address for each line, after the copy or before it."""
    dc = insn_row(CODE + 64, cls=InsnClass.MAINTENANCE, access=Access.MAINTAIN, maintenance=kind, slot=0)
    block = np.zeros(1, BLOCK)
    block["va"], block["pa"], block["count"], block["values"] = CODE + 64, CODE + 64, 1, 1
    block["first"] = len(trace.insns)
    lines = np.asarray(lines, np.uint64)
    runs = [trace.executions, np.full(len(lines), len(trace.blocks), np.uint32)]
    values = [trace.values, lines]
    order = -1 if first else 1
    return replace(
        trace,
        insns=np.concatenate([trace.insns, np.array([dc], INSN)]),
        blocks=np.concatenate([trace.blocks, block]),
        executions=np.concatenate(runs[::order]),
        values=np.concatenate(values[::order]),
    )


def counts(trace: Trace) -> tuple[int, int]:
    wanted = trace.ranges[trace.ranges["role"] == Role.DESTINATION]
    stored, uncleaned = stored_and_uncleaned(trace, wanted, TO_POC)
    assert set(uncleaned.tolist()) <= set(stored.tolist())
    return len(stored), len(uncleaned)


def copied() -> Trace:
    return copy_trace(pages=2, el=1, on=True)


def line(number: int) -> int:
    return DESTINATION + 64 * number


def test_what_nothing_cleaned_is_left():
    assert counts(copied()) == (2 * PAGE_LINES, 2 * PAGE_LINES)


def test_what_was_cleaned_afterwards_is_safe_and_only_that():
    trace = with_cleans(copied(), [line(n) + 8 for n in range(10, 30)])
    assert counts(trace) == (128, 108)


def test_cleaning_before_the_copy_helps_nothing():
    assert counts(with_cleans(copied(), [line(n) for n in range(128)], first=True)) == (128, 128)


def test_cleaning_other_lines_helps_nothing_however_many():
    assert counts(with_cleans(copied(), [0x8000_0000 + 64 * n for n in range(128)])) == (128, 128)


def test_a_clean_to_the_pou_or_an_invalidate_is_no_clean_to_the_poc():
    everything = [line(n) for n in range(128)]
    assert counts(with_cleans(copied(), everything, Maintenance.DC_CVAU)) == (128, 128)
    assert counts(with_cleans(copied(), everything, Maintenance.DC_IVAC)) == (128, 128)
    assert counts(with_cleans(copied(), everything, Maintenance.DC_CVAC)) == (128, 0)


@pytest.mark.parametrize("kind", [MemoryType.NORMAL_WT, MemoryType.NORMAL_NC, MemoryType.DEVICE_NGNRNE])
def test_what_does_not_stay_in_a_cache_is_not_counted(kind):
    assert counts(copy_trace(pages=2, el=1, on=True, memory_type=kind)) == (0, 0)


def test_untranslated_copies_leave_nothing():
    assert counts(copy_trace(pages=2, el=2, on=False)) == (0, 0)


def test_stores_that_cross_lines_touch_both():
    trace = copied()
    shifted = replace(trace, values=trace.values + np.array([0, 8] * (len(trace.values) // 2), np.uint64))
    stored, _ = stored_and_uncleaned(shifted, shifted.ranges[shifted.ranges["role"] == Role.DESTINATION], TO_POC)
    assert stored[0] == DESTINATION
    assert len(stored) == 128  # the 129th lies behind the range


def test_an_unrolled_store_stands_for_its_neighbours():
    trace = copied()
    insns = trace.insns.copy()
    insns = np.concatenate([insns, insns[2:3]])
    insns[-1]["offset"] = 64  # as copy_page stores: one base, several offsets, more than one line
    blocks = trace.blocks.copy()
    blocks["count"] = 7
    stored, _ = stored_and_uncleaned(
        replace(trace, insns=insns, blocks=blocks, executions=trace.executions[:1], values=trace.values[:2]),
        trace.ranges[trace.ranges["role"] == Role.DESTINATION],
        TO_POC,
    )
    assert stored.tolist() == [line(0), line(1)]
