"""Configuration and state as records a compiled rule can read.

Three configuration records, one for each stage, and a stage sees only its own: what a stage reads is what its key
is made of, so that two configurations share a stage exactly when its record is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mei.model.semantics import CHOICES, Semantics

_INDICATOR_PATHS = {
    **{
        f"indicators.{name}": "i8"
        for name in (
            "ema_slow_window",
            "ema_fast_window",
            "ema_macro_window",
            "adx_window",
            "bb_window",
            "bb_width_avg_window",
            "atr_window",
            "rsi_window",
            "vol_sma_window",
            "vol_trend_window",
            "stoch_rsi_window",
            "stoch_rsi_smooth1",
            "stoch_rsi_smooth2",
        )
    },
    "thresholds.entry.ave_avg_atr_window": "i8",
    "thresholds.entry.slow_drift_slope_window": "i8",
    "filters.use_stoch_rsi_filter": "?",
}

_SCREEN_PATHS = {
    "filters.enable_ranging_filter": "?",
    "filters.enable_anomaly_filter": "?",
    "filters.enable_extension_filter": "?",
    "filters.require_adx_rising": "?",
    "filters.adx_rising_saturation": "f8",
    "filters.require_volume_confirmation": "?",
    "filters.vol_confirm_include_prev": "?",
    "filters.use_stoch_rsi_filter": "?",
    "filters.require_btc_alignment": "?",
    "filters.require_macro_alignment": "?",
    "market_regime.enable_regime_filter": "?",
    "market_regime.breadth_block_short_above": "f8",
    "market_regime.breadth_block_long_below": "f8",
    "market_regime.enable_auto_reverse": "?",
    "market_regime.auto_reverse_breadth_low": "f8",
    "market_regime.auto_reverse_breadth_high": "f8",
    "thresholds.entry.min_adx": "f8",
    "thresholds.entry.high_conf_volume_mult": "f8",
    "thresholds.entry.btc_adx_override": "f8",
    "thresholds.entry.max_dist_ema_fast": "f8",
    "thresholds.entry.ave_enabled": "?",
    "thresholds.entry.ave_atr_ratio_gt": "f8",
    "thresholds.entry.ave_adx_mult": "f8",
    "thresholds.entry.macd_hist_entry_mode": "i8",
    "thresholds.entry.enable_pullback_entries": "?",
    "thresholds.entry.pullback_confidence": "i8",
    "thresholds.entry.pullback_min_adx": "f8",
    "thresholds.entry.pullback_rsi_long_min": "f8",
    "thresholds.entry.pullback_rsi_short_max": "f8",
    "thresholds.entry.pullback_require_macd_sign": "?",
    "thresholds.entry.enable_slow_drift_entries": "?",
    "thresholds.entry.slow_drift_min_slope_pct": "f8",
    "thresholds.entry.slow_drift_min_adx": "f8",
    "thresholds.entry.slow_drift_rsi_long_min": "f8",
    "thresholds.entry.slow_drift_rsi_short_max": "f8",
    "thresholds.entry.slow_drift_require_macd_sign": "?",
    "thresholds.ranging.min_signals": "i8",
    "thresholds.ranging.adx_below": "f8",
    "thresholds.ranging.bb_width_ratio_below": "f8",
    "thresholds.ranging.rsi_low": "f8",
    "thresholds.ranging.rsi_high": "f8",
    "thresholds.anomaly.price_change_pct_gt": "f8",
    "thresholds.anomaly.ema_fast_dev_pct_gt": "f8",
    "thresholds.tp_and_momentum.adx_strong_gt": "f8",
    "thresholds.tp_and_momentum.rsi_long_strong": "f8",
    "thresholds.tp_and_momentum.rsi_long_weak": "f8",
    "thresholds.tp_and_momentum.rsi_short_strong": "f8",
    "thresholds.tp_and_momentum.rsi_short_weak": "f8",
    "thresholds.stoch_rsi.block_long_if_k_gt": "f8",
    "thresholds.stoch_rsi.block_short_if_k_lt": "f8",
    "trade.min_atr_pct": "f8",
    "trade.reverse_entry_signal": "?",
    "trade.entry_min_confidence": "i8",
    "trade.enable_ssf_filter": "?",
    "trade.enable_reef_filter": "?",
    "trade.reef_long_rsi_block_gt": "f8",
    "trade.reef_short_rsi_block_lt": "f8",
    "trade.reef_adx_threshold": "f8",
    "trade.reef_long_rsi_extreme_gt": "f8",
    "trade.reef_short_rsi_extreme_lt": "f8",
}

_RISK_FLOATS = (
    "allocation_pct",
    "sl_atr_mult",
    "tp_atr_mult",
    "leverage",
    "leverage_low",
    "leverage_medium",
    "leverage_high",
    "leverage_max_cap",
    "slippage_bps",
    "min_notional_usd",
    "max_total_margin_pct",
    "confidence_mult_high",
    "confidence_mult_medium",
    "confidence_mult_low",
    "adx_sizing_min_mult",
    "adx_sizing_full_adx",
    "vol_baseline_pct",
    "vol_scalar_min",
    "vol_scalar_max",
    "add_fraction_of_base_margin",
    "add_min_profit_atr",
    "tp_partial_pct",
    "tp_partial_min_notional_usd",
    "trailing_start_atr",
    "trailing_distance_atr",
    "breakeven_start_atr",
    "breakeven_buffer_atr",
    "trailing_start_atr_low_conf",
    "trailing_distance_atr_low_conf",
    "smart_exit_adx_exhaustion_lt",
    "smart_exit_adx_exhaustion_lt_low_conf",
    "rsi_exit_profit_atr_switch",
    "rsi_exit_ub_lo_profit",
    "rsi_exit_ub_hi_profit",
    "rsi_exit_lb_lo_profit",
    "rsi_exit_lb_hi_profit",
    "rsi_exit_ub_lo_profit_low_conf",
    "rsi_exit_ub_hi_profit_low_conf",
    "rsi_exit_lb_lo_profit_low_conf",
    "rsi_exit_lb_hi_profit_low_conf",
    "tsme_min_profit_atr",
    "glitch_price_dev_pct",
    "glitch_atr_mult",
)
_RISK_FLAGS = (
    "enable_dynamic_leverage",
    "bump_to_min_notional",
    "enable_dynamic_sizing",
    "enable_pyramiding",
    "enable_partial_tp",
    "enable_breakeven_stop",
    "enable_rsi_overextension_exit",
    "enable_vol_buffered_trailing",
    "tsme_require_adx_slope_negative",
    "block_exits_on_extreme_dev",
)
_RISK_COUNTS = (
    "max_adds_per_symbol",
    "add_cooldown_minutes",
    "add_min_confidence",
    "reentry_cooldown_minutes",
    "reentry_cooldown_min_mins",
    "reentry_cooldown_max_mins",
    "max_open_positions",
    "entry_cooldown_s",
    "exit_cooldown_s",
    "max_entry_orders_per_loop",
)
_RISK_PATHS = {
    **{f"trade.{name}": "f8" for name in _RISK_FLOATS},
    **{f"trade.{name}": "?" for name in _RISK_FLAGS},
    **{f"trade.{name}": "i8" for name in _RISK_COUNTS},
    "trade.min_atr_pct": "f8",
    "filters.require_macro_alignment": "?",
}

#: Counts beyond this cannot be reached by any run and would overflow products with milliseconds.
_MAX_COUNT = 1 << 40


def _dtype(paths: Mapping[str, str]) -> np.dtype[Any]:
    fields: list[tuple[str, str]] = [
        (path.rpartition(".")[2], kind if kind == "?" else f"<{kind}")
        for path, kind in paths.items()
    ]
    return np.dtype(fields)


#: Stage 1: windows, bars. Stage 2: gates and signals. Stage 3: sizing, exits, cooldowns. Units as in the table of keys.
INDICATORS_DTYPE = _dtype(_INDICATOR_PATHS)
SCREEN_DTYPE = _dtype(_SCREEN_PATHS)
RISK_DTYPE = _dtype(_RISK_PATHS)

#: Switches of `mei.model.semantics` that compiled rules read; True = the repaired way.
ENGINE_SWITCHES = (
    "bar_time",
    "entry_fill",
    "exit_fill",
    "take_profit",
    "trailing",
    "equity",
    "run_end",
    "costs",
    "funding",
    "bump",
    "warm_up",
    "excursions",
)

#: One bar of any series. known_ms: when it counts as known, its open or its close (bar_time). step: of a main bar.
BAR_ROW_DTYPE = np.dtype(
    [
        ("open_ms", "<i8"),
        ("known_ms", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),
        ("step", "<i8"),
    ]
)

#: Indicators of one main bar, as far as a decision reads them (part 1, C.11).
INDICATOR_ROW_DTYPE = np.dtype(
    [
        (name, "<f8")
        for name in (
            "ema_slow",
            "ema_fast",
            "ema_macro",
            "adx",
            "atr",
            "avg_atr",
            "rsi",
            "stoch_k",
            "macd_hist",
            "vol_sma",
            "vol_short",
            "bb_width_ratio",
            "slope",
        )
    ]
)

#: One symbol: its rows in each series (first to end - 1), its risk record, and what is special about it.
#: n_before: bars it had before the first row. entry_bars, exit_bars: bars it needs before entries and smart exits.
SYMBOL_DTYPE = np.dtype(
    [
        ("first", "<i8"),
        ("end", "<i8"),
        ("exit_first", "<i8"),
        ("exit_end", "<i8"),
        ("entry_first", "<i8"),
        ("entry_end", "<i8"),
        ("funding_first", "<i8"),
        ("funding_end", "<i8"),
        ("risk", "<i8"),
        ("n_before", "<i8"),
        ("entry_bars", "<i8"),
        ("exit_bars", "<i8"),
        ("is_gold", "?"),
        ("is_btc_exempt", "?"),
        ("is_traded", "?"),
    ]
)

#: One moment of the main timeline. btc, breadth: context fixed at its start (D.1). first_candidate, first_tick:
#: where its candidates of main bars and of entry sub-bars start; they end where those of the next step start, so
#: there is one step more than the timeline has.
STEP_DTYPE = np.dtype(
    [
        ("known_ms", "<i8"),
        ("btc", "<i8"),
        ("breadth", "<f8"),
        ("first_candidate", "<i8"),
        ("first_tick", "<i8"),
    ]
)

FUNDING_DTYPE = np.dtype([("time_ms", "<i8"), ("rate", "<f8")])

#: Everything that holds for a whole run: window on known times, until when an earlier run has seen to everything,
#: lengths of the bars, fee as a fraction of a fill, and the switches.
RUN_DTYPE = np.dtype(
    [
        ("from_ms", "<i8"),
        ("to_ms", "<i8"),
        ("resumed_ms", "<i8"),
        ("n_symbols", "<i8"),
        ("n_steps", "<i8"),
        ("main_interval_ms", "<i8"),
        ("exit_interval_ms", "<i8"),
        ("entry_interval_ms", "<i8"),
        ("fee_rate", "<f8"),
        ("has_exits", "?"),
        ("has_entries", "?"),
        ("has_funding", "?"),
        *((name, "?") for name in ENGINE_SWITCHES),
    ]
)

#: Everything the walk knows about one symbol between two bars. side: 1 long, -1 short, 0 no position.
#: main_row, exit_row, entry_row: newest main bar seen, next sub-bars to look at (-1 = not looked up yet).
#: stop_*: the resting stop (exit_fill = level). met_ms: until when the position has met the market. funded_ms:
#: until when it has paid funding. exit_order, add_order, open_order: orders waiting for an open; 0 = none (exit: 1
#: whole, 2 part; open: side). lowest_px, highest_px: of what the position lived through (excursions = held). seen_*:
#: range of the sub-bars met in the main bar that opens at seen_ms. hole_*: of the stops that rested while no sub-bar
#: came in the main bar that opens at hole_ms the first one (hole_at_open: from the bar's open on), the nearest to the
#: market and the farthest; hole_between: there was another one between these two.
SLOT_DTYPE = np.dtype(
    [
        ("side", "<i8"),
        ("qty", "<f8"),
        ("entry_px", "<f8"),
        ("confidence", "<i8"),
        ("entry_atr", "<f8"),
        ("adx_threshold", "<f8"),
        ("has_trailing", "<i8"),
        ("trailing_px", "<f8"),
        ("leverage", "<f8"),
        ("margin_usd", "<f8"),
        ("adds_count", "<i8"),
        ("tp1_taken", "<i8"),
        ("opened_ms", "<i8"),
        ("last_add_ms", "<i8"),
        ("position_id", "<i8"),
        ("has_stop", "<i8"),
        ("stop_px", "<f8"),
        ("stop_reason", "<i8"),
        ("met_ms", "<i8"),
        ("funded_ms", "<i8"),
        ("lowest_px", "<f8"),
        ("highest_px", "<f8"),
        ("seen_ms", "<i8"),
        ("seen_low", "<f8"),
        ("seen_high", "<f8"),
        ("hole_ms", "<i8"),
        ("hole_at_open", "<i8"),
        ("hole_between", "<i8"),
        ("hole_first_px", "<f8"),
        ("hole_first_reason", "<i8"),
        ("hole_near_px", "<f8"),
        ("hole_near_reason", "<i8"),
        ("hole_far_px", "<f8"),
        ("hole_far_reason", "<i8"),
        ("exit_order", "<i8"),
        ("exit_reason", "<i8"),
        ("exit_fraction", "<f8"),
        ("exit_detail_1", "<f8"),
        ("exit_detail_2", "<f8"),
        ("exit_decided_ms", "<i8"),
        ("add_order", "<i8"),
        ("add_notional_usd", "<f8"),
        ("add_margin_usd", "<f8"),
        ("add_atr", "<f8"),
        ("add_confidence", "<i8"),
        ("add_decided_ms", "<i8"),
        ("open_order", "<i8"),
        ("open_notional_usd", "<f8"),
        ("open_margin_usd", "<f8"),
        ("open_leverage", "<f8"),
        ("open_atr", "<f8"),
        ("open_adx_threshold", "<f8"),
        ("open_confidence", "<i8"),
        ("open_reason", "<i8"),
        ("open_decided_ms", "<i8"),
        ("has_entered", "<i8"),
        ("last_entry_ms", "<i8"),
        ("has_left", "<i8"),
        ("last_exit_ms", "<i8"),
        ("last_exit_side", "<i8"),
        ("last_exit_reason", "<i8"),
        ("main_row", "<i8"),
        ("exit_row", "<i8"),
        ("entry_row", "<i8"),
    ]
)

#: The account and the run's counters. n_trades counts on beyond the log's capacity, so that the caller can see it.
ACCOUNT_DTYPE = np.dtype(
    [
        ("balance_usd", "<f8"),
        ("other_equity_usd", "<f8"),
        ("n_active", "<i8"),
        ("n_candidates", "<i8"),
        ("n_entries", "<i8"),
        ("n_trades", "<i8"),
        ("n_positions", "<i8"),
        ("blocked_by_confidence", "<i8"),
        ("blocked_by_pesc", "<i8"),
        ("blocked_by_ssf", "<i8"),
        ("blocked_by_reef", "<i8"),
        ("blocked_by_max_positions", "<i8"),
        ("blocked_by_margin", "<i8"),
    ]
)

#: A decision to enter or add, before what the portfolio says about it. step: where it belongs; base_row: the main
#: bar whose indicators it read. blocked: bits BLOCKED_* of the filters that do not need the portfolio's state.
CANDIDATE_DTYPE = np.dtype(
    [
        ("known_ms", "<i8"),
        ("step", "<i8"),
        ("symbol", "<i8"),
        ("base_row", "<i8"),
        ("is_tick", "?"),
        ("side", "<i8"),
        ("confidence", "<i8"),
        ("blocked", "<i8"),
        ("close_px", "<f8"),
        ("adx", "<f8"),
        ("atr", "<f8"),
        ("adx_threshold", "<f8"),
    ]
)
BLOCKED_CONFIDENCE, BLOCKED_SSF, BLOCKED_REEF = 1, 2, 4

#: Counters of the gates, once for each evaluated main bar (part 1, E.1), in this order.
GATES = (
    "total_checks",
    "neutral_count",
    "buy_count",
    "sell_count",
    "blocked_by_ranging",
    "blocked_by_anomaly",
    "blocked_by_extension",
    "blocked_by_adx_low",
    "blocked_by_adx_not_rising",
    "blocked_by_volume",
    "blocked_by_btc",
)


def field_of(path: str) -> str:
    """The field of a record that holds the value of a dotted path."""
    return path.rpartition(".")[2]


def reads_indicators(path: str) -> bool:
    """Stage 1 reads the path."""
    return path in _INDICATOR_PATHS


def reads_screen(path: str) -> bool:
    """Stage 2 reads the path itself."""
    return path in _SCREEN_PATHS


def reads_risk(path: str) -> bool:
    """Stage 3 reads the path itself."""
    return path in _RISK_PATHS


def capped(value: Any) -> Any:
    """A setting as a record holds it: counts no run can reach are cut."""
    if isinstance(value, int) and not isinstance(value, bool):
        return min(value, _MAX_COUNT)
    return value


def indicators_record(config: Mapping[str, Any]) -> Any:
    """The windows of a configuration, shape (1,), INDICATORS_DTYPE."""
    return _record(_INDICATOR_PATHS, INDICATORS_DTYPE, config)


def screen_record(config: Mapping[str, Any]) -> Any:
    """What gates and signals read, shape (1,), SCREEN_DTYPE."""
    return _record(_SCREEN_PATHS, SCREEN_DTYPE, config)


def risk_record(config: Mapping[str, Any]) -> Any:
    """What the walk reads, shape (1,), RISK_DTYPE."""
    return _record(_RISK_PATHS, RISK_DTYPE, config)


def switches_of(semantics: Semantics) -> dict[str, bool]:
    """The switches compiled rules read, as the fields of a run."""
    return {name: getattr(semantics, name) == CHOICES[name][1] for name in ENGINE_SWITCHES}


def ready_bars(config: Mapping[str, Any]) -> int:
    """Bars until no indicator in use stands on placeholders any more (docs/concepts/semantics.md, warm_up)."""
    window = {path.rpartition(".")[2]: int(config[path]) for path in _INDICATOR_PATHS}
    needed = [
        2 * window["adx_window"],
        window["ema_slow_window"],
        window["ema_fast_window"],
        window["bb_window"] + window["bb_width_avg_window"] - 1,
        window["atr_window"],
        window["rsi_window"] + 1,
        window["vol_sma_window"],
        window["vol_trend_window"],
        window["ave_avg_atr_window"],
        _MACD_BARS,
    ]
    if config["filters.require_macro_alignment"]:
        needed.append(window["ema_macro_window"])
    if config["thresholds.entry.enable_slow_drift_entries"]:
        needed.append(window["slow_drift_slope_window"])
    if config["filters.use_stoch_rsi_filter"]:
        needed.append(
            window["rsi_window"] + window["stoch_rsi_window"] + window["stoch_rsi_smooth1"] - 1
        )
    return max(needed)


#: Slow EMA and signal line of the MACD.
_MACD_BARS = 26 + 9 - 1


def _record(paths: Mapping[str, str], dtype: np.dtype[Any], config: Mapping[str, Any]) -> Any:
    record = np.zeros(1, dtype=dtype)
    for path, kind in paths.items():
        value = config[path]
        record[field_of(path)] = min(value, _MAX_COUNT) if kind == "i8" else value
    return record
