"""What the rules see of a symbol at one moment (specification part 1, C.11)."""

from typing import NamedTuple

from mei.model.bars import FloatArray, IntArray


class Bars(NamedTuple):
    """Bars of one series, flat, symbol after symbol: rows first[s] to end[s] - 1 are those of symbol s.

    known_ms: when a bar counts as known: its open or its close (bar_time). interval_ms: its length.
    """

    first: IntArray
    end: IntArray
    open_ms: IntArray
    known_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    interval_ms: int


class Columns(NamedTuple):
    """Indicators of the main bars, one value a row. vol_trend and the rest as in the specification."""

    ema_slow: FloatArray
    ema_fast: FloatArray
    ema_macro: FloatArray
    adx: FloatArray
    atr: FloatArray
    avg_atr: FloatArray
    rsi: FloatArray
    stoch_k: FloatArray
    macd_hist: FloatArray
    vol_sma: FloatArray
    vol_short: FloatArray
    bb_width_ratio: FloatArray
    slope: FloatArray


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


def snapshot_at(bars: Bars, columns: Columns, first: int, row: int, close_px: float) -> Snapshot:
    """The snapshot of main bar `row` with `close_px` in place of its close (a sub-bar's, or its own).

    first: row of the symbol's first bar. A row before it gives the neutral snapshot of a symbol without bars.
    """
    if row < first:
        return neutral_snapshot(close_px)
    has_1 = row > first
    return Snapshot(
        close_px,
        bars.volume[row],
        bars.close[row - 1] if has_1 else 0.0,
        columns.ema_slow[row],
        columns.ema_fast[row],
        columns.ema_macro[row],
        columns.ema_fast[row - 1] if has_1 else 0.0,
        columns.adx[row],
        columns.adx[row] - columns.adx[row - 1] if has_1 else columns.adx[row],
        columns.bb_width_ratio[row],
        columns.atr[row],
        columns.atr[row] - columns.atr[row - 1] if has_1 else columns.atr[row],
        columns.avg_atr[row],
        columns.rsi[row],
        columns.stoch_k[row],
        columns.macd_hist[row],
        columns.macd_hist[row - 1] if has_1 else 0.0,
        columns.macd_hist[row - 2] if row - 2 >= first else 0.0,
        columns.macd_hist[row - 3] if row - 3 >= first else 0.0,
        columns.vol_sma[row],
        columns.vol_short[row] > columns.vol_sma[row],
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
