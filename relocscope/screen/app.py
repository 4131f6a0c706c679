"""Stepper: the full screen of a session: panes, one command line, and keys that say commands."""

import os
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Footer, Input

from relocscope.screen.answers import Answers
from relocscope.screen.buffers import Buffers
from relocscope.screen.caches import Caches
from relocscope.screen.code import Code, breakpoints
from relocscope.screen.coming import Coming
from relocscope.screen.command_line import CommandLine
from relocscope.screen.help import Help
from relocscope.screen.keys import ACTIONS, KEYS, Action, Key
from relocscope.screen.kimage import KimageList
from relocscope.screen.layout import COLUMNS, Layout, layout_for
from relocscope.screen.marks import BAD, FAIR
from relocscope.screen.memory_map import MemoryMap
from relocscope.screen.palette import Commands
from relocscope.screen.pane import Pane
from relocscope.screen.registers import Registers
from relocscope.screen.scene import Scene, scene_of
from relocscope.screen.stack import Stack
from relocscope.screen.status import status, under_way
from relocscope.screen.system import System
from relocscope.screen.tabs import Tabs, key_of
from relocscope.screen.text import Text
from relocscope.screen.walk import Walk
from relocscope.screen.work import Done, Work
from relocscope.stepping import history, words
from relocscope.stepping.commands import command_name
from relocscope.stepping.control import Answer, Control
from traces.errors import InputError

DARK, LIGHT = "textual-dark", "textual-light"
_PROGRESS_SECONDS = 0.1
_ANSWERED_BY = {
    "regs": "registers",
    "sysregs": "system",
    "translate": "walk",
    "caches": "caches",
    "tlb": "caches",
    "buffers": "buffers",
    "stack": "stack",
    "list": "code",
    "info kimage": "kimage",
    "info map": "map",
}
"""Commands whose answer a pane shows better than text does."""
_PINNING = ("translate", "caches", "tlb")
_SETTING = ("break", "watch", "delete", "save", "load", "export")
"""Commands whose answer is one line."""
_MOVING = ("step", "block", "page", "finish", "continue", "until", "back", "goto", "restart", "set", "patch", "where")


def _binding(key: Key | Action, action: str) -> Binding:
    shown = key.shown.split()[0].removesuffix(",")
    return Binding(key.keys, action, key.footer or key.what, show=bool(key.footer), key_display=shown)


