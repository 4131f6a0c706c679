import numpy as np
from synthetic import CODE, copy_loop, copy_trace, epoch_row, insn_row

from traces.expand import NO_PA, NO_TYPE, accesses, chunks, executed_counts, execution_epochs
from traces.schema import INSN, MARK, Access, InsnClass, InsnFlag, Mark, MemoryType
from traces.trace import Trace


def replaced(trace: Trace, **arrays: np.ndarray) -> Trace:
    fields = {name: getattr(trace, name) for name in Trace.__dataclass_fields__}
    return Trace(**(fields | arrays))


def naive(trace: Trace) -> list[tuple[int, int, int, int]]:
    """(execution, insn, va, pa) by the words of the Trace docstring, one at a time."""
    rows, cursor, epoch = [], 0, 0
    pages = {(int(t["epoch"]), int(t["page"])): int(t["pa"]) for t in trace.translations}
    for i, b in enumerate(trace.executions.tolist()):
        for mark in trace.marks:
            if mark["kind"] == Mark.EPOCH and mark["at"] == i:
                epoch = int(mark["a"])
        block = trace.blocks[b]
        count = int(block["count"])
        for mark in trace.marks:
            if mark["kind"] == Mark.TRUNCATE and mark["at"] == i + 1:
                count = int(mark["a"])
        for row in range(int(block["first"]), int(block["first"]) + count):
            insn = trace.insns[row]
            if insn["access"] == Access.NONE:
                continue
            literal = int(insn["flags"]) & InsnFlag.LITERAL
            base = int(insn["va"]) if literal else int(trace.values[cursor + int(insn["slot"])])
            va = (base + int(insn["offset"])) % 2**64
            flat = not (trace.epochs[epoch]["stage1"] or trace.epochs[epoch]["stage2"])
            pa = va if flat else pages[epoch, va >> 12] + va % 4096
            rows.append((i, row, va, pa))
        cursor += int(block["values"])
    return rows


def listed(table: np.ndarray) -> list[tuple[int, int, int, int]]:
    return [(int(r["execution"]), int(r["insn"]), int(r["va"]), int(r["pa"])) for r in table]


def test_flat_and_translated_runs_agree_with_the_words_of_the_schema():
    for on in (False, True):
        trace = copy_trace(pages=3, lines=256, on=on, el=1)
        assert listed(accesses(trace)) == naive(trace)


def test_types_come_from_the_translation_or_from_the_flat_regime():
    off, on = accesses(copy_trace(on=False)), accesses(copy_trace(on=True, memory_type=MemoryType.NORMAL_NC))
    assert set(off["memory_type"].tolist()) == {MemoryType.DEVICE_NGNRNE}
    assert set(on["memory_type"].tolist()) == {MemoryType.NORMAL_NC}
    assert (off["translation"] == -1).all()
    assert (on["translation"] >= 0).all()


def test_truncated_execution_gives_only_what_it_retired_and_still_consumes_its_values():
    trace = copy_trace(pages=1)
    cut = np.zeros(2, MARK)
    cut["kind"], cut["at"], cut["a"] = Mark.TRUNCATE, (3, 7), (1, 0)
    trace = replaced(trace, marks=cut)
    assert listed(accesses(trace)) == naive(trace)
    assert executed_counts(trace)[[1, 2, 6]].tolist() == [6, 1, 0]


def test_epochs_hold_from_their_mark():
    trace = copy_trace(pages=1, on=True, before=(epoch_row(el=2, on=False),))
    marks = np.zeros(1, MARK)
    marks["kind"], marks["at"], marks["a"] = Mark.EPOCH, 100, 1
    trace = replaced(trace, marks=marks)
    table = accesses(trace)
    assert (table["epoch"] == (table["execution"] >= 100)).all()
    assert execution_epochs(trace, 99, 101).tolist() == [0, 1]
    assert listed(table) == naive(trace)


def test_slices_and_chunks_of_any_length_join_to_the_whole():
    trace = copy_trace(pages=2, on=True)
    whole = accesses(trace)
    for step in (1, 7, 100, 10_000):
        assert (np.concatenate(list(chunks(trace, step))) == whole).all()
    assert (np.concatenate([accesses(trace, 0, 33), accesses(trace, 33)]) == whole).all()


def test_literals_negative_offsets_and_untranslated_prefetches():
    rows = [
        insn_row(CODE, cls=InsnClass.LOAD, access=Access.LOAD, size=8, element=8, flags=InsnFlag.LITERAL, offset=16),
        insn_row(CODE + 4, cls=InsnClass.STORE, access=Access.STORE, size=8, element=8, slot=1, offset=-8),
        insn_row(CODE + 8, cls=InsnClass.PREFETCH, access=Access.PREFETCH, slot=0, offset=1 << 40),
    ]
    trace = copy_trace(pages=1, on=True)
    blocks = trace.blocks.copy()
    blocks["count"] = 3
    trace = replaced(
        trace,
        insns=np.array(rows, INSN),
        blocks=blocks,
        executions=trace.executions[:2],
        values=np.array([0x8000_0000, 0x9000_0008, 0x8000_0010, 0x9000_0010], np.uint64),
    )
    table = accesses(trace)
    assert table["va"].tolist()[:2] == [CODE + 16, 0x9000_0000]
    assert table["pa"][2] == NO_PA
    assert table["memory_type"][2] == NO_TYPE


def test_a_run_without_values_or_executions_is_empty():
    trace = copy_trace(pages=1)
    empty = replaced(trace, executions=trace.executions[:0], values=trace.values[:0])
    assert len(accesses(empty)) == 0
    assert list(chunks(empty)) == []
    alone = replaced(trace, insns=np.array(copy_loop()[1:2], INSN))
    blocks = trace.blocks.copy()
    blocks["count"], blocks["values"], blocks["accesses"] = 1, 0, 0
    assert len(accesses(replaced(alone, blocks=blocks, values=trace.values[:0]))) == 0
