"""Hits of every LRU geometry of one level from one pass over what it is asked for, without replaying it."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from caches.kernels.stack_distances import AGAIN, DEPTH, find_depths, find_positions
from caches.line_stream import Ints, LineStream


def hits(stream: LineStream, sets: Sequence[int], workers: int | None = None) -> Ints:
    """Return the hits of every geometry: a row for each number of sets, a column for 1, 2, ... 32 ways."""

    def row(count: int) -> Ints:
        found = positions(stream, count)
        return np.cumsum(np.bincount(found[_asking(stream)], minlength=DEPTH + 1)[:DEPTH]) + stream.repeats

    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        return np.array(list(pool.map(row, sets)), np.int64).reshape(len(sets), DEPTH)


def hits_of_one_set(stream: LineStream) -> Ints:
    """Return the hits of a fully associative level with 1, 2, ... lines, up to where more change nothing."""
    accesses = int(np.maximum(1, -stream.kinds).sum())
    found = np.full(len(stream.lines), -1, np.int64)
    when = np.full(int(stream.lines.max(initial=0)) + 1, -1, np.int64)
    tree, holes = np.zeros(accesses + 1, np.int64), np.zeros(accesses + 1, np.int64)
    find_depths(stream.lines, stream.kinds, when, tree, holes, found)
    asked = found[_asking(stream)]
    counts: Ints = np.cumsum(np.bincount(asked[asked >= 0], minlength=1)) + stream.repeats
    return counts


def positions(stream: LineStream, sets: int) -> Ints:
    """Return how many lines of its set were used since each event's own, DEPTH where there are as many or it is new."""
    found = np.full(len(stream.lines), DEPTH, np.int64)
    stacks, words = np.zeros((sets, DEPTH), np.int32), np.zeros((sets, 3), np.int64)
    find_positions(stream.places, stream.lines, stream.kinds, stacks, words, found)
    return found


def _asking(stream: LineStream) -> "np.typing.NDArray[np.bool_]":
    asking: np.typing.NDArray[np.bool_] = (stream.kinds == AGAIN) & stream.counted
    return asking
