# mypy: allow-untyped-defs, allow-untyped-calls
"""Every compiled step of the timing model; plain Python under NUMBA_DISABLE_JIT=1, with the same result.

Conventions. `s` is the machine, one record (state.MACHINE) whose members point to everything else (views.py). Times
are core cycles, all integers are int64. A line is pa >> 6. Functions that find something return its index or MISS;
functions that make something wait return the cycle at which it is done. Nothing here allocates, raises or knows a
tunable: numbers come from the machine, whose layout is part of the signature (Numba's disk cache does not see edits
of other files, so the constants live here, not in state.py). `inlined` steps are compiled into their callers,
`outlined` ones apart.

Order (DESIGN 3.9). Instructions are visited once, in program order, but their requests carry the cycle at which they
are ready. What is shared (ports, buses, miss buffers) is therefore a calendar or an interval, and a request that is
ready early takes a gap before one that was visited earlier and is ready late.
"""

from numba import njit
from numba.types import int64, void

from caches.state import MACHINE_TYPE, OP_TYPE
from caches.views import inlined, outlined
from traces.schema import Access, Barrier, EpochCause, InsnClass, Maintenance, Mark, MemoryType

MISS = -1

# Bits of `demand` in read_l2: counted as a demand access; of a fetch or a table walk, which an exclusive L2 keeps.
COUNTED, KEPT = 1, 2

# Levels, in the order of state.LEVEL_NAMES.
L1D, L2, L3, L1I = 0, 1, 2, 3
# TLBs, in the order of state.TLB_NAMES.
ITLB, DTLB, L2TLB = 0, 1, 2

# Calendars: one port group after another, then the levels, then the DRAM channels.
SLOTS_MASK = 4095
CALENDAR_ALU, CALENDAR_MULTI, CALENDAR_LOAD, CALENDAR_STORE, CALENDAR_VECTOR, CALENDAR_BRANCH = 0, 6, 8, 12, 16, 20
CALENDAR_L2, CALENDAR_L3, CALENDAR_DRAM = 22, 23, 24

# What is remembered of a line: bits of State.info. The leaf it came from is in bits 8..15, its queueing from 16 on.
DIRTY = 1
PREFETCHED = 2
OLD = 4  # dirty since before the run
STALE = 8  # memory was written past it
FLAGS = 15

# Columns of State.buffers (an interval reservation each).
BEGIN, END, PREVIOUS_END = 0, 1, 2

# Columns of State.tlb.
TAG, SHIFT, REGIME, ASID, TLB_AGE, TLB_READY = 0, 1, 2, 3, 4, 5

# Columns of State.streams.
LAST, STRIDE, CONFIDENCE, AHEAD_L1, AHEAD_L2, STREAM_AGE = 0, 1, 2, 3, 4, 5

# Rows and columns of State.counters (state.COUNTER_ROWS names the rows).
ROW_FETCH, ROW_BRANCH, ROW_ITLB, ROW_DTLB, ROW_L2TLB, ROW_WALK = 4, 5, 6, 7, 8, 9
ROW_DRAM, ROW_DEVICE, ROW_NC, ROW_STORE, ROW_MAINTENANCE = 10, 11, 12, 13, 14
ACCESSES, HITS, MISSES, EVICTIONS, WRITE_BACKS, PREFETCHES, PREFETCH_HITS, PREFETCH_UNUSED = 0, 1, 2, 3, 4, 5, 6, 7

# traces.schema.LEAVES by position (tests/caches compares).
BASE, BRANCH, FETCH, DEVICE_LOAD, DEVICE_STORE, LEAF_L1D, LEAF_L2, LEAF_L3 = 0, 1, 2, 3, 4, 5, 6, 7
DRAM_LATENCY, DRAM_BANDWIDTH, STORE_BUFFER, TLB_WALK, MAINTENANCE, BARRIER, EXCEPTION = 8, 9, 10, 11, 12, 13, 14

ALU, ALU_SHIFT, MUL, DIV = int(InsnClass.ALU), int(InsnClass.ALU_SHIFT), int(InsnClass.MUL), int(InsnClass.DIV)
B, B_COND, B_INDIRECT = int(InsnClass.BRANCH), int(InsnClass.BRANCH_CONDITIONAL), int(InsnClass.BRANCH_INDIRECT)
CLS_BARRIER, CLS_MAINTENANCE = int(InsnClass.BARRIER), int(InsnClass.MAINTENANCE)
SYSTEM_READ, SYSTEM_WRITE, CLS_ERET = int(InsnClass.SYSTEM_READ), int(InsnClass.SYSTEM_WRITE), int(InsnClass.ERET)
FP, SIMD, CRYPTO = int(InsnClass.FP), int(InsnClass.SIMD), int(InsnClass.CRYPTO)

LOAD, STORE, LOAD_STORE = int(Access.LOAD), int(Access.STORE), int(Access.LOAD_STORE)
ACCESS_PREFETCH, ZERO = int(Access.PREFETCH), int(Access.ZERO)

DSB, DMB, ISB, SB = int(Barrier.DSB), int(Barrier.DMB), int(Barrier.ISB), int(Barrier.SB)

DC_IVAC, DC_CVAC, DC_CVAU = int(Maintenance.DC_IVAC), int(Maintenance.DC_CVAC), int(Maintenance.DC_CVAU)
DC_CIVAC, DC_CVAP = int(Maintenance.DC_CIVAC), int(Maintenance.DC_CVAP)
DC_ISW, DC_CSW, DC_CISW = int(Maintenance.DC_ISW), int(Maintenance.DC_CSW), int(Maintenance.DC_CISW)
IC_IALLU, IC_IALLUIS, IC_IVAU = int(Maintenance.IC_IALLU), int(Maintenance.IC_IALLUIS), int(Maintenance.IC_IVAU)
TLBI_FIRST, TLBI_LAST = int(Maintenance.TLBI_VMALLE1), int(Maintenance.TLBI_OTHER)
TLBI_ALLE2, TLBI_ALLE2IS = int(Maintenance.TLBI_ALLE2), int(Maintenance.TLBI_ALLE2IS)
TLBI_ALLE1, TLBI_ALLE1IS = int(Maintenance.TLBI_ALLE1), int(Maintenance.TLBI_ALLE1IS)

NGNRE, NGRE, GRE, NC = (
    int(MemoryType.DEVICE_NGNRE),
    int(MemoryType.DEVICE_NGRE),
    int(MemoryType.DEVICE_GRE),
    int(MemoryType.NORMAL_NC),
)
WT, WB = int(MemoryType.NORMAL_WT), int(MemoryType.NORMAL_WB)

MARK_EPOCH, MARK_TRUNCATE, MARK_EXCEPTION = int(Mark.EPOCH), int(Mark.TRUNCATE), int(Mark.EXCEPTION)

# EpochCauses that leave the pipeline alone: the store that made them did not synchronise anything.
QUIET_CAUSE = int(EpochCause.TABLE_STORE)

FAILURE_NO_TRANSLATION = 1
# Rows of the lists of stale and lost lines at which a replay stops to have them emptied; one execution adds fewer
# than 8192.
LIST_ROWS = 65536
LIST_FULL = LIST_ROWS - 8192


# The row of State.buffers that is nobody's.
NOBODY = 1535


# --- Calendars and intervals -----------------------------------------------------------------------------------------


@inlined
def reserve(s, calendar, slot):
    """Take the first free slot at or after `slot`, and return it. `hint` spans slots known to be taken."""
    low = s["hint"][calendar, 0]
    high = s["hint"][calendar, 1]
    first = slot
    inside = low <= slot < high
    if inside:
        slot = high
    while s["calendar"][calendar, slot & SLOTS_MASK] == slot:
        slot += 1
    s["calendar"][calendar, slot & SLOTS_MASK] = slot
    if inside:
        s["hint"][calendar, 1] = slot + 1
    elif slot >= high:
        s["hint"][calendar, 0] = first
        s["hint"][calendar, 1] = slot + 1
    return slot


@inlined
def reserve_port(s, first, ports, cycle, slots):
    """Take `slots` cycles of the port of a group that is free soonest; return the first of them."""
    best = first
    if ports > 1:
        for port in range(first, first + ports):
            if s["calendar"][port, cycle & SLOTS_MASK] != cycle:
                best = port
                break
            if s["hint"][port, 1] < s["hint"][best, 1]:
                best = port
    begin = reserve(s, best, cycle)
    for _ in range(1, slots):
        reserve(s, best, begin + 1)
    return begin


@inlined
def buffer_start(s, base, count, cycle, length):
    """When a buffer of the group can take a request of `length` cycles; clock.slot says which. Reserves nothing."""
    best = base
    if s["on_miss_buffers"] == 0:
        s["slot"] = NOBODY
        return cycle
    best_start = s["buffers"][base, END]
    for slot in range(base, base + count):
        start = s["buffers"][slot, END]
        if cycle >= start or (
            cycle >= s["buffers"][slot, PREVIOUS_END] and cycle + length <= s["buffers"][slot, BEGIN]
        ):
            best = slot
            best_start = cycle
            break
        if start < best_start:
            best = slot
            best_start = start
    s["slot"] = best
    return best_start


