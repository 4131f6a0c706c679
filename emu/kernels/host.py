"""Raw memory of the host: the words of rows that are known by their address.

An array argument costs reference counts at every call, so rows are host addresses: `get` and `put` take one and a
column. `control` is the address of the control block.
"""

import ctypes

import numpy as np
from numba import config, njit, types
from numba.extending import intrinsic

INNER = {"cache": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Of functions that only compiled ones call: a third of their compile time goes into wrappers for Python."""


if config.DISABLE_JIT:

    def load_word(host):
        """Read the 64-bit word at a host address."""
        return np.int64(ctypes.c_int64.from_address(int(host)).value)

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

    @intrinsic
    def load_word(typing_context, host):
        """Read the 64-bit word at a host address (the only raw memory access of the walker)."""

        def generate(context, builder, signature, arguments):
            pointer_type = context.get_value_type(types.CPointer(types.int64))
            return builder.load(builder.inttoptr(arguments[0], pointer_type))

        return types.int64(types.int64), generate

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
