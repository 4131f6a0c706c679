"""LRU stacks: one pass over a stream of lines gives the hits of every associativity (Mattson and others, 1970).

Among the lines of one set, an access at distance d (d - 1 other lines since the last one) hits with d ways or more.
An invalidated line leaves a hole, an invalid way to every associativity that reaches down to it: the next access from
below it, or from memory, takes the hole instead of pushing the rest down. An access from below a hole leaves its own
hole behind, for the associativities that it hits in have as many lines as they had.

Most lines of a copy are accessed once. Which one of them pushes a set's stack down is all the same, so that they come
as runs of lines, and each set counts them until something else happens to it.
"""

import numpy as np
from numba import njit

from caches.views import inlined

AGAIN, FIRST, INVALIDATE = 0, 1, 2
"""What an event is: an access to a line that may be held, to one that is held nowhere, an invalidation. A negative
number -n: the accesses to n lines in a row that are held nowhere, and never accessed again."""

HOLE, ANY = -1, -2
"""In a stack: an invalid way; a line that is never asked for. Lines are there as number + 1, and 0 is nothing yet."""

HEAD, HOLES, PENDING = 0, 1, 2


@inlined
def add_pending(words, first, count):
    """Count a run of lines at the sets that they fall into."""
    while count > 0:
        stop = min(first + count, len(words))
        count -= stop - first
        for index in range(first, stop):
            words[index, PENDING] += 1
        first = 0


@inlined
def position(stacks, words, index, wanted):
    """Where a set's stack has that word; the depth if it does not."""
    depth = stacks.shape[1]
    mask = depth - 1
    head = words[index, HEAD]
    for at in range(depth):
        held = stacks[index, (head + at) & mask]
        if held == wanted:
            return at
        if held == 0:
            break
    return depth


@inlined
def push(stacks, words, index, found, line):
    """Put a line on top of its set's stack, from position `found` or, at the depth, from memory."""
    depth = stacks.shape[1]
    mask = depth - 1
    head = words[index, HEAD]
    if words[index, HOLES] > 0:
        hole = position(stacks, words, index, HOLE)
        if hole < found:
            if found < depth:
                stacks[index, (head + found) & mask] = HOLE
            else:
                words[index, HOLES] -= 1
            found = hole
    if found == depth:
        head = (head - 1) & mask
        words[index, HEAD] = head
    else:
        for at in range(found, 0, -1):
            stacks[index, (head + at) & mask] = stacks[index, (head + at - 1) & mask]
    stacks[index, head] = line


@inlined
def push_pending(stacks, words, index):
    """Put on a set's stack what was only counted."""
    depth = stacks.shape[1]
    for _ in range(min(words[index, PENDING], depth + words[index, HOLES])):
        push(stacks, words, index, depth, ANY)
    words[index, PENDING] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def find_positions(places, lines, kinds, stacks, words, found):
    """Write each event's position in its set's stack, 0 being the top; the depth: beyond it, or not there.

    The set is the place modulo the number of sets; lines: numbered from 0 on. stacks: zeros[sets, depth], the depth a
    power of two; words: zeros[sets, 3].
    """
    sets, depth = stacks.shape
    # Half of a division's time is most of an event's.
    inverse = 1.0 / sets
    for event in range(len(lines)):
        kind = kinds[event]
        index = places[event] - np.int64(places[event] * inverse) * sets
        if index < 0:
            index += sets
        elif index >= sets:
            index -= sets
        if kind < 0:
            add_pending(words, index, -kind)
            continue
        if words[index, PENDING] > 0:
            push_pending(stacks, words, index)
        wanted = lines[event] + 1
        at = depth
        if kind != FIRST:
            at = position(stacks, words, index, wanted)
            found[event] = at
        if kind != INVALIDATE:
            push(stacks, words, index, at, wanted)
        elif at < depth:
            stacks[index, (words[index, HEAD] + at) & (depth - 1)] = HOLE
            words[index, HOLES] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def add(tree, at, change):
    """Add to one place of a Fenwick tree, whose first word is unused."""
    at += 1
    while at < len(tree):
        tree[at] += change
        at += at & -at


@njit(cache=True, nogil=True, error_model="numpy")
def total(tree, at):
    """Return the sum of the places before `at`."""
    found = 0
    while at > 0:
        found += tree[at]
        at -= at & -at
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def last_hole(tree, size):
    """Return the last place of a Fenwick tree of ones that has one; -1 if there is none."""
    if size == 0:
        return -1
    at = 0
    step = 1
    while step * 2 < len(tree):
        step *= 2
    wanted = size
    while step > 0:
        if at + step < len(tree) and tree[at + step] < wanted:
            at += step
            wanted -= tree[at]
        step //= 2
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def find_depths(lines, kinds, when, tree, holes, found):
    """Write each event's position in one stack without an end (Bennett and Kruskal, 1975); -1: not there.

    lines: numbered from 0 on; when: -1 for each of them; tree, holes: zeros, one more than there are accesses.
    """
    now, held, hole_count = 0, 0, 0
    for event in range(len(lines)):
        kind = kinds[event]
        line = lines[event]
        if kind == INVALIDATE:
            if when[line] >= 0:
                add(holes, when[line], 1)
                hole_count += 1
                when[line] = -1
            continue
        before = -1
        if kind == AGAIN:
            before = when[line]
        if before >= 0:
            found[event] = held - total(tree, before + 1)
        for _ in range(max(1, -kind)):
            hole = last_hole(holes, hole_count)
            gone = before
            if hole > before:
                gone = hole
                add(holes, hole, -1)
                hole_count -= 1
                if before >= 0:
                    add(holes, before, 1)
                    hole_count += 1
            if gone >= 0:
                add(tree, gone, -1)
                held -= 1
            add(tree, now, 1)
            held += 1
            if kind >= 0:
                when[line] = now
            now += 1