@inlined
def hold(s, slot, start, finish):
    """Keep a buffer busy over [start, finish)."""
    if start >= s["buffers"][slot, END]:
        s["buffers"][slot, PREVIOUS_END] = s["buffers"][slot, END]
        s["buffers"][slot, BEGIN] = start
        s["buffers"][slot, END] = finish
    else:
        s["buffers"][slot, PREVIOUS_END] = finish


@inlined
def free_buffers(s, base, count, cycle):
    """How many buffers of the group are idle at that cycle."""
    free = 0
    for slot in range(base, base + count):
        if cycle >= s["buffers"][slot, END] or s["buffers"][slot, PREVIOUS_END] <= cycle < s["buffers"][slot, BEGIN]:
            free += 1
    return free


@inlined
def segment(s, until, leaf):
    """Say that up to that cycle the instruction at hand waited for `leaf`. `charge` bills what is exposed."""
    at = s["segments"]
    if at < 32:
        s["segment"][at, 0] = until
        s["segment"][at, 1] = leaf
        s["segments"] = at + 1


# --- Sets and ways ---------------------------------------------------------------------------------------------------


@inlined
def set_of(s, level, line):
    """Index of the line's set."""
    mask = s["level_set_mask"][level]
    if mask >= 0:
        return line & mask
    return line % s["level_sets"][level]


@inlined
def lookup(s, level, line):
    """Where the level holds the line, or MISS. Changes nothing."""
    ways = s["level_ways"][level]
    first = s["level_base"][level] + set_of(s, level, line) * ways
    for index in range(first, first + ways):
        if s["tags"][index] == line + 1:
            return index
    return MISS


@inlined
def touch(s, level, index):
    """Note a use of that way, as the level's replacement has it."""
    policy = s["level_replacement"][level]
    if policy == 0:
        s["tick"] += 1
        s["lines"][index]["age"] = s["tick"]
    elif policy == 3:
        point_away(s, level, index)
    elif policy == 4:
        s["lines"][index]["age"] = 0


