"""Programs: small bare-metal AArch64 programs, from a linked ELF file or from assembly text."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from asm.assemble import assemble
from asm.container import map_file
from asm.elf import Elf, program_segments, relative_words
from traces.errors import InputError
from traces.reading import read_bytes

ASSEMBLED_AT = 0x4008_0000
"""Where assembly text is put: RAM of QEMU's virt machine, and of many boards."""

MOST_BYTES = 256 << 20
"""Of a program in memory."""
_MOST_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Memory of a program before it runs: `content`, then zeroes up to `size`."""

    pa: int
    size: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that runs where it was linked, VA = PA, from `entry` until it returns."""

    name: str
    """Of the entry: its symbol, or the file's name."""
    source: str
    sha256: str
    """Of what is in memory before it runs."""
    pieces: tuple[Piece, ...]
    entry: int
    symbols: Mapping[str, int]


def read_program(path: Path, symbol: str = "") -> Program:
    """Read a linked ELF file, or assembly text (.S). `symbol` is where it is entered; without: its start.

    Raises InputError for what is neither, is damaged, is not linked to the addresses that it is loaded at, or has no
    such symbol.
    """
    if path.suffix in (".S", ".s"):
        pieces, entry, symbols = _assembled(path)
    else:
        pieces, entry, symbols = _linked(path)
    if symbol:
        if symbol not in symbols:
            near = ", ".join(get_close_matches(symbol, symbols) or sorted(symbols, key=_linkers_own)[:8])
            raise InputError(f"{path}: {symbol}: no such symbol; it has {near or 'none'}")
        entry = symbols[symbol]
    if entry % 4 or not any(piece.pa <= entry < piece.pa + piece.size for piece in pieces):
        raise InputError(f"{path}: entry {entry:#x} must be a multiple of 4 inside the program")
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(f"{piece.pa:#x} {piece.size:#x}\n".encode() + piece.content)
    return Program(
        name=symbol or path.name,
        source=str(path),
        sha256=digest.hexdigest(),
        pieces=pieces,
        entry=entry,
        symbols=symbols,
    )


def _linkers_own(symbol: str) -> tuple[bool, str]:
    """Sort what people named before what linkers add."""
    return symbol.startswith("_"), symbol


def _assembled(path: Path) -> tuple[tuple[Piece, ...], int, dict[str, int]]:
    text = read_bytes(path, _MOST_TEXT_BYTES)
    made = assemble(text.decode(errors="replace"), name=str(path), va=ASSEMBLED_AT)
    symbols = {name: ASSEMBLED_AT + offset for name, offset in made.symbols.items()}
    return (Piece(ASSEMBLED_AT, len(made.code), made.code),), ASSEMBLED_AT, symbols


def _linked(path: Path) -> tuple[tuple[Piece, ...], int, dict[str, int]]:
    data = map_file(path)
    if data[:4] != b"\x7fELF":
        raise InputError(f"{path}: must be an ELF file, or assembly text named .S")
    segments, entry = program_segments(path, data)
    words = relative_words(path, data, segments)
    pieces = []
    for segment in segments:
        if segment.va != segment.pa:
            raise InputError(
                f"{path}: linked to run at {segment.va:#x} and be loaded at {segment.pa:#x}: the two must be the same"
            )
        content = bytearray(data[segment.offset : segment.offset + segment.file_bytes])
        for at in (at for at in words if segment.va <= at <= segment.va + len(content) - 8):
            content[at - segment.va : at - segment.va + 8] = words[at].to_bytes(8, "little")
        pieces.append(Piece(segment.pa, segment.memory_bytes, bytes(content)))
    if sum(piece.size for piece in pieces) > MOST_BYTES:
        raise InputError(f"{path}: a program may take {MOST_BYTES >> 20} MiB of memory")
    try:
        symbols = Elf(path, data).addresses()
    except InputError:  # stripped to its program headers
        symbols = {}
    return tuple(pieces), entry, symbols
