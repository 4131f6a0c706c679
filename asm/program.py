"""Programs: small bare-metal AArch64 programs, from a linked ELF file or from assembly text."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asm.assemble import assemble
from asm.container import map_file
from asm.elf import Elf, program_segments
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
            near = ", ".join(sorted(symbols)[:8])
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
    pieces = []
    for segment in segments:
        if segment.va != segment.pa:
            raise InputError(
                f"{path}: linked to run at {segment.va:#x} and be loaded at {segment.pa:#x}: the two must be the same"
            )
        content = bytes(data[segment.offset : segment.offset + segment.file_bytes])
        pieces.append(Piece(segment.pa, segment.memory_bytes, content))
    if sum(piece.size for piece in pieces) > MOST_BYTES:
        raise InputError(f"{path}: a program may take {MOST_BYTES >> 20} MiB of memory")
    try:
        symbols = Elf(path, data).addresses()
    except InputError:  # stripped to its program headers
        symbols = {}
    return tuple(pieces), entry, symbols
