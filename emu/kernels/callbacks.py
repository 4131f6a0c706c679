"""From compiled functions to what Unicorn is given: addresses."""

import ctypes
from collections.abc import Callable
from functools import cache

import llvmlite.binding
from numba import cfunc, types
from unicorn.unicorn_py3 import unicorn as binding

from emu.kernels.blocks import on_block, on_instruction
from emu.kernels.checks import check_slowly
from emu.kernels.filling import on_fill
from emu.kernels.outside import SLOW
from emu.kernels.pages import walk_page

FILL_CALLBACK = types.uint8(types.voidptr, types.uint64, types.uint32, types.voidptr, types.voidptr)
"""uc_cb_tlbevent_t."""


@cache
def fill_callback():
    """Compile, or load from disk, the TLB callback: its address. Needs the JIT."""
    return _compiled(FILL_CALLBACK, on_fill)


CALLBACK = types.void(types.voidptr, types.uint64, types.uint32, types.voidptr)
"""uc_cb_hookcode_t: what Unicorn calls for blocks and for instructions."""


ATTENDANTS: dict[int, Callable[[int, int], int]] = {}
"""Who attends a run (C_ATTENDED), by the address of its control block. Must not raise."""


@ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
def _attend(control, reason, address):
    return ATTENDANTS[control](reason, address)


@cache
def callbacks():
    """Compile, or load from disk, the block and the instruction callback: their addresses. Needs the JIT."""
    for name in ("uc_reg_read", "uc_emu_stop"):
        llvmlite.binding.add_symbol(name, ctypes.cast(getattr(binding.uclib, name), ctypes.c_void_p).value)
    llvmlite.binding.add_symbol("relocscope_attend", ctypes.cast(_attend, ctypes.c_void_p).value)
    for function in (walk_page, check_slowly):
        llvmlite.binding.add_symbol(f"relocscope_{function.__name__}", _compiled(SLOW, function))
    return tuple(_compiled(CALLBACK, function) for function in (on_block, on_instruction))


def _compiled(signature, function):
    """Compile a function for callers in C, and keep it for the life of the process: its address."""
    compiled = cfunc(signature, cache=True)(function)
    _KEPT.append(compiled)
    return compiled.address


_KEPT: list[object] = []
