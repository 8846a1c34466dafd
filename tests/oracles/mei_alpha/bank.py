"""Indicators of one symbol, bar by bar (specification part 1, C); every window is summed oldest to newest."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

Bar = tuple[int, float, float, float, float, float]
Config = dict[str, float | int | bool | str]


@dataclass(frozen=True)
class Snapshot:
    """C.11. The defaults are those of a bank that never saw a bar."""

    t: int = 0
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    volume: float = 0.0
    ema_slow: float = 0.0
    ema_fast: float = 0.0
    ema_macro: float = 0.0
    adx: float = 0.0
    adx_pos: float = 0.0
    adx_neg: float = 0.0
    adx_slope: float = 0.0
    bb_upper: float = 0.0
    bb_lower: float = 0.0
    bb_width: float = 0.0
    bb_width_avg: float = 0.0
    bb_width_ratio: float = 1.0
    atr: float = 0.0
    atr_slope: float = 0.0
    avg_atr: float = 0.0
    rsi: float = 50.0
    stoch_rsi_k: float = 0.0
    stoch_rsi_d: float = 0.0
    macd_hist: float = 0.0
    prev_macd_hist: float = 0.0
    prev2_macd_hist: float = 0.0
    prev3_macd_hist: float = 0.0
    vol_sma: float = 0.0
    vol_trend: bool = False
    prev_close: float = 0.0
    prev_ema_fast: float = 0.0
    prev_ema_slow: float = 0.0
    bar_count: int = 0
    funding_rate: float = 0.0

    def with_bar(self, bar: Bar) -> Snapshot:
        """The hybrid of A.7: price fields of a sub-bar, everything else kept."""
        return replace(self, t=bar[0], open=bar[1], high=bar[2], low=bar[3], close=bar[4])


NEUTRAL = Snapshot()


class Rolling:
    """C.1: the newest `size` values."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("a window must be at least 1")
        self.size = size
        self.values: deque[float] = deque(maxlen=size)

    def push(self, value: float) -> None:
        self.values.append(value)

    @property
    def full(self) -> bool:
        return len(self.values) == self.size

    def mean(self) -> float:
        if not self.values:
            return 0.0
        total = 0.0
        for value in self.values:
            total += value
        return total / len(self.values)

    def std(self) -> float:
        mean = self.mean()
        total = 0.0
        for value in self.values:
            total += (value - mean) * (value - mean)
        return math.sqrt(total / len(self.values))


class Ema:
    """C.2."""

    def __init__(self, window: int) -> None:
        self.alpha = 2.0 / (window + 1)
        self.value: float | None = None

    def push(self, price: float) -> float:
        if self.value is None:
            self.value = price
        else:
            self.value = self.alpha * price + (1.0 - self.alpha) * self.value
        return self.value


class Atr:
    """C.3."""

    def __init__(self, window: int) -> None:
        self.n = window
        self.k = 0
        self.total = 0.0
        self.value = 0.0

    def push(self, true_range: float) -> float:
        self.k += 1
        if self.k <= self.n:
            self.total += true_range
            self.value = self.total / self.k
        else:
            self.value = (self.value * (self.n - 1) + true_range) / self.n
        return self.value


class Adx:
    """C.4."""

    def __init__(self, window: int) -> None:
        self.n = window
        self.bar = -1
        self.plus = self.minus = self.ranges = 0.0
        self.dx_sum = 0.0
        self.dx_count = 0
        self.smooth = False
        self.value = 0.0
        self.last = (0.0, 0.0)

    def _dx(self) -> tuple[float, float, float]:
        plus_di = self.plus / self.ranges * 100.0 if self.ranges > 0 else 0.0
        minus_di = self.minus / self.ranges * 100.0 if self.ranges > 0 else 0.0
        both = plus_di + minus_di
        dx = abs(plus_di - minus_di) / both * 100.0 if both > 0 else 0.0
        return dx, plus_di, minus_di

    def _move(self, high: float, low: float) -> tuple[float, float]:
        up = high - self.last[0]
        down = self.last[1] - low
        self.last = (high, low)
        return (up if up > down and up > 0 else 0.0), (down if down > up and down > 0 else 0.0)

    def push(self, high: float, low: float, true_range: float) -> tuple[float, float, float]:
        self.bar += 1
        if self.bar == 0:
            self.last = (high, low)
            return 0.0, 0.0, 0.0
        plus_dm, minus_dm = self._move(high, low)
        if self.bar <= self.n:
            self.plus += plus_dm
            self.minus += minus_dm
            self.ranges += true_range
            if self.bar < self.n:
                return 0.0, 0.0, 0.0
            dx, plus_di, minus_di = self._dx()
            self.dx_sum, self.dx_count = dx, 1
            self.value = dx
            return self.value, plus_di, minus_di
        n = self.n
        self.plus = self.plus - self.plus / n + plus_dm
        self.minus = self.minus - self.minus / n + minus_dm
        self.ranges = self.ranges - self.ranges / n + true_range
        dx, plus_di, minus_di = self._dx()
        if self.smooth:
            self.value = (self.value * (n - 1) + dx) / n
        else:
            self.dx_sum += dx
            self.dx_count += 1
            self.smooth = self.dx_count >= n
            self.value = self.dx_sum / (n if self.smooth else self.dx_count)
        return self.value, plus_di, minus_di


class Rsi:
    """C.5."""

    def __init__(self, window: int) -> None:
        self.n = window
        self.k = 0
        self.gain = self.loss = 0.0

    def push(self, change: float | None) -> float:
        if change is None:
            return 50.0
        n = self.n
        gain = change if change > 0 else 0.0
        loss = -change if change < 0 else 0.0
        self.k += 1
        if self.k <= n:
            self.gain += gain
            self.loss += loss
            if self.k < n:
                return 50.0
            self.gain = self.gain / n
            self.loss = self.loss / n
        else:
            self.gain = (self.gain * (n - 1) + gain) / n
            self.loss = (self.loss * (n - 1) + loss) / n
        if self.loss == 0.0:
            return 100.0
        return 100.0 - 100.0 / (1.0 + self.gain / self.loss)


