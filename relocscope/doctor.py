"""Self-test of what Relocscope stands on: each check runs the real engine on something small and known."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traces.trace import Trace

_IMAGE_BYTES = 64 << 10
_PACKAGES = ("asm", "caches", "emu", "traces")
_ENGINES = ("unicorn", "capstone", "keystone-engine", "numba", "numpy")


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
    from importlib.metadata import version

    return True, ", ".join(f"{name} {version(name)}" for name in _ENGINES)


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


def _xn() -> tuple[bool, str]:
    fault = _trace("rfc-v2-nvhe").meta["fault"] or {}
    esr = int(fault.get("esr", 0))
    return esr == 0x8600_000F, f"first fetch from a leaf with bit 54 set at EL2: ESR_EL2 = {esr:#x}"


def _jit() -> tuple[bool, str]:
    """Replay, and look where Numba keeps its code: without such a place it compiles anew in every process."""
    import caches
    from caches.kernels.tape import replay
    from traces.schema import LEAVES

    trace = _trace("v4.19-nvhe")
    outcome = caches.replay(trace, caches.core("stingray"))
    total = sum(outcome.cycle_stack.values())
    where = getattr(getattr(replay, "_cache", None), "cache_path", None)
    placed = where is None or Path(where).is_dir()
    return total == outcome.cycles > 0 and len(outcome.cycle_stack) == len(LEAVES) and placed, (
        f"{outcome.instructions} instructions in {outcome.cycles} cycles; compiled code is kept in {where}"
    )


_CHECKS: tuple[tuple[str, Callable[[], tuple[bool, str]]], ...] = (
    ("packages are ours", _packages),
    ("engines", _engines),
    ("Keystone and decoder agree", _round_trip),
    ("Unicorn reaches EL2", _reaches_el2),
    ("native capture counts right", _counts),
    ("bit 54 is XN at EL2", _xn),
    ("compiled model", _jit),
)
