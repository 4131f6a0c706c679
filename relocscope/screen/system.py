"""System registers by field, those of the active regime first, and what they come to in words."""

import textwrap
from collections.abc import Mapping
from typing import Any

from textual.content import Content

from relocscope.screen.marks import BAD, CHANGED, DIM, FAIR, GOOD, HERE, STRONG
from relocscope.screen.pane import Pane, lines
from relocscope.screen.scene import Scene
from relocscope.stepping import views

_NAME_CELLS = 12
_SWITCHES = ("M", "C", "I")


class System(Pane):
    """System registers."""

    name_, title = "system", "System"

    def content(self, scene: Scene, width: int) -> Content:
        """Write the regime, then each register with its fields."""
        regime = scene.session.regime
        level = "_EL2" if regime.at_el2 else "_EL1"
        rows: list[Content] = [Content.styled(row, HERE) for row in _wrapped(views.regime_in_words(regime), width)]
        active = {name: one for name, one in scene.system.items() if name.endswith(level)}
        others = {name: one for name, one in scene.system.items() if name not in active}
        for group, words in ((active, ""), (others, "not in force here")):
            rows += [Content.styled(f"── {words} ".ljust(width, "─"), DIM)] if words and group else []
            for name, one in group.items():
                rows += _register(scene, name, one, width, in_force=not words)
        return lines(rows)


def _register(scene: Scene, name: str, one: Mapping[str, Any], width: int, *, in_force: bool) -> list[Content]:
    changed = name in scene.changed
    title = Content.assemble(
        (f"{name:<{_NAME_CELLS - 1}}", STRONG if in_force else ""),
        (CHANGED if changed else " ", FAIR),
        (str(one["value"]), FAIR if changed else ""),
    )
    fields = [
        f"{field}={value:#x}" if isinstance(value, int) else f"{field}={value}"
        for field, value in one["fields"].items()
    ]
    rows = [title]
    for row in _wrapped(" ".join(fields), width - 2):
        rows.append(Content.assemble("  ", Content(" ").join([_field(word, name) for word in row.split()])))
    return rows


def _field(word: str, register: str) -> Content:
    """Write a field; the switches of an SCTLR stand out, on or off."""
    name, _, value = word.partition("=")
    if register.startswith("SCTLR") and name in _SWITCHES:
        return Content.assemble((word.replace("0x", ""), f"bold {GOOD}" if value != "0x0" else f"bold {BAD}"))
    return Content.assemble((f"{name}=", DIM), value.replace("0x", "") if len(value) == len("0x0") else value)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, _NAME_CELLS), break_long_words=False, break_on_hyphens=False) if text else []
