"""The whole address space of a regime against the walker: every leaf that it lists, every address that it does not."""

import random

import numpy as np
import pytest
from guests import DATA, MAIR, MORE, NORMAL, NORMAL_NC, RAM, SCTLR_ON, TCR_EL1, Guest
from mmu_scene import E2H, RW, Scene
from unicorn_mmu import UnicornMmu, fresh_memory

from emu.address_space import TABLES_MAX, address_space
from emu.memory import PhysicalMemory
from emu.regime import Regime
from emu.tables import AF, TABLE, TableBuilder, attr_index
from emu.walker import FaultKind, WalkAccess, translate
from traces.schema import EpochCause, MemoryType


def row_of(mappings, va):
    """The one row that maps an address; None where there is none."""
    found = [row for row in mappings if int(row["va"]) <= va < int(row["va"]) + int(row["size"])]
    assert len(found) <= 1
    return found[0] if found else None


def agree(memory, regime, mappings, va):
    """Compare one address; return whether it is mapped."""
    loaded, stored, fetched = (
        translate(memory, regime, va, each) for each in (WalkAccess.LOAD, WalkAccess.STORE, WalkAccess.FETCH)
    )
    row = row_of(mappings, va)
    if row is None:
        assert loaded.fault is not None
        assert loaded.fault.kind is not FaultKind.PERMISSION
        return False
    assert loaded.fault is None
    assert loaded.pa == int(row["pa"]) + va - int(row["va"])
    assert loaded.leaf_log2 == row["leaf_log2"]
    assert loaded.memory_type == row["memory_type"]
    assert (stored.fault is None, fetched.fault is None) == (row["writable"], row["executable"])
    assert loaded.is_global == row["is_global"]
    return True


