"""Output of tinymembench and lmbench as figures; what is in it and is not used is said with the reason."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from relocscope.calibration.measured import Measured, Reads, is_clear, latency
from traces.errors import InputError
from traces.reading import is_there, read_bytes

if TYPE_CHECKING:
    from caches import CoreConfig

_LARGEST_FILE_BYTES = 16 << 20

COPY_BYTES = 64 << 20
"""What the model's copies and fills move: a size far beyond the caches, as the benchmarks' own are."""

_LEAVES = {"MADV_NOHUGEPAGE": 4096, "MADV_HUGEPAGE": 2 << 20}

_READ_WIDTHS = {"ARM LDP/STP": 16, "NEON LDP/STP": 32, "NEON LD1/ST1": 64}
"""Bytes that each of tinymembench's copies reads at a time."""

_RATES = (("memcpy", ("ARM LDP/STP copy", "NEON LDP/STP copy", "standard memcpy")),
          ("memset", ("ARM STP fill", "NEON STP fill")))  # fmt: skip
"""Loops that the model has, too, best first; a libc's memset may use DC ZVA, and is another loop."""


@dataclass(slots=True)
class Figures:
    """What a file holds: figures, and names of what was set aside with the reason."""

    measured: list[Measured] = field(default_factory=list)
    aside: list[tuple[str, str]] = field(default_factory=list)


def _text(path: Path, option: str) -> str:
    return read_bytes(path, _LARGEST_FILE_BYTES, where=option).decode("utf-8", errors="replace")


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0 <= value < 1e12):
        raise InputError(f"{where}: {text!r} must be a number, 0 or more")
    return value


def tinymembench(given: str, config: "CoreConfig", option: str = "--tinymembench") -> Figures:
    """Read the output of one run. FILE, or FILE#2 for the second of several runs in one file (sbc-bench's reports)."""
    path, number = _which(given, option)
    runs = re.split(r"(?m)^(?=.*tinymembench v\d)", _text(path, option))
    runs = [run for run in runs if ("ns" in run and "random read" in run) or " MB/s" in run]
    if not runs:
        raise InputError(f"{option}: {path}: no figures of tinymembench in it")
    if number is None and len(runs) > 1:
        raise InputError(f"{option}: {path}: has {len(runs)} runs; write {path}#1 for the first, and so on")
    if number is not None and number > len(runs):
        raise InputError(f"{option}: {given}: run {number} must be one of the {len(runs)} in the file")
    found = Figures()
    run, where = runs[(number or 1) - 1], f"{option}: {path}"
    found.measured += _rates(run, where, given)
    _latencies(run, where, given, config, found)
    if not found.measured:
        raise InputError(f"{where}: no figure that the model has, too")
    return found


def _which(given: str, option: str) -> tuple[Path, int | None]:
    """Split FILE#NUMBER; a file whose name has a # in it is taken as it is."""
    path, mark, number = given.rpartition("#")
    if not mark or is_there(given):
        return Path(given), None
    if not re.fullmatch("[0-9]{1,9}", number) or int(number) < 1:
        raise InputError(f"{option}: {given}: what follows the # must be the number of a run, from 1 on")
    return Path(path), int(number)


def _rates(run: str, where: str, source: str) -> Iterator[Measured]:
    lines = {name.strip(): text for name, text in re.findall(r"(?m)^ *(\S[^:\n]*?) *: *(\S+) MB/s", run)}
    for kind, loops in _RATES:
        name = next((loop for loop in loops if loop in lines), None)
        if name is not None and (rate := _number(lines[name], f"{where}: {name}")):
            yield Measured(name=kind, kind=kind, value=rate * 1e6, unit="B/s", source=source, bytes=COPY_BYTES)
    for name, width in _READ_WIDTHS.items():
        line = f"{name} copy (from framebuffer)"
        if line in lines and (rate := _number(lines[line], f"{where}: {line}")):
            value = width * 1e3 / rate
            yield Measured(name=f"nc-read {width}", kind="nc-read", value=value, unit="ns", source=source, bytes=width)


