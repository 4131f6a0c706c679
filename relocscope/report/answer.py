"""Answer: what a report says first, for somebody who has never heard of the project, and the facts that prove it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relocscope.comparison import Comparison
from relocscope.evidence import Fact, evidence
from relocscope.focus import COPY, SAME_WITHIN, differing, focus_of, spent
from relocscope.limits import limit, translated_elsewhere
from relocscope.operand import label
from relocscope.quantities import image_size, seconds
from relocscope.regimes import place, register
from relocscope.runs import Run
from relocscope.verdict import control_bits, pace

PLAIN: Mapping[str, str] = {
    "copy-outside-translated-regime": "The MMU and the data cache were switched on, but for another exception level "
    "than the one that does the copying. The copy itself ran with both of them off, so every load and store bypassed "
    "the caches.",
    "mmu-off": "The copy ran with the MMU off, so every load and store bypassed the caches.",
    "data-device": "The MMU is on, but what is copied is mapped as Device memory, so every load and store bypassed the "
    "caches and kept its order.",
    "data-noncacheable": "The MMU is on, but what is copied is mapped Non-cacheable, so every load and store bypassed "
    "the caches.",
    "dcache-off": "The MMU is on, but the data cache is off at the level that copies, so every load and store bypassed "
    "the caches.",
    "walks-noncacheable": "Looking up translation tables, which are read past the caches, takes most of the time.",
    "fetch-uncached": "Fetching the loop's own instructions, without the instruction cache, takes most of the time.",
    "maintenance-bound": "Cache maintenance and barriers take most of the time.",
    "tlb-bound": "Looking up translation tables takes most of the time.",
    "dram-bound": "The data goes through the caches; what is left is waiting for memory behind them.",
    "instructions": "The data goes through the caches; what is left is executing the instructions themselves.",
    "no-copy": "Nothing is copied: the new kernel is already in its place.",
    "hang": "The new kernel is never reached: the processor hangs on the way.",
    "fault": "The new kernel is never reached: an exception that nothing handles ends the run.",
    "mmu-and-dcache-on": "The copy runs with the MMU and the data cache on at its own exception level, so its loads "
    "and stores go through the caches instead of past them.",
}
"""The causes of verdicts, and what limits a run, without any register."""

_DIFFERENCES: Mapping[str, str] = {
    "walks-noncacheable": "Most of the difference is looking up translation tables past the caches.",
    "fetch-uncached": "Most of the difference is fetching instructions without the instruction cache.",
    "maintenance-bound": "Most of the difference is cache maintenance and barriers.",
    "tlb-bound": "Most of the difference is looking up translation tables.",
    "dram-bound": "Both copy through the caches; most of the difference is waiting for memory behind them.",
    "instructions": "The two do not execute the same code, or not as much of it, or not as fast.",
}
"""What the causes are that both sides share, where one of them is slower by it."""

_PAST_CACHES = ("copy-outside-translated-regime", "mmu-off", "data-device", "data-noncacheable", "dcache-off")
"""Causes that hold of the slower side."""

_WAITS = {
    "device_load": "loads that wait for memory",
    "device_store": "stores that wait for memory",
    "fetch": "fetching instructions",
    "tlb_walk": "table walks",
    "dram_latency": "the latency of DRAM",
    "dram_bandwidth": "the bandwidth of DRAM",
    "store_buffer": "a full store buffer",
    "maintenance": "cache maintenance",
    "barrier": "barriers",
    "l1d": "the L1 data cache",
    "l2": "the L2 cache",
    "l3": "the L3 cache",
    "base": "executing instructions",
    "branch": "branches",
    "exception": "exceptions",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The first screen. `plain` says in common words what `sentence` says in registers."""

    headline: str
    cause: str
    plain: str
    sentence: str
    speedup: float | None
    """None of a single run, and where a side never arrives."""
    times: str
    proof: tuple[Fact, ...]
    about: str
    """What was run, on what, for those who do not know."""


def answer_of_run(run: Run) -> Answer:
    """Answer for a run on its own: how long it takes, and what holds it back."""
    cause = limit(run)
    headline = f"{label(run.case)} {_does(run)}"
    return Answer(
        headline=headline,
        cause=cause,
        plain=_plain_of(cause, run),
        sentence=_run_sentence(run),
        speedup=None,
        times=_time(run),
        proof=tuple(_run_proof("", run)) if run.outcome == "completed" else tuple(_fault_proof(run)),
        about=_about([run]),
    )


