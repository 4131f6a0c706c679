"""Help: keys and commands, from the tables that they are made by."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from relocscope.screen.keys import ACTIONS, KEYS
from relocscope.screen.marks import DIM, HERE
from relocscope.stepping.commands import COMMANDS

_KEY_CELLS, _USAGE_CELLS = 15, 24


def help_text() -> Content:
    """Return all keys and commands."""
    rows = [Content.styled("Keys", HERE)]
    rows += [
        Content.assemble((f"{key.shown:<{_KEY_CELLS}}", "bold"), key.what, (f"  ({key.line.strip()})", DIM))
        for key in KEYS
    ]
    rows += [Content.assemble((f"{each.shown:<{_KEY_CELLS}}", "bold"), each.what) for each in ACTIONS]
    rows += [Content(""), Content.styled("Commands; any unambiguous prefix will do", HERE)]
    rows += [Content.assemble((f"{each.usage:<{_USAGE_CELLS}}", "bold"), each.what) for each in COMMANDS.values()]
    rows += [Content(""), Content("ADDR: a number, a register, pc, a symbol, or one of these + or - a number")]
    return Content("\n").join(rows)


class Help(ModalScreen[None]):
    """Keys and commands; any of the keys that say so closes it."""

    BINDINGS: ClassVar = [Binding("escape,q,question_mark,f1,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """Hold one scrolled text."""
        with VerticalScroll(id="help") as box:
            box.border_title = "Help"
            box.border_subtitle = "esc closes, ↑ ↓ scroll"
            yield Static(help_text(), markup=False)
