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
from dataclasses import replace
from pathlib import Path

CASES = ("v4.19-el1", "v5.17-el1")
"""Booted at EL1 they take no exception, so that Unicorn alone can run them from end to end."""
GOALS = {"capture": 2.0, "replay": 3.0, "capture and timing": 4.0}


def case_times(name: str, size: str, rounds: int = 3) -> tuple[int, float, float, float]:
    """Instructions of a case, and the best processor time of running it bare, with capture, and of replaying its trace.

    Neither run includes the preparation of the guest, or the check of its image afterwards.
    """
    import caches
    from emu.scenario import prepare
    from relocscope.case import override, shipped_case
    from relocscope.emulate import scenario

    case = override(shipped_case(name), {"size": size})
    described = scenario(case)
    times: list[tuple[float, float, float]] = []
    instructions = skipped = 0
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
        costs = caches.replay(trace, caches.core(case.core), initial=case.initial)
        times.append((bare, captured, time.process_time() - start))
        instructions, skipped = costs.instructions, costs.details["pages_skipped"]
    best = [min(column) for column in zip(*times, strict=True)]
    return instructions, skipped, best[0], best[1], best[2]


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


def sweep_times(points: int, size: str) -> tuple[float, float, int]:
    """Seconds and processor seconds of a sampled sweep of timing keys from nothing, and how many processes it had."""
    from relocscope.sweeping.sweep import default_workers

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    ranges = ("dram.latency_ns=60..160", "l2.size=256KiB..4MiB:x2", "dtlb.entries=16..64", "l2.hit_cycles=12..25")
    options = [text for one in ranges for text in ("--range", one)]
    with tempfile.TemporaryDirectory() as empty:
        before, start = spent(), time.perf_counter()
        command = ["sweep", "v5.17-nvhe", "--size", size, *options, "--samples", str(points), "--sample", "-o", empty]
        subprocess.run([sys.executable, "-m", "relocscope", *command], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start, spent() - before, default_workers()


def main() -> None:
    """Measure, and print each figure beside its goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE")
    parser.add_argument("--size", default="25MiB")
    parser.add_argument("--sweep", type=int, default=1000, metavar="POINTS", help="of the sweep; 0 leaves it out")
    parser.add_argument("--no-cold", action="store_true", help="leave out the first run after an install")
    options = parser.parse_args()

    for name in options.cases:
        case_times(name, "64KiB", 1)  # compile
        instructions, skipped, bare, captured, replayed = case_times(name, options.size)
        rate = instructions / bare / 1e6
        print(f"{name} {options.size}: {instructions} instructions, bare {bare:.3f} s ({rate:.1f} M/s)")
        print(f"  {skipped} pages added up instead of replayed")
        for what, seconds in (("capture", captured), ("replay", replayed), ("capture and timing", captured + replayed)):
            print(f"  {what:20} {seconds:7.3f} s  ratio {seconds / bare:5.2f}  goal {GOALS[what]:.1f}")
    if options.sweep:
        wall, processor, workers = sweep_times(options.sweep, options.size)
        print(f"sweep of {options.sweep} timing configurations, {options.size}, sampled, the best in full:")
        print(f"  {wall:.1f} s with {workers} processes (goal 60), {processor:.1f} s of processor time")
        print(f"  ratio to one bare run of {options.cases[-1]}: {processor / bare:.0f} of processor time")
    print(f"explain 25 MiB, warm: verdict after {verdict_wall():.1f} s (goal 5)")
    warm, peak = wall_of(["explain"])
    print(f"explain 25 MiB, warm: all of it after {warm:.1f} s, peak {peak:.0f} MiB")
    if not options.no_cold:
        with tempfile.TemporaryDirectory() as empty:
            cold, _ = wall_of(["explain"], Path(empty))
        print(f"explain 25 MiB, cold (first run after an install): {cold:.1f} s (goal 40)")


if __name__ == "__main__":
    main()
