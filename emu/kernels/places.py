"""Places in the control block of the callbacks, and columns of the tables that it points to.

`emu.capture` owns the arrays; here they are host addresses in one control block, the user_data of the callbacks.
"""

(
    C_REASON,  # REASON_NONE, or why the callback stopped
    C_PC,  # of the block, or the instruction, it stands before
    C_SIZE,  # of that block, bytes
    C_INSN,  # of REASON_RAISE: the instruction's place in its block
    C_RAISE,  # of REASON_RAISE: RAISE_...
    C_VA,  # of REASON_RAISE: the address
    C_PENDING,  # PENDING_... bits: look before the next block
    C_PASS,  # PASS_...: what the next block need not stop for
    C_STOP_PC,  # stop before the instruction here (it has a code hook); NOWHERE
    C_EPOCH,
    C_FLAT,  # 1: neither stage translates
    C_FLAT_TYPE,
    C_PA_BITS,
    C_INSTRUCTIONS,  # begun so far
    C_BUDGET,
    C_CURRENT,  # number of the record of the block begun last; NOWHERE
    C_CURRENT_VALUES,  # number of its first value
    C_FOUND_PA,  # what `resolve` found
    C_FOUND_TYPE,
    C_SCRATCH,  # one register, on its way
    C_EXECUTIONS_AT,
    C_EXECUTIONS_USED,
    C_EXECUTIONS_LIMIT,
    C_VALUES_AT,
    C_VALUES_USED,
    C_VALUES_LIMIT,
    C_LOOKUP_AT,
    C_LOOKUP_MASK,
    C_RECORDS_AT,
    C_GROUPS_AT,
    C_GROUPS_USED,
    C_OPERANDS_AT,
    C_OPERANDS_USED,
    C_LATE_AT,
    C_PAGES_AT,
    C_PAGES_MASK,
    C_PAGES_USED,
    C_PAGES_LIMIT,
    C_ROWS_AT,
    C_ROWS_USED,
    C_ROWS_LIMIT,
    C_READS_AT,
    C_READS_USED,
    C_READS_BEFORE,  # walk reads already taken away: the row of the first one in C_READS_AT
    C_READS_LIMIT,
    C_WATCH_AT,
    C_WATCH_MASK,
    C_WATCH_USED,
    C_WATCH_LIMIT,
    C_REGIONS_AT,
    C_REGIONS_COUNT,
    C_REGIME_AT,
    C_RESULT_AT,
    C_ATTENDED,  # 1: `call_attend` sees to what the callbacks would stop for, while Unicorn waits
) = range(54)
CONTROL_WORDS = 64
NOWHERE = -1

REASON_NONE = 0
REASON_PENDING = 1
REASON_UNKNOWN = 2
"""No record of a block of this address and size."""
REASON_MARKED = 3
"""The block asks to stop before each execution."""
REASON_BUDGET = 4
REASON_RAISE = 5
"""The architecture refuses an access that Unicorn would let pass."""
REASON_AT_PC = 6
"""Before the instruction at C_STOP_PC."""
REASON_RAISE_LATE = 7
"""As REASON_RAISE, but in a block that has begun, before the instruction at C_PC."""
REASON_WALK = 8
"""A walk faults, perhaps only for want of tables that were never copied. Of attended runs alone."""

PENDING_REGIME = 1
"""The last block may have changed the regime."""
PENDING_TABLE = 2
"""It stored to a line that descriptors of this epoch were read from."""
PENDING_CODE = 4
"""It stored to a line that instructions of this epoch were fetched from."""
PENDING_FULL = 8
"""Executions or values are full."""
PENDING_ROOM = 16
"""Pages, translations, walk reads or watched pages are nearly full."""
PENDING_JUDGE = 32
"""Lines became watched since the last block was judged: the callback looks itself."""

PASS_NOTHING = 0
PASS_MARK = 1
PASS_RAISE = 2

RAISE_NONE = 0
RAISE_ALIGNMENT = 1
RAISE_SP_ALIGNMENT = 2
RAISE_WALK = 3
"""DC or IC by VA: the walk faults."""
RAISE_EXCLUSIVE = 4
"""An exclusive or atomic access to Device memory."""

