"""Pane: one view of a session, with a title and a key. It is given a scene and shows text; it changes nothing."""

from abc import abstractmethod

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from relocscope.screen.scene import Scene
from relocscope.screen.text import Text

LEAST_WIDTH = 24


class Pane(VerticalScroll):
    """A scrolled text. What is shown is `content`; the rest is the same for all of them."""

    name_: str
    """What commands and `id` call it."""
    title: str
    """Short: it must fit a tab."""

    def __init__(self) -> None:
        super().__init__(id=self.name_, classes="pane")
        self.border_title = self.title
        self._body = Text()

    def compose(self) -> ComposeResult:
        """Hold one text."""
        yield self._body

    @abstractmethod
    def content(self, scene: Scene, width: int) -> Content:
        """Say what is to be seen, for lines of that many cells."""

    def show(self, scene: Scene) -> None:
        """Show a scene."""
        self._body.put(self.content(scene, max(LEAST_WIDTH, self.scrollable_content_region.width)))


def lines(rows: "list[Content] | list[Content | str]") -> Content:
    """Put lines under one another."""
    return Content("\n").join(rows)


def grid(cells: list[Content], width: int) -> list[Content]:
    """Lay cells out in as many columns as fit, reading downwards."""
    if not cells:
        return []
    wide = max(cell.cell_length for cell in cells) + 2
    columns = max(1, width // wide)
    height = -(-len(cells) // columns)
    padded = [cell.pad_right(wide - cell.cell_length) for cell in cells]
    return [Content("").join(padded[row::height]) for row in range(height)]
