"""Trace files: one zip container of a JSON header and chunked .npy members (docs/trace.md).

Nothing is pickled and nothing is extracted to disk. Writing streams and ends in one rename, so that a file is either
complete or absent; reading checks every claim of the file before it allocates for it.
"""

import ast
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from traces.check import ARRAYS, check
from traces.errors import InputError
from traces.reading import regular_size
from traces.replacing import replacing
from traces.schema import SCHEMA_VERSION
from traces.trace import Trace

FORMAT = "relocscope-trace"
VERSION = 1

CHUNK_BYTES = 8 << 20
"""Bytes of one member before compression: what writing and reading hold beside the arrays themselves."""

HEADER_LIMIT_BYTES = 16 << 20
"""More than any run's facts need; a longer header is refused before it is parsed."""

TRACE_LIMIT_BYTES = 8 << 30
"""Largest total of arrays that `load` allocates unless told otherwise."""

DEFLATE_RATIO = 1040
"""Deflate cannot do better than 1032:1; a file that claims more is lying about its contents."""

_NPY_PREFIX_LIMIT = 8192
_HEADER = "header.json"
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError, OverflowError,
            UnicodeDecodeError)  # fmt: skip
"""What `zipfile` raises over a container that is none, damaged or of a kind that it does not know."""
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)  # no clock in the file: equal traces give equal bytes


def save(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write the trace to `path`, replacing what is there only once everything is written."""
    with replacing(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, True, 1) as container:
        _add(container, _HEADER, json.dumps(_header(trace), allow_nan=False).encode())
        for name, dtype in ARRAYS.items():
            for chunk, rows in enumerate(_pieces(len(getattr(trace, name)), dtype)):
                with container.open(_info(_member(name, chunk)), "w", force_zip64=True) as member:
                    npy.write_array(member, getattr(trace, name)[rows], version=(1, 0), allow_pickle=False)


def load(path: str | os.PathLike[str], *, verify: bool = True, limit_bytes: int = TRACE_LIMIT_BYTES) -> Trace:
    """Read the trace of that file. Any damage, claim or version that does not hold raises InputError.

    With `verify` the trace also keeps every promise of `traces.check`; leave it out only to look at what is broken.
    """
    source = Path(path)
    regular_size(source)  # a zip is read from its end, which a pipe or a device has not
    try:
        with zipfile.ZipFile(source) as container:
            trace = _read(source, container, limit_bytes)
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror or error}") from None
    except _DAMAGED as error:
        raise InputError(f"{source}: not a complete trace file: {_one_line(error)}") from None
    if verify:
        broken = check(trace)
        if broken:
            raise InputError(f"{source}: {broken[0]}")
    return trace


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the header alone: format, versions, rows of each array, meta."""
    source = Path(path)
    regular_size(source)  # a zip is read from its end, which a pipe or a device has not
    try:
        with zipfile.ZipFile(source) as container:
            return _read_header(source, container)
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror or error}") from None
    except _DAMAGED as error:
        raise InputError(f"{source}: not a complete trace file: {_one_line(error)}") from None


def _header(trace: Trace) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "schema": SCHEMA_VERSION,
        "arrays": {name: {"rows": len(getattr(trace, name)), "row_bytes": d.itemsize} for name, d in ARRAYS.items()},
        "meta": dict(trace.meta),
    }


def _member(name: str, chunk: int) -> str:
    return f"{name}/{chunk:06d}.npy"


