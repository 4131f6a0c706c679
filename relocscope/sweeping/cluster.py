"""Doing replays on a Dask cluster. What is captured is captured in processes of this machine (docs/decisions.md).

Each worker gets a trace once, also one that joins late or comes back: the scheduler hands it to every worker before its
first task. What a killed worker had in hand the scheduler gives to another one.
"""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relocscope.sweeping.extras import imported
from relocscope.sweeping.store import Store
from relocscope.sweeping.tasks import Answer, Replay, Task, perform
from relocscope.sweeping.versions import model_version
from relocscope.sweeping.workers import Traces
from traces.errors import InputError
from traces.replacing import replacing

CONNECT_SECONDS = 20

OUTSTANDING = 2048
"""Tasks that the scheduler has at a time."""


class Cluster:
    """Does replays by the workers of a scheduler."""

    def __init__(self, address: str, directory: Path) -> None:
        try:
            self._client: Any = imported("distributed", "cluster").Client(
                address, set_as_default=False, timeout=CONNECT_SECONDS
            )
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split())
            raise InputError(f"--scheduler: {address}: no Dask scheduler answers: {why}") from None
        if not self._client.scheduler_info(n_workers=-1)["workers"]:
            self._client.close()
            raise InputError(f"--scheduler: {address}: has no workers; start some: dask worker {address}")
        self._store = Store(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def perform(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Do all of them, which are replays; those of one trace stand together."""
        from distributed import as_completed

        replays = [task for task in tasks if isinstance(task, Replay)]
        left = Counter(task.trace for task in replays)
        waiting = iter(replays)
        of_key = {task.key: task for task in replays}
        shipped: set[str] = set()
        done = as_completed(loop=self._client.loop, with_results=True, raise_errors=False)
        try:
            for task in _first(waiting, OUTSTANDING):
                done.add(self._submit(task, shipped))
            for future, answered in done:
                task = of_key[future.key.removeprefix(_PREFIX)]
                yield task, _answer(future, answered)
                for another in _first(waiting, 1):
                    done.add(self._submit(another, shipped))
                left[task.trace] -= 1
                if not left[task.trace]:
                    self._client.unregister_worker_plugin(_PREFIX + task.trace)
                    shipped.remove(task.trace)
        finally:
            with contextlib.suppress(OSError):
                for name in shipped:
                    self._client.unregister_worker_plugin(_PREFIX + name)

    def _submit(self, task: Replay, shipped: set[str]) -> Any:
        if task.trace not in shipped:
            self._ship(task.trace)
            shipped.add(task.trace)
        return self._client.submit(_performed, task, model_version(), key=_PREFIX + task.key, pure=True)

    def _ship(self, name: str) -> None:
        plugin = _plugin(name, self._store.trace_path(name).read_bytes())
        try:
            self._client.register_plugin(plugin, name=_PREFIX + name)
        except Exception as error:  # whatever a worker has against it
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"--scheduler: a worker cannot take the trace: {why}") from None


_PREFIX = "relocscope-"


def _first(waiting: Iterator[Replay], count: int) -> Iterator[Replay]:
    for _, task in zip(range(count), waiting, strict=False):
        yield task


def _answer(future: Any, answered: Any) -> Answer:
    if isinstance(answered, Answer):
        return answered
    error = future.exception() if future.status == "error" else future.status
    why = " ".join(f"{type(error).__name__}: {error}".split()) if isinstance(error, BaseException) else str(error)
    return Answer({"error": f"on the cluster: {why}"}, lasting=False, by="cluster", seconds=0.0)


def _plugin(name: str, content: bytes) -> Any:
    """Return the plugin that leaves a trace at each worker."""
    from distributed import WorkerPlugin

    class Shipped(WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            place(Path(worker.local_directory), name, content)

        def teardown(self, worker: Any) -> None:
            _store_at(Path(worker.local_directory)).trace_path(name).unlink(missing_ok=True)

    return Shipped()


def place(directory: Path, name: str, content: bytes) -> None:
    """Leave the file of a trace in a worker's own directory."""
    store = _store_at(directory)
    store.prepare()
    with replacing(store.trace_path(name)) as stream:
        stream.write(content)


def _store_at(directory: Path) -> Store:
    return Store(directory / "relocscope")


@lru_cache(maxsize=4)
def _traces(directory: Path) -> Traces:
    return Traces(_store_at(directory).directory)


def _performed(task: Replay, version: str) -> Answer:
    """Do a task at a worker."""
    from distributed import get_worker

    worker: Any = get_worker()
    if model_version() != version:
        why = f"worker {worker.address} has another version of Relocscope"
        return Answer({"error": why}, lasting=False, by=worker.address, seconds=0.0)
    return dataclasses.replace(perform(task, _traces(Path(worker.local_directory))), by=worker.address)