def answer_of_comparison(found: Comparison) -> Answer:
    """Answer for two runs: the verdict of `explain`."""
    a, b = found.a, found.b
    cause = found.verdict.cause
    return Answer(
        headline=_headline(found),
        cause=cause,
        plain=_plain(found),
        sentence=found.verdict.sentence,
        speedup=found.speedup,
        times=f"A {_time(a)}, B {_time(b)}",
        proof=tuple(_proof(found)),
        about=_about([a, b]),
    )


def answer_of_several(comparisons: Sequence[Comparison]) -> Answer:
    """Answer for more: which is the fastest, and why, beside the first."""
    arrived = [each for each in comparisons if each.speedup is not None]
    best = max(arrived, key=lambda each: each.speedup or 0.0, default=comparisons[0])
    runs = [comparisons[0].a, *(each.b for each in comparisons)]
    first = answer_of_comparison(best)
    return Answer(
        headline=f"Of {len(runs)}: {first.headline}",
        cause=first.cause,
        plain=first.plain,
        sentence=best.verdict.sentence,
        speedup=best.speedup,
        times=first.times,
        proof=first.proof,
        about=_about(runs),
    )


_PLAIN_OF_PROGRAMS: Mapping[str, str] = {
    "no-copy": "Nothing is copied: it stores to no memory but its stack.",
    "hang": "It never returns: the processor hangs on the way.",
    "fault": "It never returns: an exception that nothing handles ends the run.",
}


def _plain_of(cause: str, run: Run) -> str:
    return _PLAIN_OF_PROGRAMS.get(cause, PLAIN[cause]) if run.is_program else PLAIN[cause]


def _never(run: Run) -> str:
    return "never returns" if run.is_program else "never reaches the new kernel"


def _time(run: Run) -> str:
    if run.outcome == "completed":
        return seconds(run.seconds)
    return "never returns" if run.is_program else "never arrives"


def _fault_proof(run: Run) -> Iterator[Fact]:
    """Yield what `explain` says of a run that does not arrive, which is B there."""
    for fact in [fact for fact in evidence(run, run) if fact["fact"].startswith("B: ")][:3]:
        said = fact["fact"].removeprefix("B: ")
        yield {"fact": f"{said[0].upper()}{said[1:]}", "where": fact["where"]}


def _does(run: Run) -> str:
    if run.outcome != "completed":
        return f"{_never(run)} ({run.outcome})"
    if run.site is None:
        return f"copies nothing and is over in {seconds(run.seconds)}"
    return f"copies {image_size(run.image_bytes)} in {seconds(run.seconds)}"


def _run_sentence(run: Run) -> str:
    if run.outcome != "completed":
        fault: Mapping[str, Any] = run.fault or {}
        reason = f": at EL{fault['el']}, {fault['where']}: {fault['reason']}" if fault else ""
        return f"It ends ({run.outcome}) after {run.instructions:,} instructions{reason}."
    if run.site is None or run.copy is None:
        ends = "it returns" if run.is_program else "the new kernel is entered"
        return f"Nothing is copied; {ends} after {run.instructions:,} instructions."
    data: Mapping[str, int] = run.copy["memory_types"]["data"]
    kinds = " and ".join(data)
    rest = f"its loads and stores were {kinds}; {run.copy['ns_per_line']:.1f} ns per 64 bytes."
    return f"The copy ran at EL{run.copy['el']} with {control_bits(run, run.site.epoch)}; {rest}"


def _headline(found: Comparison) -> str:
    a, b = label(found.a.case), label(found.b.case)
    if a == b:
        a, b = "A", "B"
    if found.speedup is None:
        lost = [name for name, run in ((b, found.b), (a, found.a)) if run.outcome != "completed"]
        if len(lost) == 1:
            return f"{lost[0]} {_never(found.b if found.b.outcome != 'completed' else found.a)}"
        return f"{' and '.join(lost)} never {'return' if found.b.is_program else 'reach the new kernel'}"
    return f"{b} is {pace(found.speedup)}{' than' if abs(found.speedup - 1) <= SAME_WITHIN else ' as'} {a}"


def _plain(found: Comparison) -> str:
    if found.verdict.cause == "no-difference":
        held = limit(found.b)
        same = "Both are held back by the same thing. " if held == limit(found.a) else ""
        return f"{same}{_plain_of(held, found.b)}"
    cause = found.verdict.cause
    if cause in _DIFFERENCES:
        return _DIFFERENCES[cause]
    said = _plain_of(cause, found.b)
    name = COPY if found.speedup is None else differing(found.a, found.b)
    said = said.replace("The copy ", f"The {name} ")
    of_a = cause in _PAST_CACHES and found.speedup is not None and found.speedup > 1 + SAME_WITHIN
    if not of_a:
        return said
    whose = "both" if name == COPY and cause == limit(found.b) else "A"
    return f"In {whose}, {said[0].lower()}{said[1:]}"


