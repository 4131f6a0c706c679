"""What an arm64 kernel says of itself in its log (dmesg): version, level that it booted at, VHE, page size, VA bits."""

import re
from dataclasses import dataclass
from pathlib import Path

from traces.errors import InputError
from traces.reading import read_text

_VERSION = re.compile(r"\bLinux version (?P<text>\d\S*)")
_RELEASE = re.compile(r"(?P<major>\d{1,3})\.(?P<minor>\d{1,5})(?!\d)")
_LEVEL = re.compile(r"\bCPU: All CPU\(s\) started at EL(?P<el>[12])\b")
_MIXED = re.compile(r"\bCPU: CPUs started in inconsistent modes")
_VHE = re.compile(r"\b(?:detected(?: feature)?: Virtualization Host Extensions|VHE (?:hypervisor|mode) initialized)")
_NOT_VHE = re.compile(r"\bHyp (?:mode|nVHE hypervisor) initialized|\bnVHE hypervisor initialized")
_HASH_TABLE = re.compile(r"\bhash table entries: \d+ \(order: (?P<order>[1-9]\d?), (?P<bytes>\d{1,15}) bytes")
_PERCPU = re.compile(r"\bpercpu: Embedded (?P<pages>\d{1,6}) pages/cpu .*\bu(?P<bytes>\d{1,12})\b")
_TABLES = re.compile(r"\b(?:user|swapper) pgtable: (?P<kib>4|16|64)k pages, (?P<bits>\d\d)-bit VAs")
_LINEAR_MAP = re.compile(r"\bmemory\s+: 0x(?P<first>[0-9a-f]{16}) - 0x[0-9a-f]{16}")
_PAGE_SIZES = (4096, 16384, 65536)
_VA_BITS = (36, 39, 42, 47, 48, 52)


@dataclass(frozen=True, kw_only=True, slots=True)
class BootLog:
    """The facts that a log has; None where no line says it."""

    version: str | None = None
    release: tuple[int, int] | None = None
    boot: str | None = None
    """el1, nvhe or vhe."""
    page_bytes: int | None = None
    va_bits: int | None = None


def boot_log(text: str, name: str = "dmesg") -> BootLog:
    """Read a log. Of an EL2 boot without a word on VHE this says nvhe: a kernel that uses VHE says so.

    InputError where CPUs started at different levels (such a machine has no kexec), or no line is an arm64 kernel's.
    """
    if _MIXED.search(text):
        raise InputError(f"{name}: CPUs started in inconsistent modes: the kernel does not kexec on such a machine")
    version, level = _VERSION.search(text), _LEVEL.search(text)
    page_bytes, va_bits = _page_bytes(text), _va_bits(text)
    if version is None and level is None and page_bytes is None:
        raise InputError(
            f"{name}: no line of an arm64 kernel's boot (`Linux version ...`, `CPU: All CPU(s) started at EL2`)"
        )
    return BootLog(
        version=version["text"][:80] if version else None,
        release=release_of(version["text"]) if version else None,
        boot=_boot(text, level["el"] if level else ""),
        page_bytes=page_bytes,
        va_bits=va_bits,
    )


def boot_log_from_file(path: Path) -> BootLog:
    """Read a log from a file."""
    return boot_log(read_text(path), str(path))


def release_of(version: str) -> tuple[int, int] | None:
    """Return (5, 10) of "5.10.0-32-cloud-arm64"; None where it does not begin with a release."""
    match = _RELEASE.match(version)
    return (int(match["major"]), int(match["minor"])) if match else None


def _boot(text: str, el: str) -> str | None:
    if el == "1":
        return "el1"
    if _VHE.search(text):
        return "vhe"
    return "nvhe" if el == "2" or _NOT_VHE.search(text) else None


def _page_bytes(text: str) -> int | None:
    """Find the page size: said in an oops, or what tables of pages come to (2**order pages; pages a CPU)."""
    if match := _TABLES.search(text):
        return int(match["kib"]) << 10
    for match in _HASH_TABLE.finditer(text):
        if int(match["bytes"]) >> int(match["order"]) in _PAGE_SIZES:
            return int(match["bytes"]) >> int(match["order"])
    for match in _PERCPU.finditer(text):
        if int(match["pages"]) and int(match["bytes"]) // int(match["pages"]) in _PAGE_SIZES:
            return int(match["bytes"]) // int(match["pages"])
    return None


def _va_bits(text: str) -> int | None:
    """Find the VA size: said in an oops, or where the linear map began while kernels still printed their layout.

    It was the upper half of the range then (until 5.4).
    """
    if match := _TABLES.search(text):
        return int(match["bits"]) if int(match["bits"]) in _VA_BITS else None
    if match := _LINEAR_MAP.search(text):
        bits = ((1 << 64) - int(match["first"], 16)).bit_length()
        return bits if bits in _VA_BITS else None
    return None
