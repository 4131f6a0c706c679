"""LRU stacks: one pass over a stream of lines gives the hits of every associativity (Mattson and others, 1970).

Among the lines of one set, an access at distance d (d - 1 other lines since the last one) hits with d ways or more.
An invalidated line leaves a hole, an invalid way to every associativity that reaches down to it: the next access from
below it, or from memory, takes the hole instead of pushing the rest down. An access from below a hole leaves its own
hole behind, for the associativities that it hits in have as many lines as they had.
"""

from numba import njit

FIRST, INVALIDATE = 1, 2
"""What an event is, in its two low bits: an access, the first ever to its line, or an invalidation; above: the line."""

HOLE = -1


@njit(cache=True, nogil=True, error_model="numpy")
def count_distances(events, sets, stacks, words, counts):
    """Count the accesses at each distance, counts[0] being distance 1; the last counts those beyond the stacks.

    stacks: zeros[sets, depth], the depth a power of two, line + 1 in each place; words: zeros[sets, 2], where a set's
    stack begins and how many holes it has.
    """
    depth = stacks.shape[1]
    mask = depth - 1
    for event in events:
        line = event >> 2
        index = line % sets
        stack = stacks[index]
        head = words[index, 0]
        found = depth
        hole = depth
        if event & 3 != FIRST:
            for at in range(depth):
                held = stack[(head + at) & mask]
                if held == line + 1:
                    found = at
                    break
                if held == 0:
                    break
        if event & 3 == INVALIDATE:
            if found < depth:
                stack[(head + found) & mask] = HOLE
                words[index, 1] += 1
            continue
        counts[found] += 1
        if words[index, 1] > 0:
            for at in range(found):
                if stack[(head + at) & mask] == HOLE:
                    hole = at
                    break
        if hole < depth:
            if found < depth:
                stack[(head + found) & mask] = HOLE
            else:
                words[index, 1] -= 1
            found = hole
        if found == depth:
            head = (head - 1) & mask
            words[index, 0] = head
        else:
            for at in range(found, 0, -1):
                stack[(head + at) & mask] = stack[(head + at - 1) & mask]
        stack[head] = line + 1
