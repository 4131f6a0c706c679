"""Every relocation of history: the physical addresses of its trace are those that Unicorn touches, access by access."""

import numpy as np
import pytest
from numpy.typing import NDArray
from old_kernels import CASES, scenario
from unicorn import UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, UC_MEM_WRITE

from emu.guest import Guest
from emu.scenario import prepare
from traces.check import check
from traces.expand import accesses
from traces.schema import Access
from traces.trace import Trace

PAGES = 96
READ, WRITE = 0, 1


def natively(guest: Guest) -> NDArray[np.int64]:
    """Rows of (pa, bytes, READ or WRITE), as Unicorn's memory hooks see the guest."""
    seen: list[tuple[int, int, int]] = []
    machine = guest.machine()
    machine.cpu.uc.hook_add(
        UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE,
        lambda uc, kind, pa, size, value, _: seen.append((pa, size, WRITE if kind == UC_MEM_WRITE else READ)),
    )
    machine.run(stop_pa=guest.scenario.entry_pa, budget=guest.budget)
    return np.array(seen, np.int64).reshape(-1, 3)


def unfolded(trace: Trace) -> NDArray[np.int64]:
    """The same from a trace: each element of each load and store."""
    table = accesses(trace)
    table = table[np.isin(table["access"], (Access.LOAD, Access.STORE))]
    element = trace.insns["element"][table["insn"]].astype(np.int64)
    count = table["size"].astype(np.int64) // element
    owner = np.repeat(np.arange(len(table)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    pa = table["pa"][owner].astype(np.int64) + within * element[owner]
    return np.stack([pa, element[owner], (table["access"] == Access.STORE)[owner]], axis=1)


@pytest.mark.parametrize("case", CASES)
def test_every_access_is_where_unicorn_makes_it(case: str) -> None:
    guest = prepare(scenario(case, PAGES))
    run = guest.run()
    assert check(run.trace) == []
    expected = natively(prepare(scenario(case, PAGES)))
    if not case.startswith("kdump") and run.outcome == "completed":
        assert len(expected) >= PAGES * 4096 // 8 * 2
    assert np.array_equal(unfolded(run.trace), expected)
