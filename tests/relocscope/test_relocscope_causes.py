"""Every cause, shown by two runs of the machine on the model; and a near miss that is given another one."""

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from test_relocscope_reproduction import changed

from relocscope.comparison import sides
from relocscope.emulate import scenario
from relocscope.evidence import evidence
from relocscope.fixes import fixes
from relocscope.operand import Operand
from relocscope.runs import Run, core_config, measure, run_operand
from relocscope.verdict import Verdict, judge

Edit = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Two cases, what is set over them, and text of B's routine replaced."""

    a: str
    b: str
    set: Mapping[str, Any] = field(default_factory=dict)
    edit: Edit | None = None
    size: str = "512KiB"

    def settings(self) -> dict[str, Any]:
        return {"size": self.size, **self.set}

    def runs(self) -> tuple[Run, Run]:
        of_a, of_b = sides(self.a, self.b, self.settings())
        return run_operand(of_a), run_operand(of_b) if self.edit is None else edited(of_b, self.edit)


def edited(subject: Operand, edit: Edit) -> Run:
    """Run a case with its relocation routine assembled anew."""
    from emu.scenario import prepare

    case = subject.case
    assert case is not None
    described = scenario(case)
    trace = prepare(replace(described, relocate=changed(described.relocate, edit))).run().trace
    return measure(trace, core_config(subject), name="", initial=case.initial, seed=case.seed, operand=subject)


def same(case: str, **of_b: Any) -> Question:
    """Ask about a case against itself with keys of B set; `__` stands for a dot, and `both_` is for both sides."""
    keys = {name.replace("__", "."): value for name, value in of_b.items() if name not in ("edit", "size")}
    settings = {key.removeprefix("both_") if key.startswith("both_") else f"b.{key}": keys[key] for key in keys}
    options = {name: of_b[name] for name in ("edit", "size") if name in of_b}
    return Question(a=case, b=case, set=settings, **options)


SMALL_TLBS = {
    "both_map__leaf": "4KiB", "dtlb__entries": 1, "dtlb__ways": 1, "l2tlb__entries": 4, "l2tlb__ways": 4,
    "walk__cache_entries": 0,
}  # fmt: skip
LOOP_END = "add     x13, x13, #64\n"
CLEAN = "dc      civac, x19\n"
KINDS = {"nGnRE": 0x4_0044_FFFF, "NC": 0x44_0000_00FF, "own": 0xBBFF_440C_0400}

PAIRS: dict[str, tuple[Question, Question, str]] = {
    "copy-outside-translated-regime": (
        Question(a="v4.19-nvhe", b="rfc-v1-nvhe"),
        Question(a="v5.17-nvhe", b="v4.19-nvhe"),
        "mmu-off",
    ),
    "mmu-off": (
        Question(a="v5.17-nvhe", b="v4.19-nvhe"),
        Question(a="v5.17-nvhe", b="rfc-v1-nvhe"),
        "copy-outside-translated-regime",
    ),
    "data-device": (
        Question(a="v4.19-el1", b="rfc-v2-el1", set={"b.map.mair": KINDS["nGnRE"]}),
        Question(a="v4.19-el1", b="rfc-v2-el1", set={"b.map.mair": KINDS["own"]}),
        "mmu-and-dcache-on",
    ),
    "data-device, of A": (
        Question(a="rfc-v2-el1", b="rfc-v2-el1", set={"a.map.mair": KINDS["nGnRE"]}),
        Question(a="v4.19-el1", b="rfc-v2-el1"),
        "mmu-and-dcache-on",
    ),
    "data-noncacheable": (
        Question(a="v4.19-el1", b="rfc-v2-el1", set={"b.map.mair": KINDS["NC"]}),
        Question(a="v4.19-el1", b="rfc-v2-el1", set={"b.map.mair": KINDS["NC"], "b.copy.sctlr_c": 0}),
        "dcache-off",
    ),
    "dcache-off": (
        same("v5.17-el1", copy__sctlr_c=0),
        same("v5.17-el1", copy__sctlr_c=1),
        "no-difference",
    ),
    "walks-noncacheable": (
        same("v5.17-el1", map__tcr_irgn=0),
        same("v5.17-el1", map__tcr_irgn=3),
        "no-difference",
    ),
    "walks-noncacheable, of A": (
        Question(a="v5.17-nvhe", b="v5.17-nvhe", set={"a.map.tcr_orgn": 0}),
        same("v5.17-el1", both_map__tcr_orgn=0, both_map__leaf="4KiB", walk__cache_entries=0),
        "tlb-bound",
    ),
    "tlb-bound": (
        same("v5.17-el1", **SMALL_TLBS, walk__step_cycles=100),
        same("v5.17-el1", both_map__leaf="4KiB", walk__step_cycles=3),
        "no-difference",
    ),
    "fetch-uncached": (
        same("v5.17-el1", copy__sctlr_i=0),
        same("v4.19-nvhe", copy__sctlr_i=1),  # fetches hide behind loads and stores one at a time
        "no-difference",
    ),
    "maintenance-bound": (
        same("v5.17-el1", edit=(CLEAN, CLEAN + "        dsb     sy\n")),
        same("v5.17-el1", edit=("isb\n", "isb\n        isb\n")),
        "no-difference",
    ),
    "maintenance-bound, by the core": (
        same("v5.17-el1", maintenance__dc_interval_cycles=40),
        same("v5.17-el1", maintenance__dc_interval_cycles=9),
        "no-difference",
    ),
    "dram-bound": (
        same("v5.17-el1", dram__latency_ns=400),
        same("v5.17-el1", dram__latency_ns=76),
        "no-difference",
    ),
    "dram-bound, of a cached copy that is slower than an uncached one": (
        Question(a="v5.17-nvhe", b="v4.19-nvhe", set={"a.dram.latency_ns": 9000}),
        Question(a="v5.17-nvhe", b="v4.19-nvhe", set={"a.dram.latency_ns": 900}),
        "mmu-off",
    ),
    "instructions": (
        same(
            "v5.17-el1",
            edit=(LOOP_END, LOOP_END + "        .rept 100\n        add     x9, x9, #1\n        .endr\n"),
            budget=10_000_000,
        ),
        same("v5.17-el1", edit=(LOOP_END, LOOP_END + "        add     x9, x9, #1\n")),
        "no-difference",
    ),
    "instructions, more of the same": (
        Question(a="v4.19-el1", b="v4.19-el1", set={"b.size": "1MiB"}),
        Question(a="v4.19-el1", b="v4.19-el1", set={"b.size": "520KiB"}),
        "no-difference",
    ),
    "instructions, of a purgatory": (
        Question(a="v4.19-nvhe", b="purgatory-off", size="64KiB"),
        Question(a="purgatory-on", b="purgatory-off", size="64KiB"),
        "mmu-off",
    ),
    "no-copy": (
        Question(a="v4.19-nvhe", b="kdump"),
        Question(a="v4.19-nvhe", b="v4.19-nvhe", set={"b.kdump": False}),
        "no-difference",
    ),
    "hang": (
        Question(a="v4.19-nvhe", b="rfc-v2-nvhe"),
        Question(a="v4.19-nvhe", b="rfc-v2-nvhe", set={"b.map.clear_xn": True}),
        "mmu-and-dcache-on",
    ),
    "fault": (
        same("v5.17-nvhe", edit=("hvc     #0", "smc     #0")),
        same("v5.17-nvhe", edit=("hvc     #0", "brk     #0")),
        "hang",
    ),
    "no-difference": (
        Question(a="v4.19-nvhe", b="v4.19-el1"),
        Question(a="v4.19-nvhe", b="rfc-v1-el1", set={"b.boot": "el1"}),
        "mmu-and-dcache-on",
    ),
    "mmu-and-dcache-on": (
        Question(a="v4.19-nvhe", b="v5.17-nvhe"),
        Question(a="v4.19-nvhe", b="v5.17-nvhe", set={"b.copy.sctlr_c": 0}),
        "dcache-off",
    ),
    "mmu-and-dcache-on, of a purgatory": (
        Question(a="purgatory-off", b="purgatory-on", size="64KiB"),
        Question(a="purgatory-off", b="v5.17-nvhe", size="64KiB"),
        "instructions",
    ),
}


