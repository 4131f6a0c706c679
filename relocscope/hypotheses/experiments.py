"""Experiments: the cheapest thing to look at that two hypotheses differ on, found by asking the model both ways."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from relocscope.hypotheses.predict import STARTED, Predictor
from relocscope.hypotheses.worlds import Setup, Variant
from relocscope.quantities import rough_seconds
from traces.errors import InputError

TELLING = 3.0
"""Two times tell hypotheses apart that differ by so many times the stated error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A hypothesis in the variant that fits best, with the signs that no run shows."""

    id: str
    variant: Variant
    signs: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Laboratory:
    """What experiments need: the runs, the stated error, and a size that was measured."""

    predictor: Predictor
    error: float
    size: int
    on_was_timed: bool
    unremarkable: Mapping[str, str]
    """What a sign is where a hypothesis says nothing of it."""

    def test(self, one: Contender, other: Contender) -> str | None:
        """Return the cheapest experiment with what each of the two would make of it; None where none is known."""
        return next(self._experiments(one, other), None)

    def _experiments(self, one: Contender, other: Contender) -> Iterator[str]:
        """Yield what would tell them apart, cheapest first."""
        yield from self._signs(one, other, for_free=True)
        if not self.on_was_timed:
            setups = one.variant.on, other.variant.on
            yield from self._timed("time it with what is meant to be MMU-on", one, other, setups)
        yield from self._signs(one, other, for_free=False)
        yield from self._booted_at_el1(one, other)
        yield from self._benchmarked(one, other)

    def _timed(self, what: str, one: Contender, other: Contender, setups: tuple[Setup, Setup]) -> Iterator[str]:
        times = [self.predictor.line(setup).seconds(self.size) for setup in setups]
        if not all(map(math.isfinite, times)):
            if times[0] != times[1]:
                said = ["never arrives" if math.isinf(time) else rough_seconds(time) for time in times]
                yield f"{what}: {said[0]} if {one.id}, {said[1]} if {other.id}"
        elif abs(math.log(times[0] / times[1])) > TELLING * self.error:
            yield f"{what}: {rough_seconds(times[0])} if {one.id}, {rough_seconds(times[1])} if {other.id}"

    def _signs(self, one: Contender, other: Contender, *, for_free: bool) -> Iterator[str]:
        """Yield what can be read: for free off a running machine, or printed by the copy and looked up in registers."""
        read = [contender.signs | dict(self.predictor.line(contender.variant.on).signs) for contender in (one, other)]
        for what in dict.fromkeys([*one.signs, *other.signs, *read[0], *read[1]]):
            values = [signs.get(what, self.unremarkable.get(what, "")) for signs in read]
            if values[0] != values[1] and all(values) and for_free == (what in self.unremarkable or what == STARTED):
                where = "in the copy, print " if what.startswith(("CurrentEL", "SCTLR")) else "look at "
                yield f"{where}{what}: {values[0]} if {one.id}, {values[1]} if {other.id}"

    def _booted_at_el1(self, one: Contender, other: Contender) -> Iterator[str]:
        try:
            setups = at_el1(one.variant.on), at_el1(other.variant.on)
            yield from self._timed("boot at EL1 and time it with MMU-on", one, other, setups)
        except InputError:
            return  # a case that makes no sense there

    def _benchmarked(self, one: Contender, other: Contender) -> Iterator[str]:
        """Ask what a running kernel's memcpy would show: the machine's own memory, without kexec."""
        if one.variant.on.core == other.variant.on.core:
            return
        rates = [self.predictor.memcpy(each.variant.on) for each in (one, other)]
        if abs(math.log(rates[0] / rates[1])) > TELLING * self.error:
            said = [f"{rate / 1e6:.0f} MB/s" for rate in rates]
            yield f"run tinymembench's ldp/stp copy: {said[0]} if {one.id}, {said[1]} if {other.id}"


def at_el1(setup: Setup) -> Setup:
    """Return the same on a machine booted at EL1, where there is no other level to go to."""
    case = dataclasses.replace(setup.case, boot="el1", hyp_stub="", kexec_vectors="", el2_switch=True)
    return dataclasses.replace(setup, case=case)
