"""What tinymembench's own way of measuring adds to its latency figures.

Its random reads of a size are repeated, each time in another part of a 64 MiB buffer that was cleared before, and the
best repetition counts (`latency_bench` of its main.c). The first read of each line goes to memory, unless a cache still
has it: from clearing the end of the buffer, or from parts of the sizes before. With ten million reads that is hardly
seen; sbc-bench asks the nuumio fork for a million, in three repetitions, and then it is a third of the figure for a
size that just fits a cache.

What the part displaces are other lines. A cache that does not give up the oldest first displaces some of the part's own
on the way, which are missed again. The last ones take longest: a cache that replaces at random and holds one strange
line in a set is rid of it after as many misses as it has ways.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caches.parts import CacheLevel

BUFFER_BYTES = 64 << 20
LINE_BYTES = 64
_SMALLEST_LOG2, _LARGEST_LOG2 = 10, 26
_MASK = 0xFFFF_FFFF
_STRETCH_BYTES = 1 << 16
_SETS, _SEED = 512, 1
"""Sets that `_missed_again` tries, and where its sequence begins: the mean is good to 2 %."""


def _random() -> Iterator[int]:
    """Yield what its rand32() yields, from the start of the process on."""
    seed = 0

    def upper_half() -> int:
        nonlocal seed
        seed = (seed * 1103515245 + 12345) & _MASK
        signed = seed - (1 << 32) if seed >> 31 else seed
        return (signed >> 16) & _MASK

    while True:
        upper = upper_half()
        yield ((upper << 16) + upper_half()) & _MASK


@cache
def parts_read(repeats: int) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
    """Which part of the buffer each repetition reads, by size: of the first ladder of a process, and of the second."""
    draw = _random()
    ladders: list[dict[int, tuple[int, ...]]] = []
    for _ in range(2):
        ladder = {}
        for log2 in range(_SMALLEST_LOG2, _LARGEST_LOG2 + 1):
            parts = BUFFER_BYTES >> log2
            ladder[1 << log2] = tuple(next(draw) % parts for _ in range(repeats))
        ladders.append(ladder)
    return ladders[0], ladders[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstReads:
    """The reads of a figure that were the first of their line."""

    share: float
    in_last_cache: float
    """Of those, the share whose lines the last cache still had, from clearing the buffer or from parts read before."""


def first_reads(size: int, *, reads: int, repeats: int, ladder: int, last: "CacheLevel") -> FirstReads:
    """Return what share of the reads it was, in the best repetition.

    `ladder` is 0 for the process's first (4 KiB pages) and 1 for the second; `last` is the last cache.
    """
    parts = parts_read(repeats)[ladder][size]
    if size <= last.size and any(part == before for before, part in pairwise(parts)):
        return FirstReads(share=0.0, in_last_cache=1.0)
    lines = size // LINE_BYTES
    share = lines * -math.expm1(-reads / lines) / reads
    held = held_before(repeats, last.size, oldest_first=not _forgets(last))
    return FirstReads(share=share, in_last_cache=max(held[ladder][size]))


def _forgets(level: "CacheLevel") -> bool:
    """Whether the level may give up a line that is not its oldest."""
    from caches.parts import Replacement

    return level.replacement in (Replacement.RANDOM, Replacement.TREE_PLRU)


@cache
def held_before(repeats: int, cached_bytes: int, *, oldest_first: bool) -> tuple[dict[int, tuple[float, ...]], ...]:
    """Which share of its part each repetition finds in the last cache, by ladder and size.

    What was touched before `newer` other bytes is held if these fit; where the oldest does not go first, with the
    probability that random replacement leaves. In stretches of _STRETCH_BYTES; smaller parts are left out.
    """
    ladders = []
    for ladder in parts_read(repeats):
        oldest = list(range(BUFFER_BYTES // _STRETCH_BYTES))  # cleared in order
        found = {}
        for size, parts in ladder.items():
            count = size // _STRETCH_BYTES
            shares = []
            for part in parts if count else ():
                held = 0.0
                for rank, stretch in enumerate(reversed(oldest)):
                    newer = rank * _STRETCH_BYTES
                    if stretch // count == part:
                        held += newer < cached_bytes if oldest_first else math.exp(-newer / cached_bytes)
                shares.append(held / count)
                others = [each for each in oldest if each // count != part]
                oldest = others + list(range(part * count, (part + 1) * count))
            found[size] = tuple(shares)
        ladders.append(found)
    return tuple(ladders)


def again_reads(size: int, level: "CacheLevel", *, reads: int) -> float:
    """Return the share of reads that miss in that level although their line was read before.

    The level begins full of other lines, and the part has the same number of lines in every set, as contiguous memory
    has. An exclusive level is taken to keep what it gives up to the one above. 0 where the part does not fit, or the
    oldest line goes first.
    """
    from caches.parts import Replacement

    wanted = size // LINE_BYTES // level.sets
    if not 0 < wanted <= level.ways or not _forgets(level):
        return 0.0
    tree = level.replacement == Replacement.TREE_PLRU
    return _missed_again(wanted, level.ways, tree, reads // level.sets) * level.sets / reads


@cache
def _missed_again(wanted: int, ways: int, tree: bool, reads: int) -> float:
    """Misses of a set beyond the first of each line, when `wanted` lines are read at random `reads` times."""
    import numpy as np

    random = np.random.default_rng(_SEED)
    sets = np.arange(_SETS)
    holds = np.full((_SETS, ways), -1)
    nodes = np.zeros((_SETS, ways), np.int64)
    levels = ways.bit_length() - 1
    seen = np.zeros((_SETS, wanted), bool)
    misses = 0
    for _ in range(reads):
        line = random.integers(wanted, size=_SETS)
        found = holds == line[:, None]
        hit = found.any(axis=1)
        misses += int((~hit).sum())
        way = np.where(hit, found.argmax(axis=1), random.integers(ways, size=_SETS))
        if tree:
            node = np.ones(_SETS, np.int64)
            for _ in range(levels):
                node = 2 * node + nodes[sets, node]
            way = np.where(hit, found.argmax(axis=1), node - ways)
            node = way + ways
            for _ in range(levels):
                nodes[sets, node >> 1] = 1 - (node & 1)
                node >>= 1
        holds[sets, way] = line
        seen[sets, line] = True
        if (holds >= 0).sum() == _SETS * wanted:
            break
    return (misses - int(seen.sum())) / _SETS
