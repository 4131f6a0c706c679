import random
from dataclasses import replace
from typing import Any

import fakes
import numpy as np
import pytest
from synthetic import SCTLR_ON, copy_trace, epoch_row

from relocscope.comparison import compare, speedup
from relocscope.contributions import Contribution, Decomposition
from relocscope.evidence import evidence
from relocscope.focus import COPY, differing, focus_of
from relocscope.limits import limit, past_caches
from relocscope.runs import Run, measure
from relocscope.verdict import judge
from traces.schema import MARK, Access, Maintenance, Mark, MemoryType, Phase
from traces.trace import Trace

pytestmark = pytest.mark.usefixtures("fake_model")

EL1_ON, EL1_OFF = epoch_row(el=1, on=True), epoch_row(el=1, on=False)
META = {"boot": "nvhe", "outcome": "completed", "image_ok": True, "entry": {"el": 2, "pc": 0, "mmu": False}}


def led_into(trace: Trace, *before: np.void) -> Trace:
    """The same run with two executions under each earlier epoch, so that those epochs were really in force."""
    count = len(before)
    marks = np.zeros(count + 1, MARK)
    for number in range(count + 1):
        marks[number]["at"], marks[number]["kind"], marks[number]["a"] = 2 * number, Mark.EPOCH, number
    epochs = np.concatenate([np.array(list(before), trace.epochs.dtype), trace.epochs]) if count else trace.epochs
    table = trace.translations.copy()
    table["epoch"] += count
    extra = []
    for number, row in enumerate(before):
        if row["stage1"]:
            pages = copy_trace(pages=1, on=True).translations.copy()
            pages["epoch"] = number
            extra.append(pages)
    table = np.concatenate([*extra, table])
    return replace(trace, epochs=epochs, marks=marks, translations=table)


def timed(trace: Trace, name: str = "x", **meta: Any) -> Run:
    return measure(replace(trace, meta={**META, **meta}), fakes.CORE, name=name, initial="cold")


def off(**options: Any) -> Trace:
    return led_into(copy_trace(pages=1, el=2, on=False, **options), EL1_OFF)


def outside(**options: Any) -> Trace:
    """The founding trace: EL1 translates, then EL2 copies with everything off."""
    return led_into(copy_trace(pages=1, el=2, on=False, **options), EL1_ON)


def on(memory_type: MemoryType = MemoryType.NORMAL_WB, **options: Any) -> Trace:
    return copy_trace(pages=1, el=1, on=True, memory_type=memory_type, **options)


def with_sctlr(trace: Trace, sctlr: int) -> Trace:
    epochs = trace.epochs.copy()
    epochs["sctlr"] = sctlr
    epochs["stage1"], epochs["dcache"], epochs["icache"] = sctlr & 1, sctlr >> 2 & 1, sctlr >> 12 & 1
    return replace(trace, epochs=epochs)


def limit_of(trace: Trace) -> str | None:
    run = timed(trace)
    copy = focus_of(run, COPY)
    assert copy is not None
    return past_caches(run, copy)


LIMITS = [
    (off(), "mmu-off"),
    (outside(), "copy-outside-translated-regime"),
    (on(MemoryType.DEVICE_NGNRNE), "data-device"),
    (on(MemoryType.NORMAL_NC), "data-noncacheable"),
    (with_sctlr(on(MemoryType.NORMAL_NC), SCTLR_ON & ~4), "dcache-off"),
    (on(), None),
]


@pytest.mark.parametrize(("trace", "cause"), LIMITS, ids=[str(cause) for _, cause in LIMITS])
def test_what_holds_a_run_back_comes_from_its_regime_and_types(trace: Trace, cause: str | None):
    assert limit_of(trace) == cause
    assert limit(timed(trace)) == (cause or "instructions")


def test_the_founding_question():
    a, b = timed(off()), timed(outside())
    verdict = judge(a, b)
    assert verdict.cause == "copy-outside-translated-regime"
    assert speedup(a, b) == pytest.approx(1.0, abs=0.02)
    for words in ("no faster", "EL2 with SCTLR_EL2.M=C=I=0", "EL1&0 regime only (SCTLR_EL1.M=C=I=1)", "Device-nGnRnE"):
        assert words in verdict.sentence
    facts = " ".join(fact["fact"] for fact in evidence(a, b))
    assert "SCTLR_EL2 = 0x30c50830 (M=0 C=0 I=0 A=0 WXN=0)" in facts
    assert "100% Device-nGnRnE" in facts


