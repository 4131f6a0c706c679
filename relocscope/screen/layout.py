"""Layout: which panes a screen of some size has room for."""

from enum import Enum

COLUMNS = (("code", "map"), ("system", "registers", "stack"), ("walk", "caches", "buffers", "kimage", "answers"))
"""Panes from left to right, and in each column downwards."""

_ALL = (170, 48)
_TWO_WIDTH = 112


class Layout(Enum):
    """How much is seen at once."""

    ONE = "one pane, and tabs for the others"
    TWO = "code, and one other with tabs"
    ALL = "every pane"

    def seen(self, front: str) -> frozenset[str]:
        """Return the panes that are shown when that one is in front."""
        if self is Layout.ALL:
            return frozenset(name for names in COLUMNS for name in names)
        if self is Layout.TWO:
            return frozenset({"code", "registers" if front == "code" else front})
        return frozenset({front})


def layout_for(width: int, height: int) -> Layout:
    """Return what a terminal of that size has room for."""
    if width >= _ALL[0] and height >= _ALL[1]:
        return Layout.ALL
    return Layout.TWO if width >= _TWO_WIDTH else Layout.ONE
