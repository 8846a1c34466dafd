"""momentum_breakout as a Strategy of the loop: it keeps the window of bars and calls the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mei.engines.bind import bind_cpu
from mei.model.orders import Bar, Order
from mei.rules.momentum_breakout import decisions, signals
from mei.rules.momentum_breakout.settings import (
    DEFAULTS,
    NAME,
    check_lookback,
    check_settings,
)
from mei.strategies.base import Context, Params, Strategy

_REASONS = {decisions.CLOSE_TIME: "time", decisions.CLOSE_REVERSE: "reverse"}
#: How often the window is moved to the front of its buffer: once every this many bars.
_SLACK_BARS = 4096


class MomentumBreakout(Strategy):
    """Breakout of a channel or z-score band; see docs/concepts/momentum_breakout.md for the rules."""

    name = NAME
    defaults: Mapping[str, Any] = DEFAULTS

    def on_start(self, context: Context) -> None:
        """Check the settings and prepare an empty window."""
        super().on_start(context)
        settings = context.settings
        check_settings(settings)
        self._window = int(settings["max_lookback"]) + 1
        self._columns = np.zeros((3, self._window + _SLACK_BARS))
        self._n_bars = 0
        self._allowed_mask = sum(1 << int(regime) for regime in set(settings["regimes"]))
        self._channel = bind_cpu(signals.channel_signal)
        self._zscore = bind_cpu(signals.zscore_signal)

    def on_bar(self, bar: Bar, params: Params) -> Order | None:
        """The rules of the specification, step 3 of the order of a bar."""
        self._append(bar)
        values = params.values
        context = self.context
        signal = self._signal(values)
        if signal == 0 and context.direction == 0:
            return None
        action = decisions.decision(
            signal,
            context.direction,
            context.bars_held,
            values["max_hold_bars"],
            context.closed_this_bar,
        )
        if action == decisions.STAY:
            return None
        if action == decisions.OPEN:
            return self._entry(signal, params)
        return Order("close", reason=_REASONS[action])

    def _entry(self, signal: int, params: Params) -> Order | None:
        values = params.values
        if not decisions.is_regime_allowed(
            params.regime, params.regime_prob, self._allowed_mask, values["min_regime_prob"]
        ):
            return None
        return Order(
            "open",
            direction=signal,
            notional_usd=values["notional_usd"],
            allocation_frac=values["allocation_frac"],
            stop_bps=values["stop_bps"],
            take_profit_bps=values["take_profit_bps"],
            reason="breakout_long" if signal > 0 else "breakout_short",
        )

    def _signal(self, values: Mapping[str, Any]) -> int:
        high, low, close = self._columns
        lookback = int(values["lookback"])
        if lookback >= self._window:
            check_lookback(lookback, self._window - 1)
        if values["signal"] == "channel":
            answer = self._channel(
                high,
                low,
                close,
                self._n_bars,
                lookback,
                values["breakout_bps"],
                values["allow_short"],
            )
        else:
            answer = self._zscore(
                close, self._n_bars, lookback, values["breakout_z"], values["allow_short"]
            )
        return int(answer)

    def _append(self, bar: Bar) -> None:
        n = self._n_bars
        columns = self._columns
        if n == columns.shape[1]:
            columns[:, : self._window] = columns[:, n - self._window :].copy()
            n = self._window
        columns[0, n] = bar.high
        columns[1, n] = bar.low
        columns[2, n] = bar.close
        self._n_bars = n + 1

    def state(self) -> dict[str, Any]:
        """The window of highs, lows and closes."""
        first = max(0, self._n_bars - self._window)
        return {"window": self._columns[:, first : self._n_bars].tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Fill the window; which bars lie before it can no longer matter."""
        window = np.asarray(state["window"], dtype=np.float64).reshape(3, -1)
        self._n_bars = window.shape[1]
        self._columns[:, : self._n_bars] = window
