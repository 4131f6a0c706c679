"""Scenarios off the default: leaf sizes, granules, VA sizes, forced SCTLR bits, other machines, real kexecs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from old_kernels import scenario

from emu.layout import default_layout
from emu.memory_map import MemoryMap, memory_map_from_file
from emu.scenario import Boot, prepare
from emu.segments import segments_from_file
from emu.spans import Span
from traces.check import check
from traces.schema import MemoryType

DATA = Path(__file__).parent.parent / "data"


def ran(case: str, pages: int = 64, **changes: object):
    found = prepare(scenario(case, pages, **changes)).run()
    assert check(found.trace) == []
    return found


def leaves(found) -> set[int]:
    """Sizes of the leaves that the copy's accesses went through."""
    table = found.trace.translations
    return set(table["leaf_log2"][table["epoch"] == found.copy.epoch].tolist())


@pytest.mark.parametrize(("leaf_bytes", "expected"), [(4096, {12}), (2 << 20, {12, 21}), (1 << 30, {12, 30})])
@pytest.mark.parametrize("boot", Boot)
def test_leaves_of_the_linear_map_copy(boot, leaf_bytes, expected):
    # Sources and control pages lie in the second GiB: of the first, only what the old kernel takes is not reserved.
    layout = default_layout(300 * 4096, ram=Span(0x8000_0000, 2 << 30))
    end = layout.memory_map.kernel.end
    second = replace(layout.memory_map, reserved=(Span(0x8000_0000, 0x8_0000), Span(end, 0xC000_0000 - end)))
    found = ran(f"v5.17-{boot}", memory_map=second, map_leaf_bytes=leaf_bytes, pages=300)
    assert (found.outcome, found.image_ok) == ("completed", True)
    assert leaves(found) == expected


@pytest.mark.parametrize(
    "case", ["v4.19-nvhe", "rfc-v1-el1", "rfc-v2-el1", "rfc-v2-nvhe-xn-clear", "v5.17-nvhe", "v5.17-vhe"]
)
@pytest.mark.parametrize(("granule_bytes", "leaf_log2"), [(16384, 14), (65536, 16)])
def test_other_granules(case, granule_bytes, leaf_log2):
    found = ran(case, granule_bytes=granule_bytes, pages=24)
    assert (found.outcome, found.image_ok, found.pages) == ("completed", True, 24)
    if case.startswith(("rfc-v2", "v5.17")):
        assert leaves(found) == {leaf_log2}


@pytest.mark.parametrize("case", ["v4.19-vhe", "rfc-v1-el1", "rfc-v2-nvhe-xn-clear", "v5.17-nvhe", "v5.17-vhe"])
@pytest.mark.parametrize("va_bits", [36, 39, 42, 47])
def test_other_va_sizes(case, va_bits):
    found = ran(case, va_bits=va_bits)
    assert (found.outcome, found.image_ok) == ("completed", True)


@pytest.mark.parametrize(
    ("case", "outcome"), [("v4.19-nvhe", "completed"), ("v5.17-nvhe", "completed"), ("rfc-v1-el1", "hang")]
)
def test_all_ram_above_what_39_bits_reach(case, outcome):
    """AMD Seattle: the idmap needs more bits than the kernel has. RFC v1 did not see to that (J7)."""
    layout = default_layout(64 * 4096, ram=Span(1 << 39, 1 << 30))
    found = ran(case, va_bits=39, memory_map=layout.memory_map, segments=layout.segments, start=None)
    assert (found.outcome, found.image_ok) == (outcome, outcome == "completed")
    if outcome == "hang":
        assert (found.fault.ec, found.fault.iss & 0x3C) == (0x21, 0b000100)


def test_tcr_of_another_format_is_a_hang_with_its_cause():
    """RFC v2 writes TCR_EL2 as it is without E2H; with it bits 18:16 are no longer PS, and IPS = 0 allows 4 GiB."""
    found = ran("rfc-v2-nvhe-xn-clear", boot=Boot.VHE)
    assert found.outcome == "hang"
    assert (found.fault.ec, found.fault.iss & 0x3C) == (0x21, 0b000000)
    assert "TTBR places beyond the physical addresses that TCR allows" in found.fault.reason