def _latencies(run: str, where: str, source: str, config: "CoreConfig", found: Figures) -> None:
    wanted = (rf"latency test {what} *\(-\w\): *([0-9]{{1,18}})\b" for what in ("count", "repeats"))
    count, repeats = (re.search(pattern, run) for pattern in wanted)
    for number, table in enumerate(re.split(r"(?m)^(?=block size *:)", run)[1:]):
        leaf = next((size for advice, size in _LEAVES.items() if f"[{advice}]" in table), 4096)
        reads = Reads(
            count=int(count[1]) if count else 10_000_000,
            repeats=int(repeats[1]) if repeats else 10,
            ladder=min(number, 1),
        )
        for size_text, text in re.findall(r"(?m)^ *([0-9]{1,18}) *: *(\S+) ns", table):
            size, nanoseconds = int(size_text), _number(text, f"{where}: {size_text}")
            if nanoseconds and is_clear(size, config):
                found.measured.append(latency(size, nanoseconds, source, leaf_bytes=leaf, reads=reads, beyond_l1d=True))
            elif nanoseconds:
                found.aside.append((f"latency of {size} bytes", "near the edge of a cache, or within L1D"))


_PAIR = re.compile(r"^\s*(\d+\.?\d*(?:[eE][-+]?\d+)?)\s+(\S+)\s*$")


def lmbench(given: str, config: "CoreConfig", option: str = "--lmbench") -> Figures:
    """Read lat_mem_rd and bw_mem: a results file of lmbench, or what was printed below the command lines themselves."""
    path = Path(given)
    found, what, best = Figures(), "", (0.0, 0.0)
    for line in _text(path, option).splitlines():
        pair = _PAIR.match(line)
        if pair is None:
            what = _section(line, what)
            continue
        size, value = (_number(text, f"{option}: {path}: {line.strip()!r}") for text in pair.groups())
        if what == "random":
            _random_read(round(size * (1 << 20)), value, given, config, found)
        elif what == "bcopy" and size >= 16 and value:
            best = max(best, (size, value))
        elif what in _ASIDE and what not in [name for name, _ in found.aside]:
            found.aside.append((what, _ASIDE[what]))
    if best[0]:
        found.measured.append(
            Measured(name="memcpy", kind="memcpy", value=best[1] * 1e6, unit="B/s", source=given, bytes=COPY_BYTES)
        )
    if not found.measured:
        why = (
            "; ".join(f"{name}: {reason}" for name, reason in found.aside)
            or "no lat_mem_rd -t, no bw_mem bcopy of 16 MB"
        )
        raise InputError(f"{option}: {path}: no figure that the model has, too ({why})")
    return found


_ASIDE = {
    "strided": "lat_mem_rd without -t shows the prefetcher; run it with -t, and put its command line above its output",
    "other copies": "of bw_mem only bcopy of 16 MB or more is a loop that the model has",
}


def _section(line: str, before: str) -> str:
    """Return what the numbers below this line are; a line that says nothing of it leaves it as it was."""
    text = line.strip().strip('"').lower()
    if text.startswith("stride="):
        return "random" if before == "random" else "strided"
    if "lat_mem_rd" in text:
        return "random" if re.search(r"\s-t\b", text) else "strided"
    if "load latency" in text:
        return "random" if text.startswith("random") else "strided"
    if "bw_mem" in text or "bandwidth" in text or "bcopy" in text:
        return "bcopy" if re.search(r"\bbcopy\b", text) and "unrolled" not in text else "other copies"
    return before if not text else before if text.startswith("#") else ""


def _random_read(size: int, nanoseconds: float, source: str, config: "CoreConfig", found: Figures) -> None:
    """Take a size that the model has; lmbench writes 64 MiB as 64.00000 and 96 KiB as 0.09375."""
    nearest = 1 << max(0, round(math.log2(size))) if size else 0
    if nanoseconds and abs(size - nearest) <= nearest * 0.01 and is_clear(nearest, config):
        found.measured.append(latency(nearest, nanoseconds, source, leaf_bytes=4096, reads=Reads(), beyond_l1d=False))
