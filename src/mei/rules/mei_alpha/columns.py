"""All indicators of one symbol, stage 1 of the engine: they depend on bars and windows alone.

They are computed in a *bank*: an array of shape (N_COLUMNS, n_past + n_new), one row for each series of BANK. Its
last `n_past` bars before the new ones are the only past any window reads, so a bank goes over any history chunk by
chunk, or on bar by bar, and its content with a record of INDICATOR_STATE_DTYPE is all that a continuation needs.
"""

from typing import Any

from mei.model.bars import FloatArray
from mei.rules.mei_alpha.indicators import (
    fill_adx,
    fill_atr,
    fill_bands,
    fill_ema,
    fill_macd,
    fill_ratio,
    fill_rsi,
    fill_slope,
    fill_smoothed_stochastic,
    fill_stochastic,
    fill_window_deviation,
    fill_window_mean,
)

#: Names of a bank's series, in the order of its rows.
BANK = (
    "high",
    "low",
    "close",
    "volume",
    "ema_slow",
    "ema_fast",
    "ema_macro",
    "macd_hist",
    "slope",
    "vol_sma",
    "vol_short",
    "atr",
    "avg_atr",
    "rsi",
    "adx",
    "adx_pos",
    "adx_neg",
    "bb_mean",
    "bb_deviation",
    "bb_upper",
    "bb_lower",
    "bb_width",
    "bb_width_avg",
    "bb_width_ratio",
    "stoch_raw",
    "stoch_k",
    "stoch_d",
)
N_COLUMNS = len(BANK)
#: Windows that look back over a bank's columns; the other indicators are recursions.
_SPANS = (
    "bb_window",
    "bb_width_avg_window",
    "vol_sma_window",
    "vol_trend_window",
    "ave_avg_atr_window",
    "slow_drift_slope_window",
    "stoch_rsi_window",
    "stoch_rsi_smooth1",
    "stoch_rsi_smooth2",
)
HIGH, LOW, CLOSE, VOLUME = 0, 1, 2, 3
EMA_SLOW, EMA_FAST, EMA_MACRO, MACD_HIST, SLOPE, VOL_SMA, VOL_SHORT = 4, 5, 6, 7, 8, 9, 10
ATR, AVG_ATR, RSI, ADX, ADX_POS, ADX_NEG = 11, 12, 13, 14, 15, 16
BB_MEAN, BB_DEVIATION, BB_UPPER, BB_LOWER, BB_WIDTH = 17, 18, 19, 20, 21
BB_WIDTH_AVG, BB_WIDTH_RATIO, STOCH_RAW, STOCH_K, STOCH_D = 22, 23, 24, 25, 26


def longest_window(w: Any) -> int:
    """The most bars any window of `w` (a record of INDICATORS_DTYPE) spans: what a bank must keep of the past."""
    return max(int(w[name]) for name in _SPANS)


def fill_symbol(
    bars: Any,
    indicators: Any,
    bank: FloatArray,
    n_past: int,
    first: int,
    start: int,
    end: int,
    w: Any,
    state: Any,
) -> None:
    """Indicators of main bars `start` to `end - 1` of one symbol, whose first bar is row `first`.

    bars: BAR_ROW_DTYPE, indicators: INDICATOR_ROW_DTYPE, flat. bank: holds the bars before `start` in its columns
    up to `n_past`, and does so for the bars before `end` afterwards.
    """
    room = bank.shape[1] - n_past
    row = start
    while row < end:
        n_new = end - row
        if n_new > room:
            n_new = room
        for i in range(n_new):
            bank[HIGH, n_past + i] = bars[row + i].high
            bank[LOW, n_past + i] = bars[row + i].low
            bank[CLOSE, n_past + i] = bars[row + i].close
            bank[VOLUME, n_past + i] = bars[row + i].volume
        fill_bank(bank, n_past - (row - first), n_past, n_past + n_new, w, state)
        for i in range(n_new):
            store_row(bank, n_past + i, indicators[row + i])
        shift_bank(bank, n_past, n_new)
        row += n_new


