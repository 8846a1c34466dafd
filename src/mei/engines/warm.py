"""Every kernel compiled ahead, by runs over a handful of bars."""

from __future__ import annotations

import numpy as np

from mei.engines.mei_alpha import SymbolConfigs, indicators, replay
from mei.engines.mei_alpha_live import LiveTerms, LiveWalk
from mei.engines.mei_alpha_sweep import N_REASONS, Sweep, group_layout
from mei.engines.momentum_breakout import replay as replay_momentum_breakout
from mei.model.candles import Candles, FundingRates, offsets_of
from mei.model.orders import Bar
from mei.model.replay import ReplayInputs
from mei.model.semantics import STRICT
from mei.model.settings import Costs
from mei.rules.mei_alpha.keys import DEFAULTS

_HOUR_MS = 3_600_000
_N_BARS = 8


def warm_up() -> None:
    """Compile replay, dump, sweep and stepping of Mei Alpha and the replay of momentum_breakout into the cache."""
    open_ms = np.arange(_N_BARS, dtype=np.int64) * _HOUR_MS
    px = np.ones(_N_BARS)
    offsets = offsets_of([_N_BARS])
    candles = Candles("1h", _HOUR_MS, ("BTC",), offsets, open_ms, px, px, px, px, px)
    configs = SymbolConfigs(DEFAULTS)
    funding = FundingRates(("BTC",), offsets, open_ms, px)
    replay(ReplayInputs(candles, candles, candles, funding), configs, STRICT)
    indicators(candles, "BTC", DEFAULTS)
    words = ["close"] * N_REASONS
    sweep = Sweep(
        ReplayInputs(candles), configs, STRICT, lambda n: group_layout(n, words, words), 1
    )
    sweep.run({}, 1)
    live = LiveWalk(["BTC"], configs, LiveTerms(_HOUR_MS))
    live.step(_HOUR_MS, {"BTC": Bar(0, _HOUR_MS, 1.0, 1.0, 1.0, 1.0, 1.0)})
    for signal in ("channel", "zscore"):
        settings = {"signal": signal, "lookback": 2}
        replay_momentum_breakout(ReplayInputs(candles), settings, Costs())
