"""Uncertainty: what the estimated numbers of the cores leave open of each figure of the accuracy table.

To first order: every estimate is moved alone (`relocscope.ranges`), relocations on short slices of the run. Numbers
that were fitted stay where they are. Each board and each mail is a job for another process, so many at a time:
`python -m relocscope.uncertainty` is that process, JSON in, JSON out.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from relocscope.other_process import python
from relocscope.ranges import between, estimates, responses
from relocscope.validate import Row, Table, board_config, board_rows, references
from traces.sizes import parse_size

if TYPE_CHECKING:
    from caches import CoreConfig

Spans = dict[str, tuple[float, float]]
"""Between what the model's figure of a row lies, by the row's id."""


def with_intervals(table: Table, workers: int, step: Callable[[int, int], None] = lambda _done, _total: None) -> Table:
    """Return the table with the interval of each row. Takes about a hundred times as long as the table."""
    wanted = {row.id for row in table.rows}
    jobs = [{"published": number} for number, each in enumerate(references()["published"]) if each["id"] in wanted]
    cores = {row.core for row in table.rows if row.kind == "microbenchmark"}
    jobs += [{"board": number} for number, each in enumerate(references()["board"]) if each["core"] in cores]
    spans: Spans = {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done, job in enumerate(as_completed([pool.submit(_in_another_process, each) for each in jobs]), 1):
            spans |= job.result()
            step(done, len(jobs))
    return Table(tuple(_with(row, spans) for row in table.rows))


def _with(row: Row, spans: Spans) -> Row:
    low, high = spans[row.id]
    return dataclasses.replace(row, low=low, high=high)


def _in_another_process(job: Mapping[str, int]) -> Spans:
    pipe = subprocess.PIPE
    with python("relocscope.uncertainty", stdin=pipe, stdout=pipe, stderr=pipe) as process:
        out, err = process.communicate(json.dumps(job).encode())
    if process.returncode:
        raise RuntimeError(f"intervals of {job}: {err.decode(errors='replace')[-2000:]}")
    return {row: (low, high) for row, (low, high) in json.loads(out).items()}


def of_published(entry: Mapping[str, Any]) -> Spans:
    """Return the interval of a published time."""
    import relocscope
    from relocscope.sensitivity import Side

    run = relocscope.run(entry["case"], core=entry["core"], size=parse_size(entry["size"], entry["id"]))
    side = Side(run)
    return spans([entry["id"]], run.config, lambda config: (side.at(config).seconds,))


def of_board(board: Mapping[str, Any]) -> Spans:
    """Return the intervals of the rows of one benchmark run on one board."""
    config = board_config(board)
    names = [row.id for row in board_rows(board, config)]
    return spans(names, config, lambda changed: tuple(row.model for row in board_rows(board, changed)))


def spans(names: Sequence[str], config: "CoreConfig", predict: "Callable[[CoreConfig], tuple[float, ...]]") -> Spans:
    """Return the intervals of several predictions that are made together."""
    usual = predict(config)
    moves = responses(config, predict, estimates(config))
    found: Spans = {}
    for at, name in enumerate(names):
        found[name] = between(usual[at], [(move.estimate.key, move.answer[at]) for move in moves])
    return found


def _answer() -> None:
    job = json.load(sys.stdin)
    known = references()
    (kind, number), *_ = job.items()
    json.dump({"board": of_board, "published": of_published}[kind](known[kind][number]), sys.stdout)


if __name__ == "__main__":
    _answer()
