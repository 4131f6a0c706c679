"""Routines: the pieces of machine code that a relocation is made of, our own or a kernel's, with how to enter them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from types import MappingProxyType

from asm.assemble import assemble
from traces.errors import InputError

LARGEST_BYTES = 4096
"""KEXEC_CONTROL_PAGE_SIZE: what fits the one page that the kernel copies its relocation code to."""


class Protocol(StrEnum):
    """How a relocation routine is told what to do."""

    MMU_OFF = "mmu-off"
    """x0 = kimage->head, x1 = start, x2 = dtb, all physical (to 5.15, and RFC v1)."""
    ARGUMENT_PAGE = "argument-page"
    """x0 = PA of struct kern_reloc_arg (RFC v2)."""
    WINDOW = "window"
    """x0 = PA of struct kern_reloc_arg; sources and destinations each in a row in TTBR1's range (PATCH v1 to v11)."""
    KIMAGE = "kimage"
    """x0 = VA of struct kimage (5.16 and newer)."""


def _none() -> Mapping[str, int]:
    return MappingProxyType({})


def _none_by_offset() -> Mapping[int, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Routine:
    """Position-independent machine code with its names."""

    name: str
    code: bytes
    source: str
    """"own: FILE.S", or "image: PATH" with where in it."""
    symbols: Mapping[str, int] = field(default_factory=_none)
    """Label -> offset in code."""
    protocol: Protocol | None = None
    """None of what is not a relocation routine."""
    kimage_offsets: Mapping[str, int] = field(default_factory=_none)
    """Field -> offset in struct kimage (KIMAGE) or struct kern_reloc_arg (ARGUMENT_PAGE, WINDOW); empty otherwise."""
    entry: int = 0
    """Offset at which it is entered."""
    page_bytes: int = 4096
    """The page size that it was built for."""
    text: str = ""
    """Its .S source, where there is one."""
    lines: Mapping[int, int] = field(default_factory=_none_by_offset)
    """Offset of each instruction -> line of `text`, counted from 1."""

    @property
    def sha256(self) -> str:
        """Digest of the code, which names it beyond doubt."""
        return hashlib.sha256(self.code).hexdigest()


# struct kimage of 5.17, LP64: what the old kernel fills in and the routine reads. "dtb" is arch.dtb_mem, the physical
# address (arch.dtb, just before it, is the virtual one); Debian's 6.1 and 6.12 load from these same offsets.
_KIMAGE_5_17 = {
    "head": 0,
    "start": 24,
    "dtb": 648,
    "el2_vectors": 664,
    "ttbr0": 672,
    "ttbr1": 680,
    "zero_page": 688,
    "phys_offset": 696,
    "t0sz": 704,
}

# Our own order (the posted structure has these fields, among others).
_ARGUMENT_RFC_V2 = {"head": 0, "entry": 8, "arg0": 16, "arg1": 24, "arg2": 32, "arg3": 40, "ttbr0": 48}

_ARGUMENT_V11 = {
    "entry": 8,
    "arg0": 16,
    "arg1": 24,
    "arg2": 32,
    "arg3": 40,
    "ttbr0": 48,
    "ttbr1": 56,
    "t0sz": 64,
    "el2_vectors": 72,
    "source": 80,
    "destination": 88,
    "length": 96,
}

_ROUTINES: Mapping[str, tuple[Protocol | None, Mapping[str, int]]] = {
    "relocate-v4.19": (Protocol.MMU_OFF, {}),
    "relocate-v5.12": (Protocol.MMU_OFF, {}),
    "relocate-rfc-v1": (Protocol.MMU_OFF, {}),
    "relocate-rfc-v2": (Protocol.ARGUMENT_PAGE, _ARGUMENT_RFC_V2),
    "relocate-v11": (Protocol.WINDOW, _ARGUMENT_V11),
    "relocate-v12": (Protocol.KIMAGE, _KIMAGE_5_17),
    "relocate-v15": (Protocol.KIMAGE, _KIMAGE_5_17),
    "relocate-v5.16": (Protocol.KIMAGE, _KIMAGE_5_17),
    "relocate-v5.17": (Protocol.KIMAGE, _KIMAGE_5_17),
    "soft-restart-v4.19": (None, {}),
    "soft-restart-rfc-v1": (None, {}),
    "soft-restart-v5.17": (None, {}),
    "hyp-stub-v4.19": (None, {}),
    "hyp-stub-v5.17": (None, {}),
    "kexec-vectors-v11": (None, {}),
    "kexec-vectors-v5.17": (None, {}),
    "kexec-list-flush": (None, {}),
    "kexec-tables-v5.17": (None, {}),
    "kexec-tables-rfc": (None, {}),
    "purgatory": (None, {}),
    "purgatory-dcache": (None, {}),
}

_VARIANTS = {"purgatory-dcache": ("purgatory.S", ".equ WITH_DCACHE, 0", ".equ WITH_DCACHE, 1")}
"""Routines that are another one's source with one line changed."""


def routine_names() -> tuple[str, ...]:
    """Return the names of our own routines."""
    return tuple(_ROUTINES)


_OUR_PAGE_BYTES = 4096
_PAGE_LINE = f".equ PAGE_BYTES, {_OUR_PAGE_BYTES}"
"""How a source states the page size that it is built for; only relocation routines know one."""


@cache
def routine(name: str, page_bytes: int = _OUR_PAGE_BYTES) -> Routine:
    """Assemble one of our own routines, for kernels with pages of that size. Unknown names raise InputError."""
    if name not in _ROUTINES:
        raise InputError(f"routine {name!r}: must be one of {', '.join(_ROUTINES)}")
    protocol, offsets = _ROUTINES[name]
    file, line, changed = _VARIANTS.get(name, (f"{name}.S", "", ""))
    text = resources.files("asm").joinpath("routines", file).read_text(encoding="utf-8").replace(line, changed)
    if page_bytes != _OUR_PAGE_BYTES and protocol is not None:
        text = text.replace(_PAGE_LINE, f".equ PAGE_BYTES, {page_bytes}")
    assembly = assemble(text, name=file)
    return Routine(
        name=name,
        code=assembly.code,
        symbols=MappingProxyType(dict(assembly.symbols)),
        source=f"own: {file}"
        + (f", {changed.removeprefix('.equ ').replace(',', ' =')}" if changed else "")
        + (f", PAGE_BYTES = {page_bytes}" if page_bytes != _OUR_PAGE_BYTES else ""),
        page_bytes=page_bytes,
        protocol=protocol,
        kimage_offsets=MappingProxyType(dict(offsets)),
        text=text,
        lines=MappingProxyType(dict(assembly.lines)),
    )
