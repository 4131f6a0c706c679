"""Causes with the bytes of real kernels, under file names that say something else; and their phases."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from kernels import image_or_skip

from relocscope.comparison import sides
from relocscope.runs import Run, run_operand
from relocscope.verdict import judge

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

PAIRS: list[tuple[str, str, dict[str, Any], str]] = [
    ("5.10@nvhe", "6.1@nvhe", {}, "mmu-and-dcache-on"),
    ("6.1@nvhe", "5.10@nvhe", {}, "mmu-off"),
    ("5.10@nvhe", "5.10@el1", {}, "no-difference"),
    ("6.1@nvhe", "6.12@nvhe", {}, "no-difference"),
    ("5.10@el1", "6.1@el1", {"b.copy.sctlr_c": 0}, "dcache-off"),
    ("6.1@el1", "6.1@el1", {"b.copy.sctlr_i": 0}, "fetch-uncached"),
    ("6.1@el1", "6.1@el1", {"b.map.tcr_irgn": 0}, "walks-noncacheable"),
    ("6.12@nvhe", "6.12@nvhe", {"b.dram.latency_ns": 400}, "dram-bound"),
    ("6.12@nvhe", "6.12@nvhe", {"b.maintenance.dc_interval_cycles": 40}, "maintenance-bound"),
    ("5.10@nvhe", "6.1@nvhe", {"b.kdump": True}, "no-copy"),
    ("5.10@vhe", "6.1@vhe", {"phases": "all"}, "mmu-and-dcache-on"),
]


@pytest.mark.parametrize(("a", "b", "settings", "cause"), PAIRS, ids=[f"{n}-{pair[3]}" for n, pair in enumerate(PAIRS)])
def test_the_verdict_of_real_bytes(tmp_path: Path, a: str, b: str, settings: dict[str, Any], cause: str):
    lies = {"5.10": "vmlinuz-6.12.0", "6.1": "vmlinuz-4.19.0", "6.12": "rfc-v1"}

    def named(operand: str) -> str:
        version, _, boot = operand.partition("@")
        image = tmp_path / lies[version]
        if not image.exists():
            shutil.copy(image_or_skip(version), image)
        return f"image:{image}@{boot}"

    of_a, of_b = (run_operand(side) for side in sides(named(a), named(b), {"size": "512KiB", **settings}))
    assert judge(of_a, of_b).cause == cause


def phases(run: Run) -> list[str]:
    return [str(phase["name"]) for phase in run.phases]


def test_real_kernels_go_through_the_phases_of_their_generation():
    old, new = (f"image:{image_or_skip(version)}@nvhe" for version in ("5.10", "6.1"))
    of_a, of_b = (run_operand(side) for side in sides(old, new, {"size": "64KiB", "phases": "all,purgatory"}))
    assert phases(of_a) == ["list-flush", "soft-restart", "relocate", "purgatory"]
    assert phases(of_b) == ["tables", "relocate", "purgatory"]
    assert all(sum(phase["cycles"] for phase in run.phases) == run.cycles for run in (of_a, of_b))
