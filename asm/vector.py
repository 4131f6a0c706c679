# ruff: noqa: PLR0911 - a decoder returns once a form
"""Floating point, vectors and cryptography (Arm ARM C4.1.97): class and registers, as far as dependences need them.

Where a vector form keeps part of its destination (multiply-accumulate, inserts, narrowing into the upper half) the
destination is a source too. What the tables below do not know counts as Vd <- Vn, Vm.
"""

from asm.insn import Insn, Site, bit, bits, distinct, register, vector
from traces.schema import FLAGS_REGISTER, InsnClass, InsnFlag

_FLAGS = (FLAGS_REGISTER,)


def floating_point_or_vector(site: Site) -> Insn:
    """Decode one instruction of group x111."""
    word = site.word
    top = bits(word, 31, 24)
    if top & 0x7F == 0x1F:  # fmadd and its kin
        src = vector(bits(word, 9, 5)) + vector(bits(word, 20, 16)) + vector(bits(word, 14, 10))
        return Insn(*site, InsnClass.FP, dst=vector(bits(word, 4, 0)), src=distinct(src))
    if top & 0x7F == 0x1E:
        return _scalar(site)
    if top == 0xCE:
        return _cryptography_many(site)
    if top in (0x4E, 0x5E) and (_is_cryptography_two(word) or (top == 0x5E and _is_cryptography_three(word))):
        return _cryptography(site)
    return _vector(site)


def _scalar(site: Site) -> Insn:
    word = site.word
    rd, rn, rm = bits(word, 4, 0), bits(word, 9, 5), bits(word, 20, 16)
    if not bit(word, 21) or not bits(word, 15, 10):
        return _conversion(site)
    if bits(word, 14, 10) == 0x10:  # fmov, fabs, fneg, fsqrt, fcvt, frint
        return Insn(*site, InsnClass.FP, dst=vector(rd), src=vector(rn))
    if bits(word, 13, 10) == 8:  # fcmp; bit 3: with zero
        src = vector(rn) if bit(word, 3) else vector(rn) + vector(rm)
        return Insn(*site, InsnClass.FP, dst=_FLAGS, src=distinct(src), flags=InsnFlag.SETS_FLAGS)
    if bits(word, 12, 10) == 4:  # fmov, immediate
        return Insn(*site, InsnClass.FP, dst=vector(rd))
    src = vector(rn) + vector(rm)
    match bits(word, 11, 10):
        case 1:  # fccmp
            return Insn(*site, InsnClass.FP, dst=_FLAGS, src=distinct(src + _FLAGS), flags=InsnFlag.SETS_FLAGS)
        case 3:  # fcsel
            return Insn(*site, InsnClass.FP, dst=vector(rd), src=distinct(src + _FLAGS))
    return Insn(*site, InsnClass.FP, dst=vector(rd), src=distinct(src))


def _conversion(site: Site) -> Insn:
    """Decode moves and conversions between X and V registers: opcode (18:16) says which way."""
    word = site.word
    rd, rn, opcode = bits(word, 4, 0), bits(word, 9, 5), bits(word, 18, 16)
    if opcode in (2, 3, 7):  # scvtf, ucvtf, fmov to V
        keeps = vector(rd) if bits(word, 20, 19) == 1 and opcode == 7 else ()  # fmov v0.d[1], x0
        return Insn(*site, InsnClass.SIMD, dst=vector(rd), src=register(rn) + keeps)
    flags = _FLAGS if word & 0xFFFF_FC00 == 0x1E7E_0000 else ()  # fjcvtzs
    return Insn(
        *site,
        InsnClass.SIMD,
        dst=register(rd) + flags,
        src=vector(rn),
        flags=InsnFlag.SETS_FLAGS if flags else InsnFlag(0),
    )


def _is_cryptography_two(word: int) -> bool:
    return bits(word, 21, 17) == 0b10100 and bits(word, 11, 10) == 2


def _is_cryptography_three(word: int) -> bool:
    return not bit(word, 21) and not bit(word, 15) and bits(word, 11, 10) == 0


