"""A full screen under a pilot, its text, and the screens that are kept as golden text.

`python tests/relocscope/screens.py` writes the golden texts anew; read the difference before it is committed.
"""

import asyncio
import contextlib
import html
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from textual.pilot import Pilot

from relocscope.operand import operand, with_settings
from relocscope.screen.app import Stepper
from relocscope.stepping.control import Control
from relocscope.stepping.session import Session

GOLDEN = Path(__file__).with_name("golden_screens")

_FOUNDING = ("until pc copy_line", "break copy_line")
KEPT: dict[str, tuple[tuple[int, int], Sequence[str], Sequence[str]]] = {
    "code": ((80, 24), _FOUNDING, ()),
    "system": ((80, 24), _FOUNDING, ("3",)),
    "walk": ((80, 24), ("step",), ("4",)),
    "caches": ((80, 24), _FOUNDING, ("5",)),
    "map": ((80, 24), ("until page 8",), ("8",)),
    "help": ((80, 24), (), ("question_mark",)),
    "two": ((130, 40), _FOUNDING, ()),
    "all": ((200, 60), _FOUNDING, ()),
}
"""By name: the size, what is said, what is pressed."""


def session(case: str = "rfc-v1-nvhe", size: str = "64KiB", **settings: object) -> Session:
    return Session(with_settings(operand(case), {"size": size, "initial": "cold", **settings}))


@contextlib.asynccontextmanager
async def shown(
    stepped: Session, size: tuple[int, int] = (80, 24), history: Path | None = None
) -> AsyncIterator[tuple[Stepper, Pilot[None]]]:
    app = Stepper(Control(stepped), history_file=history)
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot)
        yield app, pilot


async def settle(app: Stepper, pilot: Pilot[None]) -> None:
    """Wait until everything that was said is done and seen."""
    await pilot.pause()
    await app.work.settled()
    await pilot.pause()


async def say(app: Stepper, pilot: Pilot[None], *lines: str) -> None:
    for line in lines:
        app.say(line)
    await settle(app, pilot)


async def press(app: Stepper, pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(app, pilot)


def text_of(app: Stepper) -> str:
    """What is on the screen, from the picture that Textual makes of it."""
    width, height = app.size
    cells = [[" "] * width for _ in range(height)]
    picture = app.export_screenshot()
    for x, row, text in re.findall(
        r'<text [^>]*x="([\d.]+)"[^>]*clip-path="url\(#[^)]*line-(\d+)\)">([^<]*)<', picture
    ):
        for at, letter in enumerate(html.unescape(text), round(float(x) / 12.2)):
            if int(row) < height and at < width:
                cells[int(row)][at] = " " if letter == "\xa0" else letter
    return "\n".join("".join(row).rstrip() for row in cells) + "\n"


def without_figures(text: str) -> str:
    """Replace counted and modelled figures, and scroll bars: other tests' matter. Addresses and values stay."""
    figure = r"(?<![\w.#*])(?:\d[\d,.]{1,11}|(?<=   )\d)(?=[\s%:,;]|$)"
    text = re.sub(figure, lambda found: re.sub(r"\d", "9", found[0]), text, flags=re.MULTILINE)
    text = re.sub("[▁▂▃▄▅▆▇]", " ", text)
    text = re.sub(r"[█·]{3,}", lambda found: "·" * len(found[0]), text)
    return re.sub(" +$", "", text, flags=re.MULTILINE)


async def kept(name: str) -> str:
    """Return the text of one of the kept screens."""
    size, lines, keys = KEPT[name]
    async with shown(session(), size) as (app, pilot):
        await say(app, pilot, *lines)
        await press(app, pilot, *keys)
        return without_figures(text_of(app))


if __name__ == "__main__":
    for each in KEPT:
        (GOLDEN / f"{each}.txt").write_text(asyncio.run(kept(each)), encoding="utf-8")
