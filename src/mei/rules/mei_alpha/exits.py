"""When a position ends: stop, trailing stop, take-profit, smart exits (specification part 2, section D).

`slot` is a record of SLOT_DTYPE with a position in it, `x` the (possibly hybrid) snapshot, `p` a record of RISK_DTYPE.
"""

from math import nan
from typing import Any, NamedTuple

from mei.rules.mei_alpha.codes import (
    DIVERGENCE,
    LOW,
    MACRO_BREAKDOWN,
    MACRO_BREAKOUT,
    NO_REASON,
    RSI_OVERBOUGHT,
    RSI_OVERSOLD,
    SATURATION,
    STAGNATION,
    STOP_LOSS,
    TAKE_PROFIT,
    TAKE_PROFIT_PARTIAL,
    TRAILING_STOP,
    TREND_BREAKDOWN,
    TREND_EXHAUSTION,
)
from mei.rules.mei_alpha.snapshot import Snapshot


class Exit(NamedTuple):
    """reason: NO_REASON = stay. fraction: of the position, 1 = all. details: the numbers in the reason's text."""

    reason: int
    fraction: float
    detail_1: float
    detail_2: float


def atr_of(slot: Any) -> float:
    """The position's ATR, or half a percent of its entry when it has none (A of D.1)."""
    if slot.entry_atr > 0.0:
        return slot.entry_atr
    return slot.entry_px * 0.005


def gain_px(slot: Any, close_px: float) -> float:
    """How far the price has moved in the position's favour, quote per base."""
    if slot.side > 0:
        return close_px - slot.entry_px
    return slot.entry_px - close_px


def profit_atr(slot: Any, close_px: float) -> float:
    """Gain in ATRs of the entry; 0 for a position without ATR."""
    if not slot.entry_atr > 0.0:
        return 0.0
    return gain_px(slot, close_px) / slot.entry_atr


def is_under_water(slot: Any, close_px: float) -> bool:
    """The price is on the losing side of the entry."""
    if slot.side > 0:
        return close_px < slot.entry_px
    return close_px > slot.entry_px


def is_reached(side: int, close_px: float, level_px: float) -> bool:
    """A stop at `level_px` is at or behind the price: at or below it for longs, at or above it for shorts."""
    if side > 0:
        return close_px <= level_px
    return close_px >= level_px


def is_tighter(side: int, level_px: float, stored_px: float) -> bool:
    """`level_px` protects more than `stored_px`."""
    if side > 0:
        return level_px > stored_px
    return level_px < stored_px


def is_glitch(x: Snapshot, p: Any) -> bool:
    """The close is too far from the previous one to be believed."""
    if not (p.block_exits_on_extreme_dev and x.prev_close > 0.0):
        return False
    distance = abs(x.close - x.prev_close)
    if distance / x.prev_close > p.glitch_price_dev_pct:
        return True
    return x.atr > 0.0 and distance > x.atr * p.glitch_atr_mult


def stop_level(slot: Any, x: Snapshot, p: Any) -> float:
    """Stop-loss level: ATR multiples narrowed under water, widened in strong trends, lifted at break-even (D.3)."""
    atr = atr_of(slot)
    gain = gain_px(slot, x.close)
    mult = p.sl_atr_mult
    if x.adx_slope < 0.0 and is_under_water(slot, x.close):
        mult *= 0.8
    if x.adx > 40.0 and gain / atr > 0.5:
        mult *= 1.15
    if x.adx > 45.0:
        mult *= 1.10
    level = slot.entry_px - atr * mult if slot.side > 0 else slot.entry_px + atr * mult
    if (
        p.enable_breakeven_stop
        and p.breakeven_start_atr > 0.0
        and gain >= atr * p.breakeven_start_atr
    ):
        buffer = atr * p.breakeven_buffer_atr
        even = slot.entry_px + buffer if slot.side > 0 else slot.entry_px - buffer
        if is_tighter(slot.side, even, level):
            level = even
    return level


def low_confidence_value(slot: Any, value: float, low_confidence: float) -> float:
    """The low-confidence variant where the position is of low confidence and the variant is set (> 0)."""
    if slot.confidence == LOW and low_confidence > 0.0:
        return low_confidence
    return value


def trailing_distance_atr(slot: Any, x: Snapshot, p: Any) -> float:
    """Distance of the trailing stop in ATRs with every modifier (D.5)."""
    base = low_confidence_value(slot, p.trailing_distance_atr, p.trailing_distance_atr_low_conf)
    is_stretched = x.rsi > 60.0 if slot.side > 0 else x.rsi < 40.0
    least = 0.7 if is_stretched else 0.5
    distance = base
    if p.enable_vol_buffered_trailing and x.bb_width_ratio > 1.2:
        distance = base * 1.25
    if profit_atr(slot, x.close) > 2.0:
        distance = base * (0.75 if x.atr_slope > 0.0 else 0.5)
        if x.adx > 35.0 and x.adx_slope > 0.0:
            distance = base
    elif x.adx < 25.0:
        distance = base * 0.7
    return least if distance < least else distance


