"""A bug planted deep in a reader, behind a condition that no seed meets, is found within the bounded run."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from fuzz.drawn import run
from fuzz.targets import BY_NAME

INPUTS = 10_000

PLANTED: dict[str, tuple[str, str, Callable[..., bool]]] = {
    "kernel-image": ("asm.kernel_image", "_Search.relocate_routine", lambda self, site, protocol:
                     len(site.kimage_offsets) > 3 and "dtb" not in site.kimage_offsets),
    "elf-kernel": ("asm.elf", "Elf._section_bytes", lambda self, number: number > 100),
    "elf-program": ("asm.elf", "_load_segments", lambda path, data: data[40] != 0),
    "assembly": ("asm.source", "Source._repeat", lambda self, line, operands, body, depth: depth > 0),
    "kallsyms": ("asm.kernel_image", "kallsyms_offsets", lambda text: "_text _text" in text or text.count("_text") > 2),
    "ram-image": ("emu.ram_files", "_check", lambda path, segment: segment.file_bytes == 0),
    "registers": ("emu.register_files", "_register", lambda name: len(name) == 1),
    "device-tree": ("emu.device_tree", "_property", lambda node, *_: node.path.count("/") > 2),
    "iomem": ("emu.memory_map", "_whole_pages", lambda first, last, **_: last >> 40),
    "memory-map": ("emu.memory_map", "checked_span", lambda where, pa, size: size > 1 << 40),
    "segments": ("emu.segments", "_segment", lambda where, number, table: table.get("name") == ""),
    "kexec-debug": ("emu.segments", "_named_segments", lambda where, found, bases, start: start is None),
    "dmesg": ("relocscope.boot_log", "_boot", lambda text, el: el == "1"),
    "case": ("relocscope.case", "_whole", lambda value, where: isinstance(value, str) and value.count("_") == 1),
    "core": ("caches.presets", "_covers", lambda span, value, _: value == 100 and isinstance(span, list) and 0 in span),
    "plan": ("relocscope.sweeping.designs", "_spanned", lambda name, text, kind: ":x" in text and ":x2" not in text),
    "trace-file": ("traces.files", "check", lambda trace: (trace.insns["pa"] >> 52).any()),
    "trace-members": ("traces.files", "_prefix", lambda where, stream: stream.peek(1)[:1] != b"\x93"),
    "din": ("traces.exports.din_trace", "_instructions", lambda table, va: (table["pa"] > 1 << 60).any()),
    "tinymembench": ("relocscope.calibration.files", "_number", lambda text, where: "n" in text),
    "lmbench": ("relocscope.calibration.files", "_random_read", lambda size, *_: size > 1 << 40),
    "session-file": ("relocscope.stepping.saving", "change_of", lambda facts: not {"pa", "register"} & set(facts)),
    "sweep-store": ("relocscope.sweeping.store", "_read", lambda path, key, *_: b"null" in path.read_bytes()),
    "gdb-packets": ("relocscope.gdb.packets", "unescape", lambda data: b"}" in data),
    "gdb-stub": ("relocscope.gdb.resuming", "_go_on_from", lambda session, pc: pc is not None and pc >> 63),
    "options": ("relocscope.hypotheses.observation", "_seconds", lambda text, where: not text.strip("0.")),
}  # fmt: skip


def planted(monkeypatch: pytest.MonkeyPatch, where: tuple[str, str, Callable[..., bool]], *, loops: bool) -> None:
    module, name, rare = where
    owner: Any = importlib.import_module(module)
    *classes, function = name.split(".")
    for each in classes:
        owner = getattr(owner, each)
    whole = getattr(owner, function)

    def broken(*args: Any, **named: Any) -> Any:
        if rare(*args, **named):
            while loops:
                pass
            raise ZeroDivisionError("planted")
        return whole(*args, **named)

    monkeypatch.setattr(owner, function, broken)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch):
    for data in BY_NAME[name].seeds():
        BY_NAME[name].read(data)
    planted(monkeypatch, PLANTED[name], loops=False)
    for data in BY_NAME[name].seeds():
        BY_NAME[name].read(data)  # rare: no seed meets it
    assert "planted" in next(run(BY_NAME[name], INPUTS, 1)).what


@pytest.mark.slow
@pytest.mark.parametrize("name", ["device-tree", "din"])
def test_a_planted_loop_is_found(name: str, monkeypatch: pytest.MonkeyPatch):
    planted(monkeypatch, PLANTED[name], loops=True)
    assert "took more than" in next(run(BY_NAME[name], INPUTS, 1)).what
