"""Targets: one row for each reader: how it is called, what valid input looks like, which words its format has."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from fuzz import edits, repairs, seeds


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of untrusted input. It may return anything and raise InputError; it may do nothing else (`attempt`)."""

    name: str
    modules: tuple[str, ...]
    """Whose statements are counted as reached or not (`fuzz.reached`)."""
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes], object]
    words: tuple[bytes, ...] = ()
    is_slow: bool = False
    """Some milliseconds an input: a bounded run takes a tenth of the inputs."""
    repair: Callable[[bytes], bytes] | None = None
    """Makes magic numbers, checksums and offsets right again, so that what else was damaged is looked at."""


def damaged(target: Target, seed: bytes, changes: Sequence[edits.Edit], pool: Sequence[bytes]) -> bytes:
    """Return a seed with those edits made, three of four of them repaired; `pool` is what is spliced in."""
    data = edits.apply(seed, changes, pool, target.words)
    if target.repair is not None and sum(change.value for change in changes) % 4:
        return target.repair(data)
    return data


@cache
def scratch() -> Path:
    """Return the directory where inputs become files: in memory where the system has such, gone at the end."""
    import atexit

    shared = Path("/dev/shm")
    inside = shared if os.access(shared, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="relocscope-fuzz-", dir=inside))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _on_file(read: Callable[[Path], object], name: str = "input") -> Callable[[bytes], object]:
    def called(data: bytes) -> object:
        path = scratch() / name
        path.write_bytes(data)
        return read(path)

    return called


# -- What is called ---------------------------------------------------------------------------------------------------


def _kernel(path: Path) -> object:
    from asm import kernel_image

    with mock.patch.object(kernel_image, "_KALLSYMS_COMMAND", ""):  # ten seconds a call, and another project's
        return kernel_image.import_kernel(path)


def _symbol(path: Path) -> object:
    from asm.kernel_image import import_symbol

    return import_symbol(path, "arm64_relocate_new_kernel")


def _program(path: Path) -> object:
    from asm.program import read_program

    return read_program(path)


def _ram(path: Path) -> object:
    from emu.ram_files import RamFile, open_ram

    memory = open_ram([RamFile(path)])
    return [memory.read(region.pa, min(region.size, 4096)) for region in memory.regions]


def _kallsyms(data: bytes) -> object:
    from asm.kernel_image import kallsyms_offsets

    return kallsyms_offsets(data.decode(errors="replace"))


def _case(path: Path) -> object:
    from relocscope.case import case_from_file

    return case_from_file(path)


def _core(path: Path) -> object:
    from caches.presets import load_core

    return load_core(path)


def _plan(path: Path) -> object:
    from itertools import islice

    from relocscope.sweeping.plan import plan_from_file

    return list(islice(plan_from_file(path).rows(), 64))


def _memory_map(path: Path) -> object:
    from emu.memory_map import memory_map_from_file

    return memory_map_from_file(path).allocatable()


def _segments(path: Path) -> object:
    from emu.memory_map import MemoryMap
    from emu.segments import check_segments, segments_from_file
    from emu.spans import Span

    load = segments_from_file(path)
    return check_segments("segments", load.segments, MemoryMap(ram=(Span(0, 1 << 44),)))


def _dmesg(path: Path) -> object:
    from relocscope.boot_log import boot_log_from_file

    return boot_log_from_file(path)


def _device_tree(path: Path) -> object:
    from emu.device_tree import device_tree_memory_from_file

    return device_tree_memory_from_file(path)


def _trace(path: Path) -> object:
    from traces.files import load, read_header

    read_header(path)
    return load(path)


def _trace_part(data: bytes) -> object:
    return _on_file(_trace, "input.trace")(seeds.in_container(data))


def _din(path: Path) -> object:
    from traces.exports.din_trace import trace_of_din

    return trace_of_din(path)


def _registers(path: Path) -> object:
    from emu.register_files import read_registers, under_vhe

    return under_vhe(read_registers(path))


def _tinymembench(path: Path) -> object:
    import caches
    from relocscope.calibration.files import tinymembench

    return tinymembench(str(path), caches.core("lx2160a"))


