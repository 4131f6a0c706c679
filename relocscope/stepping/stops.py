"""Stops: what a run can be made to stop for, found in its trace or by its model, forwards or backwards.

A stop is before the instruction that does it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relocscope.stepping.session import Session
from traces.errors import InputError
from traces.expand import execution_epochs
from traces.schema import PAGE_BYTES, Access, Mark, MemoryType
from traces.search import (
    Condition,
    Places,
    at_address,
    beginning,
    first_after,
    instructions,
    last_before,
    overlapping,
    touching,
)
from traces.trace import Records, Trace

if TYPE_CHECKING:
    from caches.replaying import Replay

LEVELS = ("l1d", "l2", "l3", "l1i")
_MOVES_DATA = (Access.LOAD, Access.STORE, Access.LOAD_STORE, Access.ZERO)
_STORES = (Access.STORE, Access.LOAD_STORE, Access.ZERO)
ACCESSES: Mapping[str, Sequence[Access]] = {
    "access": tuple(Access),
    "read": (Access.LOAD, Access.LOAD_STORE),
    "write": _STORES,
}
"""What a watchpoint may wait for; `access` is also prefetches and maintenance by address."""
TLBS = ("dtlb", "itlb", "l2tlb")


@dataclass(frozen=True, slots=True)
class Stop:
    """One thing to stop for. Just one of `condition` (of the trace) and `count` (of the model) is there."""

    words: str
    said: str = ""
    """The command that sets it, wherever the session stands then."""
    condition: Condition | None = None
    count: "Callable[[Replay], int] | None" = None
    va: int | None = None
    """Of a stop at one instruction: where that is."""

    def after(self, session: Session, number: int, end: int) -> int | None:
        """Return the first instruction from `number` on, before `end`, that does it.

        The model may be left elsewhere.
        """
        place, until = session.timeline.place(number), session.timeline.place(end)
        found = None
        if self.condition is not None:
            found = first_after(session.trace, self.condition, place, until)
        elif self.count is not None:
            found = session.model.next_change(self.count, place, until)
        return None if found is None else session.timeline.number(*found)

    def before(self, session: Session, number: int, begin: int = 0) -> int | None:
        """Return the last instruction before `number`, from `begin` on, that does it; the model as with `after`."""
        place, since = session.timeline.place(number), session.timeline.place(begin)
        found = None
        if self.condition is not None:
            found = last_before(session.trace, self.condition, place, since)
        elif self.count is not None:
            found = session.model.last_change(self.count, place, since)
        return None if found is None else session.timeline.number(*found)


def at_pc(va: int) -> Stop:
    """Stop at the instruction at an address."""
    return Stop(f"the instruction at {va:#x}", f"break pc {va:#x}", at_address(va), va=va)


def at_level(el: int) -> Stop:
    """Stop at the first instruction at an exception level, each time that it is come to."""
    if el not in (0, 1, 2):
        raise InputError(f"el {el}: must be 0, 1 or 2")

    def arrives(trace: Trace, marks: Records) -> NDArray[np.bool_]:
        levels, rows = trace.epochs["el"], marks["a"].astype(np.int64)
        here: NDArray[np.bool_] = (levels[rows] == el) & (levels[np.maximum(rows - 1, 0)] != el)
        return here

    return Stop(f"EL{el}", f"break el {el}", beginning([Mark.EPOCH], arrives))


def at_device() -> Stop:
    """Stop at a load or store of Device memory of any kind."""
    return Stop(
        "a load or store of Device memory",
        "break device",
        touching(lambda table: (table["memory_type"] <= MemoryType.DEVICE_GRE) & np.isin(table["access"], _MOVES_DATA)),
    )


def of_type(name: str) -> Stop:
    """Stop at an access of one memory type, by Arm's name."""
    kinds = {kind.label.lower(): kind for kind in MemoryType}
    if name.lower() not in kinds:
        raise InputError(f"{name}: no memory type; {', '.join(kind.label for kind in MemoryType)}")
    kind = kinds[name.lower()]
    what = f"a {kind.label} access"
    return Stop(what, f"break type {kind.label}", touching(lambda table: table["memory_type"] == kind))


def at_access(start: int, size: int, field: str = "va", kind: str = "access") -> Stop:
    """Stop at an access to memory, by `pa` or by `va`: one of `ACCESSES`."""
    if size <= 0:
        raise InputError(f"length {size}: must be positive")
    inside, kinds = overlapping(start, size, field), ACCESSES[kind]
    what = f"{'an' if kind == 'access' else 'a'} {kind} of {field} {start:#x}+{size:#x}"
    said = f"watch {start:#x} {size} {field} {kind}"
    return Stop(what, said, touching(lambda table: inside(table) & np.isin(table["access"], kinds)))


