"""Positions, and the exits that are decided on a close (part 2, D)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from tests.oracles.mei_alpha.bank import Bar, Config, Snapshot
from tests.oracles.mei_alpha.signals import LOW, clamp, number


@dataclass(frozen=True)
class Hole:
    """Between `start` and `end` no sub-bar came; the stop that rested then and why it is there."""

    start: float
    end: float
    stop_px: float
    stop_reason: str

    def meets(self, begin: float, end: float) -> bool:
        return self.start < end and begin < self.end


@dataclass
class Position:
    """E.1, and what the strict switches add to it."""

    symbol: str
    is_long: bool
    entry: float
    size: float
    confidence: int
    entry_atr: float
    adx_threshold: float
    leverage: float
    margin: float
    open_time: int
    last_add_time: int
    trailing: float | None = None
    adds: int = 0
    tp1_taken: bool = False
    #: exit_fill = level: the resting stop, the indicators it was made from, and how far the market has been met.
    stop_px: float = 0.0
    stop_reason: str = ""
    met_until: float = -math.inf
    #: the sub-bars met, and the times between them that none covered with the stop that rested then.
    sub_bars: list[Bar] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    #: excursions = held: prices the position has seen while it was held.
    lived: list[float] = field(default_factory=list)
    #: funding = held: boundaries up to here are paid.
    paid_until: float = -math.inf

    @property
    def atr(self) -> float:
        """A of D.1."""
        return self.entry_atr if self.entry_atr > 0 else self.entry * 0.005

    def gain(self, price: float) -> float:
        """Price distance in the position's favour."""
        return price - self.entry if self.is_long else self.entry - price

    def profit_atr(self, price: float) -> float:
        return self.gain(price) / self.entry_atr if self.entry_atr > 0 else 0.0

    def under_water(self, price: float) -> bool:
        return price < self.entry if self.is_long else price > self.entry

    def unrealised(self, price: float) -> float:
        return self.gain(price) * self.size

    def better(self, level: float, than: float | None) -> bool:
        """Whether a stop at `level` is nearer to the market than the other (none is always worse)."""
        if than is None:
            return True
        return level > than if self.is_long else level < than

    def store_trailing(self, level: float) -> None:
        if self.better(level, self.trailing):
            self.trailing = level

    def reached_stop(self, price: float, level: float) -> bool:
        return price <= level if self.is_long else price >= level

    def reached_target(self, price: float, level: float) -> bool:
        return price >= level if self.is_long else price <= level


@dataclass(frozen=True)
class Exit:
    """fraction 1.0 and whole: everything; else a partial one."""

    reason: str
    whole: bool = True
    fraction: float = 1.0


def shortest(x: float) -> str:
    """Shortest decimal that reads back, no exponent, no trailing `.0`."""
    text = format(Decimal(repr(x)), "f")
    return text.removesuffix(".0")


def glitch(x: Snapshot, c: Config) -> bool:
    if not c["trade.block_exits_on_extreme_dev"] or not x.prev_close > 0:
        return False
    d = abs(x.close - x.prev_close)
    if d / x.prev_close > number(c, "trade.glitch_price_dev_pct"):
        return True
    return x.atr > 0 and d > x.atr * number(c, "trade.glitch_atr_mult")


def stop_level(p: Position, x: Snapshot, close: float, c: Config) -> float:
    """`sl` of D.3."""
    m = number(c, "trade.sl_atr_mult")
    a = p.atr
    if x.adx_slope < 0 and p.under_water(close):
        m *= 0.8
    if x.adx > 40 and p.gain(close) / a > 0.5:
        m *= 1.15
    if x.adx > 45:
        m *= 1.10
    sl = p.entry - a * m if p.is_long else p.entry + a * m
    start = number(c, "trade.breakeven_start_atr")
    if c["trade.enable_breakeven_stop"] and start > 0 and p.gain(close) >= a * start:
        buffer = a * number(c, "trade.breakeven_buffer_atr")
        sl = max(sl, p.entry + buffer) if p.is_long else min(sl, p.entry - buffer)
    return sl


