"""Which lines were stored through write-back caches, and which of them nothing cleaned afterwards."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import CODE, copy_trace, insn_row

from traces.lines import Deed, line_history
from traces.schema import BLOCK, INSN, Access, InsnClass, Maintenance, Mark, MemoryType, Role
from traces.trace import Trace

DESTINATION = 0x9000_0000
PAGE_LINES = 64


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


def of_image(trace: Trace):
    return line_history(trace, trace.ranges[trace.ranges["role"] == Role.DESTINATION])


def stored_lines(trace: Trace) -> list[int]:
    history = of_image(trace)
    return history.lines(history.did(Deed.STORED_CACHED)).tolist()


def counts(trace: Trace) -> tuple[int, int]:
    history = of_image(trace)
    assert (history.uncleaned <= history.did(Deed.STORED_CACHED)).all()
    return int(history.did(Deed.STORED_CACHED).sum()), int(history.uncleaned.sum())


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
    stored = stored_lines(shifted)
    assert stored[0] == DESTINATION
    assert len(stored) == 128  # the 129th lies behind the range


def test_an_unrolled_store_stands_for_its_neighbours():
    trace = copied()
    insns = trace.insns.copy()
    insns = np.concatenate([insns, insns[2:3]])
    insns[-1]["offset"] = 64  # as copy_page stores: one base, several offsets, more than one line
    blocks = trace.blocks.copy()
    blocks["count"] = 7
    unrolled = replace(trace, insns=insns, blocks=blocks, executions=trace.executions[:1], values=trace.values[:2])
    assert stored_lines(unrolled) == [line(0), line(1)]


EVERYTHING = [line(n) for n in range(2 * PAGE_LINES)]


def deeds(trace: Trace) -> Deed:
    """What happened to any line of the image."""
    return Deed(int(np.bitwise_or.reduce(of_image(trace).deeds)))


def test_invalidating_what_was_just_stored_loses_it_and_cleaning_in_between_saves_it():
    lost = with_cleans(copied(), EVERYTHING[:5], Maintenance.DC_IVAC)
    assert of_image(lost).lines(of_image(lost).did(Deed.LOST)).tolist() == EVERYTHING[:5]
    assert lost.insns[of_image(lost).insns[Deed.LOST]]["maintenance"] == Maintenance.DC_IVAC
    for kind in (Maintenance.DC_CVAC, Maintenance.DC_CIVAC):
        saved = with_cleans(with_cleans(copied(), EVERYTHING, kind), EVERYTHING, Maintenance.DC_IVAC)
        assert Deed.LOST not in deeds(saved)
    to_pou = with_cleans(with_cleans(copied(), EVERYTHING, Maintenance.DC_CVAU), EVERYTHING, Maintenance.DC_IVAC)
    assert Deed.LOST in deeds(to_pou)
    assert Deed.CLEANED_TO_POU in deeds(to_pou)


def test_under_stage_2_el1_cannot_invalidate_without_cleaning():
    trace = with_cleans(copied(), EVERYTHING, Maintenance.DC_IVAC)
    epochs = trace.epochs.copy()
    epochs["stage2"] = 1
    assert Deed.LOST not in deeds(replace(trace, epochs=epochs))
    epochs["el"] = 2
    assert Deed.LOST in deeds(replace(trace, epochs=epochs))


def test_stores_past_the_caches_are_prepared_by_any_maintenance_to_the_poc():
    off = copy_trace(pages=2, el=2, on=False)
    assert deeds(off) == Deed.STORED_UNCACHED | Deed.UNPREPARED
    for kind in (Maintenance.DC_IVAC, Maintenance.DC_CIVAC):
        assert Deed.UNPREPARED not in deeds(with_cleans(off, EVERYTHING, kind, first=True))
    assert Deed.UNPREPARED in deeds(with_cleans(off, EVERYTHING, kind))
    assert Deed.UNPREPARED in deeds(with_cleans(off, EVERYTHING[1:], kind, first=True))


def test_one_line_stored_in_two_ways_is_mixed_unless_cleaned_in_between():
    on = copied()
    epochs = np.concatenate([on.epochs, copy_trace(el=1, on=False).epochs])
    marks = np.concatenate([on.marks, on.marks[:1]])
    marks[-1]["at"], marks[-1]["kind"], marks[-1]["a"] = len(on.executions), Mark.EPOCH, 1
    twice = replace(
        on,
        epochs=epochs,
        marks=marks,
        executions=np.concatenate([on.executions] * 2),
        values=np.concatenate([on.values] * 2),
    )
    assert Deed.MIXED in deeds(twice)
    marks[-1]["at"] = 0
    assert Deed.MIXED not in deeds(twice)


def test_state_is_carried_from_one_chunk_to_the_next(monkeypatch):
    import traces.lines
    from traces.expand import chunks

    whole = of_image(with_cleans(copied(), EVERYTHING[::3], Maintenance.DC_IVAC))
    monkeypatch.setattr(traces.lines, "chunks", lambda trace: chunks(trace, 7))
    pieces = of_image(with_cleans(copied(), EVERYTHING[::3], Maintenance.DC_IVAC))
    for name in ("deeds", "last", "stored_at", "cleaned_at"):
        assert (getattr(whole, name) == getattr(pieces, name)).all()
    assert whole.insns == pieces.insns
