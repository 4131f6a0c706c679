"""Stepped: what is stepped, a case or a memory dump: its trace, and how to make its machine again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relocscope.case import functional_part
from relocscope.operand import Operand, Ram
from relocscope.runs import check_core, core_config, functional, start_of
from traces.errors import InputError

if TYPE_CHECKING:
    from asm.routines import Routine
    from caches.config import CoreConfig
    from emu.kimage import Kimage
    from emu.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A machine that has not run, and what is known of it."""

    machine: "Machine"
    stop_pa: int
    """The new kernel's first instruction, where the run ends."""
    kimage: "Kimage"


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """One run that can be made again as often as wanted."""

    name: str
    boot: str
    config: "CoreConfig"
    initial: str
    seed: int
    trace: "Trace"
    prepare: Callable[[], Ground]
    routines: "Sequence[Routine]" = ()
    """What runs in it, as far as it is known beforehand."""


def stepped_of(operand: Operand) -> Stepped:
    """Run it once. InputError for what can be replayed but not run again."""
    if operand.ram is not None:
        return _dump(operand, operand.ram)
    if operand.case is None:
        raise InputError(f"{operand.name}: a recorded trace holds no registers or memory; step the case itself")
    return _case(operand)


def _case(operand: Operand) -> Stepped:
    from emu.scenario import prepare
    from relocscope.emulate import scenario

    case, config = operand.case, core_config(operand)
    assert case is not None  # noqa: S101 - the caller's condition
    check_core(case.boot, case.granule_bytes, config)
    described = scenario(case)

    def ground() -> Ground:
        guest = prepare(described)
        return Ground(guest.machine(), described.end_pa, guest.kimage)

    trace = functional(functional_part(case))
    routines = (described.relocate, described.soft_restart, described.hyp_stub, described.kexec_vectors)
    known = [routine for routine in (*routines, described.purgatory) if routine is not None]
    return Stepped(operand.name, case.boot, config, case.initial, case.seed, trace, ground, known)


def _dump(operand: Operand, ram: Ram) -> Stepped:
    from relocscope.emulate import ram_guest

    guest, config = ram_guest(ram), core_config(operand)
    check_core(guest.boot.value, guest.page_bytes, config)
    initial, seed = start_of(operand)

    def ground() -> Ground:
        again = ram_guest(ram)
        return Ground(again.machine, again.entry_pa, again.kimage)

    return Stepped(operand.name, guest.boot.value, config, initial, seed, guest.run().trace, ground, (guest.routine,))
