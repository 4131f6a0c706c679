"""Reading what a person hands in: files, TOML tables, and one-line errors that name the file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from traces.errors import InputError
from traces.toml import parse_toml


@contextmanager
def named_input(name: str) -> Iterator[None]:
    """Put `name` (the file) before an InputError that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def known_keys(where: str, table: Any, known: frozenset[str], *, required: frozenset[str] = frozenset()) -> None:
    """Refuse a table with keys that nobody knows, or without those it must have."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: {table!r} must be a table with the keys {', '.join(sorted(known))}")
    for key in table:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; known: {', '.join(sorted(known))}")
    for key in sorted(required):
        if key not in table:
            raise InputError(f"{where}: {key!r} is missing")


def toml_tables(text: str, name: str, key: str) -> Sequence[Mapping[str, Any]]:
    """Return the array of tables `key` of a TOML document; InputError when there is none or the text is not TOML."""
    tables = parse_toml(text, name).get(key)
    if not isinstance(tables, list) or not tables:
        raise InputError(f"{name}: {key}: expected at least one [[{key}]] table")
    return tables


TEXT_MAX_BYTES = 64 << 20


def read_text(path: Path) -> str:
    """Return the text of a file that a person named; InputError when it cannot be read, is not text or has no end."""
    try:
        with path.open("rb") as stream:
            data = stream.read(TEXT_MAX_BYTES + 1)
        if len(data) > TEXT_MAX_BYTES:
            raise InputError(f"{path}: longer than {TEXT_MAX_BYTES} bytes")
        return data.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error
