"""A real kernel that really kexecs in QEMU, stopped before and after its relocation, with what one would keep of it.

The kernel is a distribution's (tests/kernels.py). Its initramfs holds one program of ours, which loads that same
kernel, and a purgatory of one page, by kexec_load() and restarts into them. A breakpoint at the routine's first
instruction gives the state before, one at purgatory's the state after: physical memory by `pmemsave`, registers as gdb
prints them.
"""

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qemu

from asm.assemble import assemble
from asm.kernel_image import ImportedKernel, import_kernel
from asm.routines import Protocol

RAM, RAM_BYTES = 0x4000_0000, 256 << 20
RUN_SECONDS = 90
_KERNEL = RAM + (2 << 20)
_INIT_VA = 0x40_0000
_HEADER_BYTES = 64 + 56

# openat, mmap, kexec_load, reboot(LINUX_REBOOT_CMD_KEXEC) by their arm64 system call numbers. A failure exits with the
# number of the step, so that the kernel's panic names it.
_INIT = """
    mov x20, #1
    mov x0, #-100
    adr x1, file
    mov x2, #0
    mov x3, #0
    mov x8, #56
    svc #0
    tbnz x0, #63, failed
    mov x20, #2
    mov x4, x0
    mov x0, #0
    adr x1, length
    ldr x1, [x1]
    mov x2, #1
    mov x3, #2
    mov x5, #0
    mov x8, #222
    svc #0
    tbnz x0, #63, failed
    mov x20, #3
    adr x2, segments
    str x0, [x2]
    ldr x0, [x2, #48]
    mov x1, #2
    movz x3, #0xb7, lsl #16
    mov x8, #104
    svc #0
    cbnz x0, failed
    mov x20, #4
loaded:
    movz x0, #0xdead
    movk x0, #0xfee1, lsl #16
    movz x1, #0x1969
    movk x1, #0x2812, lsl #16
    movz x2, #0x4543
    movk x2, #0x4558, lsl #16
    mov x8, #142
    svc #0
failed:
    mov x0, x20
    mov x8, #93
    svc #0
    .balign 8
segments:
    .quad 0
length:
    .quad {file_bytes}, {kernel}, {kernel_bytes}
    .quad purgatory, 4, {purgatory}, 0x10000
purgatory:
    b purgatory
file:
    .byte 47, 73, 109, 97, 103, 101, 0
"""


@dataclass(frozen=True)
class Kexec:
    """One kexec: files of before and after, and what the PE looked like at the end."""

    before: Path
    """Raw memory from `RAM` on."""
    after: Path
    registers: str
    """What gdb's `info registers` prints at the routine's first instruction."""
    monitor: str
    """QEMU's own `info registers` there."""
    end: str
    """What gdb prints at the end."""
    entry_pa: int


def kexec(image: Path, folder: Path, *, cpu: str, at_el2: bool, elf: Path | None = None) -> Kexec:
    """Boot `image` in QEMU, have it kexec itself, and leave the dumps in `folder`; `elf`: dump-guest-memory as well."""
    found = import_kernel(image)
    program, loaded, entry_pa = _init(image)
    initramfs, stub, log = folder / "initramfs", folder / "gdb", folder / "console"
    initramfs.write_bytes(_initramfs(program, image))
    command = [
        *(qemu.QEMU, "-M", f"virt,gic-version=2,virtualization={'on' if at_el2 else 'off'}", "-cpu", cpu, "-S"),
        *("-m", str(RAM_BYTES >> 20), "-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot"),
        *("-serial", f"file:{log}", "-kernel", str(image), "-initrd", str(initramfs)),
        *("-append", "nokaslr console=ttyAMA0 earlycon quiet", "-gdb", f"unix:{stub},server=on,wait=off"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with qemu.GdbStub(stub, process) as gdb:
            _go(gdb, loaded, log)
            _go(gdb, _routine_at(gdb, found, folder, log), log)
            registers = _listed(gdb)
            monitor = gdb.monitor("info registers")
            before, after = folder / "before", folder / "after"
            _save(gdb, before)
            if elf is not None:
                assert gdb.monitor(f'dump-guest-memory "{elf}"') == ""
            _go(gdb, entry_pa, log)
            _save(gdb, after)
            return Kexec(before, after, registers, monitor, _listed(gdb), entry_pa)
    finally:
        process.kill()
        process.communicate()


def _go(gdb: qemu.GdbStub, va: int, log: Path) -> None:
    gdb.break_at(va)
    console = "" if gdb.go(RUN_SECONDS) else "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    assert not console, f"{va:#x} was not reached: {console}"


def _listed(gdb: qemu.GdbStub) -> str:
    return "".join(f"{name:<14} {gdb.named(name):#x}\n" for name in gdb.names)


def _save(gdb: qemu.GdbStub, path: Path) -> None:
    # In quotes, or the monitor would divide by the path.
    assert gdb.monitor(f'pmemsave {RAM:#x} {RAM_BYTES:#x} "{path}"') == ""
    assert path.stat().st_size == RAM_BYTES


def _routine_at(gdb: qemu.GdbStub, found: ImportedKernel, folder: Path, log: Path) -> int:
    """Return where the routine was copied to: the soft restart is told, or the image has been loaded with it."""
    if found.relocate.protocol is Protocol.MMU_OFF:
        [offset] = [each.offset for each in found.found if each.what == "soft_restart"]
        _go(gdb, _KERNEL + offset, log)
        return gdb.register(1)
    _save(gdb, folder / "loaded")
    memory = np.memmap(folder / "loaded", np.uint8, "r").reshape(-1, 4096)
    code = np.frombuffer(found.relocate.code, np.uint8)
    [page] = np.flatnonzero((memory[:, : len(code)] == code).all(axis=1))
    return RAM + int(page) * 4096


def _init(image: Path) -> tuple[bytes, int, int]:
    """Make the program: an ELF file, the address at which everything is loaded, and where purgatory will lie."""
    with image.open("rb") as file:
        header = file.read(64)
    kernel_bytes = -(-struct.unpack_from("<Q", header, 16)[0] // 0x1_0000) * 0x1_0000
    source = _INIT.format(
        file_bytes=image.stat().st_size,
        kernel=_KERNEL,
        kernel_bytes=kernel_bytes,
        purgatory=_KERNEL + kernel_bytes,
    )
    code_va = _INIT_VA + _HEADER_BYTES
    made = assemble(source, name="init", va=code_va)
    size = _HEADER_BYTES + len(made.code)
    elf = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, 183, 1, code_va, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0, _INIT_VA, _INIT_VA, size, size, 0x1000)
    return elf + segment + made.code, code_va + made.symbols["loaded"], _KERNEL + kernel_bytes


def _initramfs(program: bytes, image: Path) -> bytes:
    """Put the program and the kernel into a cpio archive (newc)."""
    files: Sequence[tuple[str, int, bytes]] = (
        ("init", 0o100755, program),
        ("Image", 0o100644, image.read_bytes()),
        ("TRAILER!!!", 0, b""),
    )
    archive = b""
    for inode, (name, mode, data) in enumerate(files):
        words = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        entry = b"070701" + b"".join(b"%08x" % word for word in words) + name.encode() + b"\0"
        archive += entry + bytes(-len(entry) % 4) + data + bytes(-len(data) % 4)
    return archive