@pytest.mark.parametrize(
    ("model", "el", "hcr"), [("A72", 1, RW), ("A72", 2, RW), ("MAX", 2, RW | E2H)], ids=["el1", "el2", "el2-and-0"]
)
def test_random_tables_are_listed_as_the_walker_finds_them(model, el, hcr):
    memory = fresh_memory()
    mmu, rng, mapped = UnicornMmu(memory, model), random.Random(el), 0
    mmu.set(HCR_EL2=hcr)
    for _ in range(60):
        scene = Scene(rng, memory, mmu, el, hcr)
        mappings, _ = address_space(memory, scene.regime)
        for va in scene.addresses:
            # Top bytes that TBI forgives are no addresses of their own.
            upper = scene.regime.two_ranges and va >> 55 & 1
            ignored = scene.regime.ranges[1 if upper else 0].tbi
            plain = (va | 0xFF << 56 if upper else va & ~(0xFF << 56)) if ignored else va
            mapped += agree(memory, scene.regime, mappings, plain)
        for row in mappings[:: max(1, len(mappings) // 40)]:
            last = int(row["va"]) + int(row["size"]) - 1
            assert agree(memory, scene.regime, mappings, int(row["va"]))
            assert agree(memory, scene.regime, mappings, last)
            mapped += 2
    assert mapped > 1000


def prepared(*maps, **options):
    memory = PhysicalMemory()
    memory.add(RAM, 32 << 20)
    free = iter(range(RAM + (16 << 20), RAM + (32 << 20), 1 << 16))
    tables = TableBuilder(memory, lambda size: next(free), **options)
    for each in maps:
        tables.map(*each)
    regime = Regime(el=1, sctlr=SCTLR_ON, mair=MAIR, tcr=TCR_EL1 | 1 << 23, ttbr0=tables.ttbr)
    return memory, tables, regime


def test_leaves_that_continue_each_other_are_one_row():
    memory, _, regime = prepared((RAM, RAM, 4 << 20, NORMAL, 4096), (RAM + (6 << 20), RAM, 2 << 20, NORMAL))
    mappings, _ = address_space(memory, regime)
    assert [(int(r["va"]), int(r["pa"]), int(r["size"]), int(r["leaf_log2"])) for r in mappings] == [
        (RAM, RAM, 4 << 20, 12),
        (RAM + (6 << 20), RAM, 2 << 20, 21),
    ]
    memory, _, regime = prepared((RAM, RAM, 8192, NORMAL, 4096), (RAM + 8192, RAM + 8192, 4096, NORMAL_NC, 4096))
    mappings, _ = address_space(memory, regime)
    assert mappings["memory_type"].tolist() == [MemoryType.NORMAL_WB, MemoryType.NORMAL_NC]


def test_where_the_tables_lie():
    memory, tables, regime = prepared((RAM, RAM, 4 << 20, NORMAL, 4096))
    _, pages = address_space(memory, regime)
    listed = {pa for row in pages for pa in range(int(row["pa"]), int(row["pa"]) + int(row["size"]), 4096)}
    assert listed == set(tables.pages)


def test_what_faults_is_no_mapping():
    memory, tables, regime = prepared((RAM, RAM, 8192, NORMAL, 4096), (RAM + 8192, RAM, 4096, attr_index(4), 4096))
    assert [int(row["size"]) for row in address_space(memory, regime)[0]] == [8192]  # the third page has no AF
    leaf = tables.lookup(RAM)
    memory.write_u64(leaf.pa, leaf.value | 1 << 44)  # beyond TCR.IPS
    assert [int(row["va"]) for row in address_space(memory, regime)[0]] == [RAM + 4096]
    off = Regime(el=1, sctlr=SCTLR_ON & ~1, mair=MAIR, tcr=TCR_EL1, ttbr0=tables.ttbr)
    assert [len(rows) for rows in address_space(memory, off)] == [0, 0]


def test_a_table_that_names_itself_and_one_outside_ram_end():
    memory, tables, regime = prepared((RAM, RAM, 4096, NORMAL, 4096))
    for entry in range(512):
        memory.write_u64(tables.root + 8 * entry, tables.root | TABLE | AF | 1)
    mappings, pages = address_space(memory, regime)
    assert pages["size"].sum() <= 4096  # itself, once
    assert len(mappings) <= 512 * TABLES_MAX
    memory.write_u64(tables.root, 0x9000_0000 | TABLE | 1)
    for entry in range(1, 512):
        memory.write_u64(tables.root + 8 * entry, 0)
    assert len(address_space(memory, regime)[0]) == 0


def switch(guest):
    """Two tables of TTBR1 that map one address to two places."""
    low = guest.identity()
    for register, pa in (("x1", DATA), ("x2", MORE)):
        upper = guest.tables()
        upper.map(0xFFFF_0000_0000_0000, pa, 4096, NORMAL)
        guest.cpu.x[int(register[1:])] = upper.ttbr
    guest.translate_el1(low)
    guest.cpu.sysreg["TTBR1_EL1"] = guest.cpu.x[1]


def test_a_run_lists_each_address_space_once_and_again_when_it_changed_it():
    source = """
        msr ttbr1_el1, x2
        isb
        msr ttbr1_el1, x1
        isb
        br x30
    """
    trace = Guest(source, prepare=switch).run().trace
    assert np.unique(trace.mappings["epoch"]).tolist() == [0, 1]
    upper = trace.mappings[trace.mappings["ttbr"] == 1]
    assert upper["pa"].tolist() == [DATA, MORE]

    def writes_its_table(guest):
        tables = guest.identity()
        guest.translate_el1(tables)
        leaf = tables.lookup(MORE)
        guest.cpu.x[1], guest.cpu.x[2], guest.cpu.x[3] = leaf.pa, leaf.value + (1 << 20), MORE

    stores = Guest("ldr x0, [x3]\n str x2, [x1]\n dsb sy\n isb\n br x30", prepare=writes_its_table).run().trace
    changed = int(np.flatnonzero(stores.epochs["cause"] == EpochCause.TABLE_STORE)[0])
    again = stores.mappings[stores.mappings["epoch"] == changed]
    assert row_of(again, MORE)["pa"] == MORE + (1 << 20)