def _about(runs: Sequence[Run]) -> str:
    sizes = sorted({run.image_bytes for run in runs})
    size = image_size(sizes[-1]) if len(sizes) == 1 else "an image"
    cores = " and ".join(dict.fromkeys(run.config.title for run in runs))
    if any(run.is_program for run in runs):
        return f"Relocscope ran code, instruction by instruction, on a model of {cores}. All times are modelled."
    which = {1: "that copy", 2: "two versions of that copy"}.get(len(runs), f"{len(runs)} versions of that copy")
    return (
        f"Linux on arm64 starts a new kernel with kexec by copying it ({size} here) to its place. Relocscope ran "
        f"{which}, instruction by instruction, on a model of {cores}. All times are modelled."
    )


def _proof(found: Comparison) -> Iterator[Fact]:
    a, b = found.a, found.b
    if found.speedup is None or a.site is None or b.site is None:
        lost = next((which for which, run in (("B", b), ("A", a)) if run.outcome != "completed"), "B")
        yield from [fact for fact in evidence(a, b) if fact["fact"].startswith(lost)][:3]
        return
    name = differing(a, b)
    if name != COPY:
        yield from _phase_proof(name, a, b)
        return
    yield from _run_proof("B: ", b)
    if a.copy and b.copy:
        yield {
            "fact": f"A line of 64 bytes takes {a.copy['ns_per_line']:.0f} ns in A and {b.copy['ns_per_line']:.0f} ns "
            f"in B. {_both_spent(a, b)}.",
            "where": "cycle stacks",
        }


def _phase_proof(name: str, a: Run, b: Run) -> Iterator[Fact]:
    """Yield what proves a verdict that is about a phase."""
    for which, run in (("B", b), ("A", a)):
        focus = focus_of(run, name)
        if focus is not None:
            where = f"executions {focus.first:,} to {focus.last:,}"
            yield {"fact": f"{which}: {register(run.trace, focus.epoch, 'SCTLR')} in its {name}.", "where": where}
    times = [f"{seconds(spent(run, name))} of {which}'s {seconds(run.seconds)}" for which, run in (("A", a), ("B", b))]
    yield {"fact": f"The {name} takes {times[0]} and {times[1]}.", "where": "phases"}


def _run_proof(which: str, run: Run) -> Iterator[Fact]:
    if run.site is None or run.copy is None:
        return
    trace = run.trace
    went = "" if run.outcome != "completed" else f"while it copied at EL{run.copy['el']}"
    yield {
        "fact": f"{which}{register(trace, run.site.epoch, 'SCTLR')} {went}".rstrip() + ".",
        "where": place(trace, int(trace.insns[run.site.insn]["va"])),
    }
    for state in translated_elsewhere(run)[:1]:
        yield {
            "fact": f"{which}{register(trace, state.epoch, 'SCTLR')}: on at EL{max(state.el, 1)} only.",
            "where": f"epoch {state.epoch}",
        }
    data: Mapping[str, int] = run.copy["memory_types"]["data"]
    kind = max(data, key=lambda name: data[name])
    total = sum(data.values())
    share = "All" if data[kind] == total else f"{100 * data[kind] / total:.1f}% of"
    yield {
        "fact": f"{which}{share} {total:,} loads and stores were {kind}.",
        "where": f"executions {run.site.first:,} to {run.site.last:,}",
    }
    if not which:
        yield {"fact": f"It spends {_spent(run)}.", "where": "cycle stack"}


def _both_spent(a: Run, b: Run) -> str:
    of_a, of_b = _spent(a), _spent(b)
    return f"Both spend {of_a}" if of_a == of_b else f"A spends {of_a}; B {of_b}"


def _spent(run: Run) -> str:
    """Say what takes most of the time: "99% of the time on stores that wait for memory"."""
    leaves = [max(run.cycle_stack, key=lambda name: run.cycle_stack[name])]
    words = _WAITS[leaves[0]]
    if leaves[0].startswith("device_"):
        leaves, words = ["device_load", "device_store"], "loads and stores that wait for memory"
    share = sum(run.cycle_stack[leaf] for leaf in leaves) / max(run.cycles, 1)
    return f"{100 * share:.0f}% of the time on {words}"
