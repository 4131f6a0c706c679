"""Measured: one figure of a person's own machine, and how far the model may be off it without being wrong."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relocscope.hypotheses.observation import Observation
from traces.sizes import size_text

if TYPE_CHECKING:
    from caches import CoreConfig

MODEL: "dict[str, float]" = {"relocation": 0.0, "latency": 0.05, "memcpy": 0.15, "memset": 0.15, "nc-read": 0.10}
"""How far off the model's own figures of a kind are on a machine that it describes (logarithm): about what
docs/accuracy.md has. Of relocations it is left out: they are what the model is fitted for."""

LATENCY_BYTES = tuple(1 << log2 for log2 in range(16, 27))
"""Sizes that the model's random reads come in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reads:
    """How a benchmark made its random reads; `count` 0: each line of the buffer was read before it counted."""

    count: int = 0
    repeats: int = 1
    ladder: int = 0
    """0 for the first ladder of a process of tinymembench, 1 for the second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One figure. `bytes` is a size, or of uncached reads their width."""

    name: str
    kind: str
    """A key of MODEL."""
    value: float
    unit: str
    source: str
    bytes: int
    state: str = ""
    """Of a relocation: with the MMU `off`, or as it was meant `on`."""
    leaf_bytes: int = 4096
    reads: Reads = Reads()
    beyond_l1d: bool = False
    """The figure is what a read takes beyond a hit in L1D."""

    def target(self, config: "CoreConfig") -> float:
        """Return what the model has to give on that core."""
        return self.value + (config.l1d.hit_cycles * 1e9 / config.frequency_hz if self.beyond_l1d else 0.0)

    def sigma(self, error: float) -> float:
        """Return the standard deviation of the logarithm of measurement and model together."""
        return math.hypot(error, MODEL[self.kind])


def relocation(seen: Observation) -> Measured:
    """Return a timed kexec as a figure; a range of sizes is taken in its middle."""
    return Measured(
        name=f"{seen.label} {seen.state}",
        kind="relocation",
        value=seen.seconds,
        unit="s",
        source="--observed",
        bytes=seen.size,
        state=seen.state,
    )


def latency(size: int, nanoseconds: float, source: str, *, leaf_bytes: int, reads: Reads, beyond_l1d: bool) -> Measured:
    """Return a random read's figure."""
    return Measured(
        name=f"latency {size_text(size)}/{size_text(leaf_bytes)}",
        kind="latency",
        value=nanoseconds,
        unit="ns",
        source=source,
        bytes=size,
        leaf_bytes=leaf_bytes,
        reads=reads,
        beyond_l1d=beyond_l1d,
    )


def is_clear(size: int, config: "CoreConfig") -> bool:
    """Whether random reads of that size are clearly of one level: sizes at the edge of a cache show its replacement."""
    if size not in LATENCY_BYTES:
        return False
    levels = [config.l1d.size, config.l2.size, *([config.l3.size] if config.l3.size else [])]
    return (
        size > levels[0]
        and all(size <= level // 2 or size >= 2 * level for level in levels)
        and (size < levels[-1] or size >= 4 * levels[-1])
    )
