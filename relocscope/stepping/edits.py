"""Edits: changes that a person makes to the machine by hand; the run goes on from there as if it had been so."""

import re
from typing import TYPE_CHECKING

from relocscope.stepping import views, words
from relocscope.stepping.session import Session
from traces.errors import InputError

if TYPE_CHECKING:
    from emu.machine import Machine

_PAGE_BYTES = 4096


def set_value(session: Session, name: str, value: int) -> None:
    """Set X0..X30, SP, a system register, one field of one (`SCTLR_EL2.M`), or a 64-bit word of memory (`[ADDR]`)."""
    inside = re.fullmatch(r"\[(.+)\]", name)
    if inside:
        _write(session, words.address(session, inside[1]), (value % (1 << 64)).to_bytes(8, "little"))
        return
    number = words.register(name)
    if number is not None:
        session.edit(lambda machine: machine.cpu.x.__setitem__(number, value))
        return
    register, _, field = name.partition(".")
    _set_system_register(session, register.upper(), field, value)


def _set_system_register(session: Session, register: str, field: str, value: int) -> None:
    from emu.fields import layout, with_fields

    cpu = session.machine.cpu
    old = cpu.sysreg[register]
    if field:
        names = {known.lower(): known for known in layout(register, e2h=cpu.e2h)}
        if field.lower() not in names:
            raise InputError(f"register {register}: no field {field!r}; fields: {', '.join(names.values())}")
        value = with_fields(register, old, e2h=cpu.e2h, **{names[field.lower()]: value})

    def apply(machine: "Machine") -> None:
        machine.cpu.sysreg[register] = value
        machine.cpu.flush_tlb()

    session.edit(apply)


def patch(session: Session, va: int, text: str) -> str:
    """Assemble one instruction or more over what is at `va`; return the words written, in hexadecimal."""
    from asm.assemble import assemble

    if va % 4:
        raise InputError(f"patch: {va:#x}: must be a multiple of 4")
    code = assemble(text.replace(";", "\n") + "\n", name="patch", va=va).code
    _write(session, va, code)
    return code.hex()


def _write(session: Session, va: int, data: bytes) -> None:
    pa = views.physical(session, va)
    if pa % _PAGE_BYTES + len(data) > _PAGE_BYTES:
        raise InputError(f"{va:#x}: {len(data)} bytes cross a page")
    if not session.memory.contains(pa, len(data)):
        raise InputError(f"{va:#x}: pa {pa:#x} is not RAM")
    session.edit(lambda machine: machine.memory.write(pa, data), (pa // _PAGE_BYTES * _PAGE_BYTES,))
