"""The table of settings, a sweep's conversions, and the ranges a strict run asks for."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.rules.mei_alpha.keys import BY_PATH, DEFAULTS, KEYS, MAX_UINT, SWEPT, WORDS, Key, set_swept
from mei.rules.mei_alpha.ranges import RANGES, Range, config_faults, relation_words

ROOT = Path(__file__).parents[2]
TYPES = {"float": float, "uint": int, "bool": bool, "string": str, "confidence": int, "macd_mode": int}  # fmt: skip
BOTH_WINDOWS = ("indicators.ave_avg_atr_window", "thresholds.entry.ave_avg_atr_window")


def test_the_table_has_the_sizes_of_the_specification() -> None:
    sections = [key.path.split(".")[0] for key in KEYS]
    assert {name: sections.count(name) for name in dict.fromkeys(sections)} == {
        "trade": 74, "indicators": 14, "filters": 10, "market_regime": 6, "thresholds": 39, "engine": 5,
    }  # fmt: skip
    assert len(BY_PATH) == len(KEYS) == 148
    assert len(SWEPT) == 143
    assert set(BY_PATH) - set(SWEPT) == {p for p in BY_PATH if p.startswith("engine.")}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_a_default_has_the_type_of_its_key(key: Key) -> None:
    assert type(DEFAULTS[key.path]) is TYPES[key.kind]
    assert key.meaning
    assert key.use


def test_some_defaults() -> None:
    assert DEFAULTS["trade.entry_min_confidence"] == 2
    assert DEFAULTS["trade.add_min_confidence"] == 1
    assert DEFAULTS["thresholds.entry.pullback_confidence"] == 0
    assert DEFAULTS["thresholds.entry.macd_hist_entry_mode"] == 0
    assert DEFAULTS["thresholds.entry.slow_drift_min_slope_pct"] == 0.0006
    assert DEFAULTS["engine.interval"] == "1h"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("trade.leverage", 2, 2.0),
        ("trade.leverage", -math.inf, -math.inf),
        ("trade.max_open_positions", 2.9, 2),
        ("trade.max_open_positions", -3, 0),
        ("trade.max_open_positions", -0.5, 0),
        ("trade.max_open_positions", math.nan, 0),
        ("trade.max_open_positions", math.inf, MAX_UINT),
        ("trade.max_open_positions", 2.0**64, MAX_UINT),
        ("trade.max_open_positions", 2.0**63, 2**63),
        ("trade.enable_pyramiding", 0, False),
        ("trade.enable_pyramiding", -0.0, False),
        ("trade.enable_pyramiding", 0.1, True),
        ("trade.enable_pyramiding", -1, True),
        ("trade.enable_pyramiding", math.nan, True),
        ("trade.entry_min_confidence", 0.9, 0),
        ("trade.entry_min_confidence", 1.0, 1),
        ("trade.entry_min_confidence", 2.0, 2),
        ("trade.entry_min_confidence", 1e9, 2),
        ("trade.entry_min_confidence", -5, 0),
        ("trade.entry_min_confidence", math.nan, 0),
        ("thresholds.entry.macd_hist_entry_mode", 1.99, 1),
        ("thresholds.entry.macd_hist_entry_mode", 7, 2),
    ],
)
def test_a_sweeps_number_becomes_a_value(path: str, value: float, expected: object) -> None:
    config = dict(DEFAULTS)
    assert set_swept(config, path, value)
    assert (config[path], type(config[path])) == (expected, type(expected))
    assert {one for one in config if config[one] != DEFAULTS[one]} <= {path}


@pytest.mark.parametrize("path", BOTH_WINDOWS)
def test_either_window_of_the_average_atr_sets_both(path: str) -> None:
    config = dict(DEFAULTS)
    assert set_swept(config, path, 7.5)
    assert [config[one] for one in BOTH_WINDOWS] == [7, 7]


@pytest.mark.parametrize(
    "path", ["engine.interval", "engine.loop_target_s", "trade.nothing", "leverage", ""]
)
def test_a_path_that_no_sweep_may_set_changes_nothing(path: str) -> None:
    config = dict(DEFAULTS)
    assert not set_swept(config, path, 1.0)
    assert config == DEFAULTS


@given(path=st.sampled_from(SWEPT), value=st.floats())
def test_every_swept_number_gives_the_type_of_its_key(path: str, value: float) -> None:
    config = dict(DEFAULTS)
    assert set_swept(config, path, value)
    kind = BY_PATH[path].kind
    assert type(config[path]) is TYPES[kind]
    if kind in WORDS:
        assert config[path] in WORDS[kind].values()
    elif kind == "uint":
        assert 0 <= config[path] <= MAX_UINT


def test_the_defaults_are_without_fault_and_every_number_has_a_range() -> None:
    assert config_faults(DEFAULTS) == []
    assert set(RANGES) == {key.path for key in KEYS if key.kind in ("float", "uint")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trade.leverage": 0.0}, "trade.leverage must be above 0, was 0.0"),
        ({"trade.sl_atr_mult": 0.0}, "trade.sl_atr_mult must be above 0, was 0.0"),
        ({"trade.allocation_pct": 3.0}, "trade.allocation_pct must be 0 to 1, was 3.0"),
        ({"trade.slippage_bps": -1.0}, "trade.slippage_bps must be 0 to 10000, was -1.0"),
        ({"trade.tp_atr_mult": math.nan}, "trade.tp_atr_mult must be a finite number, was nan"),
        ({"trade.leverage_max_cap": math.inf}, "trade.leverage_max_cap must be a finite number, was inf"),
        ({"trade.confidence_mult_low": -0.1}, "trade.confidence_mult_low must be at least 0, was -0.1"),
        ({"trade.adx_sizing_min_mult": 1.1}, "trade.adx_sizing_min_mult must be 0 to 1, was 1.1"),
        ({"trade.max_open_positions": 0}, "trade.max_open_positions must be 1 to 1000000000, was 0"),
        ({"indicators.bb_window": 0}, "indicators.bb_window must be 1 to 100000, was 0"),
        ({"indicators.rsi_window": 100_001}, "indicators.rsi_window must be 1 to 100000, was 100001"),
        ({"thresholds.entry.slow_drift_slope_window": 0},
         "thresholds.entry.slow_drift_slope_window must be 1 to 100000, was 0"),
        ({"thresholds.ranging.min_signals": 4}, "thresholds.ranging.min_signals must be 0 to 3, was 4"),
        ({"thresholds.stoch_rsi.block_long_if_k_gt": 85.0},
         "thresholds.stoch_rsi.block_long_if_k_gt must be 0 to 1, was 85.0"),
        ({"trade.rsi_exit_ub_lo_profit": 101.0}, "trade.rsi_exit_ub_lo_profit must be 0 to 100, was 101.0"),
        ({"market_regime.breadth_block_long_below": -1.0},
         "market_regime.breadth_block_long_below must be 0 to 100, was -1.0"),
        ({"indicators.ema_fast_window": 50},
         "indicators.ema_fast_window must be below indicators.ema_slow_window (50), was 50"),
        ({"trade.vol_scalar_min": 1.5}, "trade.vol_scalar_min must be at most trade.vol_scalar_max (1.0), was 1.5"),
        ({"trade.reentry_cooldown_min_mins": 181},
         "trade.reentry_cooldown_min_mins must be at most trade.reentry_cooldown_max_mins (180), was 181"),
        ({"thresholds.ranging.rsi_low": 60.0},
         "thresholds.ranging.rsi_low must be below thresholds.ranging.rsi_high (53.0), was 60.0"),
        ({"market_regime.enable_auto_reverse": True, "market_regime.auto_reverse_breadth_low": 95.0},
         "market_regime.auto_reverse_breadth_low must be at most "
         "market_regime.auto_reverse_breadth_high (90.0), was 95.0"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_one_fault(change: dict[str, object], said: str) -> None:
    assert config_faults({**DEFAULTS, **change}) == [said]


@pytest.mark.parametrize(
    "change",
    [
        {"trade.leverage_max_cap": -1.0, "trade.breakeven_start_atr": 0.0, "trade.add_min_profit_atr": -0.5},
        {"trade.vol_baseline_pct": 0.0, "trade.vol_scalar_min": 1.0, "trade.min_notional_usd": 0.0},
        {"trade.allocation_pct": 1.0, "trade.tp_partial_pct": 0.0, "trade.slippage_bps": 0.0},
        {"indicators.stoch_rsi_smooth1": 1, "indicators.ema_fast_window": 49, "trade.max_open_positions": 1},
        {"market_regime.auto_reverse_breadth_low": 95.0},
        {"trade.reentry_cooldown_minutes": 0, "trade.reentry_cooldown_min_mins": 500},
        {"filters.enable_ranging_filter": False, "thresholds.ranging.rsi_low": 60.0},
        {"thresholds.entry.ave_adx_mult": 0.0, "trade.rsi_exit_ub_lo_profit_low_conf": 0.0},
    ],
)  # fmt: skip
def test_values_at_the_bounds_and_those_that_turn_off_are_right(change: dict[str, object]) -> None:
    assert config_faults({**DEFAULTS, **change}) == []


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Range(), ""), (Range(0), "at least 0"), (Range(0, is_open=True), "above 0"), (Range(high=2), "at most 2"),
        (Range(0, 1), "0 to 1"), (Range(0, 1, is_open=True), "above 0, at most 1"),
    ],
)  # fmt: skip
def test_bounds_are_worded(bounds: Range, words: str) -> None:
    assert bounds.words() == words


def test_relations_are_worded() -> None:
    assert (
        "`indicators.ema_fast_window` must be below `indicators.ema_slow_window`"
        in relation_words()
    )
