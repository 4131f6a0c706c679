"""Words: numbers, addresses and registers as a person writes them in a command."""

import re
from collections.abc import Sequence

from relocscope.stepping.session import Session
from traces.errors import InputError

_MASK64 = (1 << 64) - 1


def number(text: str, what: str = "number") -> int:
    """Read a whole number, decimal or 0x hexadecimal."""
    try:
        return int(text.replace("_", ""), 0)
    except ValueError:
        raise InputError(f"{what} {text!r}: must be a whole number, decimal or 0x...") from None


def one_of(text: str, known: Sequence[str], where: str) -> str:
    """Complete a word of which any unambiguous prefix will do."""
    fitting = [text] if text in known else [word for word in known if word.startswith(text.lower())]
    if len(fitting) != 1:
        raise InputError(f"{where}: {text}: must be {', '.join(known[:-1])} or {known[-1]}")
    return fitting[0]


def value(session: Session, text: str) -> int:
    """Read what a register is to hold: a number, or whatever an address can be written as."""
    is_number = text[:1] == "-" or (text[:1].isdigit() and text.isalnum())
    return number(text, "value") if is_number else address(session, text)


def count(text: str | None) -> int:
    """Read how often; 1 where nothing is said."""
    value = 1 if text is None else number(text, "count")
    if value < 1:
        raise InputError(f"count {value}: must be at least 1")
    return value


def register(text: str) -> int | None:
    """Return the number of X0..X30, 31 for SP; None where it is no such name."""
    name = text.lower().removeprefix("$")
    if name in ("sp", "lr"):
        return 31 if name == "sp" else 30
    found = re.fullmatch(r"x(\d{1,2})", name)
    return int(found[1]) if found and int(found[1]) <= 30 else None


def address(session: Session, text: str) -> int:
    """Read an address: a number, a register, `pc`, a symbol, or one of these and + or - a number."""
    base, sign, rest = text, "", ""
    found = re.fullmatch(r"(.+?)([+-])((?:0x)?[0-9a-fA-F_]+)", text)
    if found and text not in session.symbols:
        base, sign, rest = found.groups()
    offset = number(rest, "offset") if rest else 0
    return (_base(session, base) + (-offset if sign == "-" else offset)) & _MASK64


def _base(session: Session, text: str) -> int:
    known = register(text)
    if known is not None:
        return session.machine.cpu.x[known]
    if text.lower() in ("pc", "$pc"):
        return session.pc
    if text in session.symbols:
        return int(session.symbols[text])
    if text[:1].isdigit():
        return number(text, "address") & _MASK64
    near = [name for name in session.symbols if text and name.startswith(text[:3])][:4]
    hint = f"; symbols: {', '.join(near)}" if near else ""
    raise InputError(f"address {text!r}: no number, register or symbol{hint}")
