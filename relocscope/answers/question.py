"""What a plan asks, and the rule by which the rows of its sweep answer it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from traces.errors import InputError

RULES = ("effect", "crossing")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A table [question] of a plan. `effect`: how much each factor does; `crossing`: where a speed-up passes levels."""

    ask: str
    rule: str
    factors: Mapping[str, tuple[str, ...]]
    """Of `effect`: keys that change together, by what people call them."""
    key: str
    """Of `crossing`: along what."""
    levels: tuple[float, ...]


def question_of(table: Mapping[str, Any], swept: tuple[str, ...], cases: int) -> Question:
    """Check what a plan file says; InputError names the field and the rule."""
    for name in table:
        if name not in ("ask", "rule", "factors", "key", "levels"):
            raise InputError(f"question.{name}: unknown key; known: ask, rule, factors, key, levels")
    if table.get("rule") not in RULES or not isinstance(table.get("ask"), str):
        raise InputError(f"question: ask must be text, and rule one of {', '.join(RULES)}")
    factors, along, levels = table.get("factors", {}), table.get("key", ""), table.get("levels", [])
    if table["rule"] == "effect":
        if (
            not isinstance(factors, Mapping)
            or not factors
            or not all(isinstance(keys, list) for keys in factors.values())
        ):
            raise InputError("question.factors: must be a table of lists of keys")
        named = [name for keys in factors.values() for name in keys]
    else:
        if not isinstance(levels, list) or not levels or not all(_positive(level) for level in levels):
            raise InputError("question.levels: must be a list of speed-ups above 0")
        if cases != 2:
            raise InputError("question.rule: crossing compares two cases")
        named = [along]
    for name in named:
        if name not in swept:
            raise InputError(f"question: {name!r}: is not swept by this plan")
    return Question(
        ask=table["ask"],
        rule=table["rule"],
        factors={name: tuple(keys) for name, keys in factors.items()},
        key=str(along),
        levels=tuple(map(float, levels)),
    )


def _positive(level: object) -> bool:
    return isinstance(level, int | float) and not isinstance(level, bool) and level > 0
