"""Indicators of one symbol as columns (specification part 1, section C).

Every function fills rows `start` to `end - 1` of its output columns and may be called again for the rows that
follow: bar by bar or for a whole history, with the same bits. `first` is the row of the symbol's first bar; rows
before `start` must be filled. Arrays are float64 of shape (n_rows,), prices in quote per base. What a recursion
needs beyond its own output column lives in a record of INDICATOR_STATE_DTYPE. A window's sum runs from its oldest
value to its newest, in a plain loop; a block of rows is summed at a time, which lets the machine add several rows
at once without touching that order.
"""

from math import sqrt
from typing import Any

import numpy as np

from mei.model.bars import FloatArray

#: Rows whose windows are summed side by side.
_BLOCK = 256

#: Running values of the recursions. up_dm, down_dm, tr: Wilder sums of the ADX; dx_sum, dx_count: its seed.
INDICATOR_STATE_DTYPE = np.dtype(
    [
        ("tr_sum", "<f8"),
        ("up_dm", "<f8"),
        ("down_dm", "<f8"),
        ("true_range", "<f8"),
        ("dx_sum", "<f8"),
        ("dx_count", "<i8"),
        ("gain", "<f8"),
        ("loss", "<f8"),
        ("macd_fast", "<f8"),
        ("macd_slow", "<f8"),
        ("macd_signal", "<f8"),
    ]
)


def fill_window_mean(
    values: FloatArray, first: int, start: int, end: int, window: int, mean: FloatArray
) -> None:
    """Mean of the last `window` values including the row's own; of fewer while there are fewer (C.1)."""
    row = start
    while row < end and row - first + 1 < window:
        total = 0.0
        for i in range(first, row + 1):
            total += values[i]
        mean[row] = total / (row - first + 1)
        row += 1
    while row < end:
        n_rows = end - row
        if n_rows > _BLOCK:
            n_rows = _BLOCK
        out = mean[row : row + n_rows]
        for j in range(n_rows):
            out[j] = 0.0
        for k in range(window):
            oldest = row - window + 1 + k
            add_rows(values[oldest : oldest + n_rows], out, n_rows)
        for j in range(n_rows):
            out[j] /= window
        row += n_rows


def add_rows(values: FloatArray, totals: FloatArray, n_rows: int) -> None:
    """One more value of each row's window; rows side by side, which the machine can add at once."""
    for j in range(n_rows):
        totals[j] += values[j]


def add_squares(values: FloatArray, mean: FloatArray, totals: FloatArray, n_rows: int) -> None:
    """One more squared distance from each row's mean."""
    for j in range(n_rows):
        distance = values[j] - mean[j]
        totals[j] += distance * distance


def fill_window_deviation(
    values: FloatArray,
    first: int,
    start: int,
    end: int,
    window: int,
    mean: FloatArray,
    deviation: FloatArray,
) -> None:
    """Population standard deviation of full windows around `mean`; 0 while the window is not full (C.1)."""
    row = start
    while row < end and row - first + 1 < window:
        deviation[row] = 0.0
        row += 1
    while row < end:
        n_rows = end - row
        if n_rows > _BLOCK:
            n_rows = _BLOCK
        out = deviation[row : row + n_rows]
        around = mean[row : row + n_rows]
        for j in range(n_rows):
            out[j] = 0.0
        for k in range(window):
            oldest = row - window + 1 + k
            add_squares(values[oldest : oldest + n_rows], around, out, n_rows)
        for j in range(n_rows):
            out[j] = sqrt(out[j] / window)
        row += n_rows


def fill_ema(
    values: FloatArray, first: int, start: int, end: int, window: int, ema: FloatArray
) -> None:
    """Exponential mean with alpha = 2/(window + 1), seeded with the first value (C.2)."""
    alpha = 2.0 / (window + 1.0)
    keep = 1.0 - alpha
    row = start
    if row == first and row < end:
        ema[row] = values[row]
        row += 1
    if row >= end:
        return
    last = ema[row - 1]
    for i in range(row, end):
        last = alpha * values[i] + keep * last
        ema[i] = last


