"""Subjects of exports made of synthetic traces and made-up but consistent times: no model is needed for a format."""

import numpy as np
from synthetic import copy_trace

from traces.exports.subject import Part, Stretch, Subject
from traces.schema import LEAVES
from traces.timed import EVENTS, RETIRED, SAMPLE, TIMED
from traces.window import by_instructions, executed, whole


def subject(*, lines: int = 8, on: bool = False, seed: int = 1, window: tuple[int, int] | None = None) -> Subject:
    trace = copy_trace(pages=1, lines=lines, on=on, symbols={"copy_page": 0x4000_0000, "copy_tail": 0x4000_0010})
    bounds = whole(trace) if window is None else by_instructions(trace, *window)
    rng = np.random.default_rng(seed)
    rows = np.concatenate(list(executed(trace, bounds)))
    timed = np.zeros(len(rows), TIMED)
    timed["number"], timed["insn"] = rows["number"], rows["insn"]
    timed["causes"] = rng.integers(0, 9, (len(rows), len(LEAVES))) * (rng.random((len(rows), len(LEAVES))) < 0.2)
    timed["events"] = rng.integers(0, 3, (len(rows), len(EVENTS)))
    timed["retire"] = 100 + np.cumsum(timed["causes"].sum(axis=1))
    for name, later in (("complete", "retire"), ("issue", "complete"), ("dispatch", "issue"), ("fetch", "dispatch")):
        timed[name] = np.maximum(timed[later] - rng.integers(0, 4, len(rows)), 0)
    for name in ("dispatch", "fetch"):  # in order, as the model does both
        timed[name] = np.minimum.accumulate(timed[name][::-1])[::-1]
    timed["fetch"] = np.minimum(timed["fetch"], timed["dispatch"])
    cycles = np.zeros((len(trace.insns), len(LEAVES)), np.int64)
    np.add.at(cycles, timed["insn"], timed["causes"])
    count = np.bincount(timed["insn"], minlength=len(trace.insns))
    end = 100 + int(cycles.sum())
    retired = np.zeros(len(rows), RETIRED)
    for name in ("number", "dispatch", "retire"):
        retired[name] = timed[name]
    samples = np.zeros(3, SAMPLE)
    samples["cycle"], samples["number"] = (100, (100 + end) // 2, end), (0, len(rows) // 2, len(rows))
    samples["causes"][2] = cycles.sum(axis=0)
    middle = 100 + int(cycles[:3].sum())
    first, second = cycles.copy(), cycles.copy()
    first[3:], second[:3] = 0, 0
    return Subject(
        name="synthetic",
        trace=trace,
        window=bounds,
        core="made-up",
        frequency_hz=3_000_000_000,
        parts=(
            Part("soft-restart", 100, middle, first, np.where(np.arange(len(count)) < 3, count, 0)),
            Part("relocate", middle, end, second, np.where(np.arange(len(count)) < 3, 0, count)),
        ),
        regimes=(Stretch("EL2 M=0 C=0 I=0", 100, end),),
        counters={"l1d": {"accesses": 7, "hits": 4, "misses": 3}, "dram": {"reads": 3}},
        samples=samples,
        timed=iter([timed]),
        retired=iter([retired[:5], retired[5:]]),
        texts=("ldp x2, x3, [x21], #0x10", "nop", "stnp x2, x3, [x20]", "nop", "tst x21, #0xfff", "b.ne #0x40000000"),
    )
