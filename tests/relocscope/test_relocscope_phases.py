"""Phases beside the loop: where the time goes, and from which size on a set-up pays."""

from pathlib import Path
from typing import Any

import pytest

import relocscope
from relocscope.break_even import PRECISION, break_even
from relocscope.case import shipped_case
from relocscope.operand import operand, with_settings
from relocscope.runs import Run, run_operand
from relocscope.verdict import judge
from traces.errors import InputError

MAP = """
[[memory]]
kind = "ram"
pa = 0x8000_0000
size = "256MiB"

[[memory]]
kind = "kernel-code"
pa = 0x8008_0000
size = "256KiB"

[[memory]]
kind = "kernel-data"
pa = 0x800c_0000
size = "512KiB"
"""


def names(run: Run) -> list[str]:
    return [str(phase["name"]) for phase in run.phases]


@pytest.mark.parametrize("case", ["v4.19-nvhe", "v5.17-nvhe", "rfc-v1-el1", "kdump"])
@pytest.mark.parametrize("sample", [False, True])
def test_phases_sum_to_the_whole(case: str, sample: bool):
    run = relocscope.run(case, size="256KiB", set={"phases": "all"}, sample=sample)
    assert sum(phase["cycles"] for phase in run.phases) == run.cycles
    assert sum(phase["instructions"] for phase in run.phases) == run.instructions
    assert sum(phase["seconds"] for phase in run.phases) == pytest.approx(run.seconds)
    assert all(phase["cycles"] >= 0 for phase in run.phases)


def test_the_default_is_the_relocation_alone():
    alone = relocscope.run("v4.19-nvhe", size="256KiB")
    assert names(alone) == ["soft-restart", "relocate"]
    assert alone.cycles == relocscope.run("v4.19-nvhe", size="256KiB", set={"phases": "loop"}).cycles
    assert alone.cycles == relocscope.run("v4.19-nvhe", size="256KiB", set={"phases": "tables"}).cycles


def test_what_is_done_at_load_time_is_told_from_the_reboot():
    old, new = (relocscope.run(case, size="256KiB", set={"phases": "all"}) for case in ("v4.19-nvhe", "v5.17-nvhe"))
    assert [(phase["name"], phase["when"]) for phase in old.phases] == [
        ("list-flush", "reboot"), ("soft-restart", "reboot"), ("relocate", "reboot"),
    ]  # fmt: skip
    assert [(phase["name"], phase["when"]) for phase in new.phases] == [("tables", "load"), ("relocate", "reboot")]


def test_the_copy_costs_what_it_costs_without_set_up():
    """What the flush leaves in the caches changes little of a copy that does not use them."""
    alone, whole = (relocscope.run("v4.19-nvhe", size="1MiB", set={"phases": phases}) for phases in ("loop", "all"))
    assert whole.copy is not None
    assert alone.copy is not None
    assert whole.copy["ns_per_line"] == pytest.approx(alone.copy["ns_per_line"], rel=0.01)
    assert whole.cycles > alone.cycles * 1.005


@pytest.mark.slow
@pytest.mark.parametrize("case", ["v4.19-nvhe", "v5.17-nvhe"])
def test_a_sample_finds_the_phases_of_the_whole(case: str):
    whole, sampled = (relocscope.run(case, set={"phases": "all"}, sample=sample) for sample in (False, True))
    for of_whole, of_sample in zip(whole.phases, sampled.phases, strict=True):
        assert of_sample["name"] == of_whole["name"]
        assert of_sample["seconds"] == pytest.approx(of_whole["seconds"], rel=0.03)
    assert sum(phase["cycles"] for phase in sampled.phases) == sampled.cycles


def test_phases_are_checked():
    with pytest.raises(InputError, match="phases: 'flush' must be one of loop, all, tables, list-flush, purgatory"):
        relocscope.run("v4.19-nvhe", size="4KiB", set={"phases": "flush"})
    both = with_settings(operand("v5.17-nvhe"), {"phases": "list-flush, tables"}).case
    assert both is not None
    assert both.phases == ("tables", "list-flush")
    assert shipped_case("v5.17-nvhe").phases == ()


