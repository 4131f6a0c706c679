"""A person's own machine, from what it prints: the kexec that its kernel would carry out, as a case to run.

/proc/iomem says where RAM is, `kexec -d` what goes where, the kernel's log which routine and tables it has and where it
was booted, the device tree what must not be mapped. What no file says is assumed, and listed.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emu.device_tree import device_tree_memory_from_file
from emu.memory_map import MemoryMap, memory_map_from_file
from emu.segments import KexecLoad, check_segments, segments_from_file
from emu.spans import merge
from relocscope.boot_log import BootLog, boot_log_from_file, release_of
from relocscope.case import Case, override, shipped_case
from relocscope.emulate import imported
from relocscope.operand import kernel_case
from traces.errors import InputError, named_input
from traces.sizes import size_text

if TYPE_CHECKING:
    from emu.spans import Span

IMAGE_MAX_BYTES = 4 << 30
"""Of a kexec that is run here: several minutes' worth of instructions."""

_OLDEST = (4, 8)
_NEW_STUB, _MERGED, _KIMAGE_FIXED = (5, 12), (5, 16), (5, 18)
_MAIRS: tuple[tuple[tuple[int, int], int], ...] = (
    ((5, 14), 0x0000_0004_0044_FFFF),
    ((5, 10), 0x000C_0400_BB44_FFFF),
    (_OLDEST, 0x0000_BBFF_440C_0400),
)
"""MAIR_EL1 by the first release that has it (docs/history.md)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """What a person hands in."""

    iomem: Path
    kexec_debug: Path
    dmesg: Path | None = None
    dtb: Path | None = None
    kernel: Path | None = None
    """The running kernel's image: its own routine and page size, instead of its generation's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The kexec that a machine is about to do."""

    files: Files
    case: Case
    memory_map: MemoryMap
    load: KexecLoad
    log: BootLog
    assumed: tuple[str, ...]
    """What no file said, one sentence each."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the `plan` of `check --json`."""
        case, load, memory_map = self.case, self.load, self.memory_map
        kinds = (
            ("ram", memory_map.ram),
            ("reserved", memory_map.reserved),
            ("nomap", memory_map.nomap),
            ("no-access", memory_map.no_access),
        )
        return {
            "kernel": self.log.version,
            "relocate": case.kernel or case.relocate,
            "tables": case.tables,
            "boot": case.boot,
            "page_bytes": case.granule_bytes,
            "va_bits": case.va_bits,
            "mair": f"{case.mair:#x}",
            "crash": load.crash,
            "start": f"{load.segments[0].pa if load.start is None else load.start:#x}",
            "memory": [_range(kind, span) for kind, spans in kinds for span in spans],
            "segments": [
                {"name": each.name, "pa": f"{each.pa:#x}", "size": each.size, "memsz": each.memsz}
                for each in load.segments
            ],
            "assumed": list(self.assumed),
            "notes": list(self.notes),
        }


def _range(kind: str, span: "Span") -> dict[str, Any]:
    return {"kind": kind, "pa": f"{span.pa:#x}", "size": span.size}


def plan(files: Files, settings: Mapping[str, Any] | None = None) -> Plan:
    """Make the plan. `settings` are keys of a case that override what the files say. InputError names the file."""
    memory_map = _memory_map(files)
    load = segments_from_file(files.kexec_debug)
    log = boot_log_from_file(files.dmesg) if files.dmesg else BootLog()
    case, assumed = _case(files, log, load)
    given = dict(settings or {})
    for key in given:
        if key in ("image.memory_map", "image.segments", "size", "kdump", "kernel"):
            raise InputError(f"--set: {key}: comes from the files of this machine")
    case = override(case, given)
    with named_input(str(files.kexec_debug)):
        _check_load(load, memory_map, case.granule_bytes)
    kept = tuple(words for key, words in assumed if key not in given)
    return Plan(files=files, case=case, memory_map=memory_map, load=load, log=log, assumed=kept, notes=_notes(log))


