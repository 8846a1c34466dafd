"""Gates, the three entry modes, and what is done to a signal before it may trade (part 1, D)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.oracles.mei_alpha.bank import Config, Snapshot

BUY, SELL, NEUTRAL = "BUY", "SELL", "NEUTRAL"
LOW, MEDIUM, HIGH = 0, 1, 2
ACCEL, SIGN, NO_MACD = 0, 1, 2


def divide(a: float, b: float) -> float:
    """IEEE division, without Python's exception."""
    if b != 0.0:
        return a / b
    if a == 0.0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def clamp(x: float, low: float, high: float) -> float:
    if low > high:
        raise ValueError(f"clamp: lower bound {low} above upper bound {high}")
    return low if x < low else high if x > high else x


def number(config: Config, path: str) -> float:
    return float(config[path])


def trunc_count(x: float) -> int:
    """Float to unsigned integer: toward zero, NaN and negative become 0."""
    return 0 if math.isnan(x) or x < 0 else int(x)


@dataclass(frozen=True)
class Gates:
    is_ranging: bool
    is_anomaly: bool
    is_extended: bool
    vol_confirm: bool
    is_trending_up: bool
    adx_above_min: bool
    bullish: bool
    bearish: bool
    btc_ok_long: bool
    btc_ok_short: bool
    effective_min_adx: float
    rsi_long_limit: float
    rsi_short_limit: float

    @property
    def all_pass(self) -> bool:
        return (
            self.adx_above_min
            and not self.is_ranging
            and not self.is_anomaly
            and not self.is_extended
            and self.vol_confirm
            and self.is_trending_up
        )


@dataclass(frozen=True)
class Signal:
    direction: str = NEUTRAL
    confidence: int = LOW
    adx_threshold: float = 0.0


def _ratio(value: float, base: float) -> float:
    return abs(value - base) / base if base > 0 else 0.0


def _ranging(x: Snapshot, c: Config, slope: float) -> bool:
    if not c["filters.enable_ranging_filter"]:
        return False
    r = "thresholds.ranging."
    votes = int(x.adx < number(c, r + "adx_below"))
    votes += int(x.bb_width_ratio < number(c, r + "bb_width_ratio_below"))
    votes += int(x.rsi > number(c, r + "rsi_low") and x.rsi < number(c, r + "rsi_high"))
    if votes < max(int(c[r + "min_signals"]), 1):
        return False
    overridden = c["thresholds.entry.enable_slow_drift_entries"] and abs(slope) >= number(
        c, "thresholds.entry.slow_drift_min_slope_pct"
    )
    return not overridden


def _anomaly(x: Snapshot, c: Config) -> bool:
    if not c["filters.enable_anomaly_filter"]:
        return False
    a = "thresholds.anomaly."
    return _ratio(x.close, x.prev_close) > number(c, a + "price_change_pct_gt") or _ratio(
        x.close, x.ema_fast
    ) > number(c, a + "ema_fast_dev_pct_gt")


def _volume(x: Snapshot, c: Config) -> bool:
    if not c["filters.require_volume_confirmation"]:
        return True
    above = x.volume > x.vol_sma
    if c["filters.vol_confirm_include_prev"]:
        return above or x.vol_trend
    return above and x.vol_trend


def effective_min_adx(x: Snapshot, c: Config) -> float:
    e = "thresholds.entry."
    m = number(c, e + "min_adx")
    if x.adx_slope > 0.5:
        m = min(m, 25.0)
    if (
        c[e + "ave_enabled"]
        and x.avg_atr > 0
        and x.atr / x.avg_atr > number(c, e + "ave_atr_ratio_gt")
    ):
        mult = number(c, e + "ave_adx_mult")
        m = m * (mult if mult > 0 else 1.0)
    return m


def rsi_limits(x: Snapshot, c: Config) -> tuple[float, float]:
    """DRE: (long, short)."""
    t = "thresholds.tp_and_momentum."
    low = number(c, "thresholds.entry.min_adx")
    strong = number(c, t + "adx_strong_gt")
    high = strong if strong > low else low + 1.0
    w = clamp((x.adx - low) / (high - low), 0.0, 1.0)
    long_weak, long_strong = number(c, t + "rsi_long_weak"), number(c, t + "rsi_long_strong")
    short_weak, short_strong = number(c, t + "rsi_short_weak"), number(c, t + "rsi_short_strong")
    return long_weak + w * (long_strong - long_weak), short_weak + w * (short_strong - short_weak)


