"""The little of ELF that finding code by name, and memory in a core dump, needs, from files that nobody vouches for.

Own code, because the file may be hostile: every offset is checked against the file, strings are bounded, and nothing is
read that was not asked for (a vmlinux with debug information has a gigabyte of it).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asm.container import Buffer
from traces.errors import InputError

_HEADER = struct.Struct("<4sBBB9xHHIQQQIHHHHHH")
_SECTION = np.dtype(
    [
        ("name", "<u4"),
        ("type", "<u4"),
        ("flags", "<u8"),
        ("va", "<u8"),
        ("offset", "<u8"),
        ("size", "<u8"),
        ("link", "<u4"),
        ("info", "<u4"),
        ("align", "<u8"),
        ("entry", "<u8"),
    ]
)
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_RELOCATION = np.dtype([("offset", "<u8"), ("info", "<u8"), ("addend", "<i8")])

_LOAD_HEADER = np.dtype(
    [
        ("type", "<u4"),
        ("flags", "<u4"),
        ("offset", "<u8"),
        ("va", "<u8"),
        ("pa", "<u8"),
        ("file_bytes", "<u8"),
        ("memory_bytes", "<u8"),
        ("align", "<u8"),
    ]
)

_DYNAMIC_ENTRY = np.dtype([("tag", "<u8"), ("value", "<u8")])

_CLASS_64, _LITTLE_ENDIAN, _AARCH64 = 2, 1, 183
_RELOCATABLE, _EXECUTABLE_FILE, _SHARED, _CORE = 1, 2, 3, 4
_LOAD, _DYNAMIC = 1, 2
_DT_NULL, _DT_RELA, _DT_RELA_BYTES, _DT_RELR = 0, 7, 8, 36
_R_RELATIVE = 1027
_UNCOUNTED = 0xFFFF
_SYMTAB, _RELA, _NOBITS = 2, 4, 8
_EXECUTABLE, _COMPRESSED = 4, 0x800
_FIRST_RESERVED_SECTION = 0xFF00
_LONGEST_NAME = 512
_MOST_SYMBOLS = 16 << 20
_MOST_NAMESAKES = 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name is in the file, and how far its section goes on."""

    offset: int
    end: int
    size: int
    """As the symbol says; 0 where it does not."""


@dataclass(frozen=True, slots=True)
class LoadSegment:
    """A PT_LOAD: `memory_bytes` at `pa`, of which the first `file_bytes` are in the file."""

    pa: int
    memory_bytes: int
    offset: int
    file_bytes: int
    va: int = 0


def core_segments(path: Path, data: Buffer) -> tuple[LoadSegment, ...]:
    """Return what an ELF core (dump-guest-memory, /proc/vmcore) holds of memory, in the order of its program headers.

    Raises InputError for every other ELF file, and for one that ends before what its headers say is in it.
    """
    if _kind(path, data) != _CORE:
        raise InputError(f"{path}: an ELF file, but no core dump (e_type must be {_CORE})")
    return _load_segments(path, data)


def program_segments(path: Path, data: Buffer) -> tuple[tuple[LoadSegment, ...], int]:
    """Return what a linked program has in memory, and its entry point. Raises InputError for every other ELF file."""
    if _kind(path, data) not in (_EXECUTABLE_FILE, _SHARED):
        raise InputError(f"{path}: an ELF file that is not linked: link it to a fixed address (ld -Ttext=ADDRESS)")
    return _load_segments(path, data), int(_HEADER.unpack_from(data)[7])


def relative_words(path: Path, data: Buffer, segments: Sequence[LoadSegment]) -> dict[int, int]:
    """Return what a position-independent program that stays where it was linked has to find in memory: word by address.

    Those are its R_AARCH64_RELATIVE relocations. Raises InputError for what only a dynamic linker can do.
    """
    dynamic = [row for row in _program_headers(path, data) if row["type"] == _DYNAMIC]
    if not dynamic:
        return {}
    entries = _inside(path, data, int(dynamic[0]["offset"]), int(dynamic[0]["file_bytes"]), _DYNAMIC_ENTRY)
    ends = np.flatnonzero(entries["tag"] == _DT_NULL)
    tags = {int(each["tag"]): int(each["value"]) for each in entries[: ends[0] if len(ends) else None]}
    if _DT_RELR in tags:
        raise InputError(f"{path}: has packed relocations (DT_RELR), which are not supported: link with -no-pie")
    at, size = tags.get(_DT_RELA, 0), tags.get(_DT_RELA_BYTES, 0)
    if not size:
        return {}
    held = next((each for each in segments if each.va <= at and at + size <= each.va + each.file_bytes), None)
    if held is None:
        raise InputError(f"{path}: relocations {at:#x}+{size:#x} are not inside the program")
    rows = _inside(path, data, held.offset + at - held.va, size, _RELOCATION)
    kinds = set((rows["info"] & 0xFFFF_FFFF).tolist()) - {0, _R_RELATIVE}
    if kinds:
        raise InputError(
            f"{path}: needs a dynamic linker (relocations of type {min(kinds)}): link with -static -no-pie, not -shared"
        )
    rows = rows[rows["info"] & 0xFFFF_FFFF == _R_RELATIVE]
    return {int(row["offset"]): int(row["addend"]) % (1 << 64) for row in rows}


