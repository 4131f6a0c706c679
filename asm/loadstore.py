# ruff: noqa: PLR0911 - a decoder returns once a form
"""Loads and stores (Arm ARM C4.1, group x1x0): everything that forms an address from registers or from the PC."""

from collections.abc import Callable
from dataclasses import replace

from asm.insn import (
    NO_FLAGS,
    SXTW,
    SXTX,
    UXTW,
    UXTX,
    ZERO_REGISTER,
    Insn,
    MemoryOperand,
    Site,
    bit,
    bits,
    distinct,
    register,
    signed,
    vector,
    wrap,
)
from traces.schema import NO_REGISTER, Access, InsnClass, InsnFlag

_EXTENDS = {2: UXTW, 3: UXTX, 6: SXTW, 7: SXTX}
_CLASSES = {
    Access.LOAD: InsnClass.LOAD,
    Access.STORE: InsnClass.STORE,
    Access.LOAD_STORE: InsnClass.ATOMIC,
    Access.PREFETCH: InsnClass.PREFETCH,
}
_LAST_SOURCES = 4


def load_store(site: Site) -> Insn:
    """Decode one load or store; what moves no data (memory tags) or is not modelled (ld64b, cpy) becomes OTHER."""
    word = site.word
    form = _form(word)
    return form(site) if form else Insn(*site, InsnClass.OTHER)


def _form(word: int) -> Callable[[Site], Insn] | None:
    """Choose the encoding group by op0 (31:28), V (26), op2 (24:10) as table C4-65 does."""
    is_vector, upper = bit(word, 26), bit(word, 24)
    match bits(word, 29, 28):
        case 0:
            if is_vector:
                return _structure_lane if upper else _structures
            return None if upper else _exclusive
        case 1:
            if not upper:
                return _literal
            if is_vector or bits(word, 11, 10) != 0:
                return None if is_vector or bits(word, 31, 30) != 3 else _tags
            return _tags if bit(word, 21) else _ordered_unscaled
        case 2:
            return _pair
    if upper:
        return _scaled
    if not bit(word, 21):
        return _unscaled
    match bits(word, 11, 10):
        case 0:
            return None if is_vector else _atomic
        case 2:
            return _by_register
    return None if is_vector else _authenticated


def _access(
    site: Site,
    access: Access,
    memory: MemoryOperand | None,
    *,
    data: tuple[int, ...],
    element: int,
    count: int = 1,
    flags: InsnFlag = NO_FLAGS,
    also_read: tuple[int, ...] = (),
) -> Insn:
    """Build the record. Data registers go to dst of a load, to src of a store; a base written back goes to dst."""
    forming: tuple[int, ...] = ()
    written: tuple[int, ...] = ()
    if memory is not None:
        forming = (memory.base, *(() if memory.index == NO_REGISTER else (memory.index,)))
        if InsnFlag.WRITEBACK in flags:
            written = (memory.base,)
    loads = access in (Access.LOAD, Access.LOAD_STORE)
    dst = distinct(written + (data if loads else ()))
    src = distinct(forming + also_read + (() if loads else data))
    if len(dst) > 3:  # ld3, ld4: the base, the first and the last say enough of a run of registers
        dst = (*dst[:2], dst[-1])
    moves = access is not Access.PREFETCH
    return Insn(
        *site,
        _CLASSES[access],
        dst=dst,
        src=src[:_LAST_SOURCES],
        access=access,
        size=element * count if moves else 0,
        element=element if moves else 1,
        flags=flags,
        memory=memory,
    )


# ---- One register --------------------------------------------------------------------------------


def _single(site: Site, memory: MemoryOperand, size: int, flags: InsnFlag = NO_FLAGS) -> Insn:
    """Finish the forms that share size (31:30), V (26) and opc (23:22)."""
    word = site.word
    opc, rt = bits(word, 23, 22), bits(word, 4, 0)
    if bit(word, 26):
        access = Access.LOAD if opc & 1 else Access.STORE
        return _access(site, access, memory, data=vector(rt), element=size, flags=flags | InsnFlag.VECTOR)
    if bits(word, 31, 30) == 3 and opc == 2:
        return _access(site, Access.PREFETCH, memory, data=(), element=1)
    return _access(site, Access.LOAD if opc else Access.STORE, memory, data=register(rt), element=size, flags=flags)


def _size(word: int) -> int:
    """Return the bytes that a one-register form moves: Q registers borrow opc<1>."""
    if bit(word, 26) and bit(word, 23):
        return 16
    return 1 << bits(word, 31, 30)


def _scaled(site: Site) -> Insn:
    size = _size(site.word)
    return _single(site, MemoryOperand(bits(site.word, 9, 5), offset=bits(site.word, 21, 10) * size), size)


