"""Seeds: small valid inputs of every reader, made by our own code or written here; nothing is anybody else's."""

import gzip
import io
import json
import lzma
import struct
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.asm import kernel_files
from tests.traces import synthetic
from traces.files import save

ROOT = Path(__file__).parent.parent

MEMORY_MAP = b"""\
[[memory]]
kind = "ram"
pa = 0x8000_0000
size = "8GiB"
[[memory]]
kind = "kernel-code"
pa = 0x8008_0000
size = "16MiB"
[[memory]]
kind = "nomap"
pa = 0x9000_0000
size = 0x10_0000
[[memory]]
kind = "reserved"
pa = "0xA000_0000"
size = "4KiB"
"""
SEGMENTS = b"""\
start = 0x8008_0000
[[segment]]
name = "kernel"
pa = 0x8008_0000
size = "13MiB"
memsz = "13.5MiB"
[[segment]]
pa = 0x8900_0000
size = 4096
"""
CASE = b"""\
base = "v5.17-nvhe"
title = "mine"
size = "1MiB"
boot = "nvhe"
phases = "all,purgatory"
[map]
leaf = "2MiB"
mair = 0x40044ffff
tcr_sh = 3
[copy]
sctlr_c = 0
[image]
sources = "scatter"
[expect]
outcome = "completed"
hazards = ["dirty-at-entry"]
"""
OWN_CASE = b"""\
boot = "el1"
routine = { relocate = "relocate-v4.19", soft_restart = "soft-restart-v4.19" }
map.mair = "0xbbff440c0400"
initial = "cold"
seed = 4
kdump = false
image.memory_map = "map.toml"
"""
CORE = b"""\
base = "stingray"
name = "mine"
title = "My core"
calibrated = ["device.round_trip_ns"]
[l2]
size = { value = "1MiB", source = "TRM" }
[device]
round_trip_ns = { value = 100, estimated = [50, 200], why = "a guess" }
"""
PLAN = b"""\
case = ["v4.19-nvhe", "v5.17-nvhe"]
core = "stingray"
size = "1MiB"
sample = true
skip-impossible = true
[set]
seed = 2
[grid]
"l2.size" = "256KiB..1MiB:x2"
"a.map.leaf" = ["4KiB", "2MiB"]
[[points]]
"b.copy.sctlr_c" = 0
[samples]
design = "sobol"
count = 4
seed = 1
[samples.ranges]
"dram.latency_ns" = "50..150"
"""
DMESG = b"""\
[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd083]
[    0.000000] Linux version 5.10.0-32-arm64 (someone@somewhere) (gcc)
[    0.000000] CPU features: detected: Virtualization Host Extensions
[    0.000000] percpu: Embedded 31 pages/cpu s86680 r8192 d32104 u126976
[    0.000000] Dentry cache hash table entries: 131072 (order: 8, 1048576 bytes, linear)
[    0.000000]     memory  : 0xffff800000000000 - 0xffff800080000000   (  2048 MB)
[    0.100000] CPU: All CPU(s) started at EL2
[    0.200000] kvm [1]: Hyp mode initialized successfully
[    9.000000] user pgtable: 4k pages, 48-bit VAs, pgdp=0000000041aec000
"""
KEXEC_FILE = b"""\
[   10.1] kexec_file: nr_segments = 2
[   10.1] kexec_file: segment[0]: buf=0x1 bufsz=0x1000 mem=0x40000000 memsz=0x2000
[   10.1] kexec_file: segment[1]: buf=0x1 bufsz=0x1000 mem=0x40002000 memsz=0x1000
[   10.1] kexec_file: kexec_file_load: type:0, start:0x40000000 head:0x2 flags:0x8
"""
MACHINE_KEXEC = b"""\
[   12.0] kexec_core:   segment[0]: 0000000040000000 - 0000000041000000, 0x1000000 bytes, 4096 pages
[   12.0]   start:       40000000
initrd: base 40000000, size 100h (256)
dtb:    base 41000000, size 100h (256)
"""
REGISTERS = b"""\
x0             0x41aec000          1101971456
x1             0x0                 0
sp             0xffff800010003e00  0xffff800010003e00
pc             0x41c0a000          0x41c0a000
cpsr           0x3c9               969
SCTLR_EL1      0x30d00800
TTBR0_EL1 (/64) = 0x41aed000
"""
MONITOR = b"PC=0000000041c0a000 X00=0000000041aec000 X01=0000000000000000\nPSTATE=000003c9 ---- EL2h\n"
REGISTERS_JSON = b'{"pc": "0x41c0a000", "x0": 17, "SCTLR_EL2": "0x30c50830", "HCR_EL2": 2147483648}'
TINYMEMBENCH = b"""\
tinymembench v0.4.9-nuumio (simple benchmark for memory throughput and latency)
 standard memcpy                                      :   4437.5 MB/s
 standard memset                                      :  12455.4 MB/s (0.6%)
 ARM LDP/STP copy                                     :   4439.8 MB/s
 NEON LDP/STP copy (from framebuffer)                 :    652.0 MB/s
      latency test repeats (-l): 3
        latency test count (-c): 1000000
block size : single random read / dual random read, [MADV_NOHUGEPAGE]
      1024 :    0.0 ns          /     0.0 ns
    262144 :    7.9 ns          /    10.3 ns
  67108864 :  146.6 ns          /   178.1 ns
block size : single random read / dual random read, [MADV_HUGEPAGE]
    262144 :    6.2 ns          /     8.1 ns
"""
LMBENCH = b"""\
"libc bcopy unaligned
0.000512 114131.34
67.11 4440.12

Random load latency
"stride=16
0.25000 9.9
64.00000 149.2

$ bw_mem 64M rd
67.11 9999.9
$ lat_mem_rd -t 64M 128
"stride=128
64.00000 149.2
"""
DIN = b"2 80001000 4\n0 90000000 8\n1 90001000 8\n2 80001004 4\n"
DIN_OTHER = b"i 0x80001000 4 comment\n\nr 90000000\nm 90000008 8\nc 0\n4 0\n"
ASSEMBLY = b"""\
// a copy loop
.equ SIZE, 1 << 6
.macro copy_line from, to
        ldp     x2, x3, [\\from], #16
        stp     x2, x3, [\\to], #16
.endm
.globl copy
copy:   mov     x4, #SIZE
.Lagain:
        copy_line x1, x0
        subs    x4, x4, #16
        b.ne    .Lagain
        .rept 2
        nop
        .endr
        ret
        .balign 8
table:  .quad copy, table - copy, 0x1234
"""
KALLSYMS = b"""\
ffff800008000000 T _text
ffff800008010000 T _stext
ffff800008020800 t __hyp_stub_vectors
ffff800008021000 T cpu_soft_restart
ffff800008021800 T arm64_relocate_new_kernel
"""
GDB = (
    b"qSupported:multiprocess+", b"?", b"g", b"p20", b"P0=1000000000000000", b"m80a70000,40", b"x80a70000,10",
    b"M80a70000,2:1234", b"X80a70000,2:ab", b"Z0,80a70008,4", b"Z2,80a70008,8", b"z0,80a70008,4", b"s", b"bs", b"vCont;s:1",
    b"vCont?", b"qXfer:features:read:target.xml:0,200", b"qRcmd,68656c70", b"qRcmd,7768657265", b"Hg0", b"T1", b"R00",
    b"vRun;", b"s80a70008", b"c80a70008", b"!", b"D", b"QStartNoAckMode", b"bc", b"c",
)  # fmt: skip
OPTIONS = (b"25MB..47MB=0.35:off", b"l2.size=1MiB", b"[::1]:3333", b"my.elf@0x40000000", b"1.5MiB")


