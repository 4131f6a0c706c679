"""Keys: which key says which command. The help screen, the palette and docs/step.md are made of this table."""

from typing import NamedTuple


class Key(NamedTuple):
    """One key or more, and the line that it says; a line that ends in a space is offered for completion."""

    keys: str
    """As Textual names them, comma between."""
    shown: str
    """As people name them."""
    line: str
    what: str
    footer: str = ""
    """What the line at the bottom calls it; empty: it is not there."""


class Action(NamedTuple):
    """One key or more that do something to the screen alone."""

    keys: str
    shown: str
    action: str
    what: str
    footer: str = ""
    """What the line at the bottom calls it; empty: it is not there."""


KEYS = (
    Key("s,space", "s → space", "step", "one instruction", footer="step"),
    Key("S,backspace", "S ←", "back", "one instruction back", footer="back"),
    Key("n", "n", "block", "to the next block"),
    Key("p", "p", "page", "to the next page of the image"),
    Key("f", "f", "finish", "out of this routine"),
    Key("c", "c", "continue", "to a stop, or the end", footer="continue"),
    Key("C", "C", "back continue", "back to a stop, or the start"),
    Key("d", "d", "until device", "to the next access to Device memory", footer="device"),
    Key("D", "D", "back until device", "back to the last one"),
    Key("e", "e", "until exception", "to the next exception"),
    Key("E", "E", "back until exception", "back to the last one"),
    Key("r", "r", "until regime", "to the next change of regime"),
    Key("R", "R", "back until regime", "back to the last one"),
    Key("w", "w", "until walk", "to the next table walk"),
    Key("W", "W", "back until walk", "back to the last one"),
    Key("m", "m", "until miss l2", "to the next miss in L2"),
    Key("M", "M", "back until miss l2", "back to the last one"),
    Key("h", "h", "until hazard", "to where it goes wrong"),
    Key("less_than_sign", "<", "restart", "to the first instruction"),
    Key("u", "u", "until ", "to what is then named"),
    Key("g", "g", "goto insn ", "to an instruction by number"),
    Key("G", "G", "goto cycle ", "to a cycle"),
    Key("x", "x", "x ", "memory"),
    Key("a", "a", "translate ", "pin an address: its walk, caches and TLB entries"),
)

ACTIONS = (
    Action("b", "b, click", "toggle_break", "breakpoint at the cursor, or here", footer="break"),
    Action("up", "↑ ↓ PgUp PgDn", "code", "move the cursor in the code; wheel"),
    Action("enter", "enter", "code", "run to the cursor"),
    Action("full_stop", ".", "follow", "cursor back to PC, pinned address let go"),
    Action("v", "v", "source", "source or disassembly"),
    Action("colon,slash", ": /", "command_line", "the command line; ↑ ↓ history, → or tab completes", footer="command"),
    Action("escape", "esc", "leave", "interrupt what runs; leave the command line"),
    Action("1", "1 to 9, 0", "pane", "bring a pane forward; tab goes on to the next"),
    Action("l", "l", "light", "light or dark"),
    Action("ctrl+p", "ctrl+p", "command_palette", "all commands, searched", footer="all"),
    Action("question_mark,f1", "? F1", "help", "this", footer="help"),
    Action("q", "q", "quit", "end", footer="quit"),
)
