"""The only implementation of features. A row is a function of the bars in its own window, bit for bit.

Every sum is a plain loop in time order over the window, never a running total: a row therefore does not depend on where
the array starts, nor on what follows it. Rows whose window does not fit into the array are NaN.
"""

from __future__ import annotations

import math

import numpy as np

from mei.jit import compiled
from mei.model.bars import BarArray, FloatArray, IntArray

#: Columns of `regime_features`, in order.
FEATURE_NAMES = ("log_return", "range", "volume_z")
RANGE_COLUMN = FEATURE_NAMES.index("range")

VOLUME_WINDOW_BARS = 60
#: Earlier bars a row of `regime_features` needs.
FEATURE_WARM_UP_BARS = 60

VOLATILITY_MEAN_BARS = 30
VOLATILITY_WINDOW_MEANS = 480
#: Earlier bars a row of `volatility_z` needs.
VOLATILITY_WARM_UP_BARS = VOLATILITY_MEAN_BARS + VOLATILITY_WINDOW_MEANS - 2

#: Bars the filter runs over before the bar it answers for.
FILTER_PRIME_BARS = 500
#: Earlier bars that make an answer of /predict independent of where its bars start.
PREDICT_WARM_UP_BARS = FILTER_PRIME_BARS + FEATURE_WARM_UP_BARS

_LANES = 64


def _log_returns(
    timestamp: IntArray,
    open_px: FloatArray,
    close_px: FloatArray,
    interval_ms: int,
    out: FloatArray,
) -> None:
    for i in range(1, out.size):
        if timestamp[i] == timestamp[i - 1] + interval_ms:
            out[i] = math.log(close_px[i] / close_px[i - 1])
        else:
            out[i] = math.log(close_px[i] / open_px[i])


def _log1p(values: FloatArray, out: FloatArray) -> None:
    for i in range(out.size):
        out[i] = math.log1p(values[i])


def _log_ratio(numerator: FloatArray, denominator: FloatArray, out: FloatArray) -> None:
    for i in range(out.size):
        out[i] = math.log(numerator[i] / denominator[i])


def _trailing_means(values: FloatArray, window: int, out: FloatArray) -> None:
    for i in range(window - 1, out.size):
        total = 0.0
        for k in range(i - window + 1, i + 1):
            total += values[k]
        out[i] = total / window


def _trailing_z(values: FloatArray, window: int, first: int, out: FloatArray) -> None:
    """Rows are lanes of the inner loops, so that the compiler works on several rows at once in the same order."""
    mean = np.empty(_LANES)
    square = np.empty(_LANES)
    low = np.empty(_LANES)
    high = np.empty(_LANES)
    for start in range(first, out.size, _LANES):
        n_lanes = min(_LANES, out.size - start)
        oldest = start - window + 1
        for lane in range(n_lanes):
            mean[lane] = 0.0
            square[lane] = 0.0
            low[lane] = values[oldest + lane]
            high[lane] = values[oldest + lane]
        for k in range(window):
            for lane in range(n_lanes):
                value = values[oldest + k + lane]
                mean[lane] += value
                low[lane] = value if value < low[lane] else low[lane]
                high[lane] = value if value > high[lane] else high[lane]
        for lane in range(n_lanes):
            mean[lane] /= window
        for k in range(window):
            for lane in range(n_lanes):
                distance = values[oldest + k + lane] - mean[lane]
                square[lane] += distance * distance
        for lane in range(n_lanes):
            std = math.sqrt(square[lane] / (window - 1))
            flat = std == 0.0 or low[lane] == high[lane]
            out[start + lane] = 0.0 if flat else (values[start + lane] - mean[lane]) / std


_log_returns_c = compiled(_log_returns)
_log1p_c = compiled(_log1p)
_log_ratio_c = compiled(_log_ratio)
_trailing_means_c = compiled(_trailing_means)
_trailing_z_c = compiled(_trailing_z)


def _column(bars: BarArray, name: str) -> FloatArray:
    return np.ascontiguousarray(bars[name])


def _ranges(bars: BarArray) -> FloatArray:
    ranges = np.empty(bars.size)
    _log_ratio_c(_column(bars, "high"), _column(bars, "low"), ranges)
    return ranges


def regime_features(bars: BarArray, interval_ms: int) -> FloatArray:
    """Features of the regime model, ndarray (n_bars, 3), columns FEATURE_NAMES; the first 60 rows are NaN.

    log_return: log(close / previous close); log(close / open) in the first bar after a gap.
    range: log(high / low).
    volume_z: log1p(volume) against mean and n-1 standard deviation of the trailing 60 bars, its own included;
    0 where these are all equal.
    """
    features = np.full((bars.size, len(FEATURE_NAMES)), np.nan)
    first = FEATURE_WARM_UP_BARS
    if bars.size <= first:
        return features
    returns, log_volume, volume_z = np.empty((3, bars.size))
    timestamp = np.ascontiguousarray(bars["timestamp"])
    close_px = _column(bars, "close")
    _log_returns_c(timestamp, _column(bars, "open"), close_px, interval_ms, returns)
    _log1p_c(_column(bars, "volume"), log_volume)
    _trailing_z_c(log_volume, VOLUME_WINDOW_BARS, first, volume_z)
    features[first:, 0] = returns[first:]
    features[first:, 1] = _ranges(bars)[first:]
    features[first:, 2] = volume_z[first:]
    return features


def volatility_z(bars: BarArray) -> FloatArray:
    """Context of the policy (no feature of the model), ndarray (n_bars,); NaN in the first 508 rows.

    The mean of `range` over 30 bars, against mean and n-1 standard deviation of the trailing 480 such means.
    """
    out = np.full(bars.size, np.nan)
    if bars.size <= VOLATILITY_WARM_UP_BARS:
        return out
    means = np.full(bars.size, np.nan)
    _trailing_means_c(_ranges(bars), VOLATILITY_MEAN_BARS, means)
    _trailing_z_c(means, VOLATILITY_WINDOW_MEANS, VOLATILITY_WARM_UP_BARS, out)
    return out