def test_the_purgatory_is_a_phase_that_is_named_beside_those_of_the_kernel():
    old, new = (
        relocscope.run(case, size="64KiB", set={"phases": "all,purgatory"}) for case in ("v4.19-nvhe", "v5.17-el1")
    )
    assert names(old) == ["list-flush", "soft-restart", "relocate", "purgatory"]
    assert names(new) == ["tables", "relocate", "purgatory"]
    assert (old.outcome, new.outcome) == ("completed", "completed")
    assert [phase["when"] for phase in new.phases] == ["load", "reboot", "reboot"]
    # Both hash with the MMU off: neither kernel's relocation has a part in it.
    spent = [next(phase["seconds"] for phase in run.phases if phase["name"] == "purgatory") for run in (old, new)]
    assert spent[0] == pytest.approx(spent[1], rel=0.01)
    assert judge(old, new).sentence == "No difference: both spent 98% of their time or more in the purgatory."
    own = relocscope.run("purgatory-on", size="64KiB", set={"phases": "purgatory"})
    assert own.cycles == relocscope.run("purgatory-on", size="64KiB").cycles
    alone = relocscope.run("v5.17-el1", size="64KiB", set={"routine.purgatory": "purgatory"})
    assert alone.cycles == relocscope.run("v5.17-el1", size="64KiB", set={"phases": "purgatory"}).cycles


def test_what_is_no_purgatory_is_refused():
    with pytest.raises(InputError, match=r"purgatory: relocate-v5\.17 is no purgatory"):
        relocscope.run("v4.19-el1", size="64KiB", set={"routine.purgatory": "relocate-v5.17"})


def pair(tmp_path: Path, **settings: Any) -> tuple[Run, Run]:
    """4.19 and 5.17 on a machine of 256 MiB."""
    (tmp_path / "map.toml").write_text(MAP)
    common = {"image.memory_map": str(tmp_path / "map.toml"), "size": "1MiB", "phases": "all", **settings}
    of = [run_operand(with_settings(operand(case), common)) for case in ("v4.19-nvhe", "v5.17-nvhe")]
    return of[0], of[1]


def test_tables_of_pages_pay_from_some_size_on_and_that_size_is_found_by_runs(tmp_path: Path):
    a, b = pair(tmp_path, **{"map.leaf": "4KiB"})
    found = break_even(a, b)
    assert found is not None
    assert found.bytes is not None
    assert 4096 < found.bytes < a.image_bytes
    sizes = [point.bytes for point in found.points]
    assert sizes == sorted(sizes)
    place = sizes.index(found.bytes)
    below, at = found.points[place - 1], found.points[place]
    assert below.gained < 0 < at.gained
    assert at.bytes - below.bytes <= max(4096, PRECISION * at.bytes)
    assert found.sentence.startswith("B's set-up pays from ")
    again = [run_operand(with_settings(run.operand, {"size": at.bytes})) for run in (a, b) if run.operand]
    assert (again[0].seconds, again[1].seconds) == (at.a_seconds, at.b_seconds)


def test_the_other_way_round_it_is_a_that_pays(tmp_path: Path):
    b, a = pair(tmp_path, **{"map.leaf": "4KiB"})
    found = break_even(a, b)
    assert found is not None
    assert found.sentence.startswith("A's set-up pays from ")


def test_tables_of_blocks_pay_at_every_size(tmp_path: Path):
    found = break_even(*pair(tmp_path))
    assert found is not None
    assert found.bytes is None
    assert found.sentence.startswith("B is the faster one at every size from 4KiB to 1.00MiB")


def test_without_set_up_there_is_no_break_even(tmp_path: Path):
    assert break_even(*pair(tmp_path, phases="loop")) is None


def test_a_purgatory_is_no_set_up_and_needs_an_image_that_has_one():
    assert break_even(*(relocscope.run(f"purgatory-{way}", size="64KiB") for way in ("on", "on"))) is None
    old, new = (
        relocscope.run(case, size="68KiB", set={"phases": "all,purgatory"}) for case in ("v4.19-nvhe", "v5.17-nvhe")
    )
    found = break_even(old, new)
    assert found is not None
    assert [point.bytes for point in found.points] == [16 * 4096, 17 * 4096]
