"""Stepping: how long a step, a step back and a goto take at random points of a relocation, forwards and backwards.

`make bench-step`, or `python -m benchmarks.stepping [CASE ...] [--size SIZE] [--points N]`. Milliseconds of
processor time (one thread does it all: on a machine with nothing else to do a person waits as long), and each as a part
of one bare run of the same guest in Unicorn: ratios hold on other machines. Goals: a step or a step back under 50 ms, a
goto under a second, at any point.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence

from relocscope.operand import operand, with_settings
from relocscope.stepping import views
from relocscope.stepping.control import Control
from relocscope.stepping.session import Session

CASES = ("v4.19-el1", "v5.17-el1")
"""MMU off and cached; booted at EL1, so that Unicorn alone can run them from end to end."""
GOALS_MS = {"step": 50, "back": 50, "goto insn": 1000, "goto cycle": 1000, "to the end": 0, "view": 0}


def bare_seconds(case: str, size: str) -> float:
    """Run the guest in Unicorn with no hook: seconds, the best of three."""
    from emu.scenario import prepare
    from relocscope.case import override, shipped_case
    from relocscope.emulate import scenario

    described = scenario(override(shipped_case(case), {"size": size}))
    times = []
    for _ in range(3):
        cpu = prepare(described).machine().cpu
        start = time.process_time()
        cpu.uc.emu_start(cpu.pc, described.entry_pa)
        times.append(time.process_time() - start)
    return min(times)


def timed(do: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.process_time()
    do()
    return time.process_time() - start


def measure(session: Session, points: int, seed: int) -> dict[str, list[float]]:
    """Seconds of each movement at random points, after the first walk to the end, which makes the checkpoints."""
    control, draw = Control(session), random.Random(seed)
    end = session.timeline.end
    times: dict[str, list[float]] = {name: [] for name in GOALS_MS}
    times["to the end"].append(timed(lambda: control.move(end)))
    cycles = session.cycles
    for _ in range(points):
        number, cycle = draw.randrange(1, end - 1), draw.randrange(cycles)
        times["goto insn"].append(timed(lambda: control.move(number)))  # noqa: B023 - called at once
        times["step"].append(timed(lambda: control.move(session.number + 1)))
        times["back"].append(timed(lambda: control.move(session.number - 1)))
        times["view"].append(timed(lambda: (views.code(session), views.registers(session), session.cycle_stack())))
        times["goto cycle"].append(timed(lambda: control.move(session.number_at_cycle(cycle))))  # noqa: B023
    return times


def row(name: str, seconds: Sequence[float], bare: float) -> str:
    """Write median, 95th percentile and worst, in ms and as parts of a bare run."""
    ranked = sorted(seconds)
    chosen = [ranked[len(ranked) // 2], ranked[int(0.95 * (len(ranked) - 1))], ranked[-1]]
    goal = GOALS_MS[name]
    said = f"goal {goal} ms: {'met' if 1000 * ranked[-1] < goal else 'MISSED'}" if goal else ""
    cells = "  ".join(f"{1000 * each:8.1f} ms {each / bare:6.3f}" for each in chosen)
    return f"  {name:10}  {cells}  {said}".rstrip()


def main() -> None:
    """Measure, and print each movement beside its goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE")
    parser.add_argument("--size", default="25MiB")
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for case in options.cases:
        measure(Session(with_settings(operand(case), {"size": "64KiB"})), 2, 1)  # compile
        bare = bare_seconds(case, options.size)
        session = Session(with_settings(operand(case), {"size": options.size}))
        print(f"{case} {options.size}: {session.timeline.end} instructions, bare {bare:.3f} s; median, p95, worst")
        for name, seconds in measure(session, options.points, options.seed).items():
            print(row(name, seconds, bare))


if __name__ == "__main__":
    main()
