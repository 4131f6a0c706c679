import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import copy_trace

from traces.parting import END, partings
from traces.schema import MemoryType
from traces.trace import Trace


def changed(trace: Trace, **arrays: np.ndarray) -> Trace:
    return Trace(**{**{name: getattr(trace, name) for name in trace.__slots__}, **arrays})


def kinds(a: Trace, b: Trace) -> list[tuple[str, int]]:
    return [(one.kind, one.number) for one in partings(a, b)]


@pytest.mark.parametrize("pieces", [3, 1 << 15])
def test_equal_runs_do_not_part(pieces: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("traces.window.CHUNK_EXECUTIONS", pieces)
    assert kinds(copy_trace(lines=20, on=True), copy_trace(lines=20, on=True)) == []


@settings(max_examples=20, deadline=None)
@given(at=st.integers(0, 39), slot=st.integers(0, 1))
def test_the_first_other_address_is_found(at: int, slot: int):
    trace = copy_trace(pages=1, lines=40)
    values = trace.values.copy()
    values[2 * at + slot] += 8
    values[2 * 39] += 4
    (one,) = partings(trace, changed(trace, values=values))
    assert (one.kind, one.number) == min([("address", 6 * at + 2 * slot), ("address", 6 * 39)], key=lambda k: k[1])
    assert one.a is not None
    assert one.b is not None
    assert int(one.b["va"][0]) - int(one.a["va"][0]) == {(39, 0): 12, (39, 1): 4}.get((at, slot), 8)


def test_encodings_types_translations_and_regimes():
    trace = copy_trace(lines=5, on=True)
    insns = trace.insns.copy()
    insns["word"][4] = 7
    assert kinds(trace, changed(trace, insns=insns)) == [("word", 4)]
    table = trace.translations.copy()
    table["memory_type"][table["page"] == 0x90000] = MemoryType.NORMAL_NC
    assert kinds(trace, changed(trace, translations=table)) == [("memory_type", 2)]
    table["pa"][table["page"] == 0x80000] += 4096
    assert kinds(trace, changed(trace, translations=table)) == [("translation", 0), ("memory_type", 2)]
    off = copy_trace(lines=5, on=False)
    assert kinds(trace, off) == [("regime", 0), ("memory_type", 0)]
    insns = trace.insns.copy()
    insns["size"][2] = 8
    assert kinds(trace, changed(trace, insns=insns)) == [("access", 2)]


@pytest.mark.parametrize("pieces", [1, 1 << 15])
def test_nothing_is_compared_behind_the_first_other_instruction(pieces: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("traces.window.CHUNK_EXECUTIONS", pieces)
    trace = copy_trace(lines=5)
    insns, blocks = np.tile(trace.insns, 2), np.tile(trace.blocks, 2)
    blocks["first"][1] = 6
    for rows in (insns[6:], blocks[1:]):
        rows["va"] += 4096
        rows["pa"] += 4096
    executions, values = trace.executions.copy(), trace.values.copy()
    executions[1] = 1  # elsewhere, and back
    values[6:] += np.uint64(8)
    other = changed(trace, insns=insns, blocks=blocks, executions=executions, values=values)
    assert kinds(trace, other) == [("pc", 6)]


@pytest.mark.parametrize("pieces", [3, 1 << 15])
def test_the_end_of_the_shorter(pieces: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("traces.window.CHUNK_EXECUTIONS", pieces)
    short, long = copy_trace(pages=1, lines=5), copy_trace(pages=1, lines=7)
    (one,) = partings(short, long)
    assert (one.kind, one.number, one.a) == (END, 30, None)
    (one,) = partings(long, short)
    assert (one.kind, one.number, one.b) == (END, 30, None)