def _unscaled(site: Site) -> Insn:
    """Decode ldur, ldtr, and pre- and post-indexed forms."""
    word = site.word
    base, offset, size = bits(word, 9, 5), signed(bits(word, 20, 12), 9), _size(word)
    match bits(word, 11, 10):
        case 1:
            return _single(site, MemoryOperand(base, writeback=offset), size, InsnFlag.WRITEBACK)
        case 3:
            return _single(site, MemoryOperand(base, offset=offset, writeback=offset), size, InsnFlag.WRITEBACK)
    return _single(site, MemoryOperand(base, offset=offset), size)


def _by_register(site: Site) -> Insn:
    word = site.word
    size, base, index = _size(word), bits(word, 9, 5), bits(word, 20, 16)
    if bits(word, 15, 13) not in _EXTENDS:
        return Insn(*site, InsnClass.OTHER)
    if index == ZERO_REGISTER:
        return _single(site, MemoryOperand(base), size)
    shift = size.bit_length() - 1 if bit(word, 12) else 0
    return _single(site, MemoryOperand(base, index, _EXTENDS[bits(word, 15, 13)], shift), size)


def _literal(site: Site) -> Insn:
    word = site.word
    opc, rt = bits(word, 31, 30), bits(word, 4, 0)
    target = wrap(site.va + (signed(bits(word, 23, 5), 19) << 2))
    if bit(word, 26):
        flags = InsnFlag.LITERAL | InsnFlag.VECTOR
        insn = _access(site, Access.LOAD, None, data=vector(rt), element=4 << opc, flags=flags)
    elif opc == 3:
        insn = _access(site, Access.PREFETCH, None, data=(), element=1, flags=InsnFlag.LITERAL)
    else:
        element = 8 if opc == 1 else 4
        insn = _access(site, Access.LOAD, None, data=register(rt), element=element, flags=InsnFlag.LITERAL)
    return replace(insn, target=target)


def _ordered_unscaled(site: Site) -> Insn:
    """Decode ldapur and stlur."""
    word = site.word
    memory = MemoryOperand(bits(word, 9, 5), offset=signed(bits(word, 20, 12), 9))
    return _single(site, memory, _size(word), InsnFlag.ACQUIRE if bits(word, 23, 22) else InsnFlag.RELEASE)


def _authenticated(site: Site) -> Insn:
    """Decode ldraa, ldrab. The captured base still carries its signature: right only where authentication is off."""
    word = site.word
    base, offset = bits(word, 9, 5), signed(bit(word, 22) << 9 | bits(word, 20, 12), 10) * 8
    written = bit(word, 11)
    return _access(
        site,
        Access.LOAD,
        MemoryOperand(base, offset=offset, writeback=offset if written else 0),
        data=register(bits(word, 4, 0)),
        element=8,
        flags=InsnFlag.WRITEBACK if written else NO_FLAGS,
    )


# ---- Pairs ---------------------------------------------------------------------------------------


def _pair(site: Site) -> Insn:
    word = site.word
    opc, base, load = bits(word, 31, 30), bits(word, 9, 5), bit(word, 22)
    rt, rt2 = bits(word, 4, 0), bits(word, 14, 10)
    flags = InsnFlag.PAIR
    if bit(word, 26):
        element, data, scale = 4 << opc, vector(rt) + vector(rt2), 4 << opc
        flags |= InsnFlag.VECTOR
    else:
        element, data = (8 if opc == 2 else 4), register(rt) + register(rt2)
        scale = element
        if opc == 1 and not load:  # stgp: 16 bytes and their tag
            element, scale = 8, 16
    offset = signed(bits(word, 21, 15), 7) * scale
    memory = MemoryOperand(base, offset=offset)
    match bits(word, 24, 23):
        case 0:
            flags |= InsnFlag.NON_TEMPORAL
        case 1:
            memory, flags = MemoryOperand(base, writeback=offset), flags | InsnFlag.WRITEBACK
        case 3:
            memory, flags = MemoryOperand(base, offset=offset, writeback=offset), flags | InsnFlag.WRITEBACK
    access = Access.LOAD if load else Access.STORE
    return _access(site, access, memory, data=data, element=element, count=2, flags=flags)


# ---- Exclusives, ordered accesses, atomics -------------------------------------------------------


def _exclusive(site: Site) -> Insn:
    """Decode ldxr, stxr, ldar, stlr, cas, casp and their kin: o2 (23), L (22), o1 (21), o0 (15)."""
    word = site.word
    ordered, load, second = bit(word, 23), bit(word, 22), bit(word, 21)
    if second and (ordered or not bit(word, 31)):
        return _compare_and_swap(site, pair=not ordered)
    rt, rt2 = bits(word, 4, 0), bits(word, 14, 10)
    size, memory = 1 << bits(word, 31, 30), MemoryOperand(bits(word, 9, 5))
    # ldlar and stllr (o0 = 0) are ordered within a limited region; as ordered as ldar to us.
    acquires = InsnFlag.ACQUIRE if load else InsnFlag.RELEASE
    flags = acquires if ordered or bit(word, 15) else NO_FLAGS
    data = register(rt)
    if not ordered:
        flags |= InsnFlag.EXCLUSIVE
        if second:  # alignment is to the pair (Arm ARM B2.5.2)
            data, size, flags = register(rt) + register(rt2), size * 2, flags | InsnFlag.PAIR
    if load:
        return _access(site, Access.LOAD, memory, data=data, element=size, flags=flags)
    if ordered:
        return _access(site, Access.STORE, memory, data=data, element=size, flags=flags)
    insn = _access(site, Access.STORE, memory, data=data, element=size, flags=flags | InsnFlag.CONDITIONAL)
    return replace(insn, dst=register(bits(word, 20, 16)))  # the status