def target_level(p: Position, c: Config) -> float:
    distance = p.atr * number(c, "trade.tp_atr_mult")
    return p.entry + distance if p.is_long else p.entry - distance


def take_profit_at(p: Position, price: float, c: Config) -> Exit | None:
    """What D.4 does when the target is hit at this price."""
    if not c["trade.enable_partial_tp"]:
        return Exit("Take Profit")
    if p.tp1_taken:
        return None
    fraction = clamp(number(c, "trade.tp_partial_pct"), 0.0, 1.0)
    if not 0 < fraction < 1:
        return Exit("Take Profit")
    remaining = p.size * (1.0 - fraction) * price
    if remaining < number(c, "trade.tp_partial_min_notional_usd"):
        return None
    return Exit("Take Profit (Partial)", False, fraction)


def trailing_candidate(p: Position, x: Snapshot, c: Config) -> float | None:
    """`cand` of D.5; none while the profit is below the start."""
    start, distance = (
        number(c, "trade.trailing_start_atr"),
        number(c, "trade.trailing_distance_atr"),
    )
    if p.confidence == LOW:
        low_start = number(c, "trade.trailing_start_atr_low_conf")
        low_distance = number(c, "trade.trailing_distance_atr_low_conf")
        start = low_start if low_start > 0 else start
        distance = low_distance if low_distance > 0 else distance
    floor = 0.7 if (p.is_long and x.rsi > 60) or (not p.is_long and x.rsi < 40) else 0.5
    effective = distance
    if c["trade.enable_vol_buffered_trailing"] and x.bb_width_ratio > 1.2:
        effective = distance * 1.25
    profit = p.profit_atr(x.close)
    if profit > 2.0:
        tighter = 0.75 if x.atr_slope > 0 else 0.5
        if x.adx > 35 and x.adx_slope > 0:
            tighter = 1.0
        effective = distance * tighter
    elif x.adx < 25:
        effective = distance * 0.7
    effective = max(effective, floor)
    if profit < start:
        return None
    return x.close - p.atr * effective if p.is_long else x.close + p.atr * effective


def _trailing_hit(p: Position, x: Snapshot, c: Config) -> bool:
    level = p.trailing
    candidate = trailing_candidate(p, x, c)
    if candidate is not None and p.better(candidate, level):
        level = candidate
    return level is not None and p.reached_stop(x.close, level)


def _trend_exits(p: Position, x: Snapshot, c: Config) -> str | None:
    """D.6, 1 to 3."""
    apart = abs(x.ema_fast - x.ema_slow) / x.ema_slow if x.ema_slow > 0 else 0.0
    weak = apart < 0.001 and x.adx > 25
    crossed = x.ema_fast < x.ema_slow if p.is_long else x.ema_fast > x.ema_slow
    if crossed and not weak:
        return "Trend Breakdown (EMA Cross)"
    threshold = p.adx_threshold
    if not threshold > 0:
        threshold = number(c, "trade.smart_exit_adx_exhaustion_lt")
        low = number(c, "trade.smart_exit_adx_exhaustion_lt_low_conf")
        if p.confidence == LOW and low > 0:
            threshold = low
    threshold = max(threshold, 0.0)
    if threshold > 0 and x.adx < threshold:
        return f"Trend Exhaustion (ADX < {shortest(threshold)})"
    if c["filters.require_macro_alignment"] and x.ema_macro > 0:
        if p.is_long and x.close < x.ema_macro:
            return "EMA Macro Breakdown"
        if not p.is_long and x.close > x.ema_macro:
            return "EMA Macro Breakout"
    return None


def _falling(is_long: bool, *values: float) -> bool:
    """h < h1 < h2 … for a long, the mirror for a short."""
    pairs = pairwise(values)
    return all(a < b if is_long else a > b for a, b in pairs)