def true_range(high_px: float, low_px: float, prev_close_px: float) -> float:
    """The widest of the bar's range and its distances from the previous close; NaN operands drop out (C.3)."""
    widest = high_px - low_px
    above = abs(high_px - prev_close_px)
    if above > widest or widest != widest:
        widest = above
    below = abs(low_px - prev_close_px)
    if below > widest or widest != widest:
        widest = below
    return widest


def fill_atr(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    first: int,
    start: int,
    end: int,
    window: int,
    state: Any,
    atr: FloatArray,
) -> None:
    """Average true range: mean of the true ranges up to `window` bars, Wilder's smoothing after (C.3)."""
    for row in range(start, end):
        if row == first:
            state.tr_sum = 0.0
            spread = high[row] - low[row]
        else:
            spread = true_range(high[row], low[row], close[row - 1])
        n_bars = row - first + 1
        if n_bars < window:
            state.tr_sum += spread
            atr[row] = state.tr_sum / n_bars
        elif n_bars == window:
            state.tr_sum += spread
            atr[row] = state.tr_sum / window
        else:
            atr[row] = (atr[row - 1] * (window - 1) + spread) / window


def directional_index(
    up_dm: float, down_dm: float, true_range_sum: float
) -> tuple[float, float, float]:
    """(+DI, -DI, DX) of Wilder sums, percent; zeros where a divisor is not positive (C.4)."""
    if not true_range_sum > 0.0:
        return 0.0, 0.0, 0.0
    up = up_dm / true_range_sum * 100.0
    down = down_dm / true_range_sum * 100.0
    both = up + down
    if not both > 0.0:
        return up, down, 0.0
    return up, down, abs(up - down) / both * 100.0


def fill_adx(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    first: int,
    start: int,
    end: int,
    window: int,
    state: Any,
    adx: FloatArray,
    adx_pos: FloatArray,
    adx_neg: FloatArray,
) -> None:
    """ADX and the directional indicators; 0 before `window` bars, seeded with the mean of the first DX values (C.4)."""
    for row in range(start, end):
        age = row - first
        adx[row] = 0.0
        adx_pos[row] = 0.0
        adx_neg[row] = 0.0
        if age == 0:
            clear_adx(state)
            continue
        add_directional_movement(high, low, close, row, age, window, state)
        if age < window:
            continue
        up, down, dx = directional_index(state.up_dm, state.down_dm, state.true_range)
        adx_pos[row] = up
        adx_neg[row] = down
        if age == window:
            state.dx_sum = dx
            state.dx_count = 1
            adx[row] = dx
        elif age <= 2 * window - 1 or age == window + 1:
            state.dx_sum += dx
            state.dx_count += 1
            adx[row] = state.dx_sum / (window if state.dx_count >= window else state.dx_count)
        else:
            adx[row] = (adx[row - 1] * (window - 1) + dx) / window


def clear_adx(state: Any) -> None:
    """Start the Wilder sums of a symbol."""
    state.up_dm = 0.0
    state.down_dm = 0.0
    state.true_range = 0.0
    state.dx_sum = 0.0
    state.dx_count = 0


def add_directional_movement(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    row: int,
    age: int,
    window: int,
    state: Any,
) -> None:
    """Take the bar's directional movement and true range into the Wilder sums; they decay after `window` bars (C.4)."""
    up = high[row] - high[row - 1]
    down = low[row - 1] - low[row]
    up_dm = up if up > down and up > 0.0 else 0.0
    down_dm = down if down > up and down > 0.0 else 0.0
    spread = true_range(high[row], low[row], close[row - 1])
    if age > window:
        state.up_dm = state.up_dm - state.up_dm / window + up_dm
        state.down_dm = state.down_dm - state.down_dm / window + down_dm
        state.true_range = state.true_range - state.true_range / window + spread
    else:
        state.up_dm += up_dm
        state.down_dm += down_dm
        state.true_range += spread


