"""Facts of a report, harmless: every text in them as `traces.visible` shows it."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from relocscope.operand import Operand
from traces.outcome import Outcome
from traces.trace import Trace
from traces.visible import visible


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
