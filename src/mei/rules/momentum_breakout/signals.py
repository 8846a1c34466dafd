"""Signals at the close of the newest of `n_bars` bars: 1 long, -1 short, 0 none.

`high`, `low`, `close`: arrays of shape (>= n_bars,), float64, quote per base, in time order.
"""

from math import sqrt

import numpy as np
import numpy.typing as npt

from mei.model.bars import FloatArray

#: One signal a bar: 1, -1 or 0.
SideArray = npt.NDArray[np.int8]


def channel_signal(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    n_bars: int,
    lookback: int,
    breakout_bps: float,
    allow_short: bool,
) -> int:
    """Close beyond the channel of the `lookback` bars before the newest one; 0 with fewer earlier bars."""
    newest = n_bars - 1
    if newest < lookback:
        return 0
    highest = high[newest - lookback]
    lowest = low[newest - lookback]
    for i in range(newest - lookback + 1, newest):
        if high[i] > highest:
            highest = high[i]
        if low[i] < lowest:
            lowest = low[i]
    return channel_side(close[newest], highest, lowest, breakout_bps, allow_short)


def channel_side(
    close_px: float, highest: float, lowest: float, breakout_bps: float, allow_short: bool
) -> int:
    """The signal of a close against a channel; a channel of NaN has none."""
    if close_px > highest * (1.0 + breakout_bps / 1e4):
        return 1
    if allow_short and close_px < lowest * (1.0 - breakout_bps / 1e4):
        return -1
    return 0


def zscore_signal(
    close: FloatArray, n_bars: int, lookback: int, breakout_z: float, allow_short: bool
) -> int:
    """z of the newest close among the last `lookback` closes beyond the threshold; 0 with too few or no spread.

    Needs `lookback` earlier bars like the channel; mean and sample deviation (n - 1) are plain loops in time order.
    """
    newest = n_bars - 1
    if newest < lookback or lookback < 2:
        return 0
    total = 0.0
    for i in range(n_bars - lookback, n_bars):
        total += close[i]
    mean = total / lookback
    squares = 0.0
    for i in range(n_bars - lookback, n_bars):
        squares += (close[i] - mean) * (close[i] - mean)
    deviation = sqrt(squares / (lookback - 1))
    if deviation == 0.0:
        return 0
    return zscore_side((close[newest] - mean) / deviation, breakout_z, allow_short)


def zscore_side(z: float, breakout_z: float, allow_short: bool) -> int:
    """The signal of a z-score; NaN has none."""
    if z > breakout_z:
        return 1
    if allow_short and z < -breakout_z:
        return -1
    return 0


def channel_sides(
    close: FloatArray,
    highest: FloatArray,
    lowest: FloatArray,
    breakout_bps: float,
    allow_short: bool,
    out: SideArray,
) -> None:
    """out[t] = the signal of bar t against its channel (`windows.highest_before`); shapes (n_bars,)."""
    for t in range(len(close)):
        out[t] = channel_side(close[t], highest[t], lowest[t], breakout_bps, allow_short)


def zscore_sides(z: FloatArray, breakout_z: float, allow_short: bool, out: SideArray) -> None:
    """out[t] = the signal of bar t from its z-score (`windows.z_scores`); shapes (n_bars,)."""
    for t in range(len(z)):
        out[t] = zscore_side(z[t], breakout_z, allow_short)
