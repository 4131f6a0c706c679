"""What a walk goes by and what it finds, as places in arrays; accesses, faults and attributes as numbers."""

import numpy as np

# Places in `emu.regime.words`, in the order of `emu.regime.WORDS` (a test compares them).
(
    W_STAGE1,
    W_STAGE2,
    W_TWO_RANGES,
    W_WXN,
    W_DATA_NC,
    W_FETCH_NC,
    W_FLAT_TYPE,
    W_FLAT_FETCH_TYPE,
    W_FLAT_SHAREABILITY,
    W_MAIR,
    W_PA_BITS,
    W_HARDWARE_AF,
    W_HARDWARE_DIRTY,
    W_LVA,
    W_TTBR_0,
    W_GRANULE_LOG2_0,
    W_TSZ_0,
    W_DISABLED_0,
    W_TBI_0,
    W_HPD_0,
    W_OUT_0,
    W_TTBR_1,
    W_GRANULE_LOG2_1,
    W_TSZ_1,
    W_DISABLED_1,
    W_TBI_1,
    W_HPD_1,
    W_OUT_1,
    W_VTTBR,
    W_GRANULE2_LOG2,
    W_T0SZ2,
    W_START_LEVEL2,
    W_OUT2,
    W_HARDWARE_AF2,
    W_HARDWARE_DIRTY2,
    W_DATA_NC2,
    W_FETCH_NC2,
    W_PROTECTED_WALK,
    W_UNPRIVILEGED,
) = range(39)
RANGE_WORDS = W_TTBR_1 - W_TTBR_0

# Places in the result of `walk`.
(
    R_FAULT,  # FAULT_NONE, or why the walk ended; then only R_LEVEL .. R_IPA and the reads mean anything
    R_LEVEL,  # of the fault, or of the stage 1 leaf
    R_STAGE,  # of the fault
    R_ON_WALK,  # 1: a stage 2 fault on the address of a stage 1 descriptor (ISS.S1PTW)
    R_IPA,  # what stage 1 made of the VA; of a stage 2 fault, the address that stage 2 refused
    R_PA,
    R_LEAF_LOG2,  # of the stage 1 leaf; where stage 1 is off, one leaf covers the whole PA space
    R_LEAF2_LOG2,  # of the stage 2 leaf; 0 without stage 2
    R_MEMORY_TYPE,
    R_FETCH_TYPE,
    R_SHAREABILITY,
    R_CONTIGUOUS,  # of the stage 1 leaf
    R_GLOBAL,
    R_TYPE2,  # stage 2's own memory type and shareability, before they are combined
    R_SHAREABILITY2,
    R_READS,  # how many descriptors were read; three words each from R_READ on: pa, level, stage
    R_READ,
) = range(17)
MOST_READS = 24
"""Four stage 1 descriptors, each behind up to four of stage 2, and four for the address itself."""
RESULT_WORDS = R_READ + 3 * MOST_READS

# What is done to the address. Codes that functions are called with are np.int64 objects: for every plain constant in a
# call Numba compiles the callee anew (as a literal type), which trebles the time of the first run.
# UNPRIVILEGED is OR'ed in for EL0 (and LDTR, STTR).
LOAD = np.int64(0)
STORE = np.int64(1)
FETCH = np.int64(2)
MAINTAIN = np.int64(3)
"""DC or IC by VA that needs no permission at EL1 and above (DC CVAC, CVAU, CIVAC, IC IVAU)."""
MAINTAIN_WRITE = np.int64(4)
"""DC IVAC: needs write permission (facts/kernel.md 3.6)."""
UNPRIVILEGED = np.int64(8)
TABLE_READ = np.int64(5)

FAULT_NONE = np.int64(0)
FAULT_TRANSLATION = np.int64(1)
FAULT_ACCESS_FLAG = np.int64(2)
FAULT_PERMISSION = np.int64(3)
FAULT_ADDRESS_SIZE = np.int64(4)
FAULT_EXTERNAL = np.int64(5)
"""A descriptor lies where there is no RAM: synchronous external abort on the walk."""

# traces.schema.MemoryType and Shareability: frozen here, because Numba does not know IntEnum members of other modules.
NORMAL_NC = np.int64(4)
NORMAL_WT = np.int64(5)
NORMAL_WB = np.int64(6)
STAGE_1 = np.int64(1)
STAGE_2 = np.int64(2)
LEVEL_0 = np.int64(0)
SH_NON = np.int64(0)
SH_OUTER = np.int64(2)
SH_INNER = np.int64(3)