@pytest.mark.parametrize("case", ["v4.19-nvhe", "v5.17-nvhe", "v5.17-vhe", "rfc-v1-el1"])
@pytest.mark.parametrize("bit", ["c", "i"])
@pytest.mark.parametrize("value", [0, 1])
def test_forced_sctlr_bits_hold_at_the_level_of_the_copy_alone(case, bit, value):
    found = ran(case, **{f"copy_sctlr_{bit}": value})
    assert (found.outcome, found.image_ok) == ("completed", True)
    regime = found.trace.epochs[found.copy.epoch]
    assert regime["dcache" if bit == "c" else "icache"] == value
    others = found.trace.epochs[found.trace.epochs["el"] != regime["el"]]
    usual = ran(case).trace.epochs
    assert set(others["sctlr"].tolist()) <= set(usual[usual["el"] != regime["el"]]["sctlr"].tolist())
    if bit == "c" and regime["stage1"]:
        table = found.trace.translations
        kinds = set(table["memory_type"][table["epoch"] == found.copy.epoch].tolist())
        assert kinds == {MemoryType.NORMAL_WB if value else MemoryType.NORMAL_NC}


def test_bits_cannot_be_forced_where_nothing_is_copied():
    assert ran("rfc-v2-nvhe", copy_sctlr_c=0).outcome == "hang"
    assert ran("kdump-v5.17", copy_sctlr_c=0).outcome == "completed"


def test_sequential_sources():
    guest = prepare(scenario("v5.17-nvhe", sources="sequential", self_copies=0))
    assert (np.diff(guest.kimage.sources.astype(np.int64)) == 4096).all()
    assert guest.run().image_ok


@pytest.mark.parametrize("version", ["5.10", "6.1"])
@pytest.mark.parametrize("case", ["v4.19-nvhe", "rfc-v1-el1", "v5.17-nvhe"])
def test_a_machine_that_really_did_kexec(version, case):
    """Memory map and segments as /proc/iomem and kexec -d printed them: almost six thousand pages."""
    load = segments_from_file(DATA / f"qemu-virt-{version}.kexec-debug.txt")
    found = prepare(
        scenario(
            case,
            memory_map=memory_map_from_file(DATA / f"qemu-virt-{version}.iomem.txt"),
            segments=load.segments,
            start=load.start,
        )
    ).run()
    assert (found.outcome, found.image_ok) == ("completed", True)
    assert found.pages == sum(segment.memsz for segment in load.segments) // 4096 > 5800
    assert (found.entry.pc, found.entry.x0) == (load.start, 0), "purgatory finds the device tree itself"


def test_two_banks_and_holes():
    layout = default_layout(64 * 4096, ram=Span(0x8000_0000, 16 << 20))
    holes = MemoryMap(
        ram=(Span(0x8000_0000, 16 << 20), Span(0x8_8000_0000, 16 << 20)),
        reserved=(Span(0x8080_0000, 8 << 20),),
        nomap=(Span(0x8060_0000, 1 << 20), Span(0x8_8000_0000, 1 << 20)),
        no_access=(Span(0x8070_0000, 4096),),
        kernel_code=layout.memory_map.kernel_code,
        kernel_data=layout.memory_map.kernel_data,
    )
    for case in ("v4.19-nvhe", "rfc-v1-nvhe", "v5.17-vhe"):
        found = ran(case, memory_map=holes)
        assert (found.outcome, found.image_ok) == ("completed", True)


def test_without_a_soft_restart_the_run_begins_at_the_routine():
    for case, el in (("v4.19-el1", 1), ("v4.19-nvhe", 2), ("v4.19-vhe", 2), ("rfc-v2-el1", 1)):
        found = ran(case, soft_restart=None, hyp_stub=None)
        assert (found.outcome, found.image_ok, found.entry.el) == ("completed", True, el), case
        assert found.trace.epochs[found.copy.epoch]["el"] == el


@pytest.mark.parametrize("pages", [1, 2, 7, 8, 9, 509, 510, 511, 512])
def test_small_images_and_full_list_pages(pages):
    found = ran("v5.17-nvhe", pages=pages, self_copies=0)
    assert (found.outcome, found.image_ok, found.pages) == ("completed", True, pages)


@pytest.mark.slow
def test_380_mb():
    found = prepare(scenario("v4.19-nvhe", pages=97_280)).run()
    assert (found.outcome, found.image_ok, found.pages) == ("completed", True, 97_280)
