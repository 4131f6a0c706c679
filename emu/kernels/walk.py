"""The page-table walker: both stages, and what they come to together."""

from numba import njit

from emu.kernels.stage1 import pass_stage1, walk_stage1
from emu.kernels.stage2 import walk_stage2
from emu.kernels.walk_words import (
    FAULT_NONE,
    NORMAL_NC,
    R_FETCH_TYPE,
    R_IPA,
    R_MEMORY_TYPE,
    R_PA,
    R_READ,
    R_SHAREABILITY,
    R_SHAREABILITY2,
    R_TYPE2,
    SH_INNER,
    SH_OUTER,
    UNPRIVILEGED,
    W_DATA_NC2,
    W_FETCH_NC2,
    W_STAGE1,
    W_STAGE2,
    W_UNPRIVILEGED,
)


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
