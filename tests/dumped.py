"""A prepared guest of ours written to files as a person has a real machine: memory, and registers as text."""

import struct
from pathlib import Path

import numpy as np

from emu.guest import Guest
from emu.memory import PhysicalMemory

ELF_CORE = 4
_UNALIGNED = 0x4F0  # where QEMU's dump-guest-memory begins the memory of a machine with one PE


def raw(memory: PhysicalMemory, path: Path) -> str:
    """Write the only region as `pmemsave` does; return FILE@BASE."""
    [region] = memory.regions
    with path.open("wb") as file:
        file.truncate(region.size)
        pages = region.data.reshape(-1, 4096)
        for number in np.flatnonzero(pages.any(axis=1)).tolist():
            file.seek(number * 4096)
            file.write(pages[number].tobytes())
    return f"{path}@{region.pa:#x}"


def elf(path: Path, parts: list[tuple[int, bytes, int]], **changes: int) -> Path:
    """Write an ELF core of (pa, content, memsz); `changes`: fields of the header that lie."""
    header = {"width": 2, "order": 1, "kind": ELF_CORE, "machine": 183, "count": len(parts), "entry": 56} | changes
    at, rows, content = max(_UNALIGNED, 64 + 56 * len(parts)), b"", b""
    for pa, data, memory_bytes in parts:
        rows += struct.pack("<IIQQQQQQ", 1, 7, at + len(content), 0, pa, len(data), memory_bytes, 0)
        content += data
    start = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH",
        *(b"\x7fELF", header["width"], header["order"], 1, header["kind"], header["machine"], 1, 0, 64, 0, 0, 64),
        *(header["entry"], header["count"], 0, 0, 0),
    )
    path.write_bytes((start + rows).ljust(at, b"\0") + content)
    return path


def registers(guest: Guest, path: Path) -> Path:
    """Write the registers that the guest begins with, as gdb lists them."""
    cpu = guest.machine().cpu
    named = {f"x{number}": cpu.x[number] for number in range(31)} | {"sp": cpu.sp, "pc": cpu.pc, "cpsr": cpu.pstate}
    named |= {name: cpu.sysreg[name] for name in (*guest.handover.sysreg, "CTR_EL0")}
    path.write_text("".join(f"{name:<14} {value:#x}                {value}\n" for name, value in named.items()))
    return path
