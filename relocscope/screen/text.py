"""Text: a Static that is drawn anew only where its text is another, and laid out anew only where it is longer."""

from textual.content import Content
from textual.widgets import Static


class Text(Static):
    """Text of ours, with styles: no markup, no wrapping."""

    DEFAULT_CSS = "Text { text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, name: str | None = None) -> None:
        super().__init__(id=name, markup=False)
        self._shown = Content("")

    def put(self, content: Content) -> None:
        """Show another text."""
        old, self._shown = self._shown, content
        if not content.is_same(old):
            self.update(content, layout=old.plain.count("\n") != content.plain.count("\n"))
