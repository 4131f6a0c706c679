"""Every compiled step of the timing model; plain Python under NUMBA_DISABLE_JIT=1, with the same result.

Conventions. `s` is a state.State, `t` a state.Pages, `r` a state.Result, all of views.View. Times are core cycles, all integers are int64.
A line is pa >> 6. Functions that find something return its index or MISS; functions that make something wait return the
cycle at which it is done. Nothing here allocates, raises or knows a tunable: numbers come from `s.spec`, whose dtype is part
of the signature (Numba's disk cache does not see edits of other files, so constants live here, not in state.py).

Order (DESIGN 3.9). Instructions are visited once, in program order, but their requests carry the cycle at which they are
ready. What is shared (ports, buses, miss buffers) is therefore a calendar or an interval, and a request that is ready early
takes a gap before one that was visited earlier and is ready late.
"""

from numba import njit

from traces.schema import Access, Barrier, EpochCause, InsnClass, Maintenance, Mark, MemoryType

MISS = -1

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
# Rows of the lists of stale and lost lines at which a replay stops to have them emptied; one execution adds fewer than 8192.
LIST_FULL = 65536 - 8192


# The row of State.buffers that is nobody's.
NOBODY = 1535


# --- Calendars and intervals -------------------------------------------------------------------------------------------


@njit(cache=True)
def reserve(s, calendar, slot):
    """Take the first free slot at or after `slot`, and return it. `hint` spans slots known to be taken."""
    low = s.clock["hint"][calendar, 0]
    high = s.clock["hint"][calendar, 1]
    first = slot
    inside = low <= slot < high
    if inside:
        slot = high
    while s.clock["calendar"][calendar, slot & SLOTS_MASK] == slot:
        slot += 1
    s.clock["calendar"][calendar, slot & SLOTS_MASK] = slot
    if inside:
        s.clock["hint"][calendar, 1] = slot + 1
    elif slot >= high:
        s.clock["hint"][calendar, 0] = first
        s.clock["hint"][calendar, 1] = slot + 1
    return slot


@njit(cache=True)
def reserve_port(s, first, ports, cycle, slots):
    """Take `slots` cycles of the port of a group that is free soonest; return the first of them."""
    best = first
    if ports > 1:
        for port in range(first, first + ports):
            if s.clock["calendar"][port, cycle & SLOTS_MASK] != cycle:
                best = port
                break
            if s.clock["hint"][port, 1] < s.clock["hint"][best, 1]:
                best = port
    begin = reserve(s, best, cycle)
    for _ in range(1, slots):
        reserve(s, best, begin + 1)
    return begin


@njit(cache=True)
def buffer_start(s, base, count, cycle, length):
    """When a buffer of the group can take a request of `length` cycles; clock.slot says which. Reserves nothing."""
    best = base
    if s.spec["on_miss_buffers"] == 0:
        s.clock["slot"] = NOBODY
        return cycle
    best_start = s.clock["buffers"][base, END]
    for slot in range(base, base + count):
        start = s.clock["buffers"][slot, END]
        if cycle >= start or (cycle >= s.clock["buffers"][slot, PREVIOUS_END] and cycle + length <= s.clock["buffers"][slot, BEGIN]):
            best = slot
            best_start = cycle
            break
        if start < best_start:
            best = slot
            best_start = start
    s.clock["slot"] = best
    return best_start


@njit(cache=True)
def hold(s, slot, start, finish):
    """Keep a buffer busy over [start, finish)."""
    if start >= s.clock["buffers"][slot, END]:
        s.clock["buffers"][slot, PREVIOUS_END] = s.clock["buffers"][slot, END]
        s.clock["buffers"][slot, BEGIN] = start
        s.clock["buffers"][slot, END] = finish
    else:
        s.clock["buffers"][slot, PREVIOUS_END] = finish


@njit(cache=True)
def free_buffers(s, base, count, cycle):
    """How many buffers of the group are idle at that cycle."""
    free = 0
    for slot in range(base, base + count):
        if cycle >= s.clock["buffers"][slot, END] or s.clock["buffers"][slot, PREVIOUS_END] <= cycle < s.clock["buffers"][slot, BEGIN]:
            free += 1
    return free


@njit(cache=True)
def segment(s, until, leaf):
    """Say that up to that cycle the instruction at hand waited for `leaf`. `charge` bills what is exposed."""
    c = s.clock
    at = c["segments"]
    if at < 32:
        s.clock["segment"][at, 0] = until
        s.clock["segment"][at, 1] = leaf
        c["segments"] = at + 1


# --- Sets and ways ------------------------------------------------------------------------------------------------------


@njit(cache=True)
def set_of(s, level, line):
    """Index of the line's set."""
    mask = s.spec["level_set_mask"][level]
    if mask >= 0:
        return line & mask
    return line % s.spec["level_sets"][level]


@njit(cache=True)
def lookup(s, level, line):
    """Where the level holds the line, or MISS. Changes nothing."""
    ways = s.spec["level_ways"][level]
    first = s.spec["level_base"][level] + set_of(s, level, line) * ways
    for index in range(first, first + ways):
        if s.lines[index]["tag"] == line + 1:
            return index
    return MISS


@njit(cache=True)
def touch(s, level, index):
    """Note a use of that way, as the level's replacement has it."""
    policy = s.spec["level_replacement"][level]
    c = s.clock
    if policy == 0:
        c["tick"] += 1
        s.lines[index]["age"] = c["tick"]
    elif policy == 3:
        point_away(s, level, index)
    elif policy == 4:
        s.lines[index]["age"] = 0


