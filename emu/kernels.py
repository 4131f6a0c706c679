"""All compiled code of `emu`: the page-table walker, and what runs inside Unicorn's callbacks.

One module, because Numba's disk cache does not notice edits in another one. Everything is int64, also addresses and
descriptors (two's complement): Numba turns mixed signs into floats. Nothing allocates, prints or raises; a failure is
a code. Under NUMBA_DISABLE_JIT=1 the same functions run as Python.
"""

import ctypes
from functools import cache

import llvmlite.binding
import numpy as np
from numba import carray, cfunc, config, njit, types
from numba.extending import intrinsic
from unicorn.unicorn_py3 import unicorn as binding

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
_TABLE_READ = np.int64(5)

FAULT_NONE = np.int64(0)
FAULT_TRANSLATION = np.int64(1)
FAULT_ACCESS_FLAG = np.int64(2)
FAULT_PERMISSION = np.int64(3)
FAULT_ADDRESS_SIZE = np.int64(4)
FAULT_EXTERNAL = np.int64(5)
"""A descriptor lies where there is no RAM: synchronous external abort on the walk."""

# traces.schema.MemoryType and Shareability: frozen here, because Numba does not know IntEnum members of other modules.
NGNRNE = np.int64(0)
NORMAL_NC = np.int64(4)
NORMAL_WT = np.int64(5)
NORMAL_WB = np.int64(6)
STAGE_1 = np.int64(1)
STAGE_2 = np.int64(2)
LEVEL_0 = np.int64(0)
SH_NON = np.int64(0)
SH_OUTER = np.int64(2)
SH_INNER = np.int64(3)


if config.DISABLE_JIT:

    def load_word(host):
        """Read the 64-bit word at a host address."""
        return np.int64(ctypes.c_int64.from_address(int(host)).value)

else:

    @intrinsic
    def load_word(typing_context, host):
        """Read the 64-bit word at a host address (the only raw memory access of the walker)."""

        def generate(context, builder, signature, arguments):
            pointer_type = context.get_value_type(types.CPointer(types.int64))
            return builder.load(builder.inttoptr(arguments[0], pointer_type))

        return types.int64(types.int64), generate


@njit(cache=True)
def bits(value, low, width):
    """Return the field of `width` bits at bit `low`."""
    return (value >> low) & ((1 << width) - 1)


@njit(cache=True)
def host_address(regions, pa):
    """Where the word at `pa` lies in the host; 0 if not in RAM."""
    for row in range(regions.shape[0]):
        offset = pa - np.int64(regions[row, 0])
        if 0 <= offset <= np.int64(regions[row, 1]) - 8:
            return np.int64(regions[row, 2]) + offset
    return np.int64(0)


@njit(cache=True)
def end_with(result, fault, level, stage):
    """Note why the walk ended, and return it."""
    result[R_FAULT] = fault
    result[R_LEVEL] = level
    result[R_STAGE] = stage
    return fault


@njit(cache=True)
def note_read(result, pa, level, stage):
    """Append one descriptor read."""
    at = R_READ + 3 * result[R_READS]
    result[at] = pa
    result[at + 1] = level
    result[at + 2] = stage
    result[R_READS] += 1


@njit(cache=True)
def attribute_half(nibble):
    """Memory type of one half of a Normal MAIR attribute."""
    if nibble in (0, 4):
        return NORMAL_NC
    return NORMAL_WB if nibble & 4 else NORMAL_WT


@njit(cache=True)
def attribute_type(attribute):
    """Memory type of a MAIR byte: `emu.fields.attribute_type`, compiled (a test compares all 256)."""
    if attribute == 0xF0:
        return NORMAL_WB
    if attribute >> 4 == 0:
        return attribute >> 2 & 3
    return min(attribute_half(attribute >> 4), attribute_half(attribute & 15))


@njit(cache=True)
def stage2_type(memattr):
    """Memory type of a stage 2 descriptor's MemAttr[3:0] (Arm ARM D8.5.5, without FEAT_S2FWB)."""
    if memattr >> 2 == 0:
        return memattr & 3
    outer = 3 + (memattr >> 2)
    inner = NORMAL_NC if memattr & 3 == 0 else 3 + (memattr & 3)
    return min(outer, inner)


@njit(cache=True)
def first_level(input_bits, granule_log2):
    """Level of the first lookup of stage 1: as few levels as resolve the input address."""
    stride = granule_log2 - 3
    return 4 - (input_bits - granule_log2 + stride - 1) // stride


@njit(cache=True)
def leaf_log2_at(level, granule_log2):
    """Bytes that one descriptor of `level` maps, as a power of two."""
    return granule_log2 + (granule_log2 - 3) * (3 - level)


@njit(cache=True)
def table_address(ttbr, level, input_bits, granule_log2, output_bits):
    """Table that a TTBR names: aligned to its own size, and to 64 bytes where bits 5:2 carry PA[51:48]."""
    low = 3 + input_bits - leaf_log2_at(level, granule_log2)
    if output_bits == 52:
        low = max(low, 6)
        return bits(ttbr, low, 48 - low) << low | (ttbr >> 2 & 15) << 48
    return bits(ttbr, low, 48 - low) << low


@njit(cache=True)
def output_address(descriptor, low, output_bits):
    """Address bits of a descriptor from bit `low` up; with 52 bits, PA[51:48] lie in bits 15:12."""
    pa = bits(descriptor, low, 48 - low) << low
    if output_bits == 52:
        pa |= (descriptor >> 12 & 15) << 48
    return pa


@njit(cache=True)
def is_table(descriptor, level):
    """Whether a valid descriptor points to a table of the next level."""
    return level < 3 and descriptor & 2 != 0


