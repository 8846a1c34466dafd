"""The Mei Alpha oracle against the vectors of the specification (part 1, G; part 2, J)."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cache
from typing import Any

import pytest

from tests.oracles.mei_alpha import DEFAULTS, REFERENCE, Result, replay, snapshots
from tests.oracles.mei_alpha.bank import Config, Snapshot
from tests.oracles.mei_alpha.series import (
    HOUR,
    J_START,
    QUARTER,
    g2_bars,
    g4_sub_bars,
    j_hours,
    j_quarters,
)
from tests.oracles.mei_alpha.signals import gates, rsi_limits, signal


def configured(**overrides: Any) -> Config:
    """Defaults with keys set; `trade__x` is `trade.x`."""
    changes = {name.replace("__", "."): value for name, value in overrides.items()}
    assert changes.keys() <= DEFAULTS.keys()
    return DEFAULTS | changes


# -- G.1 ----------------------------------------------------------------------------------------------------

G1_BARS = [
    (100, 101, 99, 100, 10),
    (100, 102, 99.5, 101.5, 12),
    (101.5, 103, 101, 102, 8),
    (102, 102.5, 100, 100.5, 20),
    (100.5, 101, 98, 98.5, 15),
    (98.5, 99, 97, 97.5, 9),
    (97.5, 100, 97.5, 99.75, 30),
    (99.75, 101.25, 99.5, 101, 25),
    (101, 104, 101, 103.5, 40),
    (103.5, 105, 103, 104.25, 18),
    (104.25, 104.25, 104.25, 104.25, 0),
    (104.25, 106, 102, 102.5, 22),
]
G1_FIELDS = [
    "ema_slow",
    "ema_fast",
    "ema_macro",
    "adx",
    "adx_pos",
    "adx_neg",
    "adx_slope",
    "bb_upper",
    "bb_lower",
    "bb_width",
    "bb_width_avg",
    "bb_width_ratio",
    "atr",
    "atr_slope",
    "avg_atr",
    "rsi",
    "stoch_rsi_k",
    "stoch_rsi_d",
    "macd_hist",
    "vol_sma",
    "vol_trend",
]
#: bars 0, 3, 4, 6, 10 and 11 of the table
G1_ROWS = {
    0: "100 100 100 0 0 0 0 100 100 0 0 1 2 2 2 50 .5 .5 0 10 0",
    3: "100.8333333 100.9375 100.6584362 33.33333333 28.57142857 14.28571429 33.33333333 102.5811388 "
    "99.41886117 0.03146544935 0.007866362339 4 2.277777778 0.1111111111 2.173611111 57.14285714 .75 .625 "
    "0.1308008342 12.5 1",
    4: "100.0555556 99.71875 100.1787837 33.33333333 17.39130435 34.7826087 0 103.3059513 97.94404868 "
    "0.05443555987 0.01718020185 3.168505257 2.518518519 0.2407407407 2.303240741 30.76923077 .5 .625 "
    "-0.03696374358 13.75 1",
    6: "99.38580247 99.1796875 99.62049879 28.77158684 21.99488491 25.57544757 -10.62235256 101.3639941 "
    "96.76100592 0.04614524471 0.04073154827 1.132911629 2.397119342 0.05144032922 2.384773663 58.6998088 "
    ".5 .25 -0.1561195232 18.5 1",
    10: "102.8570721 103.6362305 102.1151985 60.45893538 55.76580147 7.925500297 7.32691744 105.9192696 "
    "100.5807304 0.0512090084 0.06064567229 0.844396747 1.53523345 -0.7676167251 2.118442946 86.5535756 "
    "1 1 0.4776277967 20.75 0",
    11: "102.7380481 103.0681152 102.20071 46.46599047 24.24620951 35.23916695 -13.99294491 105.0611407 "
    "102.1888593 0.02802225681 0.05702107471 0.4914368407 2.3568223 0.8215888499 2.162295297 45.71205474 "
    ".5 .75 0.3978152109 20 0",
}


@pytest.mark.parametrize("bar", G1_ROWS)
def test_small_windows_give_the_snapshots_of_g1(bar: int) -> None:
    windows = {
        "ema_slow_window": 5,
        "ema_fast_window": 3,
        "ema_macro_window": 8,
        "adx_window": 3,
        "bb_window": 4,
        "bb_width_avg_window": 5,
        "atr_window": 3,
        "rsi_window": 3,
        "vol_sma_window": 4,
        "vol_trend_window": 2,
        "stoch_rsi_window": 3,
        "stoch_rsi_smooth1": 2,
        "stoch_rsi_smooth2": 2,
    }
    config = DEFAULTS | {f"indicators.{name}": value for name, value in windows.items()}
    config["thresholds.entry.ave_avg_atr_window"] = 4
    bars = [(i * HOUR, *map(float, row)) for i, row in enumerate(G1_BARS)]
    snapshot = snapshots(bars, config)[bar]
    expected = [float(cell) for cell in G1_ROWS[bar].split()]
    found = [float(snapshot[name]) for name in G1_FIELDS]
    assert found == pytest.approx(expected, rel=1e-9)
    assert snapshot["bar_count"] == bar


# -- G.2 to G.4 ---------------------------------------------------------------------------------------------


def test_generated_series_has_the_check_values_of_g2() -> None:
    eth = g2_bars()["ETH"]
    assert eth[0][1:] == (300.0, 302.0, 299.13, 301.62, 837.0)
    assert eth[1][1:] == (301.62, 303.55, 301.61, 302.65, 531.0)
    assert eth[599][1:] == (315.34, 317.29, 314.43, 316.64, 941.0)
    assert g2_bars()["BTC"][0][4] == 499.03
    assert g2_bars()["SOL"][599][4] == 137.08


G2_LAST = {
    "ema_slow": 315.052903224,
    "ema_fast": 317.716247893,
    "ema_macro": 307.747894064,
    "adx": 28.1492958282,
    "adx_pos": 16.0368519708,
    "adx_neg": 19.8689635948,
    "adx_slope": -1.34435531495,
    "bb_upper": 325.323260148,
    "bb_lower": 313.898739852,
    "bb_width": 0.03608047087,
    "bb_width_avg": 0.0348130278763,
    "bb_width_ratio": 1.03640714615,
    "atr": 2.18208693369,
    "atr_slope": 0.0521471589469,
    "avg_atr": 2.00788068991,
    "rsi": 46.8986644769,
    "stoch_rsi_k": 0.0878553114563,
    "stoch_rsi_d": 0.0358995430587,
    "macd_hist": -0.885526825867,
    "prev_macd_hist": -1.03658606214,
    "prev2_macd_hist": -1.07350251623,
    "prev3_macd_hist": -1.01044574102,
    "vol_sma": 834.05,
    "prev_close": 315.34,
    "prev_ema_fast": 317.829537145,
    "prev_ema_slow": 314.988123764,
}


def test_defaults_give_the_last_snapshot_of_g2() -> None:
    last = snapshots(g2_bars()["ETH"], DEFAULTS)[599]
    assert {name: last[name] for name in G2_LAST} == pytest.approx(G2_LAST, rel=1e-10)
    assert last["vol_trend"] is True


def digest(lines: list[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


CASE_B = {
    "filters__enable_ranging_filter": False,
    "filters__require_volume_confirmation": True,
    "thresholds__entry__enable_pullback_entries": True,
    "thresholds__entry__enable_slow_drift_entries": True,
    "thresholds__entry__macd_hist_entry_mode": 1,
    "thresholds__entry__min_adx": 15.0,
}
CASE_C = {
    "filters__require_macro_alignment": True,
    "filters__use_stoch_rsi_filter": False,
    "filters__require_btc_alignment": False,
    "thresholds__entry__macd_hist_entry_mode": 2,
}
G3 = {
    "A": (
        {},
        "e919a8a5b661f3a1320fc4e9a22cdf5083e627c4c21e48e8008b29ecb21fc3c1",
        (1457, 91, 105, 192, 0, 26, 313, 554, 0, 716),
    ),
    "B": (
        CASE_B,
        "25bc733e111539a4560d92dd3edcd99743db27530461bb2719eb1d47b744ae5e",
        (1317, 163, 173, 0, 0, 26, 80, 554, 676, 716),
    ),
    "C": (
        CASE_C,
        "97ce346dc9d16677857b3421e7d20760ecc589ea5485f276f9a15c79b302e54c",
        (1048, 209, 396, 192, 0, 26, 313, 554, 0, 0),
    ),
}
COUNTERS = [
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
]


@pytest.mark.parametrize("case", G3)
def test_signals_and_gate_counters_of_g3(case: str) -> None:
    overrides, expected, counters = G3[case]
    result = replay(
        g2_bars(),
        configured(**overrides),
        semantics=REFERENCE,
        interval_ms=HOUR,
        initial_balance=10_000.0,
        lookback=50,
    )
    tiers = ("low", "medium", "high")
    lines = [
        f"{s['t']},{s['symbol']},{s['direction']},{tiers[s['confidence']]}" for s in result.signals
    ]
    assert digest(lines) == expected
    assert tuple(result.gates[name] for name in COUNTERS) == counters
    assert result.gates["total_checks"] == 1653


PERMISSIVE = {
    "trade__block_exits_on_extreme_dev": True,
    "trade__glitch_price_dev_pct": -1.0,
    "trade__min_notional_usd": 0.0,
    "trade__allocation_pct": 0.000001,
    "trade__max_total_margin_pct": 1000000.0,
    "trade__max_open_positions": 1000,
    "trade__enable_pyramiding": False,
    "trade__entry_cooldown_s": 0,
    "trade__exit_cooldown_s": 0,
    "trade__entry_min_confidence": 0,
}


def log_lines(result: Result) -> list[str]:
    return [
        f"{t['timestamp']},{t['symbol']},{t['action']},{t['reason']}"
        for t in result.trades
        if t["reason"] != "End of Backtest"
    ]


def test_entry_decisions_of_g4_d() -> None:
    config = configured(
        **CASE_B,
        **PERMISSIVE,
        trade__max_entry_orders_per_loop=1,
        market_regime__enable_auto_reverse=True,
        market_regime__auto_reverse_breadth_low=30.0,
        market_regime__auto_reverse_breadth_high=70.0,
        market_regime__enable_regime_filter=True,
        market_regime__breadth_block_short_above=60.0,
        market_regime__breadth_block_long_below=40.0,
    )
    result = replay(
        g2_bars(),
        config,
        semantics=REFERENCE,
        interval_ms=HOUR,
        initial_balance=10_000.0,
        lookback=50,
    )
    lines = log_lines(result)
    assert lines[0] == "442800000,ETH,OPEN_SHORT,Medium entry"
    assert lines[-1] == "2055600000,ETH,CLOSE_LONG,Signal Flip"
    assert len(lines) == 24
    assert digest(lines) == "bcb41271257ba37d5773f4e21cbe3a4a97dfbfa3c55df3082656df38ea6c2ca8"
    blocked = [result.gates[f"blocked_by_{name}"] for name in ("ssf", "reef", "confidence", "pesc")]
    assert blocked == [29, 14, 0, 0]


def test_sub_bar_entries_of_g4_e() -> None:
    result = replay(
        g2_bars(),
        configured(**CASE_B, **PERMISSIVE),
        semantics=REFERENCE,
        interval_ms=HOUR,
        initial_balance=10_000.0,
        lookback=50,
        entry_bars=g4_sub_bars(),
        entry_interval_ms=QUARTER,
    )
    assert log_lines(result) == [
        "206100000,SOL,OPEN_SHORT,Low entry (sub-bar)",
        "227700000,ETH,OPEN_LONG,Medium entry (sub-bar)",
        "231300000,BTC,OPEN_SHORT,Low entry (sub-bar)",
    ]


# -- G.5 ----------------------------------------------------------------------------------------------------

LONG = Snapshot(
    close=200.0,
    prev_close=197.0,
    ema_fast=196.0,
    prev_ema_fast=195.5,
    ema_slow=190.0,
    ema_macro=180.0,
    adx=30.0,
    adx_slope=0.8,
    bb_width_ratio=1.1,
    atr=3.0,
    avg_atr=2.8,
    rsi=60.0,
    stoch_rsi_k=0.4,
    macd_hist=0.5,
    prev_macd_hist=0.2,
    volume=1500.0,
    vol_sma=1000.0,
    vol_trend=True,
)
SHORT = {
    "close": 180.0,
    "prev_close": 183.0,
    "ema_fast": 184.0,
    "prev_ema_fast": 184.5,
    "ema_macro": 195.0,
    "rsi": 40.0,
    "stoch_rsi_k": 0.6,
    "macd_hist": -0.5,
    "prev_macd_hist": -0.2,
    "btc": False,
    "slope": -0.002,
}
RANGING_OFF = {"filters.enable_ranging_filter": False}
PULLBACK = {"thresholds.entry.enable_pullback_entries": True}
DRIFT = {"thresholds.entry.enable_slow_drift_entries": True}
E = "thresholds.entry."
#: (changes of the snapshot, btc and slope; config), effective minimum, all gates, result
G5: list[tuple[dict[str, Any], dict[str, Any], float, bool, str]] = [
    ({}, {}, 22, True, "Buy medium 22"),
    ({"volume": 2500.0}, {}, 22, True, "Buy medium 22"),
    ({"volume": 2500.5}, {}, 22, True, "Buy high 22"),
    ({"adx": 22.0}, {}, 22, False, "Neutral"),
    ({"adx_slope": 0.0}, {}, 22, False, "Neutral"),
    ({"adx_slope": 0.0, "adx": 40.0}, {}, 22, False, "Neutral"),
    ({"adx_slope": 0.0, "adx": 40.5}, {}, 22, True, "Buy medium 22"),
    ({"adx": 25.5}, {E + "min_adx": 28.0}, 25, True, "Buy medium 25"),
    ({"adx": 25.5, "adx_slope": 0.5}, {E + "min_adx": 28.0}, 28, False, "Neutral"),
    ({"atr": 4.3}, {}, 27.5, True, "Buy medium 27.5"),
    ({"atr": 4.2}, {}, 27.5, True, "Buy medium 27.5"),
    ({"atr": 4.3, "adx": 27.5}, {}, 27.5, False, "Neutral"),
    ({"atr": 4.3}, {E + "ave_adx_mult": 0.0}, 22, True, "Buy medium 22"),
    ({"atr": 4.3}, {E + "min_adx": 40.0}, 31.25, False, "Neutral"),
    ({"rsi": 54.0}, {}, 22, True, "Neutral"),
    ({"adx": 31.0, "rsi": 54.0}, {}, 22, True, "Neutral"),
    ({"adx": 31.0, "rsi": 54.01}, {}, 22, True, "Buy medium 22"),
    ({"stoch_rsi_k": 0.85}, {}, 22, True, "Neutral"),
    (
        {"stoch_rsi_k": 0.95},
        {"filters.use_stoch_rsi_filter": False},
        22,
        True,
        "Buy medium 22",
    ),
    ({"macd_hist": 0.2}, {}, 22, True, "Neutral"),
    ({"macd_hist": 0.2}, {E + "macd_hist_entry_mode": 1}, 22, True, "Buy medium 22"),
    ({"btc": False}, {}, 22, True, "Neutral"),
    ({"btc": None}, {}, 22, True, "Buy medium 22"),
    ({"btc": False, "adx": 40.5}, {}, 22, True, "Buy medium 22"),
    ({"ema_macro": 190.0}, {"filters.require_macro_alignment": True}, 22, True, "Neutral"),
    ({"close": 204.0}, {}, 22, False, "Neutral"),
    ({"prev_close": 180.0}, {}, 22, False, "Neutral"),
    ({"prev_close": 0.0}, {}, 22, True, "Buy medium 22"),
    ({"adx": 20.0, "bb_width_ratio": 0.7}, {}, 22, False, "Neutral"),
    ({"adx": 20.0, "bb_width_ratio": 0.7}, DRIFT, 22, False, "Buy low 10"),
    ({"rsi": 50.0, "bb_width_ratio": 0.7}, {}, 22, False, "Neutral"),
    ({"rsi": 47.0, "bb_width_ratio": 0.7}, {}, 22, True, "Neutral"),
    ({"volume": 900.0}, {"filters.require_volume_confirmation": True}, 22, True, "Buy medium 22"),
    (
        {"volume": 900.0},
        {
            "filters.require_volume_confirmation": True,
            "filters.vol_confirm_include_prev": False,
        },
        22,
        False,
        "Neutral",
    ),
    ({"ema_fast": 190.0, "close": 195.0}, {}, 22, True, "Neutral"),
    ({"close": 196.0}, {}, 22, True, "Neutral"),
    ({"macd_hist": 0.1, "prev_close": 195.5}, PULLBACK, 22, True, "Buy low 22"),
    ({"macd_hist": 0.1, "prev_close": 195.6}, PULLBACK, 22, True, "Neutral"),
    ({"macd_hist": 0.0, "prev_close": 195.5}, PULLBACK, 22, True, "Neutral"),
    (
        {"adx": 22.0, "prev_close": 195.5},
        PULLBACK | {E + "pullback_confidence": 2},
        22,
        False,
        "Buy high 22",
    ),
    (
        {"adx": 10.0, "rsi": 50.0, "slope": 0.0006},
        DRIFT | RANGING_OFF,
        22,
        False,
        "Buy low 10",
    ),
    ({"adx": 10.0, "rsi": 50.0, "slope": 0.0005}, DRIFT | RANGING_OFF, 22, False, "Neutral"),
    ({"adx": 45.5, "adx_slope": 0.1}, {E + "min_adx": 45.0}, 45, True, "Buy medium 45"),
    ({"adx": 20.0}, {"thresholds.ranging.min_signals": 0}, 22, False, "Neutral"),
    (SHORT, {}, 22, True, "Sell medium 22"),
    (SHORT | {"stoch_rsi_k": 0.15}, {}, 22, True, "Neutral"),
    (SHORT | {"btc": True}, {}, 22, True, "Neutral"),
]


@pytest.mark.parametrize(("changes", "config", "minimum", "all_pass", "expected"), G5)
def test_decision_table_of_g5(
    changes: dict[str, Any],
    config: dict[str, Any],
    minimum: float,
    all_pass: bool,
    expected: str,
) -> None:
    changes = dict(changes)
    btc, slope = changes.pop("btc", True), changes.pop("slope", 0.002)
    c = DEFAULTS | config
    x = Snapshot(**(vars(LONG) | changes))
    found_gates = gates(x, c, exempt=False, btc=btc, slope=slope)
    found = signal(x, found_gates, c, slope)
    text = "Neutral"
    if found.direction != "NEUTRAL":
        tier = ("low", "medium", "high")[found.confidence]
        text = f"{found.direction.capitalize()} {tier} {found.adx_threshold:g}"
    assert (found_gates.effective_min_adx, found_gates.all_pass, text) == (
        minimum,
        all_pass,
        expected,
    )


def test_rsi_limits_of_g5() -> None:
    assert rsi_limits(LONG, DEFAULTS) == pytest.approx((54.2222, 45.7778), abs=1e-4)


# -- J ------------------------------------------------------------------------------------------------------

J_CONFIG = {
    "trade__allocation_pct": 0.10,
    "trade__entry_min_confidence": 0,
    "trade__reentry_cooldown_minutes": 0,
    "trade__tp_atr_mult": 3.0,
    "trade__trailing_start_atr": 1.5,
    "trade__breakeven_start_atr": 1.2,
    "trade__tp_partial_pct": 0.4,
    "trade__slippage_bps": 5.0,
    "trade__max_total_margin_pct": 0.25,
    "trade__enable_reef_filter": False,
    "trade__enable_ssf_filter": False,
    "trade__enable_rsi_overextension_exit": False,
    "indicators__ema_fast_window": 8,
    "indicators__ema_slow_window": 21,
    "filters__enable_ranging_filter": False,
    "filters__require_btc_alignment": False,
    "filters__use_stoch_rsi_filter": False,
    "thresholds__entry__min_adx": 15.0,
    "thresholds__entry__max_dist_ema_fast": 0.2,
    "thresholds__entry__macd_hist_entry_mode": 2,
    "thresholds__entry__enable_pullback_entries": True,
    "thresholds__entry__enable_slow_drift_entries": True,
}


@cache
def j_run(name: str) -> Result:
    more: dict[str, Any] = {}
    if name == "G2":
        quarters = j_quarters()
        rates = [(J_START + k * HOUR, 0.00001 * ((k % 7) - 3)) for k in range(900)]
        more = {
            "exit_bars": quarters,
            "exit_interval_ms": QUARTER,
            "entry_bars": quarters,
            "entry_interval_ms": QUARTER,
            "funding": dict.fromkeys(quarters, rates),
        }
    return replay(
        j_hours(),
        configured(**J_CONFIG),
        semantics=REFERENCE,
        interval_ms=HOUR,
        initial_balance=10_000.0,
        lookback=200,
        **more,
    )


def test_j_series_has_its_check_values() -> None:
    last = {symbol: rows[-1][4] for symbol, rows in j_quarters().items()}
    assert last == {"AAA": 9.01518061619531, "BTC": 57555.92278987915, "ZZZ": 0.4428599553051832}


ACTIONS = [
    "OPEN_LONG",
    "OPEN_SHORT",
    "ADD_LONG",
    "ADD_SHORT",
    "REDUCE_LONG",
    "REDUCE_SHORT",
    "CLOSE_LONG",
    "CLOSE_SHORT",
    "FUNDING",
]


@pytest.mark.parametrize(
    ("name", "final", "fees", "actions", "curve", "wins"),
    [
        (
            "G1",
            17608.99242341933,
            408.2351646678152,
            (65, 68, 73, 84, 190, 242, 65, 68, 0),
            (1701799200000, 12690.386366847111),
            519,
        ),
        (
            "G2",
            17749.647861800288,
            519.44486678326,
            (139, 152, 0, 0, 314, 290, 139, 152, 1838),
            (1701799200000, 12940.925458479438),
            839,
        ),
    ],
)
def test_golden_runs_of_j(
    name: str,
    final: float,
    fees: float,
    actions: tuple[int, ...],
    curve: tuple[int, float],
    wins: int,
) -> None:
    result = j_run(name)
    closes = [t for t in result.trades if t["action"].startswith(("CLOSE", "REDUCE"))]
    counted = Counter(t["action"] for t in result.trades)
    assert result.final_balance == pytest.approx(final, rel=1e-12)
    assert sum(t["fee"] for t in result.trades) == pytest.approx(fees, rel=1e-12)
    assert tuple(counted[action] for action in ACTIONS) == actions
    assert len(result.equity) == 900
    assert result.equity[500] == (curve[0], pytest.approx(curve[1], rel=1e-12))
    assert sum(t["pnl"] > 0 for t in closes) == wins
    assert (result.n_signals, result.gates["total_checks"]) == (1525, 2103)
    assert result.gates["blocked_by_adx_not_rising"] == 373


def test_first_rows_of_j() -> None:
    first = j_run("G1").trades
    assert (first[0]["symbol"], first[0]["timestamp"], first[0]["price"], first[0]["size"]) == (
        "AAA",
        1700715600000,
        11.46622399091779,
        183.23817864226336,
    )
    assert (first[1]["symbol"], first[1]["price"]) == ("BTC", 58475.29096075587)
    stop = next(t for t in first if t["reason"] == "Stop Loss")
    assert (stop["timestamp"], stop["price"], stop["pnl"]) == (
        1700751600000,
        57735.20171672626,
        -53.596912291641246,
    )
    funding = next(t for t in j_run("G2").trades if t["action"] == "FUNDING")
    assert (funding["timestamp"], funding["symbol"]) == (1700715600000, "AAA")
    assert funding["price"] == 11.460493744045767