def images() -> Sequence[bytes]:
    """Return kernel files: an Image, one that is little but its routines, and packed ones."""
    image, old = kernel_files.image().data, kernel_files.image("relocate-v4.19", "soft-restart-v4.19").data
    code = kernel_files.routine_code("relocate-v5.17") + kernel_files.routine_code("soft-restart-v5.17")
    short = image[:0x100] + code
    return (
        image,
        old,
        short,
        gzip.compress(image, mtime=0),
        kernel_files.zboot(image, packed=gzip.compress(image, mtime=0)),
        kernel_files.zboot(image, "lzma", packed=lzma.compress(image, lzma.FORMAT_ALONE)),
    )


def elf_files() -> Sequence[bytes]:
    """Return ELF files with a relocation routine, linked and not."""
    code = kernel_files.routine_code("relocate-v5.17")
    symbols = {"arm64_relocate_new_kernel": (0, len(code)), "$x": (0, 0), "other": (4, 8)}
    return (
        kernel_files.elf(code, symbols),
        kernel_files.elf(code, symbols, relocatable=True),
    )


def program_files() -> Sequence[bytes]:
    """Return linked programs with one segment, and cores with two: program headers."""
    return (_with_segments(2, 1), _with_segments(2, 2))


def core_files() -> Sequence[bytes]:
    """Return ELF cores."""
    return (_with_segments(4, 1), _with_segments(4, 2))


