"""Every relocation of the history, from the old kernel's last instructions to the new one's first."""

import json
from dataclasses import replace

import numpy as np
import pytest
from old_kernels import CASES, COPYING, MAIR_V4_19, PAGES, run, scenario
from unicorn import UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, UC_MEM_WRITE

from emu.scenario import prepare
from traces.check import check
from traces.expand import accesses
from traces.schema import Access, MemoryType, Role

# Level of the copy, E2H, SCTLR of its regime, level of the entry (facts: docs/kernel.md, R1..R13).
OFF_EL1, OFF_EL2, OFF_VHE = 0x34D5_C910, 0x30C5_0830, 0x34D5_C910
ON = 0x34D5_D91D
EXPECTED = {
    "v4.19-el1": (1, False, OFF_EL1, 1),
    "v4.19-nvhe": (2, False, OFF_EL2, 2),
    "v4.19-vhe": (2, True, OFF_VHE, 2),
    "v5.12-el1": (1, False, 0x3050_0800, 1),
    "v5.12-nvhe": (2, False, OFF_EL2, 2),
    "v5.12-vhe": (2, True, 0x3050_0800, 2),
    "rfc-v1-el1": (1, False, ON, 1),
    "rfc-v1-nvhe": (2, False, OFF_EL2, 2),
    "rfc-v1-vhe": (2, True, ON, 2),
    "rfc-v2-el1": (1, False, 0x34F5_D91F, 1),
    "rfc-v2-nvhe-xn-clear": (2, False, 0x30E5_183F, 2),
    "v11-el1": (1, False, 0x3070_180F, 1),
    "v11-nvhe": (1, False, 0x3070_180F, 2),
    "v11-vhe": (2, True, 0x3070_180F, 2),
    "v12-vhe": (2, True, ON, 2),
    "v15-nvhe": (1, False, ON, 2),
    "v5.16-nvhe": (1, False, ON, 2),
    "v5.17-el1": (1, False, ON, 1),
    "v5.17-nvhe": (1, False, ON, 2),
    "v5.17-vhe": (2, True, ON, 2),
}
MSR_SCTLR_EL2_X5 = 0xD51C_1005.to_bytes(4, "little")


@pytest.mark.parametrize("case", COPYING)
def test_the_image_arrives_and_the_new_kernel_is_entered(case):
    el, e2h, sctlr, entry_el = EXPECTED[case]
    found = run(case)
    assert (found.outcome, found.fault, found.image_ok) == ("completed", None, True)
    assert found.pages == PAGES
    assert found.image_bytes == PAGES * 4096
    regime = found.trace.epochs[found.copy.epoch]
    assert (regime["el"], regime["e2h"], hex(regime["sctlr"])) == (el, e2h, hex(sctlr))
    expected = scenario(case)
    assert found.entry.el == entry_el
    assert found.entry.pc == expected.entry_pa
    assert not found.entry.mmu
    assert (found.entry.x0, found.entry.x1, found.entry.x2, found.entry.x3) == (expected.dtb_pa, 0, 0, 0)
    assert expected.dtb_pa


@pytest.mark.parametrize("case", COPYING)
def test_what_the_copy_accessed_has_the_type_of_its_regime(case):
    found = run(case)
    cached = EXPECTED[case][2] & 4 != 0
    table = accesses(found.trace, found.copy.first, found.copy.last + 1)
    moved = table[np.isin(table["access"], (Access.LOAD, Access.STORE))]
    wanted = MemoryType.NORMAL_WB if cached else MemoryType.DEVICE_NGNRNE
    assert set(moved["memory_type"].tolist()) == {wanted}


@pytest.mark.parametrize("case", CASES)
def test_traces_keep_their_promises_and_meta_is_json(case):
    trace = run(case).trace
    assert check(trace) == []
    meta = json.loads(json.dumps(trace.meta))
    assert meta == dict(trace.meta)
    assert {
        "routine",
        "boot",
        "outcome",
        "fault",
        "entry",
        "image_ok",
        "image_bytes",
        "pages",
        "symbols",
        "copy",
    } <= set(meta)
    assert meta["timing_dependent"] is False
    assert meta["routine"]["sha256"] == scenario(case).relocate.sha256


