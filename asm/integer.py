# ruff: noqa: PLR0911 - a decoder returns once a form
"""Integer data processing and branches (Arm ARM C4.1: groups 100x, x101 and the branches of 101x)."""

from asm.insn import (
    LINK_REGISTER,
    STACK_POINTER,
    Insn,
    Site,
    bit,
    bits,
    distinct,
    register,
    signed,
    wrap,
)
from traces.schema import FLAGS_REGISTER, InsnClass, InsnFlag

_FLAGS = (FLAGS_REGISTER,)


def _arithmetic(site: Site, cls: InsnClass, dst: tuple[int, ...], src: tuple[int, ...], sets_flags: bool) -> Insn:
    if sets_flags:
        return Insn(*site, cls, dst=(*dst, *_FLAGS), src=distinct(src), flags=InsnFlag.SETS_FLAGS)
    return Insn(*site, cls, dst=dst, src=distinct(src))


def immediate(site: Site) -> Insn:
    """Decode data processing with an immediate."""
    word = site.word
    rd, rn, opc = bits(word, 4, 0), bits(word, 9, 5), bits(word, 30, 29)
    match bits(word, 25, 23):
        case 0 | 1:  # adr, adrp
            offset = signed(bits(word, 23, 5) << 2 | opc, 21)
            target = site.va + offset if not bit(word, 31) else (site.va & ~0xFFF) + (offset << 12)
            return Insn(*site, InsnClass.ALU, dst=register(rd), target=wrap(target))
        case 2:  # add, sub: number 31 is SP, except as the destination of adds and subs
            sets_flags = bool(opc & 1)
            return _arithmetic(site, InsnClass.ALU, register(rd) if sets_flags else (rd,), (rn,), sets_flags)
        case 3:  # addg, subg
            return Insn(*site, InsnClass.ALU, dst=(rd,), src=(rn,))
        case 4:  # and, orr, eor, ands
            sets_flags = opc == 3
            return _arithmetic(site, InsnClass.ALU, register(rd) if sets_flags else (rd,), register(rn), sets_flags)
        case 5:  # movn, movz, movk
            return Insn(*site, InsnClass.ALU, dst=register(rd), src=register(rd) if opc == 3 else ())
        case 6:  # sbfm, bfm, ubfm: bfm keeps the rest of its destination
            src = register(rn) + (register(rd) if opc == 1 else ())
            return Insn(*site, InsnClass.ALU_SHIFT, dst=register(rd), src=distinct(src))
        case _:  # extr
            src = register(rn) + register(bits(word, 20, 16))
            return Insn(*site, InsnClass.ALU_SHIFT, dst=register(rd), src=distinct(src))


def from_registers(site: Site) -> Insn:
    """Decode data processing with registers."""
    word = site.word
    rd, rn, rm = bits(word, 4, 0), bits(word, 9, 5), bits(word, 20, 16)
    if bit(word, 28):
        return _other_register_forms(site)
    if not bit(word, 24):  # logical, shifted register
        cls = InsnClass.ALU_SHIFT if bits(word, 15, 10) else InsnClass.ALU
        return _arithmetic(site, cls, register(rd), register(rn) + register(rm), bits(word, 30, 29) == 3)
    sets_flags = bool(bit(word, 29))
    if not bit(word, 21):  # add, sub, shifted register
        cls = InsnClass.ALU_SHIFT if bits(word, 15, 10) else InsnClass.ALU
        return _arithmetic(site, cls, register(rd), register(rn) + register(rm), sets_flags)
    # add, sub, extended register: 31 is SP as first source, and as destination unless flags are set
    full_width = 3 if bit(word, 31) else 2
    plain = bits(word, 15, 13) == full_width and not bits(word, 12, 10)
    cls = InsnClass.ALU if plain else InsnClass.ALU_SHIFT
    return _arithmetic(site, cls, register(rd) if sets_flags else (rd,), (rn, *register(rm)), sets_flags)


