"""What tinymembench's own way of measuring adds to its latency figures.

Its random reads of a size are repeated, each time in another part of a 64 MiB buffer that was cleared before, and the
best repetition counts (`latency_bench` of its main.c). Unless a repetition happens on lines that are still cached, the
first read of each line goes to memory. With ten million reads that is hardly seen; sbc-bench asks the nuumio fork for a
million, in three repetitions, and then it is a third of the figure for a size that just fits a cache.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

BUFFER_BYTES = 64 << 20
LINE_BYTES = 64
_SMALLEST_LOG2, _LARGEST_LOG2 = 10, 26
_MASK = 0xFFFF_FFFF


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
    in_last_cache: bool
    """Clearing the buffer had left their lines in the last cache; else they came from memory."""


def first_reads(size: int, *, reads: int, repeats: int, ladder: int, cached_bytes: int) -> FirstReads:
    """Return what share of the reads it was, in the best repetition.

    `ladder` is 0 for the process's first (4 KiB pages) and 1 for the second; `cached_bytes` what the last cache holds.
    """
    parts = parts_read(repeats)[ladder][size]
    lines = size // LINE_BYTES
    share = lines * -math.expm1(-reads / lines) / reads
    tail = -(-(BUFFER_BYTES - cached_bytes) // size)
    cleared_last = False
    for number, part in enumerate(parts):
        if number > 0 and part == parts[number - 1] and size <= cached_bytes:
            return FirstReads(share=0.0, in_last_cache=True)
        cleared_last |= size <= cached_bytes and part >= tail and 2 * number * size < cached_bytes
    return FirstReads(share=share, in_last_cache=cleared_last)
