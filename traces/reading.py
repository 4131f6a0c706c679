"""The one way in which Relocscope reads a file that a person named: bounded, and refused in one line."""

import os
import stat
from pathlib import Path

from traces.errors import InputError

TEXT_MAX_BYTES = 64 << 20
"""Of a text whose kind has no bound of its own."""


def read_bytes(path: Path, most_bytes: int, *, where: str = "") -> bytes:
    """Return all that is in a file, or comes out of a pipe.

    InputError, after the option `where` it was given, for what cannot be read or is longer than `most_bytes`.
    """
    shown = f"{where}: {path}" if where else str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(most_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > most_bytes:
        raise InputError(f"{shown}: longer than {most_bytes} bytes")
    return data


def is_file(path: str | Path) -> bool:
    """Whether a regular file has that name; no for what cannot be a name (too long, a NUL), where pathlib raises."""
    return os.path.isfile(path)  # noqa: PTH113


def is_there(path: str | Path) -> bool:
    """Whether anything has that name; the same of what cannot be one."""
    return os.path.exists(path)  # noqa: PTH110


def is_directory(path: str | Path) -> bool:
    """Whether it is a directory; the same of what cannot be a name."""
    return os.path.isdir(path)  # noqa: PTH112


def read_text(path: Path, most_bytes: int = TEXT_MAX_BYTES) -> str:
    """Return the text of a file, CR LF as LF; InputError as of `read_bytes`, and for what is not UTF-8."""
    try:
        return read_bytes(path, most_bytes).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None


def regular_size(path: Path) -> int:
    """Return the bytes of a file that is to be mapped; InputError if it cannot be: not regular, or empty.

    Nothing is opened: opening a FIFO would wait for its writer.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a regular file")
    if not status.st_size:
        raise InputError(f"{path}: empty file")
    return status.st_size
