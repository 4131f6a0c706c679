"""The bench: the cases that hypotheses change, found from the one that was meant to be MMU-on."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relocscope.case import Case, shipped_case
from relocscope.hypotheses.experiments import at_el1
from relocscope.hypotheses.predict import LOOK_BYTES, Predictor
from relocscope.hypotheses.worlds import Setup, World, worlds
from traces.errors import InputError

if TYPE_CHECKING:
    from caches import CoreConfig
    from relocscope.runs import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Three cases and a core."""

    off: Case
    """With the MMU off, as kernels before 5.16 copy on the same boot path."""
    meant: Case
    """Copies in a regime that translates."""
    untranslated: Case
    """Copies at a level that does not: what was meant, without knowing it; `off` where the boot path has none."""
    config: "CoreConfig"

    def hypotheses(self) -> list[World]:
        """Return the sixteen."""
        found = worlds(self.off, self.meant, self.untranslated, self.config)
        return [_as_guest(world) if world.id == "stage2" else world for world in found]


def _as_guest(world: World) -> World:
    """Boot it at EL1: a virtual machine has no EL2 of its own."""
    made = [dataclasses.replace(each, off=at_el1(each.off), on=at_el1(each.on)) for each in world.variants]
    return dataclasses.replace(world, variants=tuple(made))


def bench(case: Case, config: "CoreConfig", predictor: Predictor) -> Bench:
    """Find by short runs what `case` was meant to be; InputError where it never copies with translation on."""
    from relocscope.runs import check_core

    check_core(case.boot, case.granule_bytes, config)
    if case.segments:
        raise InputError(f"--case: {case.name}: image.segments: must not be given, the observations state the sizes")
    off = dataclasses.replace(shipped_case(f"v4.19-{case.boot}"), **{name: getattr(case, name) for name in _MACHINE})
    look = _look(case, predictor)
    if _translated(look):
        return Bench(off=off, meant=case, untranslated=off, config=config)
    meant = dataclasses.replace(case, el2_switch=False)
    if case.boot != "nvhe" or not _translated(_look(meant, predictor)):
        raise InputError(f"--case: {case.name}: must copy with translation on, or do so when it stays at EL1")
    arrives = look.outcome == "completed" and look.copy is not None
    return Bench(off=off, meant=meant, untranslated=case if arrives else off, config=config)


_MACHINE = ("granule_bytes", "memory_map", "sources", "self_copies", "seed", "initial")
"""Fields of a case that say what machine it is, and hold with the MMU off as well."""


def _look(case: Case, predictor: Predictor) -> "Run":
    return predictor.run(Setup(case=case), LOOK_BYTES)


def _translated(run: "Run") -> bool:
    return run.outcome == "completed" and run.copy is not None and bool(run.copy["mmu"])
