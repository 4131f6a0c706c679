"""Status: one line at the top: what runs, where it stands, or what is under way."""

from textual.content import Content

from relocscope.quantities import duration
from relocscope.screen.marks import DIM, FAIR, STRONG
from relocscope.screen.scene import Scene

_NAME_CELLS = 28
"""Of a file's long name the end is shown."""


def status(scene: Scene, width: int) -> Content:
    """Say where the session stands; what is less important goes where there is no room."""
    session, position, name = scene.session, scene.position, scene.session.subject.name
    parts = [
        Content.styled(name if len(name) <= _NAME_CELLS else f"…{name[1 - _NAME_CELLS :]}", STRONG),
        Content(f"#{position['insn']:,} of {position['of']:,}"),
        Content.styled(f"EL{position['el']}", STRONG),
        Content(f"cycle {position['cycle']:,}"),
        Content(duration(position["seconds"]) if position["cycle"] else "0 s"),
        Content.styled(position["where"], DIM),
        Content.styled(f"on {session.config.name}", DIM),
    ]
    shown = Content.empty()
    for part in parts:
        if shown.cell_length + part.cell_length + 3 > width:
            break
        shown = Content.assemble(shown, "   " if shown else " ", part)
    return shown


def under_way(line: str, at: int, executions: int) -> Content:
    """Say what is being carried out and how far it is."""
    share = 100 * at // max(1, executions)
    return Content.assemble(f" {line} ... ", (f"{share}%", STRONG), ("   esc interrupts", FAIR))
