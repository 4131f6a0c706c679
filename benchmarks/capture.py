"""Capture against bare Unicorn: the copy loop of the relocation routine, without hooks and as Machine.run captures it.

`python -m benchmarks.capture [MIB]` prints ratios of processor time, the best of several runs taken in turn.
"""

import sys
import time

from asm.assemble import assemble
from emu.cpu import Cpu
from emu.machine import Machine
from emu.memory import PhysicalMemory
from emu.tables import AF, SH_INNER, TableBuilder, attr_index

CODE, END = 0x4000_0000, 0x4000_1000
TABLES = 0x4010_0000
SOURCE, DESTINATION = 0x8000_0000, 0xC000_0000
ROUNDS = 5
NORMAL = AF | SH_INNER | attr_index(4)
MAIR, TCR = 0xBBFF440C0400, 0x4B510_3510

COPY = """
page:
    mov x20, x13
    mov x21, x12
line:
    ldp x0, x1, [x21]
    ldp x2, x3, [x21, #16]
    ldp x4, x5, [x21, #32]
    ldp x6, x7, [x21, #48]
    add x21, x21, #64
    stnp x0, x1, [x20]
    stnp x2, x3, [x20, #16]
    stnp x4, x5, [x20, #32]
    stnp x6, x7, [x20, #48]
    add x20, x20, #64
    tst x21, #0xfff
    b.ne line
    add x13, x13, #0x1000
    add x12, x12, #0x1000
    subs x11, x11, #1
    b.ne page
    br x9
"""


def prepare(cpu: Cpu, pages: int, translated: bool) -> None:
    """Set the PE before the loop; optionally under 4 KiB pages of Normal memory."""
    cpu.memory.write(CODE, assemble(COPY, name="copy", va=CODE).code)
    cpu.pc, cpu.x[9], cpu.x[11], cpu.x[12], cpu.x[13] = CODE, END, pages, SOURCE, DESTINATION
    if translated:
        place = TABLES

        def allocate(size: int) -> int:
            nonlocal place
            pa, place = -(-place // size) * size, -(-place // size) * size + size
            return pa

        tables = TableBuilder(cpu.memory, allocate)
        for va, size in ((CODE, 0x1000), (END, 0x1000), (SOURCE, pages << 12), (DESTINATION, pages << 12)):
            tables.map(va, va, size, NORMAL, 4096)
        cpu.sysreg["MAIR_EL1"], cpu.sysreg["TCR_EL1"], cpu.sysreg["TTBR0_EL1"] = MAIR, TCR, tables.ttbr
        cpu.sysreg["SCTLR_EL1"] = 0x30D0_0800 | 0x1005


def memory_of(pages: int) -> PhysicalMemory:
    """RAM for code, tables, source and destination, touched once so that no run pays for the host's page faults."""
    memory = PhysicalMemory()
    for pa, size in ((CODE, 0x200_0000), (SOURCE, pages << 12), (DESTINATION, pages << 12)):
        memory.add(pa, size)
    for region in memory.regions:
        region.data[::4096] = 1
    return memory


def measure(pages: int, translated: bool) -> tuple[float, float]:
    """Best processor time of a bare run and of a captured one, in seconds."""
    memory, bare, captured = memory_of(pages), [], []
    for _ in range(ROUNDS):
        cpu = Cpu(memory)
        prepare(cpu, pages, translated)
        start = time.process_time()
        cpu.uc.emu_start(CODE, END)
        bare.append(time.process_time() - start)
        machine = Machine(memory)
        prepare(machine.cpu, pages, translated)
        start = time.process_time()
        result = machine.run(stop_pa=END)
        captured.append(time.process_time() - start)
        if result.outcome != "completed" or len(result.trace.executions) != 65 * pages + 1:
            raise SystemExit(f"capture: {result.outcome}, {len(result.trace.executions)} executions: {result.reason}")
    return min(bare), min(captured)


def main() -> None:
    """Print what a person compares: rates and ratios."""
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    pages = mebibytes << 8
    measure(16, False)  # compile
    for label, translated in (("MMU off", False), ("4 KiB pages", True)):
        bare, captured = measure(pages, translated)
        rate = pages * 776 / bare / 1e6
        print(
            f"{label:12} {mebibytes} MiB  bare {bare:.3f} s ({rate:.1f} M instructions/s)  captured {captured:.3f} s  "
            f"ratio {captured / bare:.2f}"
        )


if __name__ == "__main__":
    main()