@njit(cache=True)
def is_invalid(descriptor, level, granule_log2, pa_bits):
    """Whether a descriptor is invalid or reserved: bit 0 clear, or a block where the granule has none."""
    if descriptor & 1 == 0:
        return True
    if level == 3:
        return descriptor & 2 == 0
    if descriptor & 2 != 0:
        return False
    first_block = 1 if granule_log2 == 12 or (granule_log2 == 16 and pa_bits == 52) else 2
    return level < first_block


@njit(cache=True)
def is_too_wide(word, output_bits):
    """Whether bits 47 and down of a TTBR or descriptor have address bits that PS does not allow."""
    return output_bits < 48 and word >> output_bits & (1 << (48 - output_bits)) - 1 != 0


@njit(cache=True)
def judge(descriptor, level, granule_log2, output_bits, pa_bits):
    """Return the fault that a descriptor of any kind ends the walk with, if it does (Arm ARM D8.2.1, D8.3)."""
    if is_invalid(descriptor, level, granule_log2, pa_bits):
        return FAULT_TRANSLATION
    if is_too_wide(descriptor, output_bits):
        return FAULT_ADDRESS_SIZE
    # PA[51:48], which only a PE with 52 address bits looks at.
    if output_bits < 52 and granule_log2 == 16 and pa_bits == 52 and descriptor >> 12 & 15 != 0:
        return FAULT_ADDRESS_SIZE
    return FAULT_NONE


@njit(cache=True)
def descriptor_at(regions, pa, level, stage, result):
    """Read the descriptor at `pa`: (fault, descriptor)."""
    note_read(result, pa, level, stage)
    host = host_address(regions, pa)
    if host == 0:
        return end_with(result, FAULT_EXTERNAL, level, stage), np.int64(0)
    return FAULT_NONE, load_word(host)


@njit(cache=True)
def stage2_forbids(descriptor, kind, unprivileged, hardware_dirty):
    """Whether a stage 2 leaf's S2AP and XN refuse the access; a table read counts as a load."""
    readable = descriptor >> 6 & 1 != 0
    writable = descriptor >> 7 & 1 != 0 or (hardware_dirty and descriptor >> 51 & 1 != 0)
    if kind == FETCH:
        return descriptor >> 54 & 1 != 0
    if kind in (STORE, MAINTAIN_WRITE):
        return not writable
    if kind == MAINTAIN and not unprivileged:
        return False
    return not readable


@njit(cache=True)
def leave_stage2(words, descriptor, level, low, ipa, kind, unprivileged, result):
    """Judge a stage 2 leaf and note what it gives."""
    if descriptor >> 10 & 1 == 0 and words[W_HARDWARE_AF2] == 0:
        return end_with(result, FAULT_ACCESS_FLAG, level, STAGE_2)
    if stage2_forbids(descriptor, kind, unprivileged, words[W_HARDWARE_DIRTY2] != 0):
        return end_with(result, FAULT_PERMISSION, level, STAGE_2)
    memory_type = stage2_type(descriptor >> 2 & 15)
    if kind == _TABLE_READ and words[W_PROTECTED_WALK] != 0 and memory_type < NORMAL_NC:
        return end_with(result, FAULT_PERMISSION, level, STAGE_2)  # HCR_EL2.PTW: no tables in Device memory
    result[R_PA] = output_address(descriptor, low, words[W_OUT2]) | ipa & (1 << low) - 1
    result[R_LEAF2_LOG2] = low
    result[R_TYPE2] = memory_type
    result[R_SHAREABILITY2] = descriptor >> 8 & 3
    return FAULT_NONE


@njit(cache=True)
def walk_stage2(words, regions, ipa, kind, unprivileged, result):
    """Translate an IPA: fault code; sets R_PA, R_LEAF2_LOG2, R_TYPE2, R_SHAREABILITY2, appends its reads."""
    granule_log2, output_bits, pa_bits = words[W_GRANULE2_LOG2], words[W_OUT2], words[W_PA_BITS]
    input_bits = 64 - words[W_T0SZ2]
    level = words[W_START_LEVEL2]
    result[R_IPA] = ipa
    if level < 0 or ipa >> input_bits != 0:
        return end_with(result, FAULT_TRANSLATION, LEVEL_0, STAGE_2)
    if is_too_wide(words[W_VTTBR], output_bits):
        return end_with(result, FAULT_ADDRESS_SIZE, LEVEL_0, STAGE_2)
    table = table_address(words[W_VTTBR], level, input_bits, granule_log2, output_bits)
    top = input_bits  # concatenated tables: the first lookup resolves all that is left
    while True:
        low = leaf_log2_at(level, granule_log2)
        fault, descriptor = descriptor_at(regions, table | bits(ipa, low, top - low) << 3, level, STAGE_2, result)
        if fault != FAULT_NONE:
            return fault
        fault = judge(descriptor, level, granule_log2, output_bits, pa_bits)
        if fault != FAULT_NONE:
            return end_with(result, fault, level, STAGE_2)
        if not is_table(descriptor, level):
            break
        table = output_address(descriptor, granule_log2, output_bits)
        top = low
        level += 1
    return leave_stage2(words, descriptor, level, low, ipa, kind, unprivileged, result)


@njit(cache=True)
def select_range(words, va):
    """First word of the range that `va` lies in; -1 where it lies in none, or its table is disabled."""
    select = (va >> 55 & 1) if words[W_TWO_RANGES] != 0 else 0
    first = W_TTBR_0 + RANGE_WORDS * select
    offset = first - W_TTBR_0
    tsz = words[W_TSZ_0 + offset]
    least = 12 if words[W_LVA] != 0 and words[W_GRANULE_LOG2_0 + offset] == 16 else 16
    # A size out of range is CONSTRAINED UNPREDICTABLE; we take the fault (Arm ARM D8.2.7).
    if not least <= tsz <= 39 or words[W_DISABLED_0 + offset] != 0:
        return np.int64(-1)
    if words[W_TBI_0 + offset] != 0:
        va = (va << 8) >> 8
    if va >> (64 - tsz) != -select:
        return np.int64(-1)
    return np.int64(first)