def _memory_map(files: Files) -> MemoryMap:
    found = memory_map_from_file(files.iomem)
    if found.kernel_code is None or found.kernel_data is None:
        raise InputError(f"{files.iomem}: no `Kernel code` and `Kernel data` in it: where the running kernel lies")
    if files.dtb is None:
        return found
    tree = device_tree_memory_from_file(files.dtb)
    with named_input(f"{files.iomem} with {files.dtb}"):
        return dataclasses.replace(
            found,
            nomap=merge([*found.nomap, *tree.nomap]),
            reserved=merge([*found.reserved, *tree.reserved]),
        )


def _check_load(load: KexecLoad, memory_map: MemoryMap, page_bytes: int) -> None:
    """Refuse what kexec_load() would, and what is too much to run; where it lies is for the hazards."""
    check_segments("segments", load.segments, memory_map, page_bytes, anywhere=True)
    total, ram = sum(each.memsz for each in load.segments), sum(span.size for span in memory_map.ram)
    if total > ram // 2:
        raise InputError(f"segments: {size_text(total)} in all; the kernel refuses more than half of {size_text(ram)}")
    if total > IMAGE_MAX_BYTES:
        raise InputError(f"segments: {size_text(total)} in all; at most {size_text(IMAGE_MAX_BYTES)} can be run")


def _case(files: Files, log: BootLog, load: KexecLoad) -> tuple[Case, list[tuple[str, str]]]:
    """Return the case of this kernel's generation, and what had to be assumed, by the key that could say otherwise."""
    assumed: list[tuple[str, str]] = []
    boot = log.boot
    if boot is None:
        boot = "nvhe"
        assumed.append(("boot", "booted at EL2 without VHE (no log says; --set boot=el1 or vhe)"))
    fields: dict[str, Any] = {}
    if files.kernel is not None:
        case = kernel_case(str(files.iomem), files.kernel, boot)
        if (release := release_of(imported(files.kernel).version or "")) is not None:
            fields["mair"] = _mair(release)
    else:
        release = log.release
        if release is None:
            release = _MERGED
            assumed.append(("routine.relocate", "a kernel of 5.16 or newer (no log says its version)"))
        case, fields = _generation(release, boot, str(files.dmesg or files.iomem))
        fields["granule_bytes"] = log.page_bytes or 4096
        if log.page_bytes is None:
            assumed.append(("map.granule", "4 KiB pages (no log says; --set map.granule=64KiB)"))
        fields["mair"] = _mair(release)
    fields["va_bits"] = log.va_bits or 48
    if log.va_bits is None:
        assumed.append(("map.va_bits", "48-bit VAs (no log says; --set map.va_bits=39)"))
    case = dataclasses.replace(case, name="this machine", title="", source="", expect={}, kdump=load.crash, **fields)
    return case, assumed


def _generation(release: tuple[int, int], boot: str, where: str) -> tuple[Case, dict[str, Any]]:
    """Return the shipped case whose routine and tables a release has, and what differs in it."""
    if release < _OLDEST:
        raise InputError(f"{where}: Linux {release[0]}.{release[1]}: arm64 has kexec since 4.8")
    if release >= _MERGED:
        merged = shipped_case(f"v5.17-{boot}")
        # Crash kernels leave through the soft restart, which the copy itself does not need.
        return merged, {"soft_restart": "soft-restart-v5.17", "hyp_stub": "hyp-stub-v5.17" if boot == "nvhe" else ""}
    old = shipped_case(f"v4.19-{boot}")
    if release < _NEW_STUB:
        return old, {}
    stub = "hyp-stub-v5.17" if boot == "nvhe" else old.hyp_stub
    return old, {"relocate": "relocate-v5.12", "soft_restart": "soft-restart-v5.17", "hyp_stub": stub}


def _mair(release: tuple[int, int]) -> int:
    return next((mair for first, mair in _MAIRS if release >= first), _MAIRS[-1][1])


def _notes(log: BootLog) -> tuple[str, ...]:
    if log.release is not None and _MERGED <= log.release < _KIMAGE_FIXED:
        return ("5.16 and 5.17 read struct kimage after the copy (fixed by eb3d8ea3e1f0); where it lies no file says",)
    return ()
