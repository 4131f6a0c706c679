import gzip
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import subject
from synthetic import copy_trace

from traces.check import check
from traces.errors import InputError
from traces.exports import din, din_trace
from traces.exports.din import FETCH, READ, REFERENCE, WRITE
from traces.exports.din_trace import trace_of_din
from traces.exports.subject import Subject
from traces.fold import access_count, instruction_count
from traces.schema import Access, InsnClass, MemoryType
from traces.trace import Trace
from traces.window import by_instructions, executed, whole


def exported(trace: Trace) -> bytes:
    stream = BytesIO()
    din.write(Subject(name="x", trace=trace, window=whole(trace)), stream)
    return stream.getvalue()


def reread(path: Path) -> np.ndarray:
    return np.concatenate([np.zeros(0, REFERENCE), *din.read(path, 1 << 20)])


def data_stream(trace: Trace) -> list[tuple[int, int, int]]:
    rows = np.concatenate(list(executed(trace, whole(trace))))
    rows = rows[rows["access"] != Access.NONE]
    return list(zip(rows["access"].tolist(), rows["pa"].tolist(), rows["size"].tolist(), strict=True))


@settings(max_examples=30, deadline=None)
@given(lines=st.integers(1, 40), on=st.booleans(), piece=st.sampled_from([40, 97, 1 << 20]), packed=st.booleans())
def test_a_run_comes_back_as_the_same_fetches_and_data(lines: int, on: bool, piece: int, packed: bool):
    trace = copy_trace(pages=1, lines=lines, on=on)
    text = exported(trace)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(din, "_PIECE_BYTES", piece)
        path = Path(directory) / "x.din"
        path.write_bytes(gzip.compress(text) if packed else text)
        again = trace_of_din(path)
    assert check(again) == []
    assert data_stream(again) == data_stream(trace)
    assert instruction_count(again) == instruction_count(trace)
    assert exported(again) == text


def test_an_atomic_is_a_read_and_a_write_and_comes_back_as_one(tmp_path: Path):
    trace = copy_trace(pages=1, lines=3)
    insns = trace.insns.copy()
    insns["access"][0], insns["cls"][0] = Access.LOAD_STORE, InsnClass.ATOMIC
    trace = Trace(**{**{name: getattr(trace, name) for name in trace.__slots__}, "insns": insns})
    (tmp_path / "x.din").write_bytes(exported(trace))
    assert reread(tmp_path / "x.din")["label"].tolist()[:4] == [FETCH, READ, WRITE, FETCH]
    again = trace_of_din(tmp_path / "x.din")
    assert data_stream(again) == data_stream(trace)


def test_zva_is_its_whole_block():
    trace = copy_trace(pages=1, lines=1)
    insns = trace.insns.copy()
    insns["access"][2], insns["size"][2], insns["offset"][2] = Access.ZERO, 64, 24
    trace = Trace(**{**{name: getattr(trace, name) for name in trace.__slots__}, "insns": insns})
    assert b"\n1 90000000 40\n" in exported(trace)


FOREIGN = """\
0 1fc0\t some text that is ignored
1 0x1FC4
2 400a28
  0 10 4
4 0
3 20

r 30 8
w 38 8
i 40 4
m 50 1
c 60 40
v 60 40
"""


def test_both_kinds_of_din_are_read(tmp_path: Path):
    path = tmp_path / "foreign.din"
    path.write_text(FOREIGN)
    found = reread(path).tolist()
    assert found == [
        (READ, 0x1FC0, 0), (WRITE, 0x1FC4, 0), (FETCH, 0x400A28, 0), (READ, 0x10, 4),
        (READ, 0x30, 8), (WRITE, 0x38, 8), (FETCH, 0x40, 4), (READ, 0x50, 1),
    ]  # fmt: skip
    trace = trace_of_din(path, MemoryType.NORMAL_NC)
    assert check(trace) == []
    wanted = [(Access.LOAD, 0x1FC0, 4), (Access.STORE, 0x1FC4, 4), (Access.LOAD, 0x10, 4), (Access.LOAD, 0x30, 8)]
    assert data_stream(trace)[:4] == wanted
    assert access_count(trace) == 6
    assert trace.insns["va"].tolist().count(0x400A28) == 3  # one fetch, and what follows it


def test_without_fetches_a_load_and_a_store_stand_for_the_code(tmp_path: Path):
    path = tmp_path / "data.din"
    path.write_text("0 1000 8\n1 2ff8 8\n" * 5)
    trace = trace_of_din(path)
    assert check(trace) == []
    assert set(trace.insns["va"].tolist()) == {0x3000}
    assert data_stream(trace) == [(Access.LOAD, 0x1000, 8), (Access.STORE, 0x2FF8, 8)] * 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"0 1000 8\n7 1000 8\n", ":2: must be LABEL ADDRESS"),
        (b"0 1000 8\n0 xyz 8\n", ":2: must be LABEL ADDRESS"),
        (b"0 1000 8\n0\n", ":2: must be LABEL ADDRESS"),
        (b"0 11112222333344445 8\n", ":1: must be LABEL ADDRESS"),
        (b"\0" * 20000, "has a line longer than 4096 bytes"),
        (b"", "has no references"),
        (b"4 0\n", "has no references"),
        (b"0 1000 10000\n", "a reference of more than 4096 bytes"),
        (gzip.compress(b"0 1000 8\n" * 9)[:-9], "cannot be read: "),
        (b"\x1f\x8bnot gzip at all", "cannot be read: "),
    ],
)
def test_what_is_no_din_is_refused_in_one_line(tmp_path: Path, text: bytes, words: str):
    path = tmp_path / "bad.din"
    path.write_bytes(text)
    with pytest.raises(InputError, match=words) as caught:
        trace_of_din(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(din_trace, "REFERENCE_LIMIT", 10_000)
    path = tmp_path / "bomb.din.gz"
    path.write_bytes(gzip.compress(b"0 0 8\n" * 5_000_000))
    with pytest.raises(InputError, match="has more than 10000 references"):
        trace_of_din(path)


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="0123 49afx\t\r\nrwiz", max_size=60))
def test_quick_and_patient_reading_agree(text: str):
    data = text.encode() + b"\n"
    quick = din._uniform(data)
    if quick is not None:
        assert [tuple(row) for row in quick.tolist()] == [
            (int(words[0]), int(words[1], 16), int(words[2], 16)) for words in map(str.split, text.split("\n")) if words
        ]


def test_a_window_is_a_slice(tmp_path: Path):
    of = subject(lines=9, window=(5, 20))
    (tmp_path / "x.din").write_bytes(exported_subject(of))
    labels = reread(tmp_path / "x.din")["label"]
    assert (labels == FETCH).sum() == by_instructions(of.trace, 5, 20).instructions == 15


def exported_subject(of: Subject) -> bytes:
    stream = BytesIO()
    din.write(of, stream)
    return stream.getvalue()


