"""Palette: Textual's command palette over the commands of line mode and what the keys say."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from relocscope.screen.keys import KEYS
from relocscope.stepping.commands import COMMANDS

if TYPE_CHECKING:
    from relocscope.screen.app import Stepper


def entries() -> Iterator[tuple[str, str, str]]:
    """Yield what is shown, what it does, and the line that it says."""
    for name, command in COMMANDS.items():
        yield command.usage, command.what, name if not command.arguments[0] else f"{name} "
    for key in KEYS:
        if key.line not in COMMANDS and not key.line.endswith(" "):
            yield f"{key.line} ({key.shown})", key.what, key.line


class Commands(Provider):
    """Every command; one that needs more words goes to the command line to be completed."""

    async def discover(self) -> Hits:
        """Offer all of them."""
        for shown, what, line in entries():
            yield DiscoveryHit(shown, partial(self._stepper.say, line), text=shown, help=what)

    async def search(self, query: str) -> Hits:
        """Offer those that fit."""
        matcher = self.matcher(query)
        for shown, what, line in entries():
            score = max(matcher.match(shown), matcher.match(what) / 2)
            if score > 0:
                yield Hit(score, matcher.highlight(shown), partial(self._stepper.say, line), text=shown, help=what)

    @property
    def _stepper(self) -> "Stepper":
        return cast("Stepper", self.app)
