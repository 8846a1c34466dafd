"""The settings of momentum_breakout: defaults, and what a value must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mei.model.errors import ConfigError

NAME = "momentum_breakout"
CHANNEL, ZSCORE = "channel", "zscore"

#: Units: docs/concepts/momentum_breakout.md. `max_lookback`: bars, the largest `lookback` that may be asked for.
DEFAULTS: Mapping[str, Any] = {
    "signal": CHANNEL,
    "lookback": 60,
    "breakout_bps": 0.0,
    "breakout_z": 2.0,
    "allow_short": True,
    "stop_bps": 0.0,
    "take_profit_bps": 0.0,
    "max_hold_bars": 0,
    "notional_usd": 0.0,
    "allocation_frac": 0.1,
    "regimes": (),
    "min_regime_prob": 0.6,
    "max_lookback": 500,
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the values of complete settings. Raises ConfigError naming the key."""
    if settings["signal"] not in (CHANNEL, ZSCORE):
        raise ConfigError(
            f"{NAME}.signal must be {CHANNEL} or {ZSCORE}, was {settings['signal']!r}"
        )
    for name, value in settings.items():
        if isinstance(value, int | float) and value < 0:
            raise ConfigError(f"{NAME}.{name} must be >= 0, was {value!r}")


def check_lookback(lookback: int, max_lookback: int) -> None:
    """Check that a window holds `lookback` bars. Raises ConfigError saying what to raise."""
    if lookback > max_lookback:
        raise ConfigError(
            f"{NAME}.lookback must be at most max_lookback = {max_lookback}, was {lookback}: "
            "raise max_lookback in config/strategy.yaml"
        )
