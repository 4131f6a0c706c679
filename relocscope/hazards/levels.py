"""Exception levels, and what a crash kernel must not have: J8..J10 of the first review."""

from collections.abc import Iterator

from emu.spans import Span, merge, subtract
from relocscope.hazards.registry import Finding
from relocscope.hazards.subject import Subject
from relocscope.regimes import elsewhere, place, regime_name, register
from traces.schema import Role


def findings(subject: Subject) -> Iterator[Finding]:
    """Yield what is done at another level than it should be, and tables that nobody needs."""
    yield from _copy_level(subject)
    yield from _entry_level(subject)
    yield from _crash_kernel(subject)


def _copy_level(subject: Subject) -> Iterator[Finding]:
    trace, site = subject.trace, subject.site
    if site is None or trace.epochs[site.epoch]["stage1"]:
        return
    for state in elsewhere(trace, site):
        if trace.epochs[state.epoch]["stage1"]:
            yield Finding(
                id="copy-el-differs",
                where=place(trace, int(trace.insns[site.insn]["va"])),
                evidence=f"{register(trace, site.epoch, 'SCTLR')} governs it; {regime_name(trace, state.epoch)} has "
                f"{register(trace, state.epoch, 'SCTLR')}",
            )
            return


def _entry_level(subject: Subject) -> Iterator[Finding]:
    meta = subject.trace.meta
    entry = meta.get("entry")
    if entry and meta.get("boot") in ("nvhe", "vhe") and int(entry.get("el", 2)) < 2:
        yield Finding(
            id="entry-el-differs",
            where=place(subject.trace, int(entry.get("pc", 0))),
            evidence=f"entered at EL{int(entry['el'])}",
        )


def _crash_kernel(subject: Subject) -> Iterator[Finding]:
    """Tables outside the old kernel's image are made for this kexec; those that TTBR1 names at the start are not."""
    if len(subject.ranges(Role.LIST)) or not len(subject.ranges(Role.OLD_KERNEL)):
        return
    pages = subject.trace.table_pages
    own = pages[(pages["epoch"] == 0) & (pages["ttbr"] == 1)]
    running = merge(Span(int(row["pa"]), int(row["size"])) for row in own)
    made = subtract(subject.spans(Role.TABLE), (*subject.spans(Role.OLD_KERNEL), *running))
    if made:
        yield Finding(
            id="kdump-built-tables",
            where=str(made[0]),
            evidence=f"{sum(span.size for span in made):#x} bytes of tables, and no list of pages to copy",
        )
