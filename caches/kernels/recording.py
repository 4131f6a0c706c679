"""What a level is asked for, written down while a replay runs: a replacement policy that only watches.

The level has one line that is ever replaced, so that each access to it is told as a use of way 0 or as a fill of it;
the age of way 1 says where to write.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, config, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from caches.kernels.layout import ACCESSES, DIRTY, FLAG_BITS, ROW_MAINTENANCE
from caches.views import CALLED, Layout, RecordType, TableType, record

NOTEBOOK = np.dtype([(name, "<i8") for name in ("count", "capacity", "last", "tags", "counters", "lines", "after")])
_MEMBERS = {
    "tags": TableType("tags", 1),
    "counters": TableType("counters", 8),
    "lines": TableType("noted_lines", 1),
    "after": TableType("noted_after", 1),
}
NOTEBOOK_TYPE = RecordType(Layout("Notebook", NOTEBOOK, _MEMBERS))

WRITTEN = 1
"""Low bit of a noted line: given up by the level above, not asked for."""

_USED, _FILLED = 0, 1

_BOOKS: dict[int, Any] = {}

if config.DISABLE_JIT:

    def _notebook(row: Any) -> Any:
        return _BOOKS[int(row[1])]

else:

    @intrinsic
    def _notebook(_typing: Any, row: Any) -> Any:
        """Return the notebook whose address the second word of a row is."""

        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            word = builder.load(builder.gep(arguments[0], [ir.Constant(ir.IntType(64), 1)]))
            return builder.inttoptr(word, ir.IntType(64).as_pointer())

        return signature(NOTEBOOK_TYPE, row), generate


def _note(row: Any, event: int, _way: int, _ways: int) -> int:
    """Write down the line in way 0, after how many maintenance operations; a line again and again counts once."""
    if event in (_USED, _FILLED):
        book = _notebook(row)
        word = book["tags"][0]
        # What it gives up in its turn is nobody's concern.
        book["tags"][0] = word & ~DIRTY
        after = book["counters"][ROW_MAINTENANCE, ACCESSES]
        line = (word >> FLAG_BITS) - 1
        at = book["count"]
        if at > 0 and book["last"] == line and book["after"][at - 1] == after:
            return 0
        book["last"] = line
        if at < book["capacity"]:
            book["lines"][at] = (line << 1) | (word & DIRTY)
            book["after"][at] = after
        book["count"] = at + 1
    return 0


def open_book(words: Any, members: dict[str, Any]) -> int:
    """Return what the age of way 1 has to be for notes to go there; whoever opens it keeps the arrays alive."""
    if config.DISABLE_JIT:
        _BOOKS[id(words)] = record(words, NOTEBOOK_TYPE, members)
        return id(words)
    return int(record(words, NOTEBOOK_TYPE, members).address)


def watching() -> Any:
    """Return the policy, compiled where anything is: what has an address, or what stands for one."""
    if config.DISABLE_JIT:
        CALLED[id(_note)] = _note
        return _note
    kind = types.int64(types.CPointer(types.int64), types.int64, types.int64, types.int64)
    return cfunc(kind, cache=True, error_model="numpy")(_note)
