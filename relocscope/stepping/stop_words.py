"""Stop words: what `until`, `break` and `back until` name, as stops."""

from collections.abc import Callable

from relocscope.stepping import stops, words
from relocscope.stepping.control import Words
from relocscope.stepping.session import Session
from relocscope.stepping.stops import Stop
from traces.errors import InputError


def stop_of(session: Session, said: Words) -> tuple[Stop, ...]:
    """Read what `until`, `break` and `back until` name: el N, pc ADDR, device, miss LEVEL, ... or an address."""
    kind, rest = _completed(session, said), list(said[1:])
    if kind in _EVENTS and not rest:
        return _EVENTS[kind]()
    if kind in _NAMED and len(rest) == 1:
        return (_NAMED[kind](session, rest[0]),)
    if kind == "write" and len(rest) == 1:
        return (write_of(rest[0]),)
    if not rest and (kind not in _NAMED or kind == "pc"):
        return (stops.at_pc(words.address(session, kind)),)
    known = [*_EVENTS, *(f"{name} X" for name in _NAMED), "write REGISTER", "ADDR"]
    raise InputError(f"{' '.join(said)}: not known; one of {', '.join(known)}")


def _completed(session: Session, said: Words) -> str:
    """Return the first word whole: any unambiguous prefix of a kind of stop will do; symbols and numbers stay."""
    text = said[0]
    if text in KINDS or text in session.symbols or text[:1].isdigit() or words.register(text) is not None:
        return text
    fitting = [kind for kind in KINDS if kind.startswith(text.lower()) and (kind in _EVENTS) == (len(said) == 1)]
    return fitting[0] if len(fitting) == 1 else text


def stop_said(session: Session, text: str) -> Stop:
    """Return the one stop that a command sets (`Stop.said`)."""
    command, *said = text.split()
    if command == "watch" and said:
        return watched(session, said)
    found = stop_of(session, said) if command == "break" and said else ()
    if len(found) != 1:
        raise InputError(f"{text}: sets no stop")
    return found[0]


def watched(session: Session, said: Words) -> Stop:
    """Read what `watch` names: a register, or ADDR LEN with the kind of address and of access."""
    if len(said) == 1:
        return write_of(said[0])
    space, kind = "va", "access"
    for word in said[2:]:
        if word.lower() in ("va", "pa"):
            space = word.lower()
        else:
            kind = words.one_of(word, tuple(stops.ACCESSES), "watch: va, pa, or")
    return stops.at_access(words.address(session, said[0]), words.number(said[1], "length"), space, kind)


def write_of(name: str) -> Stop:
    """Return the stop for writes of a register, general or of the system."""
    known = words.register(name)
    return stops.writing_system_register(name) if known is None else stops.writing_register(known)


_EVENTS: dict[str, Callable[[], tuple[Stop, ...]]] = {
    "device": lambda: (stops.at_device(),),
    "hazard": lambda: (stops.at_stale(), stops.at_lost(), stops.at_fault()),
    "stale": lambda: (stops.at_stale(),),
    "lost": lambda: (stops.at_lost(),),
    "fault": lambda: (stops.at_fault(),),
    "regime": lambda: (stops.at_regime(),),
    "exception": lambda: (stops.at_exception(),),
    "walk": lambda: (stops.at_walk(),),
}
_NAMED: dict[str, Callable[[Session, str], Stop]] = {
    "el": lambda _, text: stops.at_level(words.number(text, "el")),
    "pc": lambda session, text: stops.at_pc(words.address(session, text)),
    "miss": lambda _, text: stops.at_miss(text.lower()),
    "page": lambda session, text: stops.at_page(session, words.number(text, "page")),
    "type": lambda _, text: stops.of_type(text),
}

KINDS = (*_EVENTS, *_NAMED, "write")
"""First words of what a run can be made to stop for, beside addresses."""
