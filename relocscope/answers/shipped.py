"""The plans that ship: each asks one question (docs/questions.md)."""

import difflib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from traces.errors import InputError
from traces.reading import is_there

if TYPE_CHECKING:
    from relocscope.sweeping.plan import Plan


def plan_names() -> tuple[str, ...]:
    """Return the names of the plans that ship."""
    found = resources.files("relocscope") / "plans"
    return tuple(sorted(each.name.removesuffix(".toml") for each in found.iterdir() if each.name.endswith(".toml")))


def plan_of(name: str) -> "Plan":
    """Return the plan of that file or, where there is none, the one that ships under that name."""
    from relocscope.sweeping.plan import plan_from_file, plan_from_toml

    if is_there(name):
        return plan_from_file(Path(name))
    if name in plan_names():
        text = (resources.files("relocscope") / "plans" / f"{name}.toml").read_text(encoding="utf-8")
        return plan_from_toml(text, name)
    near = difflib.get_close_matches(name, plan_names(), n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"those that ship are {', '.join(plan_names())}"
    raise InputError(f"--plan: {name!r}: no such file, and no plan that ships; {hint}")
