"""What the rules see of a symbol at one moment (specification part 1, C.11)."""

from typing import Any, NamedTuple


class Snapshot(NamedTuple):
    """One symbol's bar and indicators; prev values are those of its bar before, 0 when there is none."""

    close: float
    volume: float
    prev_close: float
    ema_slow: float
    ema_fast: float
    ema_macro: float
    prev_ema_fast: float
    adx: float
    adx_slope: float
    bb_width_ratio: float
    atr: float
    atr_slope: float
    avg_atr: float
    rsi: float
    stoch_k: float
    macd_hist: float
    macd_hist_1: float
    macd_hist_2: float
    macd_hist_3: float
    vol_sma: float
    vol_trend: bool


def snapshot_at(bars: Any, indicators: Any, first: int, row: int, close_px: float) -> Snapshot:
    """The snapshot of main bar `row` with `close_px` in place of its close (a sub-bar's, or its own).

    bars: BAR_ROW_DTYPE; indicators: INDICATOR_ROW_DTYPE. first: row of the symbol's first bar; a row before it
    gives the neutral snapshot of a symbol without bars.
    """
    if row < first:
        return neutral_snapshot(close_px)
    has_1 = row > first
    now = indicators[row]
    before = indicators[row - 1 if has_1 else row]
    return Snapshot(
        close_px,
        bars[row].volume,
        bars[row - 1].close if has_1 else 0.0,
        now.ema_slow,
        now.ema_fast,
        now.ema_macro,
        before.ema_fast if has_1 else 0.0,
        now.adx,
        now.adx - before.adx if has_1 else now.adx,
        now.bb_width_ratio,
        now.atr,
        now.atr - before.atr if has_1 else now.atr,
        now.avg_atr,
        now.rsi,
        now.stoch_k,
        now.macd_hist,
        before.macd_hist if has_1 else 0.0,
        indicators[row - 2].macd_hist if row - 2 >= first else 0.0,
        indicators[row - 3].macd_hist if row - 3 >= first else 0.0,
        now.vol_sma,
        now.vol_short > now.vol_sma,
    )


def neutral_snapshot(close_px: float) -> Snapshot:
    """What a symbol looks like before its first bar: zeros, RSI 50, width ratio 1 (A.8, last item)."""
    return Snapshot(
        close_px,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        1.0,
        0.0,
        0.0,
        0.0,
        50.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        False,
    )
