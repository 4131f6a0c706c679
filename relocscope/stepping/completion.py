"""Completion: what the word under the cursor may become, by the command that stands before it."""

from collections.abc import Iterable

from relocscope.stepping import looking, stop_words, stops
from relocscope.stepping.commands import COMMANDS, command_name
from relocscope.stepping.session import Session
from traces.errors import InputError
from traces.schema import MemoryType


def completions(session: Session, before: str, text: str) -> list[str]:
    """Return what may stand for `text`, in order, `before` being the line up to it."""
    said = before.split()
    if not said:
        known: Iterable[str] = COMMANDS
    else:
        try:
            name = command_name(said[0])
        except InputError:
            return []
        known = _after(session, name, said[1:])
    return [word for word in known if word.lower().startswith(text.lower())]


def _after(session: Session, name: str, said: list[str]) -> Iterable[str]:
    if name == "back" and said[:1] == ["until"]:
        name, said = "until", said[1:]
    if name in ("until", "break"):
        return _of_kind(session, said[-1]) if said else (*stop_words.KINDS, *session.symbols)
    if name == "watch":
        return ("va", "pa", *stops.ACCESSES) if len(said) > 1 else (*session.symbols, *_registers(session))
    if name in ("set", "sysregs"):
        return _registers(session)
    return _ARGUMENTS.get(name, session.symbols)


def _of_kind(session: Session, kind: str) -> Iterable[str]:
    """Return what may follow a kind of stop."""
    if kind in ("pc", "write"):
        return session.symbols if kind == "pc" else _registers(session)
    return {"miss": (*stops.LEVELS, *stops.TLBS), "type": tuple(each.label for each in MemoryType)}.get(kind, ())


def _registers(session: Session) -> list[str]:
    return [*(f"x{number}" for number in range(31)), "sp", "pc", "pstate", *session.machine.cpu.sysreg]


_ARGUMENTS: dict[str, Iterable[str]] = {
    "info": looking.TOPICS,
    "goto": ("insn", "cycle"),
    "back": ("until", "continue"),
    "help": COMMANDS,
    "save": (),
    "load": (),
    "export": (),
}
"""Of commands whose arguments are no addresses."""
