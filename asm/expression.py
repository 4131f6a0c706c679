"""Integer expressions of assembly sources: constants, names, and the operators that arithmetic on fields needs."""

import ast
import operator
import re
from collections.abc import Callable, Mapping

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_UNARY: dict[type[ast.unaryop], Callable[[int], int]] = {
    ast.Invert: operator.invert,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_LONGEST = 400
_LARGEST_SHIFT = 64
_BOUND = 1 << 64
# Checked first: what else is Python (strings, calls, "1if") is none of ours, and would draw warnings. Possessive: a
# name can be taken for several in many ways, and none of them needs a second look.
_TOKENS = re.compile(
    r"(?:\s|(?:0x[0-9a-fA-F]+|0b[01]+|[0-9]+)(?![\w.])|\.?[A-Za-z_$]\w*|<<|>>|[-+*&|^~()])*+\Z", re.ASCII
)
_LOCAL_NAME = re.compile(r"\.(?=[A-Za-z_])")
_LOCAL_PREFIX = "_dot_"


def evaluate(text: str, names: Mapping[str, int]) -> int:
    """Return the value of an expression; ValueError says in a few words what is wrong with it."""
    if len(text) > _LONGEST:
        raise ValueError("expression too long")
    if not _TOKENS.match(text):
        raise ValueError(f"not an expression: {text!r}")
    try:
        tree = ast.parse(_LOCAL_NAME.sub(_LOCAL_PREFIX, text.strip()), mode="eval")
        value = _value(tree.body, names)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"not an expression: {text!r}") from None
    if not -_BOUND < value < _BOUND:
        raise ValueError(f"{text!r} needs more than 64 bits")
    return value


def _value(node: ast.expr, names: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            name = name.replace(_LOCAL_PREFIX, ".", 1) if name.startswith(_LOCAL_PREFIX) else name
            if name not in names:
                raise ValueError(f"unknown name {name!r}")
            return names[name]
        case ast.UnaryOp(op=operation, operand=operand) if type(operation) in _UNARY:
            return _UNARY[type(operation)](_value(operand, names))
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
            first, second = _value(left, names), _value(right, names)
            shifts = isinstance(operation, ast.LShift | ast.RShift)
            if shifts and not 0 <= second <= _LARGEST_SHIFT:
                raise ValueError(f"cannot shift by {second}")
            if abs(first) > _BOUND or abs(second) > _BOUND:
                raise ValueError("intermediate value too large")
            return _BINARY[type(operation)](first, second)
    raise ValueError("only integers, names and + - * & | ^ ~ << >> are supported")
