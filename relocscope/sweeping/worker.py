"""The process that does tasks for a sweep: `python -m relocscope.sweeping.worker SOCKET DIRECTORY`.

It ends when the other end of the socket does, however that ends.
"""

import contextlib
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from relocscope.sweeping.tasks import perform
from relocscope.sweeping.workers import Traces


def work(connection: Connection, directory: Path) -> None:
    """Do tasks until there are no more."""
    subjects = Traces(directory)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            connection.send(perform(connection.recv(), subjects))


if __name__ == "__main__":
    work(Connection(int(sys.argv[1])), Path(sys.argv[2]))
