"""What people read of a check."""

import textwrap
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from relocscope import render
from relocscope.checking import Check
from traces.sizes import size_text

_BOOTS = {"el1": "booted at EL1", "nvhe": "booted at EL2 without VHE", "vhe": "booted at EL2 with VHE"}


def show_check(out: Console, result: Check) -> None:
    """Show the plan where it is a person's machine, how the run went, and its hazards."""
    rows = _plan(result.plan) if result.plan is not None else [("case", result.case)]
    for name, text in (*rows, ("run", _run(result))):
        lines = textwrap.wrap(text, max(out.width - 9, 40)) or [""]
        for number, line in enumerate(lines):
            out.print(f"{name if not number else '':<9}{line}", markup=False, soft_wrap=True)
    render.show_hazards(out, result.hazards)
    out.print()
    counts = [sum(each["severity"] == kind for each in result.hazards) for kind in ("error", "warning")]
    said = (
        "no hazard found" if not result.hazards else f"{_number(counts[0], 'error')}, {_number(counts[1], 'warning')}"
    )
    out.print(said, markup=False)


def _number(count: int, name: str) -> str:
    return f"{count} {name}" + ("" if count == 1 else "s")


def _plan(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    total = sum(each["memsz"] for each in plan["segments"])
    ram = sum(each["size"] for each in plan["memory"] if each["kind"] == "ram")
    kernel = f"Linux {plan['kernel']}" if plan["kernel"] else "Linux"
    paging = f"{plan['page_bytes'] >> 10} KiB pages, {plan['va_bits']}-bit VAs"
    crash = ", a crash kernel" if plan["crash"] else ""
    rows = [
        ("machine", f"{kernel}, {_BOOTS[plan['boot']]}, {paging}, {size_text(ram)} of RAM"),
        ("kexec", f"{len(plan['segments'])} segments, {size_text(total)}, entered at {plan['start']}{crash}"),
        ("routine", f"{plan['relocate']}, tables {plan['tables']}, MAIR {plan['mair']}"),
    ]
    rows += [("assumed", text) for text in plan["assumed"]]
    rows += [("note", text) for text in plan["notes"]]
    return rows


def _run(result: Check) -> str:
    if result.copy is None:
        copy = "nothing is copied"
    else:
        bits = " ".join(f"{name}={int(result.copy[key])}" for name, key in _BITS)
        copy = f"copy at EL{result.copy['el']} with {bits}"
    if result.entry is not None:
        return f"{result.outcome}; {copy}; the new kernel is entered at EL{result.entry['el']}"
    reason = f": {result.fault['reason']}" if result.fault else ""
    return f"{result.outcome}; {copy}{reason}"


_BITS = (("M", "mmu"), ("C", "dcache"), ("I", "icache"))
