"""Assembly text to machine code, one instruction at a time, each decoded back before it is believed.

Keystone fails silently: it drops what it does not know and returns the rest. So it is given single instructions with
every name already a number, must return exactly one word for each, and the word must decode, to an instruction whose
target is the label that the source names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from asm.decode import WORD_BYTES, decode
from asm.expression import evaluate
from asm.insn import wrap
from asm.source import Align, Data, Instruction, Label, Source, Statement
from traces.errors import InputError
from traces.schema import InsnClass

NOP = 0xD503201F

# What an instruction may look like once names are numbers. Anything else is refused: Keystone ends the process over
# ":lo12:", over sums with a name in them, and over PC-relative operands that are not word-aligned.
_MNEMONIC = re.compile(r"[a-z][a-z0-9]*(?:\.[a-z]{2})?\Z")
_OPERANDS = re.compile(r"(?:[\w .\[\]{}!,]|#\s*-?(?=[0-9])|(?<=\w)-(?=v[0-9]))*\Z", re.ASCII)
_PC_RELATIVE = re.compile(r"(?:b|bl|b\.[a-z]{2}|cbn?z|tbn?z|ldr|ldrsw|prfm)\Z")
_IMMEDIATE = re.compile(r"#\s*((?:[^,\[\]{}()]|\([^()]*(?:\([^()]*\)[^()]*)*\))+)")
_NAME = re.compile(r"(?<![\w.$#])[A-Za-z_.$][\w.$]+|(?<![\w.$#])[A-Za-z](?![\w.$])")
_SUM = re.compile(r"[^#\[\]{}]*[\w)]\s*[+\-*&|^<>][^#\[\]{}]*\Z")
_HERE = re.compile(r"(?<![\w.$#])\.(?!\w)")


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """Machine code, and where its names and lines are in it."""

    code: bytes
    symbols: Mapping[str, int]
    """Label -> offset in code. Local ones (.L...) too."""
    lines: Mapping[int, int]
    """Offset of each instruction -> line of the source, counted from 1."""


def assemble(source: str, *, name: str, va: int = 0) -> Assembly:
    """Assemble `source` for address `va`. `name` is what errors call it: a file, or where the text came from.

    Raises InputError with one line naming file, line and reason, for everything that cannot be assembled exactly.
    """
    if va % WORD_BYTES:
        raise InputError(f"{name}: address {va:#x}: instructions are word-aligned")
    reader = Source(name)
    statements = reader.parse(source)
    symbols = _lay_out(reader, statements)
    names = {**reader.constants, **{label: va + offset for label, offset in symbols.items()}}
    code = bytearray()
    lines: dict[int, int] = {}
    for statement in statements:
        match statement:
            case Instruction():
                lines[len(code)] = statement.number
                code += _encode(reader, statement, names, va + len(code))
            case Data():
                code += _pack(reader, statement, names)
            case Align():
                code += _padding(len(code), statement.boundary)
            case Label():
                pass
    if not lines and not code:
        raise InputError(f"{name}: assembles to no bytes")
    _check_count(name, bytes(code), lines, va)
    return Assembly(code=bytes(code), symbols=symbols, lines=lines)


def _lay_out(reader: Source, statements: list[Statement]) -> dict[str, int]:
    """Give every label its offset: sizes are known before anything is encoded."""
    symbols: dict[str, int] = {}
    at = 0
    for statement in statements:
        match statement:
            case Label(number=number, name=label):
                if label in symbols or label in reader.constants:
                    raise reader.error(number, f"{label!r} is defined twice")
                symbols[label] = at
            case Data(width=width, values=values):
                at += width * len(values)
            case Align(boundary=boundary):
                at += -at % boundary
            case Instruction(number=number):
                if at % WORD_BYTES:
                    raise reader.error(number, "instruction after data that does not fill a word")
                at += WORD_BYTES
    return symbols


def _padding(at: int, boundary: int) -> bytes:
    missing = -at % boundary
    return bytes(missing % WORD_BYTES) + NOP.to_bytes(WORD_BYTES, "little") * (missing // WORD_BYTES)


def _pack(reader: Source, data: Data, names: Mapping[str, int]) -> bytes:
    packed = b""
    for text in data.values:
        value = _value(reader, data.number, text, names)
        limit = 1 << (8 * data.width)
        if not -limit // 2 <= value < limit:
            raise reader.error(data.number, f"{text} does not fit {data.width} bytes")
        packed += (value % limit).to_bytes(data.width, "little")
    return packed


def _value(reader: Source, number: int, text: str, names: Mapping[str, int]) -> int:
    try:
        return evaluate(text, names)
    except ValueError as problem:
        raise reader.error(number, str(problem)) from None


def _encode(reader: Source, insn: Instruction, names: Mapping[str, int], va: int) -> bytes:
    """Encode one instruction and prove the encoding by decoding it."""
    operands = _resolve(reader, insn, names, va)
    named = _last_number(operands)
    if named is not None and named % WORD_BYTES and _PC_RELATIVE.match(insn.mnemonic):
        raise reader.error(insn.number, f"{insn.text}: {named:#x} is not word-aligned")
    if insn.mnemonic == "adr" and named is not None:
        # Keystone takes adr's number as a distance, all others as an address, and garbles it unless it stands at 0.
        code = _keystone_encode(reader, insn, f"adr {operands.partition(',')[0]}, #{named - va:#x}", 0)
    else:
        code = _keystone_encode(reader, insn, f"{insn.mnemonic} {operands}".strip(), va)
    [decoded] = decode(code, va)
    if decoded.cls is InsnClass.OTHER:
        raise reader.error(insn.number, f"{insn.text}: encodes to {decoded.text}, which decodes to nothing")
    page = ~0xFFF if insn.mnemonic == "adrp" else ~0
    if decoded.target is not None and (named is None or decoded.target != wrap(named) & page):
        raise reader.error(insn.number, f"{insn.text}: encodes to {decoded.text!r}, which names another address")
    return code


def _last_number(operands: str) -> int | None:
    """Return the number that the operands end with, if they do: of a branch, where it goes."""
    try:
        return int(operands.rpartition(",")[2].strip().removeprefix("#"), 0)
    except ValueError:
        return None


def _resolve(reader: Source, insn: Instruction, names: Mapping[str, int], va: int) -> str:
    """Replace names and expressions by numbers."""
    if not _MNEMONIC.match(insn.mnemonic):
        raise reader.error(insn.number, f"{insn.mnemonic!r} is not an instruction")
    if "=" in insn.operands:
        raise reader.error(insn.number, "literal pools (=value) are not supported: name a .quad")

    def immediate(match: re.Match[str]) -> str:
        return f"#{_value(reader, insn.number, match[1], names):#x}"

    operands = _IMMEDIATE.sub(immediate, insn.operands)
    first, comma, last = operands.rpartition(",")
    if _SUM.match(last):  # "b label + 8"
        operands = f"{first}{comma} {_value(reader, insn.number, _HERE.sub(f'{va:#x}', last), names):#x}"
    operands = _HERE.sub(f"{va:#x}", operands)
    operands = _NAME.sub(lambda match: f"{names[match[0]]:#x}" if match[0] in names else match[0], operands)
    if not _OPERANDS.match(operands):
        raise reader.error(insn.number, f"{insn.operands!r}: operands are not supported")
    return operands


@cache
def _keystone() -> Any:
    import keystone

    return keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)


def _keystone_encode(reader: Source, insn: Instruction, text: str, va: int) -> bytes:
    import keystone

    try:
        encoded, count = _keystone().asm(text, va)
    except keystone.KsError as problem:
        reason = str(problem).split(" (KS_ERR")[0].replace("Unknown error", "not encodable")
        raise reader.error(insn.number, f"{insn.text}: {reason}") from None
    if encoded is None or count != 1 or len(encoded) != WORD_BYTES:
        got = 0 if encoded is None else len(encoded)
        raise reader.error(insn.number, f"{insn.text}: assembles to {got} bytes instead of one instruction")
    return bytes(encoded)


def _check_count(name: str, code: bytes, lines: Mapping[int, int], va: int) -> None:
    """Decode everything as one piece: each instruction of the source must be found at its place."""
    whole = code[: len(code) - len(code) % WORD_BYTES]
    decoded = {insn.va - va for insn in decode(whole, va) if insn.cls is not InsnClass.OTHER}
    lost = sorted(set(lines) - decoded)
    if lost:
        raise InputError(f"{name}:{lines[lost[0]]}: {len(lost)} of {len(lines)} instructions are not in the code")