@inlined
def point_away(s, level, index):
    """Turn the tree bits on the way's path towards the other ways. They live in the age of the set's first way."""
    ways = s["level_ways"][level]
    at = index - s["level_base"][level]
    way = at % ways
    first = index - way
    bits = s["lines"][first]["age"]
    node = 1
    half = ways >> 1
    while half > 0:
        right = (way // half) & 1
        if right == 1:
            bits &= ~(1 << node)
        else:
            bits |= 1 << node
        node = 2 * node + right
        half >>= 1
    s["lines"][first]["age"] = bits


@inlined
def pointed_way(s, first, ways):
    """Return the way that the tree bits of a set lead to."""
    bits = s["lines"][first]["age"]
    node = 1
    way = 0
    half = ways >> 1
    while half > 0:
        right = (bits >> node) & 1
        way += right * half
        node = 2 * node + right
        half >>= 1
    return way


@inlined
def draw(s):
    """Return the next of a seeded sequence (xorshift, 31 bits)."""
    x = s["random"]
    x ^= (x << 13) & 0x7FFFFFFF
    x ^= x >> 17
    x ^= (x << 5) & 0x7FFFFFFF
    s["random"] = x
    return x


@inlined
def victim(s, level, line):
    """Return the way that the line is to take: an invalid one, else as the replacement chooses."""
    ways = s["level_ways"][level]
    index = set_of(s, level, line)
    first = s["level_base"][level] + index * ways
    for at in range(first, first + ways):
        if s["tags"][at] == 0:
            return at
    policy = s["level_replacement"][level]
    if policy <= 1:
        oldest = first
        for at in range(first + 1, first + ways):
            if s["lines"][at]["age"] < s["lines"][oldest]["age"]:
                oldest = at
        return oldest
    if policy == 2:
        return first + draw(s) % ways
    if policy == 3:
        return first + pointed_way(s, first, ways)
    return most_distant(s, first, ways)


@inlined
def most_distant(s, first, ways):
    """SRRIP: the first way predicted to be used in the distant future, ageing the set until there is one."""
    while True:
        for at in range(first, first + ways):
            if s["lines"][at]["age"] >= 3:
                return at
        for at in range(first, first + ways):
            s["lines"][at]["age"] += 1


@inlined
def place(s, level, index, line, ready, info):
    """Write a line into a way that is free to take it."""
    s["changes"] += 1
    s["tags"][index] = line + 1
    s["lines"][index]["ready"] = ready
    s["lines"][index]["info"] = info
    policy = s["level_replacement"][level]
    if policy <= 1:
        s["tick"] += 1
        s["lines"][index]["age"] = s["tick"]
    elif policy == 3:
        point_away(s, level, index)
    elif policy == 4:
        s["lines"][index]["age"] = 2


@inlined
def remove(s, level, line):
    """Drop the line from the level; return its flags, or 0 if it was not there."""
    index = lookup(s, level, line)
    if index == MISS:
        return 0
    flags = s["lines"][index]["info"] & FLAGS
    s["tags"][index] = 0
    s["lines"][index]["age"] = 0
    return flags


@inlined
def count_eviction(s, level, flags):
    """Account for a valid line that had to go."""
    s["counters"][level, EVICTIONS] += 1
    if flags & DIRTY:
        s["counters"][level, WRITE_BACKS] += 1
    if flags & PREFETCHED:
        s["counters"][level, PREFETCH_UNUSED] += 1


@inlined
def report_stale(s, line):
    """Note that the run read old data of this line."""
    at = s["stale_count"]
    if at < LIST_ROWS and (at == 0 or s["stale"][at - 1] != line):
        s["stale"][at] = line
        s["stale_count"] = at + 1


@inlined
def report_lost(s, line):
    """Note that the newest data of this line were thrown away."""
    at = s["lost_count"]
    if at < LIST_ROWS and (at == 0 or s["lost"][at - 1] != line):
        s["lost"][at] = line
        s["lost_count"] = at + 1


# --- DRAM ------------------------------------------------------------------------------------------------------------


@inlined
def after_refresh(s, cycle):
    """Return the cycle, or the end of the refresh that it falls into."""
    if s["on_dram_refresh"] == 0 or s["refresh_interval"] == 0:
        return cycle
    # Half an interval off, so that a run does not begin with a refresh.
    phase = (cycle + (s["refresh_interval"] >> 1)) % s["refresh_interval"]
    if phase < s["refresh_cycles"]:
        return cycle + s["refresh_cycles"] - phase
    return cycle


@inlined
def channel_of(s, line):
    """DRAM channel of a line."""
    return (line >> s["interleave_lines_log2"]) % s["channels"]


@inlined
def bus_slot(s, line, cycle):
    """Move one line over its channel's data bus at or after that cycle; return the cycle it is through."""
    if s["on_dram_bandwidth"] == 0:
        return cycle
    calendar = CALENDAR_DRAM + channel_of(s, line)
    # Sixteenths of a cycle: a burst is rarely a whole number of core cycles.
    slot = reserve(s, calendar, (cycle * 16) // s["burst_sixteenths"])
    return max(cycle, (slot * s["burst_sixteenths"]) // 16)


@inlined
def row_latency(s, line, cycle):
    """Latency of a read by the state of its bank; opens the row. Leaves the waiting for the bank in clock.queue."""
    s["queue"] = 0
    latency = s["dram_cycles"]
    if s["on_dram_rows"] == 0:
        return latency - s["row_hit_saves"]
    local = (line >> s["interleave_lines_log2"]) // s["channels"]
    wide = (local << s["interleave_lines_log2"]) + (line & ((1 << s["interleave_lines_log2"]) - 1))
    row = wide >> s["row_lines_log2"]
    # Upper bits are folded in, as controllers do, so that power-of-two strides do not share one bank.
    bank = (row ^ (row >> 5) ^ (row >> 10)) & (s["bank_count"] - 1)
    at = channel_of(s, line) * s["bank_count"] + bank
    if s["banks"][at, 0] == row + 1:
        s["counters"][ROW_DRAM, HITS] += 1
        return latency - s["row_hit_saves"]
    s["counters"][ROW_DRAM, MISSES] += 1
    wait = 0
    if s["banks"][at, 1] <= cycle < s["banks"][at, 2]:
        wait = s["banks"][at, 2] - cycle
    if s["banks"][at, 0] != 0:
        latency += s["row_conflict_adds"]
    s["banks"][at, 0] = row + 1
    s["banks"][at, 1] = cycle + wait
    s["banks"][at, 2] = cycle + wait + s["bank_busy"]
    s["queue"] = wait
    return latency + wait


@inlined
def dram_read(s, line, cycle):
    """Read a line; return when it is there, and leave its leaf and its queueing in the clock."""
    s["counters"][ROW_DRAM, ACCESSES] += 1
    s["leaf"] = DRAM_LATENCY
    s["inherited"] = 0
    s["queue"] = 0
    if s["on_dram_latency"] == 0:
        return bus_slot(s, line, cycle)
    started = after_refresh(s, cycle)
    idle = started + row_latency(s, line, started)
    ready = bus_slot(s, line, idle)
    s["queue"] += ready - idle
    return ready


@inlined
def dram_write(s, line, cycle):
    """Hand a line to memory; return when the controller has it. Each batch of writes turns the bus round."""
    s["counters"][ROW_DRAM, WRITE_BACKS] += 1
    if s["on_dram_bandwidth"] == 0:
        return cycle
    s["writes"] += 1
    if s["on_dram_turnaround"] == 1 and s["writes"] % s["write_batch"] == 0:
        for _ in range(s["turnaround_slots"]):
            bus_slot(s, line, cycle)
    return bus_slot(s, line, cycle)


# --- L3, L2, L1D: filling and writing back ---------------------------------------------------------------------------


@inlined
def leave_l3(s, index, cycle):
    """Evict what L3 holds there."""
    line = s["tags"][index] - 1
    flags = s["lines"][index]["info"] & FLAGS
    if s["level_inclusion"][L3] == 1:
        flags |= remove(s, L1D, line) | remove(s, L2, line)
    count_eviction(s, L3, flags)
    if flags & DIRTY:
        if flags & STALE:
            report_lost(s, line)
        dram_write(s, line, cycle)


@inlined
def fill_l3(s, line, ready, info, cycle):
    """Place a line in L3."""
    index = victim(s, L3, line)
    if s["tags"][index] != 0:
        leave_l3(s, index, cycle)
    place(s, L3, index, line, ready, info)


@inlined
def write_l3(s, line, flags, cycle):
    """Take a line that L2 gives up or writes past itself; return when it is accepted."""
    if s["level_present"][L3] == 0:
        if flags & DIRTY:
            if flags & STALE:
                report_lost(s, line)
            return dram_write(s, line, cycle)
        return cycle
    index = lookup(s, L3, line)
    if index != MISS:
        s["lines"][index]["info"] |= flags & (DIRTY | OLD | STALE)
        touch(s, L3, index)
    elif flags & DIRTY or s["level_inclusion"][L3] == 2:
        fill_l3(s, line, cycle, flags & (DIRTY | OLD | STALE), cycle)
    return cycle


@inlined
def leave_l2(s, index, cycle):
    """Evict what L2 holds there, and the copy above if L2 is inclusive."""
    line = s["tags"][index] - 1
    flags = s["lines"][index]["info"] & FLAGS
    if s["level_inclusion"][L2] == 1:
        flags |= remove(s, L1D, line)
    count_eviction(s, L2, flags)
    if flags & DIRTY or s["level_inclusion"][L3] == 2:
        write_l3(s, line, flags, cycle)


@outlined(void, MACHINE_TYPE, int64, int64, int64, int64)
def fill_l2(s, line, ready, info, cycle):
    """Place a line in L2."""
    index = victim(s, L2, line)
    if s["tags"][index] != 0:
        leave_l2(s, index, cycle)
    place(s, L2, index, line, ready, info)


@inlined
def write_l2(s, line, flags, cycle):
    """Take a dirty line from L1D."""
    index = lookup(s, L2, line)
    if index != MISS:
        s["lines"][index]["info"] |= flags & (DIRTY | OLD | STALE)
        touch(s, L2, index)
    else:
        fill_l2(s, line, cycle, flags & (DIRTY | OLD | STALE), cycle)


@outlined(void, MACHINE_TYPE, int64, int64, int64, int64)
def fill_l1d(s, line, ready, info, cycle):
    """Place a line in L1D."""
    index = victim(s, L1D, line)
    if s["tags"][index] != 0:
        flags = s["lines"][index]["info"] & FLAGS
        old = s["tags"][index] - 1
        count_eviction(s, L1D, flags)
        if flags & DIRTY or s["level_inclusion"][L2] == 2:
            write_l2(s, old, flags, cycle)
    place(s, L1D, index, line, ready, info)


@inlined
def origin(s):
    """Leaf and queueing of the line that was just read, packed for State.info, with what its copy knew of staleness."""
    return (s["queue"] << 16) | (s["leaf"] << 8) | s["inherited"]


@inlined
def take_origin(s, index):
    """Put the origin of a line on its way into the clock; the inverse of `origin`."""
    info = s["lines"][index]["info"]
    s["leaf"] = (info >> 8) & 255
    s["queue"] = info >> 16
    s["inherited"] = info & STALE


@inlined
def use_prefetched(s, level, index):
    """Count the first use of a prefetched line."""
    if s["lines"][index]["info"] & PREFETCHED:
        s["lines"][index]["info"] &= ~PREFETCHED
        s["counters"][level, PREFETCH_HITS] += 1


@outlined(int64, MACHINE_TYPE, int64, int64, int64)
def read_l3(s, line, cycle, demand):
    """Read a line from L3 or behind; `cycle` is when L2 has missed."""
    if s["level_present"][L3] == 0:
        return dram_read(s, line, cycle)
    extra = (s["level_hit_cycles"][L3] - s["level_hit_cycles"][L2]) * s["on_l3"]
    start = cycle
    if s["on_l3"] == 1:
        start = max(cycle, reserve(s, CALENDAR_L3, cycle // s["level_interval"][L3]) * s["level_interval"][L3])
    index = lookup(s, L3, line)
    s["counters"][L3, ACCESSES] += demand
    if index != MISS:
        s["counters"][L3, HITS] += demand
        use_prefetched(s, L3, index)
        touch(s, L3, index)
        ready = start + extra
        if s["lines"][index]["ready"] > ready:
            ready = s["lines"][index]["ready"]
            take_origin(s, index)
        else:
            s["leaf"] = LEAF_L3
            s["queue"] = 0
        s["inherited"] = s["lines"][index]["info"] & STALE
        keeps = s["level_behind_poc"][L3] == 1 and s["lines"][index]["info"] & DIRTY != 0
        if s["level_inclusion"][L3] == 2 and not keeps:
            # Exclusive: the line moves up, and takes its dirtiness with it. Behind the PoC it must not: who cleaned it
            # to there relies on its staying clean above, and the system cache keeps it.
            s["inherited"] |= s["lines"][index]["info"] & (DIRTY | OLD)
            s["tags"][index] = 0
            s["lines"][index]["age"] = 0
        return ready
    s["counters"][L3, MISSES] += demand
    start = buffer_start(s, s["level_buffer_base"][L3], s["level_buffers"][L3], start, s["dram_cycles"])
    slot = s["slot"]
    ready = dram_read(s, line, start + extra)
    hold(s, slot, start, ready)
    if s["level_inclusion"][L3] != 2:
        fill_l3(s, line, ready, origin(s), start)
    return ready


@outlined(int64, MACHINE_TYPE, int64, int64, int64)
def read_l2(s, line, cycle, demand):
    """Read a line from L2 or behind; `cycle` is when L1 has missed. Leaf, queueing and staleness are in the clock.

    An exclusive L2 gives its line up to L1D, dirtiness and all, and is filled by L1D evictions, fetches and walks.
    """
    extra = (s["level_hit_cycles"][L2] - s["level_hit_cycles"][L1D]) * s["on_l2"]
    start = cycle
    passes = s["level_inclusion"][L2] == 2 and demand & KEPT == 0
    if s["on_l2"] == 1:
        start = max(cycle, reserve(s, CALENDAR_L2, cycle // s["level_interval"][L2]) * s["level_interval"][L2])
    index = lookup(s, L2, line)
    s["counters"][L2, ACCESSES] += demand & COUNTED
    if index != MISS:
        s["counters"][L2, HITS] += demand & COUNTED
        # L1D's prefetcher uses what L2's brought, too.
        use_prefetched(s, L2, index)
        touch(s, L2, index)
        ready = start + extra
        if s["lines"][index]["ready"] > ready:
            ready = s["lines"][index]["ready"]
            take_origin(s, index)
        else:
            s["leaf"] = LEAF_L2
            s["queue"] = 0
        s["inherited"] = s["lines"][index]["info"] & STALE
        if passes:
            s["inherited"] |= s["lines"][index]["info"] & (DIRTY | OLD)
            s["tags"][index] = 0
            s["lines"][index]["age"] = 0
        return ready
    s["counters"][L2, MISSES] += demand & COUNTED
    start = buffer_start(s, s["level_buffer_base"][L2], s["level_buffers"][L2], start, s["dram_cycles"])
    slot = s["slot"]
    ready = read_l3(s, line, start + extra, demand & COUNTED)
    hold(s, slot, start, ready)
    if not passes:
        fill_l2(s, line, ready, origin(s), start)
        s["inherited"] &= STALE
    return ready


@inlined
def translation_row(s, page):
    """Row of the page in Trace.translations under the current epoch, or MISS."""
    epoch = s["epoch"]
    memo = page & 63
    if s["memo"][memo, 0] == page and s["memo"][memo, 1] == epoch:
        return s["memo"][memo, 2]
    mask = s["translation_mask"]
    at = (page ^ (page >> 17) ^ (epoch << 7) ^ epoch) & mask
    while s["translations"][at]["slot"] >= 0:
        row = s["translations"][at]["slot"]
        if s["translations"][row]["page"] == page and s["translations"][row]["epoch"] == epoch:
            s["memo"][memo, 0] = page
            s["memo"][memo, 1] = epoch
            s["memo"][memo, 2] = row
            return row
        at = (at + 1) & mask
    return MISS


# --- Prefetch --------------------------------------------------------------------------------------------------------


@outlined(int64, MACHINE_TYPE, int64, int64)
def prefetch_l2(s, line, cycle):
    """Bring a line into L2 if a buffer is to spare; 0 if it had to be dropped."""
    if lookup(s, L2, line) != MISS:
        return 1
    if free_buffers(s, s["level_buffer_base"][L2], s["level_buffers"][L2], cycle) <= s["prefetch_spare"]:
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
    if free_buffers(s, s["level_buffer_base"][L1D], s["level_buffers"][L1D], cycle) <= 1:
        return 0
    if lookup(s, L2, line) == MISS and (
        free_buffers(s, s["level_buffer_base"][L2], s["level_buffers"][L2], cycle) <= s["prefetch_spare"]
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
def stream_target(s, line, physical, target):
    """Physical line of a prefetch target, or MISS where the prefetcher must not follow."""
    if (target >> 6) == (line >> 6):
        return physical + target - line
    if s["prefetch_crosses"] == 0:
        return MISS
    if s["flat"] == 1:
        return target
    row = translation_row(s, (target >> 6) & 0xFFFFFFFFFFFFF)
    if row == MISS or s["translations"][row]["memory_type"] != WB:
        return MISS
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
        target = stream_target(s, line, physical, ahead + stride)
        if target == MISS:
            break
        done = prefetch_l2(s, target, cycle) if column == AHEAD_L2 else prefetch_l1(s, target, cycle)
        if done == 0:
            break
        ahead += stride
    s["streams"][at, column] = ahead


@outlined(void, MACHINE_TYPE, int64, int64, int64, int64)
def train(s, first, line, physical, cycle):
    """Show the detector a line (by VA) that a load or store missed or first used; prefetch if it is sure.

    `first` is the first row of State.streams: loads and stores train apart. Regions, not program counters: eight
    accesses of one copy loop walk two streams.
    """
    count = s["stream_count"]
    reach = s["max_stride"]
    oldest = first
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


# --- Truth: uncached observers beside the caches ---------------------------------------------------------------------


@inlined
def observe_read(s, line):
    """Judge an uncached read of the line: stale if a cache before the PoC holds it newer."""
    if s["observed_read"] == line and s["observed_changes"] == s["changes"]:
        return
    s["observed_read"] = line
    s["observed_changes"] = s["changes"]
    for level in range(3):
        if s["level_present"][level] == 1 and s["level_behind_poc"][level] == 0:
            index = lookup(s, level, line)
            if index != MISS and s["lines"][index]["info"] & DIRTY:
                report_stale(s, line)


@inlined
def observe_write(s, line):
    """Judge an uncached write of the line: every copy before the PoC is outdated from here on."""
    if s["observed_write"] == line and s["observed_write_changes"] == s["changes"]:
        return
    s["observed_write"] = line
    s["observed_write_changes"] = s["changes"]
    for level in range(3):
        if s["level_present"][level] == 1 and s["level_behind_poc"][level] == 0:
            index = lookup(s, level, line)
            if index != MISS:
                s["lines"][index]["info"] |= STALE
    code_written(s, line)


@inlined
def code_written(s, line):
    """Note that a store reached the line: an L1I copy is old from here on. `code_lines` counts L1I lines by hash."""
    if s["code_lines"][line & 4095] == 0:
        return
    index = lookup(s, L1I, line)
    if index != MISS:
        s["lines"][index]["info"] |= STALE


# --- Translation -----------------------------------------------------------------------------------------------------


@inlined
def tlb_matches(s, index, va, regime, asid):
    """Whether an entry translates that address now."""
    shift = s["tlb"][index, SHIFT]
    return (
        shift > 0
        and s["tlb"][index, TAG] == va >> shift
        and s["tlb"][index, REGIME] == regime
        and (s["tlb"][index, ASID] < 0 or s["tlb"][index, ASID] == asid)
    )


@inlined
def tlb_lookup(s, which, va, regime, asid):
    """Index of the entry that translates the address, or MISS; a hit is made the youngest of its set."""
    base = s["tlb_base"][which]
    ways = s["tlb_ways"][which]
    if s["tlb_sets"][which] == 1:
        memo = (va >> 12) & 15
        index = s["tlb_memo"][which, memo]
        if tlb_matches(s, index, va, regime, asid):
            s["tick"] += 1
            s["tlb"][index, TLB_AGE] = s["tick"]
            return index
        for index in range(base, base + ways):
            if tlb_matches(s, index, va, regime, asid):
                s["tick"] += 1
                s["tlb"][index, TLB_AGE] = s["tick"]
                s["tlb_memo"][which, memo] = index
                return index
        return MISS
    for kind in range(s["tlb_size_count"][which]):
        if s["tlb_sizes"][which, 8 + kind] == 0:
            continue
        shift = s["tlb_sizes"][which, kind]
        first = base + ((va >> shift) % s["tlb_sets"][which]) * ways
        for index in range(first, first + ways):
            if s["tlb"][index, SHIFT] == shift and tlb_matches(s, index, va, regime, asid):
                s["tick"] += 1
                s["tlb"][index, TLB_AGE] = s["tick"]
                return index
    return MISS


@inlined
def tlb_fill(s, which, va, row, ready):
    """Place the translation, at the largest size that the TLB holds and the leaf allows."""
    leaf = s["translations"][row]["leaf_log2"]
    leaf2 = s["translations"][row]["leaf2_log2"]
    if leaf == 0 or (leaf2 != 0 and leaf2 < leaf):
        leaf = leaf2
    shift = 12
    kind = 0
    for at in range(s["tlb_size_count"][which]):
        if s["tlb_sizes"][which, at] <= leaf:
            shift = s["tlb_sizes"][which, at]
            kind = at
    s["tlb_sizes"][which, 8 + kind] = 1
    first = s["tlb_base"][which] + ((va >> shift) % s["tlb_sets"][which]) * s["tlb_ways"][which]
    oldest = first
    for index in range(first, first + s["tlb_ways"][which]):
        if s["tlb"][index, SHIFT] == 0:
            oldest = index
            break
        if s["tlb"][index, TLB_AGE] < s["tlb"][oldest, TLB_AGE]:
            oldest = index
    s["tick"] += 1
    s["tlb"][oldest, TAG] = va >> shift
    s["tlb"][oldest, SHIFT] = shift
    s["tlb"][oldest, REGIME] = s["regime"]
    s["tlb"][oldest, ASID] = s["asid"]
    if s["translations"][row]["is_global"] == 1:
        s["tlb"][oldest, ASID] = -1
    s["tlb"][oldest, TLB_AGE] = s["tick"]
    s["tlb"][oldest, TLB_READY] = ready
    s["tlb_memo"][which, (va >> 12) & 15] = oldest


@inlined
def read_descriptor(s, pa, memory_type, cycle):
    """One descriptor read of a walk; returns when it is there."""
    line = pa >> 6
    s["counters"][ROW_WALK, WRITE_BACKS] += 1  # reported as "reads"
    if memory_type != WB:
        observe_read(s, line)
        return cycle + s["nc_cycles"] * s["on_walk"]
    if s["on_cacheable"] == 0:
        return cycle
    start = cycle
    if s["walk_l1d"] == 1:
        index = lookup(s, L1D, line)
        start = cycle + s["level_hit_cycles"][L1D]
        if index != MISS:
            touch(s, L1D, index)
            return max(start, s["lines"][index]["ready"])
    ready = read_l2(s, line, start, COUNTED | KEPT)
    if s["inherited"] & STALE:
        report_stale(s, line)
    return ready


@inlined
def walk(s, row, cycle):
    """Walk the tables for a translation row: the recorded reads, less those that the walk cache knows."""
    first = s["translations"][row]["walk_first"]
    count = s["translations"][row]["walk_count"]
    s["counters"][ROW_WALK, ACCESSES] += 1
    at = first
    for read in range(first + count - 2, first - 1, -1):
        if walk_cache_hit(s, s["walk_reads"][read]["pa"]):
            at = read + 1
            s["counters"][ROW_WALK, HITS] += 1
            break
    start = buffer_start(s, s["walker_base"], s["walkers"], cycle, 40)
    slot = s["slot"]
    ready = start
    for read in range(at, first + count):
        pa = s["walk_reads"][read]["pa"]
        kind = s["walk_type"]
        if s["walk_reads"][read]["stage"] == 2:
            kind = s["walk2_type"]
        ready = read_descriptor(s, pa, kind, ready + s["walk_step"])
        if read < first + count - 1:
            walk_cache_fill(s, pa)
    hold(s, slot, start, ready)
    if s["on_walk"] == 0:
        return cycle
    return ready


@inlined
def walk_cache_hit(s, pa):
    """Whether the walk cache knows the intermediate descriptor at this address."""
    for at in range(s["walk_entries"]):
        if s["walk_cache"][at, 0] == pa + 1:
            s["tick"] += 1
            s["walk_cache"][at, 1] = s["tick"]
            return True
    return False


@inlined
def walk_cache_fill(s, pa):
    """Remember an intermediate descriptor, in place of the one used least lately."""
    entries = s["walk_entries"]
    if entries == 0:
        return
    oldest = 0
    for at in range(entries):
        if s["walk_cache"][at, 1] < s["walk_cache"][oldest, 1]:
            oldest = at
    s["tick"] += 1
    s["walk_cache"][oldest, 0] = pa + 1
    s["walk_cache"][oldest, 1] = s["tick"]


@outlined(int64, MACHINE_TYPE, int64, int64, int64, int64)
def translate_missed(s, va, cycle, which, row):
    """Return what L2 TLB and walk make of a miss in the first TLB."""
    s["counters"][ROW_ITLB + which, MISSES] += 1
    s["counters"][ROW_L2TLB, ACCESSES] += 1
    index = tlb_lookup(s, L2TLB, va, s["regime"], s["asid"])
    ready = cycle + s["tlb_hit_cycles"][L2TLB] * s["on_l2tlb"]
    if index != MISS:
        s["counters"][ROW_L2TLB, HITS] += 1
        ready = max(ready, s["tlb"][index, TLB_READY])
    else:
        s["counters"][ROW_L2TLB, MISSES] += 1
        ready = walk(s, row, ready)
        tlb_fill(s, L2TLB, va, row, ready)
    tlb_fill(s, which, va, row, ready)
    return ready


@inlined
def translate_timed(s, va, cycle, which, row):
    """Charge what the TLBs make of an access."""
    s["counters"][ROW_ITLB + which, ACCESSES] += 1
    index = tlb_lookup(s, which, va, s["regime"], s["asid"])
    if index != MISS:
        s["counters"][ROW_ITLB + which, HITS] += 1
        return max(cycle, s["tlb"][index, TLB_READY])
    return translate_missed(s, va, cycle, which, row)


@inlined
def translate(s, va, cycle, which):
    """Translate for a data access (DTLB) or fetch (ITLB): clock.pa and clock.type; returns when they are known."""
    if s["flat"] == 1:
        s["pa"] = va
        s["type"] = s["flat_type"]
        if which == ITLB:
            s["type"] = s["flat_fetch_type"]
        return cycle
    row = translation_row(s, (va >> 12) & 0xFFFFFFFFFFFFF)
    if row == MISS:
        s["failure"] = FAILURE_NO_TRANSLATION
        s["failure_va"] = va
        s["pa"] = va & 0xFFFFFFFFFFFF
        s["type"] = NC
        return cycle
    s["pa"] = s["translations"][row]["pa"] | (va & 4095)
    s["type"] = s["translations"][row]["memory_type"]
    if which == ITLB:
        s["type"] = s["translations"][row]["fetch_type"]
    return translate_timed(s, va, cycle, which, row)


@inlined
def tlb_invalidate(s, el2):
    """Drop what belongs to EL2's regimes (1), to EL1's (0), or everything (-1), and the walk cache."""
    for index in range(s["tlb_rows"]):
        if el2 < 0 or (s["tlb"][index, REGIME] & 1) == el2:
            s["tlb"][index, SHIFT] = 0
    for at in range(s["walk_entries"]):
        s["walk_cache"][at, 0] = 0
        s["walk_cache"][at, 1] = 0


# --- Full lines on their way past L1D --------------------------------------------------------------------------------


@outlined(int64, MACHINE_TYPE, int64, int64)
def push_line(s, line, cycle):
    """Send a full line past L1D, to where the streaming threshold says; returns when it is taken."""
    index = lookup(s, L2, line)
    full = s["stream_lines"]
    if index != MISS or s["stream_l2"] == 0 or full < s["stream_l2"]:
        start = max(cycle, reserve(s, CALENDAR_L2, cycle // s["level_interval"][L2]) * s["level_interval"][L2])
        if index != MISS:
            s["lines"][index]["info"] = (s["lines"][index]["info"] & ~(OLD | PREFETCHED)) | DIRTY
            touch(s, L2, index)
        else:
            fill_l2(s, line, start, DIRTY, start)
        return start
    start = buffer_start(s, s["level_buffer_base"][L2], s["level_buffers"][L2], cycle, s["write_ack"])
    slot = s["slot"]
    if s["level_present"][L3] == 1 and (s["stream_l3"] == 0 or full < s["stream_l3"] or lookup(s, L3, line) != MISS):
        taken = max(start, reserve(s, CALENDAR_L3, start // s["level_interval"][L3]) * s["level_interval"][L3])
        write_l3(s, line, DIRTY, taken)
    else:
        taken = dram_write(s, line, start)
    hold(s, slot, start, taken + s["write_ack"])
    s["stores_done"] = max(s["stores_done"], taken + s["write_ack"])
    return start


@outlined(int64, MACHINE_TYPE, int64, int64)
def allocate_store(s, line, cycle):
    """Write-allocate: fetch the line and make it dirty; returns when the store is done."""
    start = buffer_start(s, s["level_buffer_base"][L1D], s["level_buffers"][L1D], cycle, s["dram_cycles"])
    slot = s["slot"]
    ready = read_l2(s, line, start, COUNTED)
    hold(s, slot, start, ready)
    fill_l1d(s, line, ready, (origin(s) & ~OLD) | DIRTY, start)
    return ready


@inlined
def close_merge(s, at, cycle):
    """Let go of a merging line: full ones are pushed on, others are allocated and end the streaming."""
    line = s["merge"][at, 0] - 1
    full = s["merge"][at, 1] == 0xFFFF
    s["merge"][at, 0] = 0
    s["merging"] -= 1
    index = lookup(s, L1D, line)
    if index != MISS:
        # A prefetch has brought it meanwhile; a second copy would be one too many.
        s["lines"][index]["info"] = (s["lines"][index]["info"] & ~OLD) | DIRTY
        return max(cycle, s["lines"][index]["ready"])
    if full:
        return push_line(s, line, cycle)
    s["stream_lines"] = 0
    return allocate_store(s, line, cycle)


@outlined(int64, MACHINE_TYPE, int64, int64)
def flush_merge(s, line, cycle):
    """Close the merging line `line`, or all with MISS; returns when they are taken."""
    done = cycle
    for at in range(s["stream_buffers"]):
        if s["merge"][at, 0] != 0 and (line == MISS or s["merge"][at, 0] == line + 1):
            done = max(done, close_merge(s, at, cycle))
    return done


@inlined
def merge_store(s, line, mask, cycle):
    """Streaming: gather a line's stores, and push it on when it is full."""
    free = MISS
    oldest = 0
    for at in range(s["stream_buffers"]):
        if s["merge"][at, 0] == line + 1:
            s["merge"][at, 1] |= mask
            if s["merge"][at, 1] == 0xFFFF:
                return close_merge(s, at, cycle)
            return cycle
        if s["merge"][at, 0] == 0:
            free = at
        elif s["merge"][at, 2] < s["merge"][oldest, 2] or s["merge"][oldest, 0] == 0:
            oldest = at
    done = cycle
    if free == MISS:
        done = close_merge(s, oldest, cycle)
        free = oldest
    s["tick"] += 1
    s["merge"][free, 0] = line + 1
    s["merge"][free, 1] = mask
    s["merge"][free, 2] = s["tick"]
    s["merging"] += 1
    if mask == 0xFFFF:
        return max(done, close_merge(s, free, cycle))
    return done


# --- Loads -----------------------------------------------------------------------------------------------------------


@inlined
def wait_for_line(s, cycle, ready, own):
    """Bill the waiting for a line: the queueing part to DRAM's bandwidth, the rest to where it came from."""
    segment(s, cycle, own)
    if ready > cycle:
        queued = min(s["queue"], ready - cycle)
        segment(s, ready - queued, s["leaf"])
        segment(s, ready, DRAM_BANDWIDTH)


@inlined
def forwarded(s, va):
    """Whether one of the last stores was to the same 16 bytes."""
    block = (va >> 4) + 1
    found = False
    for at in range(8):
        found = found or s["recent_stores"][at] == block
    return found


@outlined(int64, MACHINE_TYPE, int64, int64, int64, int64)
def miss_l1d(s, va, line, cycle, hit):
    """Carry out a load that L1D does not hold."""
    s["counters"][L1D, MISSES] += 1
    if s["merging"] > 0:
        flush_merge(s, line, cycle)
        index = lookup(s, L1D, line)
        if index != MISS:
            # Part of it was being merged, and has had the rest fetched.
            ready = max(hit, s["lines"][index]["ready"])
            take_origin(s, index)
            wait_for_line(s, hit, ready, LEAF_L1D)
            return ready
    if s["track_line"] == line:
        s["stream_lines"] = 0
    start = buffer_start(s, s["level_buffer_base"][L1D], s["level_buffers"][L1D], hit, s["dram_cycles"])
    slot = s["slot"]
    ready = read_l2(s, line, start, COUNTED)
    hold(s, slot, start, ready)
    if s["inherited"] & STALE:
        report_stale(s, line)
    leaf = s["leaf"]
    queue = s["queue"]
    fill_l1d(s, line, ready, origin(s), start)
    train(s, 0, va >> 6, line, cycle)
    s["leaf"] = leaf
    s["queue"] = queue
    wait_for_line(s, hit, ready, LEAF_L1D)
    return ready


@inlined
def load_cached(s, va, line, cycle):
    """Load from Normal cacheable memory; returns load-to-use, and bills its segments."""
    if s["on_cacheable"] == 0:
        return cycle + 1
    hit = cycle + max(1, s["level_hit_cycles"][L1D] * s["on_l1d"])
    s["counters"][L1D, ACCESSES] += 1
    index = lookup(s, L1D, line)
    if index != MISS:
        s["counters"][L1D, HITS] += 1
        if s["lines"][index]["info"] & STALE:
            report_stale(s, line)
        if s["lines"][index]["info"] & PREFETCHED:
            use_prefetched(s, L1D, index)
            train(s, 0, va >> 6, line, cycle)
        touch(s, L1D, index)
        if s["lines"][index]["ready"] <= hit:
            segment(s, hit, LEAF_L1D)
            return hit
        if forwarded(s, va):
            segment(s, hit, LEAF_L1D)
            return hit
        take_origin(s, index)
        ready = s["lines"][index]["ready"]
        wait_for_line(s, hit, ready, LEAF_L1D)
        return ready
    return miss_l1d(s, va, line, cycle, hit)


@inlined
def load_noncacheable(s, line, cycle):
    """Load from Normal-NC memory: a transaction, or the line that the last ones left in a read buffer."""
    s["counters"][ROW_NC, ACCESSES] += 1
    observe_read(s, line)
    hit = cycle + s["level_hit_cycles"][L1D]
    if s["on_noncacheable"] == 0:
        return hit
    if s["nc_forward"] >= 64:
        for at in range(s["nc_outstanding"]):
            if s["nc_lines"][at, 0] == line + 1:
                s["counters"][ROW_NC, HITS] += 1
                ready = max(hit, s["nc_lines"][at, 1])
                segment(s, hit, LEAF_L1D)
                segment(s, ready, DRAM_LATENCY)
                return ready
    s["counters"][ROW_NC, MISSES] += 1
    start = buffer_start(s, s["nc_base"], s["nc_outstanding"], cycle, s["nc_cycles"])
    slot = s["slot"]
    ready = bus_slot(s, line, start + s["nc_cycles"])
    hold(s, slot, start, ready)
    # Nobody's buffer (`miss_buffers` off) keeps its line in the first row.
    at = slot - s["nc_base"] if slot != NOBODY else 0
    s["nc_lines"][at, 0] = line + 1
    s["nc_lines"][at, 1] = ready
    segment(s, start + s["nc_cycles"], DRAM_LATENCY)
    segment(s, ready, DRAM_BANDWIDTH)
    return ready


@inlined
def load_device(s, line, size, kind, cycle):
    """Load from Device memory: when it is certain to happen and (nGnR) older Device accesses are done."""
    observe_read(s, line)
    s["counters"][ROW_DEVICE, ACCESSES] += 1
    if s["on_device_order"] == 0:
        return cycle + s["level_hit_cycles"][L1D]
    pieces = max(1, (size + s["device_bytes"] - 1) // s["device_bytes"])
    start = cycle
    if kind <= NGNRE:
        # Everything older has retired: no branch is open, no older access can fault.
        start = max(start, s["retire"])
        segment(s, start, BASE)
        if s["device_load_waits"] == 1 and s["device_stored"] > start:
            start = s["device_stored"]
            segment(s, start, DEVICE_STORE)
    else:
        start = max(start, s["branch_resolved"])
    done = start
    for _ in range(pieces):
        begin = buffer_start(s, s["device_read_base"], s["device_reads"], done, s["device_cycles"])
        if kind <= NGNRE:
            begin = max(begin, done)
        hold(s, s["slot"], begin, begin + s["device_cycles"])
        done = begin + s["device_cycles"]
    segment(s, done, DEVICE_LOAD)
    return done


@outlined(int64, MACHINE_TYPE, OP_TYPE, int64, int64)
def load(s, op, va, cycle):
    """Execute a load at its issue cycle; returns when its data are usable."""
    size = op["size"]
    done = cycle
    last = (va + max(size, 1) - 1) >> 6
    piece = va
    cycle = max(cycle, s["memory_after"])
    segment(s, cycle, BARRIER)
    while True:
        known = translate(s, piece, cycle, DTLB)
        segment(s, known, TLB_WALK)
        kind = s["type"]
        line = s["pa"] >> 6
        if kind == WB or (kind == WT and s["wt_is_nc"] == 0):
            ready = load_cached(s, piece, line, known)
        elif kind >= NC:
            ready = load_noncacheable(s, line, known)
            for _ in range(1, op["nc_pieces"]):
                ready = max(ready, load_noncacheable(s, line, known))
        else:
            ready = load_device(s, line, size, kind, known)
        done = max(done, ready)
        piece = ((piece >> 6) + 1) << 6
        if piece >> 6 > last:
            break
    return done


# --- Stores ----------------------------------------------------------------------------------------------------------


@inlined
def word_mask(va, size):
    """Which 4-byte words of the line at `va` the bytes [va, va + size) cover wholly; they end with the line at most."""
    low = va & 63
    first = (low + 3) >> 2
    last = (low + size) >> 2
    if last <= first:
        return 0
    return ((1 << (last - first)) - 1) << first


@inlined
def track(s, line, mask):
    """Count consecutive full lines: what write streaming goes by."""
    if s["track_line"] == line:
        s["track_mask"] |= mask
        return
    if s["track_missed"] == 1:
        if s["track_mask"] == 0xFFFF:
            s["stream_lines"] += 1
        else:
            s["stream_lines"] = 0
    s["track_line"] = line
    s["track_mask"] = mask
    s["track_missed"] = 0


@inlined
def store_cached(s, va, line, size, hint, cycle):
    """Commit a store to Normal cacheable memory; returns when its store buffer entry is free."""
    if s["on_cacheable"] == 0:
        return cycle
    mask = word_mask(va, size)
    track(s, line, mask)
    code_written(s, line)
    s["changes"] += 1
    s["counters"][L1D, ACCESSES] += 1
    index = lookup(s, L1D, line)
    if index != MISS:
        s["counters"][L1D, HITS] += 1
        use_prefetched(s, L1D, index)
        s["lines"][index]["info"] = (s["lines"][index]["info"] & ~OLD) | DIRTY
        touch(s, L1D, index)
        return max(cycle, s["lines"][index]["ready"])
    s["counters"][L1D, MISSES] += 1
    s["track_missed"] = 1
    streaming = s["stream_l1"] > 0 and s["stream_lines"] >= s["stream_l1"]
    if (streaming and s["on_streaming"] == 1) or (hint == 1 and s["non_temporal_streams"] == 1):
        s["counters"][ROW_STORE, MISSES] += 1  # reported as "streamed"
        return merge_store(s, line, mask, cycle)
    if s["write_allocate"] == 0 and lookup(s, L2, line) == MISS:
        return merge_store(s, line, mask, cycle)
    ready = allocate_store(s, line, cycle)
    if s["prefetch_stores"] == 1:
        train(s, s["stream_count"], va >> 6, line, cycle)
    return ready


@inlined
def store_noncacheable(s, line, cycle):
    """Commit a store to Normal-NC memory: stores to one line gather, each line takes a write buffer."""
    s["counters"][ROW_NC, WRITE_BACKS] += 1  # reported as "writes"
    observe_write(s, line)
    if s["on_noncacheable"] == 0 or s["gather_line"] == line + 1:
        return cycle
    s["gather_line"] = line + 1
    for at in range(s["nc_outstanding"]):
        if s["nc_lines"][at, 0] == line + 1:
            s["nc_lines"][at, 0] = 0
    start = buffer_start(s, s["nc_write_base"], s["nc_writes"], cycle, s["nc_cycles"])
    slot = s["slot"]
    done = dram_write(s, line, start) + s["nc_cycles"]
    hold(s, slot, start, done)
    s["stores_done"] = max(s["stores_done"], done)
    return start


@inlined
def store_device(s, line, size, kind, cycle):
    """Commit a store to Device memory; returns when its entry is free: at the acknowledgement its type asks for."""
    s["counters"][ROW_DEVICE, WRITE_BACKS] += 1  # reported as "stores"
    observe_write(s, line)
    if s["on_device_order"] == 0:
        return cycle
    trip = s["device_cycles"]
    if kind >= NGNRE:
        trip = s["device_early_cycles"]
    pieces = max(1, (size + s["device_bytes"] - 1) // s["device_bytes"])
    done = cycle
    for _ in range(pieces):
        begin = buffer_start(s, s["device_write_base"], s["device_writes"], cycle, trip)
        if kind <= NGNRE:
            begin = max(begin, s["device_store_begun"])
            s["device_store_begun"] = begin
        hold(s, s["slot"], begin, begin + trip)
        done = max(done, begin + trip)
        s["stores_done"] = max(s["stores_done"], begin + s["device_cycles"])
    s["device_stored"] = max(s["device_stored"], done)
    return done


@inlined
def enter_store_buffer(s, va, release, leaf):
    """Note when the entry of this store becomes free; a store to the block of the last one shares its entry."""
    s["recent_stores"][s["stores"] & 7] = (va >> 4) + 1
    s["stores"] += 1
    block = (va >> s["merge_log2"]) + 1
    if leaf == STORE_BUFFER and block == s["merge_block"] and s["merge_log2"] > 3:
        at = s["entry"]
    else:
        at = s["entry"] + 1
        if at >= s["store_entries"]:
            at = 0
        s["entry"] = at
    s["merge_block"] = block
    s["entries"][at, 0] = release
    s["entries"][at, 1] = leaf


@outlined(void, MACHINE_TYPE, OP_TYPE, int64, int64)
def store(s, op, va, cycle):
    """Commit a store after it has retired at `cycle`, in order; its waiting is felt through the store buffer only."""
    size = op["size"]
    if op["access"] == ZERO:
        size = s["zva_bytes"]
        va = va & ~(size - 1)
    s["counters"][ROW_STORE, ACCESSES] += 1
    saved = s["segments"]
    leaf = STORE_BUFFER
    release = max(cycle, s["drained"])
    end = va + max(size, 1)
    piece = va
    while piece < end:
        until = min(end, ((piece >> 6) + 1) << 6)
        known = translate(s, piece, cycle, DTLB)
        kind = s["type"]
        line = s["pa"] >> 6
        if kind == WB or (kind == WT and s["wt_is_nc"] == 0):
            done = store_cached(s, piece, line, until - piece, op["non_temporal"], known)
        elif kind >= NC:
            done = store_noncacheable(s, line, known)
        else:
            done = store_device(s, line, until - piece, kind, known)
            leaf = DEVICE_STORE
        release = max(release, done)
        piece = until
    s["segments"] = saved
    s["drained"] = release
    s["stores_done"] = max(s["stores_done"], release)
    enter_store_buffer(s, va, release, leaf)


# --- Maintenance and barriers ----------------------------------------------------------------------------------------


@inlined
def clean_line(s, line, cycle, to_pou, invalidate, keep):
    """Apply a DC by VA to every level before its point; returns when a write-back it made is taken, else `cycle`.

    `keep` is 0 where dirty data are thrown away (IVAC).
    """
    dirty = 0
    last = 3
    if to_pou:
        last = 1
    for level in range(last):
        if s["level_present"][level] == 0 or s["level_behind_poc"][level] == 1:
            continue
        index = lookup(s, level, line)
        if index == MISS:
            continue
        dirty |= s["lines"][index]["info"] & FLAGS
        s["lines"][index]["info"] &= ~(DIRTY | OLD)
        if invalidate:
            s["tags"][index] = 0
            s["lines"][index]["age"] = 0
    if dirty & DIRTY == 0:
        return cycle
    s["counters"][ROW_MAINTENANCE, WRITE_BACKS] += keep
    if keep == 0:
        if dirty & OLD == 0:
            report_lost(s, line)
        else:
            s["old_discarded"] += 1
        return cycle
    if to_pou:
        write_l2(s, line, dirty, cycle)
        return cycle
    if dirty & STALE:
        report_lost(s, line)
    if s["level_present"][L3] == 1 and s["level_behind_poc"][L3] == 1:
        return write_l3(s, line, DIRTY, cycle)
    return dram_write(s, line, cycle) + s["write_ack"]


@inlined
def maintain_address(s, op, va, cycle):
    """DC by VA, in order after older stores; returns when its store buffer entry is free."""
    kind = op["maintenance"]
    saved = s["segments"]
    known = translate(s, va, cycle, DTLB)
    line = s["pa"] >> 6
    s["segments"] = saved
    if s["merging"] > 0:
        flush_merge(s, line, known)
    s["counters"][ROW_MAINTENANCE, ACCESSES] += 1
    keep = 1
    if kind == DC_IVAC and s["ivac_cleans"] == 0 and s["stage2"] == 0:
        keep = 0
    invalidate = kind in (DC_IVAC, DC_CIVAC)
    start = max(known, s["maintenance_next"])
    start = buffer_start(s, s["dc_base"], s["dc_outstanding"], start, s["dc_clean"])
    slot = s["slot"]
    taken = clean_line(s, line, start, kind == DC_CVAU, invalidate, keep)
    done = start + s["dc_clean"]
    if taken != start:
        done = max(taken, start + s["dc_dirty"])
    if s["on_dc"] == 0:
        return cycle
    s["maintenance_next"] = start + s["dc_interval"]
    hold(s, slot, start, done)
    s["maintenance_done"] = max(s["maintenance_done"], done)
    return start + s["dc_interval"]


@inlined
def maintain_set_way(s, op, cycle):
    """Clean or invalidate by set and way: the n-th one reaches the n-th way of L1D, as such loops go.

    The operand is not in the trace.
    """
    s["counters"][ROW_MAINTENANCE, ACCESSES] += 1
    index = s["level_base"][L1D] + s["set_way"] % (s["level_sets"][L1D] * s["level_ways"][L1D])
    s["set_way"] += 1
    if s["tags"][index] != 0:
        flags = s["lines"][index]["info"] & FLAGS
        line = s["tags"][index] - 1
        # Under stage 2 (HCR_EL2.VM or DC) ISW is performed as CISW (Arm ARM, DC ISW).
        loses = op["maintenance"] == DC_ISW and s["stage2"] == 0
        if flags & DIRTY:
            if loses:
                report_lost(s, line)
            else:
                write_l2(s, line, flags, cycle)
        s["lines"][index]["info"] &= ~(DIRTY | OLD)
        if op["maintenance"] != DC_CSW:
            s["tags"][index] = 0
            s["lines"][index]["age"] = 0
    if s["on_dc"] == 0:
        return cycle
    start = max(cycle, s["maintenance_next"])
    s["maintenance_next"] = start + s["set_way_cycles"]
    s["maintenance_done"] = max(s["maintenance_done"], start + s["set_way_cycles"])
    return start + s["set_way_cycles"]


@inlined
def clear_l1i(s, line):
    """Drop a line from L1I, or all with MISS, and what fetch has buffered."""
    s["fetch_key"] = MISS
    for at in range(8):
        s["fetch_groups"][at] = 0
    if line != MISS:
        index = lookup(s, L1I, line)
        if index != MISS:
            s["tags"][index] = 0
            s["code_lines"][line & 4095] -= 1
        return
    for index in range(s["level_base"][L1I], s["level_base"][L1I] + s["level_sets"][L1I] * s["level_ways"][L1I]):
        s["tags"][index] = 0
        s["lines"][index]["age"] = 0
    for at in range(4096):
        s["code_lines"][at] = 0


@outlined(void, MACHINE_TYPE, OP_TYPE, int64, int64)
def maintain(s, op, va, cycle):
    """Any DC, IC, TLBI or AT, after it has retired at `cycle`; takes a store buffer entry."""
    kind = op["maintenance"]
    cycle = max(cycle, s["drained"])
    release = cycle
    if kind in (DC_IVAC, DC_CIVAC, DC_CVAC, DC_CVAU, DC_CVAP):
        release = maintain_address(s, op, va, cycle)
    elif kind in (DC_ISW, DC_CSW, DC_CISW):
        release = maintain_set_way(s, op, cycle)
    elif kind in (IC_IALLU, IC_IALLUIS, IC_IVAU):
        line = MISS
        if kind == IC_IVAU and op["slot"] >= 0:
            translate(s, va, cycle, DTLB)
            line = s["pa"] >> 6
        clear_l1i(s, line)
        s["maintenance_done"] = max(s["maintenance_done"], cycle + s["ic_cycles"] * s["on_ic"])
    elif TLBI_FIRST <= kind <= TLBI_LAST:
        regime = s["regime"] & 1
        if kind in (TLBI_ALLE2, TLBI_ALLE2IS):
            regime = 1
        if kind in (TLBI_ALLE1, TLBI_ALLE1IS):
            regime = 0
        tlb_invalidate(s, regime)
        s["maintenance_done"] = max(s["maintenance_done"], cycle + s["tlbi_cycles"] * s["on_tlbi"])
    s["drained"] = max(s["drained"], release)
    enter_store_buffer(s, MISS, release, MAINTENANCE)
    s["merge_block"] = 0


@inlined
def data_barrier(s, cycle):
    """DSB: everything older is complete, maintenance and stores acknowledged; nothing younger executes before."""
    if s["merging"] > 0:
        saved = s["segments"]
        flush_merge(s, MISS, cycle)
        s["segments"] = saved
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


@inlined
def redirect(s, cycle, leaf):
    """Fetch begins anew at that cycle, for the reason `leaf`."""
    if cycle > s["redirect"]:
        s["redirect"] = cycle
        s["redirect_leaf"] = leaf
    s["fetch_key"] = MISS


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


# --- Fetch -----------------------------------------------------------------------------------------------------------


@inlined
def fetch(s, op):
    """When the instruction is there to be dispatched; bills redirects, ITLB misses and fetches."""
    key = op["va"] >> 6
    if s["fetch_uncached"] == 1:
        key = op["va"] >> s["uncached_log2"]
    if key == s["fetch_key"]:
        return s["fetched"]
    start = max(s["fetch_next"], s["dispatched"][(s["count"] - s["fetch_queue"]) & 1023])
    if s["redirect"] > 0:
        start = max(start, s["redirect"])
        segment(s, s["redirect"], s["redirect_leaf"])
        s["redirect"] = 0
    known = translate(s, op["va"], start, ITLB)
    segment(s, known, TLB_WALK)
    line = s["pa"] >> 6
    s["fetch_uncached"] = 0
    if s["type"] < WT:
        s["fetch_uncached"] = 1
        key = op["va"] >> s["uncached_log2"]
        ready = fetch_group(s, key, line, known)
    else:
        key = op["va"] >> 6
        ready = fetch_line(s, line, known)
    s["fetch_key"] = key
    s["fetched"] = ready
    segment(s, ready, FETCH)
    return ready


@inlined
def fetch_group(s, key, line, cycle):
    """Fetch past the caches (SCTLR.I = 0, or Device and Normal-NC pages), a group at a time."""
    s["counters"][ROW_FETCH, ACCESSES] += 1
    for at in range(s["buffer_groups"]):
        if s["fetch_groups"][at] == key + 1:
            s["counters"][ROW_FETCH, HITS] += 1
            s["fetch_next"] = cycle
            return cycle
    observe_read(s, line)
    s["counters"][ROW_FETCH, MISSES] += 1
    if s["buffer_groups"] > 0:
        at = s["group"] % s["buffer_groups"]
        s["fetch_groups"][at] = key + 1
        s["group"] = at + 1
    if s["on_uncached_fetch"] == 0:
        return cycle
    start = buffer_start(s, s["fetch_base"], s["fetch_outstanding"], cycle, s["uncached_cycles"])
    hold(s, s["slot"], start, start + s["uncached_cycles"])
    s["fetch_next"] = start
    return start + s["uncached_cycles"]


@inlined
def fetch_line(s, line, cycle):
    """Fetch through L1I. A hit costs nothing beyond the pipeline's depth, which only a redirect shows."""
    s["fetch_next"] = cycle + 1
    if s["on_icache"] == 0 or s["on_cacheable"] == 0:
        return cycle
    s["counters"][L1I, ACCESSES] += 1
    index = lookup(s, L1I, line)
    if index != MISS:
        s["counters"][L1I, HITS] += 1
        if s["lines"][index]["info"] & STALE:
            report_stale(s, line)
        touch(s, L1I, index)
        return max(cycle, s["lines"][index]["ready"])
    s["counters"][L1I, MISSES] += 1
    ready = read_l2(s, line, cycle, COUNTED | KEPT)
    index = victim(s, L1I, line)
    if s["tags"][index] != 0:
        count_eviction(s, L1I, 0)
        s["code_lines"][(s["tags"][index] - 1) & 4095] -= 1
    place(s, L1I, index, line, ready, origin(s))
    s["code_lines"][line & 4095] += 1
    if s["on_prefetch"] == 1:
        for ahead in range(1, s["fetch_prefetch"] + 1):
            if ((line + ahead) >> 6) == (line >> 6):
                prefetch_l2(s, line + ahead, cycle)
    return ready


# --- The pipeline ----------------------------------------------------------------------------------------------------


@inlined
def dispatch(s, op, fetched):
    """Place the instruction in the window: in order, `dispatch_width` a cycle, when the window has room."""
    cycle = max(fetched, s["dispatch"], s["retired"][(s["count"] - s["rob"]) & 1023])
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
    if cycle == s["dispatch"]:
        s["in_cycle"] += 1
        if s["in_cycle"] > s["dispatch_width"]:
            cycle += 1
            s["in_cycle"] = 1
    else:
        s["in_cycle"] = 1
    s["dispatch"] = cycle
    s["dispatched"][s["count"] & 1023] = cycle
    return cycle


@inlined
def operands_ready(s, op, cycle):
    """When the last source register is written."""
    ready = cycle
    if op["src0"] < 96:
        ready = max(ready, s["registers"][op["src0"]])
    if op["src1"] < 96:
        ready = max(ready, s["registers"][op["src1"]])
    if op["src2"] < 96:
        ready = max(ready, s["registers"][op["src2"]])
    if op["src3"] < 96:
        ready = max(ready, s["registers"][op["src3"]])
    return ready


@inlined
def write_registers(s, op, done, address_done):
    """Note when the destinations are written; the base of a pre- or post-indexed access comes from an ALU, early."""
    for at in range(3):
        register = op["dst0"]
        if at == 1:
            register = op["dst1"]
        elif at == 2:
            register = op["dst2"]
        if register < 96:
            if register == op["base"]:
                s["registers"][register] = address_done
            else:
                s["registers"][register] = done


@inlined
def execute(s, op, issue, va):
    """Carry out an instruction from its issue on; returns when it may retire."""
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
    if access == ACCESS_PREFETCH:
        saved = s["segments"]
        known = translate(s, va, issue, DTLB)
        if s["type"] == WB and s["on_cacheable"] == 1:
            prefetch_l1(s, s["pa"] >> 6, known)
        s["segments"] = saved
        return issue + 1
    return issue + op["latency"]


@inlined
def charge(s, row, done):
    """Retire: bill the cycles since the last retirement to what the instruction waited for, exactly."""
    last = s["retire"]
    now = max(last, done)
    if now == last:
        s["retired_in_cycle"] += 1
        if s["retired_in_cycle"] > s["retire_width"]:
            now += 1
            s["retired_in_cycle"] = 1
    else:
        s["retired_in_cycle"] = 1
    at = last
    for index in range(s["segments"]):
        until = min(s["segment"][index, 0], now)
        if until > at:
            s["insn_cycles"][row, s["segment"][index, 1]] += until - at
            at = until
    if now > at:
        s["insn_cycles"][row, BASE] += now - at
    s["insn_count"][row] += 1
    s["retire"] = now
    s["retired"][s["count"] & 1023] = now
    s["count"] += 1
    return now


@inlined
def branch(s, op, row, issue, next_va):
    """Resolve the branch that ended a block; a wrong prediction makes fetch begin anew."""
    resolved = issue + 1
    in_order = s["branch_in_order"] == 1 and s["stage1"] == 0
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
    fetched = fetch(s, op)
    cycle = dispatch(s, op, fetched)
    issue = operands_ready(s, op, cycle)
    if s["in_order"] == 1:
        issue = max(issue, s["issued"])
    if op["port_count"] > 0:
        issue = reserve_port(s, op["port"], op["port_count"], issue, op["port_slots"])
    s["issued"] = issue
    if s["in_order"] == 1 and issue > s["dispatch"]:
        # What waited counts against the width of the cycle in which it goes.
        s["dispatch"] = issue
        s["in_cycle"] = 1
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


# --- The tape --------------------------------------------------------------------------------------------------------


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
