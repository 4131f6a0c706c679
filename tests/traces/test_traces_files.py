import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import copy_trace, epoch_row

from traces import files
from traces.check import ARRAYS
from traces.errors import InputError
from traces.files import load, read_header, save
from traces.schema import MemoryType
from traces.trace import Trace

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def same(a: Trace, b: Trace) -> bool:
    arrays = all((getattr(a, name) == getattr(b, name)).all() for name in ARRAYS)
    return arrays and dict(a.meta) == dict(b.meta)


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    path = tmp_path / "copy.trace"
    save(copy_trace(pages=2, on=True, el=1, before=(epoch_row(el=2, on=False),), boot="nvhe"), path)
    return path


@settings(max_examples=40, deadline=None)
@given(
    pages=st.integers(1, 4),
    on=st.booleans(),
    kind=st.sampled_from(MemoryType),
    meta=st.dictionaries(st.text(max_size=6), JSON, max_size=4),
    chunk=st.sampled_from([64, 1000, 8 << 20]),
)
def test_round_trip(pages: int, on: bool, kind: MemoryType, meta: dict, chunk: int):
    trace = copy_trace(pages=pages, on=on, memory_type=kind)
    fields = {name: getattr(trace, name) for name in ARRAYS}
    trace = Trace(**fields, meta=meta)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk)
        save(trace, Path(directory) / "t")
        assert same(load(Path(directory) / "t"), trace)


def test_equal_traces_give_equal_bytes_and_nothing_else_is_left(tmp_path: Path, trace_file: Path):
    save(load(trace_file), tmp_path / "again.trace")
    assert (tmp_path / "again.trace").read_bytes() == trace_file.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.trace", "copy.trace"]


def test_header_is_readable_alone(trace_file: Path):
    header = read_header(trace_file)
    assert header["meta"] == {"boot": "nvhe"}
    assert header["arrays"]["executions"]["rows"] == 512


def test_failed_write_keeps_the_old_file(trace_file: Path, monkeypatch: pytest.MonkeyPatch):
    before = trace_file.read_bytes()

    def broken(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.npy, "write_array", broken)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        save(copy_trace(), trace_file)
    assert trace_file.read_bytes() == before
    assert [p.name for p in trace_file.parent.iterdir()] == ["copy.trace"]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_changed_or_missing_byte_is_a_one_line_error_or_no_harm(data: st.DataObject):
    trace = copy_trace(pages=1, on=True, boot="el1")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "t"
        save(trace, path)
        good = path.read_bytes()
        where = data.draw(st.integers(0, len(good) - 1))
        if data.draw(st.booleans()):
            path.write_bytes(good[:where])
        else:
            path.write_bytes(good[:where] + bytes([good[where] ^ data.draw(st.integers(1, 255))]) + good[where + 1 :])
        failure = ""
        try:
            harmless = same(load(path), trace)  # a byte that means nothing: a time stamp, a version needed
        except InputError as error:
            failure, harmless = str(error), False
        assert harmless or (failure.startswith(str(path)) and "\n" not in failure)


def rewritten(path: Path, **members: bytes | None) -> Path:
    """Copy of the file with members replaced (bytes), removed (None) or added."""
    with zipfile.ZipFile(path) as container:
        kept = {name: container.read(name) for name in container.namelist()}
    kept.update({name.replace("__", "/").replace("_npy", ".npy"): body for name, body in members.items()})
    out = path.with_suffix(".changed")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as container:
        for name, body in kept.items():
            if body is not None:
                container.writestr(name, body)
    return out


def changed_header(path: Path, **fields: object) -> Path:
    header = read_header(path)
    for name, value in fields.items():
        if name == "rows":
            header["arrays"]["values"]["rows"] = value
        else:
            header[name] = value
    with zipfile.ZipFile(path) as container:
        kept = {n: container.read(n) for n in container.namelist() if n != "header.json"}
    out = path.with_suffix(".header")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr("header.json", json.dumps(header))
        for name, body in kept.items():
            container.writestr(name, body)
    return out


