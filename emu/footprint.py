"""Footprint: what the capture callbacks check of a block's addresses, as rows of words for `emu.kernels.checks`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asm.blocks import Capture, LoweredBlock
from asm.insn import STACK_POINTER, Insn
from emu.diagnosis import is_unprivileged
from emu.kernels import places, walk_words
from emu.registers import X
from traces.schema import NO_REGISTER, Access, InsnClass, InsnFlag, Maintenance

Words = NDArray[np.int64]

_ALWAYS_ALIGNED = InsnFlag.EXCLUSIVE | InsnFlag.ACQUIRE | InsnFlag.RELEASE
"""Without FEAT_LSE2, which no core here has, these fault when unaligned in any memory (Arm ARM B2.5.2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Footprint:
    """Rows for the callbacks. Places of operands and groups are counted from this block's first."""

    groups: Words
    """First those of values read at entry, then one for each late capture."""
    entry_groups: int
    late: Words
    operands: Words


def footprint(insns: Sequence[Insn], lowered: LoweredBlock, aligned: bool, sp_aligned: bool) -> Footprint:
    """Prepare a block. `aligned`: SCTLR.A is set; `sp_aligned`: SCTLR.SA (SA0 at EL0) is."""
    by_slot: dict[int, list[list[int]]] = {}
    for place, insn in enumerate(insns):
        if insn.access is not Access.NONE:
            slot = int(lowered.rows["slot"][place])
            by_slot.setdefault(slot, []).append(_operand(place, insn, lowered, aligned, sp_aligned))
    # Operands of maintenance are read, and no address: nothing is looked up for them.
    for slot in lowered.rows["slot"][lowered.rows["slot"] >= 0].tolist():
        by_slot.setdefault(slot, [])
    no_register = Capture(STACK_POINTER, NO_REGISTER, 0, 0)
    captures = dict(enumerate(lowered.entry)) | {each.slot: each.capture for each in lowered.late}
    entry_slots = [slot for slot in by_slot if slot < len(lowered.entry)]
    operands: list[list[int]] = []
    groups: list[list[int]] = []
    for slot in entry_slots + [late.slot for late in lowered.late]:
        members = by_slot[slot]
        capture = _capture(captures.get(slot, no_register))
        groups.append([slot, *capture, *_extent(members), *_masks(members), len(operands), len(members)])
        operands += members
    return Footprint(
        groups=_words(groups, places.G_COUNT + 1),
        entry_groups=len(entry_slots),
        late=_words(
            [[each.insn, len(entry_slots) + row] for row, each in enumerate(lowered.late)], places.LT_GROUP + 1
        ),
        operands=_words(operands, places.OP_SP_DELTA + 1),
    )


def _words(rows: Sequence[Sequence[int]], columns: int) -> Words:
    return np.array(rows, np.int64).reshape(len(rows), columns)


def _capture(capture: Capture) -> list[int]:
    index = -1 if capture.index == NO_REGISTER else X[capture.index]
    return [X[capture.base], index, capture.extend, capture.shift]


def _kind(insn: Insn) -> int:
    if insn.access is Access.MAINTAIN:
        return int(walk_words.MAINTAIN_WRITE if insn.maintenance is Maintenance.DC_IVAC else walk_words.MAINTAIN)
    return int(walk_words.LOAD if insn.access in (Access.LOAD, Access.PREFETCH) else walk_words.STORE)


def _operand(place: int, insn: Insn, lowered: LoweredBlock, aligned: bool, sp_aligned: bool) -> list[int]:
    """One row of an instruction's address."""
    row = lowered.rows[place]
    moves = insn.access not in (Access.MAINTAIN, Access.PREFETCH)
    offset = int(row["offset"])
    if InsnFlag.LITERAL in insn.flags:
        offset = _signed(insn.va + offset)
    flags = 0
    if moves and (aligned or insn.flags & _ALWAYS_ALIGNED or insn.cls is InsnClass.ATOMIC):
        flags |= places.OP_STRICT
    if insn.access is Access.ZERO:
        flags |= places.OP_ZERO
    if insn.access is Access.PREFETCH:
        flags |= places.OP_PREFETCH
    if is_unprivileged(insn.word):
        flags |= places.OP_UNPRIVILEGED
    if insn.flags & InsnFlag.EXCLUSIVE or insn.cls is InsnClass.ATOMIC:
        flags |= places.OP_EXCLUSIVE
    sp_delta = 0
    if sp_aligned and moves and insn.memory is not None and insn.memory.base == STACK_POINTER:
        flags |= places.OP_SP
        sp_delta = offset - insn.memory.offset
    alignment = max(insn.element, 1) - 1 if moves and not flags & places.OP_ZERO else 0
    return [place, offset, max(insn.size, 1), alignment, _kind(insn), flags, sp_delta]


def _signed(va: int) -> int:
    return (va + (1 << 63)) % (1 << 64) - (1 << 63)


def _extent(members: Sequence[Sequence[int]]) -> tuple[int, int, int, int]:
    """G_LOW, G_SPAN, G_PAGE, G_MASK: a DC ZVA reaches down and up to its block."""
    lows, highs = [], []
    for member in members:
        offset, size = member[places.OP_OFFSET], member[places.OP_SIZE]
        reach = places.ZVA_BLOCK - 1 if member[places.OP_FLAGS] & places.OP_ZERO else 0
        lows.append(offset - reach)
        highs.append(offset + size)
    low = min(lows, default=0)
    return low, max(highs, default=0) - low, int(places.NOWHERE), 0


def _masks(members: Sequence[Sequence[int]]) -> tuple[int, int]:
    """G_MASK_NORMAL, G_MASK_DEVICE: bits of the value that are clear when all members are aligned.

    -1 if the value alone cannot say so.
    """
    normal = device = 0
    for member in members:
        flags, alignment = member[places.OP_FLAGS], member[places.OP_ALIGNMENT]
        needed = alignment if flags & places.OP_STRICT else 0
        if member[places.OP_OFFSET] & alignment:
            normal, device = (-1 if needed else normal), -1
        if flags & places.OP_SP:
            if member[places.OP_SP_DELTA] & 15:
                normal = device = -1
            needed |= 15
        if flags & (places.OP_ZERO | places.OP_EXCLUSIVE):
            device = -1
        normal |= needed
        device |= needed | alignment
    return normal, device
