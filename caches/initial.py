"""The caches as a running kernel leaves them: full, partly dirty, but clean where the kernel has cleaned to the PoC."""

import numpy as np

from caches.config import CoreConfig
from caches.kernels.layout import DIRTY, FLAG_BITS, OLD
from caches.parts import Inclusion, Replacement
from caches.state import LEVEL_NAMES, Ints, Records, State, level_ways
from traces.schema import Role

# machine_kexec() cleans these to the PoC before it leaves, or the loader did (facts/kernel.md 2.1); what is not RAM for
# the kernel it does not hold.
_CLEANED = (
    Role.SOURCE,
    Role.TABLE,
    Role.CODE,
    Role.LIST,
    Role.VECTORS,
    Role.ARGUMENT,
    Role.ZERO_PAGE,
    Role.NOMAP,
    Role.NO_ACCESS,
)
_FALLBACK_LINES = (1 << 40 >> 6, 1 << 24)


_KEPT = 16
_kept: dict[tuple[object, ...], tuple[Ints, Ints, int]] = {}
"""The last few fillings, a MiB each: drawing one takes longer than replaying the slices that `explain` and sampled
sweeps replay by the hundred."""


def kernel_dirty(state: State, config: CoreConfig, ranges: Records, code: Ints, *, seed: int) -> None:
    """Fill L1D, L2 and L3 with lines of RAM, some of them dirty; never the lines of `code`, which nothing has written.

    The same seed gives the same lines.
    """
    levels = (config.l1i, config.l1d, config.l2, config.l3)
    shape = tuple((level.size, level.ways, level.replacement, level.inclusion) for level in levels)
    key = (shape, config.kernel, ranges.tobytes(), code.tobytes(), seed)
    if key not in _kept:
        while len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]
        _fill(state, config, ranges, code, seed)
        _kept[key] = (state.tags.copy(), state.ages.copy(), int(state.words["tick"][0]))
        return
    tags, ages, tick = _kept[key]
    state.tags[:], state.ages[:] = tags, ages
    state.words["tick"] = tick


def _fill(state: State, config: CoreConfig, ranges: Records, code: Ints, seed: int) -> None:
    draw = np.random.default_rng(seed)
    tick = 1
    for row in (2, 1, 0):
        level = level_ways(state, row)
        if len(level.tags) == 0:
            continue
        sets, ways = int(state.words["level_sets"][0, row]), int(state.words["level_ways"][0, row])
        lines = _lines(draw, ranges, sets * ways * 2, config.kernel.destination_share)
        lines = lines[~_inside(lines, ranges, _CLEANED) & ~np.isin(lines, code)]
        order = np.argsort(lines % sets, kind="stable")
        index = (lines % sets)[order]
        way = np.arange(len(index)) - np.searchsorted(index, np.arange(sets))[index]
        fits = way < ways
        at = index[fits] * ways + way[fits]
        dirty = draw.random(len(at)) < config.kernel.dirty_share
        level.tags[at] = ((lines[order][fits] + 1) << FLAG_BITS) | np.where(dirty, DIRTY | OLD, 0)
        if state.words["level_replacement"][0, row] <= Replacement.FIFO:
            level.ages[at] = np.arange(tick, tick + len(at))
        tick += len(at)
    state.words["tick"] = tick
    _drop_duplicates(state, config)


def _lines(draw: np.random.Generator, ranges: Records, count: int, destination_share: float) -> Ints:
    """Distinct lines, that share of them of the destination, in no particular order."""
    destination = ranges[ranges["role"] == Role.DESTINATION]
    memory = ranges[np.isin(ranges["role"], [Role.RAM, Role.OLD_KERNEL])]
    parts = []
    share = destination_share if len(destination) else 0.0
    for rows, wanted in ((destination, round(count * share)), (memory, count - round(count * share))):
        first = (rows["pa"] >> np.uint64(6)).astype(np.int64)
        size = (rows["size"] >> np.uint64(6)).astype(np.int64)
        if size.sum() == 0:
            if rows is memory:
                parts.append(_FALLBACK_LINES[0] + draw.integers(0, _FALLBACK_LINES[1], wanted))
            continue
        offset = draw.integers(0, int(size.sum()), wanted)
        ends = np.cumsum(size)
        row = np.searchsorted(ends, offset, side="right")
        parts.append(first[row] + offset - (ends - size)[row])
    ordered: Ints = np.sort(np.concatenate(parts))
    lines: Ints = ordered[np.diff(ordered, prepend=-1) != 0]
    draw.shuffle(lines)
    return lines


def _inside(lines: Ints, ranges: Records, roles: tuple[Role, ...]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which lines lie in a range of one of these roles."""
    inside = np.zeros(len(lines), np.bool_)
    rows = ranges[np.isin(ranges["role"], [int(role) for role in roles])]
    if len(rows) == 0:
        return inside
    order = np.argsort(rows["pa"])
    first = (rows["pa"][order] >> np.uint64(6)).astype(np.int64)
    last = ((rows["pa"] + rows["size"])[order] >> np.uint64(6)).astype(np.int64)
    reach = np.maximum.accumulate(last)
    at = np.searchsorted(first, lines, side="right") - 1
    inside[at >= 0] = lines[at >= 0] < reach[at[at >= 0]]
    return inside


def _drop_duplicates(state: State, config: CoreConfig) -> None:
    """Leave each line in the level nearest to the core only; under an inclusive L2, L1D starts empty."""
    above: Ints = np.zeros(0, np.int64)
    for row in range(3):
        tags, held = level_ways(state, row).tags, level_ways(state, row).held
        gone = np.isin(held, above) & (tags != 0)
        if LEVEL_NAMES[row] == "l1d" and config.l2.inclusion == Inclusion.INCLUSIVE:
            gone = tags != 0
        tags[gone] = 0
        above = np.concatenate([above, held[tags != 0]])
