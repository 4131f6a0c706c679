"""Eight words of a table looked at together, for kernels: one or two instructions of a host with vectors.

Loops over ways and buffers are too short for what LLVM's own vectors need to begin and to end. Answers are bits, one a
word, the first word's lowest. `lowest` and `ones` ask bits where the first is, and how many there are.
"""

from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from caches.views import TableType, apart

LANES = 8

_WORD = ir.IntType(64)
_VECTOR = ir.VectorType(_WORD, LANES)


def _load(builder: Any, kind: TableType, table: Any, at: Any) -> Any:
    """Load eight words."""
    pointer = builder.bitcast(builder.gep(table, [at], inbounds=True), _VECTOR.as_pointer())
    return apart(builder, builder.load(pointer, align=8), kind.name)


def _all(builder: Any, word: Any) -> Any:
    """Repeat a word eight times."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), word, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _bits(builder: Any, conditions: Any) -> Any:
    return builder.zext(builder.bitcast(conditions, ir.IntType(LANES)), _WORD)


if config.DISABLE_JIT:

    def lanes_equal(table: Any, at: int, mask: int, wanted: int) -> int:
        """Which of eight words are `wanted` under the mask."""
        return sum(1 << lane for lane, word in enumerate(table[at : at + LANES]) if word & mask == wanted)

    def lanes_at_most(table: Any, at: int, limit: int) -> int:
        """Which of eight words are at most `limit`."""
        return sum(1 << lane for lane, word in enumerate(table[at : at + LANES]) if word <= limit)

    def lowest(bits: int) -> int:
        """Position of the lowest bit that is set; there must be one."""
        return (int(bits) & -int(bits)).bit_length() - 1

    def ones(bits: int) -> int:
        """How many bits are set."""
        return int(bits).bit_count()

else:

    @intrinsic
    def lanes_equal(_typing: Any, table: Any, _at: Any, _mask: Any, _wanted: Any) -> Any:
        """Which of eight words are `wanted` under the mask."""

        def generate(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
            row, at, mask, wanted = arguments
            words = builder.and_(_load(builder, kinds.args[0], row, at), _all(builder, mask))
            return _bits(builder, builder.icmp_signed("==", words, _all(builder, wanted)))

        return signature(types.int64, table, *[types.int64] * 3), generate

    @intrinsic
    def lanes_at_most(_typing: Any, table: Any, _at: Any, _limit: Any) -> Any:
        """Which of eight words are at most `limit`."""

        def generate(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
            row, at, limit = arguments
            words = _load(builder, kinds.args[0], row, at)
            return _bits(builder, builder.icmp_signed("<=", words, _all(builder, limit)))

        return signature(types.int64, table, *[types.int64] * 2), generate

    @intrinsic
    def lowest(_typing: Any, _found: Any) -> Any:
        """Position of the lowest bit that is set; there must be one."""

        def generate(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

        return signature(types.int64, types.int64), generate

    @intrinsic
    def ones(_typing: Any, _found: Any) -> Any:
        """How many bits are set."""

        def generate(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
            return builder.ctpop(arguments[0])

        return signature(types.int64, types.int64), generate
