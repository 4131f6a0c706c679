"""All compiled code of `emu`: the page-table walker, and what runs inside Unicorn's callbacks.

One module, because Numba's disk cache does not notice edits in another one. Everything is int64, also addresses and
descriptors (two's complement): Numba turns mixed signs into floats. Nothing allocates, prints or raises; a failure is
a code. Under NUMBA_DISABLE_JIT=1 the same functions run as Python.
"""

import ctypes

import numpy as np
from numba import config, njit, types
from numba.extending import intrinsic

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


if config.DISABLE_JIT:  # type: ignore[attr-defined]

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
