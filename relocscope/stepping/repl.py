"""Line mode: commands from stdin, one a line, answers as text or as JSON Lines."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from relocscope.stepping import history
from relocscope.stepping.commands import run
from relocscope.stepping.completion import completions
from relocscope.stepping.control import Answer, Control
from traces.errors import InputError
from traces.visible import visible, visible_lines

PROMPT = "(relocscope) "


def converse(control: Control, json_out: IO[str] | None = None, *, text: bool = True) -> None:
    """Carry out commands until `quit` or the end of input. An error is one line, and ends nothing.

    With `json_out` there is one object a command on it: the facts of the answer with `command`, or `command` and
    `error`. `text`: whether answers for people go to stdout.
    """
    for line in _lines(control):
        try:
            with _breaking_in(control):
                answer = run(control, line)
        except InputError as error:
            _refuse(line, str(error), json_out)
            continue
        if answer is None:
            continue
        if answer.over:
            break
        _say(line, answer, json_out, text=text)


@contextmanager
def _breaking_in(control: Control) -> Iterator[None]:
    """Let Ctrl-C break off a search of a command that a person typed, where it has come to; elsewhere it ends all."""
    if not sys.stdin.isatty():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    control.interrupted = lambda: bool(pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        control.interrupted = lambda: False


def _say(line: str, answer: Answer, json_out: IO[str] | None, *, text: bool) -> None:
    _write_json(line, answer.facts, json_out)
    if text:
        sys.stdout.write(f"{visible_lines(answer.text)}\n")
        sys.stdout.flush()


def _refuse(line: str, error: str, json_out: IO[str] | None) -> None:
    _write_json(line, {"error": error}, json_out)
    sys.stderr.write(f"relocscope: {visible(' '.join(error.split()))}\n")


def _write_json(line: str, facts: Mapping[str, Any], json_out: IO[str] | None) -> None:
    if json_out is not None:
        json_out.write(json.dumps({"schema": "relocscope/step/1", "command": line.strip(), **facts}) + "\n")
        json_out.flush()


def _lines(control: Control) -> Iterator[str]:
    """Yield lines of stdin; where a person types them, with history and completion."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    save_history = _edited(control)
    sys.stdout.write("`help` lists the commands; an empty line repeats the last one.\n")
    last = ""
    try:
        while True:
            try:
                line = input(PROMPT)
            except KeyboardInterrupt:
                sys.stdout.write("\n")
                continue
            last = line if line.strip() else last
            yield last
    except EOFError:
        sys.stdout.write("\n")
    finally:
        save_history()


def _edited(control: Control) -> Callable[[], None]:
    """Turn on line editing where Python has it; return what keeps the history at the end."""
    try:
        import readline
    except ImportError:
        return lambda: None
    for line in history.kept(history.FILE):
        readline.add_history(line)

    def complete(text: str, number: int) -> str | None:
        fitting = completions(control.session, readline.get_line_buffer()[: readline.get_begidx()], text)
        return f"{fitting[number]} " if number < len(fitting) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")

    def save() -> None:
        said = [readline.get_history_item(number + 1) for number in range(readline.get_current_history_length())]
        history.keep(history.FILE, [line for line in said if line])

    return save
