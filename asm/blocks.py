"""A block of instructions, lowered to what its capture has to read so that every address of it can be formed later.

Reading registers is the cost of a capture, so a block reads each base once, at its entry, and the constants that its
instructions add to it are folded into INSN.offset. Only an address fed by something that the block itself computed (a
loaded pointer, an index that moved) is read late, just before its instruction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asm.insn import UXTX, Insn, MemoryOperand, bit, bits, wrap
from traces.schema import INSN, NO_REGISTER, TAKES_OPERAND, Access, InsnClass, InsnFlag

NO_SLOT = -1

_SIGN_BIT = 1 << 63
_ADDRESS_REGISTERS = range(32)
_FORMS_ADDRESS = frozenset(Access) - {Access.NONE}


class Capture(NamedTuple):
    """A value to read: X[base], or X[base] + (extend(X[index]) << shift). Number 31 is SP; index may be NO_REGISTER."""

    base: int
    index: int  # type: ignore[assignment]  # the operand's name; nobody looks a value up in a Capture
    extend: int
    shift: int


class LateCapture(NamedTuple):
    """A value to read just before instruction `insn` (its position in the block) executes."""

    insn: int
    slot: int
    capture: Capture


@dataclass(frozen=True, slots=True, eq=False)
class LoweredBlock:
    """What `lower` makes of a block: its INSN rows, and what to read and when."""

    rows: NDArray[Any]
    """INSN[n]: slot and offset give each address as captured[slot] + offset, modulo 2**64."""
    entry: tuple[Capture, ...]
    """Slots 0 .. len - 1, all read at the entry of the block."""
    late: tuple[LateCapture, ...]
    """The slots after these, in program order."""


class _Known(NamedTuple):
    """A register whose value is what `register` held at the block's entry, plus a constant."""

    register: int
    constant: int


def lower(insns: Sequence[Insn], pa: int) -> LoweredBlock:
    """Lower the instructions of one block, which lie one after another from physical address `pa`."""
    rows = np.zeros(len(insns), INSN)
    known: dict[int, _Known] = {number: _Known(number, 0) for number in _ADDRESS_REGISTERS}
    entry: dict[Capture, int] = {}
    pending: list[tuple[int, Capture]] = []
    for position, insn in enumerate(insns):
        row = rows[position]
        _fill(row, insn, pa + 4 * position)
        memory = _captured(insn)
        if memory is not None:
            at_entry = _at_entry(memory, known)
            if at_entry is None:
                pending.append((position, Capture(memory.base, memory.index, memory.extend, memory.shift)))
                row["offset"] = memory.offset
                row["flags"] |= InsnFlag.LATE
            else:
                capture, constant = at_entry
                row["slot"] = entry.setdefault(capture, len(entry))
                row["offset"] = _as_signed(constant)
        _execute(insn, known)
    late = []
    for slot, (position, capture) in enumerate(pending, start=len(entry)):
        rows[position]["slot"] = slot
        late.append(LateCapture(position, slot, capture))
    return LoweredBlock(rows=rows, entry=tuple(entry), late=tuple(late))


def _captured(insn: Insn) -> MemoryOperand | None:
    """Return what the capture has to know of the instruction: its address, or its operand as if it were one."""
    if insn.maintenance in TAKES_OPERAND and insn.src:  # not XZR
        return MemoryOperand(insn.src[0])
    return insn.memory if insn.access in _FORMS_ADDRESS else None


def _fill(row: Any, insn: Insn, pa: int) -> None:
    row["va"], row["pa"], row["word"] = insn.va, pa, insn.word
    row["cls"], row["access"], row["maintenance"] = insn.cls, insn.access, insn.maintenance
    row["barrier"], row["barrier_option"] = insn.barrier, insn.barrier_option
    row["element"], row["size"], row["flags"] = insn.element, insn.size, insn.flags
    row["slot"] = NO_SLOT
    row["dst"] = insn.dst + (NO_REGISTER,) * (3 - len(insn.dst))
    row["src"] = insn.src + (NO_REGISTER,) * (4 - len(insn.src))
    if insn.target is not None and InsnFlag.LITERAL in insn.flags:
        row["offset"] = _as_signed(insn.target - insn.va)


def _at_entry(memory: MemoryOperand, known: dict[int, _Known]) -> tuple[Capture, int] | None:
    """Express an address by registers as they were at entry, and a constant; None where that cannot be done."""
    base = known.get(memory.base)
    if base is None:
        return None
    constant = base.constant + memory.offset
    if memory.index == NO_REGISTER:
        return Capture(base.register, NO_REGISTER, UXTX, 0), constant
    index = known.get(memory.index)
    if index is None:
        return None
    if index.constant:
        # Only a 64-bit index distributes over addition; a 32-bit one could wrap.
        if memory.extend != UXTX:
            return None
        constant += index.constant << memory.shift
    return Capture(base.register, index.register, memory.extend, memory.shift), constant


def _execute(insn: Insn, known: dict[int, _Known]) -> None:
    """Follow what the instruction does to registers that may form addresses."""
    if insn.cls is InsnClass.OTHER:  # not understood: it may have written anything
        known.clear()
        return
    result = _result(insn, known)
    for number in insn.dst:
        known.pop(number, None)
    known.update(result)


def _result(insn: Insn, known: dict[int, _Known]) -> dict[int, _Known]:
    """Return the registers that the instruction sets to an entry value plus a constant."""
    memory = insn.memory
    if memory is not None and InsnFlag.WRITEBACK in insn.flags:
        base = known.get(memory.base)
        # writeback 0: by a register. ldr x0, [x0], #8 is CONSTRAINED UNPREDICTABLE: nothing is known of x0 then.
        if base is None or not memory.writeback or _loads_its_base(insn, memory):
            return {}
        return {memory.base: _Known(base.register, base.constant + memory.writeback)}
    word = insn.word
    rd, rn, rm = bits(word, 4, 0), bits(word, 9, 5), bits(word, 20, 16)
    if word & 0x9F80_0000 == 0x9100_0000:  # add, sub, adds, subs (immediate), 64 bits
        source, constant = rn, bits(word, 21, 10) << (12 * bit(word, 22))
        if bit(word, 30):
            constant = -constant
    elif word & 0xFFE0_FFE0 == 0xAA00_03E0:  # mov Xd, Xm
        source, constant = rm, 0
    else:
        return {}
    if rd not in insn.dst or source not in known or source not in insn.src:
        return {}
    return {rd: _Known(known[source].register, known[source].constant + constant)}


def _loads_its_base(insn: Insn, memory: MemoryOperand) -> bool:
    """Say whether a written-back base is loaded too: such a pair names it among its data registers."""
    if InsnFlag.VECTOR in insn.flags or insn.access not in (Access.LOAD, Access.LOAD_STORE):
        return False
    data = {bits(insn.word, 4, 0)}
    if InsnFlag.PAIR in insn.flags:
        data.add(bits(insn.word, 14, 10))
    return memory.base in data


def _as_signed(value: int) -> int:
    """Return a 64-bit value as INSN.offset holds it."""
    value = wrap(value)
    return value - (1 << 64) if value & _SIGN_BIT else value
