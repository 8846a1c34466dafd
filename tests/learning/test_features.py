"""Features: their definition, and that a row is a function of its own window."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from mei.learning.features import (
    FEATURE_WARM_UP_BARS,
    PREDICT_WARM_UP_BARS,
    VOLATILITY_WARM_UP_BARS,
    regime_features,
    volatility_z,
)
from tests.learning.market import STEP_MS, regime_bars


def test_row_is_what_the_definition_says() -> None:
    bars = regime_bars(200)
    row = 150
    window = [math.log1p(v) for v in bars["volume"][row - 59 : row + 1]]

    log_return, bar_range, volume_z = regime_features(bars, STEP_MS)[row]

    assert log_return == pytest.approx(
        math.log(bars["close"][row] / bars["close"][row - 1]), rel=1e-13
    )
    assert bar_range == pytest.approx(math.log(bars["high"][row] / bars["low"][row]), rel=1e-13)
    expected = (window[-1] - statistics.fmean(window)) / statistics.stdev(window)
    assert volume_z == pytest.approx(expected, rel=1e-10)


def test_first_bar_after_a_gap_returns_from_its_own_open() -> None:
    bars = regime_bars(200)
    bars["timestamp"][120:] += STEP_MS

    returns = regime_features(bars, STEP_MS)[:, 0]

    assert returns[120] == math.log(bars["close"][120] / bars["open"][120])
    assert returns[121] == math.log(bars["close"][121] / bars["close"][120])


def test_rows_without_a_whole_window_are_nan_and_all_others_are_not() -> None:
    bars = regime_bars(700)

    features, context = regime_features(bars, STEP_MS), volatility_z(bars)

    assert np.isnan(features[:FEATURE_WARM_UP_BARS]).all()
    assert np.isfinite(features[FEATURE_WARM_UP_BARS:]).all()
    assert np.isnan(context[:VOLATILITY_WARM_UP_BARS]).all()
    assert np.isfinite(context[VOLATILITY_WARM_UP_BARS:]).all()
    assert PREDICT_WARM_UP_BARS >= VOLATILITY_WARM_UP_BARS


@pytest.mark.parametrize("start", [1, 37, 64, 100, 461])
def test_bits_do_not_depend_on_where_the_array_starts(start: int) -> None:
    bars = regime_bars(1200)

    features = regime_features(bars[start:], STEP_MS)[FEATURE_WARM_UP_BARS:]
    context = volatility_z(bars[start:])[VOLATILITY_WARM_UP_BARS:]

    whole = regime_features(bars, STEP_MS)[start + FEATURE_WARM_UP_BARS :]
    np.testing.assert_array_equal(features, whole)
    np.testing.assert_array_equal(context, volatility_z(bars)[start + VOLATILITY_WARM_UP_BARS :])


@pytest.mark.parametrize("end", [561, 700, 833])
def test_bits_do_not_depend_on_later_bars(end: int) -> None:
    bars = regime_bars(1200)
    changed = bars.copy()
    changed[end:] = regime_bars(1200, seed=9)[end:]

    for other in (bars[:end], changed):
        np.testing.assert_array_equal(
            regime_features(other, STEP_MS)[:end], regime_features(bars, STEP_MS)[:end]
        )
        np.testing.assert_array_equal(volatility_z(other)[:end], volatility_z(bars)[:end])


@pytest.mark.parametrize("volume", [0.0, 0.1, 0.7, 5.3, 33.1, 1234.567])
def test_constant_volume_gives_zero_and_not_noise(volume: float) -> None:
    bars = regime_bars(300)
    bars["volume"] = volume

    volume_z = regime_features(bars, STEP_MS)[FEATURE_WARM_UP_BARS:, 2]

    assert (volume_z == 0.0).all()


def test_volatility_z_is_what_the_definition_says() -> None:
    bars = regime_bars(700)
    ranges = [math.log(h / low) for h, low in zip(bars["high"], bars["low"], strict=True)]
    row = 650
    means = [statistics.fmean(ranges[i - 29 : i + 1]) for i in range(row - 479, row + 1)]

    expected = (means[-1] - statistics.fmean(means)) / statistics.stdev(means)

    assert volatility_z(bars)[row] == pytest.approx(expected, rel=1e-9)


def test_fewer_bars_than_the_warm_up_are_all_nan() -> None:
    for n_bars in (0, 1, FEATURE_WARM_UP_BARS):
        bars = regime_bars(10)[:0] if n_bars == 0 else regime_bars(n_bars)
        assert np.isnan(regime_features(bars, STEP_MS)).all()
        assert np.isnan(volatility_z(bars)).all()
