"""Answers: what was said at the command line and what came of it, newest last."""

from textual.content import Content

from relocscope.screen.marks import BAD, HERE
from relocscope.screen.pane import Pane, lines
from relocscope.screen.scene import Scene

_MOST_LINES = 2000


class Answers(Pane):
    """A log of commands."""

    name_, title = "answers", "Said"

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Content] = []

    def content(self, scene: Scene, width: int) -> Content:
        """Write all that is kept."""
        if not self._lines:
            return Content("what commands answer is kept here; `:` says one")
        return lines([part for line in self._lines for part in line.wrap(width)])

    def note(self, line: str, text: str, *, is_error: bool) -> None:
        """Keep a command and its answer."""
        self._lines.append(Content.styled(f"> {line}", HERE))
        self._lines += [Content.styled(part or " ", BAD if is_error else "") for part in text.splitlines()]
        del self._lines[:-_MOST_LINES]

    def show(self, scene: Scene) -> None:
        """Show the newest."""
        super().show(scene)
        self.call_after_refresh(self.scroll_end, animate=False)