def _momentum_exits(p: Position, x: Snapshot, c: Config) -> str | None:
    """D.6, 4, 6 and 7."""
    quiet = p.atr * 0.70
    if x.atr < quiet and p.under_water(x.close) and p.symbol.upper() != "PAXG":
        return f"Stagnation Exit (Low Vol: {x.atr:.2f} < {quiet:.2f})"
    profit = p.profit_atr(x.close)
    if (
        x.adx > 50
        and profit >= number(c, "trade.tsme_min_profit_atr")
        and (not c["trade.tsme_require_adx_slope_negative"] or x.adx_slope < 0)
        and _falling(p.is_long, x.macd_hist, x.prev_macd_hist, x.prev2_macd_hist)
    ):
        return (
            f"Trend Saturation Momentum Exhaustion (ADX: {x.adx:.1f}, ADX_slope: {x.adx_slope:.2f})"
        )
    chain = (x.macd_hist, x.prev_macd_hist, x.prev2_macd_hist, x.prev3_macd_hist)
    if profit > 1.5 and x.adx > 35 and _falling(p.is_long, *chain):
        return f"MACD Persistent Divergence (Profit: {profit:.2f} ATR)"
    return None


def _rsi_bound(p: Position, c: Config, name: str) -> float:
    low = number(c, f"trade.rsi_exit_{name}_profit_low_conf")
    if p.confidence == LOW and low > 0:
        return low
    return number(c, f"trade.rsi_exit_{name}_profit")


def _rsi_exit(p: Position, x: Snapshot, c: Config) -> str | None:
    """D.6, 8."""
    if not c["trade.enable_rsi_overextension_exit"]:
        return None
    switch = max(number(c, "trade.rsi_exit_profit_atr_switch"), 0.0)
    regime = "lo" if p.profit_atr(x.close) < switch else "hi"
    upper, lower = _rsi_bound(p, c, f"ub_{regime}"), _rsi_bound(p, c, f"lb_{regime}")
    if p.is_long and x.rsi > upper:
        return f"RSI Overbought ({x.rsi:.1f}, Thr: {shortest(upper)})"
    if not p.is_long and x.rsi < lower:
        return f"RSI Oversold ({x.rsi:.1f}, Thr: {shortest(lower)})"
    return None


def check_exit(p: Position, x: Snapshot, c: Config, *, smart: bool = True) -> Exit | None:
    """D.2: the first exit that fires on the close. smart: D.6 takes part."""
    if glitch(x, c):
        return None
    if p.reached_stop(x.close, stop_level(p, x, x.close, c)):
        return Exit("Stop Loss")
    if _trailing_hit(p, x, c):
        return Exit("Trailing Stop")
    if p.reached_target(x.close, target_level(p, c)):
        taken = take_profit_at(p, x.close, c)
        if taken is not None:
            return taken
    if not smart:
        return None
    reason = _trend_exits(p, x, c) or _momentum_exits(p, x, c) or _rsi_exit(p, x, c)
    return Exit(reason) if reason else None


def update_trailing(p: Position, x: Snapshot, c: Config) -> None:
    """D.7."""
    profit = p.profit_atr(x.close)
    if profit < number(c, "trade.trailing_start_atr"):
        return
    distance = number(c, "trade.trailing_distance_atr") * p.entry_atr
    p.store_trailing(x.close - distance if p.is_long else x.close + distance)
    if c["trade.enable_breakeven_stop"] and profit >= number(c, "trade.breakeven_start_atr"):
        buffer = number(c, "trade.breakeven_buffer_atr") * p.entry_atr
        p.store_trailing(p.entry + buffer if p.is_long else p.entry - buffer)


def update_trailing_as_configured(p: Position, x: Snapshot, c: Config) -> None:
    """D.7 under trailing = configured. profit_atr stays that of D.1 (0 without an entry ATR)."""
    candidate = trailing_candidate(p, x, c)
    if candidate is not None:
        p.store_trailing(candidate)
    start = number(c, "trade.breakeven_start_atr")
    if c["trade.enable_breakeven_stop"] and start > 0 and p.profit_atr(x.close) >= start:
        buffer = p.atr * number(c, "trade.breakeven_buffer_atr")
        p.store_trailing(p.entry + buffer if p.is_long else p.entry - buffer)
