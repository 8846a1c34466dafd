"""The settings of Mei Alpha: every key with its type, default, unit and meaning, in the specification's order.

A configuration is a plain dict, full dotted path -> value: float -> float, uint -> int, bool -> bool, string -> str,
confidence -> 0 low, 1 medium, 2 high, macd_mode -> 0 accel, 1 sign, 2 none.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, NamedTuple

from mei.rules.mei_alpha.codes import HIGH, LOW, MACD_ACCEL, MACD_NONE, MACD_SIGN, MEDIUM

Kind = Literal["float", "uint", "bool", "string", "confidence", "macd_mode"]
Config = dict[str, Any]

#: Words of the two enumerations; in files they are read in any case.
WORDS: Final[dict[str, dict[str, int]]] = {
    "confidence": {"low": LOW, "medium": MEDIUM, "high": HIGH},
    "macd_mode": {"accel": MACD_ACCEL, "sign": MACD_SIGN, "none": MACD_NONE},
}
MAX_UINT: Final = 2**64 - 1


class Key(NamedTuple):
    """One setting.

    path: full dotted path, such as `trade.leverage`; default: as it stands in a configuration.
    use: S gates and signals, F entry filters, Z sizing, X exits, L loop, C command line, — accepted without effect.
    """

    path: str
    kind: Kind
    default: float | int | bool | str
    use: str
    unit: str
    meaning: str


_FLOAT: Final = "float"
_UINT: Final = "uint"
_BOOL: Final = "bool"
_TEXT: Final = "string"
_CONF: Final = "confidence"
_MACD: Final = "macd_mode"

_Row = tuple[str, Kind, float | int | bool | str, str, str, str]

# fmt: off
_TRADE: tuple[_Row, ...] = (
    ("allocation_pct", _FLOAT, 0.03, "Z", "fraction of equity", "base margin of an entry"),
    ("sl_atr_mult", _FLOAT, 2.0, "X", "ATR", "distance of the stop from the entry"),
    ("tp_atr_mult", _FLOAT, 4.0, "X", "ATR", "distance of the take-profit from the entry"),
    ("leverage", _FLOAT, 3.0, "Z", "×", "leverage while dynamic leverage is off"),
    ("enable_reef_filter", _BOOL, True, "F", "", "block entries at extreme RSI (REEF)"),
    ("reef_long_rsi_block_gt", _FLOAT, 70.0, "F", "RSI", "blocks longs above this, ADX below the REEF threshold"),
    ("reef_short_rsi_block_lt", _FLOAT, 30.0, "F", "RSI", "blocks shorts below this, ADX below the REEF threshold"),
    ("reef_adx_threshold", _FLOAT, 45.0, "F", "ADX", "from here on the extreme limits of REEF hold"),
    ("reef_long_rsi_extreme_gt", _FLOAT, 75.0, "F", "RSI", "blocks longs above this, ADX at or above the threshold"),
    ("reef_short_rsi_extreme_lt", _FLOAT, 25.0, "F", "RSI", "blocks shorts below this, ADX at or above the threshold"),
    ("enable_dynamic_leverage", _BOOL, True, "Z", "", "leverage by confidence"),
    ("leverage_low", _FLOAT, 1.0, "Z", "×", "leverage at low confidence"),
    ("leverage_medium", _FLOAT, 3.0, "Z", "×", "leverage at medium confidence"),
    ("leverage_high", _FLOAT, 5.0, "Z", "×", "leverage at high confidence"),
    ("leverage_max_cap", _FLOAT, 0.0, "Z", "×", "cap of dynamic leverage; 0 or less = none"),
    ("slippage_bps", _FLOAT, 10.0, "Z", "bps", "slippage of entries and adds, in strict of exits too"),
    ("use_bbo_for_fills", _BOOL, True, "—", "", "the backtester has no order book"),
    ("min_notional_usd", _FLOAT, 10.0, "Z", "USD", "smallest notional of an entry or add"),
    ("bump_to_min_notional", _BOOL, False, "Z", "", "enlarge what is smaller instead of dropping it"),
    ("max_total_margin_pct", _FLOAT, 0.60, "Z", "fraction of equity", "cap of all margin together"),
    ("enable_dynamic_sizing", _BOOL, True, "Z", "", "apply the multipliers below"),
    ("confidence_mult_high", _FLOAT, 1.0, "Z", "× margin", "at high confidence"),
    ("confidence_mult_medium", _FLOAT, 0.7, "Z", "× margin", "at medium confidence"),
    ("confidence_mult_low", _FLOAT, 0.5, "Z", "× margin", "at low confidence"),
    ("adx_sizing_min_mult", _FLOAT, 0.6, "Z", "× margin", "lower clamp of the ADX multiplier, of at most 1"),
    ("adx_sizing_full_adx", _FLOAT, 40.0, "Z", "ADX", "ADX at which the multiplier is 1"),
    ("vol_baseline_pct", _FLOAT, 0.01, "Z", "fraction of price", "ATR regarded as normal; 0 = multiplier off"),
    ("vol_scalar_min", _FLOAT, 0.5, "Z", "× margin", "lower clamp of the volatility multiplier"),
    ("vol_scalar_max", _FLOAT, 1.0, "Z", "× margin", "upper clamp of the volatility multiplier"),
    ("enable_pyramiding", _BOOL, True, "L", "", "add to a position on signals of its direction"),
    ("max_adds_per_symbol", _UINT, 2, "L", "count", "adds to one position"),
    ("add_fraction_of_base_margin", _FLOAT, 0.5, "Z", "fraction", "margin of an add, of an entry's base margin"),
    ("add_cooldown_minutes", _UINT, 60, "L", "minutes", "wait since the opening or the last add"),
    ("add_min_profit_atr", _FLOAT, 0.5, "L", "ATR", "profit a position must have"),
    ("add_min_confidence", _CONF, MEDIUM, "L", "", "smallest confidence of the adding signal"),
    ("entry_min_confidence", _CONF, HIGH, "F", "", "smallest confidence to open"),
    ("enable_partial_tp", _BOOL, True, "X", "", "take profit in parts"),
    ("tp_partial_pct", _FLOAT, 0.5, "X", "fraction", "part of the position; 0 or 1 = all of it"),
    ("tp_partial_min_notional_usd", _FLOAT, 10.0, "X", "USD", "notional that must remain"),
    ("trailing_start_atr", _FLOAT, 1.0, "X", "ATR", "profit at which the trailing stop starts"),
    ("trailing_distance_atr", _FLOAT, 0.8, "X", "ATR", "distance of the trailing stop from the close"),
    ("enable_ssf_filter", _BOOL, True, "F", "", "entries need the MACD histogram on their side (SSF)"),
    ("enable_breakeven_stop", _BOOL, True, "X", "", "move the stop to the entry price after some profit"),
    ("breakeven_start_atr", _FLOAT, 0.7, "X", "ATR", "profit at which that happens; 0 or less = never"),
    ("breakeven_buffer_atr", _FLOAT, 0.05, "X", "ATR", "distance of that stop beyond the entry"),
    ("trailing_start_atr_low_conf", _FLOAT, 0.0, "X", "ATR", "at low confidence; 0 or less = as general"),
    ("trailing_distance_atr_low_conf", _FLOAT, 0.0, "X", "ATR", "at low confidence; 0 or less = as general"),
    ("smart_exit_adx_exhaustion_lt", _FLOAT, 18.0, "X", "ADX", "exhausted below this, if the entry had no threshold"),
    ("smart_exit_adx_exhaustion_lt_low_conf", _FLOAT, 0.0, "X", "ADX", "at low confidence; 0 or less = as general"),
    ("enable_rsi_overextension_exit", _BOOL, True, "X", "", "exit at the RSI bounds below"),
    ("rsi_exit_profit_atr_switch", _FLOAT, 1.5, "X", "ATR", "profit from which the hi bounds hold"),
    ("rsi_exit_ub_lo_profit", _FLOAT, 80.0, "X", "RSI", "longs exit above this, profit below the switch"),
    ("rsi_exit_ub_hi_profit", _FLOAT, 70.0, "X", "RSI", "longs exit above this, profit at or above the switch"),
    ("rsi_exit_lb_lo_profit", _FLOAT, 20.0, "X", "RSI", "shorts exit below this, profit below the switch"),
    ("rsi_exit_lb_hi_profit", _FLOAT, 30.0, "X", "RSI", "shorts exit below this, profit at or above the switch"),
    ("rsi_exit_ub_lo_profit_low_conf", _FLOAT, 0.0, "X", "RSI", "at low confidence; 0 or less = as general"),
    ("rsi_exit_ub_hi_profit_low_conf", _FLOAT, 0.0, "X", "RSI", "at low confidence; 0 or less = as general"),
    ("rsi_exit_lb_lo_profit_low_conf", _FLOAT, 0.0, "X", "RSI", "at low confidence; 0 or less = as general"),
    ("rsi_exit_lb_hi_profit_low_conf", _FLOAT, 0.0, "X", "RSI", "at low confidence; 0 or less = as general"),
    ("reentry_cooldown_minutes", _UINT, 60, "F", "minutes", "0 turns the wait after an exit (PESC) off, else as below"),
    ("reentry_cooldown_min_mins", _UINT, 45, "F", "minutes", "wait after an exit at ADX 40 and above"),
    ("reentry_cooldown_max_mins", _UINT, 180, "F", "minutes", "wait after an exit at ADX 25 and below"),
    ("enable_vol_buffered_trailing", _BOOL, True, "X", "", "trail at more distance while Bollinger bands are wide"),
    ("tsme_min_profit_atr", _FLOAT, 1.0, "X", "ATR", "profit the saturation exit (TSME) needs"),
    ("tsme_require_adx_slope_negative", _BOOL, True, "X", "", "the saturation exit needs a falling ADX"),
    ("min_atr_pct", _FLOAT, 0.003, "F", "fraction of price", "floor of the ATR; 0 or less = none"),
    ("reverse_entry_signal", _BOOL, False, "F", "", "swap Buy and Sell"),
    ("block_exits_on_extreme_dev", _BOOL, False, "X", "", "no exit on a close that looks like a glitch"),
    ("glitch_price_dev_pct", _FLOAT, 0.40, "X", "fraction", "such a close is this far from the one before"),
    ("glitch_atr_mult", _FLOAT, 12.0, "X", "ATR of the bar", "or this far"),
    ("max_open_positions", _UINT, 20, "L", "count", "positions open at a time"),
    ("entry_cooldown_s", _UINT, 20, "L", "seconds", "wait between entries of a symbol"),
    ("exit_cooldown_s", _UINT, 15, "L", "seconds", "wait between exits of a symbol"),
    ("max_entry_orders_per_loop", _UINT, 6, "L", "count", "new positions per step of the main series"),
)
_INDICATORS: tuple[_Row, ...] = (
    ("ema_slow_window", _UINT, 50, "S", "bars", "span of the slow EMA"),
    ("ema_fast_window", _UINT, 20, "S", "bars", "span of the fast EMA"),
    ("ema_macro_window", _UINT, 200, "S", "bars", "span of the macro EMA"),
    ("adx_window", _UINT, 14, "S", "bars", "Wilder length of ADX"),
    ("bb_window", _UINT, 20, "S", "bars", "Bollinger bands, 2 standard deviations wide"),
    ("bb_width_avg_window", _UINT, 30, "S", "bars", "mean of the band width"),
    ("atr_window", _UINT, 14, "S", "bars", "Wilder length of ATR"),
    ("rsi_window", _UINT, 14, "S", "bars", "Wilder length of RSI"),
    ("vol_sma_window", _UINT, 20, "S", "bars", "long mean of volume"),
    ("vol_trend_window", _UINT, 5, "S", "bars", "short mean of volume"),
    ("stoch_rsi_window", _UINT, 14, "S", "bars", "look-back of StochRSI"),
    ("stoch_rsi_smooth1", _UINT, 3, "S", "bars", "smoothing of K"),
    ("stoch_rsi_smooth2", _UINT, 3, "S", "bars", "smoothing of D, which decides nothing"),
    ("ave_avg_atr_window", _UINT, 50, "—", "bars", "has no effect: `thresholds.entry.ave_avg_atr_window` is read"),
)
_FILTERS: tuple[_Row, ...] = (
    ("enable_ranging_filter", _BOOL, True, "S", "", "no entries in a ranging market"),
    ("enable_anomaly_filter", _BOOL, True, "S", "", "no entries after an abnormal move"),
    ("enable_extension_filter", _BOOL, True, "S", "", "no entries far from the fast EMA"),
    ("require_adx_rising", _BOOL, True, "S", "", "entries need a rising ADX"),
    ("adx_rising_saturation", _FLOAT, 40.0, "S", "ADX", "above this it need not rise"),
    ("require_volume_confirmation", _BOOL, False, "S", "", "entries need volume above its mean"),
    ("vol_confirm_include_prev", _BOOL, True, "S", "", "a rising volume mean will do instead; false: both are needed"),
    ("use_stoch_rsi_filter", _BOOL, True, "S", "", "compute StochRSI and apply it to standard entries"),
    ("require_btc_alignment", _BOOL, True, "S", "", "entries need BTC on their side"),
    ("require_macro_alignment", _BOOL, False, "S, X", "", "entries need the macro EMA on their side, exits when lost"),
)
_REGIME: tuple[_Row, ...] = (
    ("enable_regime_filter", _BOOL, False, "F", "", "block a direction by the breadth of the market"),
    ("breadth_block_short_above", _FLOAT, 90.0, "F", "percent", "breadth above which shorts are blocked"),
    ("breadth_block_long_below", _FLOAT, 10.0, "F", "percent", "breadth below which longs are blocked"),
    ("enable_auto_reverse", _BOOL, False, "F", "", "swap Buy and Sell while the breadth is within the bounds below"),
    ("auto_reverse_breadth_low", _FLOAT, 10.0, "F", "percent", "lower bound, inclusive"),
    ("auto_reverse_breadth_high", _FLOAT, 90.0, "F", "percent", "upper bound, inclusive"),
)
_THRESHOLDS: tuple[_Row, ...] = (
    ("entry.min_adx", _FLOAT, 22.0, "S", "ADX", "minimum of standard entries; lower end of the RSI ramp"),
    ("entry.high_conf_volume_mult", _FLOAT, 2.5, "S", "× mean volume", "volume above which confidence is high"),
    ("entry.btc_adx_override", _FLOAT, 40.0, "S", "ADX", "the symbol's ADX above which BTC's side does not matter"),
    ("entry.max_dist_ema_fast", _FLOAT, 0.04, "S", "fraction", "largest distance of the close from the fast EMA"),
    ("entry.ave_enabled", _BOOL, True, "S", "", "ask for more ADX in volatile times (AVE)"),
    ("entry.ave_atr_ratio_gt", _FLOAT, 1.5, "S", "× mean ATR", "ATR above which it does"),
    ("entry.ave_adx_mult", _FLOAT, 1.25, "S", "× minimum ADX", "how much more; 0 or less acts as 1"),
    ("entry.ave_avg_atr_window", _UINT, 50, "S", "bars", "mean of ATR; computed even if AVE is off"),
    ("entry.macd_hist_entry_mode", _MACD, MACD_ACCEL, "S", "", "MACD histogram must grow, have the sign, or neither"),
    ("entry.enable_pullback_entries", _BOOL, False, "S", "", "also enter where the close crosses the fast EMA back"),
    ("entry.pullback_confidence", _CONF, LOW, "S", "", "confidence of pullback entries"),
    ("entry.pullback_min_adx", _FLOAT, 22.0, "S", "ADX", "minimum of pullback entries, inclusive"),
    ("entry.pullback_rsi_long_min", _FLOAT, 50.0, "S", "RSI", "minimum of long pullback entries, inclusive"),
    ("entry.pullback_rsi_short_max", _FLOAT, 50.0, "S", "RSI", "maximum of short pullback entries, inclusive"),
    ("entry.pullback_require_macd_sign", _BOOL, True, "S", "", "they need the MACD histogram on their side"),
    ("entry.enable_slow_drift_entries", _BOOL, False, "S", "", "also enter on a slow drift, lifts the ranging filter"),
    ("entry.slow_drift_slope_window", _UINT, 20, "S", "bars", "length of the slope of the slow EMA"),
    ("entry.slow_drift_min_slope_pct", _FLOAT, 0.0006, "S", "fraction of price", "smallest slope over that window"),
    ("entry.slow_drift_min_adx", _FLOAT, 10.0, "S", "ADX", "minimum of slow drift entries, inclusive"),
    ("entry.slow_drift_rsi_long_min", _FLOAT, 50.0, "S", "RSI", "minimum of long slow drift entries, inclusive"),
    ("entry.slow_drift_rsi_short_max", _FLOAT, 50.0, "S", "RSI", "maximum of short slow drift entries, inclusive"),
    ("entry.slow_drift_require_macd_sign", _BOOL, True, "S", "", "they need the MACD histogram on their side"),
    ("ranging.min_signals", _UINT, 2, "S", "count", "votes that make a ranging market, of three; 0 acts as 1"),
    ("ranging.adx_below", _FLOAT, 21.0, "S", "ADX", "first vote: ADX below this"),
    ("ranging.bb_width_ratio_below", _FLOAT, 0.8, "S", "× mean width", "second vote: Bollinger width below this"),
    ("ranging.rsi_low", _FLOAT, 47.0, "S", "RSI", "third vote: RSI above this"),
    ("ranging.rsi_high", _FLOAT, 53.0, "S", "RSI", "and below this"),
    ("anomaly.price_change_pct_gt", _FLOAT, 0.10, "S", "fraction", "abnormal: change of the close above this"),
    ("anomaly.ema_fast_dev_pct_gt", _FLOAT, 0.50, "S", "fraction", "abnormal: distance from the fast EMA above this"),
    ("tp_and_momentum.adx_strong_gt", _FLOAT, 40.0, "S", "ADX", "upper end of the RSI ramp"),
    ("tp_and_momentum.adx_weak_lt", _FLOAT, 30.0, "—", "ADX", "only feeds the unused dynamic take-profit"),
    ("tp_and_momentum.tp_mult_strong", _FLOAT, 7.0, "—", "ATR", "only feeds the unused dynamic take-profit"),
    ("tp_and_momentum.tp_mult_weak", _FLOAT, 3.0, "—", "ATR", "only feeds the unused dynamic take-profit"),
    ("tp_and_momentum.rsi_long_strong", _FLOAT, 52.0, "S", "RSI", "longs need more at the ramp's upper end"),
    ("tp_and_momentum.rsi_long_weak", _FLOAT, 56.0, "S", "RSI", "longs need more at the ramp's lower end"),
    ("tp_and_momentum.rsi_short_strong", _FLOAT, 48.0, "S", "RSI", "shorts need less at the ramp's upper end"),
    ("tp_and_momentum.rsi_short_weak", _FLOAT, 44.0, "S", "RSI", "shorts need less at the ramp's lower end"),
    ("stoch_rsi.block_long_if_k_gt", _FLOAT, 0.85, "S", "K, 0 to 1", "blocks standard longs from here up"),
    ("stoch_rsi.block_short_if_k_lt", _FLOAT, 0.15, "S", "K, 0 to 1", "blocks standard shorts from here down"),
)
_ENGINE: tuple[_Row, ...] = (
    ("interval", _TEXT, "1h", "C", "", "interval of the main candles, as it is labelled in the database"),
    ("entry_interval", _TEXT, "", "C", "", "finer candles that entries are decided on; empty = off"),
    ("exit_interval", _TEXT, "", "C", "", "finer candles that exits are decided on; empty = off"),
    ("loop_target_s", _UINT, 60, "—", "seconds", "of the live engine"),
    ("signal_on_candle_close", _BOOL, True, "—", "", "of the live engine"),
)
# fmt: on

_SECTIONS = {
    "trade": _TRADE,
    "indicators": _INDICATORS,
    "filters": _FILTERS,
    "market_regime": _REGIME,
    "thresholds": _THRESHOLDS,
    "engine": _ENGINE,
}

#: Every setting.
KEYS: Final[tuple[Key, ...]] = tuple(
    Key(f"{section}.{row[0]}", *row[1:]) for section, rows in _SECTIONS.items() for row in rows
)
BY_PATH: Final[dict[str, Key]] = {key.path: key for key in KEYS}
#: The built-in configuration. Copy it before changing anything.
DEFAULTS: Final[Config] = {key.path: key.default for key in KEYS}
#: Paths that a sweep may set: all but the engine's.
SWEPT: Final[tuple[str, ...]] = tuple(
    key.path for key in KEYS if not key.path.startswith("engine.")
)

#: Settings that are read once for all symbols: one of them cannot have its own.
OF_PORTFOLIO: Final[tuple[str, ...]] = (
    "trade.max_open_positions",
    "trade.max_total_margin_pct",
    "trade.max_entry_orders_per_loop",
    *(key.path for key in KEYS if key.path.startswith("engine.")),
)

_AVE_WINDOWS = ("indicators.ave_avg_atr_window", "thresholds.entry.ave_avg_atr_window")


def set_swept(config: Config, path: str, value: float) -> bool:
    """Set one key of `config` in place from a sweep's number; False if no sweep may set that path.

    Conversions saturate: bool = not 0 (NaN is true); uint = truncated, within 0 to 2**64 - 1, NaN is 0; the words of
    an enumeration are 0, 1 and, from 2 up, the last. Either path of `ave_avg_atr_window` sets both.
    """
    if path not in _SWEPT:
        return False
    kind = BY_PATH[path].kind
    converted: float | int | bool
    if kind == "float":
        converted = float(value)
    elif kind == "bool":
        converted = value != 0
    elif kind == "uint":
        converted = _truncated(value)
    else:
        converted = min(_truncated(value), 2)
    for one in _AVE_WINDOWS if path in _AVE_WINDOWS else (path,):
        config[one] = converted
    return True


_SWEPT = frozenset(SWEPT)


def _truncated(value: float) -> int:
    if math.isnan(value) or value <= 0:
        return 0
    return MAX_UINT if value >= MAX_UINT else int(value)
