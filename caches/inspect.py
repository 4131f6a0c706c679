"""Inspect: what a machine in mid-run holds, by name. Looking changes nothing: no age, no counter, no state."""

from typing import Any

from caches.config import CoreConfig
from caches.kernels import layout
from caches.state import LEVEL_NAMES, TLB_NAMES, State, Ways, level_ways

_BUFFER_GROUPS = ("l1d", "l2", "l3", "l1i")
_DATA_LEVELS = ("l1d", "l2", "l3")
LINE_BYTES = 64


def cache_sets(state: State, config: CoreConfig, pa: int) -> list[dict[str, Any]]:
    """Return for each level that there is the set that an address falls into: its number, its ways, and the hit."""
    found = []
    for row, name in enumerate(LEVEL_NAMES):
        level = level_ways(state, row)
        if not len(level.tags):
            continue
        words = state.words[0]
        sets, ways = int(words["level_sets"][row]), int(words["level_ways"][row])
        line = pa // LINE_BYTES
        first = line % sets * ways
        held = [_way(level, at) for at in range(first, first + ways)]
        hit = next((way for way, each in enumerate(held) if each and each["pa"] == f"{line * LINE_BYTES:#x}"), None)
        found.append(
            {
                "level": name,
                "set": line % sets,
                "sets": sets,
                "hit_way": hit,
                "replacement": getattr(config, name).replacement.name.lower(),
                "ways": held,
            }
        )
    return found


def _way(level: Ways, at: int) -> dict[str, Any] | None:
    if level.tags[at] == 0:
        return None
    flags = int(level.flags[at])
    return {
        "pa": f"{int(level.held[at]) * LINE_BYTES:#x}",
        "dirty": bool(flags & layout.DIRTY),
        "prefetched": bool(flags & layout.PREFETCHED),
        "stale": bool(flags & layout.STALE),
        "age": int(level.ages[at]),
        "ready_cycle": int(level.lines["ready"][at]),
    }


def found_in(state: State, pa: int) -> str:
    """Name the nearest level where a read of data at that address would hit, or `dram`."""
    line = pa // LINE_BYTES
    for name in _DATA_LEVELS:
        row = LEVEL_NAMES.index(name)
        held = level_ways(state, row).held
        if len(held):
            sets, ways = int(state.words["level_sets"][0, row]), int(state.words["level_ways"][0, row])
            first = line % sets * ways
            if (held[first : first + ways] == line).any():
                return name
    return "dram"


def tlb_entries(state: State, va: int) -> list[dict[str, Any]]:
    """Return the entries of each TLB that translate an address in the present regime."""
    words, found = state.words[0], []
    regime, asid = int(words["regime"]), int(words["asid"])
    for row, name in enumerate(TLB_NAMES):
        base, entries = int(words["tlb_base"][row]), int(words["tlb_entries"][row])
        for at in range(base, base + entries):
            entry = [int(word) for word in words["tlb"][at]]
            shift = entry[layout.SHIFT]
            of_asid = entry[layout.ASID] in (-1, asid)
            if shift and entry[layout.TAG] == va >> shift and entry[layout.REGIME] == regime and of_asid:
                found.append(
                    {
                        "tlb": name,
                        "entry": at - base,
                        "va": f"{va >> shift << shift:#x}",
                        "bytes": 1 << shift,
                        "global": entry[layout.ASID] == -1,
                        "ready_cycle": entry[layout.TLB_READY],
                    }
                )
    return found


def tlb_use(state: State) -> dict[str, dict[str, int]]:
    """Return how many entries each TLB has, and how many are in use."""
    words, found = state.words[0], {}
    for row, name in enumerate(TLB_NAMES):
        base, entries = int(words["tlb_base"][row]), int(words["tlb_entries"][row])
        found[name] = {"entries": entries, "used": int((words["tlb"][base : base + entries, layout.SHIFT] > 0).sum())}
    return found


def outstanding(state: State) -> dict[str, Any]:
    """Return what is under way when the last instruction retires: misses by level, stores waiting, lines merging."""
    words = state.words[0]
    now = int(words["retire"])
    busy: dict[str, dict[str, Any]] = {}
    for row, name in enumerate(_BUFFER_GROUPS):
        base, count = int(words["level_buffer_base"][row]), int(words["level_buffers"][row])
        ends = [int(end) for end in words["buffer_end"][base : base + count] if end > now]
        busy[name] = {"buffers": count, "busy": len(ends), "until_cycles": sorted(end - now for end in ends)}
    waiting = [int(at) - now for at in words["entries"][: int(words["store_entries"]), 0] if at > now]
    merging = [
        {"pa": f"{(int(line) - 1) * LINE_BYTES:#x}", "quarters": bin(int(mask)).count("1") / 4}
        for line, mask, _ in words["merge"]
        if line
    ]
    return {
        "cycle": now,
        "miss_buffers": busy,
        "store_buffer": {
            "entries": int(words["store_entries"]),
            "waiting": len(waiting),
            "until_cycles": sorted(waiting),
        },
        "merging": merging,
    }