def test_an_el1_regime_that_el2_switched_off_later_is_no_reason():
    """RFC v1 with an `msr sctlr_el1` at EL2 before the loop: what EL1 then holds is not known to be on."""
    trace = outside()
    insns = trace.insns.copy()
    insns["word"][1] = 0xD5181000
    assert limit_of(replace(trace, insns=insns)) == "mmu-off"


CAUSES = [
    (off(), on(), "mmu-and-dcache-on"),
    (off(), off(), "no-difference"),
    (on(), on(), "no-difference"),
    (on(), outside(), "copy-outside-translated-regime"),
    (on(), off(), "mmu-off"),
    (off(), on(MemoryType.DEVICE_NGNRNE), "data-device"),
    (off(), on(MemoryType.NORMAL_NC), "data-noncacheable"),
    (off(), with_sctlr(on(MemoryType.NORMAL_NC), SCTLR_ON & ~4), "dcache-off"),
    (on(), copy_trace(pages=2, el=1, on=True), "instructions"),
]


@pytest.mark.parametrize(("a", "b", "cause"), CAUSES, ids=[f"{i}-{c[2]}" for i, c in enumerate(CAUSES)])
def test_causes(a: Trace, b: Trace, cause: str):
    assert judge(timed(a), timed(b)).cause == cause


def test_only_the_icache_differs(monkeypatch: pytest.MonkeyPatch):
    fast = with_sctlr(off(), 0x30C5_0830 | 1 << 12)
    epochs = fast.epochs.copy()
    epochs["flat_fetch_type"] = MemoryType.NORMAL_WT
    monkeypatch.setattr(fakes, "UNCACHED_FETCH_CYCLES", 500)
    verdict = judge(timed(off()), timed(replace(fast, epochs=epochs)))
    assert verdict.cause == "fetch-uncached"
    assert "times as fast" in verdict.sentence


def test_runs_that_do_not_arrive_are_the_verdict():
    fault = {
        "el": 2,
        "ec": 0x21,
        "iss": 0xF,
        "esr": 0x8600000F,
        "far": 0x1000,
        "elr": 0x1000,
        "reason": "abort",
        "where": "",
    }
    stuck = timed(outside(), outcome="hang", fault=fault, entry=None)
    verdict = judge(timed(off()), stuck)
    assert verdict.cause == "hang"
    assert "bit 54" in verdict.sentence
    assert stuck.hazards[0]["id"] == "xn-at-el2"
    assert judge(timed(off()), timed(outside(), outcome="fault", fault=None, entry=None)).cause == "fault"
    assert judge(stuck, timed(on())).cause == "hang"


def test_a_run_that_never_arrives_has_no_speed_up_and_both_sides_are_told_of():
    stuck = timed(outside(), outcome="hang", fault=None, entry=None)
    other = timed(outside(), outcome="budget", fault=None, entry=None)
    arrived = timed(off())
    assert speedup(arrived, stuck) is None
    assert speedup(stuck, arrived) is None
    assert speedup(arrived, arrived) == 1
    assert compare(arrived, stuck).to_json()["speedup"] is None
    one = judge(arrived, stuck).sentence
    assert one.startswith("B never reaches the new kernel (hang)")
    assert "A arrives" in one
    assert judge(stuck, arrived).sentence.startswith("A never reaches the new kernel (hang)")
    both = judge(other, stuck).sentence
    assert both.startswith("Neither reaches the new kernel: B (hang) ends after")
    assert "A (budget) ends after" in both
    assert judge(stuck, stuck).sentence.endswith("A (hang) for the same reason.")


def test_evidence_decodes_the_four_registers_where_they_govern():
    def facts(run: Run) -> str:
        return " ".join(fact["fact"] for fact in evidence(run, run) if fact["fact"].startswith("B's copy"))

    translated = on()
    epochs = translated.epochs.copy()
    epochs["mair"] = 0xBBFF440C0400
    at_el2, at_el1 = facts(timed(off())), facts(timed(replace(translated, epochs=epochs)))
    assert "HCR_EL2 = " in at_el2
    assert "(E2H=0" in at_el2
    assert "TCR_EL" not in at_el2
    assert "MAIR_EL" not in at_el2
    assert "HCR_EL2" not in at_el1
    for words in (
        "SCTLR_EL1 = ",
        "(M=1 C=1 I=1",
        "TCR_EL1 = ",
        "T0SZ=",
        "MAIR_EL1 = ",
        "Attr4=Normal-WB Attr5=Normal-WT)",
    ):
        assert words in at_el1
    guest = on()
    epochs = guest.epochs.copy()
    epochs["stage2"], epochs["hcr"] = 1, 1 << 31 | 1
    assert "(E2H=0 TGE=0 VM=1 DC=0 RW=1)" in facts(timed(replace(guest, epochs=epochs)))


