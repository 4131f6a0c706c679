"""`make bench`: how fast the whole is, as ratios to a bare Unicorn run of the same guest, all in one run.

`python -m benchmarks [CASE ...] [--size SIZE]`. The bare run is the case's own guest, from the same first
instruction to the same last one, in Unicorn without any hook. Processor time, the best of several rounds taken in
turn: machines are noisy, ratios within one run much less.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

CASES = ("v4.19-el1", "v5.17-el1")
"""Booted at EL1 they take no exception, so that Unicorn alone can run them from end to end."""
GOALS = {
    "capture": 2.0,
    "replay": 3.0,
    "capture and timing": 4.0,
    "capture and sample": 2.0,
    "load and sample": 0.15,
}


@dataclass(frozen=True)
class Measured:
    """A case: instructions, pages added up, and the best processor times in seconds, the bare run's apart."""

    instructions: int
    skipped: int
    bare: float
    seconds: dict[str, float]
    sampling: dict[str, Any]


def case_times(name: str, size: str, rounds: int = 3) -> Measured:
    """Measure a case bare, with capture, and replayed: in full, and by a sample of its pages, stored before or not.

    No run includes the preparation of the guest, or the check of its image afterwards. What is loaded is verified.
    """
    import caches
    from emu.scenario import prepare
    from relocscope.case import override, shipped_case
    from relocscope.emulate import scenario
    from relocscope.sampling import replay_sampled
    from traces.files import load, save
    from traces.fold import copy_site

    case = override(shipped_case(name), {"size": size})
    described = scenario(case)
    core, initial = caches.core(case.core), case.initial
    times: list[tuple[float, float, float, float, float]] = []
    for _ in range(rounds):
        cpu = prepare(described).machine().cpu
        start = time.process_time()
        cpu.uc.emu_start(cpu.pc, described.entry_pa)
        bare = time.process_time() - start
        guest = prepare(described)
        machine = guest.machine()
        start = time.process_time()
        result = machine.run(stop_pa=described.entry_pa, budget=guest.budget)
        captured = time.process_time() - start
        trace = replace(result.trace, ranges=guest.ranges)
        start = time.process_time()
        costs = caches.replay(trace, core, initial=initial)
        replayed = time.process_time() - start
        site = copy_site(trace)
        if site is None:
            raise SystemExit(f"{name}: copies nothing")
        with tempfile.NamedTemporaryFile(suffix=".trace") as stored:
            save(trace, stored.name)
            start = time.process_time()
            trace = load(stored.name)
            loaded = time.process_time() - start
        start = time.process_time()
        asked = np.array([site.first, site.last + 1], np.uint64)
        sampled = replay_sampled(trace, core, site, asked, initial=initial)
        times.append((bare, captured, replayed, loaded, time.process_time() - start))
    bare, captured, replayed, loaded, quick = (min(column) for column in zip(*times, strict=True))
    seconds = {
        "capture": captured,
        "replay": replayed,
        "capture and timing": captured + replayed,
        "capture and sample": captured + quick,
        "load and sample": loaded + quick,
    }
    error = sampled.cycles / costs.cycles - 1
    sampling = {**sampled.details["sampling"], "error": error}
    return Measured(costs.instructions, costs.details["pages_skipped"], bare, seconds, sampling)


def wall_of(arguments: list[str], cache: Path | None = None) -> tuple[float, float]:
    """Seconds and peak MiB of a command, as a person waits for it; `cache` is an empty place for compiled code."""
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    start = time.perf_counter()
    command = [sys.executable, "-m", "relocscope", *arguments]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return time.perf_counter() - start, peak / 1024


def verdict_wall() -> float:
    """Seconds until the verdict of a warm `relocscope explain` stands on the screen; the rest of its output follows."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "relocscope", "explain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        seconds = 0.0
        for line in process.stdout or ():
            if line.startswith("Verdict:"):
                seconds = time.perf_counter() - start
                break
        process.kill()
    return seconds


def main() -> None:
    """Measure, and print each figure beside its goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE")
    parser.add_argument("--size", default="25MiB")
    parser.add_argument("--no-cold", action="store_true", help="leave out the first run after an install")
    options = parser.parse_args()

    for name in options.cases:
        case_times(name, "64KiB", 1)  # compile
        found = case_times(name, options.size)
        bare, sampling = found.bare, found.sampling
        rate = found.instructions / bare / 1e6
        print(f"{name} {options.size}: {found.instructions} instructions, bare {bare:.3f} s ({rate:.1f} M/s)")
        print(f"  {found.skipped} pages added up instead of replayed")
        for what, seconds in found.seconds.items():
            print(f"  {what:20} {seconds:7.3f} s  ratio {seconds / bare:5.2f}  goal {GOALS[what]:.2f}")
        print(
            f"  sample: {sampling['method']}, {sampling['replayed_pages']} of {sampling['pages']} pages, "
            f"{sampling['error']:+.2%} off (goal 1%), interval +-{sampling['relative_half_width']:.2%}"
        )
    print(f"explain 25 MiB, warm: verdict after {verdict_wall():.1f} s (goal 5)")
    warm, peak = wall_of(["explain"])
    print(f"explain 25 MiB, warm: all of it after {warm:.1f} s, peak {peak:.0f} MiB")
    if not options.no_cold:
        with tempfile.TemporaryDirectory() as empty:
            cold, _ = wall_of(["explain"], Path(empty))
        print(f"explain 25 MiB, cold (first run after an install): {cold:.1f} s (goal 40)")


if __name__ == "__main__":
    main()
