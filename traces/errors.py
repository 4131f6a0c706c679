"""The one exception that bad input raises, anywhere in Relocscope."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from traces.visible import visible


class InputError(ValueError):
    """What a person handed in is wrong. The message is one line: file or option, field, value, and the rule it breaks.

    It stays one, whatever a file has put into the value: line breaks and other controls are shown as their numbers. The
    command line prints it on stderr and ends with status 2.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(visible(message))


@contextmanager
def named_input(name: str | Path) -> Iterator[None]:
    """Put `name` (a file, mostly) before an InputError that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