@njit(cache=True)
def stage1_forbids(words, descriptor, limits, kind, unprivileged):
    """Whether a stage 1 leaf, under the limits of its tables, refuses the access (Arm ARM D8.4, WXN included).

    `limits` has the table descriptors' bits 62:59 OR'ed together.
    """
    read_only = (descriptor >> 7 | limits >> 62) & 1 != 0
    if words[W_HARDWARE_DIRTY] != 0 and descriptor >> 51 & 1 != 0:
        read_only = limits >> 62 & 1 != 0
    never = (descriptor >> 54 | limits >> 60) & 1 != 0
    readable = True
    if words[W_TWO_RANGES] != 0:
        for_el0 = descriptor >> 6 & 1 != 0 and limits >> 61 & 1 == 0
        if unprivileged:
            readable = for_el0
        else:
            # What EL0 can write, EL1 never executes.
            never = (descriptor >> 53 | limits >> 59) & 1 != 0 or (for_el0 and not read_only)
    writable = readable and not read_only
    if kind == FETCH:
        return never or (writable and words[W_WXN] != 0)
    if kind in (STORE, MAINTAIN_WRITE):
        return not writable
    if kind == MAINTAIN and not unprivileged:
        return False
    return not readable


@njit(cache=True)
def note_attributes(words, descriptor, result):
    """Note a stage 1 leaf's memory types, with SCTLR.C and I applied, and its other attributes."""
    memory_type = attribute_type(words[W_MAIR] >> 8 * (descriptor >> 2 & 7) & 0xFF)
    result[R_MEMORY_TYPE] = min(memory_type, NORMAL_NC) if words[W_DATA_NC] != 0 else memory_type
    result[R_FETCH_TYPE] = min(memory_type, NORMAL_NC) if words[W_FETCH_NC] != 0 else memory_type
    result[R_SHAREABILITY] = descriptor >> 8 & 3
    result[R_CONTIGUOUS] = descriptor >> 52 & 1
    result[R_GLOBAL] = 1 if words[W_TWO_RANGES] == 0 or descriptor >> 11 & 1 == 0 else 0


@njit(cache=True)
def leave_stage1(words, descriptor, limits, output_bits, level, low, va, kind, unprivileged, result):
    """Judge a stage 1 leaf that maps bits `low` and up; note its address and attributes."""
    if descriptor >> 10 & 1 == 0 and words[W_HARDWARE_AF] == 0:
        return end_with(result, FAULT_ACCESS_FLAG, level, STAGE_1)
    if stage1_forbids(words, descriptor, limits, kind, unprivileged):
        return end_with(result, FAULT_PERMISSION, level, STAGE_1)
    result[R_LEVEL] = level
    result[R_LEAF_LOG2] = low
    result[R_IPA] = output_address(descriptor, low, output_bits) | va & (1 << low) - 1
    note_attributes(words, descriptor, result)
    return FAULT_NONE


@njit(cache=True)
def walk_stage1(words, regions, va, kind, unprivileged, result):
    """Translate a VA through TTBR0 or TTBR1: fault code; sets R_IPA and the stage 1 attributes, appends its reads."""
    first = select_range(words, va)
    if first < 0:
        return end_with(result, FAULT_TRANSLATION, LEVEL_0, STAGE_1)
    offset = first - W_TTBR_0
    ttbr, granule_log2 = words[first], words[W_GRANULE_LOG2_0 + offset]
    output_bits, pa_bits = words[W_OUT_0 + offset], words[W_PA_BITS]
    top = 64 - words[W_TSZ_0 + offset]
    if is_too_wide(ttbr, output_bits):
        return end_with(result, FAULT_ADDRESS_SIZE, LEVEL_0, STAGE_1)
    level = first_level(top, granule_log2)
    table = table_address(ttbr, level, top, granule_log2, output_bits)
    limits = np.int64(0)
    while True:
        low = leaf_log2_at(level, granule_log2)
        pa = table | bits(va, low, top - low) << 3
        if words[W_STAGE2] != 0:
            fault = walk_stage2(words, regions, pa, _TABLE_READ, unprivileged, result)
            if fault != FAULT_NONE:
                result[R_ON_WALK] = 1
                return fault
            pa = result[R_PA]
        fault, descriptor = descriptor_at(regions, pa, level, STAGE_1, result)
        if fault != FAULT_NONE:
            return fault
        fault = judge(descriptor, level, granule_log2, output_bits, pa_bits)
        if fault != FAULT_NONE:
            return end_with(result, fault, level, STAGE_1)
        if not is_table(descriptor, level):
            break
        if words[W_HPD_0 + offset] == 0:
            limits |= descriptor
        table = output_address(descriptor, granule_log2, output_bits)
        top = low
        level += 1
    return leave_stage1(words, descriptor, limits, output_bits, level, low, va, kind, unprivileged, result)


@njit(cache=True)
def pass_stage1(words, va, result):
    """Stage 1 is off: the VA is the IPA, if it fits the PA size (Arm ARM D8.2.9)."""
    tbi = words[W_TBI_1] if words[W_TWO_RANGES] != 0 and va >> 55 & 1 != 0 else words[W_TBI_0]
    if tbi != 0:
        va = (va << 8) >> 8
    if va >> words[W_PA_BITS] != 0:
        return end_with(result, FAULT_ADDRESS_SIZE, LEVEL_0, STAGE_1)
    result[R_IPA] = va
    result[R_LEAF_LOG2] = words[W_PA_BITS]
    result[R_MEMORY_TYPE] = words[W_FLAT_TYPE]
    result[R_FETCH_TYPE] = words[W_FLAT_FETCH_TYPE]
    result[R_SHAREABILITY] = words[W_FLAT_SHAREABILITY]
    result[R_GLOBAL] = 1
    return FAULT_NONE


