"""Small bare-metal programs, run by our Machine and by QEMU from the same memory, and everything they can tell apart.

A program is pieces of assembly at fixed offsets. It starts at EL2 with its MMU off, behind a prologue that sets both
vectors, and ends at `DONE`. Every exception logs its vector, ESR, ELR, FAR, SPSR and HPFAR and goes on: behind a data
abort or an undefined instruction, at the return address of a call, and at X27 after an instruction abort.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import qemu

from asm.assemble import assemble
from emu.machine import Machine
from emu.memory import PhysicalMemory
from emu.run import Outcome
from emu.tables import TableBuilder

BASE, SIZE = 0x4010_0000, 1 << 20
CODE, EL1_CODE, EL0_CODE, DONE = BASE, BASE + 0x1000, BASE + 0x2000, BASE + 0x3000
VECTORS = {2: BASE + 0x10000, 1: BASE + 0x10800}
LOG, LOG_BYTES = BASE + 0x11000, 0x1000
DATA, DATA_BYTES = BASE + 0x20000, 0x4000
TABLES = BASE + 0x40000
EXCEPTION_REGISTERS = tuple(f"{name}_EL{el}" for el in (1, 2) for name in ("ESR", "ELR", "FAR", "SPSR"))
EL1H, EL2H, EL0T = 0x3C5, 0x3C9, 0x3C0


def put(register: str, value: int) -> str:
    """Instructions that load any 64-bit constant."""
    parts = [f"movz {register}, #{value & 0xFFFF:#x}"]
    parts += [
        f"movk {register}, #{value >> shift & 0xFFFF:#x}, lsl #{shift}"
        for shift in (16, 32, 48)
        if value >> shift & 0xFFFF
    ]
    return "\n".join(parts) + "\n"


def set_registers(**values: int) -> str:
    """Instructions that load system registers by way of X9; an isb at the end."""
    return "".join(put("x9", value) + f"msr {name}, x9\n" for name, value in values.items()) + "isb\n"


def drop_to(el: int, pc: int) -> str:
    """Instructions that eret from EL2 to a lower level, or from EL1 to EL0."""
    source = 1 if el == 0 else 2
    return set_registers(**{f"elr_el{source}": pc, f"spsr_el{source}": {0: EL0T, 1: EL1H}[el]}) + "eret\n"


PROLOGUE = (
    "msr nzcv, xzr\n"
    + set_registers(hcr_el2=1 << 31, sctlr_el2=0x30C50830, sctlr_el1=0x30D00800)
    + set_registers(vbar_el2=VECTORS[2], vbar_el1=VECTORS[1])
    + put("x28", LOG)
)


def vector(offset: int, el: int) -> str:
    """One vector: log, then go on. ISS of a call is not looked at, so svc, hvc and smc return behind themselves."""
    return f"""
        movz x20, #{offset:#x}
        mrs x21, esr_el{el}
        mrs x22, elr_el{el}
        stp x20, x21, [x28], #16
        mrs x20, far_el{el}
        stp x22, x20, [x28], #16
        mrs x20, spsr_el{el}
        {"mrs x23, hpfar_el2" if el == 2 else "mov x23, #0"}
        stp x20, x23, [x28], #16
        lsr x21, x21, #26
        and x20, x21, #0x3c
        cmp x20, #0x14
        b.eq .Lreturn
        add x22, x22, #4
        and x20, x21, #0x3e
        cmp x20, #0x20
        csel x22, x27, x22, eq
        msr elr_el{el}, x22
    .Lreturn:
        eret
    """


@dataclass
class Program:
    """What runs: pieces by address, and what `tables` makes of memory before."""

    name: str
    pieces: Mapping[int, str]
    tables: Callable[[PhysicalMemory, Callable[[int], int]], Mapping[str, int]] = field(
        default=lambda memory, allocate: {}
    )
    """Builds tables and returns names that pieces may use in braces: `{root}`."""
    registers: tuple[str, ...] = ()
    """System registers to compare beside those of exceptions."""
    cpu: str = "cortex-a72"


@dataclass(eq=False)
class Left:
    """What one engine left behind."""

    done: bool
    x: tuple[int, ...]
    sysreg: dict[str, int]
    log: list[tuple[int, ...]]
    data: bytes
    pc: int


def entries(log: bytes) -> list[tuple[int, ...]]:
    """(vector, ESR, ELR, FAR, SPSR, HPFAR) of each exception logged."""
    words = [int.from_bytes(log[at : at + 8], "little") for at in range(0, len(log), 8)]
    rows = [tuple(words[at : at + 6]) for at in range(0, len(words) - 5, 6)]
    return [row for row in rows if any(row)]


def load(program: Program) -> PhysicalMemory:
    """Memory with the program, its vectors, a pattern in the data pages, and its tables."""
    memory = PhysicalMemory()
    memory.add(BASE, SIZE)
    free = [TABLES]

    def allocate(size: int) -> int:
        pa = -(-free[0] // size) * size
        free[0] = pa + size
        return pa

    names = program.tables(memory, allocate)
    for at, text in program.pieces.items():
        source = (PROLOGUE if at == CODE else "") + text.format(
            **{name: put("x9", value) for name, value in names.items()}
        )
        memory.write(at, assemble(source, name=f"{program.name}@{at:#x}", va=at).code)
    for el, base in VECTORS.items():
        for offset in range(0, 0x800, 0x80):
            memory.write(base + offset, assemble(vector(offset, el), name="vector", va=base + offset).code)
    memory.write(DATA, bytes(index % 251 for index in range(DATA_BYTES)))
    return memory


def run_in_machine(program: Program, *, budget: int = 10_000) -> tuple[Left, object]:
    """Run it in ours: what it left, and the RunResult."""
    memory = load(program)
    machine = Machine(memory, cpu=program.cpu)
    machine.cpu.enter(2)
    machine.cpu.pc = CODE
    result = machine.run(stop_pa=DONE, budget=budget)
    return Left(
        done=result.outcome is Outcome.COMPLETED,
        x=tuple(machine.cpu.x[number] for number in range(31)),
        sysreg={name: machine.cpu.sysreg[name] for name in EXCEPTION_REGISTERS + program.registers},
        log=entries(memory.read(LOG, LOG_BYTES)),
        data=memory.read(DATA, DATA_BYTES),
        pc=machine.cpu.pc,
    ), result


def run_in_qemu(program: Program, *, done: int = DONE, steps: int = 0, seconds: float = 10) -> Left:
    """Run it in QEMU, to `done` and some steps further."""
    ran = qemu.run(
        load(program).read(BASE, SIZE),
        BASE,
        entry=CODE,
        done=done,
        steps=steps,
        read=[(LOG, LOG_BYTES), (DATA, DATA_BYTES)],
        cpu=program.cpu,
        sysregs=EXCEPTION_REGISTERS + program.registers,
        seconds=seconds,
    )
    log, data = ran.memory
    return Left(done=ran.done, x=ran.x, sysreg=dict(ran.sysreg), log=entries(log), data=data, pc=ran.pc)


def identity(memory: PhysicalMemory, allocate: Callable[[int], int], attributes: int, **shape: int) -> TableBuilder:
    """Tables that map the program, its vectors, log and data where they are."""
    builder = TableBuilder(memory, allocate, **shape)
    builder.map(BASE, BASE, TABLES - BASE, attributes, largest_leaf_bytes=builder.granule_bytes)
    return builder
