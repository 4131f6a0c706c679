"""Bare pointers into NumPy memory, for kernels: no reference counts, short type names, one machine word an argument.

A Numba array argument costs seven words, two atomic reference-count updates a call, and its share of compile time; a
record's type name is the whole list of its fields. The timing model is a hundred small functions over two dozen tables,
so both would dominate. Here a `View` is typed by the name of its layout only:

- a *record* is read and written by field name, `s["retire"]`; a field with a shape is a table, and a *member* is a word
  that points to rows or to a table elsewhere;
- *rows* are records in a row, `ops[3]["cls"]`;
- a *table* holds 64-bit integers, `table[i]`, or `table[i, j]` where it has columns.

`record` gives what a kernel is to be handed: a View, or under NUMBA_DISABLE_JIT=1 the NumPy objects themselves, which
answer to the same subscripts. Nothing is bounds-checked; whoever makes a View keeps the arrays alive while it is used.

`outlined` compiles a function once, apart, to be called by address. Numba links every callee into every caller and
optimises it there again; a hundred functions ten deep would take minutes.
"""

import operator
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import cfunc, config, njit, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer, infer_global, signature
from numba.extending import NativeValue, intrinsic, register_model, typeof_impl, unbox
from numpy.typing import NDArray

_WORD_BYTES = 8


class Layout:
    """Where the fields of a record type lie: name -> (word, type). `members`: the words that point elsewhere."""

    def __init__(
        self, name: str, dtype: np.dtype[Any], members: Mapping[str, types.Type] = MappingProxyType({})
    ) -> None:
        self.words = dtype.itemsize // _WORD_BYTES
        self.members = members
        self.fields: dict[str, tuple[int, types.Type]] = {}
        for field in dtype.names or ():
            kind, offset = dtype.fields[field][:2]  # type: ignore[index]
            self.fields[field] = (offset // _WORD_BYTES, members.get(field) or _type_of(field, kind.shape))
        # The digest makes Numba's disk cache forget what was compiled for another layout of the same name.
        digest = zlib.crc32(repr([(field, word, kind.name) for field, (word, kind) in self.fields.items()]).encode())
        self.name = f"{name}{digest:08x}"


def _type_of(field: str, shape: tuple[int, ...]) -> types.Type:
    if shape == ():
        return types.int64
    return TableType(field, 1 if len(shape) == 1 else shape[1])


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
    """A pointer to 64-bit integers, `columns` of them a row. No two tables of one name overlap any of another."""

    def __init__(self, name: str, columns: int) -> None:
        self.columns = columns
        super().__init__(name=f"Table{name}{columns}")


@dataclass(frozen=True, slots=True)
class View:
    """An array and how kernels see it."""

    array: NDArray[Any]
    kind: types.Type
    address: int


class Plain:
    """A record with members, without Numba: the same subscripts."""

    __slots__ = ("members", "words")

    def __init__(self, words: Any, members: Mapping[str, Any]) -> None:
        self.words = words
        self.members = members

    def __getitem__(self, name: str) -> Any:
        member = self.members.get(name)
        return self.words[name] if member is None else member

    def __setitem__(self, name: str, value: int) -> None:
        self.words[name] = value


def record(array: NDArray[Any], kind: RecordType, members: Mapping[str, NDArray[Any]]) -> Any:
    """Return the one record of a structured array of length 1, with the arrays that its members point to."""
    if config.DISABLE_JIT:
        return Plain(array[0], members)
    for name, member in members.items():
        if not member.flags.c_contiguous:
            raise ValueError(f"{name}: must be contiguous")
        array[name] = member.ctypes.data
    return View(array, kind, array.ctypes.data)


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


def apart(builder: Any, access: Any, where: str) -> Any:
    """Say that a load or store reaches only what goes by that name: fields and tables never overlap.

    Without it (LLVM's type-based alias analysis) every store into a table might have changed every field, and all that
    a step knows would be read again after each.
    """
    module = builder.module
    root = module.add_metadata([ir.MetaDataString(module, "relocscope")])
    kind = module.add_metadata([ir.MetaDataString(module, where), root, ir.Constant(ir.IntType(64), 0)])
    access.set_metadata("tbaa", module.add_metadata([kind, kind, ir.Constant(ir.IntType(64), 0)]))
    return access


@infer
class _GetField(AbstractTemplate):  # type: ignore[misc]
    key = "static_getitem"

    def generic(self, args: Any, _kws: Any) -> Any:
        kind, name = args
        if isinstance(kind, RecordType) and isinstance(name, str) and name in kind.layout.fields:
            return signature(kind.layout.fields[name][1], *args)
        return None


@lower_builtin("static_getitem", RecordType, types.StringLiteral)
def _lower_get_field(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
    layout, name = sig.args[0].layout, args[1]
    word, kind = layout.fields[name]
    pointer = builder.gep(args[0], [ir.Constant(ir.IntType(64), word)], inbounds=True)
    if kind is not types.int64 and name not in layout.members:
        return pointer
    value = apart(builder, builder.load(pointer), f"{layout.name}.{name}")
    return builder.inttoptr(value, ir.IntType(64).as_pointer()) if name in layout.members else value


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
    layout, name = sig.args[0].layout, args[1]
    pointer = builder.gep(args[0], [ir.Constant(ir.IntType(64), layout.fields[name][0])], inbounds=True)
    apart(builder, builder.store(args[2], pointer), f"{layout.name}.{name}")


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
    kind = sig.args[0]
    return apart(builder, builder.load(_word(builder, kind, args[0], args[1])), kind.name)


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
    kind = sig.args[0]
    apart(builder, builder.store(args[2], _word(builder, kind, args[0], args[1])), kind.name)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile into whatever calls it; not to be called from Python."""
    return njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)(function)


def outlined(result: types.Type, *arguments: types.Type) -> Callable[[Callable[..., Any]], Any]:
    """Compile once, at import, and have it called by address; not to be called from Python."""

    def compile_apart(function: Callable[..., Any]) -> Any:
        if config.DISABLE_JIT:
            return function
        kind = result(*arguments)
        symbol = f"{function.__module__}.{function.__qualname__}"
        # Kept for the life of the process: the symbol is its address.
        _COMPILED[symbol] = compiled = cfunc(kind, cache=True, error_model="numpy")(function)
        binding.add_symbol(symbol, compiled.address)
        return types.ExternalFunction(symbol, kind)

    return compile_apart


_COMPILED: dict[str, Any] = {}

CALLED: dict[int, Callable[..., int]] = {}
"""What `ask` calls where nothing is compiled, by the number that stands for its address."""

if config.DISABLE_JIT:

    def ask(address: int, table: Any, first: int, a: int, b: int, c: int) -> int:
        """Call what is at an address, outside of the kernels, with a stretch of a table and three numbers."""
        return int(CALLED[int(address)](table[first:], a, b, c))

else:

    @intrinsic
    def ask(_typing: Any, _address: Any, table: Any, _first: Any, _a: Any, _b: Any, _c: Any) -> Any:
        """Call what is at an address, outside of the kernels, with a stretch of a table and three numbers."""

        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            address, row, first, *numbers = arguments
            word = ir.IntType(64)
            kind = ir.FunctionType(word, [word.as_pointer(), *[word] * 3])
            function = builder.inttoptr(address, kind.as_pointer())
            return builder.call(function, [builder.gep(row, [first], inbounds=True), *numbers])

        return signature(types.int64, types.int64, table, *[types.int64] * 4), generate