def test_a_data_abort_at_el2_is_not_taken_for_xn():
    fault = {
        "el": 2,
        "ec": 0x25,
        "iss": 0xF,
        "esr": 0x9600000F,
        "far": 0x1000,
        "elr": 0x1000,
        "reason": "abort",
        "where": "",
    }
    assert "xn-at-el2" not in [h["id"] for h in timed(outside(), outcome="hang", fault=fault).hazards]


def test_nothing_copied():
    trace = off()
    nothing = replace(trace, ranges=trace.ranges[:0])
    assert judge(timed(trace), timed(nothing)).cause == "no-copy"
    assert judge(timed(nothing), timed(nothing)).cause == "no-copy"
    assert timed(nothing).copy is None


def test_names_and_labels_have_no_part_in_the_verdict():
    """Any label on any run, in the case, the routine, the symbols and the boot word: cause and parts stay the same."""
    names = ["v4.19-nvhe", "rfc-v1-nvhe", "rfc-v2-el1", "v5.17-vhe", "kdump", "mmu-off", "x"]
    shuffle = random.Random(5)
    for a, b, cause in CAUSES:
        plain = judge(timed(a), timed(b))
        for _ in range(3):
            labels = [shuffle.choice(names) for _ in range(6)]
            routine = {"name": labels[2], "sha256": labels[3], "source": labels[4]}
            boot, symbols = shuffle.choice(["el1", "nvhe", "vhe"]), {labels[5]: 0x4000_0000}
            pair = [
                timed(trace, label, routine=routine, symbols=symbols, boot=boot)
                for trace, label in ((a, labels[0]), (b, labels[1]))
            ]
            assert judge(*pair) == plain
            assert plain.cause == cause


def test_parts_sum_to_the_difference_and_have_the_seven_names():
    comparison = compare(timed(off()), timed(on()))
    assert sum(one.cycles for one in comparison.contributions) == comparison.a.cycles - comparison.b.cycles
    assert {one.mechanism for one in comparison.contributions} == {
        "fetch", "memory_type", "hierarchy", "translation", "maintenance", "dram", "instructions",
    }  # fmt: skip
    assert comparison.contributions[0].mechanism == "memory_type"
    assert sum(one.share or 0 for one in comparison.contributions) == pytest.approx(1)
    slower = compare(timed(on()), timed(outside()))
    assert "-0.0" not in [str(one.share) for one in slower.contributions]
    same = compare(timed(off()), timed(off()))
    assert all(one.cycles == 0 and one.share is None for one in same.contributions)


def test_cacheable_copies_need_cleaning_before_an_uncached_entry():
    def ids(run: Run) -> list[str]:
        return [hazard["id"] for hazard in run.hazards]

    assert "dirty-at-entry" in ids(timed(on()))
    assert "dirty-at-entry" not in ids(timed(on(), entry={"el": 2, "pc": 0, "mmu": True}))
    assert "dirty-at-entry" not in ids(timed(off()))
    assert "dirty-at-entry" not in ids(timed(on(MemoryType.NORMAL_NC)))
    cleaned = on()
    insns = cleaned.insns.copy()
    insns["access"][5], insns["slot"][5] = Access.MAINTAIN, insns["slot"][2]  # by the address of the store before it
    insns["maintenance"][5] = Maintenance.DC_CIVAC  # once an iteration: four times a line
    assert "dirty-at-entry" not in ids(timed(replace(cleaned, insns=insns)))
    insns["maintenance"][5] = Maintenance.DC_CVAU
    assert {"dirty-at-entry", "clean-to-pou-only"} <= set(ids(timed(replace(cleaned, insns=insns))))


def test_entry_below_the_boot_level_and_set_way_are_seen():
    below = timed(on(), entry={"el": 1, "pc": 0x80000, "mmu": False})
    assert "entry-el-differs" in [hazard["id"] for hazard in below.hazards]
    assert "entry-el-differs" not in [hazard["id"] for hazard in timed(on()).hazards]
    trace = on()
    insns = trace.insns.copy()
    insns["maintenance"][1] = Maintenance.DC_CISW
    assert "set-way-maintenance" in [hazard["id"] for hazard in timed(replace(trace, insns=insns)).hazards]


