"""Numbers that may be fitted: few, each one that some measurement can show."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relocscope.ranges import is_whole, moved

if TYPE_CHECKING:
    from caches import CoreConfig

KEYS = (
    "device.round_trip_ns",
    "dram.latency_ns",
    "l2.hit_cycles",
    "l3.hit_cycles",
    "dram.bandwidth_gbps",
    "store.write_ack_ns",
    "nc.latency_ns",
    "maintenance.dc_interval_cycles",
    "maintenance.dc_dirty_cycles",
    "fetch.uncached_ns",
)
"""Whatever is not here stays as the preset has it: geometry, widths and policies are read, not timed."""

WIDEST = 16.0
"""How many times larger or smaller than the preset's a number may get."""

_KNOWN = 0.25
"""What a number with a source is taken to be uncertain by (logarithm), on another board with that core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One number of a core that may be fitted. `uncertain` is the standard deviation of its logarithm beforehand."""

    key: str
    value: float
    whole: bool
    uncertain: float
    span: tuple[Any, ...]
    """The preset's range; () where it has a source."""

    def rounded(self, value: float) -> float:
        """Return the value as the preset can have it."""
        return max(1, round(value)) if self.whole else float(f"{value:.4g}")


def numbers(config: "CoreConfig") -> list[Number]:
    """Return those of a core, in the order of KEYS."""
    found: list[Number] = []
    for key in KEYS:
        value = config.value(key)
        if value <= 0 or (key == "l3.hit_cycles" and not config.l3.size):
            continue
        origin = config.provenance.get(key)
        span = origin.estimated if origin is not None else ()
        ranged = len(span) == 2 and min(span) > 0
        uncertain = max(0.05, math.log(max(span) / min(span)) / 4) if ranged else _KNOWN
        found.append(Number(key=key, value=float(value), whole=is_whole(key), uncertain=uncertain, span=span))
    return found


def core_with(config: "CoreConfig", values: "dict[Number, float]") -> "CoreConfig | None":
    """Return the core with these numbers; None where they make none."""
    changes = {one.key: int(one.rounded(at)) if one.whole else one.rounded(at) for one, at in values.items()}
    return moved(config, changes)
