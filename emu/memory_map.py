"""MemoryMap: where a machine has RAM, what of it must not be touched, and where the running kernel lies.

From TOML, one table a range:

    [[memory]]
    kind = "ram"            # ram, reserved, nomap, no-access, kernel-code, kernel-data
    pa = 0x8000_0000
    size = "8GiB"

or from the text of /proc/iomem as root reads it. `reserved` is memory that the kernel's allocator never hands out,
`nomap` memory that must have no cacheable mapping (it is not RAM to kexec), `no-access` memory that aborts when
touched, even speculatively (James Morse's J1 and J2, docs/history.md).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from emu.inputs import known_keys, toml_tables
from emu.spans import PA_BITS, Span, checked_span, refuse_overlap, subtract
from traces.errors import InputError, named_input
from traces.reading import read_text
from traces.schema import PAGE_BYTES
from traces.sizes import parse_size
from traces.toml import parse_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryMap:
    """Ranges of physical memory by what they are. Every tuple is sorted, and RAM does not overlap itself."""

    ram: tuple[Span, ...]
    reserved: tuple[Span, ...] = ()
    nomap: tuple[Span, ...] = ()
    no_access: tuple[Span, ...] = ()
    kernel_code: Span | None = None
    kernel_data: Span | None = None

    def __post_init__(self) -> None:
        if not self.ram:
            raise InputError("memory map: no RAM at all; at least one range must be RAM")
        for name in ("ram", "reserved", "nomap", "no_access"):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name))))
        refuse_overlap("memory map: ram", [(f"ram {span}", span) for span in self.ram])
        for name, image in (("kernel_code", self.kernel_code), ("kernel_data", self.kernel_data)):
            if image is not None and not self.is_ram(image):
                raise InputError(f"memory map: {name} {image} must lie in RAM")

    @property
    def kernel(self) -> Span | None:
        """The running kernel's image, first byte of its code to last of its data."""
        parts = [span for span in (self.kernel_code, self.kernel_data) if span is not None]
        if not parts:
            return None
        first = min(span.pa for span in parts)
        return Span(first, max(span.end for span in parts) - first)

    def is_ram(self, span: Span) -> bool:
        """Whether every byte is RAM that the kernel may map: ranges that touch count as one."""
        return not subtract((span,), subtract(self.ram, (*self.nomap, *self.no_access)))

    def allocatable(self, taken: Iterable[Span] = ()) -> tuple[Span, ...]:
        """RAM that the running kernel's allocator could hand out, less `taken`."""
        image = () if self.kernel is None else (self.kernel,)
        return subtract(self.ram, (*self.reserved, *self.nomap, *self.no_access, *image, *taken))


_KINDS = {"ram": "ram", "reserved": "reserved", "nomap": "nomap", "no-access": "no_access"}
_IMAGE_KINDS = {"kernel-code": "kernel_code", "kernel-data": "kernel_data"}
_MEMORY_KEYS = frozenset({"kind", "pa", "size"})


def memory_map_from_toml(text: str, name: str = "<toml>") -> MemoryMap:
    """Read the `[[memory]]` tables of a TOML document. Other tables are somebody else's and are not looked at."""
    return memory_map_from_tables(toml_tables(parse_toml(text, name), name, "memory"), name)


def memory_map_from_tables(tables: Sequence[Mapping[str, Any]], name: str) -> MemoryMap:
    """Read tables that are already parsed; `name` is the file for messages."""
    ranges: dict[str, list[Span]] = {field: [] for field in _KINDS.values()}
    image: dict[str, Span] = {}
    for number, table in enumerate(tables):
        where = f"{name}: memory[{number}]"
        known_keys(where, table, _MEMORY_KEYS, required=_MEMORY_KEYS)
        kind = table["kind"] if isinstance(table["kind"], str) else repr(table["kind"])
        span = checked_span(where, parse_size(table["pa"], f"{where}.pa"), parse_size(table["size"], f"{where}.size"))
        if kind in _KINDS:
            ranges[_KINDS[kind]].append(span)
        elif kind in _IMAGE_KINDS:
            if _IMAGE_KINDS[kind] in image:
                raise InputError(f"{where}.kind: {kind!r} may be given once")
            image[_IMAGE_KINDS[kind]] = span
        else:
            raise InputError(f"{where}.kind: {kind!r} must be one of {', '.join((*_KINDS, *_IMAGE_KINDS))}")
    return _memory_map(name, ranges, image)


_IOMEM_LINE = re.compile(r"(?P<indent> *)(?P<first>[0-9a-f]+)-(?P<last>[0-9a-f]+) : (?P<name>.*)")