@njit(cache=True)
def point_away(s, level, index):
    """Turn the tree bits on the way's path towards the other ways. They live in the age of the set's first way."""
    ways = s.spec["level_ways"][level]
    at = index - s.spec["level_base"][level]
    way = at % ways
    first = index - way
    bits = s.lines[first]["age"]
    node = 1
    half = ways >> 1
    while half > 0:
        right = (way // half) & 1
        if right == 1:
            bits = bits & ~(1 << node)
        else:
            bits = bits | (1 << node)
        node = 2 * node + right
        half >>= 1
    s.lines[first]["age"] = bits


@njit(cache=True)
def pointed_way(s, first, ways):
    """The way that the tree bits of a set lead to."""
    bits = s.lines[first]["age"]
    node = 1
    way = 0
    half = ways >> 1
    while half > 0:
        right = (bits >> node) & 1
        way += right * half
        node = 2 * node + right
        half >>= 1
    return way


@njit(cache=True)
def draw(s):
    """The next of a seeded sequence (xorshift, 31 bits)."""
    c = s.clock
    x = c["random"]
    x ^= (x << 13) & 0x7FFFFFFF
    x ^= x >> 17
    x ^= (x << 5) & 0x7FFFFFFF
    c["random"] = x
    return x


@njit(cache=True)
def victim(s, level, line):
    """The way that the line is to take: an invalid one, else as the replacement chooses."""
    ways = s.spec["level_ways"][level]
    index = set_of(s, level, line)
    first = s.spec["level_base"][level] + index * ways
    oldest = first
    for at in range(first, first + ways):
        if s.lines[at]["tag"] == 0:
            return at
        if s.lines[at]["age"] < s.lines[oldest]["age"]:
            oldest = at
    policy = s.spec["level_replacement"][level]
    if policy <= 1:
        return oldest
    if policy == 2:
        return first + draw(s) % ways
    if policy == 3:
        return first + pointed_way(s, first, ways)
    return most_distant(s, first, ways)


@njit(cache=True)
def most_distant(s, first, ways):
    """SRRIP: the first way predicted to be used in the distant future, ageing the set until there is one."""
    while True:
        for at in range(first, first + ways):
            if s.lines[at]["age"] >= 3:
                return at
        for at in range(first, first + ways):
            s.lines[at]["age"] += 1


@njit(cache=True)
def place(s, level, index, line, ready, info):
    """Write a line into a way that is free to take it."""
    s.lines[index]["tag"] = line + 1
    s.lines[index]["ready"] = ready
    s.lines[index]["info"] = info
    policy = s.spec["level_replacement"][level]
    if policy <= 1:
        c = s.clock
        c["tick"] += 1
        s.lines[index]["age"] = c["tick"]
    elif policy == 3:
        point_away(s, level, index)
    elif policy == 4:
        s.lines[index]["age"] = 2


@njit(cache=True)
def remove(s, level, line):
    """Drop the line from the level; return its flags, or 0 if it was not there."""
    index = lookup(s, level, line)
    if index == MISS:
        return 0
    flags = s.lines[index]["info"] & FLAGS
    s.lines[index]["tag"] = 0
    s.lines[index]["age"] = 0
    return flags


@njit(cache=True)
def count_eviction(s, level, flags):
    """Account for a valid line that had to go."""
    s.clock["counters"][level, EVICTIONS] += 1
    if flags & DIRTY:
        s.clock["counters"][level, WRITE_BACKS] += 1
    if flags & PREFETCHED:
        s.clock["counters"][level, PREFETCH_UNUSED] += 1


@njit(cache=True)
def report_stale(s, line):
    """The run read old data of this line."""
    c = s.clock
    at = c["stale_count"]
    if at == 0 or s.clock["stale"][at - 1] != line:
        s.clock["stale"][at] = line
        c["stale_count"] = at + 1


@njit(cache=True)
def report_lost(s, line):
    """The newest data of this line were thrown away."""
    c = s.clock
    at = c["lost_count"]
    if at == 0 or s.clock["lost"][at - 1] != line:
        s.clock["lost"][at] = line
        c["lost_count"] = at + 1


# --- DRAM ---------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def after_refresh(spec, cycle):
    """The cycle, or the end of the refresh that it falls into."""
    if spec["on_dram_refresh"] == 0 or spec["refresh_interval"] == 0:
        return cycle
    phase = cycle % spec["refresh_interval"]
    if phase < spec["refresh_cycles"]:
        return cycle + spec["refresh_cycles"] - phase
    return cycle


@njit(cache=True)
def channel_of(spec, line):
    """DRAM channel of a line."""
    return (line >> spec["interleave_lines_log2"]) % spec["channels"]


@njit(cache=True)
def bus_slot(s, line, cycle):
    """Move one line over its channel's data bus at or after that cycle; return the cycle it is through."""
    spec = s.spec
    if spec["on_dram_bandwidth"] == 0:
        return cycle
    calendar = CALENDAR_DRAM + channel_of(spec, line)
    # Sixteenths of a cycle: a burst is rarely a whole number of core cycles.
    slot = reserve(s, calendar, (cycle * 16) // spec["burst_sixteenths"])
    return max(cycle, (slot * spec["burst_sixteenths"]) // 16)


@njit(cache=True)
def row_latency(s, line, cycle):
    """Latency of a read by the state of its bank; opens the row. Leaves the waiting for the bank in clock.queue."""
    spec = s.spec
    c = s.clock
    c["queue"] = 0
    latency = spec["dram_cycles"]
    if spec["on_dram_rows"] == 0:
        return latency
    local = (line >> spec["interleave_lines_log2"]) // spec["channels"]
    wide = (local << spec["interleave_lines_log2"]) + (line & ((1 << spec["interleave_lines_log2"]) - 1))
    row = wide >> spec["row_lines_log2"]
    # Upper bits are folded in, as controllers do, so that power-of-two strides do not share one bank.
    bank = (row ^ (row >> 5) ^ (row >> 10)) & (spec["banks"] - 1)
    at = channel_of(spec, line) * spec["banks"] + bank
    if s.clock["banks"][at, 0] == row + 1:
        s.clock["counters"][ROW_DRAM, HITS] += 1
        return latency - spec["row_hit_saves"]
    s.clock["counters"][ROW_DRAM, MISSES] += 1
    wait = 0
    if s.clock["banks"][at, 1] <= cycle < s.clock["banks"][at, 2]:
        wait = s.clock["banks"][at, 2] - cycle
    if s.clock["banks"][at, 0] != 0:
        latency += spec["row_conflict_adds"]
    s.clock["banks"][at, 0] = row + 1
    s.clock["banks"][at, 1] = cycle + wait
    s.clock["banks"][at, 2] = cycle + wait + spec["bank_busy"]
    c["queue"] = wait
    return latency + wait


@njit(cache=True)
def dram_read(s, line, cycle):
    """Read a line; return when it is there, and leave its leaf and its queueing in the clock."""
    spec = s.spec
    c = s.clock
    s.clock["counters"][ROW_DRAM, ACCESSES] += 1
    c["leaf"] = DRAM_LATENCY
    c["inherited"] = 0
    c["queue"] = 0
    if spec["on_dram_latency"] == 0:
        return bus_slot(s, line, cycle)
    started = after_refresh(spec, cycle)
    idle = started + row_latency(s, line, started)
    ready = bus_slot(s, line, idle)
    c["queue"] += ready - idle
    return ready


@njit(cache=True)
def dram_write(s, line, cycle):
    """Hand a line to memory; return when the controller has it. Writes go in batches, turning the bus round for each."""
    spec = s.spec
    c = s.clock
    s.clock["counters"][ROW_DRAM, WRITE_BACKS] += 1
    if spec["on_dram_bandwidth"] == 0:
        return cycle
    c["writes"] += 1
    if spec["on_dram_turnaround"] == 1 and c["writes"] % spec["write_batch"] == 0:
        for _ in range(spec["turnaround_slots"]):
            bus_slot(s, line, cycle)
    return bus_slot(s, line, cycle)


# --- L3, L2, L1D: filling and writing back -------------------------------------------------------------------------------


@njit(cache=True)
def leave_l3(s, index, cycle):
    """Evict what L3 holds there."""
    line = s.lines[index]["tag"] - 1
    flags = s.lines[index]["info"] & FLAGS
    if s.spec["level_inclusion"][L3] == 1:
        flags |= remove(s, L1D, line) | remove(s, L2, line)
    count_eviction(s, L3, flags)
    if flags & DIRTY:
        if flags & STALE:
            report_lost(s, line)
        dram_write(s, line, cycle)


@njit(cache=True)
def fill_l3(s, line, ready, info, cycle):
    """Place a line in L3."""
    index = victim(s, L3, line)
    if s.lines[index]["tag"] != 0:
        leave_l3(s, index, cycle)
    place(s, L3, index, line, ready, info)


@njit(cache=True)
def write_l3(s, line, flags, cycle):
    """Take a line that L2 gives up or writes past itself; return when it is accepted."""
    if s.spec["level_present"][L3] == 0:
        if flags & DIRTY:
            if flags & STALE:
                report_lost(s, line)
            return dram_write(s, line, cycle)
        return cycle
    index = lookup(s, L3, line)
    if index != MISS:
        s.lines[index]["info"] |= flags & (DIRTY | OLD | STALE)
        touch(s, L3, index)
    elif flags & DIRTY or s.spec["level_inclusion"][L3] == 2:
        fill_l3(s, line, cycle, flags & (DIRTY | OLD | STALE), cycle)
    return cycle


@njit(cache=True)
def leave_l2(s, index, cycle):
    """Evict what L2 holds there, and the copy above if L2 is inclusive."""
    line = s.lines[index]["tag"] - 1
    flags = s.lines[index]["info"] & FLAGS
    if s.spec["level_inclusion"][L2] == 1:
        flags |= remove(s, L1D, line)
    count_eviction(s, L2, flags)
    if flags & DIRTY or s.spec["level_inclusion"][L3] == 2:
        write_l3(s, line, flags, cycle)


@njit(cache=True)
def fill_l2(s, line, ready, info, cycle):
    """Place a line in L2."""
    index = victim(s, L2, line)
    if s.lines[index]["tag"] != 0:
        leave_l2(s, index, cycle)
    place(s, L2, index, line, ready, info)


@njit(cache=True)
def write_l2(s, line, flags, cycle):
    """Take a dirty line from L1D."""
    index = lookup(s, L2, line)
    if index != MISS:
        s.lines[index]["info"] |= flags & (DIRTY | OLD | STALE)
        touch(s, L2, index)
    else:
        fill_l2(s, line, cycle, flags & (DIRTY | OLD | STALE), cycle)


@njit(cache=True)
def fill_l1d(s, line, ready, info, cycle):
    """Place a line in L1D."""
    index = victim(s, L1D, line)
    if s.lines[index]["tag"] != 0:
        flags = s.lines[index]["info"] & FLAGS
        old = s.lines[index]["tag"] - 1
        count_eviction(s, L1D, flags)
        if flags & DIRTY or s.spec["level_inclusion"][L2] == 2:
            write_l2(s, old, flags, cycle)
    place(s, L1D, index, line, ready, info)


@njit(cache=True)
def origin(s):
    """Leaf and queueing of the line that was just read, packed for State.info, with what its copy knew of staleness."""
    c = s.clock
    return (c["queue"] << 16) | (c["leaf"] << 8) | c["inherited"]


@njit(cache=True)
def take_origin(s, index):
    """Put the origin of a line on its way into the clock; the inverse of `origin`."""
    c = s.clock
    info = s.lines[index]["info"]
    c["leaf"] = (info >> 8) & 255
    c["queue"] = info >> 16
    c["inherited"] = info & STALE


@njit(cache=True)
def use_prefetched(s, level, index):
    """Count the first use of a prefetched line."""
    if s.lines[index]["info"] & PREFETCHED:
        s.lines[index]["info"] &= ~PREFETCHED
        s.clock["counters"][level, PREFETCH_HITS] += 1


@njit(cache=True)
def read_l3(s, line, cycle, demand):
    """Read a line from L3 or behind; `cycle` is when L2 has missed."""
    spec = s.spec
    c = s.clock
    if s.spec["level_present"][L3] == 0:
        return dram_read(s, line, cycle)
    extra = (s.spec["level_hit_cycles"][L3] - s.spec["level_hit_cycles"][L2]) * spec["on_l3"]
    start = cycle
    if spec["on_l3"] == 1:
        start = max(cycle, reserve(s, CALENDAR_L3, cycle // s.spec["level_interval"][L3]) * s.spec["level_interval"][L3])
    index = lookup(s, L3, line)
    s.clock["counters"][L3, ACCESSES] += demand
    if index != MISS:
        s.clock["counters"][L3, HITS] += demand
        use_prefetched(s, L3, index)
        touch(s, L3, index)
        ready = start + extra
        if s.lines[index]["ready"] > ready:
            ready = s.lines[index]["ready"]
            take_origin(s, index)
        else:
            c["leaf"] = LEAF_L3
            c["queue"] = 0
        c["inherited"] = s.lines[index]["info"] & STALE
        if s.spec["level_inclusion"][L3] == 2:
            # Exclusive: the line moves up, and takes its dirtiness with it.
            c["inherited"] |= s.lines[index]["info"] & (DIRTY | OLD)
            s.lines[index]["tag"] = 0
            s.lines[index]["age"] = 0
        return ready
    s.clock["counters"][L3, MISSES] += demand
    start = buffer_start(s, s.spec["level_buffer_base"][L3], s.spec["level_buffers"][L3], start, spec["dram_cycles"])
    slot = c["slot"]
    ready = dram_read(s, line, start + extra)
    hold(s, slot, start, ready)
    if s.spec["level_inclusion"][L3] != 2:
        fill_l3(s, line, ready, origin(s), start)
    return ready


@njit(cache=True)
def read_l2(s, line, cycle, demand):
    """Read a line from L2 or behind; `cycle` is when L1 has missed. Leaf, queueing and staleness are in the clock."""
    spec = s.spec
    c = s.clock
    extra = (s.spec["level_hit_cycles"][L2] - s.spec["level_hit_cycles"][L1D]) * spec["on_l2"]
    start = cycle
    if spec["on_l2"] == 1:
        start = max(cycle, reserve(s, CALENDAR_L2, cycle // s.spec["level_interval"][L2]) * s.spec["level_interval"][L2])
    index = lookup(s, L2, line)
    s.clock["counters"][L2, ACCESSES] += demand
    if index != MISS:
        s.clock["counters"][L2, HITS] += demand
        if demand:
            use_prefetched(s, L2, index)
        touch(s, L2, index)
        ready = start + extra
        if s.lines[index]["ready"] > ready:
            ready = s.lines[index]["ready"]
            take_origin(s, index)
        else:
            c["leaf"] = LEAF_L2
            c["queue"] = 0
        c["inherited"] = s.lines[index]["info"] & STALE
        return ready
    s.clock["counters"][L2, MISSES] += demand
    start = buffer_start(s, s.spec["level_buffer_base"][L2], s.spec["level_buffers"][L2], start, spec["dram_cycles"])
    slot = c["slot"]
    ready = read_l3(s, line, start + extra, demand)
    hold(s, slot, start, ready)
    fill_l2(s, line, ready, origin(s), start)
    c["inherited"] &= STALE
    return ready


# --- Prefetch -----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def prefetch_l2(s, line, cycle):
    """Bring a line into L2 if a buffer is to spare; 0 if it had to be dropped."""
    if lookup(s, L2, line) != MISS:
        return 1
    if free_buffers(s, s.spec["level_buffer_base"][L2], s.spec["level_buffers"][L2], cycle) <= s.spec["prefetch_spare"]:
        return 0
    buffer_start(s, s.spec["level_buffer_base"][L2], s.spec["level_buffers"][L2], cycle, s.spec["dram_cycles"])
    slot = s.clock["slot"]
    s.clock["counters"][L2, PREFETCHES] += 1
    ready = read_l3(s, line, cycle, 0)
    hold(s, slot, cycle, ready)
    fill_l2(s, line, ready, origin(s) | PREFETCHED, cycle)
    return 1


@njit(cache=True)
def prefetch_l1(s, line, cycle):
    """Bring a line into L1D if a buffer is to spare; 0 if it had to be dropped."""
    if lookup(s, L1D, line) != MISS:
        return 1
    if free_buffers(s, s.spec["level_buffer_base"][L1D], s.spec["level_buffers"][L1D], cycle) <= 1:
        return 0
    if lookup(s, L2, line) == MISS and (
        free_buffers(s, s.spec["level_buffer_base"][L2], s.spec["level_buffers"][L2], cycle) <= s.spec["prefetch_spare"]
    ):
        return 0
    buffer_start(s, s.spec["level_buffer_base"][L1D], s.spec["level_buffers"][L1D], cycle, s.spec["dram_cycles"])
    slot = s.clock["slot"]
    s.clock["counters"][L1D, PREFETCHES] += 1
    ready = read_l2(s, line, cycle, 0)
    hold(s, slot, cycle, ready)
    fill_l1d(s, line, ready, origin(s) | PREFETCHED, cycle)
    return 1


@njit(cache=True)
def stream_target(s, t, line, physical, target):
    """Physical line of a prefetch target, or MISS where the prefetcher must not follow."""
    if (target >> 6) == (line >> 6):
        return physical + target - line
    if s.spec["prefetch_crosses"] == 0:
        return MISS
    if s.clock["flat"] == 1:
        return target
    row = translation_row(s, t, (target >> 6) & 0xFFFFFFFFFFFFF)
    if row == MISS or t.translations[row]["memory_type"] != WB:
        return MISS
    return (t.translations[row]["pa"] >> 6) + (target & 63)


@njit(cache=True)
def train(s, t, first, line, physical, cycle):
    """Show the detector a line (by VA) that a load or store missed or first used; prefetch if it is sure.

    `first` is the first row of State.streams: loads and stores train apart. Regions, not program counters: eight
    accesses of one copy loop walk two streams.
    """
    spec = s.spec
    count = spec["streams"]
    reach = spec["max_stride"]
    oldest = first
    if spec["on_prefetch"] == 0 or count == 0:
        return
    for at in range(first, first + count):
        if s.clock["streams"][at, STREAM_AGE] > 0:
            delta = line - s.clock["streams"][at, LAST]
            if delta == 0:
                return
            if -reach <= delta <= reach and (spec["prefetch_crosses"] == 1 or (line >> 6) == (s.clock["streams"][at, LAST] >> 6)):
                advance(s, t, at, line, physical, cycle)
                return
        if s.clock["streams"][at, STREAM_AGE] < s.clock["streams"][oldest, STREAM_AGE]:
            oldest = at
    c = s.clock
    c["tick"] += 1
    s.clock["streams"][oldest, LAST] = line
    s.clock["streams"][oldest, STRIDE] = 0
    s.clock["streams"][oldest, CONFIDENCE] = 0
    s.clock["streams"][oldest, STREAM_AGE] = c["tick"]


@njit(cache=True)
def advance(s, t, at, line, physical, cycle):
    """Move a stream to `line`, and prefetch ahead of it once it has kept its stride often enough."""
    spec = s.spec
    c = s.clock
    stride = line - s.clock["streams"][at, LAST]
    c["tick"] += 1
    s.clock["streams"][at, STREAM_AGE] = c["tick"]
    s.clock["streams"][at, LAST] = line
    if stride != s.clock["streams"][at, STRIDE]:
        s.clock["streams"][at, STRIDE] = stride
        s.clock["streams"][at, CONFIDENCE] = 1
        s.clock["streams"][at, AHEAD_L1] = line
        s.clock["streams"][at, AHEAD_L2] = line
    else:
        s.clock["streams"][at, CONFIDENCE] += 1
    if s.clock["streams"][at, CONFIDENCE] < spec["train_lines"]:
        return
    stores = at >= spec["streams"]
    run_ahead(s, t, at, AHEAD_L2, spec["l2_lines"], line, physical, cycle)
    if not stores:
        run_ahead(s, t, at, AHEAD_L1, spec["l1_lines"], line, physical, cycle)


@njit(cache=True)
def run_ahead(s, t, at, column, distance, line, physical, cycle):
    """Ask for the lines between what was asked for and `distance` strides ahead, `degree` of them at most."""
    stride = s.clock["streams"][at, STRIDE]
    ahead = s.clock["streams"][at, column]
    if (ahead - line) * stride < 0:
        ahead = line
    limit = line + distance * stride
    for _ in range(s.spec["degree"]):
        if ahead == limit or (limit - ahead) * stride < 0:
            break
        target = stream_target(s, t, line, physical, ahead + stride)
        if target == MISS:
            break
        if column == AHEAD_L2:
            done = prefetch_l2(s, target, cycle)
        else:
            done = prefetch_l1(s, target, cycle)
        if done == 0:
            break
        ahead += stride
    s.clock["streams"][at, column] = ahead


# --- Translation ----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def translation_row(s, t, page):
    """Row of the page in Trace.translations under the current epoch, or MISS."""
    epoch = s.clock["epoch"]
    memo = page & 63
    if s.clock["memo"][memo, 0] == page and s.clock["memo"][memo, 1] == epoch:
        return s.clock["memo"][memo, 2]
    mask = s.spec["translation_mask"]
    at = (page ^ (page >> 17) ^ (epoch << 7) ^ epoch) & mask
    while t.translations[at]["slot"] >= 0:
        row = t.translations[at]["slot"]
        if t.translations[row]["page"] == page and t.translations[row]["epoch"] == epoch:
            s.clock["memo"][memo, 0] = page
            s.clock["memo"][memo, 1] = epoch
            s.clock["memo"][memo, 2] = row
            return row
        at = (at + 1) & mask
    return MISS


@njit(cache=True)
def tlb_matches(s, index, va, regime, asid):
    """Whether an entry translates that address now."""
    shift = s.clock["tlb"][index, SHIFT]
    return (
        shift > 0
        and s.clock["tlb"][index, TAG] == va >> shift
        and s.clock["tlb"][index, REGIME] == regime
        and (s.clock["tlb"][index, ASID] < 0 or s.clock["tlb"][index, ASID] == asid)
    )


@njit(cache=True)
def tlb_lookup(s, which, va, regime, asid):
    """Index of the entry that translates the address, or MISS; a hit is made the youngest of its set."""
    c = s.clock
    base = s.spec["tlb_base"][which]
    ways = s.spec["tlb_ways"][which]
    if s.spec["tlb_sets"][which] == 1:
        memo = (va >> 12) & 15
        index = s.clock["tlb_memo"][which, memo]
        if tlb_matches(s, index, va, regime, asid):
            c["tick"] += 1
            s.clock["tlb"][index, TLB_AGE] = c["tick"]
            return index
        for index in range(base, base + ways):
            if tlb_matches(s, index, va, regime, asid):
                c["tick"] += 1
                s.clock["tlb"][index, TLB_AGE] = c["tick"]
                s.clock["tlb_memo"][which, memo] = index
                return index
        return MISS
    for kind in range(s.spec["tlb_size_count"][which]):
        if s.clock["tlb_sizes"][which, 8 + kind] == 0:
            continue
        shift = s.clock["tlb_sizes"][which, kind]
        first = base + ((va >> shift) % s.spec["tlb_sets"][which]) * ways
        for index in range(first, first + ways):
            if s.clock["tlb"][index, SHIFT] == shift and tlb_matches(s, index, va, regime, asid):
                c["tick"] += 1
                s.clock["tlb"][index, TLB_AGE] = c["tick"]
                return index
    return MISS


@njit(cache=True)
def tlb_fill(s, t, which, va, row, ready):
    """Place the translation, at the largest size that the TLB holds and the leaf allows."""
    c = s.clock
    leaf = t.translations[row]["leaf_log2"]
    leaf2 = t.translations[row]["leaf2_log2"]
    if leaf == 0 or (leaf2 != 0 and leaf2 < leaf):
        leaf = leaf2
    shift = 12
    kind = 0
    for at in range(s.spec["tlb_size_count"][which]):
        if s.clock["tlb_sizes"][which, at] <= leaf:
            shift = s.clock["tlb_sizes"][which, at]
            kind = at
    s.clock["tlb_sizes"][which, 8 + kind] = 1
    first = s.spec["tlb_base"][which] + ((va >> shift) % s.spec["tlb_sets"][which]) * s.spec["tlb_ways"][which]
    oldest = first
    for index in range(first, first + s.spec["tlb_ways"][which]):
        if s.clock["tlb"][index, SHIFT] == 0:
            oldest = index
            break
        if s.clock["tlb"][index, TLB_AGE] < s.clock["tlb"][oldest, TLB_AGE]:
            oldest = index
    c["tick"] += 1
    s.clock["tlb"][oldest, TAG] = va >> shift
    s.clock["tlb"][oldest, SHIFT] = shift
    s.clock["tlb"][oldest, REGIME] = c["regime"]
    s.clock["tlb"][oldest, ASID] = c["asid"]
    if t.translations[row]["is_global"] == 1:
        s.clock["tlb"][oldest, ASID] = -1
    s.clock["tlb"][oldest, TLB_AGE] = c["tick"]
    s.clock["tlb"][oldest, TLB_READY] = ready
    s.clock["tlb_memo"][which, (va >> 12) & 15] = oldest


@njit(cache=True)
def read_descriptor(s, pa, memory_type, cycle):
    """One descriptor read of a walk; returns when it is there."""
    spec = s.spec
    c = s.clock
    line = pa >> 6
    s.clock["counters"][ROW_WALK, WRITE_BACKS] += 1  # reported as "reads"
    if memory_type != WB:
        observe_read(s, line)
        return cycle + spec["nc_cycles"] * spec["on_walk"]
    if spec["on_cacheable"] == 0:
        return cycle
    start = cycle
    if spec["walk_l1d"] == 1:
        index = lookup(s, L1D, line)
        start = cycle + s.spec["level_hit_cycles"][L1D]
        if index != MISS:
            touch(s, L1D, index)
            return max(start, s.lines[index]["ready"])
    ready = read_l2(s, line, start, 1)
    if c["inherited"] & STALE:
        report_stale(s, line)
    return ready


@njit(cache=True)
def walk(s, t, row, cycle):
    """Walk the tables for a translation row: the recorded reads, less those that the walk cache knows."""
    spec = s.spec
    c = s.clock
    first = t.translations[row]["walk_first"]
    count = t.translations[row]["walk_count"]
    s.clock["counters"][ROW_WALK, ACCESSES] += 1
    at = first
    for read in range(first + count - 2, first - 1, -1):
        if walk_cache_hit(s, t.walk_reads[read]["pa"]):
            at = read + 1
            s.clock["counters"][ROW_WALK, HITS] += 1
            break
    start = buffer_start(s, spec["walker_base"], spec["walkers"], cycle, 40)
    slot = c["slot"]
    ready = start
    for read in range(at, first + count):
        pa = t.walk_reads[read]["pa"]
        kind = c["walk_type"]
        if t.walk_reads[read]["stage"] == 2:
            kind = c["walk2_type"]
        ready = read_descriptor(s, pa, kind, ready + spec["walk_step"])
        if read < first + count - 1:
            walk_cache_fill(s, pa)
    hold(s, slot, start, ready)
    if spec["on_walk"] == 0:
        return cycle
    return ready


@njit(cache=True)
def walk_cache_hit(s, pa):
    """Whether the walk cache knows the intermediate descriptor at this address."""
    for at in range(s.spec["walk_entries"]):
        if s.clock["walk_cache"][at, 0] == pa + 1:
            c = s.clock
            c["tick"] += 1
            s.clock["walk_cache"][at, 1] = c["tick"]
            return True
    return False


@njit(cache=True)
def walk_cache_fill(s, pa):
    """Remember an intermediate descriptor, in place of the one used least lately."""
    entries = s.spec["walk_entries"]
    if entries == 0:
        return
    oldest = 0
    for at in range(entries):
        if s.clock["walk_cache"][at, 1] < s.clock["walk_cache"][oldest, 1]:
            oldest = at
    c = s.clock
    c["tick"] += 1
    s.clock["walk_cache"][oldest, 0] = pa + 1
    s.clock["walk_cache"][oldest, 1] = c["tick"]


@njit(cache=True)
def translate(s, t, va, cycle, which):
    """Translate for a data access (DTLB) or fetch (ITLB): clock.pa and clock.type; returns when they are known."""
    c = s.clock
    if c["flat"] == 1:
        c["pa"] = va
        c["type"] = c["flat_type"]
        if which == ITLB:
            c["type"] = c["flat_fetch_type"]
        return cycle
    row = translation_row(s, t, (va >> 12) & 0xFFFFFFFFFFFFF)
    if row == MISS:
        c["failure"] = FAILURE_NO_TRANSLATION
        c["failure_va"] = va
        c["pa"] = va & 0xFFFFFFFFFFFF
        c["type"] = NC
        return cycle
    c["pa"] = t.translations[row]["pa"] | (va & 4095)
    c["type"] = t.translations[row]["memory_type"]
    if which == ITLB:
        c["type"] = t.translations[row]["fetch_type"]
    return translate_timed(s, t, va, cycle, which, row)


@njit(cache=True)
def translate_timed(s, t, va, cycle, which, row):
    """What the TLBs make of it: L1 TLB, L2 TLB, walk."""
    spec = s.spec
    c = s.clock
    regime = c["regime"]
    asid = c["asid"]
    s.clock["counters"][ROW_ITLB + which, ACCESSES] += 1
    index = tlb_lookup(s, which, va, regime, asid)
    if index != MISS:
        s.clock["counters"][ROW_ITLB + which, HITS] += 1
        return max(cycle, s.clock["tlb"][index, TLB_READY])
    s.clock["counters"][ROW_ITLB + which, MISSES] += 1
    s.clock["counters"][ROW_L2TLB, ACCESSES] += 1
    index = tlb_lookup(s, L2TLB, va, regime, asid)
    ready = cycle + s.spec["tlb_hit_cycles"][L2TLB] * spec["on_l2tlb"]
    if index != MISS:
        s.clock["counters"][ROW_L2TLB, HITS] += 1
        ready = max(ready, s.clock["tlb"][index, TLB_READY])
    else:
        s.clock["counters"][ROW_L2TLB, MISSES] += 1
        # The walk's reads must not look like the access's own.
        ready = walk(s, t, row, ready)
        tlb_fill(s, t, L2TLB, va, row, ready)
    tlb_fill(s, t, which, va, row, ready)
    return ready


@njit(cache=True)
def tlb_invalidate(s, el2):
    """Drop what belongs to EL2's regimes (1), to EL1's (0), or everything (-1), and the walk cache."""
    for index in range(s.spec["tlb_rows"]):
        if el2 < 0 or (s.clock["tlb"][index, REGIME] & 1) == el2:
            s.clock["tlb"][index, SHIFT] = 0
    for at in range(s.spec["walk_entries"]):
        s.clock["walk_cache"][at, 0] = 0
        s.clock["walk_cache"][at, 1] = 0


# --- Truth: uncached observers beside the caches ----------------------------------------------------------------------------


@njit(cache=True)
def observe_read(s, line):
    """An uncached read of the line: stale if a cache before the PoC holds it newer."""
    for level in range(3):
        if s.spec["level_present"][level] == 1 and s.spec["level_behind_poc"][level] == 0:
            index = lookup(s, level, line)
            if index != MISS and s.lines[index]["info"] & DIRTY:
                report_stale(s, line)


@njit(cache=True)
def observe_write(s, line):
    """An uncached write of the line: every copy before the PoC is outdated from here on."""
    for level in range(3):
        if s.spec["level_present"][level] == 1 and s.spec["level_behind_poc"][level] == 0:
            index = lookup(s, level, line)
            if index != MISS:
                s.lines[index]["info"] |= STALE
    code_written(s, line)


@njit(cache=True)
def code_written(s, line):
    """A store reached the line: an L1I copy is old from here on. `code_lines` counts L1I lines by hash."""
    if s.clock["code_lines"][line & 4095] == 0:
        return
    index = lookup(s, L1I, line)
    if index != MISS:
        s.lines[index]["info"] |= STALE


# --- Loads --------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def wait_for_line(s, cycle, ready, own):
    """Bill the waiting for a line: the queueing part to DRAM's bandwidth, the rest to where it came from."""
    c = s.clock
    segment(s, cycle, own)
    if ready > cycle:
        queued = min(c["queue"], ready - cycle)
        segment(s, ready - queued, c["leaf"])
        segment(s, ready, DRAM_BANDWIDTH)


@njit(cache=True)
def load_cached(s, t, va, line, cycle):
    """Load from Normal cacheable memory; returns load-to-use, and bills its segments."""
    spec = s.spec
    c = s.clock
    if spec["on_cacheable"] == 0:
        return cycle + 1
    hit = cycle + max(1, s.spec["level_hit_cycles"][L1D] * spec["on_l1d"])
    s.clock["counters"][L1D, ACCESSES] += 1
    index = lookup(s, L1D, line)
    if index != MISS:
        s.clock["counters"][L1D, HITS] += 1
        if s.lines[index]["info"] & STALE:
            report_stale(s, line)
        if s.lines[index]["info"] & PREFETCHED:
            use_prefetched(s, L1D, index)
            train(s, t, 0, va >> 6, line, cycle)
        touch(s, L1D, index)
        if s.lines[index]["ready"] <= hit:
            segment(s, hit, LEAF_L1D)
            return hit
        if forwarded(s, va):
            segment(s, hit, LEAF_L1D)
            return hit
        take_origin(s, index)
        ready = s.lines[index]["ready"]
        wait_for_line(s, hit, ready, LEAF_L1D)
        return ready
    return miss_l1d(s, t, va, line, cycle, hit)


@njit(cache=True)
def forwarded(s, va):
    """Whether one of the last stores was to the same 16 bytes."""
    for at in range(8):
        if s.clock["recent_stores"][at] == (va >> 4) + 1:
            return True
    return False


@njit(cache=True)
def miss_l1d(s, t, va, line, cycle, hit):
    """A load that L1D does not hold."""
    c = s.clock
    s.clock["counters"][L1D, MISSES] += 1
    if c["merging"] > 0:
        flush_merge(s, line, cycle)
    if c["track_line"] == line:
        c["stream_lines"] = 0
    start = buffer_start(s, s.spec["level_buffer_base"][L1D], s.spec["level_buffers"][L1D], hit, s.spec["dram_cycles"])
    slot = c["slot"]
    ready = read_l2(s, line, start, 1)
    hold(s, slot, start, ready)
    if c["inherited"] & STALE:
        report_stale(s, line)
    leaf = c["leaf"]
    queue = c["queue"]
    fill_l1d(s, line, ready, origin(s), start)
    train(s, t, 0, va >> 6, line, cycle)
    c["leaf"] = leaf
    c["queue"] = queue
    wait_for_line(s, hit, ready, LEAF_L1D)
    return ready


@njit(cache=True)
def load_noncacheable(s, line, cycle):
    """Load from Normal-NC memory: a transaction, or the line that the last ones left in a read buffer."""
    spec = s.spec
    c = s.clock
    s.clock["counters"][ROW_NC, ACCESSES] += 1
    observe_read(s, line)
    hit = cycle + s.spec["level_hit_cycles"][L1D]
    if spec["on_noncacheable"] == 0:
        return hit
    if spec["nc_forward"] >= 64:
        for at in range(spec["nc_outstanding"]):
            if s.clock["nc_lines"][at, 0] == line + 1:
                s.clock["counters"][ROW_NC, HITS] += 1
                ready = max(hit, s.clock["nc_lines"][at, 1])
                segment(s, hit, LEAF_L1D)
                segment(s, ready, DRAM_LATENCY)
                return ready
    s.clock["counters"][ROW_NC, MISSES] += 1
    start = buffer_start(s, spec["nc_base"], spec["nc_outstanding"], cycle, spec["nc_cycles"])
    slot = c["slot"]
    ready = bus_slot(s, line, start + spec["nc_cycles"])
    hold(s, slot, start, ready)
    s.clock["nc_lines"][slot - spec["nc_base"], 0] = line + 1
    s.clock["nc_lines"][slot - spec["nc_base"], 1] = ready
    segment(s, start + spec["nc_cycles"], DRAM_LATENCY)
    segment(s, ready, DRAM_BANDWIDTH)
    return ready


@njit(cache=True)
def load_device(s, line, size, kind, cycle):
    """Load from Device memory: not before it is certain to happen, and (nG nR) not before older Device accesses are done."""
    spec = s.spec
    c = s.clock
    observe_read(s, line)
    s.clock["counters"][ROW_DEVICE, ACCESSES] += 1
    if spec["on_device_order"] == 0:
        return cycle + s.spec["level_hit_cycles"][L1D]
    pieces = max(1, (size + spec["device_bytes"] - 1) // spec["device_bytes"])
    start = cycle
    if kind <= NGNRE:
        # Everything older has retired: no branch is open, no older access can fault.
        start = max(start, c["retire"])
        segment(s, start, BASE)
        if spec["device_load_waits"] == 1 and c["device_stored"] > start:
            start = c["device_stored"]
            segment(s, start, DEVICE_STORE)
    else:
        start = max(start, c["branch_resolved"])
    done = start
    for _ in range(pieces):
        begin = buffer_start(s, spec["device_read_base"], spec["device_reads"], done, spec["device_cycles"])
        if kind <= NGNRE:
            begin = max(begin, done)
        hold(s, c["slot"], begin, begin + spec["device_cycles"])
        done = begin + spec["device_cycles"]
    segment(s, done, DEVICE_LOAD)
    return done


@njit(cache=True)
def load(s, t, op, va, cycle):
    """Execute a load at its issue cycle; returns when its data are usable."""
    spec = s.spec
    c = s.clock
    size = op["size"]
    done = cycle
    last = (va + max(size, 1) - 1) >> 6
    piece = va
    cycle = max(cycle, c["memory_after"])
    segment(s, cycle, BARRIER)
    while True:
        known = translate(s, t, piece, cycle, DTLB)
        segment(s, known, TLB_WALK)
        kind = c["type"]
        line = c["pa"] >> 6
        if kind == WB or (kind == WT and spec["wt_is_nc"] == 0):
            ready = load_cached(s, t, piece, line, known)
        elif kind >= NC:
            ready = load_noncacheable(s, line, known)
        else:
            ready = load_device(s, line, size, kind, known)
        done = max(done, ready)
        piece = ((piece >> 6) + 1) << 6
        if piece >> 6 > last:
            break
    return done


# --- Stores -------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def word_mask(va, size):
    """Which 4-byte words of the line at `va` the bytes [va, va + size) cover wholly; they end with the line at most."""
    low = va & 63
    first = (low + 3) >> 2
    last = (low + size) >> 2
    if last <= first:
        return 0
    return ((1 << (last - first)) - 1) << first


@njit(cache=True)
def track(s, line, mask):
    """Count consecutive full lines: what write streaming goes by."""
    c = s.clock
    if c["track_line"] == line:
        c["track_mask"] |= mask
        return
    if c["track_missed"] == 1:
        if c["track_mask"] == 0xFFFF:
            c["stream_lines"] += 1
        else:
            c["stream_lines"] = 0
    c["track_line"] = line
    c["track_mask"] = mask
    c["track_missed"] = 0


@njit(cache=True)
def push_line(s, line, cycle):
    """Send a full line past L1D, to where the streaming threshold says; returns when it is taken."""
    spec = s.spec
    c = s.clock
    index = lookup(s, L2, line)
    full = c["stream_lines"]
    if index != MISS or spec["stream_l2"] == 0 or full < spec["stream_l2"]:
        start = max(cycle, reserve(s, CALENDAR_L2, cycle // s.spec["level_interval"][L2]) * s.spec["level_interval"][L2])
        if index != MISS:
            s.lines[index]["info"] = (s.lines[index]["info"] & ~(OLD | PREFETCHED)) | DIRTY
            touch(s, L2, index)
        else:
            fill_l2(s, line, start, DIRTY, start)
        return start
    start = buffer_start(s, s.spec["level_buffer_base"][L2], s.spec["level_buffers"][L2], cycle, spec["write_ack"])
    slot = c["slot"]
    if s.spec["level_present"][L3] == 1 and (
        spec["stream_l3"] == 0 or full < spec["stream_l3"] or lookup(s, L3, line) != MISS
    ):
        taken = max(start, reserve(s, CALENDAR_L3, start // s.spec["level_interval"][L3]) * s.spec["level_interval"][L3])
        write_l3(s, line, DIRTY, taken)
    else:
        taken = dram_write(s, line, start)
    hold(s, slot, start, taken + spec["write_ack"])
    c["stores_done"] = max(c["stores_done"], taken + spec["write_ack"])
    return start


@njit(cache=True)
def allocate_store(s, line, cycle):
    """Write-allocate: fetch the line and make it dirty; returns when the store is done."""
    c = s.clock
    start = buffer_start(s, s.spec["level_buffer_base"][L1D], s.spec["level_buffers"][L1D], cycle, s.spec["dram_cycles"])
    slot = c["slot"]
    ready = read_l2(s, line, start, 1)
    hold(s, slot, start, ready)
    fill_l1d(s, line, ready, origin(s) | DIRTY, start)
    return ready


@njit(cache=True)
def close_merge(s, at, cycle):
    """Let go of a merging line: full ones are pushed on, others are allocated and end the streaming."""
    c = s.clock
    line = s.clock["merge"][at, 0] - 1
    full = s.clock["merge"][at, 1] == 0xFFFF
    s.clock["merge"][at, 0] = 0
    c["merging"] -= 1
    if full:
        return push_line(s, line, cycle)
    c["stream_lines"] = 0
    return allocate_store(s, line, cycle)


@njit(cache=True)
def flush_merge(s, line, cycle):
    """Close the merging line `line`, or all with MISS; returns when they are taken."""
    done = cycle
    for at in range(s.spec["stream_buffers"]):
        if s.clock["merge"][at, 0] != 0 and (line == MISS or s.clock["merge"][at, 0] == line + 1):
            done = max(done, close_merge(s, at, cycle))
    return done


@njit(cache=True)
def merge_store(s, line, mask, cycle):
    """Streaming: gather a line's stores, and push it on when it is full."""
    c = s.clock
    free = MISS
    oldest = 0
    for at in range(s.spec["stream_buffers"]):
        if s.clock["merge"][at, 0] == line + 1:
            s.clock["merge"][at, 1] |= mask
            if s.clock["merge"][at, 1] == 0xFFFF:
                return close_merge(s, at, cycle)
            return cycle
        if s.clock["merge"][at, 0] == 0:
            free = at
        elif s.clock["merge"][at, 2] < s.clock["merge"][oldest, 2] or s.clock["merge"][oldest, 0] == 0:
            oldest = at
    done = cycle
    if free == MISS:
        done = close_merge(s, oldest, cycle)
        free = oldest
    c["tick"] += 1
    s.clock["merge"][free, 0] = line + 1
    s.clock["merge"][free, 1] = mask
    s.clock["merge"][free, 2] = c["tick"]
    c["merging"] += 1
    if mask == 0xFFFF:
        return max(done, close_merge(s, free, cycle))
    return done


@njit(cache=True)
def store_cached(s, t, va, line, size, hint, cycle):
    """Commit a store to Normal cacheable memory; returns when its store buffer entry is free."""
    spec = s.spec
    c = s.clock
    if spec["on_cacheable"] == 0:
        return cycle
    mask = word_mask(va, size)
    track(s, line, mask)
    code_written(s, line)
    s.clock["counters"][L1D, ACCESSES] += 1
    index = lookup(s, L1D, line)
    if index != MISS:
        s.clock["counters"][L1D, HITS] += 1
        use_prefetched(s, L1D, index)
        s.lines[index]["info"] = (s.lines[index]["info"] & ~OLD) | DIRTY
        touch(s, L1D, index)
        return max(cycle, s.lines[index]["ready"])
    s.clock["counters"][L1D, MISSES] += 1
    c["track_missed"] = 1
    streaming = spec["stream_l1"] > 0 and c["stream_lines"] >= spec["stream_l1"]
    if (streaming and spec["on_streaming"] == 1) or (hint == 1 and spec["non_temporal_streams"] == 1):
        s.clock["counters"][ROW_STORE, MISSES] += 1  # reported as "streamed"
        return merge_store(s, line, mask, cycle)
    if spec["write_allocate"] == 0 and lookup(s, L2, line) == MISS:
        return merge_store(s, line, mask, cycle)
    ready = allocate_store(s, line, cycle)
    if spec["prefetch_stores"] == 1:
        train(s, t, spec["streams"], va >> 6, line, cycle)
    return ready


@njit(cache=True)
def store_noncacheable(s, line, cycle):
    """Commit a store to Normal-NC memory: stores to one line gather, each line takes a write buffer."""
    spec = s.spec
    c = s.clock
    s.clock["counters"][ROW_NC, WRITE_BACKS] += 1  # reported as "writes"
    observe_write(s, line)
    if spec["on_noncacheable"] == 0 or c["gather_line"] == line + 1:
        return cycle
    c["gather_line"] = line + 1
    for at in range(spec["nc_outstanding"]):
        if s.clock["nc_lines"][at, 0] == line + 1:
            s.clock["nc_lines"][at, 0] = 0
    start = buffer_start(s, spec["nc_write_base"], spec["nc_writes"], cycle, spec["nc_cycles"])
    slot = c["slot"]
    done = dram_write(s, line, start) + spec["nc_cycles"]
    hold(s, slot, start, done)
    c["stores_done"] = max(c["stores_done"], done)
    return start


@njit(cache=True)
def store_device(s, line, size, kind, cycle):
    """Commit a store to Device memory; returns when its buffer entry is free: at the acknowledgement its type asks for."""
    spec = s.spec
    c = s.clock
    s.clock["counters"][ROW_DEVICE, WRITE_BACKS] += 1  # reported as "stores"
    observe_write(s, line)
    if spec["on_device_order"] == 0:
        return cycle
    trip = spec["device_cycles"]
    if kind >= NGNRE:
        trip = spec["device_early_cycles"]
    pieces = max(1, (size + spec["device_bytes"] - 1) // spec["device_bytes"])
    done = cycle
    for _ in range(pieces):
        begin = buffer_start(s, spec["device_write_base"], spec["device_writes"], cycle, trip)
        if kind <= NGNRE:
            begin = max(begin, c["device_store_begun"])
            c["device_store_begun"] = begin
        hold(s, c["slot"], begin, begin + trip)
        done = max(done, begin + trip)
        c["stores_done"] = max(c["stores_done"], begin + spec["device_cycles"])
    c["device_stored"] = max(c["device_stored"], done)
    return done


@njit(cache=True)
def store(s, t, op, va, cycle):
    """Commit a store after it has retired at `cycle`, in order; its waiting is felt through the store buffer only."""
    spec = s.spec
    c = s.clock
    size = op["size"]
    if op["access"] == ZERO:
        size = spec["zva_bytes"]
        va = va & ~(size - 1)
    s.clock["counters"][ROW_STORE, ACCESSES] += 1
    saved = c["segments"]
    leaf = STORE_BUFFER
    release = max(cycle, c["drained"])
    end = va + max(size, 1)
    piece = va
    while piece < end:
        until = min(end, ((piece >> 6) + 1) << 6)
        known = translate(s, t, piece, cycle, DTLB)
        kind = c["type"]
        line = c["pa"] >> 6
        if kind == WB or (kind == WT and spec["wt_is_nc"] == 0):
            done = store_cached(s, t, piece, line, until - piece, op["non_temporal"], known)
        elif kind >= NC:
            done = store_noncacheable(s, line, known)
        else:
            done = store_device(s, line, until - piece, kind, known)
            leaf = DEVICE_STORE
        release = max(release, done)
        piece = until
    c["segments"] = saved
    c["drained"] = release
    c["stores_done"] = max(c["stores_done"], release)
    enter_store_buffer(s, va, release, leaf)


@njit(cache=True)
def enter_store_buffer(s, va, release, leaf):
    """Note when the entry of this store becomes free; a store to the block of the last one shares its entry."""
    spec = s.spec
    c = s.clock
    s.clock["recent_stores"][c["stores"] & 7] = (va >> 4) + 1
    c["stores"] += 1
    block = (va >> spec["merge_log2"]) + 1
    if leaf == STORE_BUFFER and block == c["merge_block"] and spec["merge_log2"] > 3:
        at = c["entry"]
    else:
        at = c["entry"] + 1
        if at >= spec["store_entries"]:
            at = 0
        c["entry"] = at
    c["merge_block"] = block
    s.clock["entries"][at, 0] = release
    s.clock["entries"][at, 1] = leaf


# --- Maintenance and barriers -------------------------------------------------------------------------------------------


@njit(cache=True)
def clean_line(s, line, cycle, to_pou, invalidate, keep):
    """Apply a DC by VA to every level before its point; returns when a write-back it made is taken, else `cycle`.

    `keep` is 0 where dirty data are thrown away (IVAC).
    """
    dirty = 0
    last = 3
    if to_pou:
        last = 1
    for level in range(last):
        if s.spec["level_present"][level] == 0 or s.spec["level_behind_poc"][level] == 1:
            continue
        index = lookup(s, level, line)
        if index == MISS:
            continue
        dirty |= s.lines[index]["info"] & FLAGS
        s.lines[index]["info"] &= ~(DIRTY | OLD)
        if invalidate:
            s.lines[index]["tag"] = 0
            s.lines[index]["age"] = 0
    if dirty & DIRTY == 0:
        return cycle
    s.clock["counters"][ROW_MAINTENANCE, WRITE_BACKS] += keep
    if keep == 0:
        if dirty & OLD == 0:
            report_lost(s, line)
        else:
            s.clock["old_discarded"] += 1
        return cycle
    if to_pou:
        write_l2(s, line, dirty, cycle)
        return cycle
    if dirty & STALE:
        report_lost(s, line)
    if s.spec["level_present"][L3] == 1 and s.spec["level_behind_poc"][L3] == 1:
        return write_l3(s, line, DIRTY, cycle)
    return dram_write(s, line, cycle) + s.spec["write_ack"]


@njit(cache=True)
def maintain_address(s, t, op, va, cycle):
    """DC by VA, in order after older stores; returns when its store buffer entry is free."""
    spec = s.spec
    c = s.clock
    kind = op["maintenance"]
    saved = c["segments"]
    known = translate(s, t, va, cycle, DTLB)
    line = c["pa"] >> 6
    c["segments"] = saved
    if c["merging"] > 0:
        flush_merge(s, line, known)
    s.clock["counters"][ROW_MAINTENANCE, ACCESSES] += 1
    keep = 1
    if kind == DC_IVAC and spec["ivac_cleans"] == 0 and c["stage2"] == 0:
        keep = 0
    invalidate = kind in (DC_IVAC, DC_CIVAC)
    start = max(known, c["maintenance_next"])
    start = buffer_start(s, spec["dc_base"], spec["dc_outstanding"], start, spec["dc_clean"])
    slot = c["slot"]
    taken = clean_line(s, line, start, kind == DC_CVAU, invalidate, keep)
    done = start + spec["dc_clean"]
    if taken != start:
        done = max(taken, start + spec["dc_dirty"])
    if spec["on_dc"] == 0:
        return cycle
    c["maintenance_next"] = start + spec["dc_interval"]
    hold(s, slot, start, done)
    c["maintenance_done"] = max(c["maintenance_done"], done)
    return start + spec["dc_interval"]


@njit(cache=True)
def maintain_set_way(s, op, cycle):
    """DC by set and way. The operand is not in the trace: the n-th one reaches the n-th way of L1D, as such loops go."""
    spec = s.spec
    c = s.clock
    s.clock["counters"][ROW_MAINTENANCE, ACCESSES] += 1
    index = s.spec["level_base"][L1D] + c["set_way"] % (s.spec["level_sets"][L1D] * s.spec["level_ways"][L1D])
    c["set_way"] += 1
    if s.lines[index]["tag"] != 0:
        flags = s.lines[index]["info"] & FLAGS
        line = s.lines[index]["tag"] - 1
        # Under stage 2 (HCR_EL2.VM or DC) ISW is performed as CISW (Arm ARM, DC ISW).
        loses = op["maintenance"] == DC_ISW and c["stage2"] == 0
        if flags & DIRTY:
            if loses:
                report_lost(s, line)
            else:
                write_l2(s, line, flags, cycle)
        s.lines[index]["info"] &= ~(DIRTY | OLD)
        if op["maintenance"] != DC_CSW:
            s.lines[index]["tag"] = 0
            s.lines[index]["age"] = 0
    if spec["on_dc"] == 0:
        return cycle
    start = max(cycle, c["maintenance_next"])
    c["maintenance_next"] = start + spec["set_way"]
    c["maintenance_done"] = max(c["maintenance_done"], start + spec["set_way"])
    return start + spec["set_way"]


@njit(cache=True)
def clear_l1i(s, line):
    """Drop a line from L1I, or all with MISS, and what fetch has buffered."""
    c = s.clock
    c["fetch_key"] = MISS
    for at in range(8):
        s.clock["fetch_groups"][at] = 0
    if line != MISS:
        index = lookup(s, L1I, line)
        if index != MISS:
            s.lines[index]["tag"] = 0
            s.clock["code_lines"][line & 4095] -= 1
        return
    for index in range(s.spec["level_base"][L1I], s.spec["level_base"][L1I] + s.spec["level_sets"][L1I] * s.spec["level_ways"][L1I]):
        s.lines[index]["tag"] = 0
        s.lines[index]["age"] = 0
    for at in range(4096):
        s.clock["code_lines"][at] = 0


@njit(cache=True)
def maintain(s, t, op, va, cycle):
    """Any DC, IC, TLBI or AT, after it has retired at `cycle`; takes a store buffer entry."""
    spec = s.spec
    c = s.clock
    kind = op["maintenance"]
    cycle = max(cycle, c["drained"])
    release = cycle
    if kind in (DC_IVAC, DC_CIVAC, DC_CVAC, DC_CVAU, DC_CVAP):
        release = maintain_address(s, t, op, va, cycle)
    elif kind in (DC_ISW, DC_CSW, DC_CISW):
        release = maintain_set_way(s, op, cycle)
    elif kind in (IC_IALLU, IC_IALLUIS, IC_IVAU):
        line = MISS
        if kind == IC_IVAU and op["slot"] >= 0:
            translate(s, t, va, cycle, DTLB)
            line = c["pa"] >> 6
        clear_l1i(s, line)
        c["maintenance_done"] = max(c["maintenance_done"], cycle + spec["ic_cycles"] * spec["on_ic"])
    elif TLBI_FIRST <= kind <= TLBI_LAST:
        regime = c["regime"] & 1
        if kind in (TLBI_ALLE2, TLBI_ALLE2IS):
            regime = 1
        if kind in (TLBI_ALLE1, TLBI_ALLE1IS):
            regime = 0
        tlb_invalidate(s, regime)
        c["maintenance_done"] = max(c["maintenance_done"], cycle + spec["tlbi_cycles"] * spec["on_tlbi"])
    c["drained"] = max(c["drained"], release)
    enter_store_buffer(s, MISS, release, MAINTENANCE)
    c["merge_block"] = 0


@njit(cache=True)
def barrier(s, op, cycle):
    """Execute DSB, DMB, ISB or SB; returns when it completes, and says what later instructions wait for."""
    spec = s.spec
    c = s.clock
    kind = op["barrier"]
    cycle = max(cycle, c["retire"])
    segment(s, cycle, BASE)
    if kind == DSB:
        return data_barrier(s, cycle)
    if kind == DMB:
        if spec["on_dmb"] == 0:
            return cycle
        if op["barrier_option"] & 3 != 1:
            c["memory_after"] = max(c["memory_after"], c["stores_done"])
        done = cycle + spec["dmb_cycles"]
        segment(s, done, BARRIER)
        return done
    if kind in (ISB, SB):
        done = cycle + 1
        if spec["on_isb"] == 1:
            done = cycle + spec["isb_cycles"]
        segment(s, done, BARRIER)
        redirect(s, done, BARRIER)
        return done
    return cycle + 1


@njit(cache=True)
def data_barrier(s, cycle):
    """DSB: everything older is complete, maintenance and stores acknowledged; nothing younger executes before."""
    spec = s.spec
    c = s.clock
    if c["merging"] > 0:
        saved = c["segments"]
        flush_merge(s, MISS, cycle)
        c["segments"] = saved
    c["gather_line"] = 0
    done = cycle
    if spec["on_dsb"] == 1:
        waits = c["maintenance_done"]
        segment(s, waits, MAINTENANCE)
        segment(s, c["device_stored"], DEVICE_STORE)
        segment(s, c["stores_done"], STORE_BUFFER)
        done = max(cycle, waits, c["stores_done"]) + spec["dsb_cycles"]
        segment(s, done, BARRIER)
    c["block"] = done
    c["block_leaf"] = BARRIER
    return done


@njit(cache=True)
def redirect(s, cycle, leaf):
    """Fetch begins anew at that cycle, for the reason `leaf`."""
    c = s.clock
    if cycle > c["redirect"]:
        c["redirect"] = cycle
        c["redirect_leaf"] = leaf
    c["fetch_key"] = MISS


# --- Fetch --------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def fetch(s, t, op):
    """When the instruction is there to be dispatched; bills redirects, ITLB misses and fetches."""
    spec = s.spec
    c = s.clock
    key = op["va"] >> 6
    if c["fetch_uncached"] == 1:
        key = op["va"] >> spec["uncached_log2"]
    if key == c["fetch_key"]:
        return c["fetched"]
    start = max(c["fetch_next"], s.clock["dispatched"][(c["count"] - spec["fetch_queue"]) & 1023])
    if c["redirect"] > 0:
        start = max(start, c["redirect"])
        segment(s, c["redirect"], c["redirect_leaf"])
        c["redirect"] = 0
    known = translate(s, t, op["va"], start, ITLB)
    segment(s, known, TLB_WALK)
    line = c["pa"] >> 6
    c["fetch_uncached"] = 0
    if c["type"] < WT:
        c["fetch_uncached"] = 1
        key = op["va"] >> spec["uncached_log2"]
        ready = fetch_group(s, key, line, known)
    else:
        key = op["va"] >> 6
        ready = fetch_line(s, line, known)
    c["fetch_key"] = key
    c["fetched"] = ready
    segment(s, ready, FETCH)
    return ready


@njit(cache=True)
def fetch_group(s, key, line, cycle):
    """Fetch past the caches (SCTLR.I = 0, or Device and Normal-NC pages), a group at a time."""
    spec = s.spec
    c = s.clock
    s.clock["counters"][ROW_FETCH, ACCESSES] += 1
    for at in range(spec["buffer_groups"]):
        if s.clock["fetch_groups"][at] == key + 1:
            s.clock["counters"][ROW_FETCH, HITS] += 1
            c["fetch_next"] = cycle
            return cycle
    observe_read(s, line)
    s.clock["counters"][ROW_FETCH, MISSES] += 1
    if spec["buffer_groups"] > 0:
        at = c["group"] % spec["buffer_groups"]
        s.clock["fetch_groups"][at] = key + 1
        c["group"] = at + 1
    if spec["on_uncached_fetch"] == 0:
        return cycle
    start = buffer_start(s, spec["fetch_base"], spec["fetch_outstanding"], cycle, spec["uncached_cycles"])
    hold(s, c["slot"], start, start + spec["uncached_cycles"])
    c["fetch_next"] = start
    return start + spec["uncached_cycles"]


@njit(cache=True)
def fetch_line(s, line, cycle):
    """Fetch through L1I. A hit costs nothing beyond the pipeline's depth, which only a redirect shows."""
    spec = s.spec
    c = s.clock
    c["fetch_next"] = cycle + 1
    if spec["on_icache"] == 0 or spec["on_cacheable"] == 0:
        return cycle
    s.clock["counters"][L1I, ACCESSES] += 1
    index = lookup(s, L1I, line)
    if index != MISS:
        s.clock["counters"][L1I, HITS] += 1
        if s.lines[index]["info"] & STALE:
            report_stale(s, line)
        touch(s, L1I, index)
        return max(cycle, s.lines[index]["ready"])
    s.clock["counters"][L1I, MISSES] += 1
    ready = read_l2(s, line, cycle, 1)
    index = victim(s, L1I, line)
    if s.lines[index]["tag"] != 0:
        count_eviction(s, L1I, 0)
        s.clock["code_lines"][(s.lines[index]["tag"] - 1) & 4095] -= 1
    place(s, L1I, index, line, ready, origin(s))
    s.clock["code_lines"][line & 4095] += 1
    if spec["on_prefetch"] == 1:
        for ahead in range(1, spec["fetch_prefetch"] + 1):
            if ((line + ahead) >> 6) == (line >> 6):
                prefetch_l2(s, line + ahead, cycle)
    return ready


# --- The pipeline -------------------------------------------------------------------------------------------------------


@njit(cache=True)
def dispatch(s, op, fetched):
    """Place the instruction in the window: in order, `dispatch_width` a cycle, when the window has room."""
    spec = s.spec
    c = s.clock
    cycle = max(fetched, c["dispatch"], s.clock["retired"][(c["count"] - spec["rob"]) & 1023])
    if c["block"] > cycle:
        cycle = c["block"]
        segment(s, cycle, c["block_leaf"])
    if spec["in_order"] == 1:
        cycle = max(cycle, c["issued"])
    if op["uses_entry"] == 1:
        at = c["entry"] + 1
        if at >= spec["store_entries"]:
            at = 0
        if s.clock["entries"][at, 0] > cycle and spec["on_store_buffer"] == 1:
            segment(s, cycle, BASE)
            cycle = s.clock["entries"][at, 0]
            segment(s, cycle, s.clock["entries"][at, 1])
    if cycle == c["dispatch"]:
        c["in_cycle"] += 1
        if c["in_cycle"] > spec["dispatch_width"]:
            cycle += 1
            c["in_cycle"] = 1
    else:
        c["in_cycle"] = 1
    c["dispatch"] = cycle
    s.clock["dispatched"][c["count"] & 1023] = cycle
    return cycle


@njit(cache=True)
def operands_ready(s, op, cycle):
    """When the last source register is written."""
    ready = cycle
    if op["src0"] < 96:
        ready = max(ready, s.clock["registers"][op["src0"]])
    if op["src1"] < 96:
        ready = max(ready, s.clock["registers"][op["src1"]])
    if op["src2"] < 96:
        ready = max(ready, s.clock["registers"][op["src2"]])
    if op["src3"] < 96:
        ready = max(ready, s.clock["registers"][op["src3"]])
    return ready


@njit(cache=True)
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
                s.clock["registers"][register] = address_done
            else:
                s.clock["registers"][register] = done


@njit(cache=True)
def execute(s, t, op, issue, va):
    """Carry out an instruction from its issue on; returns when it may retire."""
    spec = s.spec
    c = s.clock
    cls = op["cls"]
    access = op["access"]
    if cls == CLS_BARRIER:
        return barrier(s, op, issue)
    if access in (LOAD, LOAD_STORE):
        return load(s, t, op, va, issue)
    if cls == SYSTEM_WRITE:
        begin = max(issue, c["retire"])
        segment(s, begin, BASE)
        if spec["on_system"] == 0:
            return begin + 1
        c["block"] = begin + spec["system_write"]
        c["block_leaf"] = BASE
        return begin + spec["system_write"]
    if access == ACCESS_PREFETCH:
        saved = c["segments"]
        known = translate(s, t, va, issue, DTLB)
        if c["type"] == WB and spec["on_cacheable"] == 1:
            prefetch_l1(s, c["pa"] >> 6, known)
        c["segments"] = saved
        return issue + 1
    return issue + op["latency"]


@njit(cache=True)
def charge(s, r, row, done):
    """Retire: bill the cycles since the last retirement to what the instruction waited for, exactly."""
    spec = s.spec
    c = s.clock
    last = c["retire"]
    now = max(last, done)
    if now == last:
        c["retired_in_cycle"] += 1
        if c["retired_in_cycle"] > spec["retire_width"]:
            now += 1
            c["retired_in_cycle"] = 1
    else:
        c["retired_in_cycle"] = 1
    at = last
    for index in range(c["segments"]):
        until = min(s.clock["segment"][index, 0], now)
        if until > at:
            r.insn_cycles[row, s.clock["segment"][index, 1]] += until - at
            at = until
    if now > at:
        r.insn_cycles[row, BASE] += now - at
    r.insn_count[row] += 1
    c["retire"] = now
    s.clock["retired"][c["count"] & 1023] = now
    c["count"] += 1
    return now


@njit(cache=True)
def branch(s, r, op, row, issue, next_va):
    """Resolve the branch that ended a block; a wrong prediction makes fetch begin anew."""
    spec = s.spec
    c = s.clock
    resolved = issue + 1
    in_order = spec["branch_in_order"] == 1 and c["stage1"] == 0
    if in_order:
        resolved = max(resolved, c["branch_resolved"])
    c["branch_resolved"] = max(c["branch_resolved"], resolved)
    taken = next_va != op["va"] + 4
    right = True
    cls = op["cls"]
    if cls == B_COND:
        counter = r.predictor[row, 0]
        if counter < 0:
            # Not seen before: static prediction, backward taken, where there is one.
            counter = 0
            if op["backward"] == 1 and not in_order:
                counter = 2
        right = taken == (counter >= 2)
        if taken:
            r.predictor[row, 0] = min(3, counter + 1)
        else:
            r.predictor[row, 0] = max(0, counter - 1)
        if r.predictor[row, 1] == 0 and taken:
            # A loop's first turn shows its direction; two-bit counters begin weakly.
            r.predictor[row, 0] = max(2, r.predictor[row, 0])
        r.predictor[row, 1] = 1
    elif cls == B_INDIRECT and op["is_return"] == 0:
        right = r.predictor[row, 1] == next_va
        r.predictor[row, 1] = next_va
    s.clock["counters"][ROW_BRANCH, ACCESSES] += 1
    if right:
        s.clock["counters"][ROW_BRANCH, HITS] += 1
    else:
        s.clock["counters"][ROW_BRANCH, MISSES] += 1
        if spec["on_branch"] == 1:
            redirect(s, resolved + spec["mispredict"], BRANCH)


@njit(cache=True)
def step(s, t, r, op, row, va, next_va):
    """One instruction, from fetch to retirement. `next_va` is where the PE went after it, or MISS within a block."""
    spec = s.spec
    c = s.clock
    c["segments"] = 0
    fetched = fetch(s, t, op)
    cycle = dispatch(s, op, fetched)
    issue = operands_ready(s, op, cycle)
    if spec["in_order"] == 1:
        issue = max(issue, c["issued"])
    if op["port_count"] > 0:
        issue = reserve_port(s, op["port"], op["port_count"], issue, op["port_slots"])
    c["issued"] = issue
    segment(s, issue, BASE)
    done = execute(s, t, op, issue, va)
    write_registers(s, op, done, issue + 1)
    now = charge(s, r, row, done)
    if op["uses_entry"] == 1:
        if op["cls"] == CLS_MAINTENANCE and op["access"] != ZERO:
            maintain(s, t, op, va, now)
        else:
            store(s, t, op, va, now)
    if op["cls"] == CLS_ERET and spec["on_exception"] == 1:
        redirect(s, now + spec["exception_cycles"], EXCEPTION)
    if next_va != MISS and op["is_branch"] == 1:
        branch(s, r, op, row, issue, next_va)


# --- The tape -----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def enter_epoch(s, e):
    """Make a row of Trace.epochs the current regime."""
    c = s.clock
    c["epoch"] = e["row"]
    c["flat"] = e["flat"]
    c["flat_type"] = e["flat_type"]
    c["flat_fetch_type"] = e["flat_fetch_type"]
    c["walk_type"] = e["walk_type"]
    c["walk2_type"] = e["walk2_type"]
    c["stage1"] = e["stage1"]
    c["stage2"] = e["stage2"]
    c["regime"] = e["regime"]
    c["asid"] = e["asid"]
    if e["cause"] < QUIET_CAUSE:
        c["fetch_key"] = MISS


@njit(cache=True)
def apply_marks(s, tape, execution):
    """Act on what happened before that execution."""
    c = s.clock
    while c["mark"] < s.spec["mark_count"] and tape.marks[c["mark"]]["at"] <= execution:
        mark = tape.marks[c["mark"]]
        if mark["kind"] == MARK_EPOCH:
            enter_epoch(s, tape.epochs[mark["a"]])
        elif mark["kind"] == MARK_EXCEPTION and s.spec["on_exception"] == 1:
            redirect(s, c["retire"] + s.spec["exception_cycles"], EXCEPTION)
        c["mark"] += 1


@njit(cache=True)
def executed_count(s, tape, execution, count):
    """How many instructions of a block ran: all, or what a TRUNCATE mark just after it says."""
    mark = s.clock["mark"]
    while mark < s.spec["mark_count"] and tape.marks[mark]["at"] <= execution + 1:
        if tape.marks[mark]["at"] == execution + 1 and tape.marks[mark]["kind"] == MARK_TRUNCATE:
            return min(count, tape.marks[mark]["a"])
        mark += 1
    return count


@njit(cache=True)
def address_of(op, values, first):
    """The address that an instruction forms, or MISS without one."""
    if op["slot"] >= 0:
        return values[first + op["slot"]] + op["offset"]
    if op["literal"] == 1:
        return op["va"] + op["offset"]
    return MISS


@njit(cache=True)
def replay(s, t, r, tape, start, count):
    """Replay `count` executions of the tape, number `start` of the trace being the first; returns how many were replayed.

    Stops early when the lists of stale and lost lines must be emptied, or with clock.failure set.
    """
    c = s.clock
    value = 0
    for at in range(count):
        execution = start + at
        apply_marks(s, tape, execution)
        while c["checkpoint"] < s.spec["checkpoint_count"] and tape.checkpoints[c["checkpoint"]] <= execution:
            r.checkpoint_cycles[c["checkpoint"]] = c["retire"]
            c["checkpoint"] += 1
        block = tape.executions[at]
        first = tape.blocks[block, 0]
        last = first + executed_count(s, tape, execution, tape.blocks[block, 1]) - 1
        # The row after the last is a sentinel: -1 where the trace ends there.
        follower = tape.executions[at + 1]
        for row in range(first, last + 1):
            op = tape.ops[row]
            next_va = MISS
            if row == last and follower >= 0:
                next_va = tape.ops[tape.blocks[follower, 0]]["va"]
            step(s, t, r, op, row, address_of(op, tape.values, value), next_va)
        value += tape.blocks[block, 2]
        if c["failure"] != 0 or max(c["stale_count"], c["lost_count"]) > LIST_FULL:
            return at + 1
    return count
