"""What the signal compares with, for every bar of one symbol at once; each number is that of the bar-by-bar rule.

A maximum does not depend on the order it is taken in, so the channel takes a fixed number of steps a bar whatever the
lookback. A float sum does, so every window is summed from its oldest close to its newest; many windows advance
together. Arrays are float64 of shape (n_bars,), in time order; NaN stands where the signal is not defined.
"""

from math import nan, sqrt

from mei.model.bars import FloatArray

#: Windows that are summed together: their sums stay in the nearest cache.
CHUNK_BARS = 512


def highest_before(values: FloatArray, lookback: int, tail: FloatArray, out: FloatArray) -> None:
    """out[t] = the largest of the `lookback` values before t; `tail` is scratch of the same shape.

    A window spans two blocks of `lookback` bars at most: the tail of one and the head of the next. The lowest is the
    highest of the negated values, negated: no bit is lost.
    """
    n = len(values)
    _largest_to_block_end(values, lookback, tail)
    head = nan
    in_block = 0
    for t in range(n):
        out[t] = nan
        if t >= lookback:
            out[t] = tail[t - lookback] if tail[t - lookback] > head else head
        if in_block == 0 or values[t] > head:
            head = values[t]
        in_block += 1
        if in_block == lookback:
            in_block = 0


def _largest_to_block_end(values: FloatArray, lookback: int, tail: FloatArray) -> None:
    n = len(values)
    for start in range(0, n, lookback):
        end = start + lookback
        if end > n:
            end = n
        largest = values[end - 1]
        for back in range(end - start):
            i = end - 1 - back
            if values[i] > largest:
                largest = values[i]
            tail[i] = largest


def z_scores(
    close: FloatArray, lookback: int, means: FloatArray, squares: FloatArray, out: FloatArray
) -> None:
    """out[t] = z of close[t] among the last `lookback` closes; NaN with too few bars or no spread.

    means, squares: scratch of CHUNK_BARS values. lookback: 2 or more.
    """
    n = len(close)
    for t in range(lookback if lookback < n else n):
        out[t] = nan
    for first in range(lookback, n, len(means)):
        m = n - first if n - first < len(means) else len(means)
        for i in range(m):
            means[i] = 0.0
            squares[i] = 0.0
        oldest = first - lookback + 1
        for j in range(lookback):
            _add(close[oldest + j : oldest + j + m], means[:m])
        for i in range(m):
            means[i] = means[i] / lookback
        for j in range(lookback):
            _add_squares(close[oldest + j : oldest + j + m], means[:m], squares[:m])
        for i in range(m):
            deviation = sqrt(squares[i] / (lookback - 1))
            if deviation == 0.0:
                out[first + i] = nan
            else:
                out[first + i] = (close[first + i] - means[i]) / deviation


def _add(values: FloatArray, totals: FloatArray) -> None:
    for i in range(len(totals)):
        totals[i] += values[i]


def _add_squares(values: FloatArray, means: FloatArray, totals: FloatArray) -> None:
    for i in range(len(totals)):
        difference = values[i] - means[i]
        totals[i] += difference * difference
