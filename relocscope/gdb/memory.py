"""Memory as gdb asks for it: by the address that the PE would use where it stands."""

from relocscope.stepping import views
from relocscope.stepping.edits import set_memory
from relocscope.stepping.session import Session
from traces.errors import InputError
from traces.schema import PAGE_BYTES

_ADDRESSES = 1 << 64


def read(session: Session, va: int, size: int) -> bytes:
    """Return as much of [va, va + size) as can be read from its start on; nothing where no byte can."""
    found, end = bytearray(), min(va + size, _ADDRESSES)
    while va + len(found) < end:
        at = va + len(found)
        try:
            found += views.memory(session, at, min(end, (at // PAGE_BYTES + 1) * PAGE_BYTES) - at)
        except InputError:
            break
    return bytes(found)


def write(session: Session, va: int, data: bytes) -> None:
    """Write all of it, or nothing and raise InputError. What is there already is no change."""
    if data and views.memory(session, va, len(data)) != data:
        set_memory(session, va, data)
