"""The one exception that bad input raises, anywhere in Relocscope."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """What a person handed in is wrong. The message is one line: file or option, field, value, and the rule it breaks.

    The command line prints it on stderr and ends with status 2.
    """


@contextmanager
def named_input(name: str | Path) -> Iterator[None]:
    """Put `name` (a file, mostly) before an InputError that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