def _pieces(rows: int, dtype: np.dtype[Any]) -> Iterator[slice]:
    step = max(1, CHUNK_BYTES // dtype.itemsize)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH_OF_ZIP)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    if hasattr(info, "compress_level"):
        info.compress_level = 1
    else:  # the attribute was private before Python 3.13
        info._compresslevel = 1  # type: ignore[attr-defined,unused-ignore]
    return info


def _add(container: zipfile.ZipFile, name: str, data: bytes) -> None:
    container.writestr(_info(name), data)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read_header(source: Path, container: zipfile.ZipFile) -> dict[str, Any]:
    try:
        info = container.getinfo(_HEADER)
    except KeyError:
        raise InputError(f"{source}: not a trace file: it has no {_HEADER}") from None
    with container.open(info) as member:
        text = member.read(HEADER_LIMIT_BYTES + 1)
    if len(text) > HEADER_LIMIT_BYTES:
        raise InputError(f"{source}: {_HEADER}: longer than {HEADER_LIMIT_BYTES} bytes")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: {_HEADER}: not JSON: {_one_line(error)}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{source}: {_HEADER}: format: must be {FORMAT!r}")
    for field, ours in (("version", VERSION), ("schema", SCHEMA_VERSION)):
        theirs = header.get(field)
        if not isinstance(theirs, int) or isinstance(theirs, bool):
            raise InputError(f"{source}: {_HEADER}: {field}: must be a number")
        if theirs != ours:
            age, remedy = ("newer", "") if theirs > ours else ("older", ": record the trace again")
            raise InputError(f"{source}: {field} {theirs} is {age} than the {ours} that this Relocscope reads{remedy}")
    if not isinstance(header.get("meta"), dict):
        raise InputError(f"{source}: {_HEADER}: meta: must be an object")
    return header


def _rows(source: Path, header: Mapping[str, Any], limit_bytes: int, file_bytes: int) -> dict[str, int]:
    """Read the claimed number of rows of each array, known to be numbers and to fit the limits."""
    claims = header.get("arrays")
    if not isinstance(claims, dict) or set(claims) != set(ARRAYS):
        raise InputError(f"{source}: {_HEADER}: arrays: must name {', '.join(ARRAYS)}")
    rows: dict[str, int] = {}
    for name, dtype in ARRAYS.items():
        claim = claims[name]
        count = claim.get("rows") if isinstance(claim, dict) else None
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise InputError(f"{source}: {_HEADER}: arrays.{name}.rows: must be a number of rows, not {count!r:.40}")
        if claim.get("row_bytes") != dtype.itemsize:
            rule = f"must be {dtype.itemsize} in schema {SCHEMA_VERSION}"
            raise InputError(f"{source}: {_HEADER}: arrays.{name}.row_bytes: {rule}")
        rows[name] = count
    total = sum(count * ARRAYS[name].itemsize for name, count in rows.items())
    if total > limit_bytes:
        raise InputError(f"{source}: holds {total} bytes of records, more than the limit of {limit_bytes}")
    if total > DEFLATE_RATIO * file_bytes:
        raise InputError(f"{source}: claims {total} bytes of records, more than {file_bytes} compressed bytes can hold")
    return rows


def _read(source: Path, container: zipfile.ZipFile, limit_bytes: int) -> Trace:
    header = _read_header(source, container)
    rows = _rows(source, header, limit_bytes, source.stat().st_size)
    expected = {_HEADER} | {
        _member(name, chunk) for name, dtype in ARRAYS.items() for chunk, _ in enumerate(_pieces(rows[name], dtype))
    }
    names = container.namelist()
    if sorted(names) != sorted(expected):
        odd = sorted(set(names) ^ expected) or sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"{source}: its members must be those of its header; {odd[0]!r:.80} is not")
    arrays = {name: _read_array(source, container, name, dtype, rows[name]) for name, dtype in ARRAYS.items()}
    return Trace(**arrays, meta=header["meta"])


def _read_array(
    source: Path, container: zipfile.ZipFile, name: str, dtype: np.dtype[Any], rows: int
) -> np.ndarray[Any, Any]:
    array = np.empty(rows, dtype)
    for chunk, piece in enumerate(_pieces(rows, dtype)):
        member = _member(name, chunk)
        into = array[piece]
        if container.getinfo(member).file_size > into.nbytes + _NPY_PREFIX_LIMIT:
            raise InputError(f"{source}: {member}: longer than the rows that its header claims")
        with container.open(member) as stream:
            _read_member(f"{source}: {member}", stream, into)
    return array


def _read_member(where: str, stream: IO[bytes], into: np.ndarray[Any, Any]) -> None:
    descr, fortran, shape = _prefix(where, stream)
    if (descr, fortran, shape) != (npy.dtype_to_descr(into.dtype), False, into.shape):
        raise InputError(f"{where}: must hold {len(into)} rows of its record type")
    view = memoryview(into.view(np.uint8).data)
    filled = 0
    while filled < len(view):
        data = stream.read(min(len(view) - filled, 1 << 20))
        if not data:
            raise InputError(f"{where}: ends after {filled} of {len(view)} bytes")
        view[filled : filled + len(data)] = data
        filled += len(data)
    if stream.read(1):  # also makes zipfile compare the checksum, which it does at the end only
        raise InputError(f"{where}: longer than the rows that its header claims")


def _prefix(where: str, stream: IO[bytes]) -> tuple[Any, Any, Any]:
    """Read what a version 1.0 .npy member says of itself. NumPy's own reader evaluates and tokenizes more than this."""
    start = stream.read(10)
    if start[:8] != npy.magic(1, 0) or len(start) < 10:
        raise InputError(f"{where}: must be a version 1.0 .npy member")
    try:
        claim = ast.literal_eval(stream.read(int.from_bytes(start[8:], "little")).decode("latin1"))
        return claim["descr"], claim["fortran_order"], claim["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise InputError(f"{where}: its .npy header is damaged") from None
