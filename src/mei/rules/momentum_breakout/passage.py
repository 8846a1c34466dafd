"""The first bar at which prices reach a level: a tree of lows over blocks of bars, searched instead of the bars.

Lows of lows need no rounding, so a search finds the very bar that a scan bar by bar finds. The first bar whose high
reaches a level is that whose negated high is at or below the negated level.
"""

from mei.model.bars import FloatArray, IntArray

#: Nodes of a block, which lie below one node; and the logarithm of their number to the base 2.
BLOCK, BLOCK_BITS = 8, 3


def level_starts(n_values: int) -> list[int]:
    """Where each level of a tree of so many values begins, and the end; each is padded to whole blocks."""
    starts = [0]
    size = n_values
    while True:
        n_blocks = (size + BLOCK - 1) // BLOCK
        starts.append(starts[-1] + n_blocks * BLOCK)
        if n_blocks <= 1:
            return starts
        size = n_blocks


def grow(nodes: FloatArray, starts: IntArray) -> None:
    """Fill the levels above the values: the lowest of each block. What is padding must be infinite, and stays so."""
    for level in range(1, len(starts) - 1):
        below, first = starts[level - 1], starts[level]
        for node in range((first - below) // BLOCK):
            child = below + node * BLOCK
            lowest = nodes[child]
            for i in range(child + 1, child + BLOCK):
                if nodes[i] < lowest:
                    lowest = nodes[i]
            nodes[first + node] = lowest


def first_at_or_below(
    nodes: FloatArray, starts: IntArray, n_values: int, first: int, level_px: float
) -> int:
    """The first value from number `first` on that is at or below `level_px`; n_values if there is none."""
    level = 0
    node = first
    place, hit = 0, BLOCK
    while hit == BLOCK:
        if level + 1 >= len(starts) or starts[level] + node >= starts[level + 1]:
            return n_values
        place = node & (BLOCK - 1)
        hit = first_in_block(nodes, starts[level] + node - place, place, level_px)
        if hit == BLOCK:
            node = (node >> BLOCK_BITS) + 1
            level += 1
    node = node - place + hit
    while level > 0:
        level -= 1
        node = node << BLOCK_BITS
        node += first_in_block(nodes, starts[level] + node, 0, level_px)
    return node


def first_in_block(nodes: FloatArray, block: int, first: int, level_px: float) -> int:
    """The first node at or below the level among a block's, from place `first` on; BLOCK if there is none.

    All of them are looked at, the last one first: a branch that cannot be foreseen would take longer.
    """
    hit = BLOCK
    for back in range(BLOCK):
        place = BLOCK - 1 - back
        hit = place if (place >= first) & (nodes[block + place] <= level_px) else hit
    return hit
