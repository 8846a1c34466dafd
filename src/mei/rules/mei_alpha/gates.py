"""Gates and signals of one snapshot (specification part 1, D.3 and D.4). They know nothing of positions."""

from typing import Any, NamedTuple

from mei.rules.mei_alpha.codes import HIGH, LOW, MACD_ACCEL, MACD_SIGN, MEDIUM
from mei.rules.mei_alpha.snapshot import Snapshot

#: A strongly rising ADX lowers the minimum to this (TMC).
_TMC_SLOPE = 0.5
_TMC_MIN_ADX = 25.0

BTC_UNKNOWN, BTC_DOWN, BTC_UP = -1, 0, 1


class Gates(NamedTuple):
    """Which conditions hold; min_adx is the effective one."""

    is_ranging: bool
    is_anomaly: bool
    is_extended: bool
    is_volume_ok: bool
    is_adx_rising: bool
    is_adx_above: bool
    is_bullish: bool
    is_bearish: bool
    is_btc_ok_long: bool
    is_btc_ok_short: bool
    min_adx: float
    is_open: bool


class Signal(NamedTuple):
    """side: 1 buy, -1 sell, 0 neutral. adx_threshold: what admitted it, ADX points."""

    side: int
    confidence: int
    adx_threshold: float


def is_ranging(x: Snapshot, p: Any) -> bool:
    """At least `min_signals` (one, if 0) of three votes: weak ADX, narrow bands, RSI in the middle (gate 1)."""
    votes = 0
    if x.adx < p.adx_below:
        votes += 1
    if x.bb_width_ratio < p.bb_width_ratio_below:
        votes += 1
    if x.rsi > p.rsi_low and x.rsi < p.rsi_high:
        votes += 1
    needed = p.min_signals if p.min_signals > 1 else 1
    return votes >= needed


def distance_frac(px: float, reference_px: float) -> float:
    """Distance from a reference as a fraction of it; 0 when the reference is not positive."""
    if not reference_px > 0.0:
        return 0.0
    return abs(px - reference_px) / reference_px


def effective_min_adx(x: Snapshot, p: Any) -> float:
    """Minimum ADX after TMC (a rising ADX lowers it) and AVE (unusual volatility raises it) (gate 6)."""
    minimum = p.min_adx
    if x.adx_slope > _TMC_SLOPE and (minimum > _TMC_MIN_ADX or minimum != minimum):
        minimum = _TMC_MIN_ADX
    if p.ave_enabled and x.avg_atr > 0.0 and x.atr / x.avg_atr > p.ave_atr_ratio_gt:
        minimum = minimum * (p.ave_adx_mult if p.ave_adx_mult > 0.0 else 1.0)
    return minimum


def is_volume_ok(x: Snapshot, p: Any) -> bool:
    """Volume above its mean, or a rising mean; both in the strict form (gate 4)."""
    if not p.require_volume_confirmation:
        return True
    is_above = x.volume > x.vol_sma
    if p.vol_confirm_include_prev:
        return is_above or x.vol_trend
    return is_above and x.vol_trend


def judge_gates(x: Snapshot, slope: float, btc: int, is_exempt: bool, p: Any) -> Gates:
    """All gates; none is skipped because another failed. is_exempt: BTC alignment does not concern the symbol."""
    ranging = p.enable_ranging_filter and is_ranging(x, p)
    if ranging and p.enable_slow_drift_entries and abs(slope) >= p.slow_drift_min_slope_pct:
        ranging = False
    anomaly = p.enable_anomaly_filter and (
        distance_frac(x.close, x.prev_close) > p.price_change_pct_gt
        or distance_frac(x.close, x.ema_fast) > p.ema_fast_dev_pct_gt
    )
    extended = (
        p.enable_extension_filter and distance_frac(x.close, x.ema_fast) > p.max_dist_ema_fast
    )
    volume_ok = is_volume_ok(x, p)
    rising = not p.require_adx_rising or x.adx_slope > 0.0 or x.adx > p.adx_rising_saturation
    minimum = effective_min_adx(x, p)
    above = x.adx > minimum
    bullish = x.ema_fast > x.ema_slow and (
        not p.require_macro_alignment or x.ema_slow > x.ema_macro
    )
    bearish = x.ema_fast < x.ema_slow and (
        not p.require_macro_alignment or x.ema_slow < x.ema_macro
    )
    free = (
        not p.require_btc_alignment or is_exempt or btc == BTC_UNKNOWN or x.adx > p.btc_adx_override
    )
    return Gates(
        ranging,
        anomaly,
        extended,
        volume_ok,
        rising,
        above,
        bullish,
        bearish,
        free or btc == BTC_UP,
        free or btc == BTC_DOWN,
        minimum,
        above and not ranging and not anomaly and not extended and volume_ok and rising,
    )


