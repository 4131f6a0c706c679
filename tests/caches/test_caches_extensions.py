"""Replacement policies and prefetchers from outside: they act where they are put, and bad ones are refused."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import traces_synthetic as synthetic

import caches
from caches.extensions import CHOOSE, prefetcher, replacement
from traces.errors import InputError

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"


@replacement
def own_lru(event, ages, way):
    if event == CHOOSE:
        oldest = 0
        for each in range(len(ages)):
            if ages[each] < ages[oldest]:
                oldest = each
        return oldest
    newest = 0
    for each in range(len(ages)):
        newest = max(newest, ages[each])
    ages[way] = newest + 1
    return 0


@prefetcher
def next_line(memory, line, is_store, wanted):
    memory[0] += 1
    wanted[0] = line + 1
    return 1


def small(**changes):
    levels = {"l1d.size": "4KiB", "l2.size": "32KiB", "l1d.replacement": "lru", "l2.replacement": "lru"}
    return caches.core("rpi4").override(levels | changes)


@pytest.mark.nojit
def test_an_own_lru_is_the_models_lru():
    trace = synthetic.relocation(6, translated=True)
    builtin = caches.replay(trace, small())
    extended = caches.replay(trace, small(**{"l1d.replacement": "random"}).extended(l1d=own_lru, l2=own_lru))
    assert extended.counters == builtin.counters
    assert extended.cycles == builtin.cycles
    assert builtin.counters["l1d"]["evictions"] > 100


@pytest.mark.nojit
def test_an_own_prefetcher_brings_what_it_asks_for():
    trace = synthetic.relocation(4, translated=True, scatter=False)
    without = caches.replay(trace, small(**{"prefetch.streams": 0}))
    extended = caches.replay(trace, small(**{"prefetch.streams": 0}).extended(prefetch=next_line))
    assert without.counters["l2"]["prefetches_used"] < extended.counters["l2"]["prefetches_used"]
    assert extended.counters["l1d"]["misses"] < without.counters["l1d"]["misses"]
    ablated = caches.replay(trace, small(**{"prefetch.streams": 0}).extended(prefetch=next_line), ablate=["prefetch"])
    assert ablated.counters["l2"]["prefetches"] == 0


def test_cores_with_and_without_an_extension_differ():
    core = small()
    assert core.extended(l2=own_lru) != core
    assert core.extended(l2=own_lru) == core.extended(l2=own_lru)
    assert hash(core.extended(l2=own_lru)) is not None
    assert core.extended(l2=own_lru).override({"l1d.ways": 2}).extensions == core.extended(l2=own_lru).extensions


@pytest.mark.parametrize(("table", "extension"), [("l2", next_line), ("prefetch", own_lru), ("dtlb", own_lru)])
def test_extensions_belong_where_they_are_understood(table, extension):
    with pytest.raises(InputError, match=f"extended: {table}"):
        small().extended(**{table: extension})


def test_what_numba_cannot_compile_is_refused_in_one_line():
    @replacement
    def bad(event, ages, way):
        return {}[event].nothing

    with pytest.raises(InputError, match="replacement bad: cannot be compiled") as error:
        caches.replay(synthetic.relocation(1), small().extended(l2=bad))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(tmp_path):
    text = DOCS.read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        assert len(program.splitlines()) < 40
        path = tmp_path / "example.py"
        path.write_text(program, encoding="utf-8")
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
    preset = tmp_path / "my-board.toml"
    preset.write_text(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0], encoding="utf-8")
    core = caches.load_core(preset)
    assert (core.name, core.frequency_hz, core.value("dram.latency_ns")) == ("my-board", 2_000_000_000, 95)
