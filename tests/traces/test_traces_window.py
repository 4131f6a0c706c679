import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import copy_trace

from traces.errors import InputError
from traces.expand import accesses
from traces.schema import MARK, Access, Mark
from traces.trace import Trace
from traces.window import Place, by_instructions, by_pages, executed, whole


def truncated(trace: Trace, execution: int, insns: int) -> Trace:
    mark = np.zeros(1, MARK)
    mark["at"], mark["kind"], mark["a"] = execution + 1, Mark.TRUNCATE, insns
    fields = {name: getattr(trace, name) for name in trace.__slots__}
    return Trace(**{**fields, "marks": np.concatenate([trace.marks, mark])})


def naive(trace: Trace) -> list[tuple[int, int]]:
    """(execution, row of insns) of every instruction."""
    cuts = {int(m["at"]) - 1: int(m["a"]) for m in trace.marks if m["kind"] == Mark.TRUNCATE}
    found = []
    for at, block in enumerate(trace.executions.tolist()):
        row = trace.blocks[block]
        found += [(at, int(row["first"]) + i) for i in range(min(int(row["count"]), cuts.get(at, 1 << 30)))]
    return found


@settings(max_examples=40, deadline=None)
@given(data=st.data(), on=st.booleans())
def test_a_window_is_a_slice_of_what_ran(data: st.DataObject, on: bool):
    trace = truncated(copy_trace(pages=1, lines=9, on=on), data.draw(st.integers(0, 8)), data.draw(st.integers(0, 6)))
    ran = naive(trace)
    first = data.draw(st.integers(0, len(ran) - 1))
    stop = data.draw(st.integers(first, len(ran)))
    window = by_instructions(trace, first, stop)
    rows = np.concatenate(list(executed(trace, window)) or [np.zeros(0)])
    assert window.instructions == stop - first == len(rows)
    if len(rows):
        assert list(zip(rows["execution"].tolist(), rows["insn"].tolist(), strict=True)) == ran[first:stop]
        assert rows["number"].tolist() == list(range(first, stop))


@pytest.mark.parametrize("pieces", [1, 3, 1 << 15])
def test_the_accesses_are_those_of_expand(pieces: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("traces.window.CHUNK_EXECUTIONS", pieces)
    trace = copy_trace(pages=1, lines=20, on=True)
    rows = np.concatenate(list(executed(trace, whole(trace))))
    rows = rows[rows["access"] != Access.NONE]
    wanted = accesses(trace)
    for name in ("execution", "insn", "va", "pa", "size", "access", "memory_type", "epoch"):
        assert (rows[name] == wanted[name]).all(), name


def test_beyond_the_end():
    trace = copy_trace(pages=1, lines=4)
    assert by_instructions(trace, 0, 24).stop == Place(4, 0)
    with pytest.raises(InputError, match="instruction 25: the run has 24"):
        by_instructions(trace, 0, 25)


@pytest.mark.parametrize("pieces", [7, 1 << 15])
def test_pages_are_cut_behind_the_last_store_of_the_one_before(pieces: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("traces.window.CHUNK_EXECUTIONS", pieces)
    trace = copy_trace(pages=4)
    assert by_pages(trace, 0, 4) == whole(trace)
    window = by_pages(trace, 1, 3)
    assert (window.first, window.stop) == (Place(256, 0), Place(768, 0))
    stores = np.concatenate(list(executed(trace, window)))
    stores = stores[stores["access"] == Access.STORE]
    assert set(stores["pa"] >> np.uint64(12)) == {0x9000_1, 0x9000_2}
    with pytest.raises(InputError, match="pages 3:5: the run copied 4"):
        by_pages(trace, 3, 5)
