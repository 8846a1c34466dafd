"""A synthetic market with persistent volatility regimes, deterministic."""

from __future__ import annotations

import numpy as np

from mei.model.bars import BarArray, empty_bars

STEP_MS = 60_000
START_MS = 1_700_000_000_000 // STEP_MS * STEP_MS


def regime_bars(
    n_bars: int, *, seed: int = 0, start_ms: int = START_MS, level: float = 1.0
) -> BarArray:
    """1m candles whose volatility (times `level`) and volume jump between four regimes, without gaps."""
    rng = np.random.default_rng(seed)
    volatility = np.array([2e-4, 5e-4, 1e-3, 2e-3]) * level
    jumps = rng.random(n_bars) < 0.01
    state = np.maximum.accumulate(np.where(jumps, np.arange(n_bars), 0))
    sigma = volatility[rng.integers(4, size=n_bars)[state]]
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1, n_bars) * sigma))
    bars = empty_bars(n_bars)
    bars["timestamp"] = start_ms + np.arange(n_bars) * STEP_MS
    bars["close"] = close
    bars["open"] = np.concatenate([[100.0], close[:-1]])
    wick = 1 + np.abs(rng.normal(0, 1, (2, n_bars))) * sigma / 2
    bars["high"] = np.maximum(bars["open"], bars["close"]) * wick[0]
    bars["low"] = np.minimum(bars["open"], bars["close"]) / wick[1]
    bars["volume"] = rng.exponential(5, n_bars) * (1 + 1000 * sigma / level)
    return bars
