"""Draw the pictures of docs/step.md and write its generated parts: python docs/screens.py."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from relocscope.operand import operand
from relocscope.screen.app import Stepper
from relocscope.screen.keys import ACTIONS, KEYS
from relocscope.stepping.commands import COMMANDS
from relocscope.stepping.control import Control
from relocscope.stepping.session import Session

HERE = Path(__file__).parent


class Picture(NamedTuple):
    """One screen: its size, what is said, and which keys are pressed then."""

    size: tuple[int, int]
    lines: Sequence[str]
    keys: Sequence[str] = ()


PICTURES = {
    "soft-restart": Picture((80, 24), ()),
    "el2": Picture((80, 24), ("until exception",), ("3",)),
    "copy": Picture((80, 24), ("until exception", "until pc copy_line", "break copy_line")),
    "all": Picture((200, 60), ("until page 3000", "break copy_line", "translate x20")),
    "light": Picture((120, 36), ("until pc copy_line", "step 8"), ("9", "l")),
}

SCRIPT = ("until exception", "until pc copy_line", "cost", "translate x21", "info")


async def drawn(picture: Picture) -> str:
    """Return one screen of the founding case as SVG."""
    app = Stepper(Control(Session(operand("rfc-v1-nvhe"))), history_file=None)
    async with app.run_test(size=picture.size) as pilot:
        for line in picture.lines:
            app.say(line)
            await app.work.settled()
        await pilot.press(*picture.keys)
        await pilot.pause(0.5)
        return _with_own_fonts(app.export_screenshot(simplify=True))


def _with_own_fonts(svg: str) -> str:
    """Leave out what a viewer would fetch from elsewhere."""
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def spoken() -> str:
    """Return what line mode answers to the walk of docs/step.md."""
    command = [sys.executable, "-m", "relocscope", "step", "rfc-v1-nvhe", "--repl"]
    answers = []
    for number in range(len(SCRIPT)):
        said = "\n".join(SCRIPT[: number + 1])
        done = subprocess.run(command, input=said, capture_output=True, text=True, check=True)
        answers.append(done.stdout)
    parts, before = [], ""
    for line, answer in zip(SCRIPT, answers, strict=True):
        parts.append(f"(relocscope) {line}\n{answer.removeprefix(before)}")
        before = answer
    return f"```\n{''.join(parts)}```"


def keys() -> str:
    """Return the table of keys."""
    rows = [f"| `{key.shown}` | {key.what} | `{key.line.strip()}` |" for key in KEYS]
    rows += [f"| `{each.shown}` | {each.what} | |" for each in ACTIONS]
    return "\n".join(["| key | does | says |", "|---|---|---|", *rows])


def commands() -> str:
    """Return the table of commands."""
    rows = [f"| `{_escaped(each.usage)}` | {_escaped(each.what)} |" for each in COMMANDS.values()]
    return "\n".join(["| command | does |", "|---|---|", *rows])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def filled(page: str, parts: dict[str, str]) -> str:
    """Put each part between its marks."""
    for name, text in parts.items():
        marks = rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)"
        page, count = re.subn(marks, lambda found, text=text: f"{found[1]}{text}{found[2]}", page, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"docs/step.md: no place for {name}")
    return page


def main() -> None:
    """Write all of it."""
    (HERE / "screens").mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        (HERE / "screens" / f"{name}.svg").write_text(asyncio.run(drawn(picture)), encoding="utf-8")
    page = HERE / "step.md"
    parts = {"keys": keys(), "commands": commands(), "line mode": spoken()}
    page.write_text(filled(page.read_text(encoding="utf-8"), parts), encoding="utf-8")


if __name__ == "__main__":
    main()
