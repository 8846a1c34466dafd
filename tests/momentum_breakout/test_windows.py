"""Channels and z-scores of whole columns are those of the bar-by-bar rules, plain and compiled, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mei.engines.bind import bind_cpu
from mei.rules.momentum_breakout import signals, windows

WAYS: dict[str, Callable[[Any], Any]] = {"plain": lambda rule: rule, "compiled": bind_cpu}


def random_values(n: int, seed: int) -> Any:
    """Values on a coarse grid: ties and runs without spread are common."""
    return 100.0 + np.cumsum(np.random.default_rng(seed).integers(-1, 2, n)) * 0.1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("n", "lookback"), [(0, 2), (1, 2), (7, 7), (8, 7), (50, 3), (301, 20)])
def test_highest_before(way: str, n: int, lookback: int) -> None:
    values = random_values(n, n)
    tail, out = np.empty(n), np.empty(n)
    WAYS[way](windows.highest_before)(values, lookback, tail, out)
    assert np.isnan(out[:lookback]).all()
    expected = [values[t - lookback : t].max() for t in range(lookback, n)]
    assert out[lookback:].tolist() == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize(("n", "lookback"), [(0, 2), (1, 2), (7, 7), (8, 7), (50, 3), (301, 20)])
def test_z_scores(way: str, chunk: int, n: int, lookback: int) -> None:
    close = random_values(n, n)
    means, squares, out = np.empty(chunk), np.empty(chunk), np.empty(n)
    WAYS[way](windows.z_scores)(close, lookback, means, squares, out)
    assert np.isnan(out[:lookback]).all()
    for t in range(lookback, n):
        z = out[t]
        if np.isnan(z):
            assert np.ptp(close[t - lookback + 1 : t + 1]) == 0.0
            continue
        # The bar-by-bar rule says long below z and no more at z, short above it and no more at it.
        below, above = np.nextafter(z, -9.0), np.nextafter(z, 9.0)
        answers = [
            signals.zscore_signal(close, t + 1, lookback, level, False) for level in (below, z)
        ]
        assert answers == [1, 0]
        answers = [
            signals.zscore_signal(-close, t + 1, lookback, -level, False) for level in (above, z)
        ]
        assert answers == [1, 0]


@pytest.mark.parametrize("way", WAYS)
def test_sides_of_columns_are_those_of_the_bars(way: str) -> None:
    n, lookback = 400, 9
    rng = np.random.default_rng(1)
    close = random_values(n, 2)
    high, low = close + 0.1 * rng.integers(0, 2, n), close - 0.1 * rng.integers(0, 2, n)
    tail, highest, lowest, z = np.empty((4, n))
    sides = np.empty(n, dtype=np.int8)
    WAYS[way](windows.highest_before)(high, lookback, tail, highest)
    WAYS[way](windows.highest_before)(-low, lookback, tail, lowest)
    WAYS[way](signals.channel_sides)(close, highest, -lowest, 5.0, True, sides)
    assert sides.tolist() == [
        signals.channel_signal(high, low, close, t + 1, lookback, 5.0, True) for t in range(n)
    ]
    assert set(sides.tolist()) == {-1, 0, 1}
    WAYS[way](windows.z_scores)(close, lookback, np.empty(16), np.empty(16), z)
    WAYS[way](signals.zscore_sides)(z, 1.5, True, sides)
    assert sides.tolist() == [
        signals.zscore_signal(close, t + 1, lookback, 1.5, True) for t in range(n)
    ]
    assert set(sides.tolist()) == {-1, 0, 1}
