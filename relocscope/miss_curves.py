"""Miss curves: how often a level of a case is missed at every size and associativity, from one run."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from relocscope.operand import Operand
from relocscope.runs import core_config, recorded
from traces.errors import InputError
from traces.lines import LINE_BYTES
from traces.sizes import size_text

if TYPE_CHECKING:
    from caches import CoreConfig
    from caches.exactness import Condition
    from caches.line_stream import LineStream

SCHEMA = "relocscope/misses/1"

FULLY = 0
"""Ways of a fully associative level: as many as it has lines or entries."""

_WAYS = (1, 2, 4, 8, 16)
_MOST_SETS = 1 << 16
_STEP = 0.1
"""Of the misses: what doubling a level has to save to be told."""
_LITTLE = 0.001
"""Of the accesses: less than that is not told."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One size and associativity, and what it misses."""

    capacity: int
    """Bytes of a cache, entries of a TLB."""
    ways: int
    misses: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MissCurves:
    """The misses of one level at every size, as one pass has them: under LRU, and with `changed` as it says."""

    case: str
    core: str
    level: str
    accesses: int
    changed: "tuple[Condition, ...]"
    """What keeps one pass from being exact for the core as it is; the curves are those of a core without it."""
    own: Shape
    """The core's own size and associativity."""
    replayed: tuple[int, int]
    """Accesses and misses of a full replay of the core as it is."""
    shapes: Sequence[Shape]
    """By ways, then by size; fully associative ones last."""
    host: Mapping[str, Any]

    @property
    def is_cache(self) -> bool:
        """Whether sizes are bytes; else they are entries."""
        return not self.level.endswith("tlb")

    def ratio(self, misses: int) -> float:
        """Return misses as a share of the accesses."""
        return misses / self.accesses if self.accesses else 0.0

    def of(self, ways: int) -> list[Shape]:
        """Return the curve of one associativity, by rising size."""
        return [shape for shape in self.shapes if shape.ways == ways]

    def size(self, capacity: int) -> str:
        """Write a size as people do."""
        if self.is_cache:
            return size_text(capacity) if capacity >= 1024 else f"{capacity} bytes"
        return f"{capacity:,} {'entry' if capacity == 1 else 'entries'}"

    @property
    def knees(self) -> list[tuple[Shape, Shape]]:
        """Return where doubling the level, at its own associativity, saves a tenth of its misses, or more."""
        return [
            (one, other)
            for one, other in pairwise(self.of(self.own.ways))
            if one.misses - other.misses >= max(_STEP * one.misses, _LITTLE * self.accesses, 1)
        ]

    @property
    def enough(self) -> Shape:
        """Return the smallest size from which more saves nothing worth telling."""
        curve = self.of(self.own.ways)
        least = curve[-1].misses + _LITTLE * self.accesses
        return next(
            shape
            for shape in curve
            if all(other.misses <= least for other in curve if other.capacity >= shape.capacity)
        )

    @property
    def sentences(self) -> list[str]:
        """Say where the knees are, and from where on nothing is gained."""
        if not self.accesses:
            return ["Nothing is looked up here."]
        said = [
            f"From {self.size(one.capacity)} to {self.size(other.capacity)}: {self.ratio(one.misses):.2%} missed "
            f"become {self.ratio(other.misses):.2%}."
            for one, other in self.knees
        ]
        enough = self.enough
        last = f"From {self.size(enough.capacity)} on nothing is gained: {self.ratio(enough.misses):.2%} are missed."
        return [*said, last]

    def to_json(self) -> dict[str, Any]:
        """Return the object of `misses --json`."""

        def shape(each: Shape) -> dict[str, Any]:
            return {"capacity": each.capacity, "ways": each.ways or None, "misses": each.misses}

        return {
            "schema": SCHEMA,
            "case": self.case,
            "core": self.core,
            "level": self.level,
            "unit": "bytes" if self.is_cache else "entries",
            "accesses": self.accesses,
            "exact": not self.changed,
            "changed": [
                {"key": each.key, "value": each.value, "needed": each.needed, "why": each.why} for each in self.changed
            ],
            "own": shape(self.own),
            "replayed": {"accesses": self.replayed[0], "misses": self.replayed[1]},
            "shapes": [shape(each) for each in self.shapes],
            "knees": [{"from": one.capacity, "to": other.capacity} for one, other in self.knees],
            "enough": self.enough.capacity,
            "sentences": self.sentences,
            "host": dict(self.host),
        }


