"""Slow and obvious twins of the kernels: lists and dictionaries, no time."""

import math


class Level:
    """One cache level: sets of lines in a list, with the replacement written out as its definition says."""

    def __init__(self, sets, ways, policy):
        self.sets, self.ways, self.policy = sets, ways, policy
        self.lines = [[None] * ways for _ in range(sets)]
        self.order = [[] for _ in range(sets)]  # of ways: least recent (or first in) first
        self.distance = [[0] * ways for _ in range(sets)]
        self.bits = [[0] * (2 * ways) for _ in range(sets)]
        self.hits = self.misses = self.evictions = 0

    def access(self, line):
        index = line % self.sets
        row = self.lines[index]
        if line in row:
            self.hits += 1
            way = row.index(line)
            if self.policy == "lru":
                self.order[index].remove(way)
                self.order[index].append(way)
            elif self.policy == "srrip":
                self.distance[index][way] = 0
            elif self.policy == "tree-plru":
                self.point_away(index, way)
            return
        self.misses += 1
        way = self.choose(index)
        if row[way] is not None:
            self.evictions += 1
        row[way] = line
        if self.policy in ("lru", "fifo"):
            if way in self.order[index]:
                self.order[index].remove(way)
            self.order[index].append(way)
        elif self.policy == "srrip":
            self.distance[index][way] = 2
        elif self.policy == "tree-plru":
            self.point_away(index, way)

    def choose(self, index):
        row = self.lines[index]
        if None in row:
            return row.index(None)
        if self.policy in ("lru", "fifo"):
            return self.order[index][0]
        if self.policy == "srrip":
            while 3 not in self.distance[index]:
                self.distance[index] = [distance + 1 for distance in self.distance[index]]
            return self.distance[index].index(3)
        node, way = 1, 0
        for _ in range(int(math.log2(self.ways))):
            bit = self.bits[index][node]
            node, way = 2 * node + bit, 2 * way + bit
        return way

    def drop(self, line):
        row = self.lines[line % self.sets]
        if line in row:
            row[row.index(line)] = None

    def point_away(self, index, way):
        node = 1
        for level in reversed(range(int(math.log2(self.ways)))):
            bit = (way >> level) & 1
            self.bits[index][node] = 1 - bit
            node = 2 * node + bit


class FullTlb:
    """A fully associative LRU TLB over pages."""

    def __init__(self, entries):
        self.entries, self.pages, self.misses = entries, [], 0

    def access(self, page):
        if page in self.pages:
            self.pages.remove(page)
        else:
            self.misses += 1
            if len(self.pages) == self.entries:
                self.pages.pop(0)
        self.pages.append(page)


class DirtyLevel(Level):
    """A level that knows which of its lines are dirty, and tells what had to go."""

    def __init__(self, sets, ways):
        super().__init__(sets, ways, "lru")
        self.dirty = set()

    def touch(self, line, *, dirty=False):
        """Use or bring in a line; returns the dirty line that had to go for it, or None."""
        before = list(self.lines[line % self.sets])
        self.access(line)
        gone = [held for held in before if held is not None and held not in self.lines[line % self.sets]]
        lost = gone[0] if gone and gone[0] in self.dirty else None
        self.dirty -= set(gone)
        if dirty:
            self.dirty.add(line)
        return lost

    def at(self, index, way):
        return self.lines[index][way]

    def drop(self, line):
        super().drop(line)
        self.dirty.discard(line)


class DirtyHierarchy:
    """L1 over L2 over memory, neither inclusive: cached stores and maintenance by set and way."""

    def __init__(self, l1, l2):
        self.levels = [DirtyLevel(*l1), DirtyLevel(*l2)]
        self.lost = []

    def store(self, line):
        l1, l2 = self.levels
        if not any(line in row for row in l1.lines):
            l2.touch(line)
        self.to_l2(l1.touch(line, dirty=True))

    def to_l2(self, line):
        if line is not None:
            self.levels[1].touch(line, dirty=True)

    def set_way(self, kind, level, index, way):
        if level >= 2 or index >= self.levels[level].sets or way >= self.levels[level].ways:
            return
        here = self.levels[level]
        line = here.at(index, way)
        if line is None:
            return
        dirty = line in here.dirty
        here.dirty.discard(line)
        if kind != "CSW":
            here.drop(line)
        if dirty and kind == "ISW":
            self.lost.append(line)
        elif dirty and level == 0:
            self.to_l2(line)

    def dirty(self):
        return sorted(self.levels[0].dirty | self.levels[1].dirty)


class TaggedTlb:
    """A fully associative LRU TLB whose entries have a regime, an ASID (None: global) and a leaf of pages."""

    def __init__(self, entries):
        self.entries, self.held, self.misses = entries, [], 0

    def access(self, regime, asid, page, *, is_global, leaf_pages):
        for entry in self.held:
            if entry["regime"] == regime and entry["page"] == page and entry["asid"] in (None, asid):
                self.held.remove(entry)
                self.held.append(entry)
                return
        self.misses += 1
        if len(self.held) == self.entries:
            self.held.pop(0)
        first = page // leaf_pages * leaf_pages
        self.held.append(
            {
                "regime": regime,
                "asid": None if is_global else asid,
                "page": page,
                "leaf": range(first, first + leaf_pages),
            }
        )

    def drop(self, regimes, *, page=None, asid=None, globals_too=True):
        def named(entry):
            return (
                entry["regime"] in regimes
                and (page is None or page in entry["leaf"])
                and (asid is None or entry["asid"] == asid or (entry["asid"] is None and globals_too))
            )

        self.held = [entry for entry in self.held if not named(entry)]
