"""The data prefetcher: streams of lines, and what it asks for ahead of them."""

from numba.types import int64, void

from caches.kernels.calendars import buffer_start, has_spare, hold
from caches.kernels.codes import WB
from caches.kernels.hierarchy import fill_l1d, fill_l2, origin, read_l2, read_l3
from caches.kernels.layout import (
    AHEAD_L1,
    AHEAD_L2,
    CONFIDENCE,
    EXTENSION_WANTED,
    EXTENSION_WORDS,
    L1D,
    L2,
    LAST,
    MISS,
    PREFETCHED,
    PREFETCHES,
    STREAM_AGE,
    STRIDE,
)
from caches.kernels.sets import lookup
from caches.kernels.translation import translate_ahead, translation_row
from caches.state import MACHINE_TYPE
from caches.views import ask, inlined, outlined


@outlined(int64, MACHINE_TYPE, int64, int64)
def prefetch_l2(s, line, cycle):
    """Bring a line into L2 if a buffer is to spare; 0 if it had to be dropped."""
    if lookup(s, L2, line) != MISS:
        return 1
    if not has_spare(s, s["level_buffer_base"][L2], s["level_buffers"][L2], cycle, s["prefetch_spare"]):
        return 0
    buffer_start(s, s["level_buffer_base"][L2], s["level_buffers"][L2], cycle, s["dram_cycles"])
    slot = s["slot"]
    s["counters"][L2, PREFETCHES] += 1
    ready = read_l3(s, line, cycle, 0)
    hold(s, slot, cycle, ready)
    fill_l2(s, line, ready, origin(s) | PREFETCHED, cycle)
    return 1


@outlined(int64, MACHINE_TYPE, int64, int64)
def prefetch_l1(s, line, cycle):
    """Bring a line into L1D if a buffer is to spare; 0 if it had to be dropped."""
    if lookup(s, L1D, line) != MISS:
        return 1
    if not has_spare(s, s["level_buffer_base"][L1D], s["level_buffers"][L1D], cycle, 1):
        return 0
    if lookup(s, L2, line) == MISS and not has_spare(
        s, s["level_buffer_base"][L2], s["level_buffers"][L2], cycle, s["prefetch_spare"]
    ):
        return 0
    buffer_start(s, s["level_buffer_base"][L1D], s["level_buffers"][L1D], cycle, s["dram_cycles"])
    slot = s["slot"]
    s["counters"][L1D, PREFETCHES] += 1
    ready = read_l2(s, line, cycle, 0)
    hold(s, slot, cycle, ready)
    fill_l1d(s, line, ready, origin(s) | PREFETCHED, cycle)
    return 1


@inlined
def stream_target(s, line, physical, target, cycle):
    """Physical line of a prefetch target, or MISS where the prefetcher must not follow; clock.known: known when."""
    s["known"] = cycle
    if (target >> 6) == (line >> 6):
        return physical + target - line
    if s["prefetch_crosses"] == 0:
        return MISS
    if s["flat"] == 1:
        return target
    row = translation_row(s, (target >> 6) & 0xFFFFFFFFFFFFF)
    if row == MISS or s["translations"][row]["memory_type"] != WB:
        return MISS
    known = translate_ahead(s, target << 6, row, cycle)
    if known == MISS:
        return MISS
    s["known"] = known
    return (s["translations"][row]["pa"] >> 6) + (target & 63)


@inlined
def advance(s, at, line, physical, cycle):
    """Move a stream to `line`, and prefetch ahead of it once it has kept its stride often enough."""
    stride = line - s["streams"][at, LAST]
    s["tick"] += 1
    s["streams"][at, STREAM_AGE] = s["tick"]
    s["streams"][at, LAST] = line
    if stride != s["streams"][at, STRIDE]:
        s["streams"][at, STRIDE] = stride
        s["streams"][at, CONFIDENCE] = 1
        s["streams"][at, AHEAD_L1] = line
        s["streams"][at, AHEAD_L2] = line
    else:
        s["streams"][at, CONFIDENCE] += 1
    if s["streams"][at, CONFIDENCE] < s["train_lines"]:
        return
    stores = at >= s["stream_count"]
    run_ahead(s, at, AHEAD_L2, s["l2_lines"], line, physical, cycle)
    if not stores:
        run_ahead(s, at, AHEAD_L1, s["l1_lines"], line, physical, cycle)


@inlined
def run_ahead(s, at, column, distance, line, physical, cycle):
    """Ask for the lines between what was asked for and `distance` strides ahead, `degree` of them at most."""
    stride = s["streams"][at, STRIDE]
    ahead = s["streams"][at, column]
    if (ahead - line) * stride < 0:
        ahead = line
    limit = line + distance * stride
    for _ in range(s["degree"]):
        if ahead == limit or (limit - ahead) * stride < 0:
            break
        target = stream_target(s, line, physical, ahead + stride, cycle)
        if target == MISS:
            break
        known = s["known"]
        done = prefetch_l2(s, target, known) if column == AHEAD_L2 else prefetch_l1(s, target, known)
        if done == 0:
            break
        ahead += stride
    s["streams"][at, column] = ahead


@outlined(void, MACHINE_TYPE, int64, int64, int64, int64)
def prefetch_as_asked(s, is_store, line, physical, cycle):
    """Show a prefetcher from outside (caches.extensions) a line, and fetch what it wants: for loads also into L1D."""
    count = ask(s["prefetch_extension"], s["extension_words"], 0, line, is_store, EXTENSION_WORDS)
    for at in range(min(count, EXTENSION_WORDS - EXTENSION_WANTED)):
        target = stream_target(s, line, physical, s["extension_words"][EXTENSION_WANTED + at], cycle)
        if target != MISS:
            known = s["known"]
            if prefetch_l2(s, target, known) != 0 and is_store == 0:
                prefetch_l1(s, target, known)


@outlined(void, MACHINE_TYPE, int64, int64, int64, int64)
def train(s, first, line, physical, cycle):
    """Show the detector a line (by VA) that a load or store missed or first used; prefetch if it is sure.

    `first` is the first row of State.streams: loads and stores train apart. Regions, not program counters: eight
    accesses of one copy loop walk two streams.
    """
    count = s["stream_count"]
    reach = s["max_stride"]
    oldest = first
    if s["on_prefetch"] != 0 and s["prefetch_extension"] != 0:
        prefetch_as_asked(s, int64(first > 0), line, physical, cycle)
        return
    if s["on_prefetch"] == 0 or count == 0:
        return
    for at in range(first, first + count):
        if s["streams"][at, STREAM_AGE] > 0:
            delta = line - s["streams"][at, LAST]
            if delta == 0:
                return
            if -reach <= delta <= reach and (
                s["prefetch_crosses"] == 1 or (line >> 6) == (s["streams"][at, LAST] >> 6)
            ):
                advance(s, at, line, physical, cycle)
                return
        if s["streams"][at, STREAM_AGE] < s["streams"][oldest, STREAM_AGE]:
            oldest = at
    s["tick"] += 1
    s["streams"][oldest, LAST] = line
    s["streams"][oldest, STRIDE] = 0
    s["streams"][oldest, CONFIDENCE] = 0
    s["streams"][oldest, STREAM_AGE] = s["tick"]
