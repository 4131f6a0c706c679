"""Code: source or disassembly with the current line, breakpoints, and what each instruction has cost so far."""

from collections.abc import Mapping
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from relocscope.screen.marks import BAD, CURRENT, DIM, HERE, STOP, STRONG, of_cause
from relocscope.screen.scene import Scene
from relocscope.stepping import views

_REMARKS_FROM_HEIGHT = 20
"""Lines that a pane must have for the source's comments to be shown."""
_TEXT_CELLS = (22, 44)
_COUNT_CELLS, _CYCLES_CELLS, _CAUSE_CELLS = 9, 12, 13
_LEFT_CELLS = 3
_Row = tuple[int | None, Content]
"""The address of the instruction that a line shows, if it does, and the line."""


class Code(Widget, can_focus=True):
    """The code around PC, or around where a person has gone to with the arrow keys."""

    name_, title = "code", "Code"
    BINDINGS: ClassVar = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "move(-12)", show=False),
        Binding("pagedown", "move(12)", show=False),
        Binding("right", "app.say('step')", show=False),
        Binding("left", "app.say('back')", show=False),
        Binding("enter", "run_to", show=False),
    ]

    class Marked(Message):
        """A person wants a breakpoint there, or none any more."""

        def __init__(self, va: int) -> None:
            super().__init__()
            self.va = va

    class RunTo(Marked):
        """A person wants to go on to there."""

    class Moved(Message):
        """Another stretch of code is to be shown."""

    def __init__(self) -> None:
        super().__init__(id=self.name_, classes="pane")
        self.border_title = self.title
        self.with_source = True
        self.cursor: int | None = None
        """Where a person has gone; None: with PC."""
        self._top = 0
        self._rows: list[_Row] = []
        self._head = Content("")

    def render(self) -> Content:
        """Show what `show` made."""
        return Content("\n").join([self._head, *(row for _, row in self._rows)])

    def show(self, scene: Scene) -> None:
        """Show a scene; the window stays where it is while it holds the line that matters."""
        height, width = max(4, self.content_region.height - 1), max(40, self.content_region.width)
        middle = scene.session.pc if self.cursor is None else self.cursor
        stops = breakpoints(scene)

        def rows(**where: int) -> list[_Row]:
            facts = views.code(scene.session, **where)
            remarks = self.with_source and height >= _REMARKS_FROM_HEIGHT
            return _rows(facts, width, self.cursor, stops, with_source=self.with_source, remarks=remarks)

        found = rows(at=self._top, before=0, after=height)[:height]
        if middle not in [va for va, _ in found[:-1]]:
            around = rows(at=middle, before=height // 2, after=height)
            at = next((number for number, (va, _) in enumerate(around) if va == middle), 0)
            first = next((va for va, _ in around[max(0, at - height // 3) :] if va is not None), middle)
            self._top = first
            found = around[max(0, at - height // 3) :][:height]
        self._rows, self._head = found, _head(width, scene.session.pc)
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor by instructions."""
        shown = [va for va, _ in self._rows if va is not None]
        if shown:
            start = self.cursor if self.cursor is not None else self._current(shown)
            self.cursor = max(0, start + 4 * by)
            self.post_message(self.Moved())

    def _current(self, shown: list[int]) -> int:
        return next((va for va, row in self._rows if va is not None and row.plain.startswith(CURRENT)), shown[0])

    def action_run_to(self) -> None:
        """Go on to the line of the cursor."""
        if self.cursor is not None:
            self.post_message(self.RunTo(self.cursor))

    def action_mark(self) -> None:
        """Set or clear a breakpoint at the cursor, or at PC."""
        shown = [va for va, _ in self._rows if va is not None]
        if shown:
            self.post_message(self.Marked(self.cursor if self.cursor is not None else self._current(shown)))

    def on_click(self, event: events.Click) -> None:
        """Set or clear a breakpoint on the line."""
        offset = event.get_content_offset(self)
        if offset is not None and 0 < offset.y <= len(self._rows):
            va = self._rows[offset.y - 1][0]
            if va is not None:
                self.post_message(self.Marked(va))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Look further down."""
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Look further up."""
        event.stop()
        self.action_move(-3)


def breakpoints(scene: Scene) -> dict[int, int]:
    """Return the stops that stand at an address, by it."""
    return {stop.va: number for number, stop in scene.control.stops.items() if stop.va is not None}


def _rows(
    facts: list[dict[str, Any]],
    width: int,
    cursor: int | None,
    stops: Mapping[int, int],
    *,
    with_source: bool,
    remarks: bool,
) -> list[_Row]:
    rows: list[_Row] = []
    for line in facts:
        va, symbol, source = int(line["va"], 16), line["symbol"], line["source"] if with_source else None
        if symbol and "+" not in symbol:
            rows.append((None, Content.styled(f"  {symbol}:", HERE)))
        if remarks and source:
            rows += [(None, Content.styled(f"    // {remark}"[:width], DIM)) for remark in source["remarks"]]
        text = source["text"] if source else line["text"]
        row = _instruction(line, text, width, stop=va in stops)
        rows.append((va, row.stylize("reverse") if va == cursor else row))
    return rows


def _room(width: int, va: str) -> tuple[int, int]:
    """Return the cells that there are for an instruction's text and for its causes."""
    low, high = _TEXT_CELLS
    others = len(va) + _LEFT_CELLS + _COUNT_CELLS + _CYCLES_CELLS + 1
    room = min(high, max(low, width - others - _CAUSE_CELLS))
    return room, max(0, width - others - room)


def _head(width: int, pc: int) -> Content:
    """Name the columns."""
    va = f"{pc:#x}"
    room, left = _room(width, va)
    numbers = f"{'times':>{_COUNT_CELLS}}{'cycles':>{_CYCLES_CELLS}}"
    return Content.styled(f"  {'address':<{len(va)}} {'instruction':<{room}}{numbers} {'by cause'[:left]}", DIM)


def _instruction(line: Mapping[str, Any], text: str, width: int, *, stop: bool) -> Content:
    """Write one instruction: marks, address, text, how often, cycles, and by cause."""
    current = line["current"]
    room, left = _room(width, line["va"])
    mnemonic, _, operands = text.partition(" ")
    written = f"{mnemonic:<5} {operands}"
    written = written if len(written) <= room else f"{written[: room - 1]}…"
    return Content.assemble(
        (CURRENT if current else " ", HERE),
        (STOP if stop else " ", BAD),
        (line["va"], DIM),
        " ",
        (f"{written:<{room}}", STRONG if current else ""),
        f"{line['count']:>{_COUNT_CELLS},}" if line["count"] else " " * _COUNT_CELLS,
        f"{line['cycles']:>{_CYCLES_CELLS},}" if line["cycles"] else " " * _CYCLES_CELLS,
        " ",
        _causes(line["causes"], line["cycles"], left),
    )


def _causes(causes: Mapping[str, int], total: int, width: int) -> Content:
    """Write the dearest causes with their shares, as many as fit; the dearest one always."""
    parts: list[Content] = []
    used = 0
    for leaf, cycles in sorted(causes.items(), key=lambda item: -item[1]):
        text = leaf if len(causes) == 1 else f"{leaf} {100 * cycles // total}%"
        if used + len(text) > width and parts:
            break
        parts.append(Content.styled(text if len(text) <= width else leaf[:width], of_cause(leaf)))
        used += len(text) + 1
    return Content(" ").join(parts)
