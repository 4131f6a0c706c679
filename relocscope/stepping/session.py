"""Session: one run of one case on one core, stood at an instruction of it. Moving it moves the guest and the model."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from relocscope.operand import Operand
from relocscope.stepping.stepped import stepped_of
from relocscope.stepping.timeline import Timeline
from traces.schema import LEAVES
from traces.window import Place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asm.insn import Insn
    from emu.machine import Machine
    from emu.memory import PhysicalMemory
    from emu.regime import Regime
    from emu.rerun import Edit
    from relocscope.stepping.change import Change
    from relocscope.stepping.source import SourceLine
    from traces.trace import Trace

NO_BILL: Mapping[str, int] = dict.fromkeys(LEAVES, 0)


class Session:
    """Where a person stands in a run. `number` counts the instructions that have been executed.

    Nothing but `go`, `edit` and `restart` changes what is seen; those leave it where it was if they fail.
    """

    def __init__(self, subject: Operand) -> None:
        self.subject = subject
        self.stepped = stepped_of(subject)
        self.config = self.stepped.config
        self.edits: tuple[Edit, ...] = ()
        self.changes: tuple[Change, ...] = ()
        self._bases: tuple[tuple[int, Trace], ...] = ()
        """The trace as it was before the changes at each number."""
        self._begin(self.stepped.trace)

    def _begin(self, trace: "Trace") -> None:
        """Stand at the start of the run that this trace is of."""
        from caches.stepping import SteppedReplay
        from emu.rerun import Rerun

        ground, stepped = self.stepped.prepare(), self.stepped
        self.kimage, self.symbols = ground.kimage, dict(trace.meta["symbols"])
        self._stop_pa = ground.stop_pa
        self.trace = trace
        self.__dict__.pop("page_starts", None)
        self.timeline = Timeline.of(trace)
        self.rerun = Rerun(ground.machine, trace, self.edits, stop_pa=ground.stop_pa)
        self.model = SteppedReplay(trace, self.config, initial=stepped.initial, seed=stepped.seed)
        self.number = 0
        self.last_bill = NO_BILL

    # -- Moving -------------------------------------------------------------------------------------------------------

    def go(self, number: int) -> None:
        """Stand before the instruction of that number; the number of all of them is the end."""
        place = self.timeline.place(number)
        self.rerun.go(*place)
        self._move_model(number)
        self.number = number

    def _move_model(self, number: int) -> None:
        if number == 0:
            self.model.go(0)
            self.last_bill = NO_BILL
            return
        before = self.timeline.place(number - 1)
        row = self.timeline.row(number - 1)
        self.model.go(*before)
        costs = self.model.replay.insn_cycles
        earlier = costs[row].copy()
        self.model.replay.step()
        self.last_bill = dict(zip(LEAVES, (costs[row] - earlier).tolist(), strict=True))

    def number_at_cycle(self, cycle: int) -> int:
        """Return the first instruction before which that many cycles have passed; the end where there are fewer."""
        place = self.model.first_at_cycle(cycle)
        return self.timeline.number(*place)

    def restart(self) -> None:
        """Go back to the first instruction; edits stay."""
        self.go(0)

    def edit(self, *changes: "Change") -> None:
        """Change the machine where it stands, and run it from there: what follows is another run from here on.

        What was changed later than here is undone.
        """
        from traces.join import joined

        for change in changes:
            change.check(self.machine)
        number = self.number
        self.rerun.close()
        for change in changes:
            change.apply(self.rerun.machine)
        rest = self.rerun.machine.run(stop_pa=self._stop_pa, budget=self._budget(), symbols=self.symbols).trace
        meta = {**self.trace.meta, **{key: rest.meta[key] for key in ("outcome", "reason", "fault")}}
        rest = dataclasses.replace(rest, ranges=self.trace.ranges, meta=meta)
        self.changes = (*(each for each in self.changes if each.insn <= number), *changes)
        base = next((trace for at, trace in self._bases if at >= number), self.trace)
        self._bases = (*(each for each in self._bases if each[0] < number), (number, base))
        place = Timeline.of(base).place(number)
        edit = self._edit(place)
        self.edits = (*(each for each in self.edits if each.execution < edit.execution), edit)
        self._begin(joined(base, *place, rest))
        self.go(number)

    def _edit(self, place: Place) -> "Edit":
        """Return all that is changed here, as one edit; `place` is of the trace without it."""
        from emu.rerun import Edit

        here = [each for each in self.changes if each.insn == self.number]

        def apply(machine: "Machine") -> None:
            for change in here:
                change.apply(machine)

        pages = tuple(page for change in here for page in change.pages)
        return Edit(place.execution + (place.insns > 0), place.insns, apply, pages)

    def _budget(self) -> int:
        return 2 * self.timeline.end + 10_000_000

    # -- Looking ------------------------------------------------------------------------------------------------------

    @cached_property
    def source(self) -> "dict[int, SourceLine]":
        """The source of the code of this run, by address, where there is one."""
        from relocscope.stepping.source import source_lines

        return source_lines(self.stepped.routines, self.symbols)

    @property
    def place(self) -> Place:
        """The execution that is next or under way, and how many of its instructions are done."""
        return self.timeline.place(self.number)

    @property
    def at_end(self) -> bool:
        """Whether nothing follows."""
        return self.number == self.timeline.end

    @property
    def cycles(self) -> int:
        """Modelled cycles up to here."""
        return self.model.replay.cycles

    @property
    def seconds(self) -> float:
        """Modelled time up to here."""
        return self.cycles / self.config.frequency_hz

    @property
    def machine(self) -> "Machine":
        """The PE and its memory as they are here; to be looked at only."""
        return self.rerun.machine

    @property
    def memory(self) -> "PhysicalMemory":
        """Physical memory as it is here."""
        return self.rerun.machine.memory

    @property
    def pc(self) -> int:
        """The address of the next instruction."""
        return self.machine.cpu.pc

    @property
    def regime(self) -> "Regime":
        """The translation regime in force."""
        return self.machine.cpu.regime()

    @property
    def epoch(self) -> int:
        """The row of Trace.epochs in force."""
        from traces.expand import execution_epochs

        at = min(self.place.execution, len(self.trace.executions) - 1)
        return int(execution_epochs(self.trace, at, at + 1)[0])

    @property
    def insn(self) -> "Insn | None":
        """The next instruction, decoded; None at the end."""
        from asm.decode import decode

        row = self.timeline.row(self.number)
        if row is None:
            return None
        static = self.trace.insns[row]
        return decode(int(static["word"]).to_bytes(4, "little"), int(static["va"]))[0]

    def next_bill(self) -> Mapping[str, int]:
        """Return what the next instruction will cost, by cause; nothing at the end."""
        row = self.timeline.row(self.number)
        if row is None:
            return NO_BILL
        replay = self.model.replay
        saved = replay.save()
        earlier = replay.insn_cycles[row].copy()
        replay.step()
        bill = dict(zip(LEAVES, (replay.insn_cycles[row] - earlier).tolist(), strict=True))
        replay.restore(saved)
        return bill

    @cached_property
    def page_starts(self) -> "tuple[NDArray[np.uint64], NDArray[np.int64]]":
        """The image's pages in the order in which the run begins to store them, and the executions that do."""
        from traces.lines import first_stores

        pages, executions = first_stores(self.trace)
        wanted = np.isin(pages, self.kimage.destinations & ~np.uint64(4095))
        return pages[wanted], executions[wanted]

    def cycle_stack(self) -> dict[str, int]:
        """Return what the cycles up to here were spent on; sums exactly to `cycles`."""
        return dict(zip(LEAVES, self.model.replay.insn_cycles.sum(axis=0).tolist(), strict=True))

    def costs_by_address(self) -> dict[int, tuple[int, dict[str, int]]]:
        """Return for each address that was executed up to here how often, and what it cost by cause."""
        replay = self.model.replay
        found: dict[int, tuple[int, np.ndarray[Any, Any]]] = {}
        for row in np.flatnonzero(replay.insn_count[: len(self.trace.insns)]).tolist():
            va = int(self.trace.insns[row]["va"])
            count, cycles = found.get(va, (0, np.zeros(len(LEAVES), np.int64)))
            found[va] = count + int(replay.insn_count[row]), cycles + replay.insn_cycles[row]
        return {va: (count, dict(zip(LEAVES, cycles.tolist(), strict=True))) for va, (count, cycles) in found.items()}
