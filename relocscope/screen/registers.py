"""Registers: X0 to X30, SP, PC and PSTATE; what the last move changed is marked."""

from textual.content import Content

from relocscope.screen.marks import CHANGED, DIM, FAIR
from relocscope.screen.pane import Pane, grid, lines
from relocscope.screen.scene import Scene

_FLAGS = ("N", "Z", "C", "V")
_MASKS = ("D", "A", "I", "F")


class Registers(Pane):
    """General registers."""

    name_, title = "registers", "Regs"

    def content(self, scene: Scene, width: int) -> Content:
        """Lay them out in columns."""
        cells = [_register(scene, name, value) for name, value in scene.registers.items() if name != "pstate"]
        return lines([*grid(cells, width), pstate(scene)])


def _register(scene: Scene, name: str, value: str) -> Content:
    changed = name in scene.changed
    return Content.assemble(
        (f"{name:>3}", DIM), (CHANGED if changed else " ", FAIR), (f"{int(value, 16):016x}", FAIR if changed else "")
    )


def pstate(scene: Scene) -> Content:
    """Write PSTATE by field."""
    value = int(scene.registers["pstate"], 16)
    flags = "".join(name if value >> 31 - at & 1 else name.lower() for at, name in enumerate(_FLAGS))
    masks = "".join(name if value >> 9 - at & 1 else name.lower() for at, name in enumerate(_MASKS))
    mark = CHANGED if "pstate" in scene.changed else " "
    return Content.assemble(
        ("pstate", DIM), (mark, FAIR), f"{value:#x}  {flags}  {masks}  EL{value >> 2 & 3}{'h' if value & 1 else 't'}"
    )