def _lmbench(path: Path) -> object:
    import caches
    from relocscope.calibration.files import lmbench

    return lmbench(str(path), caches.core("lx2160a"))


def _session_file(path: Path) -> object:
    from relocscope.stepping.saving import read

    return read(path)


def _store(data: bytes) -> object:
    from relocscope.sweeping.store import COMPUTED, Store

    store, key = Store(scratch() / "store"), "aa" * 32
    store.prepare()
    for folder in ("captures", "results/aa"):
        (store.directory / folder).mkdir(exist_ok=True)
        (store.directory / folder / f"{key}.json").write_bytes(data)
    (store.directory / COMPUTED).write_bytes(data)
    return store.capture(key), store.result(key), list(store.noted())


def _packets(data: bytes) -> object:
    from relocscope.gdb.packets import Decoder, escape, frame, unescape

    received = data + frame(data.replace(b"#", b"").replace(b"$", b""))  # the second one with its checksum right
    return [escape(unescape(each)) for each in Decoder().feed(received) if isinstance(each, bytes)]


@cache
def _session() -> Any:
    from relocscope.operand import operand, with_settings
    from relocscope.stepping.session import Session

    return Session(with_settings(operand("rfc-v1-nvhe"), {"size": "4KiB"}))


def _stub(data: bytes) -> object:
    from relocscope.gdb.stub import Stub
    from relocscope.stepping.control import Control

    _session().go(0)
    stub = Stub(Control(_session()))
    stub.begin()
    return [list(stub.answers(packet)) for packet in data.split(b"\n")[:8]]


def _options(data: bytes) -> object:
    from relocscope.gdb.server import address_of
    from relocscope.hypotheses.observation import observation
    from relocscope.operand import parse_setting
    from traces.errors import InputError
    from traces.sizes import parse_size

    text = data.decode(errors="surrogateescape")  # as Python hands over what a command line holds
    done: list[object] = []
    for reader in (observation, parse_setting, address_of, lambda each: parse_size(each, "--size")):
        try:
            done.append(reader(text))
        except InputError as error:
            if "\n" in text:  # a line break of the option's own is quoted or folded by the command line
                continue
            done.append(str(error).splitlines() == [str(error)])
    return done


# -- The table --------------------------------------------------------------------------------------------------------

_TOML = (b"[", b"]", b"[[", b"]]", b"{", b"}", b" = ", b'"', b"'''", b"\n", b"nan", b"inf", b"-inf", b"true", b"[]", b"{}",
         b"1979-05-27T07:32:00Z", b"07:32:00", b"1e400", b"-0.0", b"\x00", b"\xff", b'""', b"0x", b"9" * 30)  # fmt: skip
_JSON = (b"null", b"true", b"[]", b"{}", b"NaN", b"Infinity", b"1e999", b'""', b'"\\ud800"', b"[" * 3000, b"-1", b"1.5",
         b'"\\u0000"', b",", b":", b'"a"')  # fmt: skip
_SIZES = (b"KiB", b"MB", b"GiB", b"TiB", b"0x", b"_", b".", b"1.5", b"-")

