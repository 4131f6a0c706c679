"""Bare pointers into NumPy memory, for kernels: no reference counts, short type names, one machine word an argument.

A Numba array argument costs seven words, two atomic reference-count updates a call, and its share of compile time; a record's
type name is the whole list of its fields. The timing model is a hundred small functions over two dozen tables, so both would
dominate. Here a `View` is typed by the name of its layout only:

- a *record* is read and written by field name, `clock["retire"]`; a field with a shape is a table;
- *rows* are records in a row, `ops[3]["cls"]`;
- a *table* holds 64-bit integers, `table[i]`, or `table[i, j]` where it has columns.

`view(array, kind)` gives what a kernel is to be handed: a View, or under NUMBA_DISABLE_JIT=1 the NumPy object itself, which
answers to the same subscripts. Nothing is bounds-checked; whoever makes a View keeps the array alive while it is used.
"""

import operator
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer, infer_global, signature
from numba.extending import NativeValue, register_model, typeof_impl, unbox
from numpy.typing import NDArray

_WORD_BYTES = 8


class Layout:
    """Where the fields of a record type lie: name -> (word, columns), columns 0 for a scalar."""

    def __init__(self, name: str, dtype: np.dtype[Any]) -> None:
        self.words = dtype.itemsize // _WORD_BYTES
        self.fields: dict[str, tuple[int, int]] = {}
        for field in dtype.names or ():
            kind, offset = dtype.fields[field][:2]  # type: ignore[index]
            shape = kind.shape
            columns = 0 if shape == () else 1 if len(shape) == 1 else shape[1]
            self.fields[field] = (offset // _WORD_BYTES, columns)
        # The digest makes Numba's disk cache forget what was compiled for another layout of the same name.
        self.name = f"{name}{zlib.crc32(repr(sorted(self.fields.items())).encode()):08x}"


class RecordType(types.Type):  # type: ignore[misc]
    """A pointer to one record."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        super().__init__(name=f"Record{layout.name}")


class RowsType(types.Type):  # type: ignore[misc]
    """A pointer to the first of some records."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        super().__init__(name=f"Rows{layout.name}")


class TableType(types.Type):  # type: ignore[misc]
    """A pointer to 64-bit integers, `columns` of them a row."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        super().__init__(name=f"Table{columns}")


@dataclass(frozen=True, slots=True)
class View:
    """An array and how kernels see it."""

    array: NDArray[Any]
    kind: types.Type
    address: int


def record(array: NDArray[Any], name: str) -> Any:
    """The one record of a structured array of length 1."""
    if config.DISABLE_JIT:
        return array[0]
    return View(array, RecordType(Layout(name, array.dtype)), array.ctypes.data)


def rows(array: NDArray[Any], name: str) -> Any:
    """The records of a structured array."""
    if config.DISABLE_JIT:
        return array
    return View(array, RowsType(Layout(name, array.dtype)), array.ctypes.data)


def table(array: NDArray[np.int64]) -> Any:
    """The integers of an array of one or two dimensions."""
    if config.DISABLE_JIT:
        return array
    return View(array, TableType(1 if array.ndim == 1 else array.shape[1]), array.ctypes.data)


@typeof_impl.register(View)
def _typeof(view: View, _context: Any) -> types.Type:
    return view.kind


@register_model(RecordType)
@register_model(RowsType)
@register_model(TableType)
class _PointerModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, ir.IntType(64).as_pointer())


@unbox(RecordType)
@unbox(RowsType)
@unbox(TableType)
def _unbox(_kind: types.Type, value: Any, c: Any) -> NativeValue:
    address = c.pyapi.object_getattr_string(value, "address")
    word = c.pyapi.long_as_longlong(address)
    c.pyapi.decref(address)
    pointer = c.builder.inttoptr(word, ir.IntType(64).as_pointer())
    return NativeValue(pointer, is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


def _field_type(layout: Layout, name: str) -> types.Type:
    columns = layout.fields[name][1]
    return types.int64 if columns == 0 else TableType(columns)


@infer
class _GetField(AbstractTemplate):  # type: ignore[misc]
    key = "static_getitem"

    def generic(self, args: Any, _kws: Any) -> Any:
        kind, name = args
        if isinstance(kind, RecordType) and isinstance(name, str) and name in kind.layout.fields:
            return signature(_field_type(kind.layout, name), *args)
        return None


@lower_builtin("static_getitem", RecordType, types.StringLiteral)
def _lower_get_field(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word, columns = sig.args[0].layout.fields[args[1]]
    pointer = builder.gep(args[0], [ir.Constant(ir.IntType(64), word)], inbounds=True)
    return pointer if columns else builder.load(pointer)


@infer
class _SetField(AbstractTemplate):  # type: ignore[misc]
    key = "static_setitem"

    def generic(self, args: Any, _kws: Any) -> Any:
        kind, name, _value = args
        if isinstance(kind, RecordType) and isinstance(name, str) and name in kind.layout.fields:
            return signature(types.void, kind, types.literal(name), types.int64)
        return None


@lower_builtin("static_setitem", RecordType, types.StringLiteral, types.int64)
def _lower_set_field(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word, _columns = sig.args[0].layout.fields[args[1]]
    builder.store(args[2], builder.gep(args[0], [ir.Constant(ir.IntType(64), word)], inbounds=True))


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, _kws: Any) -> Any:
        kind, at = args
        if isinstance(kind, RowsType) and isinstance(at, types.Integer):
            return signature(RecordType(kind.layout), kind, types.int64)
        if isinstance(kind, TableType) and isinstance(at, types.Integer):
            return signature(types.int64, kind, types.int64)
        if isinstance(kind, TableType) and isinstance(at, types.BaseTuple):
            return signature(types.int64, kind, types.UniTuple(types.int64, 2))
        return None


@lower_builtin(operator.getitem, RowsType, types.int64)
def _lower_get_row(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
    at = builder.mul(args[1], ir.Constant(ir.IntType(64), sig.args[0].layout.words))
    return builder.gep(args[0], [at], inbounds=True)


def _word(builder: Any, kind: TableType, pointer: Any, at: Any) -> Any:
    """Pointer to the word at an index, or at a (row, column) pair."""
    if isinstance(at.type, ir.ArrayType):
        row, column = (builder.extract_value(at, index) for index in range(2))
        at = builder.add(builder.mul(row, ir.Constant(ir.IntType(64), kind.columns)), column)
    return builder.gep(pointer, [at], inbounds=True)


@lower_builtin(operator.getitem, TableType, types.int64)
@lower_builtin(operator.getitem, TableType, types.UniTuple)
def _lower_get_word(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(_word(builder, sig.args[0], args[0], args[1]))


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, _kws: Any) -> Any:
        kind, at, _value = args
        if isinstance(kind, TableType) and isinstance(at, types.Integer):
            return signature(types.void, kind, types.int64, types.int64)
        if isinstance(kind, TableType) and isinstance(at, types.BaseTuple):
            return signature(types.void, kind, types.UniTuple(types.int64, 2), types.int64)
        return None


@lower_builtin(operator.setitem, TableType, types.int64, types.int64)
@lower_builtin(operator.setitem, TableType, types.UniTuple, types.int64)
def _lower_set_word(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
    builder.store(args[2], _word(builder, sig.args[0], args[0], args[1]))
