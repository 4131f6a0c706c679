"""Extensions: a replacement policy or a prefetcher of one's own, as a Python function that Numba compiles.

    @replacement
    def not_most_recent(event, ages, way): ...

    core = caches.core("rpi4").extended(l2=not_most_recent)

The functions see whole numbers alone, may keep state only in what they are given, and must give the same answer to
the same history: replays are compared. docs/extending.md has a complete example of each.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numba import carray, cfunc, njit, types
from numba import config as numba_config

from caches.kernels.layout import EXTENSION_WANTED
from caches.views import CALLED
from traces.errors import InputError

USED, FILLED, CHOOSE = 0, 1, 2
"""What a replacement policy is told: a way was used; a way was filled; a way is to be chosen, all being in use."""

_SIGNATURE = types.int64(types.CPointer(types.int64), types.int64, types.int64, types.int64)


@dataclass(frozen=True, eq=False)
class Extension:
    """A function of one's own, compiled when it is first used."""

    function: Callable[..., int]
    kind: str
    """`replacement` or `prefetcher`."""
    _compiled: list[Any] = field(default_factory=list)

    @property
    def address(self) -> int:
        """What the kernels call. Raises InputError for a function that Numba cannot compile."""
        if not self._compiled:
            self._compiled.append(_callable(self.function, self.kind))
        called = self._compiled[0]
        return id(called) if numba_config.DISABLE_JIT else int(called.address)


def replacement(function: Callable[..., int]) -> Extension:
    """Make a replacement policy of `function(event, ages, way) -> int`.

    `ages` has a word for each way of one set, the policy's own, zero at the start. `event` is USED or FILLED, `way`
    says which, and the result is ignored; or it is CHOOSE, and the result is the way to give up.
    """
    return Extension(function, "replacement")


def prefetcher(function: Callable[..., int]) -> Extension:
    """Make a prefetcher of `function(memory, line, is_store, wanted) -> int`.

    It is told each line (VA / 64) that a load or store missed or first used, writes the lines that it wants into
    `wanted` (16 words) and returns how many. `memory` has 64 words of its own, zero at the start. Lines of another page
    are fetched where the core's prefetcher crosses pages.
    """
    return Extension(function, "prefetcher")


def _callable(function: Callable[..., int], kind: str) -> Any:
    wrap = _policy if kind == "replacement" else _prefetcher
    if numba_config.DISABLE_JIT:
        called = wrap(function, lambda row, size: row[:size])
        CALLED[id(called)] = called
        return called
    try:
        return cfunc(_SIGNATURE)(wrap(njit(function), njit(lambda row, size: carray(row, (size,)))))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{kind} {function.__name__}: cannot be compiled: {reason}") from None


def _policy(function: Any, view: Any) -> Callable[..., int]:
    def called(row: Any, event: int, way: int, ways: int) -> int:
        return function(event, view(row, ways), way)  # type: ignore[no-any-return]

    return called


def _prefetcher(function: Any, view: Any) -> Callable[..., int]:
    def called(row: Any, line: int, is_store: int, size: int) -> int:
        words = view(row, size)
        return function(words[:EXTENSION_WANTED], line, is_store, words[EXTENSION_WANTED:])  # type: ignore[no-any-return]

    return called
