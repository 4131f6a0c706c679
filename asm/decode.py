"""Machine code to Insn: registers, addresses and effects from the encoding, the text from Capstone.

Capstone names an instruction reliably, but not all that it reads and writes (aliases hide operands, and system
instructions carry none), so every field here is taken from the encoding word (Arm ARM C4.1).
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from asm.insn import (
    SXTW,
    SXTX,
    UXTW,
    UXTX,
    Insn,
    MemoryOperand,
    Site,
    bits,
)
from asm.integer import conditional_branch, direct_branch, from_registers, immediate, indirect_branch
from asm.loadstore import load_store
from asm.system import system
from asm.vector import floating_point_or_vector
from traces.schema import InsnClass

__all__ = ["SXTW", "SXTX", "UXTW", "UXTX", "WORD_BYTES", "Insn", "MemoryOperand", "decode"]

WORD_BYTES = 4


def decode(code: bytes, va: int) -> list[Insn]:
    """Decode every word of `code`, which starts at `va`; a trailing fraction of a word is ignored.

    Returns exactly len(code) // 4 instructions. A word that Capstone does not know is OTHER, with text ".inst 0x...".
    """
    return [_decode(site) for site in _sites(bytes(code), int(va))]  # int: NumPy's own would overflow in targets


def _decode(site: Site) -> Insn:
    if site.text.startswith(".inst"):
        return Insn(*site, InsnClass.OTHER)
    return _group(site.word)(site)


def _group(word: int) -> Callable[[Site], Insn]:
    """Choose the decoder by op0 (28:25), table C4-1."""
    op0 = bits(word, 28, 25)
    if op0 & 0b1110 == 0b1000:
        return immediate
    if op0 & 0b0101 == 0b0100:
        return load_store
    if op0 & 0b0111 == 0b0101:
        return from_registers
    if op0 & 0b0111 == 0b0111:
        return floating_point_or_vector
    if op0 & 0b1110 == 0b1010:
        return _branch(word)
    return _other


def _branch(word: int) -> Callable[[Site], Insn]:
    if bits(word, 30, 26) == 0b00101:
        return direct_branch
    if bits(word, 30, 26) == 0b01101 or bits(word, 31, 24) == 0x54:
        return conditional_branch
    if bits(word, 31, 25) == 0b1101011:
        return indirect_branch
    if bits(word, 31, 22) == 0b1101010100:
        return system
    if bits(word, 31, 24) == 0xD4:
        return _exception
    return _other


def _exception(site: Site) -> Insn:
    return Insn(*site, InsnClass.EXCEPTION)


def _other(site: Site) -> Insn:
    """Decode what is left: udf, and SVE and SME, which no core that we model has."""
    return Insn(*site, InsnClass.EXCEPTION if site.word >> 16 == 0 else InsnClass.OTHER)


# ---- Text ----------------------------------------------------------------------------------------


@cache
def _capstone() -> Any:
    import capstone

    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)


def _sites(code: bytes, va: int) -> Iterator[Site]:
    """Name every word. Capstone stops at a word it does not know, so it is begun anew behind each."""
    end = len(code) - len(code) % WORD_BYTES
    at = 0
    while at < end:
        for text in _texts(code[at:end], va + at):
            yield Site(va + at, int.from_bytes(code[at : at + WORD_BYTES], "little"), text)
            at += WORD_BYTES
        if at < end:
            word = int.from_bytes(code[at : at + WORD_BYTES], "little")
            yield Site(va + at, word, f".inst {word:#010x}")
            at += WORD_BYTES


def _texts(code: bytes, va: int) -> Iterator[str]:
    for _, _, mnemonic, operands in _capstone().disasm_lite(code, va):
        yield f"{mnemonic} {operands}".rstrip()
