"""What the standard microbenchmarks give on a modelled core: the latency ladder, memcpy, memset, uncached reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relocscope.microbench.guests import HEAP, Buffer, GuestRun, run
from traces.sizes import size_text

if TYPE_CHECKING:
    from caches import CoreConfig

SCHEMA = "relocscope/microbench/1"

LADDER_BYTES = tuple(1 << log2 for log2 in range(16, 27))
"""64 KiB to 64 MiB."""
LEAF_BYTES = (4096, 1 << 21)
WARMING_STEPS, STEPS = 8192, 24576
"""Random reads of one size: about six instructions each, a line in four of 64 MiB never read but all touched."""

COPY_BYTES = 64 << 20
SLICE_BYTES, SLICES = 2 << 20, 5
"""How much of it is copied, behind the warming; the first slice is not counted."""
WARM_BYTES = 24 << 20
"""What the copy before leaves: more of source and destination together than the largest cache that ships holds."""

WIDTHS = (8, 16, 32, 64)
READ_BYTES = 64 << 10
UNCACHED_TYPES = ("Normal-NC", "Device-nGnRnE")

# Knuth's MMIX generator; its upper bits are what the address is taken from.
_MULTIPLIER, _INCREMENT = 6364136223846793005, 1442695040888963407
# Source and destination do not share their low address bits, as tinymembench has it: they would share DRAM banks.
_SKEW = 0x54000


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A copy's or fill's speed, and how far its slices lie apart."""

    bytes_per_second: float
    spread: float
    """(slowest - fastest slice) / mean: small where the state was steady."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Microbenchmarks:
    """All of them on one core; `to_json` is what `microbench --json` writes."""

    core: str
    memcpy: Rate
    memset: Rate
    latency_ns: dict[int, dict[int, float]]
    """By size, then by leaf size: load to use."""
    uncached_read_ns: dict[str, dict[int, float]]
    """By memory type, then by bytes a read."""

    def to_json(self) -> dict[str, Any]:
        """Return the object of interfaces.md."""
        return {
            "schema": SCHEMA,
            "core": self.core,
            "memcpy_bytes_per_second": round(self.memcpy.bytes_per_second),
            "memset_bytes_per_second": round(self.memset.bytes_per_second),
            "latency_ns": {
                size_text(size): {size_text(leaf): round(ns, 3) for leaf, ns in by_leaf.items()}
                for size, by_leaf in self.latency_ns.items()
            },
            "uncached_read_ns": {
                kind: {str(width): round(ns, 3) for width, ns in by_width.items()}
                for kind, by_width in self.uncached_read_ns.items()
            },
            "spread": {"memcpy": round(self.memcpy.spread, 4), "memset": round(self.memset.spread, 4)},
        }


def measure(config: "CoreConfig") -> Microbenchmarks:
    """Run all of them on that core."""
    ladders = {leaf: latency(config, leaf) for leaf in LEAF_BYTES}
    return Microbenchmarks(
        core=config.name,
        memcpy=memcpy(config),
        memset=memset(config),
        latency_ns={size: {leaf: ladders[leaf][size] for leaf in LEAF_BYTES} for size in LADDER_BYTES},
        uncached_read_ns={kind: uncached_reads(config, kind) for kind in UNCACHED_TYPES},
    )


def latency(
    config: "CoreConfig", leaf_bytes: int, sizes: Sequence[int] = LADDER_BYTES, *, stage2_leaf_bytes: int = 0
) -> dict[int, float]:
    """Mean load-to-use time in ns of random reads, by size of the buffer (powers of two in a row).

    As tinymembench has it: a step of the loop with the buffer, less a step with one line, and L1D's own latency added.
    With `stage2_leaf_bytes`, in a virtual machine whose second stage has such leaves.
    """
    registers = {19: HEAP, 20: sizes[0], 21: sizes[-1], 22: WARMING_STEPS, 23: STEPS, 6: _MULTIPLIER, 7: _INCREMENT}
    guest = run(
        "ladder", tuple(registers.items()), (Buffer(pa=HEAP, size=sizes[-1], leaf_bytes=leaf_bytes),), stage2_leaf_bytes
    )
    cycles = _cycles(guest, config, ("alone", "alone_end", "measured", "measured_end"))
    steps = (cycles[1::2] - cycles[::2]) / STEPS
    l1d = config.l1d.hit_cycles
    return {
        size: (step - steps[0] + l1d) * 1e9 / config.frequency_hz for size, step in zip(sizes, steps[1:], strict=True)
    }


def memcpy(config: "CoreConfig", leaf_bytes: int = 4096, *, stage2_leaf_bytes: int = 0) -> Rate:
    """Copy 64 MiB by ldp and stp: a slice of the steady state, caches as the end of such a copy leaves them."""
    source, destination = HEAP, HEAP + COPY_BYTES + (2 << 20) + _SKEW
    last = COPY_BYTES - WARM_BYTES
    registers = {0: destination, 1: source, 20: destination + last, 21: source + last}
    registers |= {22: WARM_BYTES >> 6, 23: SLICE_BYTES, 24: SLICES}
    buffers = tuple(Buffer(pa=pa, size=COPY_BYTES, leaf_bytes=leaf_bytes) for pa in (source, destination))
    return _rate(run("memcpy", tuple(registers.items()), buffers, stage2_leaf_bytes), config)


def memset(config: "CoreConfig", leaf_bytes: int = 4096, *, stage2_leaf_bytes: int = 0) -> Rate:
    """Fill 64 MiB by stp, likewise."""
    warm = 2 * WARM_BYTES
    registers = ((0, HEAP), (20, HEAP + COPY_BYTES - warm), (22, warm >> 6), (23, SLICE_BYTES), (24, SLICES))
    buffer = Buffer(pa=HEAP, size=COPY_BYTES, leaf_bytes=leaf_bytes)
    return _rate(run("memset", registers, (buffer,), stage2_leaf_bytes), config)


def uncached_reads(config: "CoreConfig", memory_type: str) -> dict[int, float]:
    """Mean time in ns of a read of each width, in order, from memory of that type."""
    registers = ((19, HEAP), (20, READ_BYTES))
    guest = run("reads", registers, (Buffer(pa=HEAP, size=READ_BYTES, memory_type=memory_type),))
    labels = [f"{place}_{width}" for width in WIDTHS for place in ("width", "end")]
    marks = [int(guest.starts(label)[0]) for label in labels]
    cycles = _cycles_at(guest, config, marks)
    return {
        width: float(cycles[2 * at + 1] - cycles[2 * at]) / (READ_BYTES // width) * 1e9 / config.frequency_hz
        for at, width in enumerate(WIDTHS)
    }


def _rate(guest: GuestRun, config: "CoreConfig") -> Rate:
    slices = np.diff(_cycles(guest, config, ("slice", "slice_end"))[::2])[1:]
    mean = float(slices.mean())
    return Rate(
        bytes_per_second=SLICE_BYTES * config.frequency_hz / mean,
        spread=float(slices.max() - slices.min()) / mean,
    )


def _cycles(guest: GuestRun, config: "CoreConfig", labels: Sequence[str]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    return _cycles_at(guest, config, guest.starts(*labels))


def _cycles_at(guest: GuestRun, config: "CoreConfig", marks: Any) -> "np.ndarray[Any, np.dtype[np.int64]]":
    from caches import replay

    return replay(guest.trace, config, checkpoints=marks).checkpoint_cycles
