"""`make bench-sweep`: a sweep of timing keys from nothing, sampled, beside one bare Unicorn run of its guest.

`python -m benchmarks.sweeping [POINTS] [SIZE]`. The goal is 1,000 configurations of a 25 MiB relocation in 60 s on two
cores: 120 s of processor time, whoever else uses the machine.
"""

import resource
import subprocess
import sys
import tempfile
import time

GOAL_SECONDS = 60
"""For 1,000 points, on two cores."""

BARE_CASE = "v5.17-el1"
"""The same copy, booted so that Unicorn alone can run it from end to end."""


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


def show_sweep(points: int, size: str, bare: float) -> None:
    """Print what a sweep takes, beside its goal and one bare run (in seconds)."""
    wall, processor, workers = sweep_times(points, size)
    each, allowed = processor / 2, GOAL_SECONDS * points / 1000
    met = "met" if each <= allowed else f"missed by {each / allowed - 1:.0%}"
    print(f"sweep of {points:,} timing configurations, {size}, sampled, the best in full:")
    print(f"  {processor:.1f} s of processor time: {each:.1f} s on each of two cores, goal {allowed:.0f}, {met}")
    print(f"  {wall:.1f} s as a person waits for it, with {workers} processes")
    print(f"  {processor / bare:,.0f} bare runs of the guest in all, {processor / bare / points:.2f} a configuration")


def main() -> None:
    """Measure and print."""
    from benchmarks.__main__ import case_times

    points, size = int((*sys.argv[1:], "1000")[0]), (*sys.argv[2:], "25MiB")[0]
    case_times(BARE_CASE, "64KiB", 1)  # compile
    show_sweep(points, size, case_times(BARE_CASE, size).bare)


if __name__ == "__main__":
    main()
