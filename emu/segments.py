"""Segments: what kexec loads, and where it must lie when the new kernel starts.

From TOML, one table a segment (`start`, the address that the new kernel is entered at, may stand beside them):

    [[segment]]
    name = "kernel"
    pa = 0x8008_0000
    size = "13MiB"           # bytes of content
    memsz = "13.5MiB"        # bytes of memory, zero behind the content; default: size in whole pages

or from debug output: what `kexec -d -l` prints before its system call (kexec-tools), what the kernel prints for
`kexec -d -s` (6.7 and newer), or what arm64's machine_kexec prints with dynamic debug on.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emu.inputs import known_keys, toml_tables
from emu.memory_map import MemoryMap
from emu.spans import Span, checked_span, refuse_overlap
from traces.errors import InputError
from traces.reading import read_text
from traces.schema import PAGE_BYTES
from traces.sizes import parse_size
from traces.toml import parse_toml

SEGMENTS_MAX = 16
"""KEXEC_SEGMENT_MAX of the kernel."""

_KEXEC_ON_CRASH = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One piece of the new kernel: `size` bytes of content at `pa`, zero from there to `memsz`."""

    pa: int
    size: int
    memsz: int
    name: str

    @property
    def span(self) -> Span:
        """Where it must lie."""
        return Span(self.pa, self.memsz)


@dataclass(frozen=True, kw_only=True, slots=True)
class KexecLoad:
    """What one kexec call asked for. `start` None (not said): the first byte of the first segment."""

    segments: tuple[Segment, ...]
    start: int | None = None
    crash: bool = False


def check_segments(
    where: str,
    segments: Sequence[Segment],
    memory_map: MemoryMap,
    page_bytes: int = PAGE_BYTES,
    *,
    anywhere: bool = False,
) -> None:
    """Refuse what the kernel's sanity_check_segment_list() would, and what lies outside RAM: the first rule broken.

    `anywhere`: outside RAM, too, which no kernel checks except for crash kernels.
    """
    if not segments:
        raise InputError(f"{where}: no segment; kexec needs at least one")
    if len(segments) > SEGMENTS_MAX:
        raise InputError(f"{where}: {len(segments)} segments; the kernel takes at most {SEGMENTS_MAX}")
    for segment in segments:
        name = f"{where}: {segment.name}"
        checked_span(name, segment.pa, segment.memsz, align=page_bytes)
        if not 0 <= segment.size <= segment.memsz:
            raise InputError(f"{name}: size {segment.size:#x} must lie between 0 and memsz {segment.memsz:#x}")
        if not anywhere and not memory_map.is_ram(segment.span):
            raise InputError(f"{name}: {segment.span} must lie in RAM that is not nomap or no-access")
    refuse_overlap(where, [(segment.name, segment.span) for segment in segments])


_SEGMENT_KEYS = frozenset({"name", "pa", "size", "memsz"})


def segments_from_toml(text: str, name: str = "<toml>") -> KexecLoad:
    """Read the `[[segment]]` tables of a TOML document, and its top-level `start`."""
    document = parse_toml(text, name)
    start = document.get("start")
    return KexecLoad(
        segments=segments_from_tables(toml_tables(document, name, "segment"), name),
        start=None if start is None else parse_size(start, f"{name}: start"),
    )


def segments_from_tables(tables: Sequence[Mapping[str, Any]], name: str) -> tuple[Segment, ...]:
    """Read tables that are already parsed; `name` is the file for messages."""
    return tuple(_segment(f"{name}: segment[{number}]", number, table) for number, table in enumerate(tables))


def segments_from_kexec_debug(text: str, name: str = "kexec -d") -> KexecLoad:
    """Read the segments out of debug output in any of its three forms; other lines are passed over.

    Where the text gives no content size, all of the segment is content. Names come from `initrd:` and `dtb:` lines
    where there are such, else the segment that `start` lies in is `purgatory` unless it is the first, `kernel`.
    """
    found: dict[int, dict[str, int]] = {}
    bases: dict[int, str] = {}
    start: int | None = None
    crash = False
    for number, line in enumerate(text.splitlines(), 1):
        if segment := _segment_facts(line):
            index, values = segment
            if index >= SEGMENTS_MAX:
                raise InputError(f"{name}:{number}: segment[{index}]; the kernel takes at most {SEGMENTS_MAX} segments")
            found.setdefault(index, {}).update(values)
        elif entry := _ENTRY.search(line):
            start = int(entry["start"], 16)
            crash = entry["type"] == "1" or bool(int(entry["flags"] or "0", 16) & _KEXEC_ON_CRASH)
        elif base := _BASE.search(line):
            bases[int(base["base"], 16)] = base["name"]
    return KexecLoad(segments=_named_segments(name, found, bases, start), start=start, crash=crash)


