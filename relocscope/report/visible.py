"""Text from guests and files, harmless: what would steer a terminal or reorder a line is shown as its number."""

import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from relocscope.operand import Operand
from traces.outcome import Outcome
from traces.trace import Trace

_STEERING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control characters, invisible formatting (bidirectional overrides), lone surrogates, unassigned, line separators."""


def visible(text: str) -> str:
    r"""Return the text with such characters written as \x1b or \u202e."""
    if text.isprintable():
        return text
    return "".join(_number(ord(one)) if unicodedata.category(one) in _STEERING else one for one in text)


def _number(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def harmless(facts: Any) -> Any:
    """Return facts with every text of theirs made visible: mappings, sequences and records of ours, all the way down.

    What a run was made from (its trace, its operand) stays as it is: nothing of that is shown.
    """
    if isinstance(facts, str):
        return visible(facts)
    if isinstance(facts, Mapping):
        return {harmless(key): harmless(value) for key, value in facts.items()}
    if isinstance(facts, tuple | list):
        return type(facts)(harmless(value) for value in facts)
    if is_dataclass(facts) and not isinstance(facts, type | Trace | Outcome | Operand):
        names = [field.name for field in fields(facts) if field.init]
        return replace(facts, **{name: harmless(getattr(facts, name)) for name in names})
    return facts