class _IomemRow(NamedTuple):
    line: int
    depth: int
    first: int
    last: int
    name: str


def memory_map_from_iomem(text: str, name: str = "/proc/iomem") -> MemoryMap:
    """Read the text of /proc/iomem. It must have been read as root: others see every address as zero.

    Top-level `System RAM` is RAM; below it `Kernel code`, `Kernel data` and `reserved`. A top-level `reserved` on arm64
    is a memblock region marked nomap (request_standard_resources()). Devices are passed over. RAM is cut to whole
    pages inwards and everything else outwards, as memblock does.
    """
    rows = _iomem_rows(text, name)
    if all(row.first == row.last == 0 for row in rows):
        raise InputError(
            f"{name}: every address is zero: the kernel hides them from users other than root; read it as root"
        )
    ranges: dict[str, list[Span]] = {field: [] for field in _KINDS.values()}
    image: dict[str, Span] = {}
    inside_ram = False
    for row in rows:
        if row.depth == 0:
            inside_ram = row.name == "System RAM"
            if inside_ram:
                span = _whole_pages(row.first, row.last, inwards=True)
                ranges["ram"].extend([span] if span.size > 0 else [])
            elif row.name == "reserved":
                ranges["nomap"].append(_whole_pages(row.first, row.last))
        elif inside_ram and row.name in ("Kernel code", "Kernel data"):
            image[row.name.lower().replace(" ", "_")] = _whole_pages(row.first, row.last)
        elif inside_ram and row.name in ("reserved", "Crash kernel"):
            ranges["reserved"].append(_whole_pages(row.first, row.last))
    if not ranges["ram"]:
        raise InputError(f"{name}: no line says `System RAM`; a memory map needs at least one")
    return _memory_map(name, ranges, image)


def memory_map_from_file(path: Path) -> MemoryMap:
    """Read a map from a file: TOML by its suffix `.toml`, else /proc/iomem text."""
    text = read_text(path)
    return memory_map_from_toml(text, str(path)) if path.suffix == ".toml" else memory_map_from_iomem(text, str(path))


def _memory_map(name: str, ranges: Mapping[str, list[Span]], image: Mapping[str, Span]) -> MemoryMap:
    """Make the map; what it refuses is said of the file `name`."""
    with named_input(name):
        return MemoryMap(
            ram=tuple(ranges["ram"]),
            reserved=tuple(ranges["reserved"]),
            nomap=tuple(ranges["nomap"]),
            no_access=tuple(ranges["no_access"]),
            kernel_code=image.get("kernel_code"),
            kernel_data=image.get("kernel_data"),
        )


def _iomem_rows(text: str, name: str) -> list[_IomemRow]:
    """Parse the lines. Refuse what is no resource line, ends before it starts, or leaves its parent."""
    rows: list[_IomemRow] = []
    parents: list[_IomemRow] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _IOMEM_LINE.fullmatch(line.rstrip())
        if match is None:
            raise InputError(
                f"{name}:{number}: {line.strip()[:60]!r} is not a line of /proc/iomem (`first-last : name`)"
            )
        depth = len(match["indent"]) // 2
        row = _IomemRow(number, depth, int(match["first"], 16), int(match["last"], 16), match["name"].strip())
        if row.last < row.first:
            raise InputError(f"{name}:{number}: {row.name!r} ends ({row.last:#x}) before it starts ({row.first:#x})")
        if row.last >= 1 << PA_BITS and row.name in ("System RAM", "reserved"):
            raise InputError(
                f"{name}:{number}: {row.name!r} ends at {row.last:#x}, above {PA_BITS}-bit physical addresses"
            )
        if depth > len(parents):
            raise InputError(f"{name}:{number}: {row.name!r} is indented below nothing")
        del parents[depth:]
        if parents and not parents[-1].first <= row.first <= row.last <= parents[-1].last:
            raise InputError(
                f"{name}:{number}: {row.name!r} does not lie inside {parents[-1].name!r} (line {parents[-1].line})"
            )
        parents.append(row)
        rows.append(row)
    if not rows:
        raise InputError(f"{name}: empty; expected the lines of /proc/iomem")
    return rows


def _whole_pages(first: int, last: int, *, inwards: bool = False) -> Span:
    """[first, last] in whole pages."""
    mask = PAGE_BYTES - 1
    start, end = (first + mask & ~mask, last + 1 & ~mask) if inwards else (first & ~mask, last + 1 + mask & ~mask)
    return Span(start, end - start)