def gates(x: Snapshot, c: Config, *, exempt: bool, btc: bool | None, slope: float) -> Gates:
    """D.3. exempt: the symbol itself is the one that BTC alignment looks at."""
    bullish = x.ema_fast > x.ema_slow
    bearish = x.ema_fast < x.ema_slow
    if c["filters.require_macro_alignment"]:
        bullish = bullish and x.ema_slow > x.ema_macro
        bearish = bearish and x.ema_slow < x.ema_macro
    free = (
        not c["filters.require_btc_alignment"]
        or exempt
        or btc is None
        or x.adx > number(c, "thresholds.entry.btc_adx_override")
    )
    minimum = effective_min_adx(x, c)
    long_limit, short_limit = rsi_limits(x, c)
    return Gates(
        is_ranging=_ranging(x, c, slope),
        is_anomaly=_anomaly(x, c),
        is_extended=bool(c["filters.enable_extension_filter"])
        and _ratio(x.close, x.ema_fast) > number(c, "thresholds.entry.max_dist_ema_fast"),
        vol_confirm=_volume(x, c),
        is_trending_up=not c["filters.require_adx_rising"]
        or x.adx_slope > 0
        or x.adx > number(c, "filters.adx_rising_saturation"),
        adx_above_min=x.adx > minimum,
        bullish=bullish,
        bearish=bearish,
        btc_ok_long=free or btc is True,
        btc_ok_short=free or btc is False,
        effective_min_adx=minimum,
        rsi_long_limit=long_limit,
        rsi_short_limit=short_limit,
    )


def _standard(x: Snapshot, g: Gates, c: Config) -> Signal | None:
    if not g.all_pass:
        return None
    mode = c["thresholds.entry.macd_hist_entry_mode"]
    active = c["filters.use_stoch_rsi_filter"]
    s = "thresholds.stoch_rsi."
    if g.bullish and x.close > x.ema_fast:
        direction, btc_ok = BUY, g.btc_ok_long
        rsi_ok = x.rsi > g.rsi_long_limit
        macd_ok = {
            ACCEL: x.macd_hist > x.prev_macd_hist,
            SIGN: x.macd_hist > 0,
            NO_MACD: True,
        }
        stoch_ok = not active or x.stoch_rsi_k < number(c, s + "block_long_if_k_gt")
    elif g.bearish and x.close < x.ema_fast:
        direction, btc_ok = SELL, g.btc_ok_short
        rsi_ok = x.rsi < g.rsi_short_limit
        macd_ok = {
            ACCEL: x.macd_hist < x.prev_macd_hist,
            SIGN: x.macd_hist < 0,
            NO_MACD: True,
        }
        stoch_ok = not active or x.stoch_rsi_k > number(c, s + "block_short_if_k_lt")
    else:
        return None
    if not (rsi_ok and macd_ok[int(mode)] and stoch_ok and btc_ok):
        return None
    heavy = x.volume > x.vol_sma * number(c, "thresholds.entry.high_conf_volume_mult")
    return Signal(direction, HIGH if heavy else MEDIUM, g.effective_min_adx)


def _undisturbed(g: Gates) -> bool:
    return not g.is_anomaly and not g.is_extended and not g.is_ranging and g.vol_confirm


def _momentum_ok(x: Snapshot, c: Config, mode: str, direction: str) -> bool:
    """The MACD sign and RSI conditions that pullback and slow drift share."""
    e = f"thresholds.entry.{mode}_"
    sign = bool(c[e + "require_macd_sign"])
    if direction == BUY:
        return (not sign or x.macd_hist > 0) and x.rsi >= number(c, e + "rsi_long_min")
    return (not sign or x.macd_hist < 0) and x.rsi <= number(c, e + "rsi_short_max")


