"""A digest of everything that a stepping session is: the guest, the model, its counts and its cycles."""

import hashlib

from relocscope.stepping.session import Session
from traces.schema import Role


def model_digest(stepped: Session) -> str:
    """Everything that the model remembers and counts."""
    found = hashlib.sha256(repr((stepped.number, dict(stepped.last_bill), stepped.model.place)).encode())
    for name, array in sorted(stepped.model.replay.save().arrays.items()):
        if array.dtype.names and name == "words":
            pointers = {"blocks", "executions", "values"}
            for field in array.dtype.names:
                if field not in pointers:
                    found.update(array[field].tobytes())
        else:
            found.update(array.tobytes())
    return found.hexdigest()


def _watched(stepped: Session) -> list[str]:
    """All system registers but counters, that move by themselves."""
    return [name for name in sorted(set(stepped.machine.cpu.sysreg)) if not name.startswith("CNT")]


def guest_digest(stepped: Session) -> str:
    """Registers, general and of the system, and all memory that has a role."""
    cpu, found = stepped.machine.cpu, hashlib.sha256()
    found.update(repr([*cpu.x, cpu.pc, cpu.pstate, *(cpu.sysreg[name] for name in _watched(stepped))]).encode())
    for row in stepped.trace.ranges[stepped.trace.ranges["role"] != Role.RAM]:
        pa, size = int(row["pa"]), min(int(row["size"]), 1 << 18)
        if stepped.memory.contains(pa, size):
            found.update(stepped.memory.read(pa, size))
    return found.hexdigest()


def digest(stepped: Session) -> tuple[str, str, int]:
    return guest_digest(stepped), model_digest(stepped), stepped.cycles
