"""Functional warming: what executions do to caches, TLBs and write streaming, in no time and without their pipeline.

The steps are those of the timed model, called line by line with the clock standing still; `caches.warming` switches
off what asks for buses and buffers. Instruction fetches are left out: a copy's code stays in L1I.
"""

from numba import njit

from caches.kernels.codes import DC_CIVAC, DC_CVAU, DC_IVAC, WB, WT
from caches.kernels.layout import DTLB, LIST_FULL
from caches.kernels.loads import load_cached
from caches.kernels.maintenance import clean_line
from caches.kernels.stores import store_cached
from caches.kernels.streaming import flush_merge
from caches.kernels.translation import translate
from caches.kernels.truth import observe_read, observe_write
from caches.views import inlined

# Columns of the touches of a block (caches.warming makes them): a load, a store or maintenance of neighbouring bytes.
SLOT, OFFSET, SIZE, KIND, HINT = 0, 1, 2, 3, 4
TOUCH_COLUMNS = 5
LOADED, STORED = 0, 1  # other kinds are `traces.schema.Maintenance` + MAINTAINED
MAINTAINED = 2


@inlined
def maintain_line(s, kind, line, now):
    """DC by VA, as maintenance.maintain_address does it."""
    if s["merging"] > 0:
        flush_merge(s, line, now)
    keep = 1
    if kind == DC_IVAC and s["ivac_cleans"] == 0 and s["stage2"] == 0:
        keep = 0
    clean_line(s, line, now, kind == DC_CVAU, kind in (DC_IVAC, DC_CIVAC), keep)


@inlined
def touch_line(s, touches, at, va, until, now):
    """One touch, as far as it lies in one line."""
    translate(s, va, now, DTLB)
    line = s["pa"] >> 6
    kind = touches[at, KIND]
    cached = s["type"] == WB or (s["type"] == WT and s["wt_is_nc"] == 0)
    s["segments"] = 0
    if kind >= MAINTAINED:
        maintain_line(s, kind - MAINTAINED, line, now)
    elif kind == LOADED and cached:
        load_cached(s, va, line, now)
    elif kind == LOADED:
        observe_read(s, line)
    elif cached:
        store_cached(s, va, line, until - va, touches[at, HINT], now)
    else:
        observe_write(s, line)


@njit(cache=True, error_model="numpy")
def warm(s, touches, firsts, count):
    """Carry out the touches of `count` executions; returns how many were. No mark may lie among them.

    `firsts[block]` is the block's first row of `touches`. Stops early when the lists of stale and lost lines must be
    emptied, or with clock.failure set.
    """
    value = 0
    now = s["retire"]
    for execution in range(count):
        block = s["executions"][execution]
        for at in range(firsts[block], firsts[block + 1]):
            va = s["values"][value + touches[at, SLOT]] + touches[at, OFFSET]
            end = va + touches[at, SIZE]
            while va < end:
                until = min(end, ((va >> 6) + 1) << 6)
                touch_line(s, touches, at, va, until, now)
                va = until
        value += s["blocks"][block, 2]
        if s["failure"] != 0 or max(s["stale_count"], s["lost_count"]) > LIST_FULL:
            return execution + 1
    return count
