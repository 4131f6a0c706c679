"""Sets and ways of one level: looking up, replacing, placing, dropping. No time passes here."""

from caches.kernels.layout import (
    DIRTY,
    EVICTIONS,
    EXTENDED,
    FLAG_BITS,
    FLAGS,
    MISS,
    PREFETCH_UNUSED,
    PREFETCHED,
    WRITE_BACKS,
)
from caches.lanes import LANES, lanes_equal, lowest
from caches.views import ask, inlined


@inlined
def set_of(s, level, line):
    """Index of the line's set."""
    mask = s["level_set_mask"][level]
    if mask >= 0:
        return line & mask
    return line % s["level_sets"][level]


@inlined
def lookup(s, level, line):
    """Where the level holds the line, or MISS. Changes nothing."""
    ways = s["level_ways"][level]
    first = s["level_base"][level] + set_of(s, level, line) * ways
    return first_way(s, first, ways, ~FLAGS, (line + 1) << FLAG_BITS)


@inlined
def first_way(s, first, ways, mask, wanted):
    """Return the first of these ways whose word is `wanted` under the mask, or MISS."""
    at = first
    end = first + ways
    while at + LANES <= end:
        found = lanes_equal(s["tags"], at, mask, wanted)
        if found != 0:
            return at + lowest(found)
        at += LANES
    while at < end:
        if s["tags"][at] & mask == wanted:
            return at
        at += 1
    return MISS


@inlined
def held_line(s, index):
    """Return the line that a way holds."""
    return (s["tags"][index] >> FLAG_BITS) - 1


@inlined
def touch(s, level, index):
    """Note a use of that way, as the level's replacement has it."""
    policy = s["level_replacement"][level]
    if policy == 0:
        s["tick"] += 1
        s["ages"][index] = s["tick"]
    elif policy == 3:
        point_away(s, level, index)
    elif policy == 4:
        s["ages"][index] = 0
    elif policy == EXTENDED:
        tell(s, level, index, 0)


@inlined
def tell(s, level, index, event):
    """Tell a policy from outside (caches.extensions) that a way was used (0) or filled (1)."""
    ways = s["level_ways"][level]
    way = (index - s["level_base"][level]) % ways
    ask(s["level_extension"][level], s["ages"], index - way, event, way, ways)


@inlined
def point_away(s, level, index):
    """Turn the tree bits on the way's path towards the other ways."""
    ways = s["level_ways"][level]
    at = index - s["level_base"][level]
    tree = s["level_trees"][level] + (at >> s["level_ways_log2"][level])
    bits = s["trees"][tree]
    node = 1
    half = ways >> 1
    while half > 0:
        right = at & half != 0
        bits = bits & ~(1 << node) if right else bits | (1 << node)
        node = 2 * node + right
        half >>= 1
    s["trees"][tree] = bits


@inlined
def pointed_way(s, tree, ways):
    """Return the way that the tree bits of a set lead to."""
    bits = s["trees"][tree]
    node = 1
    way = 0
    half = ways >> 1
    while half > 0:
        right = (bits >> node) & 1
        way += right * half
        node = 2 * node + right
        half >>= 1
    return way


@inlined
def draw(s):
    """Return the next of a seeded sequence (xorshift, 31 bits)."""
    x = s["random"]
    x ^= (x << 13) & 0x7FFFFFFF
    x ^= x >> 17
    x ^= (x << 5) & 0x7FFFFFFF
    s["random"] = x
    return x


@inlined
def victim(s, level, line):
    """Return the way that the line is to take: an invalid one, else as the replacement chooses."""
    ways = s["level_ways"][level]
    index = set_of(s, level, line)
    first = s["level_base"][level] + index * ways
    free = first_way(s, first, ways, -1, 0)
    if free != MISS:
        return free
    policy = s["level_replacement"][level]
    if policy <= 1:
        oldest = first
        for at in range(first + 1, first + ways):
            if s["ages"][at] < s["ages"][oldest]:
                oldest = at
        return oldest
    if policy == 2:
        return first + draw(s) % ways
    if policy == 3:
        return first + pointed_way(s, s["level_trees"][level] + index, ways)
    if policy == EXTENDED:
        return first + ask(s["level_extension"][level], s["ages"], first, 2, 0, ways) % ways
    return most_distant(s, first, ways)


@inlined
def most_distant(s, first, ways):
    """SRRIP: the first way predicted to be used in the distant future, ageing the set until there is one."""
    while True:
        for at in range(first, first + ways):
            if s["ages"][at] >= 3:
                return at
        for at in range(first, first + ways):
            s["ages"][at] += 1


@inlined
def place(s, level, index, line, ready, info):
    """Write a line into a way that is free to take it."""
    s["changes"] += 1
    s["tags"][index] = ((line + 1) << FLAG_BITS) | (info & FLAGS)
    s["lines"][index]["ready"] = ready
    s["lines"][index]["origin"] = info >> FLAG_BITS
    policy = s["level_replacement"][level]
    if policy <= 1:
        s["tick"] += 1
        s["ages"][index] = s["tick"]
    elif policy == 3:
        point_away(s, level, index)
    elif policy == 4:
        s["ages"][index] = 2
    elif policy == EXTENDED:
        tell(s, level, index, 1)


@inlined
def remove(s, level, line):
    """Drop the line from the level; return its flags, or 0 if it was not there."""
    index = lookup(s, level, line)
    if index == MISS:
        return 0
    flags = s["tags"][index] & FLAGS
    s["tags"][index] = 0
    return flags


@inlined
def count_eviction(s, level, flags):
    """Account for a valid line that had to go."""
    s["counters"][level, EVICTIONS] += 1
    if flags & DIRTY:
        s["counters"][level, WRITE_BACKS] += 1
    if flags & PREFETCHED:
        s["counters"][level, PREFETCH_UNUSED] += 1