def _compare_and_swap(site: Site, *, pair: bool) -> Insn:
    word = site.word
    old, new = bits(word, 20, 16), bits(word, 4, 0)
    flags = InsnFlag.CONDITIONAL
    if bit(word, 22):
        flags |= InsnFlag.ACQUIRE
    if bit(word, 15):
        flags |= InsnFlag.RELEASE
    memory = MemoryOperand(bits(word, 9, 5))
    if not pair:
        size = 1 << bits(word, 31, 30)
        data, stored = register(old), register(new)
    else:
        size, flags = (16 if bit(word, 30) else 8), flags | InsnFlag.PAIR
        data, stored = register(old) + register(old + 1), register(new) + register(new + 1)
    return _access(site, Access.LOAD_STORE, memory, data=data, element=size, flags=flags, also_read=data + stored)


def _atomic(site: Site) -> Insn:
    """Decode ldadd and its kin, swp, ldapr."""
    word = site.word
    size, memory = 1 << bits(word, 31, 30), MemoryOperand(bits(word, 9, 5))
    data, operand = register(bits(word, 4, 0)), register(bits(word, 20, 16))
    flags = (InsnFlag.ACQUIRE if bit(word, 23) else NO_FLAGS) | (InsnFlag.RELEASE if bit(word, 22) else NO_FLAGS)
    if bit(word, 15):
        match bits(word, 14, 12):
            case 0:  # swp
                pass
            case 4:  # ldapr
                return _access(site, Access.LOAD, memory, data=data, element=size, flags=InsnFlag.ACQUIRE)
            case _:  # ld64b, st64b ...: more registers than a record holds, on no core we model
                return Insn(*site, InsnClass.OTHER)
    return _access(site, Access.LOAD_STORE, memory, data=data, element=size, flags=flags, also_read=operand)


def _tags(site: Site) -> Insn:
    """Decode stg, ldg and their kin: tags are not modelled, but written-back bases are followed."""
    word = site.word
    base, written = bits(word, 9, 5), bits(word, 11, 10) & 1
    loads_tag = not bits(word, 11, 10) and bits(word, 23, 22) in (1, 3)
    dst = (base,) if written else register(bits(word, 4, 0)) if loads_tag else ()
    return Insn(*site, InsnClass.OTHER, dst=dst, src=distinct((base, bits(word, 4, 0))))


# ---- Vector structures ---------------------------------------------------------------------------

_STRUCTURE_REGISTERS = {0: 4, 2: 4, 4: 3, 6: 3, 7: 1, 8: 2, 10: 2}


def _structures(site: Site) -> Insn:
    """Decode ld1..ld4, st1..st4 of whole registers: contiguous in memory, however they are dealt out."""
    word = site.word
    count = _STRUCTURE_REGISTERS.get(bits(word, 15, 12), 0)
    if not count:
        return Insn(*site, InsnClass.OTHER)
    total = count * (16 if bit(word, 30) else 8)
    return _structure(site, vector(bits(word, 4, 0), count), 1 << bits(word, 11, 10), total)


def _structure_lane(site: Site) -> Insn:
    """Decode ld1..ld4, st1..st4 of one lane, and ld1r..ld4r."""
    word = site.word
    opcode = bits(word, 15, 13)
    count = ((opcode & 1) << 1 | bit(word, 21)) + 1
    scale = opcode >> 1
    if scale == 3:
        scale = bits(word, 11, 10)
    elif scale == 2 and bit(word, 10):
        scale = 3
    keeps = bit(word, 22) and opcode >> 1 != 3  # one lane of each register is replaced
    return _structure(site, vector(bits(word, 4, 0), count), 1 << scale, count << scale, keeps=bool(keeps))


def _structure(site: Site, data: tuple[int, ...], element: int, total: int, *, keeps: bool = False) -> Insn:
    word = site.word
    base, index, flags = bits(word, 9, 5), bits(word, 20, 16), InsnFlag.VECTOR
    memory = MemoryOperand(base)
    step: tuple[int, ...] = ()
    if bit(word, 23):  # post-indexed, by the bytes moved or by a register
        flags |= InsnFlag.WRITEBACK
        memory = MemoryOperand(base, writeback=total if index == ZERO_REGISTER else 0)
        step = register(index)
    return _access(
        site,
        Access.LOAD if bit(word, 22) else Access.STORE,
        memory,
        data=data,
        element=element,
        count=total // element,
        flags=flags,
        also_read=step + (data if keeps else ()),
    )
