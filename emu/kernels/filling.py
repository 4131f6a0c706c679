"""The TLB callback: our walker in place of Unicorn's."""

import numpy as np
from numba import carray

from emu.kernels.host import get, host_of, pointer, put, put_half
from emu.kernels.walk import walk
from emu.kernels.walk_words import FAULT_NONE, FETCH, LOAD, R_PA, RESULT_WORDS, STORE, W_UNPRIVILEGED

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