def segments_from_file(path: Path) -> KexecLoad:
    """Read segments from a file: TOML by its suffix `.toml`, else debug output."""
    text = read_text(path)
    return segments_from_toml(text, str(path)) if path.suffix == ".toml" else segments_from_kexec_debug(text, str(path))


_HEX = r"(?:0x)?[0-9a-f]{1,16}"
_INDEX = r"[0-9]{1,20}"
_FIELD = re.compile(rf"\bsegment\[(?P<index>{_INDEX})\]\.(?P<field>bufsz|memsz|mem)\s*= (?P<value>{_HEX})\b")
_KEXEC_FILE = re.compile(
    rf"\bsegment\[(?P<index>{_INDEX})\]: buf=\S+ bufsz=(?P<bufsz>{_HEX}) mem=(?P<mem>{_HEX}) memsz=(?P<memsz>{_HEX})\b"
)
_MACHINE_KEXEC = re.compile(rf"\bsegment\[(?P<index>{_INDEX})\]: (?P<first>{_HEX}) - (?P<end>{_HEX}), {_HEX} bytes")
_ENTRY = re.compile(
    r"(?:\bkexec_load: entry = |\bkexec_file_load: type:(?P<type>[0-9]+), start:|^(?:\[[^]]*\])?\s+start:\s+)"
    rf"(?P<start>{_HEX})"
    rf"(?: flags = (?P<flags>{_HEX}))?"
)
_BASE = re.compile(rf"\b(?P<name>initrd|dtb):\s+base (?P<base>{_HEX}), size")


def _segment_facts(line: str) -> tuple[int, dict[str, int]] | None:
    """Return the number and the fields of the segment that a line speaks of; None when it speaks of none."""
    if match := _FIELD.search(line):
        return int(match["index"]), {match["field"]: int(match["value"], 16)}
    if match := _KEXEC_FILE.search(line):
        return int(match["index"]), {field: int(match[field], 16) for field in ("bufsz", "mem", "memsz")}
    if match := _MACHINE_KEXEC.search(line):
        first, end = int(match["first"], 16), int(match["end"], 16)
        return int(match["index"]), {"bufsz": end - first, "mem": first, "memsz": end - first}
    return None


def _named_segments(
    where: str, found: Mapping[int, Mapping[str, int]], bases: Mapping[int, str], start: int | None
) -> tuple[Segment, ...]:
    """Check that no segment and no field is missing, and give each a name."""
    if not found:
        raise InputError(f"{where}: no line names a segment (`segment[0].mem = ...`, `segment[0]: buf=...`)")
    segments = []
    for index in range(max(found) + 1):
        values = found.get(index, {})
        for field in ("mem", "memsz"):
            if field not in values:
                raise InputError(f"{where}: segment[{index}].{field} is missing")
        pa, memsz = values["mem"], values["memsz"]
        entered = index > 0 and start is not None and pa <= start < pa + memsz
        name = "kernel" if index == 0 else "purgatory" if entered else bases.get(pa, f"segment[{index}]")
        segments.append(Segment(pa=pa, size=values.get("bufsz", memsz), memsz=memsz, name=name))
    return tuple(segments)


def _segment(where: str, number: int, table: Mapping[str, Any]) -> Segment:
    """Check one `[[segment]]` table."""
    known_keys(where, table, _SEGMENT_KEYS, required=frozenset({"pa", "size"}))
    size = parse_size(table["size"], f"{where}.size")
    memsz = parse_size(table.get("memsz", -(-size // PAGE_BYTES) * PAGE_BYTES), f"{where}.memsz")
    name = table.get("name", f"segment[{number}]")
    if not isinstance(name, str):
        raise InputError(f"{where}.name: {name!r} must be text")
    return Segment(pa=parse_size(table["pa"], f"{where}.pa"), size=size, memsz=memsz, name=name)
