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

from caches.lanes import lowest
from caches.views import inlined

AGAIN, FIRST, INVALIDATE = 0, 1, 2
"""What an event is: an access to a line that may be held, to one that is held nowhere, an invalidation. A negative
number -n: the accesses to n lines in a row that are held nowhere, and never accessed again."""

DEPTH = 32
"""The most ways that a level may have: lines of a stack, a ring of its set's."""

ANY = -1
"""In a stack: a line that is never asked for. Lines are there as number + 1, and 0 is nothing yet. What is left in a
hole is not looked for: its line is held above it, or nowhere."""

HEAD, HOLES, PENDING = 0, 1, 2
"""What is kept of a set: where in its ring the stack begins; a bit for each place in the ring that is a hole; how many
lines that are never asked for are still to be pushed."""


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
def position(stacks, index, head, wanted):
    """Where a set's stack has that word; DEPTH if it does not."""
    for at in range(DEPTH):
        held = stacks[index, (head + at) % DEPTH]
        if held == wanted:
            return at
        if held == 0:
            break
    return DEPTH


@inlined
def top_hole(holes, head):
    """Position of the hole next to the top; there must be one."""
    return lowest((holes >> head | holes << (DEPTH - head)) & ((1 << DEPTH) - 1))


@inlined
def put_on_top(stacks, index, head, found, word):
    """Move what lies above position `found` down into it, and put a word on top."""
    for at in range(found, 0, -1):
        stacks[index, (head + at) % DEPTH] = stacks[index, (head + at - 1) % DEPTH]
    stacks[index, head] = word


@inlined
def push_new(stacks, words, index, count, word):
    """Push a word from memory so many times: into holes, the top one first, then onto the stack."""
    head, holes = words[index, HEAD], words[index, HOLES]
    while count > 0 and holes != 0:
        hole = top_hole(holes, head)
        holes &= ~(1 << (head + hole) % DEPTH)
        put_on_top(stacks, index, head, hole, word)
        count -= 1
    for _ in range(min(count, DEPTH)):
        head = (head - 1) % DEPTH
        stacks[index, head] = word
    words[index, HEAD], words[index, HOLES] = head, holes


@inlined
def push_held(stacks, words, index, found, word):
    """Push the word at position `found`: into the hole above it, if there is one, leaving its own place as a hole."""
    head, holes = words[index, HEAD], words[index, HOLES]
    hole = top_hole(holes, head) if holes != 0 else DEPTH
    if hole < found:
        words[index, HOLES] = (holes | 1 << (head + found) % DEPTH) & ~(1 << (head + hole) % DEPTH)
        found = hole
    put_on_top(stacks, index, head, found, word)


@njit(cache=True, nogil=True, error_model="numpy")
def find_positions(places, lines, kinds, stacks, words, found):
    """Write each event's position in its set's stack, 0 being the top; DEPTH: beyond it, or not there.

    The set is the place modulo the number of sets; lines: numbered from 0 on. stacks: zeros[sets, DEPTH]; words:
    zeros[sets, 3].
    """
    sets = len(stacks)
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
            push_new(stacks, words, index, words[index, PENDING], ANY)
            words[index, PENDING] = 0
        wanted = lines[event] + 1
        at = DEPTH
        if kind != FIRST:
            at = position(stacks, index, words[index, HEAD], wanted)
            found[event] = at
        if kind != INVALIDATE:
            if at == DEPTH:
                push_new(stacks, words, index, 1, wanted)
            else:
                push_held(stacks, words, index, at, wanted)
        elif at < DEPTH:
            words[index, HOLES] |= 1 << (words[index, HEAD] + at) % DEPTH


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
