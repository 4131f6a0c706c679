"""Sets and ways of one level: looking up, replacing, placing, dropping. No time passes here."""

from caches.kernels.layout import DIRTY, EVICTIONS, FLAGS, MISS, PREFETCH_UNUSED, PREFETCHED, WRITE_BACKS
from caches.views import inlined


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
    for index in range(first, first + ways):
        if s["tags"][index] == line + 1:
            return index
    return MISS


@inlined
def touch(s, level, index):
    """Note a use of that way, as the level's replacement has it."""
    policy = s["level_replacement"][level]
    if policy == 0:
        s["tick"] += 1
        s["lines"][index]["age"] = s["tick"]
    elif policy == 3:
        point_away(s, level, index)
    elif policy == 4:
        s["lines"][index]["age"] = 0


@inlined
def point_away(s, level, index):
    """Turn the tree bits on the way's path towards the other ways. They live in the age of the set's first way."""
    ways = s["level_ways"][level]
    at = index - s["level_base"][level]
    way = at % ways
    first = index - way
    bits = s["lines"][first]["age"]
    node = 1
    half = ways >> 1
    while half > 0:
        right = (way // half) & 1
        if right == 1:
            bits &= ~(1 << node)
        else:
            bits |= 1 << node
        node = 2 * node + right
        half >>= 1
    s["lines"][first]["age"] = bits


@inlined
def pointed_way(s, first, ways):
    """Return the way that the tree bits of a set lead to."""
    bits = s["lines"][first]["age"]
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
    for at in range(first, first + ways):
        if s["tags"][at] == 0:
            return at
    policy = s["level_replacement"][level]
    if policy <= 1:
        oldest = first
        for at in range(first + 1, first + ways):
            if s["lines"][at]["age"] < s["lines"][oldest]["age"]:
                oldest = at
        return oldest
    if policy == 2:
        return first + draw(s) % ways
    if policy == 3:
        return first + pointed_way(s, first, ways)
    return most_distant(s, first, ways)


@inlined
def most_distant(s, first, ways):
    """SRRIP: the first way predicted to be used in the distant future, ageing the set until there is one."""
    while True:
        for at in range(first, first + ways):
            if s["lines"][at]["age"] >= 3:
                return at
        for at in range(first, first + ways):
            s["lines"][at]["age"] += 1


@inlined
def place(s, level, index, line, ready, info):
    """Write a line into a way that is free to take it."""
    s["changes"] += 1
    s["tags"][index] = line + 1
    s["lines"][index]["ready"] = ready
    s["lines"][index]["info"] = info
    policy = s["level_replacement"][level]
    if policy <= 1:
        s["tick"] += 1
        s["lines"][index]["age"] = s["tick"]
    elif policy == 3:
        point_away(s, level, index)
    elif policy == 4:
        s["lines"][index]["age"] = 2


@inlined
def remove(s, level, line):
    """Drop the line from the level; return its flags, or 0 if it was not there."""
    index = lookup(s, level, line)
    if index == MISS:
        return 0
    flags = s["lines"][index]["info"] & FLAGS
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
