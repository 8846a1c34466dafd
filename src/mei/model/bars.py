"""Candles as arrays, and the words for time.

A bar's `timestamp` is its open time, epoch milliseconds UTC. It is known at `timestamp + interval_ms`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from mei.model.errors import ConfigError

#: One candle: open time in epoch ms UTC; prices in quote per base; volume in base units.
BAR_DTYPE = np.dtype(
    [
        ("timestamp", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),
    ]
)

#: ndarray of shape (n_bars,), dtype BAR_DTYPE, ascending and unique in `timestamp`.
BarArray = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
DAY_MS = 86_400_000


def interval_ms(timeframe: str) -> int:
    """Length of a bar of `timeframe` ("1m", "4h", "1d") in milliseconds.

    Raises ConfigError when the text is no timeframe.
    """
    match = re.fullmatch(r"([1-9]\d{0,3})([smhdw])", timeframe)
    if match is None:
        raise ConfigError(
            f"TIMEFRAME must be a number and one of s, m, h, d, w (such as 1m), was {timeframe!r}"
        )
    return int(match[1]) * _UNIT_MS[match[2]]


def path_name(symbol: str) -> str:
    """`BTC/USDT` as it stands in a URL path or a folder name: `BTC_USDT`."""
    return symbol.replace("/", "_")


def symbol_name(path: str) -> str:
    """`BTC_USDT` of a URL path as the symbol `BTC/USDT`; a name that has a slash already is left alone."""
    return path if "/" in path else path.replace("_", "/", 1)


def empty_bars(n_bars: int = 0) -> BarArray:
    """Zeroed candles, ndarray of shape (n_bars,), dtype BAR_DTYPE."""
    return np.zeros(n_bars, dtype=BAR_DTYPE)