def _other_register_forms(site: Site) -> Insn:
    word = site.word
    rd, rn, rm = bits(word, 4, 0), bits(word, 9, 5), bits(word, 20, 16)
    if bit(word, 24):  # madd and its kin add Ra; smulh and umulh have no use for it
        added = () if bits(word, 22, 21) == 2 else register(bits(word, 14, 10))
        src = register(rn) + register(rm) + added
        return Insn(*site, InsnClass.MUL, dst=register(rd), src=distinct(src))
    match bits(word, 23, 21):
        case 0 if not bits(word, 15, 10):  # adc, sbc
            src = register(rn) + register(rm) + _FLAGS
            return _arithmetic(site, InsnClass.ALU, register(rd), src, bool(bit(word, 29)))
        case 0:  # rmif, setf8, setf16: they change some of the flags, so the others are a source
            return _arithmetic(site, InsnClass.ALU, (), register(rn) + _FLAGS, True)
        case 2:  # ccmp, ccmn
            src = register(rn) + (() if bit(word, 11) else register(rm)) + _FLAGS
            return _arithmetic(site, InsnClass.ALU, (), src, True)
        case 4:  # csel and its kin
            return Insn(*site, InsnClass.ALU, dst=register(rd), src=distinct(register(rn) + register(rm) + _FLAGS))
        case 6 if bit(word, 30):
            return _one_source(site)
        case _:
            return _two_source(site)


def _one_source(site: Site) -> Insn:
    word = site.word
    rd, rn, opcode = bits(word, 4, 0), bits(word, 9, 5), bits(word, 15, 10)
    if not bits(word, 20, 16):  # rbit, rev, clz, cls ...
        return Insn(*site, InsnClass.ALU, dst=register(rd), src=register(rn))
    # Pointer authentication: the pointer is its own source, the modifier may be SP.
    src = register(rd) + ((rn,) if opcode < 8 else ())
    return Insn(*site, InsnClass.ALU_SHIFT, dst=register(rd), src=distinct(src))


def _two_source(site: Site) -> Insn:
    word = site.word
    rd, opcode = bits(word, 4, 0), bits(word, 15, 10)
    src = distinct(register(bits(word, 9, 5)) + register(bits(word, 20, 16)))
    if opcode in (0, 4, 5):  # subp, irg, gmi: memory tagging works on addresses, SP among them
        src = distinct((bits(word, 9, 5), *((bits(word, 20, 16),) if opcode == 0 else register(bits(word, 20, 16)))))
        dst = (rd,) if opcode == 4 else register(rd)
        return _arithmetic(site, InsnClass.ALU, dst, src, bool(bit(word, 29)))
    if opcode in (2, 3):
        return Insn(*site, InsnClass.DIV, dst=register(rd), src=src)
    if opcode == 12:  # pacga: the modifier may be SP
        src = distinct((*register(bits(word, 9, 5)), bits(word, 20, 16)))
        return Insn(*site, InsnClass.ALU_SHIFT, dst=register(rd), src=src)
    # CRC32 shares the multiplier's pipe on the A57 to A76 (their optimization guides).
    cls = InsnClass.MUL if bit(word, 14) else InsnClass.ALU
    return Insn(*site, cls, dst=register(rd), src=src)


def direct_branch(site: Site) -> Insn:
    """Decode b and bl."""
    target = wrap(site.va + (signed(bits(site.word, 25, 0), 26) << 2))
    dst = (LINK_REGISTER,) if bit(site.word, 31) else ()
    return Insn(*site, InsnClass.BRANCH, dst=dst, target=target)


def conditional_branch(site: Site) -> Insn:
    """Decode b.cond, cbz, cbnz, tbz and tbnz."""
    word = site.word
    if bits(word, 30, 25) == 0b011011:  # tbz, tbnz
        target, src = signed(bits(word, 18, 5), 14), register(bits(word, 4, 0))
    elif bits(word, 30, 25) == 0b011010:  # cbz, cbnz
        target, src = signed(bits(word, 23, 5), 19), register(bits(word, 4, 0))
    else:
        target, src = signed(bits(word, 23, 5), 19), _FLAGS
    return Insn(*site, InsnClass.BRANCH_CONDITIONAL, src=src, target=wrap(site.va + (target << 2)))


def indirect_branch(site: Site) -> Insn:
    """Decode br, blr, ret, eret, drps, and their authenticating forms."""
    word = site.word
    opc, rn, authenticates = bits(word, 24, 21), bits(word, 9, 5), bit(word, 11)
    if opc & 7 in (4, 5):  # eret, drps
        return Insn(*site, InsnClass.ERET, src=(STACK_POINTER,) if authenticates else ())
    dst = (LINK_REGISTER,) if opc & 7 == 1 else ()
    if opc & 7 == 2 and authenticates:  # retaa, retab: the link register, signed with SP
        return Insn(*site, InsnClass.BRANCH_INDIRECT, src=(LINK_REGISTER, STACK_POINTER))
    modifier = (bits(word, 4, 0),) if opc & 8 else ()  # braa, blraa: may be SP
    return Insn(*site, InsnClass.BRANCH_INDIRECT, dst=dst, src=distinct(register(rn) + modifier))
