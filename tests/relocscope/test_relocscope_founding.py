"""The founding question and its neighbours on the real machine and the real model, small."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import relocscope
from relocscope.case import case_names
from relocscope.comparison import Comparison

ROOT = Path(__file__).parents[2]
SIZE = "256KiB"


@pytest.fixture(scope="module")
def found() -> Comparison:
    return relocscope.explain(size=SIZE)


def test_the_founding_question(found: Comparison):
    assert found.verdict.cause == "copy-outside-translated-regime"
    assert found.speedup == pytest.approx(1.0, abs=0.02)
    copy = found.b.copy
    assert copy is not None
    assert (copy["el"], copy["mmu"], copy["dcache"], copy["icache"]) == (2, False, False, False)
    assert copy["memory_types"]["data"].keys() == {"Device-nGnRnE"}
    assert sum(one.cycles for one in found.contributions) == found.a.cycles - found.b.cycles


def test_fixes_make_it_many_times_as_fast_and_are_what_their_settings_give(found: Comparison):
    assert ("el2_switch",) in {tuple(fix.set) for fix in found.fixes if fix.speedup > 10}
    assert any("map.clear_xn" in fix.set and fix.speedup > 5 for fix in found.fixes)
    for fix in found.fixes:
        again = relocscope.run("rfc-v1-nvhe", size=SIZE, set=fix.set)
        assert found.b.seconds / again.seconds == pytest.approx(fix.speedup)


@pytest.mark.parametrize(
    ("a", "b", "settings", "cause"),
    [
        ("v4.19-nvhe", "v5.17-nvhe", {}, "mmu-and-dcache-on"),
        ("v4.19-nvhe", "rfc-v2-el1", {}, "mmu-and-dcache-on"),
        ("v4.19-nvhe", "v4.19-el1", {}, "no-difference"),
        ("v5.17-nvhe", "v4.19-nvhe", {}, "mmu-off"),
        ("v4.19-nvhe", "v5.17-nvhe", {"b.copy.sctlr_c": 0}, "dcache-off"),
        ("v4.19-nvhe", "rfc-v2-nvhe", {}, "hang"),
        ("v4.19-nvhe", "kdump", {}, "no-copy"),
        ("v4.19-vhe", "rfc-v1-vhe", {}, "mmu-and-dcache-on"),
    ],
)
def test_causes(a: str, b: str, settings: dict[str, int], cause: str):
    from relocscope.comparison import sides
    from relocscope.runs import run_operand
    from relocscope.verdict import judge

    of_a, of_b = (run_operand(side) for side in sides(a, b, {"size": SIZE, **settings}))
    assert judge(of_a, of_b).cause == cause


def test_a_crash_kernel_copies_nothing_is_clean_and_leaves_nothing_to_fix():
    found = relocscope.explain("v4.19-nvhe", "kdump", size=SIZE)
    assert found.verdict.sentence.startswith("B copies nothing: B goes straight to the new kernel")
    assert found.fixes == ()
    assert (found.b.image_visible, found.b.dirty_at_entry, found.b.hazards) == (True, 0, ())


def test_every_change_that_explain_tries_runs_on_a_vhe_boot():
    assert relocscope.explain("v4.19-vhe", "v5.17-vhe", size=SIZE).verdict.cause == "mmu-and-dcache-on"


def test_a_case_under_another_name_gets_the_same_verdict(tmp_path: Path):
    """Every shipped case under the name, title and source of the next one."""
    from relocscope.operand import operand, with_settings
    from relocscope.runs import run_operand
    from relocscope.verdict import judge

    # kimage in a destination needs an image larger than the old kernel; SIZE is not.
    names = [name for name in case_names() if not name.endswith("-vhe") and name != "v5.16-kimage-overwritten"]
    texts = {name: (ROOT / "relocscope" / "cases" / f"{name}.toml").read_text() for name in names}
    plain = run_operand(with_settings(operand("v4.19-nvhe"), {"size": SIZE}))
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        labels = {key: re.search(rf"^{key} = .*$", texts[other], re.MULTILINE) for key in ("title", "source")}
        text = texts[name]
        for key, label in labels.items():
            assert label is not None
            text = re.sub(rf"^{key} = .*$", lambda _, label=label: label[0], text, count=1, flags=re.MULTILINE)
        (tmp_path / f"{other}.toml").write_text(text)
        disguised = run_operand(with_settings(operand(str(tmp_path / f"{other}.toml")), {"size": SIZE}))
        honest = run_operand(with_settings(operand(name), {"size": SIZE}))
        assert judge(plain, disguised) == judge(plain, honest)


@pytest.mark.slow
def test_the_cases_page_is_what_the_generator_writes():
    done = subprocess.run(
        [sys.executable, "-c", "import generate, sys; sys.stdout.write(generate.cases_page())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "docs",
    )
    assert done.stdout == (ROOT / "docs" / "cases.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["v4.19-nvhe", "v5.17-nvhe", "rfc-v1-el1"])
def test_a_sample_says_what_the_whole_says(case: str):
    whole, sampled = relocscope.run(case), relocscope.run(case, sample=True)
    assert sampled.seconds == pytest.approx(whole.seconds, rel=0.02)
    assert sum(sampled.cycle_stack.values()) == sampled.cycles
    assert sampled.instructions == whole.instructions
    assert sampled.copy is not None
    assert whole.copy is not None
    assert sampled.copy["ns_per_line"] == pytest.approx(whole.copy["ns_per_line"], rel=0.02)
    if case != "rfc-v1-el1":  # whether the last of its dirty lines was evicted in time is luck
        assert sampled.image_visible == whole.image_visible


def test_a_short_copy_is_not_sampled():
    whole, sampled = relocscope.run("v5.17-nvhe", size=SIZE), relocscope.run("v5.17-nvhe", size=SIZE, sample=True)
    assert sampled.cycles == whole.cycles


@pytest.mark.slow
def test_the_readme_shows_what_its_commands_print():
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
