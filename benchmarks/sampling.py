"""`python -m benchmarks.sampling`: how far `--sample` is from replays in full, as the table of docs/sampling.md."""

import numpy as np

CASES = ("v4.19-el1", "v5.17-el1", "v5.17-nvhe", "rfc-v2-nvhe-xn-clear", "v4.19-nvhe")
CORES = ("stingray", "thunderx2", "altra", "rpi4", "rk3328")


def row_of(name: str, core: str, size: str = "25MiB") -> tuple[float, float, bool]:
    """Return the error and half the interval, of the exact time, and whether the interval holds that."""
    import caches
    from relocscope.case import functional_part, override, shipped_case
    from relocscope.runs import functional
    from relocscope.sampling import replay_sampled
    from traces.fold import copy_site

    case, config = override(shipped_case(name), {"size": size}), caches.core(core)
    trace = functional(functional_part(case))
    site = copy_site(trace)
    assert site is not None
    asked = np.array([site.first, site.last + 1], np.uint64)
    exact = caches.replay(trace, config, initial=case.initial).seconds
    outcome = replay_sampled(trace, config, site, asked, initial=case.initial)
    low, high = outcome.details["sampled"]["interval"]
    return outcome.seconds / exact - 1, (high - low) / 2 / exact, low <= exact <= high


def main() -> None:
    """Print the table, a row as it is found."""
    print("| case | core | error | half the interval | holds the exact time |\n|---|---|---|---|---|")
    for name in CASES:
        for core in CORES:
            error, half, holds = row_of(name, core)
            print(f"| {name} | {core} | {error:+.2%} | {half:.2%} | {'yes' if holds else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