# Columns of the lookup table (open addressing), by (va, size of the block).
L_VA, L_SIZE, L_RECORD = range(3)
LOOKUP_COLUMNS = 3

# Columns of a record: what the callback needs of one block.
(
    RC_VA,
    RC_BLOCK,  # row of Trace.blocks
    RC_COUNT,
    RC_VALUES,
    RC_GROUP_FIRST,
    RC_GROUP_COUNT,  # of those read at entry
    RC_LATE_FIRST,
    RC_LATE_COUNT,
    RC_MARKED,
    RC_AFTER,  # PENDING_... to set once it has begun
    RC_STOP_INSN,  # stop before this instruction of it; -1
) = range(11)
RECORD_COLUMNS = 16

# Columns of a group: a value to capture, and the operands of the block that are formed from it. While all of them stay
# within the page seen last, and the value is aligned by G_MASK, nothing need be looked up.
(
    G_SLOT,  # -1: the value is 0, and not captured (PC-relative loads)
    G_BASE,  # the value: X[base], or X[base] + (extend(X[index]) << shift), by Unicorn's numbers of registers
    G_INDEX,  # -1 if none
    G_EXTEND,
    G_SHIFT,
    G_LOW,  # lowest offset
    G_SPAN,  # bytes from there to the end of the highest
    G_PAGE,  # page seen last; NOWHERE
    G_MASK,
    G_MASK_NORMAL,  # what G_MASK becomes in Normal memory; -1: never keep the page
    G_MASK_DEVICE,
    G_FIRST,
    G_COUNT,
) = range(13)
GROUP_COLUMNS = 16

# Columns of a late capture: before which instruction which group's value is read.
LT_INSN, LT_GROUP = range(2)
LATE_COLUMNS = 2

# Columns of an operand.
(
    OP_INSN,
    OP_OFFSET,
    OP_SIZE,
    OP_ALIGNMENT,  # bytes of an element, less one
    OP_KIND,  # LOAD .. MAINTAIN_WRITE
    OP_FLAGS,
    OP_SP_DELTA,  # added to the value: SP as the instruction sees it
) = range(7)
OPERAND_COLUMNS = 8

OP_STRICT = 1
"""Unaligned faults in any memory."""
OP_ZERO = 2
"""DC ZVA: a whole block around the address."""
OP_SP = 4
"""SP must be aligned to 16 bytes."""
OP_EXCLUSIVE = 8
OP_PREFETCH = 16
OP_UNPRIVILEGED = 32
"""LDTR, STTR: judged as EL0's."""
ZVA_BLOCK = 64

# Columns of the page table cache (open addressing), of translation rows and of walk reads.
P_PAGE, P_PA, P_TYPE = range(3)
PAGES_COLUMNS = 3
(
    ROW_EPOCH,
    ROW_PAGE,
    ROW_PA,
    ROW_MEMORY_TYPE,
    ROW_FETCH_TYPE,
    ROW_SHAREABILITY,
    ROW_LEAF_LOG2,
    ROW_LEAF2_LOG2,
    ROW_CONTIGUOUS,
    ROW_GLOBAL,
    ROW_WALK_COUNT,
    ROW_WALK_FIRST,
) = range(12)
ROW_COLUMNS = 12
READ_COLUMNS = 3

# Columns of watched physical pages (open addressing): a bit for each 64-byte line that holds descriptors, or code.
WT_PAGE, WT_TABLE, WT_CODE = range(3)
WATCH_COLUMNS = 3

PART_FAULTS = 0
PART_LOOK = 1
"""Stores to a watched page: look each time."""
PART_KEEP = 2

ROOM_ROWS = 1024
ROOM_READS = 16384
ROOM_VALUES = 1024
"""More than one block can append: at most 256 instructions, each touching two pages, each walk MOST_READS."""

PAGE_NUMBERS = (1 << 52) - 1
OFFSET = 4095
DEVICE_GRE = 3
