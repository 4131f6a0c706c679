"""Evidence: facts of two runs that carry the verdict, each with the place where it can be checked."""

from collections.abc import Iterator

import numpy as np

from relocscope.focus import COPY, differing, focus_of
from relocscope.limits import translated_elsewhere
from relocscope.regimes import place, regime_name, register
from relocscope.runs import Run
from traces.schema import EpochCause
from traces.trace import Trace

Fact = dict[str, str]


def evidence(a: Run, b: Run) -> list[Fact]:
    """List the facts, B's first: it is B that the verdict is about."""
    settled = [run.outcome == "completed" and run.site is not None for run in (a, b)]
    name = differing(a, b) if all(settled) else COPY
    return [*_of("B", b, a, name), *_of("A", a, b, name)]


def _of(which: str, run: Run, other: Run, name: str) -> Iterator[Fact]:
    yield from _set(which, run, other)
    yield from _fault(which, run)
    site = run.site
    if site is not None and run.copy is not None:
        trace = run.trace
        yield {
            "fact": f"{which}'s copy runs at EL{trace.epochs[site.epoch]['el']}, in the "
            f"{regime_name(trace, site.epoch)} regime: "
            f"{site.stored_bytes:,} bytes stored, most by {_insn(trace, site.insn)}",
            "where": place(trace, int(trace.insns[site.insn]["va"])),
        }
        yield from _registers(which, run, COPY)
        for state in translated_elsewhere(run):
            yield {
                "fact": f"{which}: translation is on in {regime_name(trace, state.epoch)} only: "
                f"{register(trace, state.epoch, 'SCTLR')}, {register(trace, state.epoch, 'TTBR0')}",
                "where": f"left at {place(trace, _last_va(trace, state.last))}",
            }
        yield from _crossings(which, run)
        yield from _types(which, run, COPY)
    if name != COPY and focus_of(run, name) is not None:
        yield from _registers(which, run, name)
        yield from _types(which, run, name)


def _set(which: str, run: Run, other: Run) -> Iterator[Fact]:
    """Yield what was set on this side and not, or not so, on the other."""
    of_other = other.operand.settings if other.operand else {}
    own = run.operand.settings if run.operand else {}
    differing_keys = [f"{key}={value}" for key, value in own.items() if str(of_other.get(key)) != str(value)]
    if differing_keys:
        yield {"fact": f"{which} alone has --set {', '.join(differing_keys)}", "where": run.case}


def _registers(which: str, run: Run, name: str) -> Iterator[Fact]:
    """Yield the registers that a part of the run was governed by."""
    focus = focus_of(run, name)
    if focus is None:
        return
    for kinds in _governing(run.trace.epochs[focus.epoch]):
        registers = ", ".join(register(run.trace, focus.epoch, kind) for kind in kinds)
        yield {"fact": f"{which}'s {name}: {registers}", "where": _began(run.trace, focus.epoch)}


def _types(which: str, run: Run, name: str) -> Iterator[Fact]:
    """Yield the shares of memory types among the accesses of a part of the run."""
    focus = focus_of(run, name)
    if focus is None:
        return
    for what, counts in (("data", focus.data), ("fetch", focus.fetch), ("walk", focus.walk)):
        total = sum(counts.values())
        if total:
            shares = ", ".join(f"{_percent(count, total)} {kind}" for kind, count in counts.items())
            yield {
                "fact": f"{which}'s {name}, {_WHAT[what]}: {shares} of {total:,}",
                "where": f"executions {focus.first:,} to {focus.last:,}",
            }


def _governing(epoch: np.void) -> Iterator[tuple[str, ...]]:
    """Yield the registers that decide what an access under this epoch is, those of one line together.

    HCR_EL2 says at EL2 which regime it is (E2H), and below whether stage 2 or its DC bit has a say.
    """
    matters = int(epoch["el"]) == 2 or bool(epoch["stage2"])
    yield ("SCTLR", "HCR") if matters else ("SCTLR",)
    if epoch["stage1"]:
        yield ("TCR", "TTBR0")
        yield ("MAIR",)


_WHAT = {"data": "loads and stores", "fetch": "instruction fetches", "walk": "descriptor reads"}


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f}%" if count < total else "100%"


def _insn(trace: Trace, row: int) -> str:
    """Disassemble one instruction of the trace."""
    from asm.decode import decode

    insn = trace.insns[row]
    return decode(int(insn["word"]).to_bytes(4, "little"), int(insn["va"]))[0].text


def _began(trace: Trace, epoch: int) -> str:
    """Say what brought these registers about: an epoch also begins where a store reaches tables or code."""
    registers = ("el", "e2h", "sctlr", "tcr", "mair", "ttbr0")
    while epoch and all(trace.epochs[epoch - 1][name] == trace.epochs[epoch][name] for name in registers):
        epoch -= 1
    return f"epoch {epoch}, begun by {EpochCause(int(trace.epochs[epoch]['cause'])).name.lower().replace('_', ' ')}"


def _last_va(trace: Trace, execution: int) -> int:
    block = trace.blocks[trace.executions[execution]]
    return int(block["va"]) + 4 * (int(block["count"]) - 1)


def _crossings(which: str, run: Run) -> Iterator[Fact]:
    """Yield the meant exception that took the PE to the copy's level, if one did before it."""
    site, trace = run.site, run.trace
    if site is None:
        return
    taken = trace.exceptions
    before = taken[(taken["at"] <= site.first) & (taken["to_el"] != taken["from_el"]) & (taken["meant"] == 1)]
    if len(before):
        last = before[-1]
        yield {
            "fact": f"{which}: hvc took the PE from EL{last['from_el']} to EL{last['to_el']}, where it stayed; "
            f"ESR_EL{last['to_el']} = {int(last['esr']):#x}",
            "where": place(trace, int(last["elr"]) - 4),
        }


def _fault(which: str, run: Run) -> Iterator[Fact]:
    fault = run.fault
    if fault is None:
        return
    level = fault.get("el")
    yield {
        "fact": f"{which}: first fault at EL{level}: ESR_EL{level} = {fault.get('esr')} (EC={fault.get('ec')}, "
        f"ISS={fault.get('iss')}), FAR_EL{level} = {fault.get('far')}: {fault.get('reason')}",
        "where": place(run.trace, int(str(fault.get("elr", "0")), 0)),
    }
    epochs = run.trace.epochs
    row = len(epochs) - 1
    for kinds in _governing(epochs[row]):
        registers = ", ".join(register(run.trace, row, kind) for kind in kinds)
        yield {"fact": f"{which}: at that time {registers}", "where": _began(run.trace, row)}
