"""A sweep on a Dask cluster of two processes, one of which is killed with work in hand."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relocscope.sweeping.plan import Plan
from relocscope.sweeping.store import Store
from relocscope.sweeping.sweep import Means, run
from relocscope.sweeping.table import PARQUET
from traces.errors import InputError

POINTS = 80
GRID = f"50..150:{POINTS}"
PLAN = Plan(cases=("v5.17-nvhe",), settings={"size": "512KiB"}, grid={"dram.latency_ns": GRID})
ASKED = ["sweep", "v5.17-nvhe", "--size", "512KiB", "--grid", f"dram.latency_ns={GRID}"]

CLIENT = """
import sys
from relocscope.cli import main
try:
    main()
finally:
    assert not {"unicorn", "keystone"} & sys.modules.keys(), "GPL-2.0-only code beside Tornado"
"""


def until(true: Callable[[], object], seconds: float = 180) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.005)


class Dask:
    """A scheduler and two workers, each a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.start("scheduler", "--port", "0", "--no-dashboard")
        until((directory / "scheduler.json").exists)
        until(lambda: (directory / "scheduler.json").stat().st_size)
        self.address = json.loads((directory / "scheduler.json").read_text())["address"]
        for name in ("one", "other"):
            self.start("worker", "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard", name=name)

    def start(self, kind: str, *options: str, name: str = "") -> None:
        place = self.directory / (name or kind)
        place.mkdir()
        log = (place / "log").open("wb")
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self.directory / "scheduler.json")]
        more = ["--local-directory", str(place)] if name else []
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.processes[name or kind] = subprocess.Popen(
            [*command, *options, *more], stdout=log, stderr=log, env=environment, cwd=place
        )
        log.close()

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    distributed = pytest.importorskip("distributed")
    cluster = Dask(tmp_path)
    try:
        with distributed.Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
            cluster.client = client  # type: ignore[attr-defined]
            yield cluster
    finally:
        cluster.end()


def sweep_on(cluster: Dask, directory: Path) -> "subprocess.Popen[bytes]":
    arguments = [*ASKED, "--workers", "1", "--scheduler", cluster.address, "-o", str(directory)]
    return subprocess.Popen([sys.executable, "-c", CLIENT, *arguments], stdout=subprocess.DEVNULL)


def replayed_by(directory: Path) -> Counter[str]:
    return Counter(note["by"] for note in Store(directory).noted() if note["kind"] == "replay")


def results_in(directory: Path) -> int:
    return len(list(directory.glob("results/*/[0-9a-f]*.json")))


def sent_to_workers(dask_scheduler: Any) -> list[str]:
    """Keys in the order in which they were given to a worker; one that was given twice was begun anew."""
    return [entry[0] for entry in dask_scheduler.transition_log if entry[2] == "processing"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_sweep_resumed_on_a_cluster_whose_worker_is_killed_comes_to_the_same_file(dask: Any, tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(PLAN, whole, Means(0))

    first = sweep_on(dask, broken)
    until(lambda: results_in(broken) >= 10 or first.poll() is not None)
    assert first.poll() is None
    first.kill()
    first.wait()
    before = results_in(broken)
    assert 10 <= before <= POINTS
    assert not (broken / PARQUET).exists()
    until(lambda: not dask.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
    sent_before = len(dask.client.run_on_scheduler(sent_to_workers))
    earlier = replayed_by(broken)

    workers = {each["name"]: address for address, each in dask.client.scheduler_info(n_workers=-1)["workers"].items()}
    second = sweep_on(dask, broken)
    until(lambda: all(replayed_by(broken)[by] > earlier[by] for by in workers.values()) or second.poll() is not None)
    assert second.poll() is None
    killed, survivor = workers["one"], workers["other"]
    os.kill(dask.processes["one"].pid, signal.SIGSTOP)  # it can finish nothing more
    in_hand = _settled(lambda: dask.client.processing()[killed])
    assert in_hand
    dask.processes["one"].kill()
    assert second.wait(180) == 0

    assert (broken / PARQUET).read_bytes() == (whole / PARQUET).read_bytes()
    assert results_in(broken) == POINTS + 1
    by = replayed_by(broken) - earlier
    assert by[killed] >= 1
    assert by[survivor] >= len(in_hand)
    assert by.total() == POINTS + 1 - before
    begun = Counter(dask.client.run_on_scheduler(sent_to_workers)[sent_before:])
    again = {key for key, times in begun.items() if times > 1}
    assert set(in_hand) <= again
    assert len(again) <= len(in_hand) + 2  # finished, and the answer was on its way when the worker ended
    assert (
        begun.keys()
        == {f"relocscope-{note['key']}" for note in Store(broken).noted() if note["by"] in by} & begun.keys()
    )
    assert not dask.client.run(lambda: {"unicorn", "keystone"} & sys.modules.keys())[survivor]


def _settled(look: Callable[[], Any]) -> Any:
    """Return what is seen once it is the same twenty times: messages that were on their way are in."""
    seen, times = look(), 0
    while times < 20:
        now = look()
        seen, times = now, times + 1 if now == seen else 0
        time.sleep(0.01)
    return seen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_each_worker_gets_a_trace_once_and_late_ones_too(dask: Any, tmp_path: Path):
    whole, remote = tmp_path / "whole", tmp_path / "remote"
    run(PLAN, whole, Means(0))
    process = sweep_on(dask, remote)
    until(lambda: len(replayed_by(remote)) == 2)
    assert [len(traces_at(tmp_path / name)) for name in ("one", "other")] == [1, 1]
    for name in ("one", "other"):
        os.kill(dask.processes[name].pid, signal.SIGSTOP)
    dask.start("worker", "--name", "late", "--nthreads", "1", "--no-nanny", "--no-dashboard", name="late")
    until(lambda: len(replayed_by(remote)) == 3)
    for name in ("one", "other"):
        os.kill(dask.processes[name].pid, signal.SIGCONT)
    assert process.wait(180) == 0
    assert (remote / PARQUET).read_bytes() == (whole / PARQUET).read_bytes()
    assert not any(traces_at(tmp_path / name) for name in ("one", "other", "late"))  # nothing stays behind


def traces_at(place: Path) -> list[Path]:
    return list(place.rglob("relocscope/traces/*.trace"))


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("relocscope.sweeping.cluster.CONNECT_SECONDS", 1)
    plan = Plan(cases=("v5.17-nvhe",), settings={"size": "64KiB"}, grid={"l1d.ways": [2]})
    with pytest.raises(InputError, match=r"--scheduler: tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        run(plan, tmp_path, Means(1, "tcp://127.0.0.1:9"))
