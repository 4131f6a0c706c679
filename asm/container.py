"""Kernel image files: from what lies on a disk (Image, gzip, EFI zboot, ELF) to the bytes that would lie in memory."""

import lzma
import mmap
import shutil
import struct
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from traces.errors import InputError
from traces.reading import regular_size

LARGEST_IMAGE_BYTES = 512 << 20
"""A decompressed Image may be this large: debug builds reach about 200 MiB."""

LARGEST_FILE_BYTES = 4 << 30
"""An ELF vmlinux with debug information may be this large; it is mapped, not read."""

_IMAGE_HEADER = struct.Struct("<IIQQQQQQ4sI")
_IMAGE_MAGIC = b"ARMd"
_ELF_MAGIC = b"\x7fELF"
_GZIP_MAGIC = b"\x1f\x8b"
_ZBOOT_MAGIC = b"zimg"
_ZBOOT_HEADER = struct.Struct("<4s4sIIII32s")  # drivers/firmware/efi/libstub/zboot-header.S, as a layout
_PAGE_BYTES = {0: 0, 1: 4096, 2: 16384, 3: 65536}
_DECOMPRESS_SECONDS = 60
_PIECE_BYTES = 1 << 20
_LZMA_MEMORY_BYTES = 256 << 20
_COMMANDS = {"zstd": ["zstd", "-dc"], "zstd22": ["zstd", "-dc"], "lz4": ["lz4", "-dc"], "lzo": ["lzop", "-dc"]}

Buffer = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class Container:
    """An opened kernel file."""

    path: Path
    format: str
    """"Image", "ELF", or how an Image was packed: "gzip", "EFI zboot (gzip)"."""
    data: Buffer
    """An Image's bytes from its first (which is where it is loaded), or the whole of an ELF file."""
    page_bytes: int
    """From the Image header's flags; 0 where they do not say."""


def open_kernel(path: Path) -> Container:
    """Open a kernel file. Raises InputError for what is none, is damaged, or is not a little-endian arm64 one."""
    data = map_file(path)
    if data[:4] == _ELF_MAGIC:
        return Container(path, "ELF", data, 0)
    if data[:2] == _GZIP_MAGIC:
        return _image(path, "gzip", _gunzip(path, memoryview(data)))
    if data[4:8] == _ZBOOT_MAGIC:
        kind, unpacked = _zboot(path, data)
        return _image(path, f"EFI zboot ({kind})", unpacked)
    return _image(path, "Image", data)


def map_file(path: Path) -> Buffer:
    """Map a regular file for reading; every way in which that fails is an InputError."""
    size = regular_size(path)
    if size > LARGEST_FILE_BYTES:
        raise InputError(f"{path}: {size} bytes, more than the {LARGEST_FILE_BYTES} that are looked at")
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as problem:  # ValueError: cut off to nothing in between
        raise InputError(f"{path}: cannot be read: {getattr(problem, 'strerror', None) or problem}") from None


def _image(path: Path, kind: str, data: Buffer) -> Container:
    if len(data) < _IMAGE_HEADER.size:
        raise InputError(f"{path}: {len(data)} bytes, too short for an arm64 Image header of {_IMAGE_HEADER.size}")
    *_, flags, _, _, _, magic, _ = _IMAGE_HEADER.unpack_from(data)
    if magic != _IMAGE_MAGIC:
        raise InputError(f"{path}: not an arm64 kernel: no Image magic at 0x38, no ELF, gzip or EFI zboot header")
    if flags & 1:
        raise InputError(f"{path}: a big-endian kernel; only little-endian ones are supported")
    if len(data) > LARGEST_IMAGE_BYTES:
        raise InputError(f"{path}: Image of {len(data)} bytes, more than the {LARGEST_IMAGE_BYTES} that are looked at")
    return Container(path, kind, data, _PAGE_BYTES[flags >> 1 & 3])


# ---- Compression ----------------------------------------------------------------------------------


def _gunzip(path: Path, packed: memoryview) -> bytes:
    return _unpack(path, "gzip", zlib.decompressobj(wbits=31), packed)


def _unlzma(path: Path, packed: memoryview) -> bytes:
    return _unpack(path, "lzma", lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES), packed)


class _Unpacker(Protocol):
    """What zlib's and lzma's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: memoryview, max_length: int, /) -> bytes: ...


def _unpack(path: Path, kind: str, unpacker: _Unpacker, packed: memoryview) -> bytes:
    """Decompress piece by piece, so that neither a bomb nor a long tail is ever held whole."""
    data = bytearray()
    for start in range(0, len(packed), _PIECE_BYTES):
        try:
            data += unpacker.decompress(packed[start : start + _PIECE_BYTES], LARGEST_IMAGE_BYTES + 1 - len(data))
        except (zlib.error, lzma.LZMAError, EOFError, MemoryError) as problem:
            raise InputError(f"{path}: damaged {kind} data: {problem}") from None
        if len(data) > LARGEST_IMAGE_BYTES:
            raise InputError(f"{path}: {kind} data unpacks to more than {LARGEST_IMAGE_BYTES} bytes")
        if unpacker.eof:
            return bytes(data)
    raise InputError(f"{path}: truncated {kind} data")


def _zboot(path: Path, data: Buffer) -> tuple[str, bytes]:
    if len(data) < _ZBOOT_HEADER.size:
        raise InputError(f"{path}: too short for an EFI zboot header")
    _, _, offset, size, _, _, name = _ZBOOT_HEADER.unpack_from(data)
    if offset + size > len(data) or not size:
        raise InputError(f"{path}: EFI zboot payload {offset:#x}+{size:#x} is not inside the file's {len(data)} bytes")
    kind = name.partition(b"\0")[0].decode("ascii", "replace")
    packed = memoryview(data)[offset : offset + size]
    if kind == "gzip":
        return kind, _gunzip(path, packed)
    if kind in ("lzma", "xz", "xzkern"):
        return kind, _unlzma(path, packed)
    if kind in _COMMANDS:
        return kind, _by_command(path, kind, packed)
    raise InputError(f"{path}: EFI zboot compression {kind!r} is not supported")


def _by_command(path: Path, kind: str, packed: memoryview) -> bytes:
    """Unpack with a command of the system: Python 3.11 has no zstd or lz4 of its own."""
    command = _COMMANDS[kind]
    if shutil.which(command[0]) is None:
        raise InputError(f"{path}: EFI zboot compression {kind} needs the command {command[0]}, which is not installed")
    # Bytes behind the stream (the kernel appends its size) make the command complain at the end; what it has written by
    # then is the Image, and is checked as one.
    try:
        with tempfile.TemporaryFile() as given:
            given.write(packed)
            given.seek(0)
            data = _first_of(command, given)
    except OSError as problem:
        raise InputError(f"{path}: {command[0]} failed: {problem.strerror}") from None
    if not 0 < len(data) <= LARGEST_IMAGE_BYTES:
        raise InputError(f"{path}: {kind} data does not unpack to a kernel image")
    return data


def _first_of(command: Sequence[str], given: IO[bytes]) -> bytes:
    """Return what a command makes of a file, never more than an Image and a byte, nor after a minute."""
    with subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        watch = threading.Timer(_DECOMPRESS_SECONDS, running.kill)
        watch.start()
        try:
            return running.stdout.read(LARGEST_IMAGE_BYTES + 1) if running.stdout else b""
        finally:
            watch.cancel()
            running.kill()
