"""A made-up market: what a candle is at every open, for ever the same, and what the exchange lacks of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
#: 2024-01-01T00:00:00Z.
START_MS = 1_704_067_200_000
STEPS_MS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1h": HOUR_MS, "1d": DAY_MS, "1w": 7 * DAY_MS}
_MONDAY_MS = 4 * DAY_MS

Candle = tuple[int, float, float, float, float, float]


@dataclass
class Market:
    """What the exchange knows. now_ms: its clock. listed_ms: open of the first candle. missing: opens it never had."""

    now_ms: int = START_MS + 2 * DAY_MS
    listed_ms: int = START_MS - 30 * DAY_MS
    missing: set[int] = field(default_factory=set)
    #: Opens whose candle is impossible (its high below its low), for ever.
    impossible: set[int] = field(default_factory=set)
    missing_funding: set[int] = field(default_factory=set)
    #: Counts answers: the candle that is open changes from one to the next.
    n_answers: int = 0

    def candles(self, symbol: str, step_ms: int, from_ms: int, to_ms: int) -> list[Candle]:
        """What there is with from_ms <= open <= to_ms, ascending, the open candle included."""
        offset_ms = _MONDAY_MS if step_ms == 7 * DAY_MS else 0
        first_ms = -(-(max(from_ms, self.listed_ms) - offset_ms) // step_ms) * step_ms + offset_ms
        opens = range(first_ms, min(to_ms, self.now_ms) + 1, step_ms)
        return [
            self._candle(symbol, open_ms, step_ms)
            for open_ms in opens
            if open_ms not in self.missing
        ]

    def funding(
        self, symbol: str, step_ms: int, from_ms: int, to_ms: int
    ) -> list[tuple[int, float]]:
        """Rates with from_ms <= time <= to_ms, ascending."""
        first_ms = -(-max(from_ms, self.listed_ms) // step_ms) * step_ms
        times = range(first_ms, min(to_ms, self.now_ms) + 1, step_ms)
        return [
            (time_ms, round(1e-4 * math.sin(time_ms / 7e7 + len(symbol)), 8))
            for time_ms in times
            if time_ms not in self.missing_funding
        ]

    def _candle(self, symbol: str, open_ms: int, step_ms: int) -> Candle:
        candle = true_candle(symbol, open_ms, step_ms)
        if open_ms in self.impossible:
            return (*candle[:2], candle[3], candle[2] + 1.0, *candle[4:])
        if open_ms + step_ms > self.now_ms:
            # Under way: another close and volume each time it is shown.
            return (*candle[:4], candle[3], float(self.n_answers))
        return candle


def true_candle(symbol: str, open_ms: int, step_ms: int) -> Candle:
    """The candle of an open once it is closed, with prices of at most two decimals."""
    opened, close = _price(symbol, open_ms), _price(symbol, open_ms + step_ms)
    high = round(max(opened, close) * 1.001, 2)
    low = round(min(opened, close) * 0.999, 2)
    return open_ms, opened, high, low, close, round(10.0 + 5.0 * math.sin(open_ms / 4e6), 3)


def _price(symbol: str, at_ms: int) -> float:
    minutes = (at_ms - START_MS) / MINUTE_MS
    base = 100.0 * (1 + sum(symbol.encode()) % 7)
    wave = 0.05 * math.sin(minutes / 611.0) + 0.004 * math.sin(minutes / 7.3) * math.sin(
        minutes / 1777.0
    )
    return round(base * (1.0 + wave), 2)
