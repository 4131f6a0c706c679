"""Work: commands carried out one after the other in a thread of their own, so that the screen answers meanwhile."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from relocscope.stepping.commands import run
from relocscope.stepping.control import Answer, Control
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a line: an answer, or one line that says what was wrong."""

    line: str
    answer: Answer | None
    error: str = ""


class Work:
    """A queue of command lines. While `line` is set, the session is the thread's: nobody else may look at it."""

    def __init__(self, control: Control, done: Callable[[Done], None]) -> None:
        self._control, self._done = control, done
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="step")
        self._stop = threading.Event()
        control.interrupted = self._stop.is_set
        self.line = ""
        """What is being carried out; empty while nothing is."""

    def say(self, line: str) -> None:
        """Have a line carried out when those before it are."""
        self._queue.put_nowait(line)

    @property
    def waiting(self) -> int:
        """Lines that have not been begun."""
        return self._queue.qsize()

    @property
    def at(self) -> int:
        """The execution that the model has come to."""
        return self._control.session.model.replay.at

    def interrupt(self) -> bool:
        """Break off what is under way where it has come to, and forget what waits; whether there was anything."""
        while not self._queue.empty():
            self._queue.get_nowait()
            self._queue.task_done()
        if self.line:
            self._stop.set()
        return bool(self.line)

    async def settled(self) -> None:
        """Wait until everything that was said is done."""
        await self._queue.join()

    async def serve(self) -> None:
        """Carry lines out for ever."""
        loop = asyncio.get_running_loop()
        while True:
            line = await self._queue.get()
            self._stop.clear()
            self.line = line
            try:
                done = await loop.run_in_executor(self._thread, self._carry_out, line)
                self.line = ""
                self._done(done)
            finally:
                self.line = ""
                self._queue.task_done()

    def _carry_out(self, line: str) -> Done:
        try:
            return Done(line, run(self._control, line))
        except InputError as error:
            return Done(line, None, str(error))
