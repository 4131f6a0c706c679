"""Stop words: what `until`, `break` and `back until` name, as stops."""

from collections.abc import Callable

from relocscope.stepping import stops, words
from relocscope.stepping.control import Words
from relocscope.stepping.session import Session
from relocscope.stepping.stops import Stop
from traces.errors import InputError


def stop_of(session: Session, said: Words) -> tuple[Stop, ...]:
    """Read what `until`, `break` and `back until` name: el N, pc ADDR, device, miss LEVEL, ... or an address."""
    kind, rest = said[0], list(said[1:])
    if kind in _EVENTS and not rest:
        return _EVENTS[kind]()
    if kind in _NAMED and len(rest) == 1:
        return (_NAMED[kind](session, rest[0]),)
    if kind == "write" and len(rest) == 1:
        return (write_of(rest[0]),)
    if not rest and kind not in _NAMED:
        return (stops.at_pc(words.address(session, kind)),)
    known = [*_EVENTS, *(f"{name} X" for name in _NAMED), "write REGISTER", "ADDR"]
    raise InputError(f"{' '.join(said)}: not known; one of {', '.join(known)}")


def write_of(name: str) -> Stop:
    """Return the stop for writes of a register, general or of the system."""
    known = words.register(name)
    return stops.writing_system_register(name) if known is None else stops.writing_register(known)


_EVENTS: dict[str, Callable[[], tuple[Stop, ...]]] = {
    "device": lambda: (stops.at_device(),),
    "hazard": stops.at_hazard,
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