def fill_bank(bank: FloatArray, first: int, start: int, end: int, w: Any, state: Any) -> None:
    """All series of a bank at positions `start` to `end - 1`; the symbol's first bar lies, or would lie, at `first`."""
    close = bank[CLOSE]
    fill_ema(close, first, start, end, w.ema_slow_window, bank[EMA_SLOW])
    fill_ema(close, first, start, end, w.ema_fast_window, bank[EMA_FAST])
    fill_ema(close, first, start, end, w.ema_macro_window, bank[EMA_MACRO])
    fill_macd(close, first, start, end, state, bank[MACD_HIST])
    fill_slope(bank[EMA_SLOW], close, first, start, end, w.slow_drift_slope_window, bank[SLOPE])
    fill_window_mean(bank[VOLUME], first, start, end, w.vol_sma_window, bank[VOL_SMA])
    fill_window_mean(bank[VOLUME], first, start, end, w.vol_trend_window, bank[VOL_SHORT])
    high, low, atr = bank[HIGH], bank[LOW], bank[ATR]
    fill_atr(high, low, close, first, start, end, w.atr_window, state, atr)
    fill_window_mean(atr, first, start, end, w.ave_avg_atr_window, bank[AVG_ATR])
    fill_rsi(close, first, start, end, w.rsi_window, state, bank[RSI])
    pos, neg = bank[ADX_POS], bank[ADX_NEG]
    fill_adx(high, low, close, first, start, end, w.adx_window, state, bank[ADX], pos, neg)
    fill_bollinger(bank, first, start, end, w)
    fill_stoch_rsi(bank, first, start, end, w)


def fill_bollinger(bank: FloatArray, first: int, start: int, end: int, w: Any) -> None:
    """Bands, their width, and the width against its average."""
    close, mean, deviation = bank[CLOSE], bank[BB_MEAN], bank[BB_DEVIATION]
    width, average = bank[BB_WIDTH], bank[BB_WIDTH_AVG]
    fill_window_mean(close, first, start, end, w.bb_window, mean)
    fill_window_deviation(close, first, start, end, w.bb_window, mean, deviation)
    fill_bands(close, start, end, mean, deviation, bank[BB_UPPER], bank[BB_LOWER], width)
    fill_window_mean(width, first, start, end, w.bb_width_avg_window, average)
    fill_ratio(width, start, end, average, bank[BB_WIDTH_RATIO])


def fill_stoch_rsi(bank: FloatArray, first: int, start: int, end: int, w: Any) -> None:
    """K and D of StochRSI; zeros when the filter is off (C.6)."""
    k, d = bank[STOCH_K], bank[STOCH_D]
    if not w.use_stoch_rsi_filter:
        for row in range(start, end):
            k[row] = 0.0
            d[row] = 0.0
        return
    first_full = first + w.stoch_rsi_window - 1
    fill_stochastic(bank[RSI], first, start, end, w.stoch_rsi_window, bank[STOCH_RAW])
    fill_smoothed_stochastic(bank[STOCH_RAW], first_full, start, end, w.stoch_rsi_smooth1, k)
    fill_smoothed_stochastic(k, first_full, start, end, w.stoch_rsi_smooth2, d)


def store_row(bank: FloatArray, place: int, row: Any) -> None:
    """What decisions read of a bank's position, as a record."""
    row.ema_slow = bank[EMA_SLOW, place]
    row.ema_fast = bank[EMA_FAST, place]
    row.ema_macro = bank[EMA_MACRO, place]
    row.adx = bank[ADX, place]
    row.atr = bank[ATR, place]
    row.avg_atr = bank[AVG_ATR, place]
    row.rsi = bank[RSI, place]
    row.stoch_k = bank[STOCH_K, place]
    row.macd_hist = bank[MACD_HIST, place]
    row.vol_sma = bank[VOL_SMA, place]
    row.vol_short = bank[VOL_SHORT, place]
    row.bb_width_ratio = bank[BB_WIDTH_RATIO, place]
    row.slope = bank[SLOPE, place]


def shift_bank(bank: FloatArray, n_past: int, n_new: int) -> None:
    """Make the newest bars the past of the next ones."""
    for column in range(N_COLUMNS):
        for i in range(n_past):
            bank[column, i] = bank[column, i + n_new]
