"""Every text format: what `write` makes `read` reads, sums are the window's, a sample from its specification is read,
and that sample with one thing wrong is refused in one line that names file and line."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import subject

from traces.errors import InputError
from traces.exports import callgrind, folded, kanata, perfetto, stats, tarmac
from traces.exports.subject import Subject
from traces.schema import LEAVES, Access
from traces.trace import Trace
from traces.window import executed

SUBJECTS = st.builds(
    subject, lines=st.integers(1, 12), on=st.booleans(), seed=st.integers(0, 99), window=st.none() | st.just((3, 5))
)


def written(write: Callable[[Subject, Any], None], of: Subject) -> bytes:
    stream = BytesIO()
    write(of, stream)
    return stream.getvalue()


def reread(module: Any, of: Subject) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "export"
        path.write_bytes(written(module.write, of))
        found = module.read(path)
        return found if isinstance(found, dict | tuple) else list(found)


@settings(max_examples=30, deadline=None)
@given(of=SUBJECTS)
def test_folded_stacks_sum_to_the_window_and_to_each_cause(of: Subject):
    rows = reread(folded, of)
    assert sum(count for _, count in rows) == of.cycles
    by_cause: Counter[str] = Counter()
    for frames, count in rows:
        assert frames[0] in ("soft-restart", "relocate")
        assert frames[1] in ("copy_page", "copy_tail")
        by_cause[frames[3]] += count
    wanted = dict(zip(LEAVES, of.insn_cycles().sum(axis=0).tolist(), strict=True))
    assert by_cause == Counter({leaf: cycles for leaf, cycles in wanted.items() if cycles})


@settings(max_examples=30, deadline=None)
@given(of=SUBJECTS)
def test_a_callgrind_profile_has_every_instruction_once_with_its_costs(of: Subject):
    events, costs = reread(callgrind, of)
    assert events[:2] == ("Cycles", "Instructions")
    cycles, count = of.insn_cycles(), of.insn_count()
    va = of.trace.insns["va"].tolist()
    wanted = {va[row]: (int(cycles[row].sum()), int(count[row])) for row in np.flatnonzero(count)}
    assert {cost.va: cost.costs[:2] for cost in costs} == wanted
    assert len(costs) == len(wanted)
    assert all(sum(cost.costs[2:]) == cost.costs[0] for cost in costs)


@settings(max_examples=30, deadline=None)
@given(of=SUBJECTS)
def test_statistics_are_the_windows(of: Subject):
    found = reread(stats, of)
    assert found["system.cpu.numCycles"] == found["system.cpu.cycleStack::total"] == of.cycles
    assert sum(found[f"system.cpu.cycleStack::{leaf}"] for leaf in LEAVES) == of.cycles
    assert found["simInsts"] == of.window.instructions
    assert found["simSeconds"] == pytest.approx(of.cycles / 3e9, abs=1e-6)
    assert found["simTicks"] == round(of.cycles / 3e9 * 1e12)
    assert found["system.cpu.dcache.overallMisses::total"] == 3
    assert found["system.cpu.dcache.overallMissRate::total"] == pytest.approx(3 / 7, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(of=SUBJECTS)
def test_a_kanata_log_has_every_instruction_with_its_stages(of: Subject):
    (rows,) = list(of.timed or ())
    shown = reread(kanata, Subject(**{**fields(of), "timed": iter([rows])}))
    assert [one.number for one in shown] == rows["number"].tolist()
    for one, row in zip(shown, rows, strict=True):
        assert one.retired == row["retire"]
        begins = {name: cycle for lane, name, cycle in one.stages if lane == 0}
        wanted = {name: int(row[begin]) for name, begin, end in kanata.STAGES if row[end] > row[begin]}
        assert begins == wanted
        exposed = [name for lane, name, _ in one.stages if lane == 1]
        assert bool(exposed) == bool(row["causes"].sum())
        assert one.label.endswith(of.texts[row["insn"]])


@settings(max_examples=30, deadline=None)
@given(of=SUBJECTS)
def test_tarmac_has_every_instruction_and_every_byte_that_it_moves(of: Subject):
    (rows,) = list(of.timed or ())
    events = reread(tarmac, of)
    ran = [event for event in events if event.kind == "IT"]
    assert [event.va for event in ran] == of.trace.insns["va"][rows["insn"]].tolist()
    assert [event.cycle for event in ran] == rows["retire"].tolist()
    for kind, access in (("LD", Access.LOAD), ("ST", Access.STORE)):
        lines = [event for event in events if event.kind == kind]
        moved = {event.va + at for event in lines for at in range(16) if event.text[2 * at] == "#"}
        table = np.concatenate(list(executed(of.trace, of.window)))
        table = table[table["access"] == access]
        assert moved == {va + at for va in table["va"].tolist() for at in range(16)}


@settings(max_examples=30, deadline=None)
@given(of=SUBJECTS)
def test_a_perfetto_trace_has_every_cycle_once(of: Subject):
    (rows,) = list(of.timed or ())
    events = reread(perfetto, Subject(**{**fields(of), "timed": iter([rows])}))
    slices = [event for event in events if event["ph"] == "X"]
    track = {tid: [event for event in slices if event["tid"] == tid] for tid in {event["tid"] for event in slices}}
    for tid in (perfetto.PHASES, perfetto.REGIMES, perfetto.PIPELINE):
        assert sum(event["args"]["cycles"] for event in track[tid]) == of.cycles
    assert [event["args"]["number"] for event in track[perfetto.PIPELINE]] == rows["number"].tolist()
    for event in track[perfetto.PIPELINE]:
        assert event["ts"] == pytest.approx(event["args"]["cycle"] / 3000, abs=0.0006)
    accesses = [event for tid, events in track.items() if tid >= perfetto.MEMORY for event in events]
    assert len(accesses) == sum(int(of.trace.insns[row["insn"]]["access"] != Access.NONE) for row in rows)
    assert all(re.fullmatch(r"(load|store) (Device-nGnRnE|Normal-WB)", event["name"]) for event in accesses)


def fields(of: Subject) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__slots__}


# Written by hand after the specification that each module names.
SAMPLES: dict[str, tuple[Any, str, Callable[[Any], bool]]] = {
    "folded": (
        folded,
        "relocate;copy_page;ldp x0, x1, [x2];dram_latency 12\nrelocate;copy_page;b.ne;base 3\n",
        lambda rows: [count for _, count in rows] == [12, 3],
    ),
    "callgrind": (
        callgrind,
        (
            "# callgrind format\nversion: 1\ncreator: hand\npositions: instr line\nevents: Cycles Instructions\n"
            "summary: 30 4\n\nfl=a.S\nfn=copy\n0x1000 7 20 2\n0x1004 8 10 2\n\ntotals: 30 4\n"
        ),
        lambda found: [(cost.function, cost.line) for cost in found[1]] == [("copy", 7), ("copy", 8)],
    ),
    "stats": (
        stats,
        (
            f"\n{stats.BEGIN}\nsimSeconds    0.000121   # Number of seconds simulated (Second)\n"
            f"simInsts   5712   # Number of instructions simulated (Count)\n\n{stats.END}\n"
        ),
        lambda found: found == {"simSeconds": 0.000121, "simInsts": 5712},
    ),
    "kanata": (
        kanata,
        (
            "Kanata\t0004\nC=\t216\nI\t0\t0\t0\nL\t0\t0\tadd x0, x0, #1\nS\t0\t0\tF\nC\t1\nS\t0\t0\tX\n"
            "I\t1\t1\t0\nS\t1\t0\tF\nC\t2\nE\t0\t0\tX\nR\t0\t0\t0\nW\t1\t0\t0\nR\t1\t1\t1\n"
        ),
        lambda shown: (
            [(one.retired, one.stages) for one in shown]
            == [(219, [(0, "F", 216), (0, "X", 217)]), (None, [(0, "F", 217)])]
        ),
    ),
    "tarmac": (
        tarmac,
        (
            "250 clk cpu0 IT (2) 00000000002105d8:00000000002105d8 9100001f O EL3h_s : ADD SP, X0, #0\n"
            "250 clk cpu0 LD 00000000000fffe0 ........ ........ ######## ########\n"
            "260 clk cpu0 R X30 00000000002105e0\n"
        ),
        lambda events: [event.kind for event in events] == ["IT", "LD", "R"] and events[1].text.startswith("####"),
    ),
    "perfetto": (
        perfetto,
        json.dumps(
            {
                "traceEvents": [
                    {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "hand"}},
                    {"ph": "X", "pid": 1, "tid": 1, "name": "outer", "ts": 0, "dur": 5.5},
                    {"ph": "X", "pid": 1, "tid": 1, "name": "inner", "ts": 1, "dur": 2},
                    {"ph": "C", "pid": 1, "name": "ipc", "ts": 1, "args": {"ipc": 2}},
                ]
            }
        ),
        lambda events: len(events) == 4,
    ),
}

CORRUPT = [
    ("folded", "dram_latency 12", "dram_latency twelve", ":1: must be FRAME"),
    ("folded", "copy_page;b.ne", ";b.ne", ":2: must be FRAME"),
    ("callgrind", "0x1000 7 20 2", "0x1000 7 21 2", ":6: 30 4 must be the sum of the costs, 31 4"),
    ("callgrind", "0x1000 7 20 2", "0x1000 7 20", ":10: must have 2 whole numbers"),
    ("callgrind", "fn=copy", "nf=copy", ":9: is no line of a callgrind profile"),
    ("callgrind", "events: Cycles Instructions\nsummary: 30 4\n", "", "has no line `events:`"),
    ("stats", stats.END, "", "has no '---------- End"),
    ("stats", "5712", "5 712", ":4: must be `name value"),
    ("stats", "simInsts", "simSeconds", ":4: simSeconds stands twice"),
    ("kanata", "0004", "0003", ":1: must be 'Kanata', a tab and 0004"),
    ("kanata", "I\t1\t1\t0", "I\t2\t1\t0", ":8: the id of the next instruction must be 1"),
    ("kanata", "R\t0\t0\t0\n", "R\t0\t0\t0\nS\t0\t0\tX\n", "must have begun and not ended"),
    ("kanata", "C\t2", "C\t-2", ":10: must have whole numbers"),
    ("tarmac", "ADD SP", "\nADD SP", ":2: must be an IT"),
    ("tarmac", "260 clk", "240 clk", ":3: time 240 must not be before the 250"),
    ("tarmac", "........ ######## ########", "........ ########", ":2: must be an IT"),
    ("perfetto", '"dur": 2', '"dur": 20', "'inner' at 1: overlaps"),
    ("perfetto", '"ts": 0', '"ts": "now"', r"traceEvents\[1\]: ts and dur must be numbers"),
    ("perfetto", "}]}", "}]", "is not JSON"),
]


def read_text(module: Any, tmp_path: Path, text: str) -> Any:
    path = tmp_path / "sample"
    path.write_text(text)
    found = module.read(path)
    return found if isinstance(found, dict | tuple) else list(found)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_read(name: str, tmp_path: Path):
    module, text, holds = SAMPLES[name]
    assert holds(read_text(module, tmp_path, text))


@pytest.mark.parametrize(("name", "good", "bad", "words"), CORRUPT)
def test_a_corrupted_sample_is_refused_in_one_line(name: str, good: str, bad: str, words: str, tmp_path: Path):
    module, text, _ = SAMPLES[name]
    assert good in text
    with pytest.raises(InputError, match=words) as caught:
        read_text(module, tmp_path, text.replace(good, bad, 1))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "sample"))


def test_names_from_a_hostile_trace_stay_in_their_field():
    of = subject(lines=2)
    evil = 'a"b\nR\t0;<x>\\'
    arrays = {name: getattr(of.trace, name) for name in of.trace.__slots__}
    trace = Trace(**{**arrays, "meta": {"symbols": {evil: 0x4000_0000}}})
    for module in (folded, callgrind, stats, kanata, tarmac, perfetto):
        (rows,) = list(subject(lines=2).timed or ())
        retired = subject(lines=2).retired
        one = Subject(**{**fields(of), "trace": trace, "timed": iter([rows]), "retired": retired})
        reread(module, one)


def test_an_access_that_is_not_aligned_shows_the_bytes_that_it_moves():
    of = subject(lines=1)
    insns = of.trace.insns.copy()
    insns["offset"][0], insns["size"][0] = 13, 7
    trace = Trace(**{**{name: getattr(of.trace, name) for name in of.trace.__slots__}, "insns": insns})
    rows = [event for event in reread(tarmac, Subject(**{**fields(of), "trace": trace})) if event.kind == "LD"]
    assert [(event.va, event.text) for event in rows] == [
        (0x8000_0000, 13 * ".." + 3 * "##"),
        (0x8000_0010, 4 * "##" + 12 * ".."),
    ]


def test_written_back_bases_are_known():
    of = subject(lines=2)
    insns = of.trace.insns.copy()
    insns["word"][0] = 0xA8C10EA2  # ldp x2, x3, [x21], #16
    insns["word"][2] = 0xA9810E82  # stp x2, x3, [x20, #16]!
    trace = Trace(**{**{name: getattr(of.trace, name) for name in of.trace.__slots__}, "insns": insns})
    events = reread(tarmac, Subject(**{**fields(of), "trace": trace}))
    registers = [event.text for event in events if event.kind == "R"]
    assert registers[:2] == ["X21=0000000080000010", "X20=0000000090000000"]
