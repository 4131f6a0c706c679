"""The one way in which Relocscope writes a file: complete under its name, or not there at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from traces.errors import InputError
from traces.reading import is_directory


@contextmanager
def replacing(path: str | os.PathLike[str], where: str = "") -> Iterator[IO[bytes]]:
    """Open a binary stream whose contents become the file `path` when the block ends.

    Until then they lie under a temporary name in the same directory, which is gone after any exception, Ctrl-C and
    SIGTERM included (relocscope.cli makes an exception of it). A symbolic link is followed where it belongs to this
    user or to root and leads to something; what is no regular file (a pipe, a terminal) is written to as it is.
    Whatever the system refuses is an InputError that names the file, and the option `where` it was given.
    """
    named = Path(path)
    shown = f"{where}: {named}" if where else str(named)
    if is_directory(named):
        raise InputError(f"{shown}: is a directory; name a file")
    _check_link(named, shown)
    try:
        if named.exists() and not named.is_file():
            with named.open("wb") as stream:
                yield stream
            return
        with _temporary(named.resolve()) as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{shown}: cannot be written: {error.strerror or error}") from None


def _check_link(named: Path, shown: str) -> None:
    """Refuse a link into nothing, which may mean any place, and one that somebody else has laid."""
    try:
        if not named.is_symlink():
            return
        if named.lstat().st_uid not in (os.geteuid(), 0):
            raise InputError(f"{shown}: is a symbolic link of another user, which is not followed")
        if not named.exists():
            raise InputError(f"{shown}: is a symbolic link to {named.readlink()}, which does not exist")
    except OSError as error:
        raise InputError(f"{shown}: cannot be written: {error.strerror}") from None


@contextmanager
def _temporary(target: Path) -> Iterator[IO[bytes]]:
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:200]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)  # what open() would have given; mkstemp gives 0600
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