def _cryptography(site: Site) -> Insn:
    """Decode AES, SHA-1 and SHA-256."""
    word = site.word
    rd, rn = vector(bits(word, 4, 0)), vector(bits(word, 9, 5))
    if _is_cryptography_two(word):
        # aese, aesd (4, 5), sha1su1, sha256su0 (1, 2) change their destination; aesmc (6, 7) and sha1h (0) replace it.
        aes = bits(word, 31, 24) == 0x4E
        keeps = bits(word, 16, 12) in ((4, 5) if aes else (1, 2))
        return Insn(*site, InsnClass.CRYPTO, dst=rd, src=distinct(rn + (rd if keeps else ())))
    src = distinct(rn + vector(bits(word, 20, 16)) + rd)
    return Insn(*site, InsnClass.CRYPTO, dst=rd, src=src)


def _cryptography_many(site: Site) -> Insn:
    """Decode SHA-512, SHA-3, SM3 and SM4: eor3 and bcax and sm3ss1 have a third source, the others may keep Vd."""
    word = site.word
    rd, rn, rm = vector(bits(word, 4, 0)), vector(bits(word, 9, 5)), vector(bits(word, 20, 16))
    if not bit(word, 23) and not bit(word, 15):
        return Insn(*site, InsnClass.CRYPTO, dst=rd, src=distinct(rn + rm + vector(bits(word, 14, 10))))
    if bits(word, 23, 21) == 4:  # xar
        return Insn(*site, InsnClass.CRYPTO, dst=rd, src=distinct(rn + rm))
    if bits(word, 23, 12) == 0xC08:  # sha512su0, sm4e
        return Insn(*site, InsnClass.CRYPTO, dst=rd, src=distinct(rn + rd))
    keeps = () if bits(word, 15, 10) in (0x23, 0x32) else rd  # rax1, sm4ekey
    return Insn(*site, InsnClass.CRYPTO, dst=rd, src=distinct(rn + rm + keeps))


# ---- Advanced SIMD -------------------------------------------------------------------------------


def _vector(site: Site) -> Insn:
    word = site.word
    if bit(word, 24):
        return _shift_immediate(site) if bit(word, 10) else _by_element(site)
    if bit(word, 21):
        if bit(word, 10):
            return _three_same(site)
        return _two_or_across(site) if bit(word, 11) else _three_different(site)
    if not bit(word, 15) and bit(word, 10):
        if not bits(word, 23, 22):
            return _copy(site)
        return _plain(site, keeps=bits(word, 15, 11) == 1 and not bit(word, 29))  # three halfwords: fmla, fmls keep
    if bit(word, 15) and bit(word, 10):  # sdot, sqrdmlah, fcmla, matrix multiplies accumulate; fcadd does not
        return _plain(site, keeps=bits(word, 15, 11) not in (0b11100, 0b11110))
    if not bit(word, 15) and not bits(word, 11, 10) and not bit(word, 29) and not bits(word, 23, 22):
        return _table(site)
    return _plain(site)  # zip, uzp, trn, ext


def _plain(site: Site, *, keeps: bool = False, unary: bool = False, rm: int | None = None) -> Insn:
    word = site.word
    rd = vector(bits(word, 4, 0))
    second = () if unary else vector(bits(word, 20, 16) if rm is None else rm)
    return Insn(*site, InsnClass.SIMD, dst=rd, src=distinct(vector(bits(word, 9, 5)) + second + (rd if keeps else ())))


def _three_same(site: Site) -> Insn:
    word = site.word
    opcode, other = bits(word, 15, 11), bit(word, 29)
    if opcode == 3:  # and, bic, orr, orn; eor, bsl, bit, bif
        return _plain(site, keeps=bool(other) and bits(word, 23, 22) != 0)
    # saba and uaba, mla and mls, fmla and fmls (with U: fmlal2, fmlsl2), fmlal and fmlsl (with U it is facge)
    return _plain(site, keeps=opcode in (0b01111, 0b10010, 0b11001) or (opcode == 0b11101 and not other))


