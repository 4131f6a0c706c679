"""Where things lie in the machine's tables: levels, TLBs, calendars, flags, columns, counters, leaves.

Here rather than in `caches.state`: compiled code takes them as plain numbers.
"""

EXTENDED = 5
"""level_replacement of a policy from outside; the others are those of caches.parts.Replacement."""

EXTENSION_WANTED, EXTENSION_WORDS = 64, 80
"""Where in extension_words a prefetcher from outside writes the lines that it wants, and how many words there are."""

MISS = -1
ANY = -1
"""Where a page, an ASID or a regime could be named: all of them."""

# Bits of `demand` in read_l2: counted as a demand access; of a fetch or a table walk, which an exclusive L2 keeps.
COUNTED, KEPT = 1, 2

# Levels, in the order of state.LEVEL_NAMES.
L1D, L2, L3, L1I = 0, 1, 2, 3
# TLBs, in the order of state.TLB_NAMES.
ITLB, DTLB, L2TLB = 0, 1, 2

# Calendars: one port group after another, then the levels, then the DRAM channels, then what writes pass before them.
SLOTS_MASK = 4095
CALENDAR_ALU, CALENDAR_MULTI, CALENDAR_LOAD, CALENDAR_STORE, CALENDAR_VECTOR, CALENDAR_BRANCH = 0, 6, 8, 12, 16, 20
CALENDAR_L2, CALENDAR_L3, CALENDAR_DRAM, CALENDAR_WRITES = 22, 23, 24, 32

# The word of a way, in State.tags: line + 1 from bit FLAG_BITS on, what is remembered of it below; 0: nothing is held.
# One word, so that what a large cache is asked about a set lies in two lines of the host's. On their way to
# `sets.place` the flags have the leaf that the line came from (8 bits) and its queueing above them.
FLAG_BITS = 4
DIRTY = 1
PREFETCHED = 2
OLD = 4  # dirty since before the run
STALE = 8  # memory was written past it
FLAGS = 15

# State.code_lines counts lines of L1I by this hash: few enough words to stay near.
CODE_MASK = 511

# Rows of State.registers for what is no register: one that nothing waits for, and one that nobody reads. Reading and
# writing them costs less than asking every time whether there is a register.
NO_SOURCE, NO_DESTINATION = 96, 97

# Columns of State.tlb.
TAG, SHIFT, REGIME, ASID, TLB_AGE, TLB_READY, LEAF = 0, 1, 2, 3, 4, 5, 6

# A column of State.walk_cache, beside the descriptor's place and its age.
WALK_REGIME = 2

# Columns of State.banks: the open row plus 1, when the bank is busy, in which interval between refreshes it was used.
OPEN_ROW, BUSY_FROM, BUSY_UNTIL, REFRESHES = 0, 1, 2, 3

# Columns of State.streams.
LAST, STRIDE, CONFIDENCE, AHEAD_L1, AHEAD_L2, STREAM_AGE = 0, 1, 2, 3, 4, 5

# Rows and columns of State.counters (state.COUNTER_ROWS names the rows).
ROW_FETCH, ROW_BRANCH, ROW_ITLB, ROW_DTLB, ROW_L2TLB, ROW_WALK = 4, 5, 6, 7, 8, 9
ROW_DRAM, ROW_DEVICE, ROW_NC, ROW_STORE, ROW_MAINTENANCE = 10, 11, 12, 13, 14
ACCESSES, HITS, MISSES, EVICTIONS, WRITE_BACKS, PREFETCHES, PREFETCH_HITS, PREFETCH_UNUSED = 0, 1, 2, 3, 4, 5, 6, 7

# traces.schema.LEAVES by position (tests/caches compares).
BASE, BRANCH, FETCH, DEVICE_LOAD, DEVICE_STORE, LEAF_L1D, LEAF_L2, LEAF_L3 = 0, 1, 2, 3, 4, 5, 6, 7
DRAM_LATENCY, DRAM_BANDWIDTH, STORE_BUFFER, TLB_WALK, MAINTENANCE, BARRIER, EXCEPTION = 8, 9, 10, 11, 12, 13, 14

FAILURE_NO_TRANSLATION = 1
# Rows of the lists of stale and lost lines at which a replay stops to have them emptied; one execution adds fewer
# than 8192.
LIST_ROWS = 65536
LIST_FULL = LIST_ROWS - 8192

# The buffer that is nobody's, how many bits number a buffer, and a cycle that never comes, so numbered.
NOBODY = 1535
SLOT_BITS = 11
NEVER = (1 << 62) - 1