def decided(a: Run, b: Run, **cycles: int) -> tuple[str, str]:
    """Judge with contributions as given: cause and sentence."""
    named = {"instructions": 0, **cycles}
    parts = tuple(Contribution(mechanism=name, cycles=value, share=0.6) for name, value in named.items())
    found = judge(a, b, lambda: Decomposition(contributions=parts, interactions=()))
    return found.cause, found.sentence


def slower(run: Run, times: float = 2.0) -> Run:
    return replace(run, cycles=round(run.cycles * times), seconds=run.seconds * times)


def test_the_largest_contribution_in_favour_of_the_faster_one_decides():
    a = timed(on())
    assert decided(a, slower(a), dram=5000, translation=-3000, maintenance=-2500)[0] == "tlb-bound"
    assert decided(slower(a), a, dram=-5000, translation=2000, maintenance=3000)[0] == "maintenance-bound"
    assert decided(a, slower(a), dram=-1)[0] == "dram-bound"
    assert decided(a, slower(a), instructions=-1)[0] == "instructions"


def test_fetching_is_the_cause_only_past_the_icache_and_hierarchy_only_where_it_is_used():
    cached, uncached = timed(on()), timed(off())
    assert decided(cached, slower(cached), fetch=-1)[0] == "instructions"
    assert decided(uncached, slower(uncached), fetch=-1)[0] == "fetch-uncached"
    assert decided(uncached, slower(uncached), hierarchy=-1)[0] == "mmu-off"
    assert decided(cached, slower(cached), hierarchy=-1)[0] == "dram-bound"


def test_a_faster_clock_is_said_to_be_one():
    a = timed(on())
    quicker = replace(a, costs=replace(a.costs, frequency_hz=3 * fakes.HZ))
    cause, sentence = decided(quicker, replace(a, cycles=a.cycles - 9, seconds=a.seconds * 2))
    assert cause == "instructions"
    assert "its core runs at 1000 MHz, A's at 3000 MHz; in cycles it is the other way round" in sentence


def test_sentences_say_how_much_faster_and_where_each_side_ran():
    """Their figures follow from the costs of fakes.py."""
    said = {
        (name_a, name_b): judge(timed(a), timed(b)).sentence
        for name_a, a, name_b, b in (
            ("off", off(), "off", off()),
            ("on", on(), "off", off()),
            ("off", off(), "nc", on(MemoryType.NORMAL_NC)),
            ("on", on(), "twice", copy_trace(pages=2, el=1, on=True)),
        )
    }
    assert said["off", "off"] == "No difference: both copied at EL2 with SCTLR_EL2.M=C=I=0."
    assert said["on", "off"].startswith("B is 30 times as slow: its copy ran at EL2 with SCTLR_EL2.M=C=I=0; with")
    assert said["off", "nc"].startswith("B is 3.3 times as fast, and no more: its copy ran at EL1 with")
    assert said["off", "nc"].endswith("with its D-cache on, but maps what it copies as Normal-NC.")
    took_ns = 1e9 * timed(on()).seconds / (4096 / 64)
    assert said["on", "twice"] == (
        f"B is 2.0 times as slow: it copies 8,192 bytes, A 4,096; per 64 bytes it takes {took_ns:.3g} ns, "
        f"A {took_ns:.3g} ns."
    )
    code = on(MemoryType.NORMAL_NC)
    table = code.translations.copy()
    table["fetch_type"] = MemoryType.NORMAL_NC
    assert (
        "maps what it copies, and its own code, as"
        in judge(timed(on()), timed(replace(code, translations=table))).sentence
    )


def test_a_part_of_the_difference_is_written_as_one():
    a = timed(on())
    assert decided(a, slower(a), dram=-1)[1] == (
        "B is 2.0 times as slow: 60% of the difference lies in waiting for memory (dram)."
    )
    assert decided(slower(a, 12.4), a, dram=1)[1].startswith("B is 12 times as fast: 60% of the difference lies in")
    nc = timed(with_sctlr(on(MemoryType.NORMAL_NC), SCTLR_ON & ~4))
    cause, sentence = decided(nc, slower(nc), hierarchy=-1)
    assert cause == "dcache-off"
    assert sentence.endswith("lies in waiting for caches and memory (hierarchy); B's loads and stores are Normal-NC.")
    mixed = timed(on())
    assert mixed.copy is not None
    types = {**mixed.copy["memory_types"], "data": {"Normal-WB": 9, "Normal-NC": 3, "Device-nGnRnE": 1}}
    mixed = replace(mixed, copy={**mixed.copy, "memory_types": types})
    assert decided(mixed, slower(mixed), memory_type=-1)[0] == "data-noncacheable"
    types = {**types, "data": {"Normal-WB": 9, "Normal-NC": 1, "Device-nGnRnE": 3}}
    mixed = replace(mixed, copy={**mixed.copy, "memory_types": types})
    assert decided(mixed, slower(mixed), memory_type=-1)[0] == "data-device"


