"""Kernel files made of our own routines: what an importer sees, without a kernel."""

import gzip
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from asm.assemble import assemble
from asm.routines import routine

HEADER_BYTES = 64
SYMTAB, STRTAB, RELA, PROGBITS, NOBITS = 2, 3, 4, 1, 8


@dataclass(frozen=True)
class Layout:
    """Where the routines lie in an Image."""

    data: bytes
    offsets: Mapping[str, int] = field(default_factory=dict)


def routine_code(name: str, page_bytes: int = 4096) -> bytes:
    """Return a routine's code, built for another page size if asked."""
    text = routine(name).text.replace(".equ PAGE_BYTES, 4096", f".equ PAGE_BYTES, {page_bytes}")
    return assemble(text, name=name).code


def image(
    relocate: str = "relocate-v5.17",
    *others: str,
    page_bytes: int = 4096,
    flags: int | None = None,
    size: int = 0x8000,
) -> Layout:
    """Lay an Image out: a header, then each routine on a 2 KiB boundary, between code that resembles nothing."""
    names = (relocate, *(others or ("soft-restart-v5.17", "hyp-stub-v5.17", "kexec-vectors-v5.17")))
    data = bytearray(0xD503201F.to_bytes(4, "little") * (size // 4))
    if flags is None:
        flags = {4096: 1, 16384: 2, 65536: 3}[page_bytes] << 1
    data[:HEADER_BYTES] = struct.pack("<IIQQQQQQ4sI", 0x91005A4D, 0x14000010, 0, size, flags, 0, 0, 0, b"ARMd", 0)
    banner = b"Linux version 5.17.0-test (someone@somewhere) "
    data[0x80 : 0x80 + len(banner)] = banner
    offsets = {}
    at = 0x800
    for name in names:
        code = routine_code(name, page_bytes)
        data[at : at + len(code)] = code
        offsets[name] = at
        at += len(code) + 4
        at += -at % 0x800
    assert at <= size
    return Layout(bytes(data), offsets)


def zboot(payload: bytes, kind: str = "gzip", packed: bytes | None = None) -> bytes:
    """Wrap an Image as CONFIG_EFI_ZBOOT does."""
    packed = gzip.compress(payload) if packed is None else packed
    return (
        struct.pack("<4s4sIIII32s", b"MZ\0\0", b"zimg", 0x80, len(packed), 0, 0, kind.encode()).ljust(0x80, b"\0")
        + packed
    )


def elf(
    code: bytes,
    symbols: Mapping[str, tuple[int, int]],
    *,
    relocatable: bool = False,
    va: int = 0xFFFF_8000_0800_0000,
    relocation_at: int | None = None,
    machine: int = 183,
    ident: bytes = b"\x7fELF\x02\x01\x01",
) -> bytes:
    """Build an ELF file with one section of code and (name -> offset, size) symbols."""
    base = 0 if relocatable else va
    names = b"\0"
    rows = bytes(24)
    for name, (offset, size) in symbols.items():
        rows += struct.pack("<IBBHQQ", len(names), 0x12, 0, 1, base + offset, size)
        names += name.encode() + b"\0"
    relocations = b"" if relocation_at is None else struct.pack("<QQq", relocation_at, 1 << 32 | 257, 0)
    section_names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0.rela.text\0"
    contents = [b"", code, rows, names, section_names, relocations]
    offsets, at = [], 64
    for content in contents:
        at += -at % 8
        offsets.append(at)
        at += len(content)
    at += -at % 8
    kinds = [
        (0, 0, 0, 0, 0, 0, 0),
        (1, PROGBITS, 6, base, 0, 0, 4),
        (7, SYMTAB, 0, 0, 3, 1, 8),
        (15, STRTAB, 0, 0, 0, 0, 1),
        (23, STRTAB, 0, 0, 0, 0, 1),
        (33, RELA, 0, 0, 2, 1, 8),
    ]
    entries = [0, 0, 24, 0, 0, 24]
    file = bytearray(at)
    for offset, content in zip(offsets, contents, strict=True):
        file[offset : offset + len(content)] = content
    headers = b"".join(
        struct.pack("<IIQQQQIIQQ", name, kind, flags, address, offset, len(content), link, info, align, entry)
        for (name, kind, flags, address, link, info, align), offset, content, entry in zip(
            kinds, offsets, contents, entries, strict=True
        )
    )
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 1 if relocatable else 2, machine, 1, 0, 0, at, 0, 64, 0, 0, 64, len(kinds), 4
    )
    file[:64] = header
    return bytes(file) + headers