def _three_different(site: Site) -> Insn:
    opcode = bits(site.word, 15, 12)
    accumulates = opcode in (5, 8, 9, 10, 11)  # sabal, smlal, sqdmlal, smlsl, sqdmlsl
    upper_half = opcode in (4, 6) and bit(site.word, 30) == 1  # addhn2, subhn2
    return _plain(site, keeps=accumulates or upper_half)


def _two_or_across(site: Site) -> Insn:
    word = site.word
    if bits(word, 20, 17) == 8:  # addv, saddlv, smaxv ...
        return _plain(site, unary=True)
    opcode = bits(word, 16, 12)
    accumulates = opcode in (0b00011, 0b00110)  # suqadd, sadalp
    upper_half = bit(word, 30) == 1 and not bit(word, 28) and opcode in (0b10010, 0b10100, 0b10110)  # xtn2, fcvtn2
    return _plain(site, unary=True, keeps=accumulates or upper_half)


def _copy(site: Site) -> Insn:
    """Decode dup, ins, smov, umov."""
    word = site.word
    rd, rn = bits(word, 4, 0), bits(word, 9, 5)
    if bit(word, 29):
        return _plain(site, unary=True, keeps=True)  # ins, element
    match bits(word, 14, 11):
        case 1:  # dup from X
            return Insn(*site, InsnClass.SIMD, dst=vector(rd), src=register(rn))
        case 3:  # ins from X
            return Insn(*site, InsnClass.SIMD, dst=vector(rd), src=register(rn) + vector(rd))
        case 5 | 7:
            return Insn(*site, InsnClass.SIMD, dst=register(rd), src=vector(rn))
    return _plain(site, unary=True)


def _table(site: Site) -> Insn:
    """Decode tbl and tbx; of a four-register table tbx's destination still fits, one table register does not."""
    word = site.word
    rd = vector(bits(word, 4, 0))
    rows = vector(bits(word, 9, 5), bits(word, 14, 13) + 1)
    src = distinct(vector(bits(word, 20, 16)) + (rd if bit(word, 12) else ()) + rows)
    return Insn(*site, InsnClass.SIMD, dst=rd, src=src[:4])


def _shift_immediate(site: Site) -> Insn:
    word = site.word
    rd = vector(bits(word, 4, 0))
    if not bits(word, 22, 19):  # movi, mvni, fmov; orr and bic keep the other bits
        cmode = bits(word, 15, 12)
        keeps = bool(cmode & 1) and cmode < 12
        return Insn(*site, InsnClass.SIMD, dst=rd, src=rd if keeps else ())
    opcode = bits(word, 15, 11)
    # ssra, srsra and their unsigned forms; with U sri, sli
    accumulates = opcode in (0b00010, 0b00110) or (bit(word, 29) == 1 and opcode in (0b01000, 0b01010))
    upper_half = bit(word, 30) == 1 and not bit(word, 28) and 0b10000 <= opcode <= 0b10011  # shrn2 ...
    return _plain(site, unary=True, keeps=accumulates or upper_half)


def _by_element(site: Site) -> Insn:
    word = site.word
    opcode, other, size = bits(word, 15, 12), bit(word, 29), bits(word, 23, 22)
    # With U all but fmulx, umull (and the unallocated 11) accumulate; without, the multiplies 8..13 do not.
    keeps = opcode not in (9, 10, 11) if other else opcode < 8 or opcode > 13
    return _plain(site, keeps=keeps, rm=bits(word, 19 if _indexes_halfwords(opcode, other, size) else 20, 16))


def _indexes_halfwords(opcode: int, other: int, size: int) -> bool:
    """Say whether M belongs to the index, so that the element lies in V0..V15."""
    match size:
        case 0:  # half-precision fmla, fmls, fmul, fmulx
            return opcode in (1, 5, 9)
        case 1:  # all but fcmla and bfdot
            return not (other and opcode < 8 and opcode & 1) and not (not other and opcode == 15)
        case 2:  # fmlal, fmlsl, fmlal2, fmlsl2
            return opcode in ((8, 12) if other else (0, 4))
    return opcode == 15 and not other  # bfmlal