def miss_curves(subject: Operand, level: str) -> MissCurves:
    """Run the case and find the misses of a level at every size.

    Raises InputError for a level that the core lacks, and where the guest makes the counts more than a matter of order.
    """
    import caches
    from caches.exactness import CACHES, LEVELS, Condition, alone, conditions

    started = time.perf_counter()
    if level not in LEVELS:
        raise InputError(f"--level: {level!r} must be one of {', '.join(LEVELS)}")
    if level in CACHES and not getattr(core_config(subject), level).size:
        raise InputError(f"--level: the core {core_config(subject).name} has no {level}")
    trace, config, initial, seed = recorded(subject)
    changed = conditions(config, level)
    if initial != "cold" and level != "dtlb":
        changed += (Condition("initial", initial, "cold", "what the kernel left there was asked for before"),)
    stream = stream_at(trace, alone(config, level), level)
    shapes = _shapes(stream, config, level)
    counters = caches.replay(trace, config, initial=initial, seed=seed).counters[level]
    own = _own(config, level)
    return MissCurves(
        case=subject.name,
        core=config.name,
        level=level,
        accesses=stream.accesses,
        changed=changed,
        own=next(shape for shape in shapes if (shape.capacity, shape.ways) == own),
        replayed=(counters["accesses"], counters["misses"]),
        shapes=shapes,
        host={"seconds": round(time.perf_counter() - started, 3)},
    )


def stream_at(trace: Any, config: "CoreConfig", level: str) -> "LineStream":
    """Return what a level is asked for, cache or TLB."""
    from caches.exactness import CACHES

    if level in CACHES:
        from caches.line_stream import line_stream

        return line_stream(trace, config, level)
    from caches.tlb_stream import tlb_stream

    return tlb_stream(trace, config)


def _own(config: "CoreConfig", level: str) -> tuple[int, int]:
    """Return size and ways of the core's own level; FULLY where that is what it is."""
    part = getattr(config, level)
    capacity = part.entries if level.endswith("tlb") else part.size
    unit = 1 if level.endswith("tlb") else LINE_BYTES
    return capacity, FULLY if part.ways * unit == capacity else part.ways


def _shapes(stream: "LineStream", config: "CoreConfig", level: str) -> list[Shape]:
    """Return every size that is a power of two of every usual associativity, and the core's own."""
    from caches.kernels.stack_distances import DEPTH
    from caches.stack_distances import hits, hits_of_one_set

    unit = 1 if level.endswith("tlb") else LINE_BYTES
    one_set = hits_of_one_set(stream)
    capacity, ways = _own(config, level)
    largest = max(len(one_set), 2 * capacity // unit, 16)
    largest = 1 << (largest - 1).bit_length()
    own_sets = [] if ways == FULLY else [capacity // unit // ways]
    sets = sorted({*(1 << at for at in range(min(largest, _MOST_SETS).bit_length())), *own_sets})
    if ways > DEPTH:
        raise InputError(f"{level}.ways = {ways}: more than {DEPTH} and not fully associative is not followed here")
    found = dict(zip(sets, hits(stream, sets), strict=True))
    shapes = {
        Shape(count * each * unit, each, stream.accesses - int(row[each - 1]))
        for each in {*_WAYS, ways} - {FULLY}
        for count, row in found.items()
        if count * each <= largest and (count & (count - 1) == 0 or [count] == own_sets)
    }
    lines = {1 << at for at in range(largest.bit_length())} | ({capacity // unit} if ways == FULLY else set())
    full = [Shape(count * unit, FULLY, stream.accesses - int(one_set[min(count, len(one_set)) - 1])) for count in lines]
    return sorted([*shapes, *full], key=lambda shape: (shape.ways or 1 << 30, shape.capacity))