def trailing_candidate(slot: Any, x: Snapshot, p: Any) -> float:
    """Where a trailing stop would lie at this close; NaN before the profit has reached its start (D.5)."""
    start = low_confidence_value(slot, p.trailing_start_atr, p.trailing_start_atr_low_conf)
    if profit_atr(slot, x.close) < start:
        return nan
    distance = atr_of(slot) * trailing_distance_atr(slot, x, p)
    return x.close - distance if slot.side > 0 else x.close + distance


def is_trailing_hit(slot: Any, x: Snapshot, p: Any) -> bool:
    """The close is at or through the trailing level of this evaluation."""
    level = trailing_candidate(slot, x, p)
    if slot.has_trailing and (level != level or is_tighter(slot.side, slot.trailing_px, level)):
        level = slot.trailing_px
    return level == level and is_reached(slot.side, x.close, level)


def target_level(slot: Any, p: Any) -> float:
    """Take-profit level (D.4)."""
    distance = atr_of(slot) * p.tp_atr_mult
    return slot.entry_px + distance if slot.side > 0 else slot.entry_px - distance


def take_profit_at(slot: Any, px: float, p: Any) -> Exit:
    """What the take-profit does at `px`, given that its level is reached: all, a part, or nothing (D.4)."""
    if not p.enable_partial_tp:
        return Exit(TAKE_PROFIT, 1.0, 0.0, 0.0)
    if slot.tp1_taken:
        return Exit(NO_REASON, 0.0, 0.0, 0.0)
    fraction = p.tp_partial_pct
    if fraction < 0.0:
        fraction = 0.0
    if fraction > 1.0:
        fraction = 1.0
    if fraction > 0.0 and fraction < 1.0:
        if slot.qty * (1.0 - fraction) * px < p.tp_partial_min_notional_usd:
            return Exit(NO_REASON, 0.0, 0.0, 0.0)
        return Exit(TAKE_PROFIT_PARTIAL, fraction, 0.0, 0.0)
    return Exit(TAKE_PROFIT, 1.0, 0.0, 0.0)


def exhaustion_adx(slot: Any, p: Any) -> float:
    """ADX below which the trend counts as exhausted: what admitted the entry, else the configured value (X of D.6)."""
    if slot.adx_threshold > 0.0:
        return slot.adx_threshold
    level = low_confidence_value(
        slot, p.smart_exit_adx_exhaustion_lt, p.smart_exit_adx_exhaustion_lt_low_conf
    )
    return level if level > 0.0 else 0.0


def trend_exit(slot: Any, x: Snapshot, p: Any, is_gold: bool) -> Exit:
    """Smart exits 1 to 4: EMA cross, exhaustion, macro EMA, stagnation."""
    side = slot.side
    deviation = abs(x.ema_fast - x.ema_slow) / x.ema_slow if x.ema_slow > 0.0 else 0.0
    is_weak = deviation < 0.001 and x.adx > 25.0
    crossed = x.ema_fast < x.ema_slow if side > 0 else x.ema_fast > x.ema_slow
    if crossed and not is_weak:
        return Exit(TREND_BREAKDOWN, 1.0, 0.0, 0.0)
    least = exhaustion_adx(slot, p)
    if least > 0.0 and x.adx < least:
        return Exit(TREND_EXHAUSTION, 1.0, least, 0.0)
    if p.require_macro_alignment and x.ema_macro > 0.0:
        if side > 0 and x.close < x.ema_macro:
            return Exit(MACRO_BREAKDOWN, 1.0, 0.0, 0.0)
        if side < 0 and x.close > x.ema_macro:
            return Exit(MACRO_BREAKOUT, 1.0, 0.0, 0.0)
    quiet = atr_of(slot) * 0.70
    if x.atr < quiet and is_under_water(slot, x.close) and not is_gold:
        return Exit(STAGNATION, 1.0, x.atr, quiet)
    return Exit(NO_REASON, 0.0, 0.0, 0.0)


