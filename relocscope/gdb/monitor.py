"""Monitor: the session's own commands, as gdb's `monitor` says them."""

from collections.abc import Iterator

from relocscope.gdb.packets import MOST_BYTES
from relocscope.gdb.resuming import printed
from relocscope.stepping.commands import run
from relocscope.stepping.control import Control
from traces.errors import InputError

_MOVED = "gdb holds registers of where it was before: `maintenance flush register-cache` makes it read them anew"


def monitor(control: Control, line: str) -> Iterator[bytes]:
    """Carry out one command; yield its answer in packets. An error is one line."""
    before = control.session, control.session.number, control.session.changes
    try:
        answer = run(control, line)
    except InputError as error:
        yield printed(f"{' '.join(str(error).split())}\n")
        return
    text = "" if answer is None else f"{answer.text}\n"
    if before != (control.session, control.session.number, control.session.changes):
        text += f"{_MOVED}\n"
    if answer is not None and answer.over:
        text = "quit: `detach` leaves the session where it is, `kill` ends it\n"
    size = MOST_BYTES // 4
    for at in range(0, len(text), size):
        yield printed(text[at : at + size])
