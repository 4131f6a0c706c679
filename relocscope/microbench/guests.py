"""Small bare-metal guests at EL1, translated: assembled, run once in the Machine, and kept as traces for every core."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

if TYPE_CHECKING:
    from emu.cpu import Cpu
    from emu.memory import PhysicalMemory
    from traces.trace import Trace

CODE = 0x4000_0000
FINISH = CODE + 0x1000
"""Where every program ends: it branches to `finish`."""
TABLES = 0x4010_0000
_LOW_BYTES = 0x100_0000
HEAP = 0x1_0000_0000
"""Where buffers lie; VA = PA, physically contiguous as a machine just booted gives them."""

# VTCR_EL2: 40 bits of IPA, walks as above, RES1; SL0 is the tables'.
_VTCR, _IPA_BITS = 1 << 31 | 2 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 24, 40
_HCR_VM_RW = 1 << 31 | 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Buffer:
    """A stretch of memory that a program uses, mapped by leaves of `leaf_bytes`; 16 KiB means the 16K granule."""

    pa: int
    size: int
    memory_type: str = "Normal-WB"
    leaf_bytes: int = 4096


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GuestRun:
    """What a program did."""

    trace: "Trace"
    symbols: Mapping[str, int]
    """VA of each label."""

    def starts(self, *labels: str) -> NDArray[np.uint64]:
        """Every execution that began at one of the labels, in order: numbers for `checkpoints`."""
        places = [self.symbols[label] for label in labels]
        rows = np.flatnonzero(np.isin(self.trace.blocks["va"], np.array(places, np.uint64)))
        return np.flatnonzero(np.isin(self.trace.executions, rows)).astype(np.uint64)


@lru_cache(maxsize=8)
def run(
    program: str, registers: tuple[tuple[int, int], ...], buffers: tuple[Buffer, ...], stage2_leaf_bytes: int = 0
) -> GuestRun:
    """Run `program`.S with these registers set, over these buffers; the last few runs are kept."""
    text = (resources.files("relocscope.microbench") / f"{program}.S").read_text(encoding="utf-8")
    return run_source(text, program, registers, buffers, stage2_leaf_bytes)


def run_source(
    source: str,
    name: str,
    registers: Sequence[tuple[int, int]] = (),
    buffers: Sequence[Buffer] = (),
    stage2_leaf_bytes: int = 0,
) -> GuestRun:
    """Run assembly text that ends by a branch to `finish`; with a stage 2 leaf, under a hypervisor's second stage."""
    from asm.assemble import assemble
    from emu.machine import Machine
    from emu.memory import PhysicalMemory

    memory = PhysicalMemory()
    memory.add(CODE, _LOW_BYTES)
    for pa, size in _regions(buffers):
        memory.add(pa, size)
    assembly = assemble(f".equ finish, {FINISH:#x}\n{source}", name=f"{name}.S", va=CODE)
    memory.write(CODE, assembly.code)
    granule_bytes = 16384 if any(buffer.leaf_bytes == 16384 for buffer in buffers) else 4096
    # The A72 has no 16K granule; neither model changes what the program does.
    machine = Machine(memory, cpu="max" if granule_bytes == 16384 else "cortex-a72")
    _translate(machine.cpu, memory, buffers, granule_bytes, stage2_leaf_bytes)
    for number, value in registers:
        machine.cpu.x[number] = value
    machine.cpu.pc = CODE
    done = machine.run(stop_pa=FINISH)
    if done.outcome != "completed":
        raise InputError(f"{name}.S: {done.outcome}: {done.reason}")
    return GuestRun(trace=done.trace, symbols={label: CODE + at for label, at in assembly.symbols.items()})


def _translate(
    cpu: "Cpu", memory: "PhysicalMemory", buffers: Sequence[Buffer], granule_bytes: int, stage2_leaf_bytes: int
) -> None:
    """Map code and buffers where they are, and turn translation and caches on at EL1."""
    from emu.identity import Mapped, map_to_itself
    from emu.tables import AF, S2_NORMAL_WB, S2_READ, S2_WRITE, SH_INNER, TableBuilder

    free = TABLES

    def allocate(size: int) -> int:
        nonlocal free
        pa = -(-free // size) * size
        free = pa + size
        return pa

    code = Mapped(CODE, 4 * granule_bytes, leaf_bytes=granule_bytes)
    mapped = [Mapped(each.pa, each.size, each.memory_type, each.leaf_bytes) for each in buffers]
    map_to_itself(cpu, memory, [code, *mapped], allocate, granule_bytes=granule_bytes)
    if stage2_leaf_bytes:
        second = TableBuilder(memory, allocate, va_bits=_IPA_BITS, stage=2)
        for pa, size in ((CODE, _LOW_BYTES), *_regions(buffers)):
            second.map(pa, pa, size, AF | SH_INNER | S2_NORMAL_WB | S2_READ | S2_WRITE, stage2_leaf_bytes)
        cpu.sysreg["VTCR_EL2"], cpu.sysreg["VTTBR_EL2"] = _VTCR | second.sl0 << 6, second.ttbr
        cpu.sysreg["HCR_EL2"] = _HCR_VM_RW


def _regions(buffers: Sequence[Buffer]) -> list[tuple[int, int]]:
    """Return the buffers as stretches that do not overlap, on boundaries of 2 MiB."""
    block = 1 << 21
    spans = sorted((b.pa // block * block, -(-(b.pa + b.size) // block) * block) for b in buffers)
    merged: list[tuple[int, int]] = []
    for first, last in spans:
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return [(first, last - first) for first, last in merged]