@njit(cache=True)
def combine_stages(words, result):
    """Combine the stages' attributes: the weaker type, the wider shareability (Arm ARM D8.5.5); HCR_EL2.CD and ID."""
    data2 = fetch2 = result[R_TYPE2]
    if words[W_DATA_NC2] != 0:
        data2 = min(data2, NORMAL_NC)
    if words[W_FETCH_NC2] != 0:
        fetch2 = min(fetch2, NORMAL_NC)
    result[R_MEMORY_TYPE] = min(result[R_MEMORY_TYPE], data2)
    result[R_FETCH_TYPE] = min(result[R_FETCH_TYPE], fetch2)
    if result[R_SHAREABILITY2] == SH_OUTER or result[R_SHAREABILITY] == SH_OUTER:
        result[R_SHAREABILITY] = SH_OUTER
    elif result[R_SHAREABILITY2] == SH_INNER:
        result[R_SHAREABILITY] = SH_INNER


@njit(cache=True)
def walk(words, regions, va, access, result):
    """Translate one access as the architecture does; return the fault code, FAULT_NONE if there is none.

    `words`: int64[39], `emu.regime.words`. `regions`: uint64[n, 3], `PhysicalMemory.region_table`. `va`: int64.
    `access`: LOAD .. MAINTAIN_WRITE, with UNPRIVILEGED OR'ed in for EL0. `result`: int64[RESULT_WORDS], overwritten.
    Writes nothing else: with hardware management of the access flag (TCR.HA, HD) descriptors are judged as if updated.
    Alignment is not judged here. A fetch from Device memory is Normal-NC, as on Cortex-A72 (TRM 100095).
    """
    for place in range(R_READ):
        result[place] = 0
    kind = access & 7
    unprivileged = access & UNPRIVILEGED != 0 or words[W_UNPRIVILEGED] != 0
    if words[W_STAGE1] != 0:
        fault = walk_stage1(words, regions, va, kind, unprivileged, result)
    else:
        fault = pass_stage1(words, va, result)
    if fault != FAULT_NONE:
        return fault
    if words[W_STAGE2] != 0:
        fault = walk_stage2(words, regions, result[R_IPA], kind, unprivileged, result)
        if fault != FAULT_NONE:
            return fault
        combine_stages(words, result)
    else:
        result[R_PA] = result[R_IPA]
    result[R_FETCH_TYPE] = max(result[R_FETCH_TYPE], NORMAL_NC)
    if result[R_MEMORY_TYPE] <= NORMAL_NC:
        result[R_SHAREABILITY] = SH_OUTER
    return FAULT_NONE


# ---------------------------------------------------------------------------------------------------------------------
# Capture: what Unicorn calls for every block. `emu.capture` owns the arrays; here they are host addresses in one
# control block, the user_data of the callbacks. The callbacks only ever append and count. Whatever they cannot do
# themselves (a block they do not know, a full array, an access to refuse) they name in C_REASON and stop: Unicorn then
# stands exactly before that block, and Python goes on from there.

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
) = range(53)
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

_PAGE_NUMBERS = (1 << 52) - 1
_OFFSET = 4095
_HASH = 0x9E3779B97F4A7C15 - (1 << 64)
_DEVICE_GRE = 3

uc_reg_read = types.ExternalFunction("uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr))
uc_emu_stop = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))
"""Unicorn's own functions, linked by `callbacks`. (ctypes functions would keep callbacks from being cached on disk.)"""

SLOW = types.int64(types.int64, types.int64, types.int64)
call_walk_page = types.ExternalFunction("relocscope_walk_page", SLOW)
call_check_slowly = types.ExternalFunction("relocscope_check_slowly", SLOW)
"""Our own slow paths, linked by `callbacks` too: LLVM optimises all that a function calls once more with each caller,
so that a deep chain of calls takes many times longer to compile than its parts."""

