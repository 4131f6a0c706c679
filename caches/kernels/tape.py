"""The tape of executions, with the marks between them; `replay` runs it."""

from numba import njit

from caches.kernels.codes import MARK_EPOCH, MARK_EXCEPTION, MARK_TRUNCATE, QUIET_CAUSE
from caches.kernels.fetch import redirect
from caches.kernels.layout import EXCEPTION, LIST_FULL, MISS
from caches.kernels.pipeline import step
from caches.views import inlined


@inlined
def enter_epoch(s, e):
    """Make a row of Trace.epochs the current regime."""
    s["epoch"] = e["row"]
    s["flat"] = e["flat"]
    s["flat_type"] = e["flat_type"]
    s["flat_fetch_type"] = e["flat_fetch_type"]
    s["walk_type"] = e["walk_type"]
    s["walk2_type"] = e["walk2_type"]
    s["stage1"] = e["stage1"]
    s["stage2"] = e["stage2"]
    s["regime"] = e["regime"]
    s["asid"] = e["asid"]
    s["asid_mask"] = e["asid_mask"]
    s["el1_named"] = e["el1_named"]
    s["vm_regime"] = e["vm_regime"]
    s["el2_regime"] = e["el2_regime"]
    if e["cause"] < QUIET_CAUSE:
        s["fetch_key"] = MISS


@inlined
def apply_marks(s, execution):
    """Act on what happened before that execution."""
    while s["mark"] < s["mark_count"] and s["marks"][s["mark"]]["at"] <= execution:
        mark = s["marks"][s["mark"]]
        if mark["kind"] == MARK_EPOCH:
            enter_epoch(s, s["epochs"][mark["a"]])
        elif mark["kind"] == MARK_EXCEPTION and s["on_exception"] == 1:
            redirect(s, s["retire"] + s["exception_cycles"], EXCEPTION)
        s["mark"] += 1


@inlined
def executed_count(s, execution, count):
    """How many instructions of a block ran: all, or what a TRUNCATE mark just after it says."""
    mark = s["mark"]
    while mark < s["mark_count"] and s["marks"][mark]["at"] <= execution + 1:
        if s["marks"][mark]["at"] == execution + 1 and s["marks"][mark]["kind"] == MARK_TRUNCATE:
            return min(count, s["marks"][mark]["a"])
        mark += 1
    return count


@inlined
def address_of(s, op, first):
    """Return the address that an instruction forms, or MISS without one."""
    if op["slot"] >= 0:
        return s["values"][first + op["slot"]] + op["offset"]
    if op["literal"] == 1:
        return op["va"] + op["offset"]
    return MISS


@njit(cache=True, error_model="numpy")
def replay(s, start, count):
    """Replay `count` executions, number `start` of the trace being the first; returns how many were replayed.

    Stops early when the lists of stale and lost lines must be emptied, or with clock.failure set.
    """
    value = 0
    for at in range(count):
        execution = start + at
        apply_marks(s, execution)
        while s["checkpoint"] < s["checkpoint_count"] and s["checkpoints"][s["checkpoint"]] <= execution:
            s["checkpoint_cycles"][s["checkpoint"]] = s["retire"]
            s["checkpoint"] += 1
        block = s["executions"][at]
        first = s["blocks"][block, 0]
        last = first + executed_count(s, execution, s["blocks"][block, 1]) - 1
        # The row after the last is a sentinel: -1 where the trace ends there.
        follower = s["executions"][at + 1]
        for row in range(first, last + 1):
            op = s["ops"][row]
            next_va = MISS
            if row == last and follower >= 0:
                next_va = s["ops"][s["blocks"][follower, 0]]["va"]
            step(s, op, row, address_of(s, op, value), next_va)
        value += s["blocks"][block, 2]
        if s["failure"] != 0 or max(s["stale_count"], s["lost_count"]) > LIST_FULL:
            return at + 1
    return count
