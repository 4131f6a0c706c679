"""Who reads old data, and whose data are lost: caches beside observers that look past them."""

from caches.kernels.layout import CODE_MASK, DIRTY, L1I, LIST_ROWS, MISS, STALE
from caches.kernels.sets import lookup
from caches.views import inlined


@inlined
def report_stale(s, line):
    """Note that the run read old data of this line."""
    at = s["stale_count"]
    if at < LIST_ROWS and (at == 0 or s["stale"][at - 1] != line):
        s["stale"][at] = line
        s["stale_count"] = at + 1


@inlined
def report_lost(s, line):
    """Note that the newest data of this line were thrown away."""
    at = s["lost_count"]
    if at < LIST_ROWS and (at == 0 or s["lost"][at - 1] != line):
        s["lost"][at] = line
        s["lost_count"] = at + 1


@inlined
def observe_read(s, line):
    """Judge an uncached read of the line: stale if a cache before the PoC holds it newer."""
    if s["observed_read"] == line and s["observed_changes"] == s["changes"]:
        return
    s["observed_read"] = line
    s["observed_changes"] = s["changes"]
    for level in range(3):
        if s["level_present"][level] == 1 and s["level_behind_poc"][level] == 0:
            index = lookup(s, level, line)
            if index != MISS and s["tags"][index] & DIRTY:
                report_stale(s, line)


@inlined
def observe_write(s, line):
    """Judge an uncached write of the line: every copy before the PoC is outdated from here on."""
    if s["observed_write"] == line and s["observed_write_changes"] == s["changes"]:
        return
    s["observed_write"] = line
    s["observed_write_changes"] = s["changes"]
    for level in range(3):
        if s["level_present"][level] == 1 and s["level_behind_poc"][level] == 0:
            index = lookup(s, level, line)
            if index != MISS:
                s["tags"][index] |= STALE
    code_written(s, line)


@inlined
def code_written(s, line):
    """Note that a store reached the line: an L1I copy is old from here on. `code_lines` counts L1I lines by hash."""
    if s["code_lines"][line & CODE_MASK] == 0:
        return
    index = lookup(s, L1I, line)
    if index != MISS:
        s["tags"][index] |= STALE
