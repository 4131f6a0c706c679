"""What the old kernel does before the hand-over, run as code: it builds what `hand_over` would have written."""

from dataclasses import replace

import numpy as np
import pytest
from old_kernels import scenario

from emu.guest import Guest
from emu.scenario import Scenario, prepare
from traces.errors import InputError
from traces.expand import accesses
from traces.schema import Access, Maintenance, Mark, Phase, Role

PAGES = 40
BOTH = frozenset({Phase.TABLES, Phase.LIST_FLUSH})

HAVE = [
    ("v4.19-nvhe", [Phase.LIST_FLUSH, Phase.SOFT_RESTART, Phase.RELOCATE]),
    ("v4.19-vhe", [Phase.LIST_FLUSH, Phase.SOFT_RESTART, Phase.RELOCATE]),
    ("v5.12-el1", [Phase.LIST_FLUSH, Phase.SOFT_RESTART, Phase.RELOCATE]),
    ("rfc-v1-nvhe", [Phase.TABLES, Phase.LIST_FLUSH, Phase.SOFT_RESTART, Phase.RELOCATE]),
    ("rfc-v2-el1", [Phase.TABLES, Phase.LIST_FLUSH, Phase.SOFT_RESTART, Phase.RELOCATE]),
    ("v5.17-el1", [Phase.TABLES, Phase.RELOCATE]),
    ("v5.17-nvhe", [Phase.TABLES, Phase.RELOCATE]),
    ("v5.17-vhe", [Phase.TABLES, Phase.RELOCATE]),
    ("kdump-v4.19", [Phase.SOFT_RESTART, Phase.RELOCATE]),
    ("kdump-v5.17", [Phase.SOFT_RESTART]),
]


def with_phases(case: str, phases: frozenset[Phase] = BOTH, **changes: object) -> Scenario:
    return scenario(case, PAGES, phases=phases, **changes)


def table_bytes(guest: Guest, names: tuple[str, ...]) -> dict[str, bytes]:
    kernel = guest.tables
    return {
        name: b"".join(guest.memory.read(page, guest.scenario.granule_bytes) for page in kernel[name].pages)
        for name in names
        if name in kernel
    }


@pytest.mark.parametrize(("case", "phases"), HAVE, ids=[case for case, _ in HAVE])
def test_a_kernel_goes_through_the_phases_that_it_has(case: str, phases: list[Phase]):
    run = prepare(with_phases(case)).run()
    assert (run.outcome, run.image_ok) == ("completed", True)
    marks = run.trace.marks[run.trace.marks["kind"] == Mark.PHASE]
    assert marks["a"].tolist() == phases
    assert marks["at"][0] == 0
    plain = prepare(scenario(case, PAGES)).run()
    assert run.entry == plain.entry
    assert run.copy is None or plain.copy is None or run.copy.stored_bytes == plain.copy.stored_bytes


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("v5.17-nvhe", {}),
        ("v5.17-vhe", {}),
        ("v5.17-nvhe", {"va_bits": 39}),
        ("v5.17-nvhe", {"granule_bytes": 16384, "va_bits": 47}),
        ("v5.17-nvhe", {"granule_bytes": 65536, "va_bits": 42}),
        ("rfc-v1-nvhe", {}),
        ("rfc-v2-nvhe", {}),
        ("rfc-v2-nvhe", {"granule_bytes": 65536}),
        ("rfc-v1-el1", {"va_bits": 39}),
    ],
)
def test_the_guest_builds_the_tables_that_the_hand_over_writes(case: str, changes: dict[str, int]):
    names = ("kexec", "kexec-linear", "kexec-idmap")
    wanted = table_bytes(prepare(scenario(case, PAGES, **changes)), names)
    guest = prepare(with_phases(case, **changes))
    before = table_bytes(guest, names)
    assert wanted
    assert before.keys() == wanted.keys()
    assert all(before[name] != wanted[name] for name in wanted)
    guest.run()
    assert table_bytes(guest, names) == wanted


def test_the_list_flush_names_every_line_of_list_and_sources_and_no_other():
    guest = prepare(with_phases("v4.19-nvhe"))
    trace = guest.run().trace
    stop = int(trace.marks["at"][(trace.marks["kind"] == Mark.PHASE) & (trace.marks["a"] == Phase.SOFT_RESTART)][0])
    table = accesses(trace, 0, stop)
    cleaned = table[table["access"] == Access.MAINTAIN]
    assert set(trace.insns["maintenance"][cleaned["insn"]]) == {Maintenance.DC_CIVAC}
    lines = np.unique(cleaned["pa"] & ~np.uint64(63))
    whole = {
        line
        for row in trace.ranges[trace.ranges["role"] == Role.SOURCE]
        for line in range(int(row["pa"]), int(row["pa"] + row["size"]), 64)
    }
    listed = {
        line
        for row in trace.ranges[trace.ranges["role"] == Role.LIST]
        for line in range(int(row["pa"]), int(row["pa"] + row["size"]), 64)
    }
    assert whole <= set(lines.tolist()) <= whole | listed
    entries = PAGES + len(guest.scenario.segments) + 1  # sources, destinations, DONE
    assert len(cleaned) == PAGES * 64 + entries
    assert len(listed & set(lines.tolist())) == -(-entries // 8)


def test_only_what_is_asked_for_is_run():
    only = prepare(with_phases("rfc-v2-el1", frozenset({Phase.LIST_FLUSH}))).run()
    assert Phase.TABLES not in only.trace.marks["a"][only.trace.marks["kind"] == Mark.PHASE]
    assert Phase.LIST_FLUSH in only.trace.marks["a"][only.trace.marks["kind"] == Mark.PHASE]


def test_what_begins_with_the_mmu_off_has_nothing_before_it():
    with pytest.raises(InputError, match="phases: this hand-over begins with the MMU off"):
        prepare(replace(with_phases("v4.19-nvhe"), soft_restart=None))


def test_pages_by_the_thousand_are_copied_where_the_kernel_has_pages():
    """4 KiB leaves: the kernel's own linear map has them then, and the copy as many."""
    small = replace(with_phases("v5.17-el1"), va_bits=39)
    blocks = prepare(small)
    leaves = prepare(replace(small, map_leaf_bytes=2 << 20))
    assert len(leaves.tables["kexec-linear"].pages) > len(blocks.tables["kexec-linear"].pages)
    assert leaves.run().image_ok
