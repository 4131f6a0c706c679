"""Attached: the timing model beside anybody's AArch64 Unicorn engine. `attach` is the plugin's whole interface."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.errors import InputError
from traces.schema import LEAVES

if TYPE_CHECKING:
    from caches import CoreConfig
    from caches.replaying import Replay
    from emu.attached import Attachment, Refusal
    from traces.outcome import Outcome
    from traces.trace import Trace

UNTRANSLATED = ("architecture", "Normal-WB")

EVENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    **{f"{part} miss": ((part, "misses"),) for part in ("l1i", "l1d", "l2", "l3", "itlb", "dtlb", "l2tlb")},
    "walk": (("walk", "walks"),),
    "stale read": (("truth", "stale"),),
    "lost line": (("truth", "lost"),),
    "hazard": (("truth", "stale"), ("truth", "lost")),
}
"""What `Model.on` and `Model.events` take, and the counters that each is a step of."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that the model saw."""

    kind: str
    pc: int
    """VA of the instruction."""
    cycle: int
    """Modelled cycles when that instruction had retired."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one instruction cost, all its executions together."""

    count: int
    """Executions."""
    cycles: int
    cycle_stack: Mapping[str, int]
    """By cause; sums to `cycles`."""


class Model:
    """What the attached engine ran, on one core. Everything here may be asked between runs and after detaching."""

    def __init__(self, attachment: "Attachment", config: "CoreConfig", initial: str) -> None:
        self._attachment, self._config, self._initial = attachment, config, initial
        self._listeners: list[tuple[str, Callable[[Event], object]]] = []
        self._trace: Trace | None = None
        self._traced = 0
        self._outcome: Outcome | None = None

    @property
    def instructions(self) -> int:
        """Executed so far."""
        return self._attachment.instructions

    @property
    def refusals(self) -> "Mapping[Refusal, int]":
        """Accesses that Unicorn let pass and a PE takes an exception for, and how often."""
        return dict(self._attachment.refusals)

    def trace(self) -> "Trace":
        """Return what has run so far, for `traces.files.save` and everything that takes a Trace."""
        if self._trace is None or self._traced != self.instructions:
            self._trace, self._traced, self._outcome = self._attachment.trace(), self.instructions, None
        return self._trace

    def outcome(self) -> "Outcome":
        """Return what has run so far cost: `cycles`, `seconds`, `instructions`, `cycle_stack`, `counters`."""
        from caches import replay

        trace = self.trace()
        if self._outcome is None:
            self._outcome = replay(trace, self._config, initial=self._initial)
        return self._outcome

    def cycle_stack(self) -> Mapping[str, int]:
        """Return cycles by cause; sums to `outcome().cycles`."""
        return self.outcome().cycle_stack

    def cost(self, pc: int) -> Cost:
        """Return what the instruction at an address cost; nothing where none was executed."""
        outcome, rows = self.outcome(), self.trace().insns["va"] == np.uint64(pc)
        by_cause = outcome.insn_cycles[rows].sum(axis=0)
        stack = {leaf: int(cycles) for leaf, cycles in zip(LEAVES, by_cause, strict=True)}
        return Cost(int(outcome.insn_count[rows].sum()), sum(stack.values()), stack)

    def events(self, *kinds: str) -> Iterator[Event]:
        """Find every event of these kinds (`EVENTS`), in the order of the program. Python for each: for the curious."""
        from caches.stepping import SteppedReplay

        counters = [_counters(kind) for kind in kinds]
        trace = self.trace()
        model = SteppedReplay(trace, self._config, initial=self._initial)

        def counts(replay: "Replay") -> list[int]:
            return [sum(replay.count(*each) for each in several) for several in counters]

        place: tuple[int, int] | None = (0, 0)
        while place is not None:
            place = model.next_change(lambda replay: sum(counts(replay)), place, (len(trace.executions), 0))
            if place is None:
                return
            before, pc = counts(model.replay), _pc_of(trace, *place)
            model.replay.step()
            for kind, was, now in zip(kinds, before, counts(model.replay), strict=True):
                for _ in range(now - was):
                    yield Event(kind, pc, model.replay.cycles)
            place = model.place

    def on(self, kind: str, callback: Callable[[Event], object]) -> None:
        """Call back for each event of a kind (`EVENTS`) when the model is detached, in the order of the program."""
        _counters(kind)
        self._listeners.append((kind, callback))

    def tell(self) -> None:
        """Call whoever listens."""
        kinds = tuple(dict.fromkeys(kind for kind, _ in self._listeners))
        for event in self.events(*kinds) if kinds and self.instructions else ():
            for kind, callback in self._listeners:
                if kind == event.kind:
                    callback(event)


@contextmanager
def attach(
    uc: Any,
    core: "str | CoreConfig" = "stingray",
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    untranslated: str = "architecture",
    initial: str = "cold",
) -> Iterator[Model]:
    """Record what an AArch64 `unicorn.Uc` runs while the context lasts, and say what it costs on a core.

    The engine runs as it would, its hooks included; afterwards it is as it was. `core` is a name, a preset's file
    or a CoreConfig, `set` changes its fields. Memory that nothing translates is what the architecture makes of it,
    Device-nGnRnE with the MMU off, or `untranslated="Normal-WB"`: for programs without their kernel. `initial`: `cold`
    or `kernel-dirty`.

    A guest that reads time sees Unicorn's. Exceptions cost what the instructions of their handlers do, no more.
    """
    import caches
    from emu.attached import Attachment

    if untranslated not in UNTRANSLATED:
        raise InputError(f"attach: untranslated = {untranslated!r}: must be one of {', '.join(UNTRANSLATED)}")
    config = core if isinstance(core, caches.CoreConfig) else caches.core_named(core)
    if set:
        config = config.override(dict(set))
    attachment = Attachment(uc, flat_cacheable=untranslated == "Normal-WB")
    model = Model(attachment, config, initial)
    try:
        yield model
    finally:
        attachment.detach()
    model.tell()


def _counters(kind: str) -> tuple[tuple[str, str], ...]:
    if kind not in EVENTS:
        raise InputError(f"event {kind!r}: must be one of {', '.join(EVENTS)}")
    return EVENTS[kind]


def _pc_of(trace: "Trace", execution: int, insns: int) -> int:
    first = int(trace.blocks["first"][trace.executions[execution]])
    return int(trace.insns["va"][first + insns])