def momentum_exit(slot: Any, x: Snapshot, p: Any) -> Exit:
    """Smart exits 6 and 7: a saturated trend loses momentum, the histogram diverges for three bars."""
    profit = profit_atr(slot, x.close)
    h, h1, h2, h3 = x.macd_hist, x.macd_hist_1, x.macd_hist_2, x.macd_hist_3
    fades = h < h1 and h1 < h2 if slot.side > 0 else h > h1 and h1 > h2
    slope_ok = not p.tsme_require_adx_slope_negative or x.adx_slope < 0.0
    if x.adx > 50.0 and profit >= p.tsme_min_profit_atr and slope_ok and fades:
        return Exit(SATURATION, 1.0, x.adx, x.adx_slope)
    fades_on = fades and (h2 < h3 if slot.side > 0 else h2 > h3)
    if profit > 1.5 and x.adx > 35.0 and fades_on:
        return Exit(DIVERGENCE, 1.0, profit, 0.0)
    return Exit(NO_REASON, 0.0, 0.0, 0.0)


def overextension_exit(slot: Any, x: Snapshot, p: Any) -> Exit:
    """Smart exit 8: RSI beyond the bound of the profit regime."""
    if not p.enable_rsi_overextension_exit:
        return Exit(NO_REASON, 0.0, 0.0, 0.0)
    switch = p.rsi_exit_profit_atr_switch if p.rsi_exit_profit_atr_switch > 0.0 else 0.0
    if profit_atr(slot, x.close) < switch:
        upper = low_confidence_value(
            slot, p.rsi_exit_ub_lo_profit, p.rsi_exit_ub_lo_profit_low_conf
        )
        lower = low_confidence_value(
            slot, p.rsi_exit_lb_lo_profit, p.rsi_exit_lb_lo_profit_low_conf
        )
    else:
        upper = low_confidence_value(
            slot, p.rsi_exit_ub_hi_profit, p.rsi_exit_ub_hi_profit_low_conf
        )
        lower = low_confidence_value(
            slot, p.rsi_exit_lb_hi_profit, p.rsi_exit_lb_hi_profit_low_conf
        )
    if slot.side > 0 and x.rsi > upper:
        return Exit(RSI_OVERBOUGHT, 1.0, x.rsi, upper)
    if slot.side < 0 and x.rsi < lower:
        return Exit(RSI_OVERSOLD, 1.0, x.rsi, lower)
    return Exit(NO_REASON, 0.0, 0.0, 0.0)


def exit_at_close(slot: Any, x: Snapshot, p: Any, is_gold: bool, is_warm: bool) -> Exit:
    """The first exit that fires on this close (D.2). is_warm: indicators stand on bars, smart exits may read them."""
    if is_glitch(x, p):
        return Exit(NO_REASON, 0.0, 0.0, 0.0)
    if is_reached(slot.side, x.close, stop_level(slot, x, p)):
        return Exit(STOP_LOSS, 1.0, 0.0, 0.0)
    if is_trailing_hit(slot, x, p):
        return Exit(TRAILING_STOP, 1.0, 0.0, 0.0)
    if is_reached(-slot.side, x.close, target_level(slot, p)):
        taken = take_profit_at(slot, x.close, p)
        if taken.reason != NO_REASON:
            return taken
    if not is_warm:
        return Exit(NO_REASON, 0.0, 0.0, 0.0)
    found = trend_exit(slot, x, p, is_gold)
    if found.reason == NO_REASON:
        found = momentum_exit(slot, x, p)
    if found.reason == NO_REASON:
        found = overextension_exit(slot, x, p)
    return found


def ratchet(slot: Any, level_px: float) -> None:
    """Store a trailing stop if there is none or the new one is tighter."""
    if not slot.has_trailing or is_tighter(slot.side, level_px, slot.trailing_px):
        slot.has_trailing = 1
        slot.trailing_px = level_px


def trail_base(slot: Any, x: Snapshot, p: Any) -> None:
    """After an evaluation without exit, the reference's way: base distance, break-even behind the start (D.7)."""
    profit = profit_atr(slot, x.close)
    if profit < p.trailing_start_atr:
        return
    distance = p.trailing_distance_atr * slot.entry_atr
    ratchet(slot, x.close - distance if slot.side > 0 else x.close + distance)
    if p.enable_breakeven_stop and profit >= p.breakeven_start_atr:
        ratchet_break_even(slot, slot.entry_atr, p)


def trail_configured(slot: Any, x: Snapshot, p: Any) -> None:
    """After an evaluation without exit: the modified distance, break-even on its own (switch trailing)."""
    level = trailing_candidate(slot, x, p)
    if level == level:
        ratchet(slot, level)
    is_due = p.breakeven_start_atr > 0.0 and profit_atr(slot, x.close) >= p.breakeven_start_atr
    if p.enable_breakeven_stop and is_due:
        ratchet_break_even(slot, atr_of(slot), p)


def ratchet_break_even(slot: Any, atr: float, p: Any) -> None:
    """Store the entry plus a buffer as trailing stop if that is tighter."""
    buffer = p.breakeven_buffer_atr * atr
    ratchet(slot, slot.entry_px + buffer if slot.side > 0 else slot.entry_px - buffer)
