"""Predictions: what a setup takes on the model, for any size of image.

The copy is the same page after page, so a time is a straight line of the size: it is run at two sizes, and at a third
between them that says how straight the line is.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from relocscope import microbench
from relocscope.case import Case
from relocscope.hypotheses.worlds import TREATMENTS, Setup
from traces.schema import MemoryType

if TYPE_CHECKING:
    from caches import CoreConfig
    from relocscope.runs import Run
    from traces.trace import Trace

UNCACHED_BYTES = (512 << 10, 1 << 20, 3 << 19)
CACHED_BYTES, LARGER_BYTES = (2 << 20, 4 << 20, 6 << 20), (12 << 20, 18 << 20)
"""Sizes that are run; what lies beyond goes on as from the first to the last. The larger ones as well where the others
do not lie on one line, since caches as large as the image take part in it then."""

LOOK_BYTES = 1 << 16
"""The size at which a setup is looked at: where it copies, and under which attributes."""

STRAIGHT = 0.03
"""How far from the line the middle size may lie, as a share of its time."""

_LEAVES: Mapping[str, str] = {
    "device_load": "device",
    "device_store": "device",
    "fetch": "fetch",
    "tlb_walk": "walk",
    "maintenance": "maintenance",
    "barrier": "maintenance",
    "base": "instructions",
    "branch": "instructions",
    "exception": "instructions",
}
"""Kind of time of each leaf of the cycle stack; the others are memory behind Normal accesses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One setup's time as a function of the size, what it is made of, and what one could read off the machine."""

    sizes: tuple[int, ...]
    seconds_at: tuple[float, ...]
    bend: float
    """How far the middle size lies off the line, as a share of its time: what the line may be wrong by."""
    shares: Mapping[str, float]
    """Share of the cycles by kind of time; they sum to 1."""
    signs: Mapping[str, str] = field(default_factory=dict)
    """Registers and attributes of the copy; empty where nothing is copied."""

    @property
    def arrives(self) -> bool:
        """Whether it gets to the new kernel at all."""
        return bool(self.seconds_at)

    def seconds(self, size: float) -> float:
        """Return the time of an image of that size; infinite where it never arrives."""
        if not self.arrives:
            return math.inf
        if size <= self.sizes[0]:
            return self.seconds_at[0] * size / self.sizes[0]
        if size <= self.sizes[-1]:
            return float(np.interp(size, self.sizes, self.seconds_at))
        slope = (self.seconds_at[-1] - self.seconds_at[-3]) / (self.sizes[-1] - self.sizes[-3])
        return self.seconds_at[-1] + slope * (size - self.sizes[-1])


