"""Subject: a run, and what several rules want to know of it, each found once."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emu.spans import Span, merge, subtract
from traces.fold import CopySite, stretches
from traces.lines import LineHistory, line_history
from traces.schema import Mark, Phase, Role
from traces.trace import Records, Trace

if TYPE_CHECKING:
    from traces.outcome import Outcome

_SPACE = ("e2h", "tcr", "mair", "ttbr0", "ttbr1")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run that is judged."""

    trace: Trace
    site: CopySite | None
    costs: "Outcome | None" = None

    def ranges(self, *roles: Role) -> Records:
        """Return the rows of RANGE with any of these roles."""
        table = self.trace.ranges
        rows: Records = table[np.isin(table["role"], roles)]
        return rows

    def spans(self, *roles: Role) -> tuple[Span, ...]:
        """Return memory with any of these roles, joined."""
        return merge(Span(int(row["pa"]), int(row["size"])) for row in self.ranges(*roles))

    @cached_property
    def image(self) -> Records:
        """Where the image must lie."""
        return self.ranges(Role.DESTINATION)

    @cached_property
    def lines(self) -> LineHistory:
        """What happened to each line of the image."""
        return line_history(self.trace, self.image)

    @cached_property
    def usable(self) -> tuple[Span, ...]:
        """RAM that a kernel may map and kexec may use: without nomap and no-access regions."""
        return subtract(self.spans(Role.RAM), self.spans(Role.NOMAP, Role.NO_ACCESS))

    @cached_property
    def relocation_end(self) -> int:
        """The execution behind the last one of the relocation: where purgatory begins, or the end of the run."""
        marks = self.trace.marks
        later = marks["at"][(marks["kind"] == Mark.PHASE) & (marks["a"] == Phase.PURGATORY)]
        return int(later.min()) if len(later) else len(self.trace.executions)

    @cached_property
    def epochs_run(self) -> list[tuple[int, int, int]]:
        """(epoch, first execution, end) of each stretch."""
        return list(stretches(self.trace))

    def tables_of(self, epoch: int) -> int | None:
        """Return the epoch whose rows of `mappings` and `table_pages` hold in this one; None where nothing is known."""
        epochs = self.trace.epochs
        wanted = epochs[epoch]
        known = np.unique(np.concatenate([self.trace.table_pages["epoch"], self.trace.mappings["epoch"]]))
        for other in known[known <= epoch][::-1].tolist():
            row = epochs[other]
            if (row["el"] >= 2) == (wanted["el"] >= 2) and all(row[name] == wanted[name] for name in _SPACE):
                return int(other)
        return None


def overlap(spans: tuple[Span, ...], other: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return the memory that lies in both; each argument is sorted and has no overlap within itself."""
    found: list[Span] = []
    at = 0
    for span in spans:
        while at < len(other) and other[at].end <= span.pa:
            at += 1
        place = at
        while place < len(other) and other[place].pa < span.end:
            first = max(span.pa, other[place].pa)
            found.append(Span(first, min(span.end, other[place].end) - first))
            place += 1
    return tuple(found)


def inside(addresses: NDArray[np.uint64], spans: tuple[Span, ...]) -> NDArray[np.bool_]:
    """Return which addresses lie in the spans, which are sorted and apart."""
    if not spans:
        return np.zeros(len(addresses), np.bool_)
    starts = np.array([span.pa for span in spans], np.uint64)
    ends = np.array([span.end for span in spans], np.uint64)
    place = np.searchsorted(starts, addresses, side="right") - 1
    found: NDArray[np.bool_] = (place >= 0) & (addresses < ends[np.maximum(place, 0)])
    return found