def rsi_weight(adx: float, p: Any) -> float:
    """How far ADX has come from the base minimum to strong, 0 to 1 (DRE)."""
    low = p.min_adx
    high = p.adx_strong_gt if p.adx_strong_gt > low else low + 1.0
    weight = (adx - low) / (high - low)
    if weight < 0.0:
        return 0.0
    if weight > 1.0:
        return 1.0
    return weight


def is_macd_ok(x: Snapshot, side: int, p: Any) -> bool:
    """Whether the histogram moves (accel) or lies (sign) to the side's favour."""
    if p.macd_hist_entry_mode == MACD_ACCEL:
        if side > 0:
            return x.macd_hist > x.macd_hist_1
        return x.macd_hist < x.macd_hist_1
    if p.macd_hist_entry_mode == MACD_SIGN:
        return is_macd_on_side(x, side)
    return True


def is_macd_on_side(x: Snapshot, side: int) -> bool:
    """Histogram above zero for longs, below for shorts."""
    if side > 0:
        return x.macd_hist > 0.0
    return x.macd_hist < 0.0


def standard_side(x: Snapshot, g: Gates, p: Any) -> int:
    """Mode 1: the trend's side if RSI, MACD, StochRSI and BTC agree; else 0."""
    weight = rsi_weight(x.adx, p)
    if g.is_bullish and x.close > x.ema_fast:
        limit = p.rsi_long_weak + weight * (p.rsi_long_strong - p.rsi_long_weak)
        stochastic_ok = not p.use_stoch_rsi_filter or x.stoch_k < p.block_long_if_k_gt
        if x.rsi > limit and is_macd_ok(x, 1, p) and stochastic_ok and g.is_btc_ok_long:
            return 1
    elif g.is_bearish and x.close < x.ema_fast:
        limit = p.rsi_short_weak + weight * (p.rsi_short_strong - p.rsi_short_weak)
        stochastic_ok = not p.use_stoch_rsi_filter or x.stoch_k > p.block_short_if_k_lt
        if x.rsi < limit and is_macd_ok(x, -1, p) and stochastic_ok and g.is_btc_ok_short:
            return -1
    return 0


def pullback_side(x: Snapshot, g: Gates, p: Any) -> int:
    """Mode 2: the close crosses back over the fast EMA with the trend; else 0."""
    if not (p.enable_pullback_entries and g.is_volume_ok and x.adx >= p.pullback_min_adx):
        return 0
    if g.is_anomaly or g.is_extended or g.is_ranging:
        return 0
    needs_sign = p.pullback_require_macd_sign
    crossed_up = x.prev_close <= x.prev_ema_fast and x.close > x.ema_fast
    crossed_down = x.prev_close >= x.prev_ema_fast and x.close < x.ema_fast
    if crossed_up and g.is_bullish and g.is_btc_ok_long:
        fires = (not needs_sign or is_macd_on_side(x, 1)) and x.rsi >= p.pullback_rsi_long_min
        return 1 if fires else 0
    if crossed_down and g.is_bearish and g.is_btc_ok_short:
        fires = (not needs_sign or is_macd_on_side(x, -1)) and x.rsi <= p.pullback_rsi_short_max
        return -1 if fires else 0
    return 0


def slow_drift_side(x: Snapshot, g: Gates, slope: float, p: Any) -> int:
    """Mode 3: the slow EMA drifts far enough to the trend's side; else 0."""
    if not (p.enable_slow_drift_entries and g.is_volume_ok and x.adx >= p.slow_drift_min_adx):
        return 0
    if g.is_anomaly or g.is_extended or g.is_ranging:
        return 0
    needs_sign = p.slow_drift_require_macd_sign
    least = p.slow_drift_min_slope_pct
    if g.is_bullish and x.close > x.ema_slow and g.is_btc_ok_long and slope >= least:
        fires = (not needs_sign or is_macd_on_side(x, 1)) and x.rsi >= p.slow_drift_rsi_long_min
        return 1 if fires else 0
    if g.is_bearish and x.close < x.ema_slow and g.is_btc_ok_short and slope <= -least:
        fires = (not needs_sign or is_macd_on_side(x, -1)) and x.rsi <= p.slow_drift_rsi_short_max
        return -1 if fires else 0
    return 0


def judge_signal(x: Snapshot, g: Gates, slope: float, p: Any) -> Signal:
    """The first mode that fires, of standard, pullback, slow drift (D.4)."""
    if g.is_open:
        side = standard_side(x, g, p)
        if side != 0:
            is_high = x.volume > x.vol_sma * p.high_conf_volume_mult
            return Signal(side, HIGH if is_high else MEDIUM, g.min_adx)
    side = pullback_side(x, g, p)
    if side != 0:
        return Signal(side, p.pullback_confidence, p.pullback_min_adx)
    side = slow_drift_side(x, g, slope, p)
    if side != 0:
        return Signal(side, LOW, p.slow_drift_min_adx)
    return Signal(0, LOW, 0.0)