class Stepper(App[None]):
    """A session on a screen. Only `say` changes it; everything else looks."""

    TITLE = "relocscope step"
    CSS_PATH = "screen.tcss"
    COMMANDS = App.COMMANDS | {Commands}
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar = [
        *(_binding(key, f"say({key.line!r})") for key in KEYS),
        *(_binding(each, each.action) for each in ACTIONS if each.action not in ("code", "pane")),
        *(Binding(key_of(number), f"front({number})", show=False) for number in range(10)),
    ]

    def __init__(self, control: Control, *, history_file: Path | None = history.FILE) -> None:
        # Without colour the terminal's own are left as they are; bold, reverse and our marks remain.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.control = control
        self.work = Work(control, self._done)
        self.code = Code()
        self.panes: tuple[Code | Pane, ...] = (
            self.code,
            *(kind() for kind in (Registers, System, Walk, Caches, Buffers, KimageList, MemoryMap, Stack, Answers)),
        )
        self.front = "code"
        """The pane that tabs show."""
        self.pinned: int | None = None
        self._layout = Layout.ONE
        self._scene: Scene | None = None
        self._said = Content("")
        self._status, self._said_line = Text("status"), Text("said")
        self.command_line = CommandLine(control, history_file)

    # -- What it is made of -------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Put the panes into columns."""
        yield self._status
        yield Tabs([(pane.name_, pane.title) for pane in self.panes])
        with Horizontal(id="body"):
            for number, names in enumerate(COLUMNS):
                with Vertical(id=f"column{number}", classes="column"):
                    yield from (self.pane(name) for name in names)
        yield Coming()
        yield self._said_line
        yield self.command_line
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin."""
        self.theme = DARK
        self.run_worker(self.work.serve(), name="work")
        self.set_interval(_PROGRESS_SECONDS, self._progress)
        self.code.focus()
        self._arrange()

    def pane(self, name: str) -> Code | Pane:
        """Return a pane by its name."""
        return next(pane for pane in self.panes if pane.name_ == name)

    # -- What is said -------------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Have a command carried out; one that ends in a space is offered to be completed."""
        if line.endswith(" "):
            self.command_line.value = line
            self.command_line.focus()
            self.command_line.cursor_position = len(line)
            return
        if line.strip():
            self.work.say(line.strip())

    def _done(self, done: Done) -> None:
        """Show what came of a line."""
        if done.answer is not None and done.answer.over:
            self.exit()
            return
        answers = self.query_one(Answers)
        if done.answer is None and not done.error:
            return
        name = _name(done.line)
        text = done.error if done.answer is None else done.answer.text
        said = text.partition("\n")[0] if name in _MOVING else text
        answers.note(done.line, said, is_error=done.answer is None)
        if done.answer is None:
            self._said = Content.assemble(("✗ ", BAD), (f"{done.line}: {done.error}", BAD))
        else:
            self._said = self._in_short(done.line, name, done.answer)
            self._bring(name, done.line)
        if not self.work.waiting:
            self.look()

    def _in_short(self, line: str, name: str, answer: Answer) -> Content:
        """Say in one line what came of a command: of a move, what the last instruction cost and why it ended."""
        if name not in _MOVING:
            return Content.assemble(f"{line}   ", (answer.text.partition("\n")[0], FAIR))
        stopped, cost = answer.facts.get("stopped"), answer.facts["last_cost"]
        dearest = f", {max(cost, key=cost.get)}" if cost else ""
        total = sum(cost.values())
        last = f"   last: {total:,} cycle{'s' * (total != 1)}{dearest}"
        return Content.assemble(line, last, (f"   stopped: {stopped}" if stopped else "", FAIR))

    def _bring(self, name: str, line: str) -> None:
        """Bring forward what shows the answer of a command."""
        said = line.split()
        if name in _PINNING and len(said) > 1 and said[-1].lower() != "pa":
            self.pinned = words.address(self.control.session, said[1])
        pane = _ANSWERED_BY.get(" ".join([name, *said[1:2]])) or _ANSWERED_BY.get(name)
        if pane is None and name not in _MOVING and name not in _SETTING:
            pane = "answers"
        if pane is not None:
            self.action_pane(pane)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        line = event.value.strip() or self.command_line.last
        self.command_line.value = ""
        if line:
            self.command_line.remember(line)
            self.say(line)

    @on(Code.RunTo)
    def _run_to(self, event: Code.RunTo) -> None:
        self.code.cursor = None
        self.say(f"until pc {event.va:#x}")

    @on(Code.Marked)
    def _marked(self, event: Code.Marked) -> None:
        if self._scene is not None and not isinstance(event, Code.RunTo):
            number = breakpoints(self._scene).get(event.va)
            self.say(f"break {event.va:#x}" if number is None else f"delete {number}")

    # -- What is seen -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Show the session where it stands, in all panes that are seen. Not while a command is at work on it."""
        if self.work.line:
            return
        scene = self._scene = scene_of(self.control, self._scene, self.pinned)
        for pane in self.panes:
            if pane.display:
                pane.show(scene)
        self.query_one(Coming).show(scene)
        self._status.put(status(scene, self.size.width))
        self._said_line.put(self._said)

    def _progress(self) -> None:
        if self.work.line:
            executions = len(self.control.session.trace.executions)
            self._status.put(under_way(self.work.line, self.work.at, executions))

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout that fits."""
        self._layout = layout_for(event.size.width, event.size.height)
        self._arrange()

    def _arrange(self) -> None:
        """Show the panes that have room: all of them, code and one other, or one."""
        layout = self._layout
        seen = layout.seen(self.front)
        for pane in self.panes:
            pane.display = pane.name_ in seen
        for number, names in enumerate(COLUMNS):
            self.query_one(f"#column{number}").display = any(name in seen for name in names)
        tabs = self.query_one(Tabs)
        tabs.display = layout is not Layout.ALL
        in_front = next(iter(seen - {"code"}), "code") if layout is Layout.TWO else self.front
        tabs.show(in_front, frozenset({"code"} if layout is Layout.TWO else ()))
        for each in Layout:
            self.screen.set_class(each is layout, f"-{each.name.lower()}")
        self.call_after_refresh(self.look)

    # -- Keys ---------------------------------------------------------------------------------------------------------

    def action_say(self, line: str) -> None:
        """Say a command."""
        self.say(line)

    def action_pane(self, name: str) -> None:
        """Bring a pane forward."""
        self.front = name
        self._arrange()
        self.pane(name).focus()

    def action_front(self, number: int) -> None:
        """Bring the pane of that number forward."""
        self.action_pane(self.panes[number].name_)

    def action_toggle_break(self) -> None:
        """Set or clear a breakpoint at the code's cursor, or at PC."""
        self.code.action_mark()

    def action_follow(self) -> None:
        """Go back to PC, and let the pinned address go."""
        self.code.cursor = self.pinned = None
        self.look()

    def action_source(self) -> None:
        """Change between source and disassembly."""
        self.code.with_source = not self.code.with_source
        self.look()

    def action_light(self) -> None:
        """Change between light and dark."""
        self.theme = LIGHT if self.theme == DARK else DARK

    def action_command_line(self) -> None:
        """Go to the command line."""
        self.command_line.focus()

    def action_leave(self) -> None:
        """Interrupt what runs; else leave the command line."""
        if not self.work.interrupt():
            self.command_line.value = ""
            self.pane(self.front).focus()

    def action_help(self) -> None:
        """Show keys and commands."""
        self.push_screen(Help())

    @on(Code.Moved)
    def _moved(self) -> None:
        self.look()

    def on_unmount(self) -> None:
        """Keep the history; wait for nothing."""
        self.work.interrupt()
        self.command_line.save()


def _name(line: str) -> str:
    try:
        return command_name(line.split(maxsplit=1)[0])
    except InputError:
        return ""
