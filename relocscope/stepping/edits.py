"""Edits: changes that a person makes to the machine by hand; the run goes on from there as if it had been so."""

import re

from relocscope.stepping import views, words
from relocscope.stepping.change import Change, read_register, register_bits
from relocscope.stepping.session import Session
from traces.errors import InputError
from traces.schema import PAGE_BYTES

_WORD_BYTES = 8


def set_value(session: Session, name: str, value: int) -> None:
    """Set a register, one field of one (`SCTLR_EL2.M`), or a 64-bit word of memory (`[ADDR]`)."""
    inside = re.fullmatch(r"\[(.+)\]", name)
    if inside:
        at = words.address(session, inside[1])
        set_memory(session, at, (value % (1 << 8 * _WORD_BYTES)).to_bytes(_WORD_BYTES, "little"))
        return
    number = words.register(name)
    if number is not None:
        set_register(session, "sp" if number == 31 else f"x{number}", value)
        return
    plain = name.lower().removeprefix("$")
    if plain in ("pc", "pstate", "fpcr", "fpsr") or re.fullmatch(r"v\d+", plain):
        set_register(session, plain, value)
        return
    register, _, field = name.partition(".")
    _set_system_register(session, register.upper(), field, value)


def set_register(session: Session, name: str, value: int) -> None:
    """Set a register by the names of `Change`; a negative value is its two's complement."""
    bits = register_bits(name)
    session.edit(Change(session.number, name, value % (1 << bits) if -(1 << bits - 1) <= value < 0 else value))


def _set_system_register(session: Session, register: str, field: str, value: int) -> None:
    from emu.fields import layout, with_fields

    e2h = session.machine.cpu.e2h
    old = read_register(session.machine, register)
    if field:
        names = {known.lower(): known for known in layout(register, e2h=e2h)}
        if field.lower() not in names:
            raise InputError(f"register {register}: no field {field!r}; fields: {', '.join(names.values())}")
        value = with_fields(register, old, e2h=e2h, **{names[field.lower()]: value})
    set_register(session, register, value)


def patch(session: Session, va: int, text: str) -> str:
    """Assemble one instruction or more over what is at `va`; return the words written, in hexadecimal."""
    from asm.assemble import assemble

    if va % 4:
        raise InputError(f"patch: {va:#x}: must be a multiple of 4")
    code = assemble(text.replace(";", "\n") + "\n", name="patch", va=va).code
    set_memory(session, va, code)
    return code.hex()


def set_memory(session: Session, va: int, data: bytes) -> None:
    """Write memory as the guest would see it here, page by page; all of it or, with an InputError, nothing."""
    parts, done = [], 0
    while done < len(data):
        at = va + done
        count = min(len(data) - done, PAGE_BYTES - at % PAGE_BYTES)
        pa = views.physical(session, at)
        if not session.memory.contains(pa, count):
            raise InputError(f"{at:#x}: pa {pa:#x} is not RAM")
        parts.append(Change(session.number, pa=pa, data=data[done : done + count]))
        done += count
    session.edit(*parts)