def _with_segments(kind: int, count: int) -> bytes:
    rows, content = b"", b""
    start = 64 + 56 * count
    for number in range(count):
        pa, data = 0x4000_0000 + (number << 16), bytes((number,)) * 4096
        rows += struct.pack("<IIQQQQQQ", 1, 7, start + len(content), pa, pa, len(data), len(data) << 1, 0)
        content += data
    header = struct.pack("<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, kind, 183, 1, 0x4000_0000, 64, 0, 0, 64, 56, count,
                         0, 0, 0)  # fmt: skip
    return header + rows + content


def _cells(*values: int) -> bytes:
    return b"".join(struct.pack(">I", value) for value in values)


def device_trees() -> Sequence[bytes]:
    """Return a flattened device tree with a bank and reserved memory."""
    strings = b"#address-cells\0#size-cells\0device_type\0reg\0no-map\0status\0"

    def prop(name: bytes, value: bytes) -> bytes:
        return _cells(3, len(value), strings.index(name)) + value + bytes(-len(value) % 4)

    def node(name: bytes, *inside: bytes) -> bytes:
        return _cells(1) + name + b"\0" + bytes(-(len(name) + 1) % 4) + b"".join(inside) + _cells(2)

    cells = prop(b"#address-cells", _cells(2)) + prop(b"#size-cells", _cells(2))
    structure = node(
        b"",
        cells,
        node(b"memory@0", prop(b"device_type", b"memory\0"), prop(b"reg", _cells(0, 0x4000_0000, 0, 0x4000_0000))),
        node(
            b"reserved-memory",
            cells,
            node(b"secure", prop(b"reg", _cells(0, 0x4FF0_0000, 0, 0x800)), prop(b"no-map", b"")),
            node(b"pool", prop(b"status", b"okay\0"), prop(b"reg", _cells(0, 0x4800_0000, 0, 0x10_0000))),
        ),
    ) + _cells(9)
    reservations = struct.pack(">4Q", 0x4100_0000, 0x123, 0, 0)
    at = 40 + len(reservations)
    header = struct.pack(">10I", 0xD00DFEED, at + len(structure) + len(strings), at, at + len(structure), 40, 17, 16, 0,
                         len(strings), len(structure))  # fmt: skip
    return (header + reservations + structure + strings,)


@cache
def traces() -> Sequence[bytes]:
    """Return trace files: a small copy with translation on, and one with it off; the first once more, not compressed."""
    packed = tuple(_saved(on) for on in (True, False))
    return (*packed, _unpacked(packed[0]))


def _unpacked(trace: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(trace)) as packed, zipfile.ZipFile(made, "w") as container:
        for info in packed.infolist():
            container.writestr(zipfile.ZipInfo(info.filename, info.date_time), packed.read(info))
    return made.getvalue()


def _saved(on: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.trace"
        save(synthetic.copy_trace(pages=1, lines=8, on=on, symbols={"copy": synthetic.CODE}, outcome="completed"), path)
        return path.read_bytes()


def trace_parts() -> Sequence[bytes]:
    """Return each member of those files alone, behind the numbers of file and member: what `in_container` takes."""
    found = []
    for number, file in enumerate(traces()[:2]):
        with zipfile.ZipFile(io.BytesIO(file)) as container:
            for place, name in enumerate(container.namelist()):
                found.append(bytes((number, place)) + container.read(name))
    return found


def in_container(data: bytes) -> bytes:
    """Return a trace file whose container is whole, with one member replaced by the bytes behind its two numbers."""
    files = traces()
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files[data[0] % len(files)] if data else files[0])) as whole:
        names = whole.namelist()
        wanted = names[data[1] % len(names)] if len(data) > 1 else names[0]
        with zipfile.ZipFile(made, "w") as container:
            for name in names:
                container.writestr(name, data[2:] if name == wanted else whole.read(name))
    return made.getvalue()


def sessions() -> Sequence[bytes]:
    """Return saved sessions of the stepper."""
    facts = {
        "schema": "relocscope/step-session/1",
        "tool": "0.1.0",
        "case": "rfc-v1-nvhe",
        "core": None,
        "set": {"size": "4KiB"},
        "changes": [
            {"insn": 3, "register": "x0", "value": "0x10"},
            {"insn": 5, "pa": "0x80a70000", "bytes": "00112233"},
        ],
        "stops": {"1": "pc 0x80a70008", "2": "event hang"},
        "insn": 7,
        "walked_from": 2,
        "state": {"guest": "00", "model": "00", "cycles": 12},
    }
    return (json.dumps(facts, indent=1).encode(), json.dumps(facts | {"changes": [], "stops": {}}).encode())


def sample_texts(kind: str) -> Sequence[bytes]:
    """Return what a machine printed: tests/data."""
    return tuple(path.read_bytes() for path in sorted((ROOT / "tests" / "data").glob(f"*.{kind}.txt")))