def _inside(path: Path, data: Buffer, offset: int, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows of the file, copied: the file could not be closed else."""
    if offset + size > len(data) or size % dtype.itemsize:
        raise InputError(f"{path}: ELF dynamic section or relocations {offset:#x}+{size:#x} are not inside the file")
    return np.frombuffer(data, dtype, size // dtype.itemsize, offset).copy()


def _program_headers(path: Path, data: Buffer) -> NDArray[Any]:
    *_, offset, _, _, _, entry_bytes, count, _, _, _ = _HEADER.unpack_from(data)
    if count == _UNCOUNTED:
        raise InputError(f"{path}: ELF file with {_UNCOUNTED} program headers or more, which is not supported")
    if entry_bytes != _LOAD_HEADER.itemsize or offset + count * entry_bytes > len(data):
        raise InputError(f"{path}: ELF program headers {offset:#x}+{count * entry_bytes:#x} are not inside the file")
    return np.frombuffer(data, _LOAD_HEADER, count, offset).copy()  # or the file could not be closed


def _load_segments(path: Path, data: Buffer) -> tuple[LoadSegment, ...]:
    rows = _program_headers(path, data)
    found = []
    for number in np.flatnonzero((rows["type"] == _LOAD) & (rows["memory_bytes"] != 0)).tolist():
        pa, size, at, inside = (int(rows[number][name]) for name in ("pa", "memory_bytes", "offset", "file_bytes"))
        if inside > size:
            raise InputError(f"{path}: ELF segment {number}: p_filesz {inside:#x} must not exceed p_memsz {size:#x}")
        if at + inside > len(data):
            raise InputError(
                f"{path}: truncated: ELF segment {number} is at {at:#x}+{inside:#x}, the file has {len(data):#x} bytes"
            )
        found.append(LoadSegment(pa, size, at, inside, int(rows[number]["va"])))
    if not found:
        raise InputError(f"{path}: ELF file without a segment of memory (PT_LOAD)")
    return tuple(found)


def _kind(path: Path, data: Buffer) -> int:
    """Return e_type of a little-endian 64-bit AArch64 file. Raises InputError for every other."""
    if len(data) < _HEADER.size:
        raise InputError(f"{path}: truncated ELF header")
    _, width, order, _, kind, machine, *_ = _HEADER.unpack_from(data)
    if width != _CLASS_64:
        raise InputError(f"{path}: a 32-bit ELF file; only 64-bit AArch64 is supported")
    if order != _LITTLE_ENDIAN:
        raise InputError(f"{path}: a big-endian ELF file; only little-endian AArch64 is supported")
    if machine != _AARCH64:
        raise InputError(f"{path}: ELF machine {machine}; only AArch64 ({_AARCH64}) is supported")
    return int(kind)


class Elf:
    """A little-endian 64-bit AArch64 ELF file."""

    def __init__(self, path: Path, data: Buffer) -> None:
        """Read the headers. Raises InputError for every other kind of ELF file, and for damaged ones."""
        self._path = path
        self._data = data
        self.relocatable = _kind(path, data) == _RELOCATABLE
        self._sections = self._read_sections()

    def _read_sections(self) -> NDArray[Any]:
        *_, offset, _, _, _, _, entry_bytes, count, _ = _HEADER.unpack_from(self._data)
        if not offset or not count:
            raise InputError(f"{self._path}: ELF file without section headers")
        if entry_bytes != _SECTION.itemsize:
            raise InputError(f"{self._path}: ELF section headers of {entry_bytes} bytes; must be {_SECTION.itemsize}")
        return self._table(offset, count * entry_bytes, _SECTION, "section headers")

    def _table(self, offset: int, size: int, dtype: np.dtype[Any], what: str) -> NDArray[Any]:
        if offset + size > len(self._data) or size % dtype.itemsize:
            raise InputError(f"{self._path}: ELF {what} {offset:#x}+{size:#x} are not inside the file")
        return np.frombuffer(self._data, dtype, size // dtype.itemsize, offset)

    def _section_bytes(self, number: int) -> tuple[int, int] | None:
        """Return (offset, end) of a section's content; None if it has none, or is outside the file."""
        if not 0 < number < len(self._sections):
            return None
        section = self._sections[number]
        offset, end = int(section["offset"]), int(section["offset"]) + int(section["size"])
        if section["type"] == _NOBITS or int(section["flags"]) & _COMPRESSED or end > len(self._data):
            return None
        return offset, end

    def executable(self) -> Iterator[tuple[int, int, int]]:
        """Yield (offset, end, address) of every section of code."""
        for number in np.flatnonzero(self._sections["flags"] & _EXECUTABLE):
            if found := self._section_bytes(int(number)):
                yield (*found, int(self._sections[number]["va"]))

    def has_symbols(self) -> bool:
        """Say whether there is a symbol table."""
        return bool((self._sections["type"] == _SYMTAB).any())

    def find(self, name: str) -> Place | None:
        """Return where a symbol's bytes are; None if it is not defined here. The first definition counts."""
        wanted = name.encode()
        if len(wanted) > _LONGEST_NAME:
            return None
        for table in np.flatnonzero(self._sections["type"] == _SYMTAB):
            section = self._sections[table]
            strings = self._section_bytes(int(section["link"]))
            if strings is None:
                continue
            symbols = self._symbols(section)
            # The name is looked for in the strings once, then the symbols that point at it.
            named = np.flatnonzero(np.isin(symbols["name"], self._occurrences(wanted, *strings)))
            for row in named[:_MOST_NAMESAKES]:
                if place := self._place(symbols[row]):
                    return place
        return None

    def addresses(self) -> dict[str, int]:
        """Return the address of every symbol that a section has, by name."""
        found: dict[str, int] = {}
        for table in np.flatnonzero(self._sections["type"] == _SYMTAB):
            strings = self._section_bytes(int(self._sections[table]["link"]))
            symbols = self._symbols(self._sections[table])
            if strings is None:
                continue
            placed = (symbols["section"] > 0) & (symbols["section"] < _FIRST_RESERVED_SECTION) & (symbols["name"] > 0)
            for symbol in symbols[placed]:
                name = self._name(int(symbol["name"]), *strings)
                if name and not name.startswith("$"):
                    found.setdefault(name, int(symbol["value"]))
        return found

    def _name(self, at: int, start: int, end: int) -> str:
        stop = self._data.find(b"\0", start + at, min(end, start + at + _LONGEST_NAME))
        return "" if stop < 0 else bytes(self._data[start + at : stop]).decode(errors="replace")

    def _symbols(self, section: Any) -> NDArray[Any]:
        size = int(section["size"])
        if size // _SYMBOL.itemsize > _MOST_SYMBOLS:
            raise InputError(f"{self._path}: ELF symbol table of {size} bytes is too large")
        return self._table(int(section["offset"]), size - size % _SYMBOL.itemsize, _SYMBOL, "symbols")

    def _occurrences(self, wanted: bytes, start: int, end: int) -> list[int]:
        """Return where a string table holds a name, whole or as the tail of another (linkers merge tails)."""
        found: list[int] = []
        at = start
        while len(found) < _MOST_NAMESAKES and (at := self._data.find(wanted + b"\0", at, end)) >= 0:
            found.append(at - start)
            at += 1
        return found

    def _place(self, symbol: Any) -> Place | None:
        number = int(symbol["section"])
        content = self._section_bytes(number) if number < _FIRST_RESERVED_SECTION else None
        if content is None:
            return None
        value = int(symbol["value"])
        in_section = value if self.relocatable else value - int(self._sections[number]["va"])
        offset, end = content
        if not 0 <= in_section < end - offset:
            return None
        return Place(offset + in_section, end, int(symbol["size"]))

    def needs_linking(self, start: int, end: int) -> bool:
        """Say whether relocations would still change file bytes [start, end): such code is not ready to run."""
        if not self.relocatable:
            return False
        for number in np.flatnonzero(self._sections["type"] == _RELA):
            table = self._sections[number]
            patched = self._section_bytes(int(table["info"]))
            if patched is None or patched[0] >= end or patched[1] <= start:
                continue
            size = int(table["size"])
            entries = self._table(int(table["offset"]), size - size % _RELOCATION.itemsize, _RELOCATION, "relocations")
            first, last = max(0, start - patched[0]), end - patched[0]
            if ((entries["offset"] >= first) & (entries["offset"] < last)).any():
                return True
        return False
