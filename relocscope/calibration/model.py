"""Model: what a core gives for the figures that were measured, each replay made once."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from relocscope import microbench
from relocscope.calibration.measured import Measured
from relocscope.case import Case
from relocscope.hypotheses.predict import is_uncached
from relocscope.runs import functional, measure
from relocscope.validate import as_tinymembench

if TYPE_CHECKING:
    from caches import CoreConfig
    from traces.trace import Trace

UNCACHED_BYTES, CACHED_BYTES = (256 << 10, 512 << 10), (2 << 20, 4 << 20)
"""Sizes at which a relocation is replayed; a time goes on as from the first to the second."""

_UNUSED = ("device", "maintenance", "kernel")
"""Parts of a core that no microbenchmark meets: loops of cached or Non-cacheable accesses, from cold caches."""

_LOOK_BYTES = 1 << 16


class Model:
    """Replays two cases, with the MMU off and as meant, and microbenchmarks, on any variant of a core."""

    def __init__(self, off: Case, meant: Case) -> None:
        self._cases = {"off": off, "on": meant}
        self._first: CoreConfig | None = None
        self._uncached: dict[str, bool] = {}
        self._traces: dict[tuple[Case, int], Trace] = {}
        self._answers: dict[tuple[Any, ...], Any] = {}

    def predict(self, figures: Sequence[Measured], config: "CoreConfig") -> list[float]:
        """Return what that core gives for each figure, in the figure's unit (latencies: load to use)."""
        return [self._predicted(figure, config) for figure in figures]

    def arrives(self, state: str, config: "CoreConfig") -> bool:
        """Whether that case gets to the new kernel at all, having copied something."""
        case = self._cases[state]
        look = measure(self._trace(case, _LOOK_BYTES), config, name="", initial=case.initial, seed=case.seed)
        self._uncached[state] = is_uncached(look)
        return look.outcome == "completed" and look.copy is not None

    def _predicted(self, figure: Measured, config: "CoreConfig") -> float:
        if figure.kind == "relocation":
            return self._relocation(figure.state, figure.bytes, config)
        if figure.kind == "latency":
            return self._latency(figure, config)
        if figure.kind == "nc-read":
            by_width = self._once("nc", self._bare(config), lambda: microbench.uncached_reads(config, "Normal-NC"))
            return float(by_width[figure.bytes])
        benchmark = microbench.memcpy if figure.kind == "memcpy" else microbench.memset
        return float(self._once(figure.kind, self._bare(config), lambda: benchmark(config).bytes_per_second))

    def _bare(self, config: "CoreConfig") -> "CoreConfig":
        """Return what of a core a microbenchmark can tell: cores that differ elsewhere need no second replay."""
        self._first = self._first or config
        same = {part: getattr(self._first, part) for part in _UNUSED}
        fetch = dataclasses.replace(config.fetch, uncached_ns=self._first.fetch.uncached_ns)
        return dataclasses.replace(config, fetch=fetch, **same)

    def _latency(self, figure: Measured, config: "CoreConfig") -> float:
        reads, leaf = figure.reads, figure.leaf_bytes
        ladder = self._once("latency", self._bare(config), lambda: microbench.latency(config, leaf), leaf)
        if not reads.count:
            return float(ladder[figure.bytes])
        made = {"reads": reads.count, "repeats": reads.repeats}
        return as_tinymembench(ladder, made, config, reads.ladder)[figure.bytes]

    def _once(self, kind: str, config: "CoreConfig", ask: Callable[[], Any], *more: Any) -> Any:
        key = (kind, config, *more)
        if key not in self._answers:
            self._answers[key] = ask()
        return self._answers[key]

    def _relocation(self, state: str, size: int, config: "CoreConfig") -> float:
        """Return the time of an image of that size: replayed where it is small, else a line through two sizes."""
        low, high = UNCACHED_BYTES if self._uncached[state] else CACHED_BYTES
        if size <= low:
            return self._seconds(state, size, config)
        below, above = (self._seconds(state, each, config) for each in (low, high))
        return below + (above - below) * (size - low) / (high - low)

    def _seconds(self, state: str, size: int, config: "CoreConfig") -> float:
        from caches import replay

        case = self._cases[state]
        trace = self._trace(case, size)

        def ask() -> float:
            costs = replay(trace, config, initial=case.initial, seed=case.seed)
            return costs.seconds * size / int(trace.meta["image_bytes"])  # whole pages are moved

        return float(self._once(state, config, ask, size))

    def _trace(self, case: Case, size: int) -> "Trace":
        """Emulate; what has no part in the functional run is taken out, so that it is kept."""
        if (case, size) not in self._traces:
            plain = dataclasses.replace(case, name="", title="", source="", core="", initial="cold", size_bytes=size)
            self._traces[case, size] = functional(plain)
        return self._traces[case, size]
