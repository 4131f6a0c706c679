"""Pages that are passed by, not timed: what they leave behind in TLBs, L2 and L3, and of lines that were held before.

The steps are those of a replay, with what takes time switched off by the caller (`caches.warming`). L1D, the stream
detectors and DRAM's rows are left out: a few pages of replay put them right.
"""

from numba import njit

from caches.kernels.codes import DC_CIVAC, DC_CVAU, DC_IVAC, WB, WT
from caches.kernels.hierarchy import fill_l2, read_l2, read_l3
from caches.kernels.layout import DIRTY, DTLB, L2, LIST_FULL, MISS
from caches.kernels.maintenance import clean_line
from caches.kernels.prefetch import stream_target
from caches.kernels.sets import lookup
from caches.kernels.streaming import push_line
from caches.kernels.translation import translate
from caches.kernels.truth import observe_read, observe_write
from caches.views import inlined

# What an event does (caches.passed_lines has the same numbers), and its columns.
READ, WRITE = 0, 1
WORD, OFFSET, KIND, SIZE, MAINTENANCE, LOW = 0, 1, 2, 3, 4, 5
HELD_MASK = (1 << 20) - 1


@inlined
def read(s, line, cycle):
    """Load a line that L1D lacks. An exclusive L2 has it when L1D has given it up."""
    read_l2(s, line, cycle, 0)
    if s["level_inclusion"][L2] == 2:
        fill_l2(s, line, cycle, s["inherited"], cycle)


@inlined
def write(s, line, cycle):
    """Store a full line: pushed on where the core streams, else allocated and given up later."""
    if s["stream_l1"] > 0 and s["stream_lines"] >= s["stream_l1"]:
        push_line(s, line, cycle)
    else:
        read_l2(s, line, cycle, 0)
        index = lookup(s, L2, line)
        if index != MISS:
            s["tags"][index] |= DIRTY
        else:
            fill_l2(s, line, cycle, DIRTY, cycle)


@inlined
def maintain(s, line, maintenance, cycle):
    """Maintain a line by VA."""
    keep = 1
    if maintenance == DC_IVAC and s["ivac_cleans"] == 0 and s["stage2"] == 0:
        keep = 0
    clean_line(s, line, cycle, maintenance == DC_CVAU, maintenance in (DC_IVAC, DC_CIVAC), keep)


@inlined
def read_ahead(s, va, pa, reach, cycle):
    """Bring the lines past the end of a page that a prefetcher is ahead by when the page has been read."""
    line = va >> 6
    for ahead in range(1, reach + 1):
        target = stream_target(s, line, pa >> 6, line + ahead, cycle)
        if target == MISS:
            return
        if lookup(s, L2, target) == MISS:
            read_l3(s, target, cycle, 0)
            fill_l2(s, target, cycle, s["inherited"], cycle)


@njit(cache=True, error_model="numpy")
def warm(s, events, words, pages, held, reach, cycle):
    """Carry out `pages` pages of `events` each, with `words` captured values a page; returns how many were.

    `held` says by the low bits of a line whether any level may hold one such: asked where data go past the caches.
    Stops before a page whose addresses lie otherwise in their lines than the events have it, or after one where the
    lists of stale and lost lines must be emptied or clock.failure is set.
    """
    count = events.shape[0]
    for page in range(pages):
        first = page * words
        for at in range(count):
            low = (s["values"][first + events[at, WORD]] + events[at, OFFSET]) & 63
            if low + events[at, SIZE] > 64 or (events[at, LOW] >= 0 and events[at, LOW] != low):
                return page
        last_page = MISS
        last_pa = 0
        kind = 0
        last_line = MISS
        for at in range(count):
            word = first + events[at, WORD]
            va = s["values"][word] + events[at, OFFSET]
            if va >> 12 != last_page:
                translate(s, va, cycle, DTLB)
                last_page = va >> 12
                last_pa = s["pa"] & ~4095
                kind = s["type"]
            pa = last_pa | (va & 4095)
            line = pa >> 6
            what = events[at, KIND]
            if kind == WB or (kind == WT and s["wt_is_nc"] == 0):
                if what == READ:
                    read(s, line, cycle)
                    if reach > 0 and line & 63 == 63 and last_line == line - 1:
                        follows = MISS
                        if page + 1 < pages:
                            follows = s["values"][word + words] + events[at, OFFSET]
                        if follows >> 12 != last_page + 1:
                            read_ahead(s, va, pa, reach, cycle)
                    last_line = line
                elif what == WRITE:
                    write(s, line, cycle)
                else:
                    maintain(s, line, events[at, MAINTENANCE], cycle)
            elif held[line & HELD_MASK] == 1:
                if what == READ:
                    observe_read(s, line)
                elif what == WRITE:
                    observe_write(s, line)
                else:
                    maintain(s, line, events[at, MAINTENANCE], cycle)
        if s["failure"] != 0 or max(s["stale_count"], s["lost_count"]) > LIST_FULL:
            return page + 1
    return pages