def writing_register(number: int) -> Stop:
    """Stop at what writes X0..X30 or SP (31)."""
    name = "sp" if number == 31 else f"x{number}"
    return Stop(
        f"a write of {name}",
        f"watch {name}",
        instructions(lambda insns: (insns["dst"] == number).any(axis=1)),
    )


def writing_system_register(name: str) -> Stop:
    """Stop at an msr that writes a system register, by Arm's name: what E2H = 1 makes of names at EL2 is followed."""
    from emu.registers import E2H_ALIASES, E2H_REDIRECTED, SYSTEM_REGISTERS, encoding

    register = name.upper()
    encoding(register)  # so that an unknown name is refused
    plainly = _msr_of([register])
    meant = {each: E2H_REDIRECTED.get(each) or E2H_ALIASES.get(each, each) for each in SYSTEM_REGISTERS}
    with_e2h = _msr_of([each for each, what in meant.items() if what == register])

    def places(trace: Trace, start: int, stop: int) -> Places:
        epochs = trace.epochs[execution_epochs(trace, start, stop)]
        redirected = (epochs["el"] == 2) & (epochs["e2h"] == 1)
        found = [
            rows[redirected[rows[:, 0] - start] == under]
            for rows, under in ((plainly(trace, start, stop), False), (with_e2h(trace, start, stop), True))
        ]
        return np.unique(np.concatenate(found), axis=0)

    return Stop(f"a write of {register}", f"watch {register}", places)


def _msr_of(names: Sequence[str]) -> Condition:
    from emu.registers import encoding

    found = [encoding(name) for name in names]
    words = [0xD500_0000 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 for crn, crm, op0, op1, op2 in found]
    return instructions(lambda insns: np.isin(insns["word"] & ~np.uint32(31), words))


def at_regime() -> Stop:
    """Stop at a new translation regime, or new tables or code under the present one."""
    return Stop("a change of regime", "break regime", beginning([Mark.EPOCH]))


def at_exception() -> Stop:
    """Stop at the first instruction after an exception."""
    return Stop("an exception", "break exception", beginning([Mark.EXCEPTION]))


def at_miss(part: str) -> Stop:
    """Stop at a miss in a cache or a TLB."""
    if part not in (*LEVELS, *TLBS):
        raise InputError(f"{part}: no cache and no TLB; {', '.join((*LEVELS, *TLBS))}")
    return Stop(f"a miss in {part}", f"break miss {part}", count=lambda replay: replay.count(part, "misses"))


def at_walk() -> Stop:
    """Stop at a table walk."""
    return Stop("a table walk", "break walk", count=lambda replay: replay.count("walk", "walks"))


def at_page(session: Session, page: int) -> Stop:
    """Stop at the first store to that page of the image, counted in the order in which the run stores them."""
    pages = len(session.kimage.sources)
    if not 0 <= page < pages:
        raise InputError(f"page {page}: the image has {pages}")

    def places(trace: Trace, start: int, stop: int) -> Places:
        stored, executions = session.page_starts
        first = int(executions[page]) if page < len(stored) else stop
        if not start <= first < stop:
            return np.zeros((0, 2), np.int64)
        inside = overlapping(int(stored[page]), PAGE_BYTES)
        within = touching(lambda table: inside(table) & np.isin(table["access"], _STORES))
        return within(trace, first, first + 1)[:1]

    return Stop(f"the first store to page {page}", f"break page {page}", places)


def at_stale() -> Stop:
    """Stop where stale data are read."""
    return Stop("stale data are read", "break stale", count=lambda replay: replay.count("truth", "stale"))


def at_lost() -> Stop:
    """Stop where dirty data are lost."""
    return Stop("dirty data are lost", "break lost", count=lambda replay: replay.count("truth", "lost"))


def at_fault() -> Stop:
    """Stop at an exception that the guest did not ask for."""

    def unmeant(trace: Trace, marks: Records) -> NDArray[np.bool_]:
        faults: NDArray[np.bool_] = trace.exceptions["meant"][marks["a"].astype(np.int64)] == 0
        return faults

    return Stop("a fault", "break fault", beginning([Mark.EXCEPTION], unmeant))


def outside(session: Session, name: str) -> Stop:
    """Stop at the first instruction that belongs to another symbol than that one."""
    named = sorted((va, each) for each, va in session.symbols.items() if not each.startswith(".L"))
    start = session.symbols[name]
    end = min((va for va, _ in named if va > start), default=start + 4096)
    low, high = np.uint64(start), np.uint64(end)
    return Stop(f"the end of {name}", condition=instructions(lambda insns: (insns["va"] < low) | (insns["va"] >= high)))
