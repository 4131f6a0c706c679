"""Repairs: what a reader checks first is made right again, so that an edit elsewhere gets as far as it can."""

import struct
import zlib

_IMAGE_MAGIC_AT, _IMAGE_FLAGS_AT = 0x38, 0x18
_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_MOST_BYTES = 1 << 20


def image(data: bytes) -> bytes:
    """Give an arm64 Image its magic back, and little-endian flags; what is packed or ELF stays."""
    if len(data) < 64 or data[:2] == b"\x1f\x8b" or data[:4] == b"\x7fELF" or data[4:8] == b"zimg":
        return data
    whole = bytearray(data)
    whole[_IMAGE_MAGIC_AT : _IMAGE_MAGIC_AT + 4] = b"ARMd"
    whole[_IMAGE_FLAGS_AT] &= 0xFE
    return bytes(whole)


def device_tree(data: bytes) -> bytes:
    """Give a flattened tree its magic back, and the length it has."""
    return b"\xd0\x0d\xfe\xed" + len(data).to_bytes(4, "big") + data[8:] if len(data) >= 8 else data


def zip_container(data: bytes) -> bytes:
    """Let the directory of a zip name its members where they are, with the sizes and checksums that they have."""
    whole = bytearray(data)
    members, entries, end = _all(data, b"PK\x03\x04"), _all(data, b"PK\x01\x02"), data.rfind(b"PK\x05\x06")
    if not members or not entries or len(data) - end < 22 or end < entries[0]:
        return data
    for at, entry, behind in zip(members, entries, [*members[1:], entries[0]], strict=False):
        if at + _LOCAL.size > len(data) or entry + 46 > len(data):
            continue
        *_, name_bytes, extra_bytes = _LOCAL.unpack_from(data, at)
        packed = data[at + _LOCAL.size + name_bytes + extra_bytes : behind]
        if int.from_bytes(data[entry + 10 : entry + 12], "little") == 0:
            struct.pack_into("<LLL", whole, entry + 16, zlib.crc32(packed), len(packed), len(packed))
        elif (plain := _inflated(packed)) is not None:
            struct.pack_into("<LLL", whole, entry + 16, zlib.crc32(plain), len(packed), len(plain))
        struct.pack_into("<L", whole, entry + 42, at)
    struct.pack_into("<HHLL", whole, end + 8, len(entries), len(entries), end - entries[0], entries[0])
    return bytes(whole)


def _all(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


def _inflated(packed: bytes) -> bytes | None:
    try:
        return zlib.decompressobj(wbits=-15).decompress(packed, _MOST_BYTES)
    except zlib.error:
        return None
