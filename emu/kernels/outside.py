"""Functions that compiled code calls by address: Unicorn's, and our own slow paths. `callbacks` gives the addresses."""

from numba import types

uc_reg_read = types.ExternalFunction("uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr))
uc_emu_stop = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))
"""Unicorn's own. (ctypes functions would keep callbacks from being cached on disk.)"""

SLOW = types.int64(types.int64, types.int64, types.int64)
call_walk_page = types.ExternalFunction("relocscope_walk_page", SLOW)
call_check_slowly = types.ExternalFunction("relocscope_check_slowly", SLOW)
call_attend = types.ExternalFunction("relocscope_attend", SLOW)
"""Our own: LLVM optimises all that a function calls once more with each caller, so that a deep chain of calls takes
many times longer to compile than its parts. `attend` is Python's: given the control block, a REASON_ and an address, it
returns 0 when the callback may go on, and 1 when Unicorn is to stop."""