class StochRsi:
    """C.6."""

    def __init__(self, window: int, smooth_k: int, smooth_d: int) -> None:
        self.rsi, self.k, self.d = Rolling(window), Rolling(smooth_k), Rolling(smooth_d)

    def push(self, rsi: float) -> tuple[float, float]:
        self.rsi.push(rsi)
        if not self.rsi.full:
            return 0.5, 0.5
        low, high = min(self.rsi.values), max(self.rsi.values)
        spread = high - low
        self.k.push((rsi - low) / spread if spread > 0 else 0.5)
        k = self.k.mean()
        self.d.push(k)
        return k, self.d.mean()


class Macd:
    """C.7."""

    def __init__(self) -> None:
        self.fast, self.slow, self.signal = Ema(12), Ema(26), Ema(9)

    def push(self, close: float) -> float:
        line = self.fast.push(close) - self.slow.push(close)
        return line - self.signal.push(line)


class Bollinger:
    """C.8: (upper, lower, width, average width, ratio)."""

    def __init__(self, window: int, average: int) -> None:
        self.closes, self.widths = Rolling(window), Rolling(average)

    def push(self, close: float) -> tuple[float, float, float, float, float]:
        self.closes.push(close)
        upper = lower = mid = self.closes.mean()
        if self.closes.full:
            sigma = self.closes.std()
            upper = mid + 2.0 * sigma
            lower = mid - 2.0 * sigma
        width = (upper - lower) / close if close > 0 else 0.0
        self.widths.push(width)
        average = self.widths.mean()
        return upper, lower, width, average, (width / average if average > 0 else 1.0)


def true_range(high: float, low: float, prev_close: float | None) -> float:
    if prev_close is None:
        return high - low
    return max(max(high - low, abs(high - prev_close)), abs(low - prev_close))


class Bank:
    """All indicators of one symbol. `newest` is the latest snapshot, `n` the bars fed."""

    def __init__(self, config: Config) -> None:
        w = {
            k.removeprefix("indicators."): int(v)
            for k, v in config.items()
            if k.startswith("indicators.")
        }
        self.ema_slow = Ema(w["ema_slow_window"])
        self.ema_fast = Ema(w["ema_fast_window"])
        self.ema_macro = Ema(w["ema_macro_window"])
        self.adx = Adx(w["adx_window"])
        self.bands = Bollinger(w["bb_window"], w["bb_width_avg_window"])
        self.atr = Atr(w["atr_window"])
        self.atr_mean = Rolling(int(config["thresholds.entry.ave_avg_atr_window"]))
        self.rsi = Rsi(w["rsi_window"])
        self.stoch: StochRsi | None = None
        if config["filters.use_stoch_rsi_filter"]:
            self.stoch = StochRsi(
                w["stoch_rsi_window"], w["stoch_rsi_smooth1"], w["stoch_rsi_smooth2"]
            )
        self.macd = Macd()
        self.volume = Rolling(w["vol_sma_window"])
        self.volume_short = Rolling(w["vol_trend_window"])
        self.newest = NEUTRAL
        self.n = 0
        self.last_close = 0.0
        self.slow_history: list[float] = []

    def feed(self, bar: Bar) -> Snapshot:
        t, open_, high, low, close, volume = bar
        first = self.n == 0
        before = self.newest
        span = true_range(high, low, None if first else before.close)
        adx, adx_pos, adx_neg = self.adx.push(high, low, span)
        upper, lower, width, width_avg, ratio = self.bands.push(close)
        atr = self.atr.push(span)
        self.atr_mean.push(atr)
        rsi = self.rsi.push(None if first else close - before.close)
        k, d = self.stoch.push(rsi) if self.stoch is not None else (0.0, 0.0)
        self.volume.push(volume)
        self.volume_short.push(volume)
        vol_sma = self.volume.mean()
        self.newest = Snapshot(
            t=t,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            ema_slow=self.ema_slow.push(close),
            ema_fast=self.ema_fast.push(close),
            ema_macro=self.ema_macro.push(close),
            adx=adx,
            adx_pos=adx_pos,
            adx_neg=adx_neg,
            adx_slope=adx - before.adx,
            bb_upper=upper,
            bb_lower=lower,
            bb_width=width,
            bb_width_avg=width_avg,
            bb_width_ratio=ratio,
            atr=atr,
            atr_slope=atr - before.atr,
            avg_atr=self.atr_mean.mean(),
            rsi=rsi,
            stoch_rsi_k=k,
            stoch_rsi_d=d,
            macd_hist=self.macd.push(close),
            prev_macd_hist=before.macd_hist,
            prev2_macd_hist=before.prev_macd_hist,
            prev3_macd_hist=before.prev2_macd_hist,
            vol_sma=vol_sma,
            vol_trend=self.volume_short.mean() > vol_sma,
            prev_close=before.close,
            prev_ema_fast=before.ema_fast,
            prev_ema_slow=before.ema_slow,
            bar_count=self.n,
        )
        self.n += 1
        self.last_close = close
        self.slow_history.append(self.newest.ema_slow)
        return self.newest

    def slope(self, window: int) -> float:
        """C.12 on the newest bar."""
        history = self.slow_history
        if window < 1:
            raise ValueError("slow_drift_slope_window must be at least 1")
        if len(history) < window or self.newest.close <= 0:
            return 0.0
        return (history[-1] - history[len(history) - window]) / self.newest.close
