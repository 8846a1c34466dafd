"""The lowest and the highest of any stretch of values in a fixed number of steps."""

from typing import NamedTuple

import numpy as np

from mei.model.bars import FloatArray
from mei.rules.momentum_breakout.records import Record, RecordArray

#: Values of a block, and its logarithm to the base 2.
BLOCK, BLOCK_BITS = 32, 5

#: A value; the extremes from it to the end of its block, and from the start of its block to it.
PLACE_DTYPE = np.dtype(
    [
        ("value", "<f8"),
        ("low_from_here", "<f8"),
        ("high_from_here", "<f8"),
        ("low_to_here", "<f8"),
        ("high_to_here", "<f8"),
    ]
)

#: The extremes of a run of blocks; log2: floor of the logarithm of a number, see `Ranges`.
BLOCKS_DTYPE = np.dtype([("low", "<f8"), ("high", "<f8"), ("log2", "<i8")])


class Ranges(NamedTuple):
    """places: PLACE_DTYPE, (n_values,). blocks: BLOCKS_DTYPE, n_levels rows of n_blocks one after another: number b of
    row i is of 2 ** i blocks from block b on; in row 0, log2 is that of b.
    """

    places: RecordArray
    blocks: RecordArray
    n_blocks: int


def n_blocks_of(n_values: int) -> int:
    """Blocks of so many values, the last one may be short."""
    return (n_values + BLOCK - 1) // BLOCK


def n_levels_of(n_blocks: int) -> int:
    """Rows of `Ranges.blocks`."""
    n_levels = 1
    while 1 << n_levels <= n_blocks:
        n_levels += 1
    return n_levels


def measure(values: FloatArray, ranges: Ranges) -> None:
    """Fill the places and blocks."""
    places = ranges.places
    n = len(values)
    for i in range(n):
        place = places[i]
        place.value = values[i]
        place.low_to_here, place.high_to_here = values[i], values[i]
        if i % BLOCK != 0:
            widen_to_here(place, places[i - 1])
    for back in range(n):
        i = n - 1 - back
        place = places[i]
        place.low_from_here, place.high_from_here = values[i], values[i]
        if i + 1 < n and (i + 1) % BLOCK != 0:
            widen_from_here(place, places[i + 1])
    measure_blocks(ranges)


def widen_to_here(place: Record, before: Record) -> None:
    """Take in what lies before a place in its block."""
    if before.low_to_here < place.low_to_here:
        place.low_to_here = before.low_to_here
    if before.high_to_here > place.high_to_here:
        place.high_to_here = before.high_to_here


def widen_from_here(place: Record, after: Record) -> None:
    """Take in what lies after a place in its block."""
    if after.low_from_here < place.low_from_here:
        place.low_from_here = after.low_from_here
    if after.high_from_here > place.high_from_here:
        place.high_from_here = after.high_from_here


def measure_blocks(ranges: Ranges) -> None:
    """Fill the blocks, whose places are there already."""
    blocks, n_blocks = ranges.blocks, ranges.n_blocks
    for number in range(n_blocks):
        first = ranges.places[number * BLOCK]
        block = blocks[number]
        block.low, block.high = first.low_from_here, first.high_from_here
        block.log2 = 0 if number < 2 else blocks[number >> 1].log2 + 1
    level = 1
    while 1 << level <= n_blocks:
        half = 1 << (level - 1)
        for number in range(n_blocks - 2 * half + 1):
            left = blocks[(level - 1) * n_blocks + number]
            right = blocks[(level - 1) * n_blocks + number + half]
            both = blocks[level * n_blocks + number]
            both.low = right.low if right.low < left.low else left.low
            both.high = right.high if right.high > left.high else left.high
        level += 1


def extremes_in(ranges: Ranges, first: int, last: int) -> tuple[float, float]:
    """Lowest and highest of values number `first` to `last`, both included; first <= last."""
    first_block, last_block = first >> BLOCK_BITS, last >> BLOCK_BITS
    if first_block == last_block:
        return extremes_of_few(ranges, first, last)
    left, right = ranges.places[first], ranges.places[last]
    low = right.low_to_here if right.low_to_here < left.low_from_here else left.low_from_here
    high = right.high_to_here if right.high_to_here > left.high_from_here else left.high_from_here
    n_between = last_block - first_block - 1
    if n_between > 0:
        level = ranges.blocks[n_between].log2
        row = level * ranges.n_blocks
        before = ranges.blocks[row + first_block + 1]
        after = ranges.blocks[row + last_block - (1 << level)]
        low = before.low if before.low < low else low
        high = before.high if before.high > high else high
        low = after.low if after.low < low else low
        high = after.high if after.high > high else high
    return low, high


def extremes_of_few(ranges: Ranges, first: int, last: int) -> tuple[float, float]:
    """The same within one block, value by value."""
    low = ranges.places[first].value
    high = low
    for i in range(first + 1, last + 1):
        value = ranges.places[i].value
        low = value if value < low else low
        high = value if value > high else high
    return low, high
