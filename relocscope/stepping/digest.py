"""Digest: what a session's guest and model are at a place, as hashes: equal if and only if the states are."""

import hashlib
from collections.abc import Iterator

from relocscope.stepping.change import read_register
from relocscope.stepping.session import Session
from traces.schema import PAGE_BYTES, Role

_REGISTERS = (
    *(f"x{number}" for number in range(31)),
    *("sp", "pc", "pstate"),
    *(f"v{number}" for number in range(32)),
    *("fpcr", "fpsr"),
)
_LEFT_OUT = {"CNTPCT_EL0", "CNTVCT_EL0", "MDSCR_EL1"}
"""The first two run with the host's clock; Unicorn complains where the third is read."""

_PIECE_BYTES = 1 << 22


def guest_digest(session: Session) -> str:
    """Hash registers, general and of the system, and all memory that has a part in the run."""
    machine, found = session.machine, hashlib.sha256()
    names = [*_REGISTERS, *(name for name in machine.cpu.sysreg if name not in _LEFT_OUT)]
    found.update(" ".join(f"{name}={read_register(machine, name):x}" for name in names).encode())
    for pa, size in _ranges(session):
        for at in range(pa, pa + size, _PIECE_BYTES):
            found.update(session.memory.read(at, min(_PIECE_BYTES, pa + size - at)))
    return found.hexdigest()


def model_digest(session: Session) -> str:
    """Hash all that the timing model remembers and counts."""
    return session.model.replay.digest()


def _ranges(session: Session) -> Iterator[tuple[int, int]]:
    ranges = session.trace.ranges
    for row in ranges[ranges["role"] != Role.RAM]:
        pa, size = int(row["pa"]), int(row["size"])
        if session.memory.contains(pa, size):
            yield pa, size
    for page in sorted({page for change in session.changes for page in change.pages}):
        yield page, PAGE_BYTES
