"""Cache maintenance of the image: missing, of the wrong kind, or harmful."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relocscope.hazards.registry import Finding
from relocscope.hazards.subject import Subject, inside, overlap
from relocscope.regimes import place
from traces.lines import LINE_BYTES, Deed
from traces.schema import PAGE_BYTES, Maintenance, MemoryType, Role
from traces.trace import Records

SET_WAY = (Maintenance.DC_ISW, Maintenance.DC_CSW, Maintenance.DC_CISW)


def findings(subject: Subject) -> Iterator[Finding]:
    """Yield what the run's maintenance by address left undone, or did harm by, and any by set and way."""
    yield from _lost(subject)
    yield from _dirty(subject)
    yield from _partial(subject)
    yield from _self_copies(subject)
    yield from _to_pou(subject)
    yield from _set_way(subject)


def _place(subject: Subject, deed: Deed) -> str:
    return place(subject.trace, int(subject.trace.insns[subject.lines.insns[deed]]["va"]))


def _in_image(subject: Subject, lines: Any) -> int:
    return int(inside(np.asarray(lines, np.uint64), subject.spans(Role.DESTINATION)).sum())


def _lost(subject: Subject) -> Iterator[Finding]:
    lines = subject.lines
    modelled = _in_image(subject, subject.costs.lost_lines) if subject.costs is not None else 0
    said = f"; the model lost {modelled} of them" if modelled else ""
    for deed, words in (
        (Deed.LOST, "lines were invalidated (DC IVAC) straight after a store through the caches"),
        (Deed.UNPREPARED, "lines were stored past the caches with nothing that invalidated them before"),
    ):
        did = lines.did(deed)
        if did.any():
            evidence = f"{int(did.sum())} {words}, first at pa {int(lines.lines(did)[0]):#x}{said}"
            yield Finding(id="invalidate-lost-dirty", where=_place(subject, deed), evidence=evidence)
            return


def _dirty(subject: Subject) -> Iterator[Finding]:
    entry = subject.trace.meta.get("entry")
    cacheable = MemoryType.NORMAL_WB in subject.trace.epochs["flat_type"][-1:]  # HCR_EL2.DC
    if not entry or entry.get("mmu") or subject.site is None or cacheable:
        return
    uncleaned = int(subject.lines.uncleaned.sum())
    if uncleaned:
        stored = int(subject.lines.did(Deed.STORED_CACHED).sum())
        said = ""
        if subject.costs is not None:
            said = f"; the model still holds {_in_image(subject, subject.costs.dirty_lines)} lines dirty at entry"
        yield Finding(
            id="dirty-at-entry",
            where=place(subject.trace, int(subject.trace.insns[subject.site.insn]["va"])),
            evidence=f"{uncleaned} of {stored} lines stored through the caches were not cleaned by address to the PoC "
            f"afterwards{said}",
        )


def _partial(subject: Subject) -> Iterator[Finding]:
    """Find pages that were stored to and of which some lines were maintained and others not."""
    lines = subject.lines
    everything = lines.lines(np.ones(len(lines.deeds), np.bool_))
    page = (everything // np.uint64(PAGE_BYTES)).astype(np.uint64)
    if not len(page):
        return
    begins = np.flatnonzero(np.concatenate([[True], page[1:] != page[:-1]]))
    maintained = _count(lines.did(Deed.MAINTAINED), begins)
    stored = _count(lines.did(Deed.STORED_CACHED) | lines.did(Deed.STORED_UNCACHED), begins)
    whole = np.diff(np.append(begins, len(page)))
    partial = (maintained > 0) & (stored > maintained)
    if partial.any():
        first = int(np.argmax(partial))
        yield Finding(
            id="partial-page-maintenance",
            where=_place(subject, Deed.MAINTAINED),
            evidence=f"{int(partial.sum())} pages of the image, the first at pa {int(page[first]) * PAGE_BYTES:#x}: "
            f"{int(maintained[first])} of {int(whole[first])} lines of {LINE_BYTES} bytes",
        )


def _count(did: NDArray[np.bool_], begins: NDArray[np.intp]) -> NDArray[np.int64]:
    return np.add.reduceat(did.astype(np.int64), begins)


def _self_copies(subject: Subject) -> Iterator[Finding]:
    """Find pages in place that were invalidated first. A source page is its own destination or none."""
    first = subject.lines.did(Deed.INVALIDATED_FIRST)
    in_place = overlap(subject.spans(Role.SOURCE), subject.spans(Role.DESTINATION)) if first.any() else ()
    if not in_place:
        return
    lines = subject.lines.lines(first)
    hit = lines[inside(lines, in_place)]
    if len(hit):
        pages = len(np.unique(hit // np.uint64(PAGE_BYTES)))
        yield Finding(
            id="self-copy-invalidated",
            where=_place(subject, Deed.INVALIDATED_FIRST),
            evidence=f"{pages} pages, the first at pa {int(hit[0]) // PAGE_BYTES * PAGE_BYTES:#x}",
        )


def _to_pou(subject: Subject) -> Iterator[Finding]:
    lines = subject.lines
    cached = lines.did(Deed.STORED_CACHED)
    to_pou = cached & lines.did(Deed.CLEANED_TO_POU)
    if to_pou.any() and not (cached & (lines.cleaned_at >= 0)).any():
        yield Finding(
            id="clean-to-pou-only",
            where=_place(subject, Deed.CLEANED_TO_POU),
            evidence=f"{int(to_pou.sum())} of {int(cached.sum())} lines that were stored through the caches",
        )


def _set_way(subject: Subject) -> Iterator[Finding]:
    found = executed(subject, SET_WAY)
    if len(found):
        yield Finding(
            id="set-way-maintenance",
            where=place(subject.trace, int(found[0]["va"])),
            evidence=f"{len(found)} instructions use it",
        )


def executed(subject: Subject, kinds: tuple[Maintenance, ...]) -> Records:
    """Return the distinct instructions of these kinds in blocks that ran."""
    trace = subject.trace
    ran = np.zeros(len(trace.blocks), np.bool_)
    ran[trace.executions] = True
    rows = [np.arange(b["first"], int(b["first"]) + int(b["count"])) for b in trace.blocks[ran]]
    insns = trace.insns[np.concatenate(rows)] if rows else trace.insns[:0]
    return insns[np.isin(insns["maintenance"], kinds)]
