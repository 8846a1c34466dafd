"""What the tests of the command line run: a strategy file and a sweep spec over made-up candles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

N_HOURS = 700
CONFIG = """
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, slippage_bps: 4.0}
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}
symbols:
  ETH: {trade: {slippage_bps: 9.0}}
live: {trade: {leverage: 2.0}}
"""
SPEC = """
axes:
- {path: trade.sl_atr_mult, values: [0.3, 2.5]}
- {path: indicators.ema_slow_window, values: [21, 34]}
lookback: 150
"""


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a sweep."""
    return [json.loads(line) for line in path.read_text().splitlines()]
