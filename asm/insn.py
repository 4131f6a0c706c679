"""Insn: one decoded A64 instruction, in the words of `traces.schema`, and the field arithmetic that decoders share."""

from dataclasses import dataclass
from typing import NamedTuple

from traces.schema import FIRST_VECTOR_REGISTER, NO_REGISTER, Access, Barrier, InsnClass, InsnFlag, Maintenance

STACK_POINTER = 31
"""As a base or destination; as a data operand number 31 is XZR, and is left out."""

ZERO_REGISTER = 31
LINK_REGISTER = 30

UXTX, UXTW, SXTW, SXTX = range(4)
"""MemoryOperand.extend: how the index is widened before it is shifted. UXTX is what assemblers write as LSL."""

NO_FLAGS = InsnFlag(0)

SystemRegister = tuple[int, int, int, int, int]
"""op0, op1, CRn, CRm, op2, as in the encoding of mrs, msr, sys and sysl."""


@dataclass(frozen=True, slots=True)
class MemoryOperand:
    """How an instruction forms its address: base + offset, or base + extend(index) << shift."""

    base: int
    """0..30 are X registers, 31 is SP."""
    index: int = NO_REGISTER
    """An X register, NO_REGISTER if there is none. Never 31: an index of XZR adds nothing."""
    extend: int = UXTX
    shift: int = 0
    offset: int = 0
    """Added before the access: 0 when post-indexed."""
    writeback: int = 0
    """What the instruction adds to base. 0 with InsnFlag.WRITEBACK set: a register's value (ld1 {...}, [x0], x2)."""


@dataclass(frozen=True, slots=True)
class Insn:
    """One instruction: what it reads, writes and does to memory.

    Register numbers are those of the schema. In `src` the registers that form the address come first. Where an
    instruction names more registers than INSN holds, vector registers from the middle of its list, or the last data
    registers of a store, are left out; a destination among X0..X30 or SP never is.
    """

    va: int
    word: int
    text: str
    cls: InsnClass
    dst: tuple[int, ...] = ()
    src: tuple[int, ...] = ()
    access: Access = Access.NONE
    size: int = 0
    """Bytes moved by the whole instruction; of DC ZVA the block of DCZID_EL0 (64); 0 of prefetches and maintenance."""
    element: int = 0
    """What alignment is judged by: the access size of ldp's one register, the whole pair of ldxp and casp; 1 where
    alignment does not matter, 0 without an access."""
    flags: InsnFlag = NO_FLAGS
    memory: MemoryOperand | None = None
    """None of PC-relative loads: these have `target`."""
    maintenance: Maintenance = Maintenance.NONE
    barrier: Barrier = Barrier.NONE
    barrier_option: int = 0
    sysreg: SystemRegister | None = None
    """Of mrs, msr (register), sys and sysl."""
    target: int | None = None
    """Where a direct branch goes, or what a PC-relative load, adr or adrp names."""


class Site(NamedTuple):
    """Where an instruction stands, its encoding, and what the disassembler calls it."""

    va: int
    word: int
    text: str


def bits(word: int, high: int, low: int) -> int:
    """Return word[high:low], as the Arm ARM writes fields."""
    return (word >> low) & ((1 << (high - low + 1)) - 1)


def bit(word: int, position: int) -> int:
    """Return one bit."""
    return (word >> position) & 1


def signed(value: int, width: int) -> int:
    """Return the two's complement value of a field `width` bits wide."""
    return value - (1 << width) if value >> (width - 1) else value


def register(number: int) -> tuple[int, ...]:
    """Return an X register as a data operand: nothing for XZR."""
    return () if number == ZERO_REGISTER else (number,)


def vector(number: int, count: int = 1) -> tuple[int, ...]:
    """Return `count` consecutive V registers; they wrap at V31."""
    return tuple(FIRST_VECTOR_REGISTER + (number + i) % 32 for i in range(count))


def distinct(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return register numbers without repetition, in order of first mention."""
    return tuple(dict.fromkeys(numbers))


def wrap(va: int) -> int:
    """Return an address modulo 2**64."""
    return va & 0xFFFF_FFFF_FFFF_FFFF
