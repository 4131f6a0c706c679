"""What the old kernel does before it hands over, as code that runs: its table building, and its list flush to the PoC.

`prepended` puts our reconstructions of that work into the old kernel's text and makes the run begin there. Each of them
ends by popping the registers and the address of what follows it off the stack, and that is, at last, where `hand_over`
had the run begin. What the tables hold is what `hand_over` put there: it is taken away again, for the guest to build.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace

from asm.routines import Protocol, Routine, routine
from emu.handover import Handover
from emu.kimage import Kimage
from emu.memory import PhysicalMemory
from emu.old_kernel import OldKernel
from emu.scenario import Scenario, TableStyle
from traces.errors import InputError
from traces.schema import Phase, Role

INSTRUCTIONS_PER_LINE, INSTRUCTIONS_PER_SLOT = 5, 20
"""At most, of a list flush and of a table: for the budget."""

_POPPED = 6
_KEXEC_TABLES = ("kexec", "kexec-linear")
"""What the tables are called that are made for kexec, beside the kernel's own."""
_JUNK_BYTE = b"\xa5"


def phases_of(scenario: Scenario, kernel: OldKernel) -> tuple[Phase, ...]:
    """Return those of the phases asked for that this kernel has, in the order in which it goes through them.

    Tables are built when an image is loaded, by kernels that make any; the list is flushed in machine_kexec(), by
    kernels that copy with the caches off, and by the RFCs, which kept it. A crash kernel has no list to speak of.
    """
    has = {
        Phase.TABLES: any(name in kernel.tables for name in _KEXEC_TABLES),
        Phase.LIST_FLUSH: scenario.relocate.protocol is not Protocol.KIMAGE and not scenario.kdump,
    }
    return tuple(phase for phase, there in has.items() if there and phase in scenario.phases)


def instructions(scenario: Scenario, kernel: OldKernel) -> int:
    """Return more instructions than the phases take."""
    count = 0
    for phase in phases_of(scenario, kernel):
        if phase is Phase.LIST_FLUSH:
            count += INSTRUCTIONS_PER_LINE * scenario.image_bytes // 16
        else:
            pages = sum(len(tables.pages) for tables in kernel.tables.values())
            count += INSTRUCTIONS_PER_SLOT * 4 * pages * scenario.granule_bytes // 8
    return count


def prepended(
    memory: PhysicalMemory, scenario: Scenario, kernel: OldKernel, kimage: Kimage, handover: Handover
) -> Handover:
    """Return the hand-over with the phases asked for before it."""
    wanted = phases_of(scenario, kernel)
    if not wanted:
        return handover
    if not handover.sp:
        raise InputError("phases: this hand-over begins with the MMU off; what is before it needs a soft restart")
    begin = handover
    for phase in reversed(wanted):
        if phase is Phase.LIST_FLUSH:
            code, arguments = routine("kexec-list-flush"), _list_flush(scenario, kernel, kimage)
        elif scenario.tables is TableStyle.MERGED:
            code, arguments = routine("kexec-tables-v5.17"), _linear_copy(memory, scenario, kernel)
        else:
            code, arguments = routine("kexec-tables-rfc"), _identity_map(memory, scenario, kernel)
        begin = _before(memory, kernel, begin, phase, code, arguments)
    return begin


def _before(
    memory: PhysicalMemory,
    kernel: OldKernel,
    following: Handover,
    phase: Phase,
    code: Routine,
    arguments: tuple[int, ...],
) -> Handover:
    """Put `code` in front of what follows, whose registers it will find on the stack."""
    pc = kernel.put_text(code) + code.entry
    sp = following.sp - 8 * _POPPED
    memory.write(kernel.stack_pa(sp), struct.pack("<6Q", *following.x[:5], following.pc))
    x = (*arguments, *following.x[len(arguments) :])
    return replace(following, pc=pc, sp=sp, x=x, phases={pc: phase, **following.phases})


def _list_flush(scenario: Scenario, kernel: OldKernel, kimage: Kimage) -> tuple[int, ...]:
    return kimage.head, kernel.va.page_offset - kernel.va.phys_offset, scenario.granule_bytes


def _linear_copy(memory: PhysicalMemory, scenario: Scenario, kernel: OldKernel) -> tuple[int, ...]:
    """Take the copy of the linear map and the idmap away, and say what they are to be made from."""
    linear, idmap, va = kernel.tables["kexec-linear"], kernel.tables["kexec-idmap"], kernel.va
    delta = va.page_offset - va.phys_offset
    entries = 1 << linear.first_bits
    half = entries // 2
    # Linear map and kernel image have a half of the range each.
    offset = 8 * (half if va.page_offset >> (va.va_bits - 1) & 1 else 0)
    stores: list[int] = []
    for page, entry, value in idmap.walk(kernel.code_pa):
        stores += (page + delta, entry + delta, value)
    pages = linear.pages[1:]
    _scribble(memory, (*linear.pages, *idmap.pages), scenario.granule_bytes)
    words = [
        linear.root + delta + offset,
        kernel.swapper.root + delta + offset,
        half,
        3 - linear.start_level,
        0,
        delta,
        scenario.granule_bytes,
        linear.root + delta,
        0,
    ]
    return _put_arguments(memory, kernel, words, {4: pages, 8: (*stores, 0)})


def _identity_map(memory: PhysicalMemory, scenario: Scenario, kernel: OldKernel) -> tuple[int, ...]:
    """Take the identity map away, and say what it is to map."""
    tables, delta = kernel.tables["kexec"], kernel.va.page_offset - kernel.va.phys_offset
    ranges: list[int] = []
    for run in tables.runs:
        ranges += (run.va, run.va + run.leaves * run.leaf_bytes, run.leaf_bytes, run.first)
    _scribble(memory, tables.pages, scenario.granule_bytes)
    words = [
        tables.root + delta,
        0,
        0,
        delta,
        scenario.granule_bytes,
        tables.va_bits - tables.first_bits,
        tables.first_bits,
        tables.stride_bits,
    ]
    return _put_arguments(memory, kernel, words, {1: tables.pages[1:], 2: (*ranges, 0, 0, 0, 0)})


def _put_arguments(
    memory: PhysicalMemory, kernel: OldKernel, words: list[int], lists: dict[int, Sequence[int]]
) -> tuple[int, ...]:
    """Write the arguments and the lists that they point to into memory of their own; return X0."""
    size = 8 * (len(words) + sum(len(each) for each in lists.values()))
    pa = kernel.put_memory(Role.ARGUMENT, size)
    at = len(words)
    for place, each in lists.items():
        words[place] = kernel.va.linear(pa + 8 * at)
        at += len(each)
    for each in lists.values():
        words += each
    memory.write(pa, struct.pack(f"<{len(words)}Q", *(word % (1 << 64) for word in words)))
    return (kernel.va.linear(pa),)


def _scribble(memory: PhysicalMemory, pages: Sequence[int], granule_bytes: int) -> None:
    """Leave in these pages what a page from the allocator has in it: anything."""
    for page in pages:
        memory.write(page, _JUNK_BYTE * granule_bytes)
