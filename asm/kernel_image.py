"""Import the kexec routines of a real kernel, as machine code, from an Image or an ELF file.

Names are used where the file has them (an ELF symbol table); an Image has none, so its code is searched for what the
routines cannot do without (`asm.patterns`). What that leaves unfound may still be named by kallsyms, which the command
`kallsyms-finder` recovers from an Image in some ten seconds; it is GPL-3, so it is run, never imported.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from asm import patterns
from asm.container import Container, map_file, open_kernel
from asm.elf import Elf
from asm.patterns import HYP_STUB_BYTES, KEXEC_VECTORS_BYTES, Code, RelocateSite
from asm.routines import LARGEST_BYTES, Protocol, Routine
from traces.errors import InputError

_KALLSYMS_COMMAND = "kallsyms-finder"
_KALLSYMS_SECONDS = 120
_BASE_ALIGNMENT = 2 << 20
_BANNER = re.compile(rb"Linux version (\d[\x21-\x7e]{0,80}) ")

_RELOCATE_NAMES = ("arm64_relocate_new_kernel", "__relocate_new_kernel_start")
_SOFT_RESTART_NAMES = ("cpu_soft_restart", "__cpu_soft_restart")
_HYP_STUB_NAMES = ("__hyp_stub_vectors",)
_KEXEC_VECTORS_NAMES = ("trans_pgd_stub_vectors",)

_RUNS_WITHIN = 0x840
"""Bytes of a routine that a relocation runs: of the hyp-stub its table and the calls; the move to VHE lies behind."""

_KIMAGE_FIELDS = ("head", "start", "dtb", "el2_vectors", "ttbr1", "zero_page", "phys_offset")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found."""

    what: str
    how: str
    """"symbol NAME", "pattern" or "kallsyms NAME"."""
    offset: int
    """In the (unpacked) file."""
    size: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was not found, and what was looked for."""

    what: str
    looked_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedKernel:
    """The routines of one kernel."""

    path: Path
    format: str
    version: str
    """From the "Linux version" banner; empty where there is none (a .o)."""
    page_bytes: int
    relocate: Routine
    soft_restart: Routine | None
    hyp_stub: Routine | None
    kexec_vectors: Routine | None
    """None too where the kernel has no use for them (to 5.15)."""
    found: tuple[Finding, ...]
    missing: tuple[Missing, ...]


def import_kernel(path: Path | str) -> ImportedKernel:
    """Find the kexec routines in a kernel file (Image, gzip'ed Image, EFI zboot, vmlinux, relocate_kernel.o).

    Raises InputError, one line, for a file that is no little-endian arm64 kernel or has no relocation routine.
    """
    search = _Search(open_kernel(Path(path)))
    site, how = search.relocate()
    protocol = Protocol.KIMAGE if site.kimage_offsets else Protocol.MMU_OFF
    search.note("relocate", how, site.start, site.end)
    relocate = search.relocate_routine(site, protocol)
    soft_restart = search.routine("soft_restart")
    hyp_stub = search.routine("hyp_stub")
    kexec_vectors = search.routine("kexec_vectors") if protocol is Protocol.KIMAGE else None
    return ImportedKernel(
        path=search.container.path,
        format=search.container.format,
        version=search.version(),
        page_bytes=relocate.page_bytes,
        relocate=relocate,
        soft_restart=soft_restart,
        hyp_stub=hyp_stub,
        kexec_vectors=kexec_vectors,
        found=tuple(search.found),
        missing=tuple(search.missing),
    )


def import_symbol(path: Path | str, symbol: str) -> Routine:
    """Take the code of one symbol of an ELF file, as it is; its size is the symbol's, or the rest of its section."""
    path = Path(path)
    data = map_file(path)
    if data[:4] != b"\x7fELF":
        raise InputError(f"{path}: not an ELF file, so it has no symbol {symbol!r}")
    elf = Elf(path, data)
    place = elf.find(symbol)
    if place is None:
        raise InputError(f"{path}: symbol {symbol!r} is not defined in it")
    end = min(place.end, place.offset + (place.size or place.end - place.offset))
    size = end - place.offset
    if size % 4 or not 0 < size <= LARGEST_BYTES:
        raise InputError(f"{path}: symbol {symbol!r} has {size} bytes; code for one page is 4 to {LARGEST_BYTES}")
    if elf.needs_linking(place.offset, end):
        raise InputError(f"{path}: symbol {symbol!r} has relocations to be applied; link it first")
    return _routine(f"{path.name}@{symbol}", data[place.offset : end], path, place.offset, symbol)


def import_from_page(path: Path, page: bytes, pa: int, at: int) -> Routine:
    """Take the relocation routine out of its control page, as a memory dump (`path`) holds that at `pa`.

    It must begin at byte `at`, where the PE is about to execute. Raises InputError where it does not.
    """
    site = patterns.find_relocate(Code(page, 0, len(page)))
    if site is None:
        raise InputError(f"{path}: no arm64 relocation routine in the page of PC, {pa:#x}")
    if site.start != at:
        raise InputError(
            f"{path}: PC is at {pa + at:#x}; the relocation routine of this page begins at {pa + site.start:#x}, "
            "and the dump must be taken there"
        )
    search = _Search(Container(path, "memory", page, 0))
    protocol = Protocol.KIMAGE if site.kimage_offsets else Protocol.MMU_OFF
    routine = search.relocate_routine(site, protocol)
    return replace(routine, source=f"memory: {path} at {pa + site.start:#x}")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How one of the smaller routines is found."""

    names: tuple[str, ...]
    by_pattern: str
    size: int
    """Bytes from its symbol on; 0: decoded."""
    pattern_says: str


_WANTED: Mapping[str, _Wanted] = {
    "soft_restart": _Wanted(
        _SOFT_RESTART_NAMES,
        "find_soft_restart",
        0,
        "cbz x0; mov x0, #1; hvc #0; mov xN, x1; mov x0, x2; mov x1, x3; mov x2, x4; br xN",
    ),
    "hyp_stub": _Wanted(
        _HYP_STUB_NAMES,
        "find_hyp_stub",
        HYP_STUB_BYTES,
        "a 2 KiB-aligned table of 16 branches whose ninth leads, behind the table, to mov x0, x2; mov x2, x4; "
        "mov x4, x1; mov x1, x3; br x4",
    ),
    "kexec_vectors": _Wanted(
        _KEXEC_VECTORS_NAMES,
        "find_kexec_vectors",
        KEXEC_VECTORS_BYTES,
        "a 2 KiB-aligned table whose ninth slot holds mov x0, x2; mov x2, x4; mov x4, x1; mov x1, x3; br x4 and whose "
        "other slots branch inside the table",
    ),
}


class _Search:
    """One kernel file being searched: symbols first, then patterns, then kallsyms."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.found: list[Finding] = []
        self.missing: list[Missing] = []
        self._elf = Elf(container.path, container.data) if container.format == "ELF" else None
        self._named: dict[str, int] | None = None
        if self._elf:
            self._codes = [Code(container.data, *stretch) for stretch in self._elf.executable()]
        else:
            self._codes = [Code(container.data, 0, len(container.data))]

    def note(self, what: str, how: str, start: int, end: int) -> None:
        """Remember that something was found."""
        self.found.append(Finding(what, how, start, end - start))

    def version(self) -> str:
        """Return the release in the kernel's banner."""
        match = _BANNER.search(self.container.data)
        return match[1].decode("ascii") if match else ""

    # ---- The relocation routine ----

    def relocate(self) -> tuple[RelocateSite, str]:
        """Find the relocation routine. Raises InputError where there is none."""
        for name, code, start in self._by_symbol(_RELOCATE_NAMES):
            if site := patterns.find_relocate(code, start):
                return site, f"symbol {name}"
        for code in self._codes:
            if site := patterns.find_relocate(code):
                return site, "pattern"
        for name, code, start in self._by_kallsyms(_RELOCATE_NAMES):
            if site := patterns.find_relocate(code, start):
                return site, f"kallsyms {name}"
        raise InputError(
            f"{self.container.path}: no arm64 relocation routine; looked for {self._symbols_of(_RELOCATE_NAMES)}, "
            "and for ldr x16, [x14], #8 before a backward tbz w16, #2"
        )

    def relocate_routine(self, site: RelocateSite, protocol: Protocol) -> Routine:
        """Cut the routine out, and refuse one that this project would run wrongly."""
        path = self.container.path
        lost = [name for name in _KIMAGE_FIELDS if name not in site.kimage_offsets]
        if protocol is Protocol.KIMAGE and lost:
            raise InputError(f"{path}: relocation routine at {site.start:#x} loads no kimage field {', '.join(lost)}")
        said = self.container.page_bytes
        if said and said != site.page_bytes:
            raise InputError(f"{path}: page size {said} in the Image header, {site.page_bytes} in the routine's masks")
        if self._needs_linking(site.start, site.end):
            raise InputError(
                f"{path}: relocation routine at {site.start:#x} has relocations to be applied; link it first"
            )
        code = Code(self.container.data, site.start, site.end)
        if len(self._cut(site.start, site.end)) > LARGEST_BYTES:
            raise InputError(f"{path}: relocation routine of {site.end - site.start} bytes does not fit a page")
        symbols = {
            "arm64_relocate_new_kernel": 0,
            "each_entry": site.each_entry - site.start,
            "next_entry": site.next_entry - site.start,
        }
        if line := patterns.copy_line(code, site):
            symbols["copy_line"] = line - site.start
        return Routine(
            name=f"{path.name}:relocate",
            code=self._cut(site.start, site.end),
            source=_source(path, site.start),
            symbols=MappingProxyType(symbols),
            protocol=protocol,
            kimage_offsets=MappingProxyType(dict(site.kimage_offsets)),
            page_bytes=site.page_bytes,
        )

    # ---- The others ----

    def routine(self, what: str) -> Routine | None:
        """Find one of the smaller routines, or note that it is missing and what was looked for."""
        wanted = _WANTED[what]
        for how, start, end in self._places(wanted):
            if self._needs_linking(start, min(end, start + _RUNS_WITHIN)):
                self.missing.append(Missing(what, f"{how}: found at {start:#x}, but it has relocations to be applied"))
                return None
            self.note(what, how, start, end)
            name = f"{self.container.path.name}:{what.replace('_', '-')}"
            return _routine(name, self._cut(start, end), self.container.path, start, wanted.names[0])
        self.missing.append(Missing(what, f"{self._symbols_of(wanted.names)}; {wanted.pattern_says}"))
        return None

    def _places(self, wanted: _Wanted) -> Sequence[tuple[str, int, int]]:
        """Return where a routine is, by the first way that finds it."""
        for name, code, start in self._by_symbol(wanted.names):
            if place := _extent(code, start, wanted):
                return [(f"symbol {name}", *place)]
        for code in self._codes:
            if place := getattr(patterns, wanted.by_pattern)(code):
                return [("pattern", *place)]
        for name, code, start in self._by_kallsyms(wanted.names):
            if place := _extent(code, start, wanted):
                return [(f"kallsyms {name}", *place)]
        return []

    def _needs_linking(self, start: int, end: int) -> bool:
        return self._elf is not None and self._elf.needs_linking(start, end)

    def _cut(self, start: int, end: int) -> bytes:
        return bytes(self.container.data[start:end])

    def _symbols_of(self, names: tuple[str, ...]) -> str:
        if self._elf is None or not self._elf.has_symbols():
            return f"symbols {', '.join(names)} (the file has no symbol table)"
        return f"symbols {', '.join(names)}"

    def _by_symbol(self, names: tuple[str, ...]) -> list[tuple[str, Code, int]]:
        if self._elf is None:
            return []
        places = [(name, place) for name in names if (place := self._elf.find(name))]
        return [(name, Code(self.container.data, place.offset, place.end), place.offset) for name, place in places]

    def _by_kallsyms(self, names: tuple[str, ...]) -> list[tuple[str, Code, int]]:
        if self._elf is not None:
            return []
        if self._named is None:
            self._named = _kallsyms(self.container)
        end = len(self.container.data)
        places = [(name, self._named[name]) for name in names if name in self._named]
        return [(name, Code(self.container.data, at, end), at) for name, at in places if 0 <= at < end]


def _extent(code: Code, start: int, wanted: _Wanted) -> tuple[int, int] | None:
    if not wanted.size:
        return patterns.soft_restart_at(code, start)
    return start, min(code.end, start + wanted.size)


def _routine(name: str, code: bytes, path: Path, offset: int, symbol: str) -> Routine:
    return Routine(name=name, code=code, source=_source(path, offset), symbols=MappingProxyType({symbol: 0}))


def _source(path: Path, offset: int) -> str:
    return f"image: {path} +{offset:#x}"


def _kallsyms(container: Container) -> dict[str, int]:
    """Return names -> file offsets, as far as kallsyms-finder is installed and finds them; empty otherwise."""
    if container.format != "Image" or shutil.which(_KALLSYMS_COMMAND) is None:
        return {}
    try:
        listing = subprocess.run(
            [_KALLSYMS_COMMAND, str(container.path)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_KALLSYMS_SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return kallsyms_offsets(listing)


def kallsyms_offsets(listing: str) -> dict[str, int]:
    """Return file offsets of the names that are looked for, from lines of ADDRESS TYPE NAME; others are passed over."""
    wanted = {*_RELOCATE_NAMES, *_SOFT_RESTART_NAMES, *_HYP_STUB_NAMES, *_KEXEC_VECTORS_NAMES, "_text", "_stext"}
    addresses: dict[str, int] = {}
    for line in listing.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] in wanted and re.fullmatch("[0-9a-f]{1,16}", words[0]):
            addresses.setdefault(words[2], int(words[0], 16))
    # The base that the command guesses is wrong for the newest kernels; distances from _text are right. Older kernels
    # list no _text, but begin on a 2 MiB boundary with _stext not far in.
    base = addresses.get("_text", addresses.get("_stext", 0) & -_BASE_ALIGNMENT)
    return {name: address - base for name, address in addresses.items()}
