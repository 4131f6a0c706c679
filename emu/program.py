"""Program: a small bare-metal program, called like a function at EL1 or EL2, MMU off or memory mapped to itself.

Behind the program's own memory comes a workspace: the page that it returns to, a stack, and tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asm.program import Program
from emu.cpu import UNICORN_PA_BITS
from emu.identity import Mapped, map_to_itself
from emu.machine import DEFAULT_BUDGET, Machine
from emu.memory import PhysicalMemory
from emu.spans import Span, merge, range_rows
from traces.errors import InputError
from traces.lines import stored_pages
from traces.schema import PAGE_BYTES, Phase, Role
from traces.trace import Trace

STACK_BYTES = 1 << 20
_REGION_BYTES = 2 << 20
_MOST_RAM_BYTES = 64 << 30
_SCTLR_C, _SCTLR_I = 1 << 2, 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How a program is called."""

    el: int = 1
    mmu: bool = False
    """Whether its memory is mapped to itself, Normal-WB, with M, C and I set; else all three are clear."""
    leaf_bytes: int = 2 << 20
    arguments: tuple[int, ...] = ()
    """X0 and so on."""
    ram: tuple[Span, ...] = ()
    """RAM besides the program's own."""
    sctlr_c: int | None = None
    sctlr_i: int | None = None
    """SCTLR.C and I, forced."""
    budget: int | None = None


def run_program(program: Program, call: Call) -> Trace:
    """Run the program until it returns, hangs or faults; its trace. RAM reads as zero where the file says nothing."""
    memory, spans, workspace = _memory(program, call)
    forced = [(bit, value) for bit, value in ((_SCTLR_C, call.sctlr_c), (_SCTLR_I, call.sctlr_i)) if value is not None]
    machine = Machine(
        memory,
        forced_sctlr={call.el: (sum(bit for bit, _ in forced), sum(bit * value for bit, value in forced))},
    )
    cpu = machine.cpu
    cpu.enter(call.el)
    stack = Span(workspace.pa + PAGE_BYTES, STACK_BYTES)
    tables = Span(stack.end, workspace.end - stack.end)
    if call.mmu:
        _map(machine, spans, tables, call)
    for number, value in enumerate(call.arguments):
        cpu.x[number] = value
    cpu.x[30], cpu.sp, cpu.pc = workspace.pa, stack.end, program.entry
    done = machine.run(
        stop_pa=workspace.pa,
        budget=DEFAULT_BUDGET if call.budget is None else call.budget,
        phases={program.entry: Phase.RELOCATE},
        symbols=program.symbols,
    )
    written = _written(done.trace, (stack, tables))
    code = [Span(piece.pa, len(piece.content)) for piece in program.pieces if piece.content]
    found: dict[Role, Sequence[Span]] = {
        Role.RAM: spans,
        Role.CODE: merge(code),
        Role.STACK: [stack],
        Role.TABLE: [tables] if call.mmu else [],
        Role.DESTINATION: written,
    }
    meta: dict[str, Any] = {
        **done.trace.meta,
        "boot": "el1" if call.el == 1 else "nvhe",
        "routine": {"name": program.name, "sha256": program.sha256, "source": program.source},
        "image_bytes": sum(span.size for span in written),
        "pages": sum(span.size for span in written) // PAGE_BYTES,
        "image_ok": done.outcome == "completed",
        "entry": None,
        "is_program": True,
    }
    return replace(done.trace, ranges=range_rows(found), meta=meta)


def _memory(program: Program, call: Call) -> tuple[PhysicalMemory, list[Span], Span]:
    """Return the RAM with the program in it, its spans, and the workspace behind the program."""
    own = [Span(piece.pa, piece.size) for piece in program.pieces]
    top = -(-max(span.end for span in own) // _REGION_BYTES) * _REGION_BYTES
    total = sum(span.size for span in (*own, *call.ram))
    if total > _MOST_RAM_BYTES:
        raise InputError(f"{program.source}: {total:#x} bytes of RAM are more than {_MOST_RAM_BYTES:#x}")
    for_tables = 64 * PAGE_BYTES + (total // 256 if call.leaf_bytes < _REGION_BYTES else total >> 15)
    workspace = Span(top, -(-(PAGE_BYTES + STACK_BYTES + for_tables) // _REGION_BYTES) * _REGION_BYTES)
    for span in call.ram:
        if span.overlaps(workspace):
            raise InputError(
                f"program.ram: {span.pa:#x}+{span.size:#x} overlaps the stack and tables at "
                f"{workspace.pa:#x}+{workspace.size:#x}, behind the program"
            )
    spans = list(merge(_whole(span) for span in (*own, *call.ram, workspace)))
    memory = PhysicalMemory()
    for span in spans:
        memory.add(span.pa, span.size)
    for piece in program.pieces:
        memory.write(piece.pa, piece.content)
    return memory, spans, workspace


def _whole(span: Span) -> Span:
    """Return the span made whole to what the largest leaf that is likely maps: 2 MiB."""
    start = span.pa // _REGION_BYTES * _REGION_BYTES
    end = -(-span.end // _REGION_BYTES) * _REGION_BYTES
    if end > 1 << UNICORN_PA_BITS:
        raise InputError(f"program: memory at {span.pa:#x} lies beyond {UNICORN_PA_BITS}-bit physical addresses")
    return Span(start, end - start)


def _map(machine: Machine, spans: Sequence[Span], tables: Span, call: Call) -> None:
    free = tables.pa

    def allocate(size: int) -> int:
        nonlocal free
        pa = -(-free // size) * size
        free = pa + size
        if free > tables.end:
            raise InputError(f"map.leaf: its tables do not fit {tables.size:#x} bytes; take a larger leaf")
        return pa

    parts = [Mapped(span.pa, span.size, leaf_bytes=call.leaf_bytes) for span in spans]
    map_to_itself(machine.cpu, machine.memory, parts, allocate, el=call.el)


def _written(trace: Trace, besides: Sequence[Span]) -> list[Span]:
    """Return the pages that the run stored to, without its stack and tables."""
    pages = stored_pages(trace, [0, len(trace.executions)])[0].astype(np.int64)
    for span in besides:
        pages = pages[(pages < span.pa) | (pages >= span.end)]
    return list(merge(Span(int(pa), PAGE_BYTES) for pa in pages))
