"""History: the commands that were said, kept from one session to the next, for line mode and the full screen."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from traces.errors import InputError
from traces.replacing import replacing

FILE = Path("~/.local/state/relocscope/step_history")
MOST_LINES = 1000


def kept(file: Path | None) -> list[str]:
    """Return the lines of last time, oldest first; none where nothing can be read."""
    if file is None:
        return []
    with suppress(OSError, UnicodeDecodeError):
        return [line for line in file.expanduser().read_text(encoding="utf-8").splitlines() if line][-MOST_LINES:]
    return []


def keep(file: Path | None, lines: Sequence[str]) -> None:
    """Keep them for the next time, if they can be."""
    if file is not None:
        with suppress(OSError, InputError):
            path = file.expanduser()
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as stream:
                stream.write("".join(f"{line}\n" for line in lines[-MOST_LINES:]).encode())
