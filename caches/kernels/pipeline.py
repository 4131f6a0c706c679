"""One instruction from fetch to retirement: window, operands, ports, execution, branches."""

from caches.kernels.barriers import barrier
from caches.kernels.billing import charge, segment
from caches.kernels.calendars import reserve_port
from caches.kernels.codes import (
    B_COND,
    B_INDIRECT,
    CLS_BARRIER,
    CLS_ERET,
    CLS_MAINTENANCE,
    LOAD,
    LOAD_STORE,
    SYSTEM_WRITE,
    WB,
    ZERO,
)
from caches.kernels.fetch import fetch, redirect
from caches.kernels.layout import ACCESSES, BASE, BRANCH, DTLB, EXCEPTION, HITS, MISS, MISSES, ROW_BRANCH
from caches.kernels.loads import load
from caches.kernels.maintenance import maintain
from caches.kernels.prefetch import prefetch_l1
from caches.kernels.stores import store
from caches.kernels.translation import translate
from caches.views import inlined


@inlined
def dispatch(s, op, fetched):
    """Place the instruction in the window: in order, `dispatch_width` a cycle, when the window has room."""
    cycle = max(fetched, s["dispatch"])
    if s["on_window"] == 1:
        cycle = max(cycle, s["retired"][(s["count"] - s["rob"]) & s["ring_mask"]])
    if s["block"] > cycle:
        cycle = s["block"]
        segment(s, cycle, s["block_leaf"])
    if s["in_order"] == 1:
        cycle = max(cycle, s["issued"])
    if op["uses_entry"] == 1:
        at = s["entry"] + 1
        if at >= s["store_entries"]:
            at = 0
        if s["entries"][at, 0] > cycle and s["on_store_buffer"] == 1:
            segment(s, cycle, BASE)
            cycle = s["entries"][at, 0]
            segment(s, cycle, s["entries"][at, 1])
    beside = s["in_cycle"] if cycle == s["dispatch"] else 0
    full = beside >= s["dispatch_width"]
    cycle += full
    s["in_cycle"] = 1 if full else beside + 1
    s["dispatch"] = cycle
    s["dispatched"][s["count"] & s["ring_mask"]] = cycle
    return cycle


@inlined
def operands_ready(s, op, cycle):
    """When the last source register is written."""
    registers = s["registers"]
    first = max(registers[op["src0"]], registers[op["src1"]])
    last = max(registers[op["src2"]], registers[op["src3"]])
    return max(cycle, first, last)


@inlined
def write_registers(s, op, done, address_done):
    """Note when the destinations are written; the base of a pre- or post-indexed access comes from an ALU, early."""
    registers = s["registers"]
    registers[op["dst0"]] = done
    registers[op["dst1"]] = done
    registers[op["dst2"]] = done
    registers[op["base"]] = address_done


@inlined
def execute(s, op, issue, va):
    """Carry out an instruction from its issue on; returns when it may retire."""
    if op["plain"] == 1:
        return issue + max(1, op["latency"] * s["on_latency"])
    cls = op["cls"]
    access = op["access"]
    if cls == CLS_BARRIER:
        return barrier(s, op, issue)
    if access in (LOAD, LOAD_STORE):
        return load(s, op, va, issue)
    if cls == SYSTEM_WRITE:
        begin = max(issue, s["retire"])
        segment(s, begin, BASE)
        if s["on_system"] == 0:
            return begin + 1
        s["block"] = begin + s["system_write"]
        s["block_leaf"] = BASE
        return begin + s["system_write"]
    known = translate(s, va, issue, DTLB)
    if s["type"] == WB and s["on_cacheable"] == 1:
        prefetch_l1(s, s["pa"] >> 6, known)
    return issue + 1


@inlined
def branch(s, op, row, issue, next_va):
    """Resolve the branch that ended a block; a wrong prediction makes fetch begin anew."""
    resolved = issue + 1
    in_order = s["branch_in_order"] == 1 and s["stage1"] == 0 and s["on_branch_order"] == 1
    if in_order:
        resolved = max(resolved, s["branch_resolved"])
    s["branch_resolved"] = max(s["branch_resolved"], resolved)
    taken = next_va != op["va"] + 4
    right = True
    cls = op["cls"]
    if cls == B_COND:
        counter = s["predictor"][row, 0]
        if counter < 0:
            # Not seen before: static prediction, backward taken, where there is one.
            counter = 0
            if op["backward"] == 1 and not in_order:
                counter = 2
        right = taken == (counter >= 2)
        if taken:
            s["predictor"][row, 0] = min(3, counter + 1)
        else:
            s["predictor"][row, 0] = max(0, counter - 1)
        if s["predictor"][row, 1] == 0 and taken:
            # A loop's first turn shows its direction; two-bit counters begin weakly.
            s["predictor"][row, 0] = max(2, s["predictor"][row, 0])
        s["predictor"][row, 1] = 1
    elif cls == B_INDIRECT and op["is_return"] == 0:
        right = s["predictor"][row, 1] == next_va
        s["predictor"][row, 1] = next_va
    s["counters"][ROW_BRANCH, ACCESSES] += 1
    if right:
        s["counters"][ROW_BRANCH, HITS] += 1
    else:
        s["counters"][ROW_BRANCH, MISSES] += 1
        if s["on_branch"] == 1:
            redirect(s, resolved + s["mispredict"], BRANCH)


@inlined
def step(s, op, row, va, next_va):
    """One instruction, from fetch to retirement. `next_va` is where the PE went after it, or MISS within a block."""
    s["segments"] = 0
    s["covered"] = s["retire"]
    fetched = fetch(s, op)
    cycle = dispatch(s, op, fetched)
    issue = operands_ready(s, op, cycle)
    if s["in_order"] == 1:
        issue = max(issue, s["issued"])
    if op["port_count"] > 0 and s["on_ports"] == 1:
        issue = reserve_port(s, op["port"], op["port_count"], issue, op["port_slots"])
    s["issued"] = issue
    if s["in_order"] == 1 and issue > s["dispatch"]:
        # What waited counts against the width of the cycle in which it goes.
        s["dispatch"] = issue
        s["in_cycle"] = 1
    if op["plain"] == 0:
        segment(s, issue, BASE)
    done = execute(s, op, issue, va)
    write_registers(s, op, done, issue + 1)
    now = charge(s, row, done)
    if op["uses_entry"] == 1:
        if op["cls"] == CLS_MAINTENANCE and op["access"] != ZERO:
            maintain(s, op, va, now)
        else:
            store(s, op, va, now)
    if op["cls"] == CLS_ERET and s["on_exception"] == 1:
        redirect(s, now + s["exception_cycles"], EXCEPTION)
    if next_va != MISS and op["is_branch"] == 1:
        branch(s, op, row, issue, next_va)
