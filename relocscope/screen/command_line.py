"""Command line: what line mode takes, with its history and completion."""

from pathlib import Path
from typing import ClassVar

from textual.binding import Binding
from textual.suggester import Suggester
from textual.widgets import Input

from relocscope.stepping.completion import completions
from relocscope.stepping.control import Control
from relocscope.stepping.history import keep, kept


class Completion(Suggester):
    """The first of what line mode would complete a word to."""

    def __init__(self, control: Control) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._control = control

    async def get_suggestion(self, value: str) -> str | None:
        """Complete the last word."""
        before, space, word = value.rpartition(" ")
        fitting = completions(self._control.session, before, word) if word else []
        later = [each for each in fitting if each != word and each.startswith(word)]
        return f"{before}{space}{later[0]}" if later else None


class CommandLine(Input):
    """One line of input at the bottom."""

    BINDINGS: ClassVar = [
        Binding("up", "older", show=False),
        Binding("down", "newer", show=False),
        Binding("tab", "cursor_right", show=False),
    ]

    def __init__(self, control: Control, history: Path | None) -> None:
        completion = Completion(control)
        super().__init__(id="command", placeholder=": a command, ? help", compact=True, suggester=completion)
        self._file = history
        self._history = kept(history)
        self._at = len(self._history)

    @property
    def last(self) -> str:
        """The line that was said last; empty where none was."""
        return self._history[-1] if self._history else ""

    def remember(self, line: str) -> None:
        """Put a line into the history, here and on disk."""
        if line != self.last:
            self._history.append(line)
        self._at = len(self._history)

    def save(self) -> None:
        """Keep the history for the next time, and for line mode."""
        keep(self._file, self._history)

    def action_older(self) -> None:
        """Show the line before."""
        self._recall(-1)

    def action_newer(self) -> None:
        """Show the line after."""
        self._recall(1)

    def _recall(self, by: int) -> None:
        self._at = min(max(self._at + by, 0), len(self._history))
        self.value = self._history[self._at] if self._at < len(self._history) else ""
        self.cursor_position = len(self.value)
