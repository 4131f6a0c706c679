"""A guest run again: the same state at the same place, however it was reached."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from emu.machine import Machine
from emu.rerun import Edit, Rerun
from emu.scenario import prepare
from relocscope.case import Case, override, shipped_case
from relocscope.emulate import emulate, scenario
from traces.check import check
from traces.expand import accesses, executed_counts
from traces.join import joined
from traces.schema import Role
from traces.trace import Trace

CASES = ("v4.19-nvhe", "rfc-v1-el1", "rfc-v2-nvhe", "v5.17-nvhe", "v5.17-vhe")


LOOKED_AT = [
    f"{name}_EL{el}"
    for el in (1, 2)
    for name in ("SCTLR", "TCR", "MAIR", "TTBR0", "VBAR", "ELR", "SPSR", "ESR", "FAR")
] + ["TTBR1_EL1", "HCR_EL2", "CPTR_EL2", "TPIDR_EL1"]


def state(rerun: Rerun) -> str:
    """A digest of the registers, and of all memory that has a role."""
    cpu, found = rerun.machine.cpu, hashlib.sha256()
    found.update(repr([*cpu.x, cpu.pc, cpu.pstate, *(cpu.sysreg[name] for name in LOOKED_AT)]).encode())
    for row in rerun.trace.ranges[rerun.trace.ranges["role"] != Role.RAM]:
        if rerun.machine.memory.contains(int(row["pa"]), int(row["size"])):
            found.update(rerun.machine.memory.read(int(row["pa"]), min(int(row["size"]), 1 << 20)))
    return found.hexdigest()


def started(case: Case, trace: Trace, edits: Sequence[Edit] = ()) -> Rerun:
    guest = prepare(scenario(case))
    return Rerun(guest.machine(), trace, edits, stop_pa=guest.scenario.end_pa)


def again(name: str, pages: int = 24) -> tuple[Rerun, Trace]:
    case = override(shipped_case(name), {"size": pages * 4096})
    trace = emulate(case)
    return started(case, trace), trace


@pytest.mark.parametrize("name", CASES)
def test_going_back_gives_the_state_that_was(name: str):
    rerun, trace = again(name)
    counts = executed_counts(trace)
    draw = random.Random(name)
    places = sorted((at := draw.randrange(len(counts)), draw.randrange(int(counts[at]))) for _ in range(60))
    seen = {}
    for place in places:
        rerun.go(*place)
        block = trace.blocks[trace.executions[place[0]]]
        assert rerun.machine.cpu.pc == int(block["va"]) + 4 * place[1]
        seen[place] = state(rerun)
    assert len(set(seen.values())) == len(seen)
    draw.shuffle(places)
    for place in places:
        rerun.go(*place)
        assert state(rerun) == seen[place], place


def edited(name: str, execution: int, insns: int, apply: Callable[[Machine], None]) -> tuple[Rerun, Trace]:
    """The run of a case with that done to it by hand there."""
    case = override(shipped_case(name), {"size": 24 * 4096})
    trace = emulate(case)
    guest = prepare(scenario(case))
    rerun = Rerun(guest.machine(), trace, stop_pa=guest.scenario.end_pa)
    rerun.go(execution, insns)
    rerun.close()
    apply(rerun.machine)
    rest = rerun.machine.run(stop_pa=guest.scenario.end_pa).trace
    whole = joined(trace, execution, insns, replace(rest, ranges=trace.ranges))
    check(whole)
    edit = Edit(execution + (insns > 0), insns, apply)
    return started(case, whole, [edit]), trace


@pytest.mark.parametrize("insns", [0, 5])
@pytest.mark.parametrize("name", ["v4.19-nvhe", "v5.17-nvhe"])
def test_what_is_changed_by_hand_and_changed_back_leaves_the_run_as_it_was(name: str, insns: int):
    whole = emulate(override(shipped_case(name), {"size": 24 * 4096}))
    execution = 1000 + int(np.argmax(executed_counts(whole)[1000:] > insns))
    rerun, trace = edited(name, execution, insns, lambda _: None)
    whole = rerun.trace
    assert len(trace.executions) == len(whole.executions) - (insns > 0)
    assert executed_counts(whole).sum() == executed_counts(trace).sum()
    assert np.array_equal(accesses(whole)["pa"], accesses(trace)["pa"])
    end = len(whole.executions)
    rerun.go(end)
    last = state(rerun)
    rerun.go(execution - 10)
    rerun.go(end)
    assert state(rerun) == last


def test_a_register_set_by_hand_takes_effect_each_time():
    rerun, _ = edited("v5.17-nvhe", 1003, 0, lambda machine: machine.cpu.x.__setitem__(29, 0xABCD))
    for at in (1002, 1003, 1200, 1004, 1001):
        rerun.go(at)
        assert (rerun.machine.cpu.x[29] == 0xABCD) == (at >= 1003)
