"""All indicators of one symbol, stage 1 of the engine: they depend on bars and windows alone."""

from typing import Any, NamedTuple

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
from mei.rules.mei_alpha.snapshot import Bars, Columns

#: Rows handled by all indicators before the next ones: what one leaves in the cache the next one reads there.
_CHUNK_ROWS = 1024


class Extras(NamedTuple):
    """Columns of one symbol that no decision reads: parts of others, and what the dump shows besides."""

    adx_pos: FloatArray
    adx_neg: FloatArray
    bb_mean: FloatArray
    bb_deviation: FloatArray
    bb_upper: FloatArray
    bb_lower: FloatArray
    bb_width: FloatArray
    bb_width_avg: FloatArray
    stoch_raw: FloatArray
    stoch_d: FloatArray


class Prices(NamedTuple):
    """Bars of one symbol; row 0 is its first."""

    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


def fill_symbol(
    bars: Bars,
    columns: Columns,
    extras: Extras,
    symbol: int,
    n_filled: int,
    windows: Any,
    states: Any,
) -> None:
    """Fill the columns of one symbol from its bar number `n_filled` on; the bars before are filled already.

    windows: a record of INDICATORS_DTYPE; states: INDICATOR_STATE_DTYPE, one a symbol. extras: columns of this symbol,
    or scratch at least as long.
    """
    first = bars.first[symbol]
    end = bars.end[symbol]
    prices = Prices(
        bars.high[first:end], bars.low[first:end], bars.close[first:end], bars.volume[first:end]
    )
    own = columns_between(columns, first, end)
    start = n_filled
    while start < end - first:
        stop = start + _CHUNK_ROWS
        if stop > end - first:
            stop = end - first
        fill_trends(prices, own, start, stop, windows, states[symbol])
        fill_ranges(prices, own, extras, start, stop, windows, states[symbol])
        start = stop


def columns_between(columns: Columns, first: int, end: int) -> Columns:
    """Views of rows `first` to `end - 1`."""
    return Columns(
        columns.ema_slow[first:end],
        columns.ema_fast[first:end],
        columns.ema_macro[first:end],
        columns.adx[first:end],
        columns.atr[first:end],
        columns.avg_atr[first:end],
        columns.rsi[first:end],
        columns.stoch_k[first:end],
        columns.macd_hist[first:end],
        columns.vol_sma[first:end],
        columns.vol_short[first:end],
        columns.bb_width_ratio[first:end],
        columns.slope[first:end],
    )


def fill_trends(prices: Prices, columns: Columns, start: int, end: int, w: Any, state: Any) -> None:
    """EMAs, MACD, slope and volume means."""
    fill_ema(prices.close, 0, start, end, w.ema_slow_window, columns.ema_slow)
    fill_ema(prices.close, 0, start, end, w.ema_fast_window, columns.ema_fast)
    fill_ema(prices.close, 0, start, end, w.ema_macro_window, columns.ema_macro)
    fill_macd(prices.close, 0, start, end, state, columns.macd_hist)
    fill_slope(
        columns.ema_slow, prices.close, 0, start, end, w.slow_drift_slope_window, columns.slope
    )
    fill_window_mean(prices.volume, 0, start, end, w.vol_sma_window, columns.vol_sma)
    fill_window_mean(prices.volume, 0, start, end, w.vol_trend_window, columns.vol_short)


def fill_ranges(
    prices: Prices, columns: Columns, extras: Extras, start: int, end: int, w: Any, state: Any
) -> None:
    """ATR, RSI, ADX, Bollinger bands and StochRSI."""
    high, low, close = prices.high, prices.low, prices.close
    fill_atr(high, low, close, 0, start, end, w.atr_window, state, columns.atr)
    fill_window_mean(columns.atr, 0, start, end, w.ave_avg_atr_window, columns.avg_atr)
    fill_rsi(close, 0, start, end, w.rsi_window, state, columns.rsi)
    fill_adx(
        high,
        low,
        close,
        0,
        start,
        end,
        w.adx_window,
        state,
        columns.adx,
        extras.adx_pos,
        extras.adx_neg,
    )
    fill_bollinger(close, columns, extras, start, end, w)
    fill_stoch_rsi(columns, extras, start, end, w)


def fill_bollinger(
    close: FloatArray, columns: Columns, extras: Extras, start: int, end: int, w: Any
) -> None:
    """Bands, their width, and the width against its average."""
    fill_window_mean(close, 0, start, end, w.bb_window, extras.bb_mean)
    fill_window_deviation(close, 0, start, end, w.bb_window, extras.bb_mean, extras.bb_deviation)
    fill_bands(
        close,
        start,
        end,
        extras.bb_mean,
        extras.bb_deviation,
        extras.bb_upper,
        extras.bb_lower,
        extras.bb_width,
    )
    fill_window_mean(extras.bb_width, 0, start, end, w.bb_width_avg_window, extras.bb_width_avg)
    fill_ratio(extras.bb_width, start, end, extras.bb_width_avg, columns.bb_width_ratio)


def fill_stoch_rsi(columns: Columns, extras: Extras, start: int, end: int, w: Any) -> None:
    """K and D of StochRSI; zeros when the filter is off (C.6)."""
    if not w.use_stoch_rsi_filter:
        for row in range(start, end):
            columns.stoch_k[row] = 0.0
            extras.stoch_d[row] = 0.0
        return
    window = w.stoch_rsi_window
    fill_stochastic(columns.rsi, 0, start, end, window, extras.stoch_raw)
    fill_smoothed_stochastic(
        extras.stoch_raw, window - 1, start, end, w.stoch_rsi_smooth1, columns.stoch_k
    )
    fill_smoothed_stochastic(
        columns.stoch_k, window - 1, start, end, w.stoch_rsi_smooth2, extras.stoch_d
    )
