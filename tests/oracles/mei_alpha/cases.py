"""Random replay cases for comparing an engine with the oracle (hypothesis).

The structure of a case and its configuration are drawn by hypothesis, so that they shrink towards one symbol, few
bars and the loose base configuration; prices are integer random walks from a drawn seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.oracles.mei_alpha.bank import Bar, Config
from tests.oracles.mei_alpha.defaults import DEFAULTS
from tests.oracles.mei_alpha.engine import Result, replay
from tests.oracles.mei_alpha.switches import ENGINE_SWITCHES

MINUTE = 60_000
START = 1_699_920_000_000
NAMES = ("BTC", "ETH", "kPEPE", "PAXG", "SOL", "BTCUSDT", "ARB", "BTC-USD", "1000BONK", "ETH/USDC")
Bars = dict[str, list[Bar]]

#: Trades often: small windows, few gates, every entry mode.
LOOSE: Config = DEFAULTS | {
    "trade.entry_min_confidence": 0,
    "trade.add_min_confidence": 0,
    "trade.allocation_pct": 0.1,
    "trade.enable_reef_filter": False,
    "trade.enable_ssf_filter": False,
    "trade.enable_rsi_overextension_exit": False,
    "trade.reentry_cooldown_minutes": 0,
    "trade.tp_atr_mult": 2.5,
    "indicators.ema_slow_window": 8,
    "indicators.ema_fast_window": 3,
    "indicators.ema_macro_window": 12,
    "indicators.adx_window": 4,
    "indicators.bb_window": 5,
    "indicators.bb_width_avg_window": 6,
    "indicators.atr_window": 4,
    "indicators.rsi_window": 4,
    "indicators.vol_sma_window": 5,
    "indicators.vol_trend_window": 2,
    "indicators.stoch_rsi_window": 4,
    "indicators.stoch_rsi_smooth1": 2,
    "indicators.stoch_rsi_smooth2": 2,
    "filters.enable_ranging_filter": False,
    "filters.use_stoch_rsi_filter": False,
    "filters.require_btc_alignment": False,
    "filters.require_adx_rising": False,
    "thresholds.entry.min_adx": 12.0,
    "thresholds.entry.max_dist_ema_fast": 0.3,
    "thresholds.entry.high_conf_volume_mult": 1.5,
    "thresholds.entry.macd_hist_entry_mode": 2,
    "thresholds.entry.ave_avg_atr_window": 6,
    "thresholds.entry.enable_pullback_entries": True,
    "thresholds.entry.enable_slow_drift_entries": True,
    "thresholds.entry.slow_drift_slope_window": 4,
    "thresholds.entry.pullback_min_adx": 12.0,
    "thresholds.anomaly.price_change_pct_gt": 0.5,
}

#: key of a section -> the values to draw from. A tuple is a choice.
_TRADE: dict[str, tuple[Any, ...]] = {
    "allocation_pct": (0.01, 0.05, 0.2, 0.3),
    "sl_atr_mult": (0.6, 1.0, 1.5, 3.0, 8.0),
    "tp_atr_mult": (0.8, 1.2, 2.0, 5.0),
    "leverage": (1.0, 2.5, 10.0),
    "enable_reef_filter": (True, False),
    "reef_long_rsi_block_gt": (55.0, 80.0),
    "reef_short_rsi_block_lt": (20.0, 45.0),
    "reef_adx_threshold": (20.0, 40.0, 60.0),
    "reef_long_rsi_extreme_gt": (60.0, 90.0),
    "reef_short_rsi_extreme_lt": (10.0, 40.0),
    "enable_dynamic_leverage": (True, False),
    "leverage_low": (0.5, 2.0),
    "leverage_medium": (1.0, 4.0),
    "leverage_high": (2.0, 8.0),
    "leverage_max_cap": (0.0, 1.5, 3.0),
    "slippage_bps": (-5.0, 0.0, 2.0, 30.0),
    "min_notional_usd": (0.0, 100.0, 600.0, 2500.0),
    "bump_to_min_notional": (True, False),
    "max_total_margin_pct": (0.1, 0.25, 0.4, 1.0),
    "enable_dynamic_sizing": (True, False),
    "confidence_mult_high": (0.8, 1.5),
    "confidence_mult_medium": (0.4, 1.0),
    "confidence_mult_low": (0.2, 1.0),
    "adx_sizing_min_mult": (0.3, 1.0),
    "adx_sizing_full_adx": (20.0, 60.0),
    "vol_baseline_pct": (0.0, 0.005, 0.02),
    "vol_scalar_min": (0.2, 0.8),
    "vol_scalar_max": (1.0, 1.6),
    "enable_pyramiding": (True, False),
    "max_adds_per_symbol": (1, 3, 5),
    "add_fraction_of_base_margin": (0.2, 0.7),
    "add_cooldown_minutes": (0, 30, 120),
    "add_min_profit_atr": (-1.0, 0.0, 0.3, 1.0),
    "add_min_confidence": (1, 2),
    "entry_min_confidence": (1, 2),
    "enable_partial_tp": (True, False),
    "tp_partial_pct": (0.0, 0.25, 0.75, 1.0),
    "tp_partial_min_notional_usd": (0.0, 200.0, 1000.0),
    "trailing_start_atr": (0.2, 0.5, 2.0),
    "trailing_distance_atr": (0.3, 0.6, 1.5),
    "enable_ssf_filter": (True, False),
    "enable_breakeven_stop": (True, False),
    "breakeven_start_atr": (0.0, 0.3, 1.5),
    "breakeven_buffer_atr": (-0.2, 0.0, 0.2),
    "trailing_start_atr_low_conf": (0.3, 1.2),
    "trailing_distance_atr_low_conf": (0.4, 1.2),
    "smart_exit_adx_exhaustion_lt": (0.0, 25.0),
    "smart_exit_adx_exhaustion_lt_low_conf": (10.0, 30.0),
    "enable_rsi_overextension_exit": (True, False),
    "rsi_exit_profit_atr_switch": (-1.0, 0.5, 3.0),
    "rsi_exit_ub_lo_profit": (70.0, 90.0, 99.5),
    "rsi_exit_ub_hi_profit": (65.0, 85.0, 99.5),
    "rsi_exit_lb_lo_profit": (0.5, 10.0, 30.0),
    "rsi_exit_lb_hi_profit": (0.5, 15.0, 35.0),
    "rsi_exit_ub_lo_profit_low_conf": (75.0, 95.0),
    "rsi_exit_ub_hi_profit_low_conf": (72.5, 95.0),
    "rsi_exit_lb_lo_profit_low_conf": (5.0, 25.0),
    "rsi_exit_lb_hi_profit_low_conf": (5.0, 27.5),
    "reentry_cooldown_minutes": (0, 60),
    "reentry_cooldown_min_mins": (0, 10, 90),
    "reentry_cooldown_max_mins": (45, 180, 400),
    "enable_vol_buffered_trailing": (True, False),
    "tsme_min_profit_atr": (0.0, 0.4),
    "tsme_require_adx_slope_negative": (True, False),
    "min_atr_pct": (0.0, 0.01, 0.03),
    "reverse_entry_signal": (True, False),
    "block_exits_on_extreme_dev": (True, False),
    "glitch_price_dev_pct": (0.02, 0.1),
    "glitch_atr_mult": (0.8, 1.5),
    "max_open_positions": (1, 2, 3),
    "entry_cooldown_s": (0, 3600, 9000),
    "exit_cooldown_s": (0, 1800, 5400),
    "max_entry_orders_per_loop": (1, 2),
}
_INDICATORS: dict[str, tuple[Any, ...]] = {
    "ema_slow_window": (4, 6, 10, 20),
    "ema_fast_window": (1, 2, 5, 7),
    "ema_macro_window": (5, 20, 40),
    "adx_window": (1, 2, 3, 7, 10),
    "bb_window": (1, 2, 8, 10),
    "bb_width_avg_window": (1, 3, 10),
    "atr_window": (1, 2, 8),
    "rsi_window": (1, 2, 3, 8),
    "vol_sma_window": (1, 3, 10),
    "vol_trend_window": (1, 3, 6),
    "stoch_rsi_window": (1, 3, 8),
    "stoch_rsi_smooth1": (1, 3),
    "stoch_rsi_smooth2": (1, 3),
}
_FILTERS: dict[str, tuple[Any, ...]] = {
    "enable_ranging_filter": (True,),
    "enable_anomaly_filter": (True, False),
    "enable_extension_filter": (True, False),
    "require_adx_rising": (True,),
    "adx_rising_saturation": (20.0, 60.0),
    "require_volume_confirmation": (True,),
    "vol_confirm_include_prev": (True, False),
    "use_stoch_rsi_filter": (True,),
    "require_btc_alignment": (True,),
    "require_macro_alignment": (True,),
}
_REGIME: dict[str, tuple[Any, ...]] = {
    "enable_regime_filter": (True,),
    "breadth_block_short_above": (30.0, 60.0),
    "breadth_block_long_below": (40.0, 70.0),
    "enable_auto_reverse": (True,),
    "auto_reverse_breadth_low": (0.0, 40.0),
    "auto_reverse_breadth_high": (50.0, 80.0),
}
_THRESHOLDS: dict[str, tuple[Any, ...]] = {
    "entry.min_adx": (5.0, 20.0, 30.0, 45.0),
    "entry.high_conf_volume_mult": (0.5, 1.1, 2.5),
    "entry.btc_adx_override": (20.0, 60.0),
    "entry.max_dist_ema_fast": (0.005, 0.02),
    "entry.ave_enabled": (True, False),
    "entry.ave_atr_ratio_gt": (0.9, 1.1),
    "entry.ave_adx_mult": (0.0, 0.5, 2.0),
    "entry.ave_avg_atr_window": (1, 3, 10),
    "entry.macd_hist_entry_mode": (0, 1),
    "entry.enable_pullback_entries": (False,),
    "entry.pullback_confidence": (1, 2),
    "entry.pullback_min_adx": (0.0, 30.0),
    "entry.pullback_rsi_long_min": (30.0, 60.0),
    "entry.pullback_rsi_short_max": (40.0, 70.0),
    "entry.pullback_require_macd_sign": (False,),
    "entry.enable_slow_drift_entries": (False,),
    "entry.slow_drift_slope_window": (1, 2, 8),
    "entry.slow_drift_min_slope_pct": (-0.01, 0.0, 0.005),
    "entry.slow_drift_min_adx": (0.0, 25.0),
    "entry.slow_drift_rsi_long_min": (30.0, 60.0),
    "entry.slow_drift_rsi_short_max": (40.0, 70.0),
    "entry.slow_drift_require_macd_sign": (False,),
    "ranging.min_signals": (0, 1, 3),
    "ranging.adx_below": (15.0, 40.0),
    "ranging.bb_width_ratio_below": (0.6, 1.2),
    "ranging.rsi_low": (30.0, 48.0),
    "ranging.rsi_high": (52.0, 70.0),
    "anomaly.price_change_pct_gt": (0.01, 0.03),
    "anomaly.ema_fast_dev_pct_gt": (0.01, 0.04),
    "tp_and_momentum.adx_strong_gt": (10.0, 25.0, 60.0),
    "tp_and_momentum.rsi_long_strong": (45.0, 55.0),
    "tp_and_momentum.rsi_long_weak": (40.0, 60.0),
    "tp_and_momentum.rsi_short_strong": (45.0, 55.0),
    "tp_and_momentum.rsi_short_weak": (40.0, 60.0),
    "stoch_rsi.block_long_if_k_gt": (0.6, 1.0, 1.1),
    "stoch_rsi.block_short_if_k_lt": (-0.1, 0.0, 0.4),
}
#: What only shows together: each is a feature switched on (or off) with values that bite.
FEATURES: tuple[Config, ...] = (
    {"trade.enable_rsi_overextension_exit": True, "trade.rsi_exit_ub_lo_profit": 90.0},
    {"trade.reentry_cooldown_minutes": 60, "trade.reentry_cooldown_max_mins": 240},
    {"trade.enable_ssf_filter": True},
    {"trade.enable_reef_filter": True, "trade.reef_adx_threshold": 60.0},
    {"trade.entry_min_confidence": 1},
    {"trade.enable_partial_tp": False},
    {"trade.min_notional_usd": 900.0, "trade.bump_to_min_notional": True},
    {"trade.max_total_margin_pct": 0.12},
    {"trade.max_open_positions": 1},
    {"trade.block_exits_on_extreme_dev": True, "trade.glitch_price_dev_pct": 0.02},
    {"trade.exit_cooldown_s": 4000, "trade.entry_cooldown_s": 8000},
    {"trade.sl_atr_mult": 8.0, "trade.tp_atr_mult": 9.0, "trade.trailing_start_atr": 9.0},
    {"trade.trailing_start_atr": 0.4, "trade.trailing_distance_atr": 0.5},
    {"filters.enable_ranging_filter": True, "thresholds.ranging.adx_below": 30.0},
    {"filters.enable_ranging_filter": True, "thresholds.ranging.min_signals": 1},
    {"filters.use_stoch_rsi_filter": True},
    {"filters.require_btc_alignment": True, "thresholds.entry.btc_adx_override": 70.0},
    # The entries that BTC has to agree to are pullbacks and drifts.
    {
        "filters.require_btc_alignment": True,
        "thresholds.entry.btc_adx_override": 90.0,
        "thresholds.entry.min_adx": 60.0,
    },
    {"filters.require_macro_alignment": True, "indicators.ema_slow_window": 4},
    {"filters.require_adx_rising": True},
    {"filters.require_volume_confirmation": True, "filters.vol_confirm_include_prev": False},
    {
        "market_regime.enable_auto_reverse": True,
        "market_regime.auto_reverse_breadth_low": 0.0,
        "market_regime.auto_reverse_breadth_high": 60.0,
    },
    {
        "market_regime.enable_regime_filter": True,
        "market_regime.breadth_block_short_above": 60.0,
        "market_regime.breadth_block_long_below": 40.0,
    },
    {"thresholds.entry.min_adx": 60.0, "trade.reverse_entry_signal": True},
    {"thresholds.entry.min_adx": 60.0, "thresholds.entry.enable_slow_drift_entries": False},
    {"indicators.adx_window": 10, "trade.smart_exit_adx_exhaustion_lt": 30.0},
    {"filters.enable_ranging_filter": True, "thresholds.ranging.min_signals": 0},
    {
        "thresholds.entry.ave_enabled": True,
        "thresholds.entry.ave_adx_mult": 0.0,
        "thresholds.entry.ave_atr_ratio_gt": 0.9,
        "thresholds.entry.min_adx": 30.0,
    },
    {
        "thresholds.entry.min_adx": 60.0,
        "thresholds.entry.enable_pullback_entries": False,
        "thresholds.entry.slow_drift_min_adx": 0.0,
        "trade.trailing_start_atr_low_conf": 0.3,
        "trade.trailing_distance_atr_low_conf": 0.4,
        "trade.smart_exit_adx_exhaustion_lt_low_conf": 0.0,
        "trade.tp_atr_mult": 5.0,
    },
    {"trade.min_notional_usd": 2500.0, "trade.max_total_margin_pct": 0.1, "trade.leverage": 1.0},
    {
        "thresholds.entry.macd_hist_entry_mode": 0,
        "thresholds.entry.enable_pullback_entries": False,
        "thresholds.entry.enable_slow_drift_entries": False,
    },
    # Positions are flipped rather than left, and not every flip is followed by an entry.
    {
        "trade.exit_cooldown_s": 36_000,
        "trade.entry_cooldown_s": 9_000,
        "trade.reentry_cooldown_minutes": 60,
        "trade.reentry_cooldown_min_mins": 300,
        "trade.reentry_cooldown_max_mins": 600,
    },
    {
        "trade.reentry_cooldown_minutes": 60,
        "trade.reentry_cooldown_min_mins": 0,
        "trade.reentry_cooldown_max_mins": 0,
    },
    # About the jump of a walk; up and down differ.
    {
        "trade.block_exits_on_extreme_dev": True,
        "trade.glitch_price_dev_pct": 0.08,
        "trade.glitch_atr_mult": 50.0,
    },
    {
        "trade.enable_pyramiding": True,
        "trade.slippage_bps": 0.0,
        "trade.add_min_profit_atr": 0.0,
        "trade.add_cooldown_minutes": 0,
    },
    # Several candidates of which few are taken.
    {
        "trade.max_entry_orders_per_loop": 1,
        "trade.min_notional_usd": 2500.0,
        "trade.bump_to_min_notional": False,
        "trade.enable_dynamic_sizing": True,
    },
    {
        "trade.allocation_pct": 0.3,
        "trade.max_total_margin_pct": 0.1,
        "trade.max_open_positions": 9,
        "trade.max_entry_orders_per_loop": 9,
    },
)

#: Keys without any effect in a replay.
WITHOUT_EFFECT = frozenset(
    {
        "trade.use_bbo_for_fills",
        "indicators.ave_avg_atr_window",
        "thresholds.tp_and_momentum.adx_weak_lt",
        "thresholds.tp_and_momentum.tp_mult_strong",
        "thresholds.tp_and_momentum.tp_mult_weak",
        "engine.interval",
        "engine.entry_interval",
        "engine.exit_interval",
        "engine.loop_target_s",
        "engine.signal_on_candle_close",
    }
)
VALUES: dict[str, tuple[Any, ...]] = {
    f"{section}.{name}": values
    for section, table in (
        ("trade", _TRADE),
        ("indicators", _INDICATORS),
        ("filters", _FILTERS),
        ("market_regime", _REGIME),
        ("thresholds", _THRESHOLDS),
    )
    for name, values in table.items()
}


@dataclass(frozen=True)
class Case:
    """Arguments of a replay. overrides: what the configuration changes in LOOSE (for reading a failure)."""

    candles: Bars
    config: Config
    overrides: Config
    interval_ms: int
    lookback: int
    initial_balance: float = 10_000.0
    exit_bars: Bars | None = None
    exit_interval_ms: int = 0
    entry_bars: Bars | None = None
    entry_interval_ms: int = 0
    funding: dict[str, list[tuple[int, float]]] | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    init_state: dict[str, Any] | None = None
    traded: frozenset[str] | None = None
    symbol_configs: dict[str, Config] | None = field(default=None)

    def arguments(self, semantics: Mapping[str, str]) -> dict[str, Any]:
        """Keyword arguments of `replay`. With bar_time = open sub-bars are cut to the window, as loading them does."""
        values = dict(vars(self))
        del values["overrides"]
        if semantics.get("bar_time", "open") == "open":
            for name in ("exit_bars", "entry_bars"):
                values[name] = _cut(values[name], self.from_ms, self.to_ms)
        return values | {"semantics": semantics}

    def run(self, semantics: Mapping[str, str]) -> Result:
        """What the oracle answers."""
        return replay(**self.arguments(semantics))


def _cut(bars: Bars | None, from_ms: int | None, to_ms: int | None) -> Bars | None:
    if bars is None:
        return None
    low = -(1 << 62) if from_ms is None else from_ms
    high = 1 << 62 if to_ms is None else to_ms
    return {symbol: [bar for bar in rows if low <= bar[0] <= high] for symbol, rows in bars.items()}


def walk(rng: Random, n_bars: int, quarter_ms: int) -> list[Bar]:
    """4 bars of quarter_ms for each main bar: an integer walk with changing drift and step, and now and then a jump."""
    decimals = rng.choice((1, 2, 2, 4))
    price = rng.choice((2_000, 20_000, 90_000))
    bars: list[Bar] = []
    drift = step = 0
    for i in range(4 * n_bars):
        if i % rng.choice((24, 40, 64)) == 0:
            drift = rng.randrange(-price // 250, price // 250 + 1)
            step = max(price // rng.choice((60, 150, 400, 1500)), 1)
        o = price
        c = o + drift + rng.randrange(-step, step + 1)
        if rng.randrange(90) == 0:
            c += rng.choice((-1, 1)) * (price // 12)
        if rng.randrange(40) == 0:
            c = o
        c = max(c, 50)
        h = max(o, c) + rng.randrange(step // 2 + 1)
        low = max(min(o, c) - rng.randrange(step // 2 + 1), 1)
        volume = rng.randrange(1000) * (5 if rng.randrange(8) == 0 else 1)
        scale = 10.0**decimals
        prices = (o / scale, h / scale, low / scale, c / scale)
        bars.append((START + i * quarter_ms, *prices, float(volume)))
        # The next open is not always this close.
        price = c if rng.randrange(6) else max(c + rng.randrange(-step, step + 1), 50)
    return bars


def joined(bars: list[Bar], interval: int) -> list[Bar]:
    """Bars of a coarser interval from the fine ones."""
    groups: dict[int, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(bar[0] // interval * interval, []).append(bar)
    out = []
    for t, group in groups.items():
        volume = 0.0
        for bar in group:
            volume += bar[5]
        high, low = max(bar[2] for bar in group), min(bar[3] for bar in group)
        out.append((t, group[0][1], high, low, group[-1][4], volume))
    return out


def thinned(rng: Random, bars: list[Bar], one_in: int) -> list[Bar]:
    """Some bars missing, sometimes a run of them; one_in = 0: none."""
    if not one_in:
        return bars
    out, skip = [], 0
    for bar in bars:
        if rng.randrange(one_in) == 0:
            skip = rng.choice((1, 1, 2, 5))
        if skip:
            skip -= 1
        else:
            out.append(bar)
    return out


@st.composite
def configs(draw: st.DrawFn, most: int = 24) -> Config:
    """A few features and keys of the strategy, with values that make a difference; every other time a crowd of keys.

    Few changes are easy to read and shrink; what only many keys together bring about shows in a crowd.
    """
    changes: Config = {}
    for feature in draw(st.lists(st.sampled_from(FEATURES), max_size=min(most, 4))):
        changes |= feature
    if draw(st.booleans()):
        return changes | crowd(Random(draw(st.integers(0, 2**32 - 1))))
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=most))
    return changes | {key: draw(st.sampled_from(VALUES[key])) for key in sorted(keys)}


def crowd(rng: Random) -> Config:
    """Some features and many keys; of what stands between a signal and a trade, fewer."""
    changes: Config = {}
    for feature in rng.sample(FEATURES, rng.randrange(7)):
        changes |= feature
    one_in = rng.choice((2, 2, 3, 5))
    for key in sorted(VALUES):
        is_filter = key.startswith(("filters.", "market_regime."))
        if rng.randrange(3 * one_in if is_filter else one_in) == 0:
            changes[key] = rng.choice(VALUES[key])
    return changes


def _init_state(rng: Random, candles: Bars) -> dict[str, Any]:
    positions = []
    for symbol in sorted(candles):
        if rng.randrange(3) == 0:
            continue
        close = candles[symbol][0][4]
        is_long = rng.randrange(2) == 0
        atr = close * rng.choice((0.0, 0.005, 0.02))
        entry = close * rng.choice((0.98, 1.0, 1.02))
        trailing = entry - atr * 2 if is_long else entry + atr * 2
        positions.append(
            {
                "symbol": symbol,
                "side": "long" if is_long else "short",
                "size": 1500.0 / close,
                "entry_price": entry,
                "entry_atr": atr,
                "trailing_sl": trailing if rng.randrange(3) == 0 else None,
                "confidence": rng.randrange(3),
                "leverage": 3.0,
                "margin_used": 500.0,
                "adds_count": rng.randrange(3),
                "tp1_taken": rng.randrange(4) == 0,
                "open_time_ms": START - 3_600_000,
                "last_add_time_ms": START - 3_600_000,
                "entry_adx_threshold": rng.choice((0.0, 10.0)),
            }
        )
    return {"balance": 12_345.5, "positions": positions}


def _funding(rng: Random, candles: Bars, until: int) -> dict[str, list[tuple[int, float]]]:
    rates: dict[str, list[tuple[int, float]]] = {}
    for symbol in sorted(candles):
        if rng.randrange(5) == 0:
            continue
        first = START - 3_600_000 * rng.choice((0, 2, -5))
        times = [t for t in range(first, until, 3_600_000) if rng.randrange(6)]
        rates[symbol] = [(t, rng.randrange(-4, 5) * 1e-5) for t in times]
    return rates


def _window(rng: Random, times: list[int], interval: int) -> tuple[int | None, int | None]:
    """Bounds on bars, or a little beside them; each may be open."""
    beside = rng.choice((0, 0, 0, interval // 4, -interval // 2 + 1))
    low = times[rng.randrange(len(times) // 2 + 1)] + beside if rng.randrange(4) else None
    high = times[-1 - rng.randrange(len(times) // 3 + 1)] + beside if rng.randrange(4) else None
    if low is not None and high is not None and low > high:
        return high, low
    return low, high


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    sub_bars: bool = True,
    symbol_layers: bool = True,
    contexts: bool = True,
    max_symbols: int = 4,
) -> Case:
    """A case; the flags leave features out."""
    symbols = draw(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=max_symbols, unique=True).map(sorted)
    )
    interval = draw(st.sampled_from((60, 240, 20))) * MINUTE
    n_bars = draw(st.integers(70, 150))
    overrides = draw(configs())
    rng = Random(draw(st.integers(0, 2**32 - 1)))
    config = LOOSE | overrides

    fine = {symbol: walk(rng, n_bars, interval // 4) for symbol in symbols}
    gaps = draw(st.sampled_from((0, 40, 12)))
    candles: Bars = {}
    for symbol in symbols:
        rows = thinned(rng, joined(fine[symbol], interval), gaps)
        late = rng.choice((0, 0, 0, n_bars // 4, n_bars // 2))
        candles[symbol] = rows[late:]

    def series(label: str) -> tuple[Bars | None, int]:
        parts = draw(st.sampled_from((0, 0, 2, 4)), label=label) if sub_bars else 0
        if not parts:
            return None, 0
        missing = draw(st.sampled_from((0, 30, 6, 3)), label=f"{label} gaps")
        owners = [symbol for symbol in symbols if rng.randrange(6)]
        chosen = {s: thinned(rng, joined(fine[s], interval // parts), missing) for s in owners}
        return chosen, interval // parts

    exit_bars, exit_interval = series("exit bars per bar")
    entry_bars, entry_interval = series("entry bars per bar")
    times = sorted({bar[0] for rows in candles.values() for bar in rows})
    low, high = _window(rng, times, interval) if draw(st.booleans()) else (None, None)
    layers = None
    if symbol_layers and draw(st.booleans()):
        layered = draw(st.lists(st.sampled_from(symbols), unique=True, max_size=2))
        layers = {symbol: config | draw(configs(most=6)) for symbol in sorted(layered)}
    traded = None
    if contexts and len(symbols) > 1 and draw(st.integers(0, 4)) == 4:
        traded = frozenset({draw(st.sampled_from(symbols))})
    return Case(
        candles=candles,
        config=config,
        overrides=overrides,
        interval_ms=interval,
        lookback=draw(st.sampled_from((5, 0, 1, 15, 30))),
        exit_bars=exit_bars,
        exit_interval_ms=exit_interval,
        entry_bars=entry_bars,
        entry_interval_ms=entry_interval,
        funding=_funding(rng, candles, times[-1] + 4 * interval) if draw(st.booleans()) else None,
        from_ms=low,
        to_ms=high,
        init_state=_init_state(rng, candles) if draw(st.integers(0, 3)) == 3 else None,
        traded=traded,
        symbol_configs=layers,
    )


@st.composite
def switches(draw: st.DrawFn) -> dict[str, str]:
    """Any combination of the engine's switches."""
    return {
        name: draw(st.sampled_from((reference, repaired)), label=name)
        for name, (_, reference, repaired) in ENGINE_SWITCHES.items()
    }
