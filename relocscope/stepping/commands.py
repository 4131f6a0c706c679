"""Commands: the language of a stepping session. Line mode, the full screen's palette and gdb's monitor share it.

Any unambiguous prefix of a command works. A command answers with facts (for `--json`) and text; what is wrong with one
is an InputError of one line, and changes nothing.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from relocscope.stepping import changing, keeping, looking, moving, texts
from relocscope.stepping.control import Answer, Control, Words
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is written, and what it does."""

    usage: str
    what: str
    do: Callable[[Control, Words], Answer]
    arguments: tuple[int, int]
    """The fewest and the most words that may follow."""


def run(control: Control, line: str) -> Answer | None:
    """Carry out one line; None for an empty one or a comment."""
    try:
        said = shlex.split(line, comments=True)
    except ValueError as error:
        raise InputError(f"{line.strip()!r}: {error}") from None
    if not said:
        return None
    name = command_name(said[0])
    command = COMMANDS[name]
    low, high = command.arguments
    if not low <= len(said) - 1 <= high:
        raise InputError(f"{name}: write it as: {command.usage}")
    return command.do(control, said[1:])


def command_name(text: str) -> str:
    """Complete a command; InputError where it means none, or several."""
    if text in COMMANDS:
        return text
    fitting = [name for name in COMMANDS if name.startswith(text)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(f"{text}: may be {', '.join(fitting)}")
    raise InputError(f"{text}: no command; `help` lists them")


def _help(_: Control, said: Words) -> Answer:
    if said:
        command = COMMANDS[command_name(said[0])]
        return Answer({"usage": command.usage, "what": command.what}, f"{command.usage}\n  {command.what}")
    rows = [(command.usage, command.what) for command in COMMANDS.values()]
    return Answer({"commands": [{"usage": usage, "what": what} for usage, what in rows]}, texts.table(rows))


def _quit(_: Control, __: Words) -> Answer:
    return Answer({}, "", over=True)


_UNTIL = "el N | pc ADDR | device | miss LEVEL | hazard | regime | exception | walk | page N | type T | write REG"

COMMANDS: dict[str, Command] = {
    "step": Command("step [N]", "execute N instructions", moving.step, (0, 1)),
    "block": Command("block", "to the next block of instructions", moving.block, (0, 0)),
    "page": Command("page", "to the first store to the next page", moving.page, (0, 0)),
    "finish": Command("finish", "out of this routine", moving.finish, (0, 0)),
    "continue": Command("continue", "to a stop, or the end", moving.continue_, (0, 0)),
    "until": Command("until ...", _UNTIL, moving.until, (1, 2)),
    "back": Command("back [N]", "N instructions back; also: back until ..., back continue", moving.back, (0, 3)),
    "goto": Command("goto insn|cycle N", "to a place by its number", moving.goto, (2, 2)),
    "restart": Command("restart", "to the first instruction", moving.restart, (0, 0)),
    "break": Command("break ADDR", "stop there; also all that `until` takes", changing.break_, (1, 2)),
    "watch": Command("watch ADDR LEN [va|pa]", "also: read, write; watch REG: its writes", changing.watch, (1, 4)),
    "delete": Command("delete N", "forget a stop", changing.delete, (1, 1)),
    "where": Command("where", "where it stands", looking.where, (0, 0)),
    "list": Command("list [N]", "the code around, with what it cost", looking.list_, (0, 1)),
    "regs": Command("regs", "general registers", looking.regs, (0, 0)),
    "sysregs": Command("sysregs [NAME...]", "system registers by field", looking.sysregs, (0, 8)),
    "x": Command("x ADDR LEN [pa]", "memory", looking.x, (2, 3)),
    "translate": Command("translate ADDR", "the walk, descriptor by descriptor", looking.translate, (1, 1)),
    "cost": Command("cost [ADDR]", "the last and the next instruction's bill, or an address's", looking.cost, (0, 1)),
    "stack": Command("stack", "what the cycles so far were spent on", looking.stack, (0, 0)),
    "caches": Command("caches ADDR [pa]", "the set of each level that it falls into", looking.caches, (1, 2)),
    "tlb": Command("tlb ADDR", "the entries that translate it", looking.tlb, (1, 1)),
    "buffers": Command("buffers", "misses and stores under way", looking.buffers, (0, 0)),
    "info": Command("info [TOPIC]", "run, breaks, changes, map, kimage, symbols", looking.info, (0, 1)),
    "set": Command("set REG VALUE", "xN, sp, pc, pstate, vN, NAME_ELx, NAME_ELx.FIELD, [ADDR]", changing.set_, (2, 2)),
    "patch": Command('patch ADDR "ASM"', "assemble in place", changing.patch, (2, 2)),
    "save": Command("save FILE", "the session: case, changes, stops, place", keeping.save, (1, 1)),
    "load": Command("load FILE", "go on with a saved session", keeping.load, (1, 1)),
    "export": Command("export FILE [FROM [TO]]", "the walk as .csv or .json; the view as .txt", keeping.export, (1, 3)),
    "help": Command("help [COMMAND]", "this", _help, (0, 1)),
    "quit": Command("quit", "end", _quit, (0, 0)),
}
