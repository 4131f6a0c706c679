"""Resuming: what steps and continues of gdb's do, forwards and back, and the stop replies that answer them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from relocscope.gdb.description import Register
from relocscope.stepping import views
from relocscope.stepping.change import Change
from relocscope.stepping.control import Control
from relocscope.stepping.seeking import Reached, ahead, behind
from relocscope.stepping.session import Session
from relocscope.stepping.stops import Stop

_TRAP, _INTERRUPT = b"T05", b"T02"


@dataclass(frozen=True, slots=True)
class GdbStop:
    """A breakpoint or watchpoint of gdb's, or one that `monitor` has set."""

    stop: Stop
    reason: str
    """What a stop reply says of it; empty for what gdb knows nothing of."""
    is_watch: bool = False


def stopped(reason: str = "", signal: bytes = _TRAP) -> bytes:
    """Write a stop reply."""
    return signal + (f"{reason}{'' if ':' in reason else ':'};" if reason else "").encode() + b"thread:1;"


def step(control: Control, pc: int | None) -> Iterator[bytes]:
    """Execute one instruction."""
    session = control.session
    _go_on_from(session, pc)
    if session.at_end:
        yield from _at_end(session)
        return
    session.go(session.number + 1)
    yield stopped()


def step_back(control: Control) -> Iterator[bytes]:
    """Undo one instruction."""
    session = control.session
    if session.number == 0:
        yield stopped("replaylog:begin")
        return
    session.go(session.number - 1)
    yield stopped()


def continue_(
    control: Control, stops: Sequence[GdbStop], interrupted: Callable[[], bool], pc: int | None
) -> Iterator[bytes]:
    """Go on to the next stop, or the end. Stops of gdb's hold at once, those of `monitor` from the next instruction on.

    A watchpoint stops before the instruction that does it, as AArch64's do; gdb then steps over it.
    """
    session = control.session
    _go_on_from(session, pc)
    number, end = session.number, session.timeline.end
    here = [each for each in stops if each.reason and number < end]
    found = next((each for each in here if each.stop.after(session, number, number + 1) is not None), None)
    if found is not None:
        session.go(number)
        yield stopped(found.reason)
        return
    reached = ahead(session, [each.stop for each in stops], min(number + 1, end), interrupted)
    session.go(reached.number)
    if reached.stop is None and not reached.interrupted:
        yield from _at_end(session)
        return
    yield from _arrived(reached, stops)


def continue_back(control: Control, stops: Sequence[GdbStop], interrupted: Callable[[], bool]) -> Iterator[bytes]:
    """Go back to the last stop, or the start.

    A watchpoint stops behind the instruction that does it: gdb steps over it, backwards, and finds the old value.
    """
    session = control.session
    reached = behind(session, [each.stop for each in stops], session.number, interrupted)
    behind_it = reached.stop is not None and stops[reached.stop].is_watch
    session.go(reached.number + behind_it)
    if reached.stop is None and not reached.interrupted:
        yield stopped("replaylog:begin")
        return
    yield from _arrived(reached, stops)


def set_registers(session: Session, wanted: Sequence[tuple[Register, bytes]]) -> None:
    """Set registers by hand, where they differ from what is wanted."""
    changes = [
        Change(session.number, register.ours, int.from_bytes(value, "little"))
        for register, value in wanted
        if register.read(session.machine) != value
    ]
    if changes:
        session.edit(*changes)


def _go_on_from(session: Session, pc: int | None) -> None:
    if pc is not None and pc != session.pc:
        session.edit(Change(session.number, "pc", pc))


def _arrived(reached: Reached, stops: Sequence[GdbStop]) -> Iterator[bytes]:
    if reached.stop is None:
        yield stopped(signal=_INTERRUPT)
        return
    found = stops[reached.stop]
    if not found.reason:
        yield printed(f"stopped: {found.stop.words}\n")
    yield stopped(found.reason)


def _at_end(session: Session) -> Iterator[bytes]:
    yield printed(f"the end: {views.ending(session)}\n")
    yield stopped("replaylog:end")


def printed(text: str) -> bytes:
    """Write what gdb is to show its user."""
    return b"O" + text.encode().hex().encode()