def npy_bytes(array: np.ndarray, **options: object) -> bytes:
    with tempfile.TemporaryFile() as stream:
        np.lib.format.write_array(stream, array, **options)
        stream.seek(0)
        return stream.read()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"version": 2}, "version 2 is newer than the 1"),
        ({"schema": 0}, "schema 0 is older than the 2"),
        ({"version": "1"}, "version: must be a number"),
        ({"format": "zip"}, "format: must be 'relocscope-trace'"),
        ({"meta": []}, "meta: must be an object"),
        ({"arrays": {}}, "arrays: must name insns"),
        ({"rows": -1}, "arrays.values.rows: must be a number of rows, not -1"),
        ({"rows": "9" * 500}, "arrays.values.rows: must be"),
        ({"rows": True}, "arrays.values.rows: must be"),
        ({"rows": 10**18}, "more than the limit"),
        ({"rows": 10**8}, "compressed bytes can hold"),
        ({"rows": 1023}, "must hold 1023 rows"),
    ],
)
def test_headers_that_lie(trace_file: Path, fields: dict, words: str):
    with pytest.raises(InputError, match=r"(?s)^[^\n]*$") as caught:
        load(changed_header(trace_file, **fields))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("values__000000_npy", npy_bytes(np.zeros(1024, np.float64)), "must hold 1024 rows of its record type"),
        ("values__000000_npy", npy_bytes(np.zeros((2, 512), np.uint64)), "must hold 1024 rows"),
        ("values__000000_npy", npy_bytes(np.array([object()]), allow_pickle=True), "must hold 1024 rows"),
        ("values__000000_npy", npy_bytes(np.zeros(9000, np.uint64)), "longer than the rows"),
        ("values__000000_npy", npy_bytes(np.zeros(1024, np.uint64)) + b"x", "longer than the rows"),
        ("values__000000_npy", npy_bytes(np.zeros(1024, np.uint64))[:-9], "ends after 8183 of 8192"),
        ("values__000000_npy", b"\x93NUMPY\x01\x00\x10\x00{'shape': 9**9**9,", "values/000000.npy: "),
        ("values__000000_npy", b"no", "values/000000.npy: "),
        ("values__000000_npy", None, "'values/000000.npy' is not"),
        ("/etc/passwd", b"root", "'/etc/passwd' is not"),
        ("../../up", b"up", "'../../up' is not"),
    ],
)
def test_members_that_lie(trace_file: Path, name: str, body: bytes | None, words: str):
    with pytest.raises(InputError, match=r"(?s)^[^\n]*$") as caught:
        load(rewritten(trace_file, **{name: body}))
    assert words in str(caught.value)


def test_repeated_members_are_refused(trace_file: Path):
    with zipfile.ZipFile(trace_file, "a") as container, pytest.warns(UserWarning, match="Duplicate"):
        container.writestr("values/000000.npy", b"")
    with pytest.raises(InputError, match=r"'values/000000\.npy' is not"):
        load(trace_file)


def test_a_header_without_end_is_not_read_to_its_end(trace_file: Path):
    with pytest.raises(InputError, match="longer than 16777216 bytes"):
        load(rewritten(trace_file, **{"header.json": b" " * (17 << 20)}))


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip" * 100, b"[" * 100_000])
def test_files_of_another_kind(tmp_path: Path, content: bytes):
    path = tmp_path / "other"
    path.write_bytes(content)
    for read in (load, read_header):
        with pytest.raises(InputError, match=r"not a|empty file"):
            read(path)


def test_places_that_cannot_be(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load(tmp_path / "none")
    with pytest.raises(InputError, match="not a regular file"):
        load(tmp_path)
    with pytest.raises(InputError, match="cannot be written: No such file"):
        save(copy_trace(), tmp_path / "no" / "where")
    with pytest.raises(InputError, match="is a directory"):
        save(copy_trace(), tmp_path)


def test_a_readable_file_that_breaks_a_promise_is_refused_unless_asked_for(tmp_path: Path):
    trace = copy_trace(pages=1)
    trace.executions[5] = 7
    save(trace, tmp_path / "t")
    with pytest.raises(InputError, match=r"executions\[5\]"):
        load(tmp_path / "t")
    assert load(tmp_path / "t", verify=False).executions[5] == 7
