"""Names of code: which routine an address lies in, by the symbols of a trace. The assembler's own (.L...) are none."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from traces.trace import Trace
from traces.visible import visible

LARGEST_BYTES = 4096
"""Further from a symbol than this is not in it."""


class Names:
    """The symbols of a trace, by address."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        symbols = {visible(str(name)): int(at) for name, at in dict(meta.get("symbols") or {}).items()}
        self._sorted = sorted((at, name) for name, at in symbols.items() if not name.startswith(".L"))
        self._starts = [at for at, _ in self._sorted]

    def symbol(self, va: int) -> tuple[str, int]:
        """Return the nearest symbol at or below an address, and how far behind it that is; `?` and the VA for none."""
        at = bisect_right(self._starts, va) - 1
        if at < 0 or va - self._starts[at] >= LARGEST_BYTES:
            return "?", va
        return self._sorted[at][1], va - self._starts[at]

    def place(self, va: int) -> str:
        """Return `copy_line+0x14`, or the address where no symbol is near."""
        name, offset = self.symbol(va)
        if name == "?":
            return f"{va:#x}"
        return f"{name}+{offset:#x}" if offset else name


def insn_symbols(trace: Trace) -> list[str]:
    """Return for each row of Trace.insns the symbol that it lies in."""
    names = Names(trace.meta)
    return [names.symbol(int(va))[0] for va in trace.insns["va"]]


def insn_places(trace: Trace) -> list[str]:
    """Return the same with the offset."""
    names = Names(trace.meta)
    return [names.place(int(va)) for va in trace.insns["va"]]