@pytest.mark.parametrize(("share", "words"), [(0.994, "99% of the difference"), (1.2, "all of the difference"),
                                              (0.3, "the largest part of the difference, 30%,")])  # fmt: skip
def test_how_much_of_the_difference(share: float, words: str):
    a = timed(on())
    parts = (Contribution(mechanism="dram", cycles=-5, share=share),)
    assert words in judge(a, slower(a), lambda: Decomposition(contributions=parts, interactions=())).sentence


def walked(run: Run, **walks: int) -> Run:
    assert run.copy is not None
    types = {**run.copy["memory_types"], "walk": {name.replace("_", "-"): count for name, count in walks.items()}}
    return replace(run, copy={**run.copy, "memory_types": types})


def test_uncached_walks_are_the_cause_only_where_the_other_side_walks_cached():
    uncached, cached = walked(timed(on()), Normal_NC=9, Normal_WB=1), walked(timed(on()), Normal_NC=1, Normal_WB=9)
    assert decided(cached, slower(uncached), translation=-1)[0] == "walks-noncacheable"
    assert decided(uncached, slower(uncached), translation=-1)[0] == "tlb-bound"
    assert decided(uncached, slower(cached), translation=-1)[0] == "tlb-bound"


def test_what_holds_one_run_back_by_its_own_cycles():
    run = timed(on())
    walks = {**run.cycle_stack, "tlb_walk": 10 * run.cycles}
    assert limit(replace(run, cycle_stack=walks)) == "tlb-bound"
    assert run.copy is not None
    types = {**run.copy["memory_types"], "walk": {"Normal-NC": 9, "Normal-WB": 1}}
    uncached = replace(run, cycle_stack=walks, copy={**run.copy, "memory_types": types})
    assert limit(uncached) == "walks-noncacheable"


def test_a_phase_is_in_focus_only_where_most_of_a_difference_lies_in_it():
    run = timed(on())

    def with_flush(seconds: float, flush: float) -> Run:
        return replace(run, seconds=seconds, phases=({"name": "list-flush", "seconds": flush},))

    assert differing(with_flush(1.0, 0.1), with_flush(2.0, 0.9)) == "list-flush"
    assert differing(with_flush(1.0, 0.1), with_flush(2.0, 0.5)) == COPY
    assert differing(with_flush(1.0, 0.01), with_flush(1.04, 0.05)) == COPY


def in_phases(trace: Trace, **begins: Phase) -> Trace:
    marks = np.zeros(len(begins), MARK)
    for row, (at, phase) in zip(marks, begins.items(), strict=True):
        row["at"], row["kind"], row["a"] = int(at[1:]), Mark.PHASE, phase
    every = np.concatenate([trace.marks, marks])
    return replace(trace, marks=every[np.argsort(every["at"], kind="stable")])


def test_a_phase_in_focus_is_all_of_it_and_under_the_epoch_that_most_of_it_ran_in():
    """Two executions under each of two earlier epochs, then the copy: the flush is executions 1 to 6."""
    trace = led_into(copy_trace(pages=1, el=2, on=False), EL1_ON, EL1_OFF)
    run = timed(in_phases(trace, _1=Phase.LIST_FLUSH, _7=Phase.RELOCATE))
    found = focus_of(run, "list-flush")
    assert found is not None
    assert (found.first, found.last, found.epoch) == (1, 6, 2)
    later = timed(in_phases(trace, _1=Phase.LIST_FLUSH, _4=Phase.RELOCATE))
    found = focus_of(later, "list-flush")
    assert found is not None
    assert (found.first, found.last, found.epoch) == (1, 3, 1)
    assert sum(found.fetch.values()) < sum(focus_of(run, "list-flush").fetch.values())
    assert focus_of(run, "page-tables") is None
    apart = timed(in_phases(trace, _1=Phase.LIST_FLUSH, _2=Phase.RELOCATE, _3=Phase.LIST_FLUSH, _6=Phase.RELOCATE))
    found = focus_of(apart, "list-flush")
    assert found is not None
    assert (found.first, found.last) == (1, 5)