def native_stream(case):
    """Run the same guest under Unicorn's own memory hooks: (pa, is a write) of each 8 bytes."""
    guest = prepare(scenario(case))
    events = []

    def on_access(uc, kind, pa, size, value, data):
        assert size == 8
        events.append(pa << 1 | (kind == UC_MEM_WRITE))

    machine = guest.machine()
    machine.cpu.uc.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, on_access)
    machine.run(stop_pa=guest.scenario.entry_pa, budget=guest.budget, capture=False)
    return np.array(events, np.uint64)


@pytest.mark.parametrize("case", CASES)
def test_the_reconstructed_stream_of_physical_addresses_is_the_native_one(case):
    table = accesses(run(case).trace)
    moved = table[np.isin(table["access"], (Access.LOAD, Access.STORE))]
    elements = (moved["size"] // 8).astype(np.int64)
    first = np.repeat(moved["pa"], elements)
    within = np.arange(len(first)) - np.repeat(np.cumsum(elements) - elements, elements)
    stream = first + within.astype(np.uint64) * np.uint64(8) << np.uint64(1) | np.repeat(
        moved["access"] == Access.STORE, elements
    ).astype(np.uint64)
    assert np.array_equal(stream, native_stream(case))


@pytest.mark.parametrize("case", COPYING)
def test_every_destination_byte_is_stored_once_and_nothing_else_is(case):
    found = run(case)
    table = accesses(found.trace)
    stores = table[table["access"] == Access.STORE]
    expected = np.concatenate([np.arange(pa, pa + size, 16, dtype=np.uint64) for pa, size in found.destination])
    assert np.array_equal(np.sort(stores["pa"]), expected)
    assert found.copy.first == stores["execution"][0]
    assert found.copy.last == stores["execution"][-1]
    assert found.copy.stored_bytes == found.image_bytes


@pytest.mark.parametrize("case", CASES)
def test_pages_that_must_survive_lie_outside_every_destination(case):
    ranges = run(case).trace.ranges
    destinations = ranges[ranges["role"] == Role.DESTINATION]
    assert sum(destinations["size"].tolist()) == PAGES * 4096
    for role in (Role.CODE, Role.LIST, Role.KIMAGE, Role.ARGUMENT, Role.STACK):
        for row in ranges[ranges["role"] == role]:
            over = (row["pa"] < destinations["pa"] + destinations["size"]) & (
                destinations["pa"] < row["pa"] + row["size"]
            )
            assert not over.any(), Role(role).name


@pytest.mark.parametrize("case", ["v4.19-nvhe", "v5.17-nvhe"])
def test_the_default_destination_covers_the_old_kernel_and_its_live_tables(case):
    found = run(case)
    meta, ranges = found.trace.meta, found.trace.ranges
    first, size = found.destination[0][0], found.image_bytes
    kernel = ranges[ranges["role"] == Role.OLD_KERNEL][0]
    assert first <= kernel["pa"]
    assert kernel["pa"] + kernel["size"] <= first + size
    assert first <= meta["table_roots"]["swapper"] < first + size


@pytest.mark.parametrize("case", COPYING)
def test_some_pages_are_scattered_and_none_but_self_copies_lie_in_a_destination(case):
    kimage = prepare(scenario(case)).kimage
    assert kimage.self_copies == 4
    inside = np.isin(kimage.sources, kimage.destinations)
    assert np.array_equal(inside, kimage.sources == kimage.destinations)
    assert len(np.unique(kimage.sources)) == PAGES
    assert (np.diff(kimage.sources.astype(np.int64)) != 4096).sum() > PAGES // 2


def test_rfc_v2_freezes_at_el2_as_it_was_reported():
    found = run("rfc-v2-nvhe")
    assert (found.outcome, found.entry, found.image_ok, found.copy) == ("hang", None, False, None)
    last = found.trace.epochs[-1]
    # As printed in the cover letter of 31 July 2019; TTBR0_EL2 lay elsewhere on that day.
    printed = {"mair": MAIR_V4_19, "tcr": 0x8084_3510, "sctlr": 0x30E5_183F}
    assert {name: hex(last[name]) for name in printed} == {name: hex(value) for name, value in printed.items()}
    fault = found.fault
    assert (fault.el, fault.ec, fault.iss & 0x3F) == (2, 0x21, 0b001111)
    assert fault.far == fault.elr
    # The first fetch after the write, or, as hardware may, the second.
    relocate = scenario("rfc-v2-nvhe").relocate
    base = found.trace.meta["symbols"]["arm64_relocate_new_kernel"]
    before = [relocate.code[fault.elr - base - back : fault.elr - base - back + 4] for back in (4, 8)]
    assert MSR_SCTLR_EL2_X5 in before
    assert "XN" in fault.reason
    vectors = [row for row in found.trace.exceptions if not row["meant"]]
    assert len({int(row["elr"]) for row in vectors}) <= 2, "the vector aborts on itself"


def test_bit_54_is_the_whole_difference():
    for case, outcome in (("rfc-v2-nvhe", "hang"), ("rfc-v2-nvhe-xn-clear", "completed")):
        assert run(case).outcome == outcome
    guests = [prepare(scenario(case)) for case in ("rfc-v2-nvhe", "rfc-v2-nvhe-xn-clear")]
    images = [guest.memory.regions[0].data.view(np.uint64) for guest in guests]
    differ = [
        int(left[at]) ^ int(right[at])
        for first in range(0, len(images[0]), 1 << 22)
        for left, right in [[image[first : first + (1 << 22)] for image in images]]
        if first << 3 < 4 << 20 or first << 3 >= (8 << 30) - (32 << 20)
        for at in np.flatnonzero(left != right)
    ]
    assert differ == [1 << 54]


@pytest.mark.parametrize("case", ["kdump-v4.19", "kdump-v5.17"])
def test_a_crash_kernel_is_entered_where_it_lies(case):
    found = run(case)
    assert (found.outcome, found.image_ok, found.copy) == ("completed", True, None)
    assert found.entry.el == 2
    assert found.entry.pc == found.destination[0][0]
    assert found.entry.x0 == scenario(case).dtb_pa
    table = accesses(found.trace)
    assert not (table["access"] == Access.STORE).any()
    ranges = found.trace.ranges
    sources, destinations = (
        [(int(row["pa"]), int(row["size"])) for row in ranges[ranges["role"] == role]]
        for role in (Role.SOURCE, Role.DESTINATION)
    )
    assert sum(size for _, size in sources) == sum(size for _, size in destinations)
    assert sources[0][0] == destinations[0][0]
    assert not {"kexec", "kexec-idmap", "kexec-linear"} & set(found.trace.meta["table_roots"])


def test_a_run_that_stops_early_has_no_entry_and_no_image():
    found = prepare(scenario("v4.19-nvhe", instruction_budget=50_000)).run()
    assert (found.outcome, found.entry, found.image_ok) == ("budget", None, False)
    assert 0 < found.copy.stored_bytes < found.image_bytes


def test_without_capture_the_guest_does_the_same_and_leaves_no_trace():
    found = prepare(scenario("v5.17-nvhe")).run(capture=False)
    watched = run("v5.17-nvhe")
    assert (found.outcome, found.image_ok, found.entry) == (watched.outcome, watched.image_ok, watched.entry)
    assert (len(found.trace.executions), found.copy) == (0, None)


def test_a_guest_runs_once():
    guest = prepare(scenario("v4.19-el1", pages=8))
    guest.run()
    with pytest.raises(RuntimeError, match="prepare another"):
        guest.run()


def test_two_preparations_of_one_scenario_run_alike():
    one, other = (prepare(scenario("v5.17-nvhe", pages=30)).run().trace for _ in range(2))
    for name in ("executions", "values", "translations", "ranges", "epochs"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.meta == other.meta
    moved = prepare(replace(scenario("v5.17-nvhe", pages=30), seed=2)).run()
    assert moved.image_ok
    assert not np.array_equal(moved.trace.values, one.values)


def test_a_wrong_byte_anywhere_is_a_wrong_image():
    guest = prepare(scenario("v4.19-nvhe", pages=40))
    victim = int(guest.kimage.sources[17])
    guest.memory.write(victim + 4095, bytes([guest.memory.read(victim + 4095, 1)[0] ^ 0x80]))
    found = guest.run()
    assert (found.outcome, found.image_ok) == ("completed", False)
