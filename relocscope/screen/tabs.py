"""Tabs: the names of the panes in one line, for screens that have no room for all of them."""

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static


def key_of(number: int) -> str:
    """Return the key that brings a pane forward: 1 to 9, then 0."""
    return str((number + 1) % 10)


class Tabs(Static):
    """One line of names; the one in front stands in brackets."""

    def __init__(self, panes: Sequence[tuple[str, str]]) -> None:
        super().__init__(id="tabs")
        self._panes = panes

    def show(self, front: str, hidden: frozenset[str]) -> None:
        """Show which is in front; `hidden`: not offered, because they are seen anyway."""
        parts = []
        for number, (name, title) in enumerate(self._panes):
            if name not in hidden:
                shown = f"[{key_of(number)} {title}]" if name == front else f" {key_of(number)} {title}"
                style = "bold reverse" if name == front else ""
                parts.append(Content.from_markup(f"[@click=app.pane('{name}')]$shown[/]", shown=shown).stylize(style))
        self.update(Content("").join(parts))
