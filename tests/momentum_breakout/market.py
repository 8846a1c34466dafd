"""Bars as the Candles of a replay, with holes; shared by the tests of momentum_breakout."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mei.model.bars import BarArray
from mei.model.candles import Candles, offsets_of
from tests.loop.harness import MINUTE_MS

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")


def candles_of(series: Mapping[str, BarArray]) -> Candles:
    """Symbol -> BAR_DTYPE bars, as flat columns, symbols ascending."""
    names = sorted(series, key=lambda name: name.encode())
    joined = np.concatenate([series[name] for name in names])
    offsets = offsets_of([len(series[name]) for name in names])
    columns = [np.ascontiguousarray(joined[name]) for name in COLUMNS]
    return Candles("1m", MINUTE_MS, tuple(names), offsets, *columns)


def with_holes(bars: BarArray, seed: int, share: float = 0.03) -> BarArray:
    """The bars without a share of them, single ones and an outage of 30."""
    rng = np.random.default_rng(seed)
    is_kept = rng.random(len(bars)) >= share
    begin = int(rng.integers(0, len(bars)))
    is_kept[begin : begin + 30] = False
    kept: BarArray = bars[is_kept]
    return kept
