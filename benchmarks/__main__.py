"""`make bench`: how fast the whole is, as ratios to a bare Unicorn run of the same guest, all in one run.

`python -m benchmarks [CASE ...] [--size SIZE]`. The bare run is the case's own guest, from the same first
instruction to the same last one, in Unicorn without any hook. Processor time, the best of several rounds taken in
turn: machines are noisy, ratios within one run much less.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.sweeping import show_sweep

CASES = ("v4.19-el1", "v5.17-el1")
"""Booted at EL1 they take no exception, so that Unicorn alone can run them from end to end: MMU-off, and cached."""
LARGE = "380MiB"


@dataclass(frozen=True, slots=True)
class Times:
    """Best processor times of a case, in seconds: without the preparation of the guest, or the check of its image."""

    instructions: int
    pages_skipped: int
    bare: float
    capture: float
    replay: float
    sampled: float
    sampled_error: float
    """Of the modelled time, against the exact one's."""
    sampled_half: float
    """Half of the sample's interval, of the exact time."""


def case_times(name: str, size: str, rounds: int = 3) -> Times:
    """Run a case bare, with capture, and replay its trace, exactly and by a sample."""
    import caches
    from emu.scenario import prepare
    from relocscope.case import override, shipped_case
    from relocscope.emulate import scenario
    from relocscope.sampling import replay_sampled
    from traces.fold import copy_site

    case = override(shipped_case(name), {"size": size})
    described, core = scenario(case), caches.core(case.core)
    times: list[list[float]] = []
    for _ in range(rounds):
        cpu = prepare(described).machine().cpu
        clock = [time.process_time()]
        cpu.uc.emu_start(cpu.pc, described.entry_pa)
        clock.append(time.process_time())
        guest = prepare(described)
        machine = guest.machine()
        times.append([clock[1] - clock[0]])
        clock = [time.process_time()]
        result = machine.run(stop_pa=described.entry_pa, budget=guest.budget)
        clock.append(time.process_time())
        trace = replace(result.trace, ranges=guest.ranges)
        exact = caches.replay(trace, core, initial=case.initial)
        clock.append(time.process_time())
        site = copy_site(trace)
        assert site is not None
        asked = np.array([site.first, site.last + 1], np.uint64)
        sampled = replay_sampled(trace, core, site, asked, initial=case.initial)
        clock.append(time.process_time())
        times[-1] += [after - before for before, after in pairwise(clock)]
    best = [min(column) for column in zip(*times, strict=True)]
    error = sampled.cycles / exact.cycles - 1
    low, high = sampled.details["sampled"]["interval"] if "sampled" in sampled.details else (0.0, 0.0)
    half = (high - low) / 2 / exact.seconds
    return Times(exact.instructions, exact.details["pages_skipped"], *best, error, half)


def show(what: str, value: float, goal: float, unit: str) -> None:
    """Print one figure beside its goal, and by how much it is missed."""
    missed = "met" if value <= goal else f"missed by {value / goal - 1:.0%}"
    print(f"  {what:44} {value:8.2f} {unit:14} goal {goal:7.2f}  {missed}")


def show_case(name: str, size: str) -> float:
    """Print the ratios of a case at the size of a kernel image; return what the bare run took."""
    times = case_times(name, size)
    millions = times.instructions / times.bare / 1e6
    print(f"{name} {size}: {times.instructions:,} instructions, bare {times.bare:.3f} s ({millions:.0f} M/s), ", end="")
    print(f"{times.pages_skipped:,} pages added up instead of replayed")
    show("capture", times.capture / times.bare, 2, "x bare")
    show("replay", times.replay / times.bare, 3, "x bare")
    show("capture and timing", (times.capture + times.replay) / times.bare, 4, "x bare")
    show("sampled replay of the stored trace", times.sampled / times.bare, 0.15, "x bare")
    show("error of the sample", abs(times.sampled_error) * 100, 1, "% of the time")
    print(f"  {'half of its interval':44} {times.sampled_half * 100:8.2f} % of the time")
    print(f"  {'replay, an instruction':44} {times.replay / times.instructions * 1e9:8.2f} ns")
    return times.bare


def show_large(name: str) -> None:
    """Print the ratios of a case with 97,280 pages, and what its process takes."""
    times = case_times(name, LARGE, 1)
    rate = times.instructions / times.bare
    print(f"{name} {LARGE}: {times.instructions:,} instructions, bare {times.bare:.3f} s ({rate / 1e6:.0f} M/s)")
    exact = times.capture + times.replay
    show("from capture to answer, exact", exact / times.bare, 8, "x bare")
    show("the same, at 20 M instructions a second bare", exact * rate / 20e6, 60, "s")
    show("from capture to answer, sampled", (times.capture + times.sampled) / times.bare, 2, "x bare")
    show("error of the sample", abs(times.sampled_error) * 100, 1, "% of the time")
    print(f"  {'half of its interval':44} {times.sampled_half * 100:8.2f} % of the time")
    seconds, peak = wall_of(["run", name, "--size", LARGE])
    show("peak of `relocscope run`", peak, 1024, "MiB")
    print(f"  {'`relocscope run`, as a person waits for it':44} {seconds:8.2f} s")


def wall_of(arguments: list[str], cache: Path | None = None) -> tuple[float, float]:
    """Seconds and peak MiB of a command, as a person waits for it; `cache` is an empty place for compiled code."""
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    peak = 0
    start = time.perf_counter()
    command = [sys.executable, "-m", "relocscope", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        # Not from getrusage: that begins with what this process itself takes.
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max([peak, *(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM"))])
            time.sleep(0.02)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, peak / 1024


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
    parser.add_argument("--sweep", type=int, default=1000, metavar="POINTS", help="of the sweep; 0 leaves it out")
    parser.add_argument("--no-large", action="store_true", help="leave out the copies of 380 MiB")
    parser.add_argument("--no-cold", action="store_true", help="leave out the first run after an install")
    options = parser.parse_args()

    for name in options.cases:
        case_times(name, "64KiB", 1)  # compile
        bare = show_case(name, options.size)
    if options.sweep:
        show_sweep(options.sweep, options.size, bare)
    if not options.no_large:
        for name in options.cases:
            show_large(name)
    print(f"explain 25 MiB, warm: verdict after {verdict_wall():.1f} s (goal 5)")
    warm, peak = wall_of(["explain"])
    print(f"explain 25 MiB, warm: all of it after {warm:.1f} s, peak {peak:.0f} MiB")
    if not options.no_cold:
        with tempfile.TemporaryDirectory() as empty:
            cold, _ = wall_of(["explain"], Path(empty))
        print(f"explain 25 MiB, cold (first run after an install): {cold:.1f} s (goal 40)")


if __name__ == "__main__":
    main()
