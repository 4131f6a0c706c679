"""Self-test of what Relocscope stands on: each check runs the real engine on something small and known."""

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traces.trace import Trace

_IMAGE_BYTES = 64 << 10
_PACKAGES = ("asm", "caches", "emu", "traces")
_EXTRAS = {
    "cluster": ("distributed",),
    "statistics": ("scipy",),
    "notebook": ("matplotlib", "pandas"),
    "qiling": ("qiling",),
}
"""Modules of each extra of setup.cfg, but for `kallsyms`, which is a program."""
_ROUNDS = 1000
_LOOP = f"""
count:
    mov x3, #{_ROUNDS}
again:
    ldr x4, [x0]
    str x4, [x0, #8]
    subs x3, x3, #1
    b.ne again
    ret
"""
_CACHE_ADVICE = "set NUMBA_CACHE_DIR to a directory that can be written to"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what it is of, whether it passed, and what was seen."""

    name: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Run every check; one that raises has failed, and says how."""
    return [_attempt(name, check) for name, check in _CHECKS]


def _attempt(name: str, check: Callable[[], tuple[bool, str]]) -> Finding:
    try:
        ok, detail = check()
    except Exception as error:  # whatever an engine does here is the finding
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Finding(name, ok, detail)


def _packages() -> tuple[bool, str]:
    """Look whether another distribution's `asm` or `caches` stands before ours: the names are plain."""
    ours = Path(__file__).resolve().parent.parent
    strangers = []
    for name in _PACKAGES:
        found = Path(str(importlib.import_module(name).__file__)).resolve().parent.parent
        if found != ours:
            strangers.append(f"{name} from {found}")
    return not strangers, ", ".join(strangers) or f"all from {ours}"


def _engines() -> tuple[bool, str]:
    from relocscope.versions import components

    return True, ", ".join(f"{name} {version}" for name, version in components().items())


def _kept() -> tuple[bool, str]:
    """Look where Numba keeps what it compiles: without such a place it compiles anew in every process."""
    try:
        from caches.kernels.tape import replay
    except RuntimeError as error:  # Numba has no locator that suits
        return False, f"{' '.join(str(error).split())}; {_CACHE_ADVICE}"
    where = getattr(getattr(replay, "_cache", None), "cache_path", None)
    if where is None:  # with NUMBA_DISABLE_JIT=1 nothing is compiled
        return False, f"nothing is compiled, or it is not kept; unset NUMBA_DISABLE_JIT, and {_CACHE_ADVICE}"
    ok = os.access(where, os.W_OK)
    return ok, f"in {where}" if ok else f"{where} cannot be written to; {_CACHE_ADVICE}"


def _round_trip() -> tuple[bool, str]:
    from asm.assemble import assemble
    from asm.decode import decode

    source = "ldp x2, x3, [x21], #16\nstnp x2, x3, [x20]\ndc civac, x20\nmsr sctlr_el2, x0\nisb\n"
    texts = [insn.text for insn in decode(assemble(source, name="doctor").code, 0)]
    wanted = ["ldp", "stnp", "dc", "msr", "isb"]
    return [text.split()[0] for text in texts] == wanted, "; ".join(texts)


def _trace(name: str) -> "Trace":
    from relocscope.case import shipped_case
    from relocscope.emulate import emulate

    return emulate(replace(shipped_case(name), size_bytes=_IMAGE_BYTES))


def _reaches_el2() -> tuple[bool, str]:
    trace = _trace("v4.19-nvhe")
    entry = trace.meta["entry"] or {}
    return entry.get("el") == 2, f"booted at EL2, the new kernel is entered at EL{entry.get('el')} after hvc"


def _counts() -> tuple[bool, str]:
    from traces.check import check
    from traces.fold import copy_site

    trace = _trace("v5.17-nvhe")
    site = copy_site(trace)
    stored = site.stored_bytes if site else 0
    broken = check(trace)
    ok = stored == _IMAGE_BYTES and bool(trace.meta["image_ok"]) and not broken
    return ok, broken[0] if broken else f"{stored} bytes stored into the image of {_IMAGE_BYTES}, bytes correct"


def _hooks() -> tuple[bool, str]:
    """Run a loop whose instructions, loads and stores can be counted by hand."""
    from relocscope.bare_program import BareProgram
    from traces.fold import access_count, instruction_count

    with TemporaryDirectory(prefix="relocscope-doctor-") as directory:
        path = Path(directory) / "count.S"
        path.write_text(_LOOP, encoding="utf-8")
        trace = BareProgram(path=path, symbol="count", arguments=(1 << 30,), ram=((1 << 30, 4096),)).run()
    seen = instruction_count(trace), access_count(trace)
    wanted = 4 * _ROUNDS + 2, 2 * _ROUNDS
    return seen == wanted, f"{seen[0]} instructions of {wanted[0]}, {seen[1]} loads and stores of {wanted[1]}"


def _xn() -> tuple[bool, str]:
    fault = _trace("rfc-v2-nvhe").meta["fault"] or {}
    esr = int(fault.get("esr", 0))
    return esr == 0x8600_000F, f"first fetch from a leaf with bit 54 set at EL2: ESR_EL2 = {esr:#x}"


def _jit() -> tuple[bool, str]:
    """Replay a run: the cycle stack sums to the cycles."""
    import caches
    from traces.schema import LEAVES

    trace = _trace("v4.19-nvhe")
    outcome = caches.replay(trace, caches.core("stingray"))
    total = sum(outcome.cycle_stack.values())
    return total == outcome.cycles > 0 and len(outcome.cycle_stack) == len(LEAVES), (
        f"{outcome.instructions} instructions in {outcome.cycles} cycles, each with a cause"
    )


def _extras() -> tuple[bool, str]:
    """Say which extras are there; that one is missing is no failure."""
    there = {"kallsyms": shutil.which("vmlinux-to-elf") is not None} | {
        name: all(importlib.util.find_spec(module) for module in modules) for name, modules in _EXTRAS.items()
    }
    missing = [name for name, present in there.items() if not present]
    advice = f"; missing: pip install 'relocscope[{','.join(missing)}]'" if missing else ""
    return True, f"present: {', '.join(name for name in there if name not in missing) or 'none'}{advice}"


def _terminal() -> tuple[bool, str]:
    """Say what stdout is; `step` needs a terminal of 80x24, everything else does without."""
    if not sys.stdout.isatty():
        return True, f"stdout is none, {sys.stdout.encoding}"
    columns, lines = shutil.get_terminal_size()
    kind = os.environ.get("TERM", "unknown")
    small = "" if columns >= 80 and lines >= 24 else "; relocscope step needs 80x24"
    return True, f"{kind}, {columns}x{lines}, {sys.stdout.encoding}{small}"


_CHECKS: tuple[tuple[str, Callable[[], tuple[bool, str]]], ...] = (
    ("packages are ours", _packages),
    ("engines", _engines),
    ("compiled code is kept", _kept),
    ("Keystone and decoder agree", _round_trip),
    ("Unicorn reaches EL2", _reaches_el2),
    ("native capture counts right", _counts),
    ("hooks count right", _hooks),
    ("bit 54 is XN at EL2", _xn),
    ("compiled model", _jit),
    ("extras", _extras),
    ("terminal", _terminal),
)