def fill_rsi(
    close: FloatArray, first: int, start: int, end: int, window: int, state: Any, rsi: FloatArray
) -> None:
    """Relative strength index, 0 to 100; 50 before `window` changes, 100 when there was no loss (C.5)."""
    for row in range(start, end):
        n_changes = row - first
        rsi[row] = 50.0
        if n_changes == 0:
            state.gain = 0.0
            state.loss = 0.0
            continue
        change = close[row] - close[row - 1]
        gain = change if change > 0.0 else 0.0
        loss = -change if change < 0.0 else 0.0
        if n_changes > window:
            state.gain = (state.gain * (window - 1) + gain) / window
            state.loss = (state.loss * (window - 1) + loss) / window
        else:
            state.gain += gain
            state.loss += loss
            if n_changes < window:
                continue
            state.gain /= window
            state.loss /= window
        if state.loss == 0.0:
            rsi[row] = 100.0
        else:
            rsi[row] = 100.0 - 100.0 / (1.0 + state.gain / state.loss)


def fill_stochastic(
    values: FloatArray, first: int, start: int, end: int, window: int, raw: FloatArray
) -> None:
    """Where a value lies in the range of its last `window` values, 0 to 1; 0.5 without range or a full window (C.6)."""
    for row in range(start, end):
        raw[row] = 0.5
        if row - first + 1 < window:
            continue
        highest = values[row - window + 1]
        lowest = highest
        for i in range(row - window + 2, row + 1):
            if values[i] > highest:
                highest = values[i]
            if values[i] < lowest:
                lowest = values[i]
        spread = highest - lowest
        if spread > 0.0:
            raw[row] = (values[row] - lowest) / spread


def fill_smoothed_stochastic(
    raw: FloatArray, first_full: int, start: int, end: int, window: int, smooth: FloatArray
) -> None:
    """Mean of the last `window` values since row `first_full`; 0.5 before (C.6)."""
    begin = start
    while begin < end and begin < first_full:
        smooth[begin] = 0.5
        begin += 1
    fill_window_mean(raw, first_full, begin, end, window, smooth)


def fill_macd(
    close: FloatArray, first: int, start: int, end: int, state: Any, histogram: FloatArray
) -> None:
    """Histogram of MACD 12/26/9: line minus its signal, quote per base (C.7)."""
    fast_alpha, slow_alpha, signal_alpha = 2.0 / 13.0, 2.0 / 27.0, 2.0 / 10.0
    fast_keep, slow_keep, signal_keep = 1.0 - fast_alpha, 1.0 - slow_alpha, 1.0 - signal_alpha
    fast, slow, signal = state.macd_fast, state.macd_slow, state.macd_signal
    for row in range(start, end):
        if row == first:
            fast = close[row]
            slow = close[row]
            signal = fast - slow
        else:
            fast = fast_alpha * close[row] + fast_keep * fast
            slow = slow_alpha * close[row] + slow_keep * slow
            signal = signal_alpha * (fast - slow) + signal_keep * signal
        histogram[row] = (fast - slow) - signal
    state.macd_fast = fast
    state.macd_slow = slow
    state.macd_signal = signal


def fill_bands(
    close: FloatArray,
    start: int,
    end: int,
    mean: FloatArray,
    deviation: FloatArray,
    upper: FloatArray,
    lower: FloatArray,
    width: FloatArray,
) -> None:
    """Bollinger bands of two deviations and their width as a fraction of the close (C.8)."""
    for row in range(start, end):
        upper[row] = mean[row] + 2.0 * deviation[row]
        lower[row] = mean[row] - 2.0 * deviation[row]
        width[row] = (upper[row] - lower[row]) / close[row] if close[row] > 0.0 else 0.0


def fill_ratio(
    values: FloatArray, start: int, end: int, average: FloatArray, ratio: FloatArray
) -> None:
    """Value over its average, 1 when the average is not positive (C.8)."""
    for row in range(start, end):
        ratio[row] = values[row] / average[row] if average[row] > 0.0 else 1.0


def fill_slope(
    ema: FloatArray,
    close: FloatArray,
    first: int,
    start: int,
    end: int,
    window: int,
    slope: FloatArray,
) -> None:
    """Change of the slow EMA over window - 1 bars as a fraction of the close; 0 without enough bars (C.12)."""
    for row in range(start, end):
        slope[row] = 0.0
        if row - first + 1 >= window and close[row] > 0.0:
            slope[row] = (ema[row] - ema[row - window + 1]) / close[row]