def _pullback(x: Snapshot, g: Gates, c: Config) -> Signal | None:
    e = "thresholds.entry."
    if not (c[e + "enable_pullback_entries"] and _undisturbed(g)):
        return None
    threshold = number(c, e + "pullback_min_adx")
    if not x.adx >= threshold:
        return None
    crossed_up = x.prev_close <= x.prev_ema_fast and x.close > x.ema_fast
    crossed_down = x.prev_close >= x.prev_ema_fast and x.close < x.ema_fast
    if crossed_up and g.bullish and g.btc_ok_long:
        direction = BUY
    elif crossed_down and g.bearish and g.btc_ok_short:
        direction = SELL
    else:
        return None
    if not _momentum_ok(x, c, "pullback", direction):
        return None
    return Signal(direction, int(c[e + "pullback_confidence"]), threshold)


def _slow_drift(x: Snapshot, g: Gates, c: Config, slope: float) -> Signal | None:
    e = "thresholds.entry."
    if not (c[e + "enable_slow_drift_entries"] and _undisturbed(g)):
        return None
    threshold = number(c, e + "slow_drift_min_adx")
    if not x.adx >= threshold:
        return None
    least = number(c, e + "slow_drift_min_slope_pct")
    if g.bullish and x.close > x.ema_slow and g.btc_ok_long and slope >= least:
        direction = BUY
    elif g.bearish and x.close < x.ema_slow and g.btc_ok_short and slope <= -least:
        direction = SELL
    else:
        return None
    if not _momentum_ok(x, c, "slow_drift", direction):
        return None
    return Signal(direction, LOW, threshold)


def signal(x: Snapshot, g: Gates, c: Config, slope: float) -> Signal:
    """D.4: the first mode that fires."""
    return _standard(x, g, c) or _pullback(x, g, c) or _slow_drift(x, g, c, slope) or Signal()


def atr_floor(atr: float, price: float, c: Config) -> float:
    least = number(c, "trade.min_atr_pct")
    return price * least if least > 0 and atr < price * least else atr


def transform(direction: str, breadth: float, c: Config) -> str:
    """D.7: reverse, then the regime filter."""
    if direction == NEUTRAL:
        return NEUTRAL
    m = "market_regime."
    reverse = bool(c["trade.reverse_entry_signal"])
    if c[m + "enable_auto_reverse"]:
        reverse = (
            number(c, m + "auto_reverse_breadth_low")
            <= breadth
            <= number(c, m + "auto_reverse_breadth_high")
        )
    if reverse:
        direction = SELL if direction == BUY else BUY
    if c[m + "enable_regime_filter"]:
        if direction == SELL and breadth > number(c, m + "breadth_block_short_above"):
            return NEUTRAL
        if direction == BUY and breadth < number(c, m + "breadth_block_long_below"):
            return NEUTRAL
    return direction


def pesc_blocks(
    x: Snapshot,
    is_long: bool,
    now: int,
    last_close: tuple[int, bool, str] | None,
    c: Config,
) -> bool:
    """D.8 d. last_close: (time, was long, reason) of the symbol's last exit."""
    if int(c["trade.reentry_cooldown_minutes"]) == 0 or last_close is None:
        return False
    when, was_long, reason = last_close
    if reason == "Signal Flip" or was_long != is_long:
        return False
    least = float(c["trade.reentry_cooldown_min_mins"])
    most = float(c["trade.reentry_cooldown_max_mins"])
    if x.adx >= 40.0:
        minutes = least
    elif x.adx <= 25.0:
        minutes = most
    else:
        minutes = most + ((x.adx - 25.0) / 15.0) * (least - most)
    return now - when < int(minutes * 60000.0)


def ssf_blocks(x: Snapshot, is_long: bool, c: Config) -> bool:
    if not c["trade.enable_ssf_filter"]:
        return False
    return not (x.macd_hist > 0 if is_long else x.macd_hist < 0)


def reef_blocks(x: Snapshot, is_long: bool, c: Config) -> bool:
    if not c["trade.enable_reef_filter"]:
        return False
    calm = x.adx < number(c, "trade.reef_adx_threshold")
    if is_long:
        return x.rsi > number(
            c, "trade.reef_long_rsi_block_gt" if calm else "trade.reef_long_rsi_extreme_gt"
        )
    return x.rsi < number(
        c, "trade.reef_short_rsi_block_lt" if calm else "trade.reef_short_rsi_extreme_lt"
    )