TARGETS: tuple[Target, ...] = (
    Target(
        "kernel-image",
        ("asm.container", "asm.kernel_image", "asm.patterns"),
        seeds.images,
        _on_file(_kernel),
        (b"ARMd", b"zimg", b"\x1f\x8b\x08", b"gzip\0", b"lzma\0", b"Linux version 6.1", b"\x7fELF", b"\0" * 8,
         b"xz\0", b"zstd\0", b"lz4\0", b"lzo\0"),
        is_slow=True,
        repair=repairs.image,
    ),
    Target(
        "elf-kernel",
        ("asm.elf", "asm.kernel_image"),
        seeds.elf_files,
        _on_file(lambda path: (_symbol(path), _kernel(path))),
        (b"arm64_relocate_new_kernel\0", b"\0", b"$x\0", b"\xff" * 8, b"\x02\x01\x01"),
    ),
    Target(
        "elf-program", ("asm.elf", "asm.program"), seeds.program_files, _on_file(_program), (b"\xff" * 8, b"\0" * 8)
    ),
    Target(
        "assembly",
        ("asm.source", "asm.assemble", "asm.expression", "asm.program"),
        lambda: (seeds.ASSEMBLY,),
        _on_file(_program, "input.S"),
        (b".macro", b".endm", b".rept", b".endr", b".equ", b".balign", b".quad", b".word", b"\\@", b"\\from", b"ldr x0, =",
         b"#", b":lo12:", b"copy", b"<<", b"~", b"(", b")", b"/*", b"*/", b"//", b";", b"\t", b"v0.16b", b"[x0, #8]!",
         b"mrs x0, ctr_el0", b"dc zva, x0", b"b.", b"tbz x0, #63, copy", b"adr x0, table"),
    ),
    Target("kallsyms", ("asm.kernel_image",), lambda: (seeds.KALLSYMS,), _kallsyms, (b"_text", b" T ", b"\n", b"ffff")),
    Target("ram-image", ("emu.ram_files", "asm.elf"), seeds.core_files, _on_file(_ram),
           (b"KDUMP   ", b"DISKDUMP", b"makedumpfile", b"\xff" * 8, b"\0\0\0\x40", b"\0" * 8)),
    Target("registers", ("emu.register_files",), lambda: (seeds.REGISTERS, seeds.MONITOR, seeds.REGISTERS_JSON),
           _on_file(_registers), (*_JSON, b"x0", b"pc", b"cpsr", b"=", b"0x", b"SCTLR", b"(/32)", b"_")),
    Target("device-tree", ("emu.device_tree",), seeds.device_trees, _on_file(_device_tree),
           (b"\0\0\0\1", b"\0\0\0\2", b"\0\0\0\3", b"\0\0\0\4", b"\0\0\0\x09", b"\xff\xff\xff\xff", b"reg\0", b"\0\0\0\0"), repair=repairs.device_tree),
    Target("iomem", ("emu.memory_map",), lambda: seeds.sample_texts("iomem"), _on_file(_memory_map),
           (b"System RAM", b"reserved", b"Kernel code", b"Kernel data", b" : ", b"  ", b"-", b"ffffffffffffffff",
            b"00000000-00000000", b"Crash kernel", b"\x1c")),
    Target("memory-map", ("emu.memory_map", "emu.inputs"), lambda: (seeds.MEMORY_MAP,), _on_file(_memory_map, "input.toml"),
           (*_TOML, *_SIZES, b"[[memory]]", b"kind", b"pa", b"size", b'"ram"', b'"no-access"', b'"kernel-data"')),
    Target("segments", ("emu.segments",), lambda: (seeds.SEGMENTS,), _on_file(_segments, "input.toml"),
           (*_TOML, *_SIZES, b"[[segment]]", b"name", b"pa", b"size", b"memsz", b"start")),
    Target("kexec-debug", ("emu.segments",),
           lambda: (*seeds.sample_texts("kexec-debug"), seeds.KEXEC_FILE, seeds.MACHINE_KEXEC), _on_file(_segments),
           (b"segment[0]", b"segment[1]", b"segment[9999999999]", b".mem", b".memsz", b".bufsz", b" = 0x", b"entry = ",
            b"flags = 0x1", b"initrd: base ", b"start:", b"type:1", b"\xd9\xa3")),
    Target("dmesg", ("relocscope.boot_log",), lambda: (seeds.DMESG,), _on_file(_dmesg),
           (b"Linux version ", b"started at EL1", b"order: 0", b"order: 99", b"0 pages/cpu", b"99-bit VAs", b"64k pages",
            b"inconsistent modes", b"0xffffffffffffffff", b"\xd9\xa3")),
    Target("case", ("relocscope.case",), lambda: (seeds.CASE, seeds.OWN_CASE), _on_file(_case, "input.toml"),
           (*_TOML, *_SIZES, b"base", b"size", b"boot", b"map.", b"[expect]", b"phases", b"kernel", b'"el1"', b"purgatory")),
    Target("core", ("caches.presets", "caches.values", "caches.config"), lambda: (seeds.CORE,), _on_file(_core, "input.toml"),
           (*_TOML, *_SIZES, b"value", b"source", b"estimated", b"why", b"[l1d]", b"ways", b"line_bytes", b"policy",
            b'"lru"', b'base = "input.toml"', b"[tlb]", b'base = "rpi4"', b"[window]", b"calibrated")),
    Target("plan", ("relocscope.sweeping.plan", "relocscope.sweeping.designs", "relocscope.sweeping.keys"),
           lambda: (seeds.PLAN,), _on_file(_plan, "input.toml"),
           (*_TOML, *_SIZES, b"..", b":x2", b":+64KiB", b":x1", b"a.", b"b.", b"latin-hypercube", b"sobol", b"core", b"l2.size",
            b"x0", b"count", b"[[points]]", b",")),
    Target("trace-file", ("traces.files",), seeds.traces, _on_file(_trace, "input.trace"),
           (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"header.json", b"\x93NUMPY\x01\x00", b"\xff" * 4), repair=repairs.zip_container),
    Target("trace-members", ("traces.files", "traces.check", "traces.expand", "traces.translated"), seeds.trace_parts,
           _trace_part, (*_JSON, b'"rows"', b'"meta"', b'"symbols"', b"'descr'", b"(1,)", b"True", b"\xff" * 8, b"\0" * 8),
           is_slow=True),
    Target("din", ("traces.exports.din", "traces.exports.din_trace"), lambda: (seeds.DIN, seeds.DIN_OTHER), _on_file(_din),
           (b"0 ", b"1 ", b"2 ", b"r ", b"\r\n", b"\n", b"ffffffffffffffff", b"0x", b"\t", b"\x1f\x8b", b"1001")),
    Target("tinymembench", ("relocscope.calibration.files",), lambda: (seeds.TINYMEMBENCH,), _on_file(_tinymembench),
           (b"tinymembench v0", b" MB/s", b" ns", b" : ", b"block size :", b"random read", b"nan", b"1e9", b"\xd9\xa3")),
    Target("lmbench", ("relocscope.calibration.files",), lambda: (seeds.LMBENCH,), _on_file(_lmbench),
           (b"lat_mem_rd -t", b"bw_mem", b"bcopy", b"stride=", b"Random load latency", b"1e300", b"e", b".")),
    Target("session-file", ("relocscope.stepping.saving", "relocscope.stepping.change"), seeds.sessions,
           _on_file(_session_file), (*_JSON, b'"changes"', b'"insn"', b'"pa"', b'"register"', b'"0x10"', b'"stops"')),
    Target("sweep-store", ("relocscope.sweeping.store",),
           lambda: (b'{"key": "%b", "trace": "%b", "result": {"cycles": 1}}' % (b"aa" * 32, b"bb" * 32),
                    b'{"key": "%b", "error": "no"}' % (b"aa" * 32)),
           _store, (*_JSON, b'"trace"', b'"key"', b'"result"', b'"error"', b"../", b"/etc/passwd", b"\\u0000")),
    Target("gdb-packets", ("relocscope.gdb.packets",), lambda: tuple(b"+$%b#%02x" % (each, sum(each) & 0xFF) for each in
           seeds.GDB), _packets, (b"$", b"#", b"}", b"*", b"\x03", b"+", b"-", b"#00")),
    Target("gdb-stub", ("relocscope.gdb.stub", "relocscope.gdb.memory", "relocscope.gdb.resuming"),
           lambda: (*seeds.GDB, b"\n".join(seeds.GDB[:8]), b"\n".join(seeds.GDB[8:15])), _stub,
           (b",", b":", b";", b"=", b"ffffffffffffffff", b"qRcmd,", b"Z0,", b"Z3,", b"z", b"M", b"X", b"P", b"p", b"vCont;", b"b"),
           is_slow=True),
    Target("options", ("relocscope.hypotheses.observation", "traces.sizes"), lambda: seeds.OPTIONS, _options,
           (*_SIZES, b"..", b"=", b":off", b":on", b"nan", b"inf", b"\xff", b"1e400", b"\xd9\xa3")),
)  # fmt: skip

BY_NAME = {target.name: target for target in TARGETS}