def cause_of(name: str) -> str:
    return name.partition(",")[0]


def verdict(question: Question) -> Verdict:
    return judge(*question.runs())


def test_every_cause_is_shown():
    schema = json.loads((resources.files("relocscope") / "schemas" / "explain.json").read_text())
    assert {cause_of(name) for name in PAIRS} == set(schema["properties"]["verdict"]["properties"]["cause"]["enum"])


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_a_cause_and_its_near_miss(name: str):
    question, near, other = PAIRS[name]
    assert (verdict(question).cause, verdict(near).cause) == (cause_of(name), other)


@pytest.mark.slow
def test_no_name_has_a_part_in_it(tmp_path: Path):
    """Case files under random names, titles and sources; routines and symbols under random labels."""
    draw = random.Random(7)
    words = [*PAIRS, "v4.19-nvhe", "rfc-v1-nvhe", "kdump", "relocate-v5.17", "vmlinuz-6.12.0", "hyp-stub", "x"]

    def disguised(case: str, side: str) -> str:
        text = (resources.files("relocscope") / "cases" / f"{case}.toml").read_text()
        for key in ("title", "source"):
            text = re.sub(rf"^{key} = .*$", f'{key} = "{draw.choice(words)}"', text, count=1, flags=re.MULTILINE)
        path = tmp_path / f"{draw.randrange(1 << 30)}-{draw.choice(words).replace(', ', '-')}-{side}.toml"
        path.write_text(text)
        return str(path)

    def labelled(run: Run) -> Run:
        names = {f"{draw.choice(words)}{number}": at for number, at in enumerate(run.trace.meta["symbols"].values())}
        routine = dict.fromkeys(("name", "sha256", "source"), draw.choice(words))
        boot = draw.choice(["el1", "nvhe", "vhe"])
        trace = replace(run.trace, meta={**run.trace.meta, "routine": routine, "symbols": names, "boot": boot})
        return measure(trace, run.config, name=draw.choice(words), initial=run.initial, seed=run.seed)

    for name, (question, _, _) in PAIRS.items():
        if "," in name:
            continue
        of_a, of_b = replace(question, a=disguised(question.a, "a"), b=disguised(question.b, "b")).runs()
        found = judge(labelled(of_a), labelled(of_b))
        assert found.cause == cause_of(name), name
        assert found.sentence == judge(of_a, of_b).sentence or found.cause in ("hang", "fault")


@pytest.mark.slow
def test_what_was_set_is_evidence_and_undoing_it_a_fix():
    for settings, fix in (
        ({"b.map.tcr_irgn": 0}, {"map.tcr_irgn": 1}),
        ({"b.map.mair": KINDS["own"]}, {"map.mair": "0x40044ffff"}),
    ):
        a, b = Question(a="v5.17-el1", b="v5.17-el1", set=settings, size="1MiB").runs()
        ((key, value),) = settings.items()
        assert f"B alone has --set {key[2:]}={value}" in [fact["fact"] for fact in evidence(a, b)]
        assert fix in [found.set for found in fixes(b)]
