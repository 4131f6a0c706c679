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
