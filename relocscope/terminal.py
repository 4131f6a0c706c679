"""Lines of plain text for a person: names in them come from others, and must not steer the terminal."""

import sys
from typing import IO

from traces.visible import visible_lines


def say(text: str, file: IO[str] | None = None) -> None:
    """Print a line, control characters in it as their numbers; to stdout unless told otherwise."""
    stream = file or sys.stdout
    stream.write(f"{visible_lines(text)}\n")
    stream.flush()
