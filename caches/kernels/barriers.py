"""DSB, DMB, ISB and SB."""

from numba.types import int64

from caches.kernels.billing import segment
from caches.kernels.codes import DMB, DSB, ISB, SB
from caches.kernels.fetch import redirect
from caches.kernels.layout import BARRIER, BASE, DEVICE_STORE, MAINTENANCE, MISS, STORE_BUFFER
from caches.kernels.streaming import flush_merge
from caches.state import MACHINE_TYPE, OP_TYPE
from caches.views import inlined, outlined


@inlined
def data_barrier(s, cycle):
    """DSB: everything older is complete, maintenance and stores acknowledged; nothing younger executes before."""
    if s["merging"] > 0:
        flush_merge(s, MISS, cycle)
    s["gather_line"] = 0
    done = cycle
    if s["on_dsb"] == 1:
        waits = s["maintenance_done"]
        segment(s, waits, MAINTENANCE)
        segment(s, s["device_stored"], DEVICE_STORE)
        segment(s, s["stores_done"], STORE_BUFFER)
        done = max(cycle, waits, s["stores_done"]) + s["dsb_cycles"]
        segment(s, done, BARRIER)
    s["block"] = done
    s["block_leaf"] = BARRIER
    return done


@outlined(int64, MACHINE_TYPE, OP_TYPE, int64)
def barrier(s, op, cycle):
    """Execute DSB, DMB, ISB or SB; returns when it completes, and says what later instructions wait for."""
    kind = op["barrier"]
    cycle = max(cycle, s["retire"])
    segment(s, cycle, BASE)
    if kind == DSB:
        return data_barrier(s, cycle)
    if kind == DMB:
        if s["on_dmb"] == 0:
            return cycle
        if op["barrier_option"] & 3 != 1:
            s["memory_after"] = max(s["memory_after"], s["stores_done"])
        done = cycle + s["dmb_cycles"]
        segment(s, done, BARRIER)
        return done
    if kind in (ISB, SB):
        done = cycle + 1
        if s["on_isb"] == 1:
            done = cycle + s["isb_cycles"]
        segment(s, done, BARRIER)
        redirect(s, done, BARRIER)
        return done
    return cycle + 1