INNER = {"cache": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Of functions that only compiled ones call: a third of their compile time goes into wrappers for Python."""

# An array argument costs reference counts at every call, so rows are host addresses: `get` and `put` take one and a
# column. `control` is the address of the control block.

if config.DISABLE_JIT:

    def get(row, column):
        """Read a word of a row."""
        return load_word(row + 8 * column)

    def put(row, column, value):
        """Write a word of a row."""
        ctypes.c_int64.from_address(int(row + 8 * column)).value = int(value)

    def put_half(row, column, value):
        """Write the low 32 bits of a word to a row of such halves."""
        ctypes.c_int32.from_address(int(row + 4 * column)).value = int(value)

else:

    def _element(context, builder, row, column, kind):
        """Point to an element of a row, in LLVM's terms."""
        pointed = builder.inttoptr(row, context.get_value_type(types.CPointer(kind)))
        return builder.gep(pointed, [column])

    @intrinsic
    def get(typing_context, row, column):
        """Read a word of a row."""

        def generate(context, builder, signature, arguments):
            row, column = arguments
            return builder.load(_element(context, builder, row, column, types.int64))

        return types.int64(types.int64, types.int64), generate

    @intrinsic
    def put(typing_context, row, column, value):
        """Write a word of a row."""

        def generate(context, builder, signature, arguments):
            row, column, value = arguments
            builder.store(value, _element(context, builder, row, column, types.int64))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    @intrinsic
    def put_half(typing_context, row, column, value):
        """Write the low 32 bits of a word to a row of such halves."""

        def generate(context, builder, signature, arguments):
            row, column, value = arguments
            half = builder.trunc(value, context.get_value_type(types.int32))
            builder.store(half, _element(context, builder, row, column, types.int32))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    @intrinsic
    def pointer(typing_context, host):
        """Turn a host address into a pointer."""

        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

        return types.voidptr(types.int64), generate

    @intrinsic
    def host_of(typing_context, pointed):
        """Turn a pointer into a host address."""

        def generate(context, builder, signature, arguments):
            return builder.ptrtoint(arguments[0], context.get_value_type(types.int64))

        return types.int64(types.voidptr), generate


@njit(**INNER)
def add(row, column, value):
    """Add to a word of a row."""
    put(row, column, get(row, column) + value)


@njit(**INNER)
def pend(control, reason):
    """Have someone look before the next block."""
    put(control, C_PENDING, get(control, C_PENDING) | reason)


@njit(**INNER)
def hashed(key, mask):
    """Where to begin looking for a key."""
    product = key * _HASH
    return (product ^ (product >> 29) ^ (product >> 47)) & mask


@njit(**INNER)
def place_of(table, mask, columns, key):
    """Row of a key in an open-addressing table keyed by column 0; the free row for it, if it is not there."""
    place = hashed(key, mask)
    row = table + 8 * columns * place
    while get(row, 0) != key and get(row, 0) != NOWHERE:
        place = (place + 1) & mask
        row = table + 8 * columns * place
    return row


@njit(cache=True)
def carry_over(old, old_rows, new, new_rows, columns):
    """Copy the rows of an open-addressing table into a larger and empty one."""
    for place in range(old_rows):
        row = old + 8 * columns * place
        if get(row, 0) != NOWHERE:
            free = place_of(new, new_rows - 1, columns, get(row, 0))
            for column in range(columns):
                put(free, column, get(row, column))


@njit(**INNER)
def forget_pages(control):
    """Make every group look its page up again: a page that it stores to may just have become watched."""
    for place in range(get(control, C_GROUPS_USED)):
        put(get(control, C_GROUPS_AT) + 8 * GROUP_COLUMNS * place, G_PAGE, NOWHERE)


@njit(**INNER)
def record_row(control, number):
    """Row of a record."""
    return get(control, C_RECORDS_AT) + 8 * RECORD_COLUMNS * number


@njit(**INNER)
def watched(control, page):
    """Row of a physical page in the watch table, or the free row for it."""
    return place_of(get(control, C_WATCH_AT), get(control, C_WATCH_MASK), WATCH_COLUMNS, page)


@njit(cache=True)
def watch_lines(control, pa, size, column):
    """Note that lines of one page hold descriptors, or code."""
    row = watched(control, pa >> 12)
    if get(row, WT_PAGE) == NOWHERE:
        if get(control, C_WATCH_USED) >= get(control, C_WATCH_MASK):  # cannot be: PENDING_ROOM comes first
            return
        put(row, WT_PAGE, pa >> 12)
        add(control, C_WATCH_USED, 1)
        if get(control, C_WATCH_USED) > get(control, C_WATCH_LIMIT):
            pend(control, PENDING_ROOM)
        forget_pages(control)
    for line in range((pa & _OFFSET) >> 6, ((pa & _OFFSET) + size + 63) >> 6):
        lines = get(row, column)
        if lines >> line & 1 == 0:
            put(row, column, lines | np.int64(1) << line)
            pend(control, PENDING_JUDGE)


@njit(**INNER)
def note_store(control, pa, size):
    """Set PENDING_... if a store within one page hits a watched line; return whether the page is watched."""
    row = watched(control, pa >> 12)
    if get(row, WT_PAGE) == NOWHERE:
        return False
    for line in range((pa & _OFFSET) >> 6, ((pa & _OFFSET) + size + 63) >> 6):
        if get(row, WT_TABLE) >> line & 1 != 0:
            pend(control, PENDING_TABLE)
        if get(row, WT_CODE) >> line & 1 != 0:
            pend(control, PENDING_CODE)
    return True


@njit(**INNER)
def note_translation(control, page, result):
    """Append a page's translation and its walk, and watch the descriptors it came from."""
    first, count = get(control, C_READS_USED), result[R_READS]
    row = get(control, C_ROWS_AT) + 8 * ROW_COLUMNS * get(control, C_ROWS_USED)
    put(row, ROW_EPOCH, get(control, C_EPOCH))
    put(row, ROW_PAGE, page)
    put(row, ROW_PA, result[R_PA] & ~_OFFSET)
    put(row, ROW_MEMORY_TYPE, result[R_MEMORY_TYPE])
    put(row, ROW_FETCH_TYPE, result[R_FETCH_TYPE])
    # 1 is reserved; it acts as Non-shareable here (emu.walker).
    put(row, ROW_SHAREABILITY, SH_NON if result[R_SHAREABILITY] == 1 else result[R_SHAREABILITY])
    put(row, ROW_LEAF_LOG2, result[R_LEAF_LOG2])
    put(row, ROW_LEAF2_LOG2, result[R_LEAF2_LOG2])
    put(row, ROW_CONTIGUOUS, result[R_CONTIGUOUS])
    put(row, ROW_GLOBAL, result[R_GLOBAL])
    put(row, ROW_WALK_COUNT, count)
    put(row, ROW_WALK_FIRST, get(control, C_READS_BEFORE) + first)
    for read in range(count):
        here = get(control, C_READS_AT) + 8 * READ_COLUMNS * (first + read)
        for column in range(READ_COLUMNS):
            put(here, column, result[R_READ + 3 * read + column])
        watch_lines(control, result[R_READ + 3 * read], 8, WT_TABLE)
    add(control, C_ROWS_USED, 1)
    add(control, C_READS_USED, count)
    if get(control, C_ROWS_USED) > get(control, C_ROWS_LIMIT) or first + count > get(control, C_READS_LIMIT):
        pend(control, PENDING_ROOM)


def walk_page(control, va, kind):
    """Walk for an address of the current epoch, and enter its page when it is new: the fault code."""
    regime = carray(pointer(get(control, C_REGIME_AT)), (W_UNPRIVILEGED + 1,), np.int64)
    regions = carray(pointer(get(control, C_REGIONS_AT)), (get(control, C_REGIONS_COUNT), 3), np.uint64)
    result = carray(pointer(get(control, C_RESULT_AT)), (RESULT_WORDS,), np.int64)
    fault = walk(regime, regions, va, kind, result)
    if fault != FAULT_NONE:
        return fault
    page = (va >> 12) & _PAGE_NUMBERS
    row = place_of(get(control, C_PAGES_AT), get(control, C_PAGES_MASK), PAGES_COLUMNS, page)
    if get(row, P_PAGE) == NOWHERE:
        put(row, P_PAGE, page)
        put(row, P_PA, result[R_PA] & ~_OFFSET)
        put(row, P_TYPE, result[R_MEMORY_TYPE])
        add(control, C_PAGES_USED, 1)
        if get(control, C_PAGES_USED) > get(control, C_PAGES_LIMIT):
            pend(control, PENDING_ROOM)
        if get(control, C_FLAT) == 0:
            note_translation(control, page, result)
    return FAULT_NONE


@njit(cache=True)
def resolve(control, va, kind):
    """Translate one address in the current epoch: fault code; C_FOUND_PA (of the page) and C_FOUND_TYPE.

    A page is walked, and its row appended, when it is first touched. Permissions are judged by that first walk, and of
    DC IVAC and unprivileged accesses always: what else may be refused later, Unicorn refuses.
    """
    if get(control, C_FLAT) != 0 and va >> get(control, C_PA_BITS) == 0:
        put(control, C_FOUND_PA, va & ~_OFFSET)
        put(control, C_FOUND_TYPE, get(control, C_FLAT_TYPE))
        return FAULT_NONE
    page = (va >> 12) & _PAGE_NUMBERS
    row = place_of(get(control, C_PAGES_AT), get(control, C_PAGES_MASK), PAGES_COLUMNS, page)
    if get(row, P_PAGE) == NOWHERE or kind >= MAINTAIN_WRITE:
        fault = call_walk_page(control, va, kind)
        if fault != FAULT_NONE:
            return fault
    put(control, C_FOUND_PA, get(row, P_PA))
    put(control, C_FOUND_TYPE, get(row, P_TYPE))
    return FAULT_NONE


@njit(**INNER)
def refuse(control, insn, reason, va):
    """Note the earliest instruction of the block that must not be let pass."""
    if get(control, C_RAISE) == RAISE_NONE or insn < get(control, C_INSN):
        put(control, C_INSN, insn)
        put(control, C_RAISE, reason)
        put(control, C_VA, va)


@njit(**INNER)
def check_part(control, operand, va, size):
    """Check the bytes of an operand that lie in one page: PART_KEEP, PART_LOOK or PART_FAULTS."""
    kind, flags, insn = get(operand, OP_KIND), get(operand, OP_FLAGS), get(operand, OP_INSN)
    access = kind | UNPRIVILEGED if flags & OP_UNPRIVILEGED != 0 else kind
    if resolve(control, va, access) != FAULT_NONE:
        if access >= MAINTAIN:  # Unicorn faults other accesses itself
            refuse(control, insn, RAISE_WALK, va)
        return PART_FAULTS
    if get(control, C_FOUND_TYPE) <= _DEVICE_GRE and kind < MAINTAIN and flags & (OP_ZERO | OP_EXCLUSIVE) != 0:
        refuse(control, insn, RAISE_ALIGNMENT if flags & OP_ZERO != 0 else RAISE_EXCLUSIVE, va)
        return PART_FAULTS
    if kind == STORE and note_store(control, get(control, C_FOUND_PA) | (va & _OFFSET), size):
        return PART_LOOK
    return PART_KEEP


@njit(**INNER)
def check_operand(control, operand, value):
    """Check one operand in full: alignment, then the pages it touches; whether its page may be kept as seen."""
    flags, insn, size = get(operand, OP_FLAGS), get(operand, OP_INSN), get(operand, OP_SIZE)
    va = value + get(operand, OP_OFFSET)
    if flags & OP_SP != 0 and (value + get(operand, OP_SP_DELTA)) & 15 != 0:
        refuse(control, insn, RAISE_SP_ALIGNMENT, va)
        return False
    unaligned = va & get(operand, OP_ALIGNMENT) != 0
    if unaligned and flags & OP_STRICT != 0:
        refuse(control, insn, RAISE_ALIGNMENT, va)
        return False
    if flags & OP_ZERO != 0:
        va &= ~(ZVA_BLOCK - 1)
    first = min(size, 4096 - (va & _OFFSET))
    part = check_part(control, operand, va, first)
    device = get(control, C_FOUND_TYPE) <= _DEVICE_GRE
    if first < size and part != PART_FAULTS:
        part = min(part, check_part(control, operand, va + first, size - first))
        device = device or get(control, C_FOUND_TYPE) <= _DEVICE_GRE
    if unaligned and device and part != PART_FAULTS and get(operand, OP_KIND) < MAINTAIN and flags & OP_PREFETCH == 0:
        refuse(control, insn, RAISE_ALIGNMENT, va)
        return False
    return part == PART_KEEP


def check_slowly(control, group, value):
    """Check every operand of a group, and keep the page as seen if one page has them all."""
    keep = True
    for place in range(get(group, G_FIRST), get(group, G_FIRST) + get(group, G_COUNT)):
        operand = get(control, C_OPERANDS_AT) + 8 * OPERAND_COLUMNS * place
        keep = check_operand(control, operand, value) and keep
    low = value + get(group, G_LOW)
    put(group, G_PAGE, NOWHERE)
    if keep and (low & _OFFSET) + get(group, G_SPAN) <= 4096:
        mask = get(group, G_MASK_DEVICE if get(control, C_FOUND_TYPE) <= _DEVICE_GRE else G_MASK_NORMAL)
        if mask != -1:
            put(group, G_MASK, mask)
            put(group, G_PAGE, (low >> 12) & _PAGE_NUMBERS)
    return 0


@njit(**INNER)
def judge_stores_again(control):
    """Look at the stores of the block begun last once more.

    Lines that a walk of that same block read were not watched yet when its entry was judged.
    """
    put(control, C_PENDING, get(control, C_PENDING) & ~PENDING_JUDGE)
    if get(control, C_CURRENT) == NOWHERE:
        return
    record = record_row(control, get(control, C_CURRENT))
    values = get(control, C_VALUES_AT) + 8 * get(control, C_CURRENT_VALUES)
    first = get(record, RC_GROUP_FIRST)
    for place in range(first, first + get(record, RC_GROUP_COUNT) + get(record, RC_LATE_COUNT)):
        group = get(control, C_GROUPS_AT) + 8 * GROUP_COLUMNS * place
        slot = get(group, G_SLOT)
        value = get(values, slot) if slot >= 0 else np.int64(0)
        for member in range(get(group, G_FIRST), get(group, G_FIRST) + get(group, G_COUNT)):
            operand = get(control, C_OPERANDS_AT) + 8 * OPERAND_COLUMNS * member
            if get(operand, OP_KIND) == STORE:
                check_operand(control, operand, value)


@njit(**INNER)
def captured_sum(engine, control, group):
    """X[base] + (extend(X[index]) << shift)."""
    uc_reg_read(engine, np.int32(get(group, G_BASE)), pointer(control + 8 * C_SCRATCH))
    base = get(control, C_SCRATCH)
    uc_reg_read(engine, np.int32(get(group, G_INDEX)), pointer(control + 8 * C_SCRATCH))
    index, extend = get(control, C_SCRATCH), get(group, G_EXTEND)
    if extend == 1:
        index &= 0xFFFF_FFFF
    elif extend == 2:
        index = (index << 32) >> 32
    return base + (index << get(group, G_SHIFT))


@njit(**INNER)
def capture_group(engine, control, group, values):
    """Read the value of a group into its slot, and check the operands formed from it."""
    slot = get(group, G_SLOT)
    if slot < 0:
        value = np.int64(0)
    else:
        if get(group, G_INDEX) < 0:
            uc_reg_read(engine, np.int32(get(group, G_BASE)), pointer(values + 8 * slot))
        else:
            put(values, slot, captured_sum(engine, control, group))
        value = get(values, slot)
    low = value + get(group, G_LOW)
    if (
        (low >> 12) & _PAGE_NUMBERS != get(group, G_PAGE)
        or (low & _OFFSET) + get(group, G_SPAN) > 4096
        or value & get(group, G_MASK) != 0
    ):
        call_check_slowly(control, group, value)


@njit(**INNER)
def halt(engine, control, reason, pc, size):
    """Stop before this block, or this instruction, and say why."""
    put(control, C_REASON, reason)
    put(control, C_PC, pc)
    put(control, C_SIZE, size)
    uc_emu_stop(engine)


@njit(cache=True)
def note_record(lookup, mask, va, size, record):
    """Enter a block into the lookup table, which has a free place."""
    place = hashed(va, mask)
    while get(lookup + 8 * LOOKUP_COLUMNS * place, L_RECORD) != NOWHERE:
        place = (place + 1) & mask
    row = lookup + 8 * LOOKUP_COLUMNS * place
    put(row, L_VA, va)
    put(row, L_SIZE, size)
    put(row, L_RECORD, record)


@njit(**INNER)
def record_of(control, pc, size):
    """Number of the record of a block; NOWHERE if there is none."""
    lookup, mask = get(control, C_LOOKUP_AT), get(control, C_LOOKUP_MASK)
    place = hashed(pc, mask)
    row = lookup + 8 * LOOKUP_COLUMNS * place
    while get(row, L_RECORD) != NOWHERE and (get(row, L_VA) != pc or get(row, L_SIZE) != size):
        place = (place + 1) & mask
        row = lookup + 8 * LOOKUP_COLUMNS * place
    return get(row, L_RECORD)


@njit(**INNER)
def begin(control, record, pc):
    """Append one execution, whose values have been written."""
    used = get(control, C_EXECUTIONS_USED) + 1
    put(control, C_CURRENT_VALUES, get(control, C_VALUES_USED))
    values_used = get(control, C_VALUES_USED) + get(record, RC_VALUES)
    put_half(get(control, C_EXECUTIONS_AT), used - 1, get(record, RC_BLOCK))
    put(control, C_EXECUTIONS_USED, used)
    put(control, C_VALUES_USED, values_used)
    add(control, C_INSTRUCTIONS, get(record, RC_COUNT))
    put(control, C_PASS, PASS_NOTHING)
    for late in range(get(record, RC_LATE_COUNT)):  # theirs are the last slots, and may never be reached
        put(get(control, C_VALUES_AT), values_used - 1 - late, 0)
    pending = get(record, RC_AFTER)
    if used >= get(control, C_EXECUTIONS_LIMIT) or values_used > get(control, C_VALUES_LIMIT):
        pending |= PENDING_FULL
    if pending != 0:
        pend(control, pending)
    if get(record, RC_STOP_INSN) >= 0:
        stop_pc = pc + 4 * get(record, RC_STOP_INSN)
        if get(control, C_STOP_PC) == NOWHERE or stop_pc < get(control, C_STOP_PC):
            put(control, C_STOP_PC, stop_pc)


def on_block(engine, va, size, state):
    """Block callback: capture the execution that is about to begin, or stop before it."""
    control, pc, block_bytes = host_of(state), np.int64(va), np.int64(size)
    if get(control, C_PENDING) & PENDING_JUDGE != 0:
        judge_stores_again(control)
    if get(control, C_PENDING) != 0:
        halt(engine, control, REASON_PENDING, pc, block_bytes)
        return
    number = record_of(control, pc, block_bytes)
    if number == NOWHERE:
        halt(engine, control, REASON_UNKNOWN, pc, block_bytes)
        return
    record = record_row(control, number)
    if get(record, RC_MARKED) != 0 and get(control, C_PASS) == PASS_NOTHING:
        halt(engine, control, REASON_MARKED, pc, block_bytes)
        return
    if get(control, C_INSTRUCTIONS) + get(record, RC_COUNT) > get(control, C_BUDGET):
        halt(engine, control, REASON_BUDGET, pc, block_bytes)
        return
    values = get(control, C_VALUES_AT) + 8 * get(control, C_VALUES_USED)
    group = get(control, C_GROUPS_AT) + 8 * GROUP_COLUMNS * get(record, RC_GROUP_FIRST)
    put(control, C_RAISE, RAISE_NONE)
    for _ in range(get(record, RC_GROUP_COUNT)):
        capture_group(engine, control, group, values)
        group += 8 * GROUP_COLUMNS
    if get(control, C_RAISE) != RAISE_NONE and get(control, C_PASS) != PASS_RAISE:
        halt(engine, control, REASON_RAISE, pc, block_bytes)
        return
    put(control, C_CURRENT, number)
    begin(control, record, pc)


def on_instruction(engine, va, size, state):
    """Code callback, bounded to one address: stop before the instruction there, or read what it captures late."""
    control, pc = host_of(state), np.int64(va)
    if get(control, C_CURRENT) == NOWHERE:
        return
    if pc == get(control, C_STOP_PC):
        halt(engine, control, REASON_AT_PC, pc, np.int64(4))
        return
    record = record_row(control, get(control, C_CURRENT))
    values = get(control, C_VALUES_AT) + 8 * get(control, C_CURRENT_VALUES)
    insn = (pc - get(record, RC_VA)) >> 2
    late = get(control, C_LATE_AT) + 8 * LATE_COLUMNS * get(record, RC_LATE_FIRST)
    for _ in range(get(record, RC_LATE_COUNT)):
        if get(late, LT_INSN) == insn:
            put(control, C_RAISE, RAISE_NONE)
            group = get(control, C_GROUPS_AT) + 8 * GROUP_COLUMNS * get(late, LT_GROUP)
            capture_group(engine, control, group, values)
            if get(control, C_RAISE) != RAISE_NONE:
                halt(engine, control, REASON_RAISE_LATE, pc, np.int64(4))
                return
        late += 8 * LATE_COLUMNS


# What `on_fill` is given: addresses of a regime's words, the region table and a result for `walk`; and what it leaves:
# the access that it was called for last.
F_REGIME_AT, F_REGIONS_AT, F_REGIONS_COUNT, F_RESULT_AT, F_WANTED = range(5)
FILL_WORDS = 5

_MEM_WRITE, _MEM_FETCH = 17, 18
"""Of Unicorn's uc_mem_type; any other access that wants a translation is a load."""


def on_fill(engine, va, kind, entry, state):
    """TLB callback: give where `va` leads, with all that the page permits; 0 if it refuses the access that asks.

    Emulation then ends with UC_ERR_EXCEPTION. Unicorn does not say whether LDTR or STTR asks: those have been judged
    before (check_part).
    """
    fill, leaf, signed_va = host_of(state), host_of(entry), np.int64(va)
    regime = carray(pointer(get(fill, F_REGIME_AT)), (W_UNPRIVILEGED + 1,), np.int64)
    regions = carray(pointer(get(fill, F_REGIONS_AT)), (get(fill, F_REGIONS_COUNT), 3), np.uint64)
    result = carray(pointer(get(fill, F_RESULT_AT)), (RESULT_WORDS,), np.int64)
    wanted = FETCH if kind == _MEM_FETCH else STORE if kind == _MEM_WRITE else LOAD
    permitted = np.int64(0)  # as uc_prot has it: a bit each for LOAD, STORE and FETCH
    for access in range(FETCH + 1):
        if walk(regime, regions, signed_va, access, result) == FAULT_NONE:
            permitted |= np.int64(1) << access
            put(leaf, 0, result[R_PA])
    put_half(leaf, 2, permitted)
    put(fill, F_WANTED, wanted)
    return np.uint8(permitted >> wanted & 1)


FILL_CALLBACK = types.uint8(types.voidptr, types.uint64, types.uint32, types.voidptr, types.voidptr)
"""uc_cb_tlbevent_t."""


@cache
def fill_callback():
    """Compile, or load from disk, the TLB callback: its address. Needs the JIT."""
    return _compiled(FILL_CALLBACK, on_fill)


CALLBACK = types.void(types.voidptr, types.uint64, types.uint32, types.voidptr)
"""uc_cb_hookcode_t: what Unicorn calls for blocks and for instructions."""


@cache
def callbacks():
    """Compile, or load from disk, the block and the instruction callback: their addresses. Needs the JIT."""
    for name in ("uc_reg_read", "uc_emu_stop"):
        llvmlite.binding.add_symbol(name, ctypes.cast(getattr(binding.uclib, name), ctypes.c_void_p).value)
    for function in (walk_page, check_slowly):
        llvmlite.binding.add_symbol(f"relocscope_{function.__name__}", _compiled(SLOW, function))
    return tuple(_compiled(CALLBACK, function) for function in (on_block, on_instruction))


def _compiled(signature, function):
    """Compile a function for callers in C, and keep it for the life of the process: its address."""
    compiled = cfunc(signature, cache=True)(function)
    _KEPT.append(compiled)
    return compiled.address


_KEPT: list[object] = []
