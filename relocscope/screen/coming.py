"""Coming: the next instruction: what it does to memory, as which memory type and by which rule, and what it costs."""

import textwrap
from collections.abc import Mapping

from textual.content import Content

from relocscope.quantities import duration
from relocscope.screen.marks import BAD, DIM, HERE, STRONG, of_cause, of_memory_type
from relocscope.screen.pane import LEAST_WIDTH, lines
from relocscope.screen.scene import Scene
from relocscope.screen.text import Text

_INDENT = 6
_COSTS = "  costs "
_WIDE = 100
"""From here on there is room for what is seen elsewhere, too."""


class Coming(Text):
    """The band under the panes; it is there in every layout."""

    def __init__(self) -> None:
        super().__init__("coming")
        self.border_title = "Next"

    def show(self, scene: Scene) -> None:
        """Show a scene."""
        self.put(coming(scene, max(LEAST_WIDTH, self.content_region.width)))


def coming(scene: Scene, width: int) -> Content:
    """Say in words what comes next and what the last instruction cost."""
    position, hertz = scene.position, scene.session.config.frequency_hz
    if position["end"]:
        rows = [_row("end", Content.styled(part, STRONG)) for part in _wrapped(position["end"], width)]
        return lines([*rows, *_last(scene, width, hertz)])
    where = f"  {position['where']}" if width > _WIDE else ""
    insn = Content.assemble((position["text"], STRONG), (where, DIM))
    cost = bill(scene.next_bill, hertz)
    if _INDENT + insn.cell_length + cost.cell_length + len(_COSTS) <= width:
        rows = [_row("next", Content.assemble(insn, _COSTS, cost))]
    else:
        rows = [_row("next", insn), _row("costs", cost)]
    access = position["access"]
    if access:
        kind = access["memory_type"]
        size = f" {access['bytes']} bytes" if access["bytes"] else ""
        pa = f" = pa {access['pa']}" if access["pa"] else ""
        does = f"{access['kind'].replace('_', ' ')}{size} at va {access['va']}{pa}, "
        rows.append(_row("does", Content.assemble(does, (kind or "not translated", f"bold {of_memory_type(kind)}"))))
        why = access["why"]
        if why:
            rows += _paragraph("why", why, width) + _paragraph("so", access["means"], width)
    return lines([*rows, *_last(scene, width, hertz)])


def _last(scene: Scene, width: int, hertz: int) -> list[Content]:
    if not scene.position["insn"] or width <= _WIDE:
        return []
    return [_row("last", Content.assemble("cost ", bill(scene.position["last_cost"], hertz)))]


def _paragraph(name: str, text: str, width: int) -> list[Content]:
    return [_row("" if at else name, Content(part)) for at, part in enumerate(_wrapped(text, width))]


def _row(name: str, content: Content) -> Content:
    return Content.assemble((f"{name:<{_INDENT}}", HERE if name == "next" else DIM), content)


def bill(causes: Mapping[str, int], hertz: int) -> Content:
    """Write cycles, time and causes, dearest first."""
    total = sum(causes.values())
    if not total:
        return Content("0 cycles")
    ranked = sorted(causes.items(), key=lambda item: -item[1])
    parts = [Content.assemble((leaf, of_cause(leaf)), f" {cycles:,}") for leaf, cycles in ranked]
    style = BAD if any(leaf.startswith("device") for leaf in causes) else ""
    return Content.assemble(
        (f"{total:,} cycle{'s' * (total != 1)}", f"bold {style}".strip()),
        f" = {duration(total / hertz)}: ",
        Content(", ").join(parts),
    )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width - _INDENT, LEAST_WIDTH), break_on_hyphens=False)
