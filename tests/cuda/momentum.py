"""Sweeps of momentum_breakout that a card is tried with: one symbol and several, both signals, both fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

import numpy as np

from mei.engines.cuda_device import Card
from mei.engines.momentum_breakout_cuda import CudaSweep
from mei.engines.momentum_breakout_sweep import Sweep
from mei.model.replay import ReplayInputs
from tests.loop.harness import MINUTE_MS, START_MS, random_bars
from tests.momentum_breakout.market import candles_of, with_holes
from tests.momentum_breakout.test_replay import gridded_bars
from tests.momentum_breakout.test_sweep import AXES, COSTS, days_of

SIGNALS, FILLS = ("channel", "zscore"), ("next_open", "signal_close")
#: Names of the shapes of a market.
ONE, SEVERAL = "one symbol", "several symbols"
#: What is not swept: exits of every kind, in a market of any length.
BASE: dict[str, Any] = {
    "lookback": 9,
    "breakout_z": 1.0,
    "stop_bps": 25.0,
    "take_profit_bps": 80.0,
    "max_hold_bars": 15,
    "allocation_frac": 0.5,
}


@dataclass(frozen=True, slots=True)
class Case:
    """A market with `n` random configurations over BASE. entry_fill: a word of `EntryFill`."""

    inputs: ReplayInputs
    settings: Mapping[str, Any]
    entry_fill: Any
    columns: Mapping[str, Any]
    n: int

    def on_cpu(self) -> Any:
        """Rows of the CPU."""
        return Sweep(self.inputs, self.settings, COSTS, self.entry_fill, 2).run(
            self.columns, self.n
        )

    def on_card(self, card: Card, most_walks: int = 1 << 17) -> Any:
        """Rows of a card."""
        sweep = CudaSweep(
            self.inputs, self.settings, COSTS, self.entry_fill, 2, card, most_walks=most_walks
        )
        return sweep.run(self.columns, self.n)


def case_of(
    shape: str, signal: str, entry_fill: str, *, n: int, n_bars: int, seed: int, n_values: int = 9
) -> Case:
    """n_values: distinct values of an axis at most; few of them make groups of many configurations."""
    rng = np.random.default_rng(seed)
    minutes = 90
    smooth = with_holes(random_bars(n_bars, seed), seed + 1)
    series = {"BTC/USDT": days_of(smooth, minutes)}
    if shape == SEVERAL:
        late = START_MS + n_bars // 10 * MINUTE_MS
        other = with_holes(random_bars(n_bars * 3 // 4, seed + 2, late), seed + 3)
        series["ETH/USDT"] = days_of(other, minutes)
        series["SOL/USDT"] = days_of(gridded_bars(rng, n_bars // 2), minutes)
    elif seed % 2:
        series["BTC/USDT"] = days_of(gridded_bars(rng, n_bars), minutes)
    candles = changed(candles_of(series), interval_ms=minutes * MINUTE_MS)
    inputs = ReplayInputs(candles, from_ms=START_MS + n_bars // 20 * minutes * MINUTE_MS)
    columns = {name: rng.choice(values[:n_values], n) for name, values in AXES.items()}
    return Case(inputs, {**BASE, "signal": signal}, entry_fill, columns, n)
