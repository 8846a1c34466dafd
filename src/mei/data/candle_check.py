"""Candles that no market can have made: what strict runs refuse before they compute with them."""

from __future__ import annotations

import numpy as np

from mei.data.stamps import utc_text
from mei.model.candles import Candles
from mei.model.errors import DataError


def refuse_impossible(candles: Candles, source: str) -> None:
    """DataError for the first bar that cannot be, naming `source`, symbol, interval, open time and what was found.

    Prices must be finite and above 0, the low not above and the high not below open and close, the volume finite and
    at least 0.
    """
    low, high = candles.low, candles.high
    prices = np.stack((candles.open, high, low, candles.close))
    possible = (np.isfinite(prices) & (prices > 0.0)).all(axis=0)
    possible &= low <= np.minimum(candles.open, candles.close)
    possible &= high >= np.maximum(candles.open, candles.close)
    possible &= np.isfinite(candles.volume) & (candles.volume >= 0.0)
    if possible.all():
        return
    row = int(np.argmin(possible))
    symbol = candles.symbols[int(np.searchsorted(candles.offsets, row, side="right")) - 1]
    names = ("o", "h", "l", "c", "v")
    found = ", ".join(
        f"{name}={float(column[row])}"
        for name, column in zip(names, candles.columns()[1:], strict=True)
    )
    n_others = int(np.count_nonzero(~possible)) - 1
    others = f" (and {n_others} more bars)" if n_others else ""
    raise DataError(
        f"{source}: the bar of {symbol} ({candles.interval}) at {_time_text(int(candles.open_ms[row]))} must have "
        "finite prices above 0 with l <= o, c <= h and a finite volume of at least 0, "
        f"found {found}{others}: correct the row or import it again"
    )


def _time_text(at_ms: int) -> str:
    try:
        return utc_text(at_ms)
    except (ValueError, OverflowError, OSError):
        return f"t={at_ms}"