class Predictor:
    """Runs setups on one core, each once; `smallest` is the smallest size that will be asked for, and run as it is."""

    def __init__(self, config: "CoreConfig", smallest: int = CACHED_BYTES[0]) -> None:
        self.config = config
        self._smallest = smallest
        self._lines: dict[Setup, Line] = {}
        self._traces: dict[Case, Trace] = {}
        self._copied: dict[tuple[tuple[str, Any], ...], float] = {}

    def line(self, setup: Setup) -> Line:
        """Return the setup's line; it is run when first asked for."""
        if setup not in self._lines:
            self._lines[setup] = self._measured(setup)
        return self._lines[setup]

    def run(self, setup: Setup, size: int) -> "Run":
        """Run the setup at one size, with all that a run states."""
        from relocscope.runs import measure

        case = setup.case
        return measure(self._trace(setup, size), self._core(setup), name="", initial=case.initial, seed=case.seed)

    def memcpy(self, setup: Setup) -> float:
        """Return the rate in bytes a second at which the setup's core copies cached memory, without kexec."""
        if setup.core not in self._copied:
            self._copied[setup.core] = microbench.memcpy(self._core(setup)).bytes_per_second
        return self._copied[setup.core]

    def _core(self, setup: Setup) -> "CoreConfig":
        return self.config.override(dict(setup.core)) if setup.core else self.config

    def _trace(self, setup: Setup, size: int) -> "Trace":
        from relocscope.emulate import emulate

        # What has no part in the functional run is taken out.
        plain = dataclasses.replace(setup.case, name="", title="", source="", core="", initial="cold", size_bytes=size)
        if plain not in self._traces:
            self._traces[plain] = emulate(plain)
        return TREATMENTS[setup.treatment](self._traces[plain])

    def _measured(self, setup: Setup) -> Line:
        look = self.run(setup, LOOK_BYTES)
        if look.outcome != "completed":
            return Line(sizes=(), seconds_at=(), bend=0.0, shares={})
        ladder = UNCACHED_BYTES if is_uncached(look) else CACHED_BYTES
        sizes = sorted({min(self._smallest, ladder[0]), *ladder})
        costs = [self._cost(setup, size) for size in sizes]
        if _bend([seconds for seconds, _ in costs[-3:]]) > STRAIGHT:
            sizes += LARGER_BYTES
            costs += [self._cost(setup, size) for size in LARGER_BYTES]
        times = [seconds for seconds, _ in costs]
        unlike = setup.treatment == "not-coherent-smp"
        return Line(
            sizes=tuple(sizes),
            seconds_at=tuple(times),
            bend=_bend(times[-3:]),
            shares=shares(look, costs[-1][1]),
            signs=signs(look, self.run(dataclasses.replace(setup, treatment=""), LOOK_BYTES) if unlike else look),
        )

    def _cost(self, setup: Setup, size: int) -> tuple[float, Mapping[str, int]]:
        """Return seconds and cycle stack of the setup at one size, and nothing that takes longer to find."""
        from caches import replay

        trace, case = self._trace(setup, size), setup.case
        costs = replay(trace, self._core(setup), initial=case.initial, seed=case.seed)
        # Whole pages are moved: what is run is as large as what is asked for, or up to a page larger.
        return costs.seconds * size / int(trace.meta["image_bytes"]), costs.cycle_stack


def _bend(times: Sequence[float]) -> float:
    """Return how far the middle one of three lies off the line through the others; the sizes are evenly spaced."""
    return abs(2 * times[1] / (times[0] + times[2]) - 1)


def is_uncached(look: "Run") -> bool:
    """Whether most of the copy's data pass the caches by."""
    types = look.copy["memory_types"]["data"] if look.copy else {}
    cached = types.get(MemoryType.NORMAL_WB.label, 0) + types.get(MemoryType.NORMAL_WT.label, 0)
    return bool(types) and cached < sum(types.values()) / 2


def shares(look: "Run", stack: Mapping[str, int]) -> dict[str, float]:
    """Return the share of a stack's cycles by kind of time; `look` says what the memory behind it is."""
    found: dict[str, float] = {}
    for leaf, cycles in stack.items():
        kind = _LEAVES.get(leaf, "noncacheable" if is_uncached(look) else "cached")
        found[kind] = found.get(kind, 0.0) + cycles / max(sum(stack.values()), 1)
    return found


STARTED = 'the "CPU: All CPU(s) started at" line of dmesg'


def signs(run: "Run", as_mapped: "Run") -> dict[str, str]:
    """Return what the copy could print: its level, its SCTLR's bits, and the attributes of descriptors and TCR.

    `as_mapped` is the run in which the core does what those attributes say.
    """
    if run.copy is None:
        return {}
    bits = ", ".join(f"{bit}={int(run.copy[key])}" for bit, key in (("M", "mmu"), ("C", "dcache"), ("I", "icache")))
    level = run.copy["el"]
    found = {STARTED: "EL1" if run.boot == "el1" else "EL2", "CurrentEL": f"EL{level}", f"SCTLR_EL{level}": bits}
    types = as_mapped.copy or run.copy
    for what, words in (("data", "MAIR byte and descriptors of what is copied"), ("walk", "TCR.IRGN and ORGN")):
        counts = types["memory_types"][what]
        if counts and run.copy["mmu"]:
            found[words] = max(counts, key=lambda name: counts[name])
    return found
