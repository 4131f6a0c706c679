"""Control: a session in a person's hands: what it stops for, and the answers to what is said to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from relocscope.stepping import texts, views
from relocscope.stepping.seeking import Reached, ahead, behind
from relocscope.stepping.session import Session
from relocscope.stepping.stops import Stop

Words = Sequence[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command gives: facts for `--json`, and text."""

    facts: dict[str, Any]
    text: str
    over: bool = False
    """The session ends with this."""


@dataclass(slots=True, eq=False)
class Control:
    """A session and its stops. A movement that fails leaves it where it was."""

    session: Session
    stops: dict[int, Stop] = field(default_factory=dict)
    """By number: breakpoints and watchpoints."""
    next_stop: int = 1
    walked_from: int = 0
    """Where the walk to here began: the start, or where a jump (`goto`, `restart`) led."""
    interrupted: Callable[[], bool] = lambda: False
    """Asked every now and then while something is looked for: whether to break off."""

    def here(self, stopped: str = "") -> Answer:
        """Answer with where the session stands."""
        facts = views.position(self.session)
        return Answer({**facts, "stopped": stopped or None}, texts.position(facts, stopped))

    def move(self, number: int, stopped: str = "") -> Answer:
        """Go there, but not beyond either end."""
        end = self.session.timeline.end
        self.session.go(min(max(number, 0), end))
        self.walked_from = min(self.walked_from, self.session.number)
        if number > end or (self.session.at_end and not stopped):
            stopped = "the end"
        return self.here(stopped or ("the start" if number < 0 else ""))

    def jump(self, number: int) -> Answer:
        """Go there, and begin to walk anew."""
        answer = self.move(number)
        self.walked_from = self.session.number
        return answer

    def seek(self, wanted: Sequence[tuple[str, Stop]]) -> Answer:
        """Go to the first place after this instruction where any of them holds, or to the end."""
        start = min(self.session.number + 1, self.session.timeline.end)
        found = ahead(self.session, [stop for _, stop in wanted], start, self.interrupted)
        return self._arrive(found, wanted, "")

    def seek_back(self, wanted: Sequence[tuple[str, Stop]]) -> Answer:
        """Go to the last place before this instruction where any of them holds, or to the start."""
        found = behind(self.session, [stop for _, stop in wanted], self.session.number, self.interrupted)
        return self._arrive(found, wanted, "the start")

    def _arrive(self, found: Reached, wanted: Sequence[tuple[str, Stop]], nothing: str) -> Answer:
        if found.interrupted:
            return self.move(found.number, "interrupted")
        return self.move(found.number, nothing if found.stop is None else wanted[found.stop][0])

    def set_stops(self) -> list[tuple[str, Stop]]:
        """Return breakpoints and watchpoints with their words."""
        return [(f"{number}: {stop.words}", stop) for number, stop in self.stops.items()]

    def add_stop(self, stop: Stop) -> Answer:
        """Note a breakpoint or watchpoint."""
        number, self.next_stop = self.next_stop, self.next_stop + 1
        self.stops[number] = stop
        return Answer({"stop": number, "what": stop.words}, f"{number}: {stop.words}")
