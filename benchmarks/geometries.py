"""`python -m benchmarks.geometries`: hits of 10,000 geometries of L1D in one pass, against ten replays.

Both begin with a trace in memory, of v5.17-nvhe at 25 MiB, and are warm. The replays are of cores that have one of the
geometries, and their hits must be the same.
"""

import argparse
import time


def main() -> None:
    """Measure, compare, and print the ratio beside its goal."""
    import caches
    from caches.exactness import alone
    from caches.kernels.stack_distances import DEPTH
    from caches.line_stream import line_stream
    from caches.stack_distances import hits
    from relocscope.case import override, shipped_case
    from relocscope.emulate import emulate

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="25MiB")
    parser.add_argument("--geometries", type=int, default=10_000)
    options = parser.parse_args()

    core, case = alone(caches.core("stingray"), "l1d"), shipped_case("v5.17-nvhe")
    small, trace = (emulate(override(case, {"size": size})) for size in ("64KiB", options.size))
    hits(line_stream(small, core), [64])
    caches.replay(small, core)

    sets = range(1, -(-options.geometries // DEPTH) + 1)
    start = time.perf_counter()
    found = hits(line_stream(trace, core), sets)
    once = time.perf_counter() - start

    ways = [1 << at % 5 for at in range(10)]
    chosen = [list(sets)[len(sets) * (at + 1) // 10 - 1] for at in range(10)]
    start = time.perf_counter()
    for count, each in zip(chosen, ways, strict=True):
        config = core.override({"l1d.size": count * each * 64, "l1d.ways": each})
        counters = caches.replay(trace, config).counters["l1d"]
        if counters["hits"] != found[count - 1, each - 1]:
            raise SystemExit(f"{count} sets of {each} ways: {counters['hits']} hits replayed")
    replays = time.perf_counter() - start
    print(f"{found.size:,} geometries of L1D, {options.size}: {once:.1f} s; ten replays: {replays:.1f} s")
    print(f"ratio {once / replays:.2f}, goal 1.0; the hits of all ten are the same")


if __name__ == "__main__":
    main()
