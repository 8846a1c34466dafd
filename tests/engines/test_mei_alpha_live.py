"""Mei Alpha step by step is the replay, bit for bit, however often it is cut, written down and taken up again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from mei.engines.mei_alpha import SymbolConfigs, replay
from mei.engines.mei_alpha_live import LiveTerms, LiveWalk
from mei.model.bars import BarArray
from mei.model.candles import Candles
from mei.model.errors import ConfigError, DataError
from mei.model.orders import Bar
from mei.model.replay import ACTIONS, ReplayInputs, ReplayResult
from mei.model.semantics import STRICT, Semantics, parse_semantics
from mei.rules.mei_alpha.codes import END_OF_BACKTEST
from tests.momentum_breakout.market import candles_of
from tests.oracles.mei_alpha.cases import LOOSE

MINUTE_MS = 60_000
START_MS = 1_699_920_000_000
NAMES = ("SOL/USDT", "BTC/USDT", "PAXG", "ETH/USDT", "BTC")
CONFIG = {
    **LOOSE,
    "trade.enable_pyramiding": True,
    "trade.add_min_profit_atr": 0.2,
    "trade.add_cooldown_minutes": 3,
    "trade.enable_partial_tp": True,
    "trade.tp_partial_min_notional_usd": 0.0,
    "trade.min_notional_usd": 50.0,
    "trade.entry_cooldown_s": 120,
    "filters.require_btc_alignment": True,
    "market_regime.enable_regime_filter": True,
    "filters.use_stoch_rsi_filter": True,
}
WIDE = {**CONFIG, "trade.sl_atr_mult": 5.0, "indicators.bb_window": 17, "indicators.rsi_window": 9}
CONFIGS = SymbolConfigs(CONFIG, {"ETH/USDT": WIDE})
LOOKBACK = 40


@cache
def market() -> dict[str, BarArray]:
    """Five walks of prices: holes of their own, an outage in common, one that starts late and one that ends early."""
    rng = np.random.default_rng(11)
    series = {}
    for number, name in enumerate(NAMES):
        n = 900
        bars = np.zeros(n, dtype=[(f, "<i8" if f == "timestamp" else "<f8") for f in (
            "timestamp", "open", "high", "low", "close", "volume")])  # fmt: skip
        drift = 0.0012 * np.sin(np.arange(n) / (25 + 7 * number))
        close = 100 * (number + 1) * np.cumprod(1 + drift + 0.0015 * rng.standard_normal(n))
        bars["timestamp"] = START_MS + MINUTE_MS * np.arange(n)
        bars["close"] = close
        bars["open"] = np.concatenate([close[:1], close[:-1]]) * (1 + 3e-4 * rng.standard_normal(n))
        bars["high"] = np.maximum(bars["open"], close) * (1 + 0.001 * rng.random(n))
        bars["low"] = np.minimum(bars["open"], close) * (1 - 0.001 * rng.random(n))
        bars["volume"] = 10 + 40 * rng.random(n)
        kept = rng.random(n) > 0.03
        kept[400:420] = False
        series[name] = bars[kept]
    series["SOL/USDT"] = series["SOL/USDT"][200:]
    series["PAXG"] = series["PAXG"][:600]
    return series


def steps_of(series: Mapping[str, BarArray]) -> Iterator[tuple[int, dict[str, Bar]]]:
    """Known time and bars of each step."""
    known: dict[int, dict[str, Bar]] = {}
    for name, bars in series.items():
        for opened_ms, *prices in bars.tolist():
            known_ms = opened_ms + MINUTE_MS
            known.setdefault(known_ms, {})[name] = Bar(opened_ms, known_ms, *prices)
    return iter(sorted(known.items()))


def expected(
    semantics: Semantics = STRICT, traded: frozenset[str] | None = None, from_ms: int | None = None
) -> ReplayResult:
    """What the replay says about the market."""
    candles: Candles = candles_of(market())
    inputs = ReplayInputs(candles, lookback=LOOKBACK, traded=traded, from_ms=from_ms)
    return replay(inputs, CONFIGS, semantics)


def walk(semantics: Semantics = STRICT, **terms: Any) -> LiveWalk:
    """A walk over the market's symbols."""
    return LiveWalk(NAMES, CONFIGS, LiveTerms(MINUTE_MS, lookback=LOOKBACK, **terms), semantics)


def assert_same(result: ReplayResult, trades: list[Any], equity: dict[int, float]) -> None:
    """Trades and curve of a walk are those of a replay, up to what a replay does at its end."""
    closing = result.trades["reason"] == END_OF_BACKTEST
    assert np.concatenate(trades).tobytes() == result.trades[~closing].tobytes()
    points = list(zip(result.equity_ms.tolist(), result.equity_usd.tolist(), strict=True))
    if closing.any():
        points = points[:-1]
    assert points == [(moment, equity[moment]) for moment, _ in points]


@pytest.mark.parametrize(
    "text",
    [
        "strict",
        "strict,entry_fill=signal_close",
        "strict,exit_fill=close,trailing=base",
        "strict,context=traded,btc_symbol=exact,warm_up=lookback",
    ],
)
def test_it_is_the_replay(text: str) -> None:
    semantics = parse_semantics(text)
    found, trades, equity = walk(semantics), [], {}
    for known_ms, bars in steps_of(market()):
        trades.append(found.step(known_ms, bars))
        equity[known_ms] = found.equity_usd
    result = expected(semantics)
    assert_same(result, trades, equity)
    kinds = {ACTIONS[number].partition("_")[0] for number in np.concatenate(trades)["action"]}
    assert kinds == {"OPEN", "ADD", "REDUCE", "CLOSE"}
    assert len({int(symbol) for symbol in np.concatenate(trades)["symbol"]}) == len(NAMES)
    assert found.gates == dict(result.gates)


def test_it_trades_some_symbols_from_some_time_on() -> None:
    traded, from_ms = frozenset({"ETH/USDT", "PAXG"}), START_MS + 300 * MINUTE_MS
    found, trades, equity = walk(traded=traded, from_ms=from_ms), [], {}
    for known_ms, bars in steps_of(market()):
        trades.append(found.step(known_ms, bars))
        equity[known_ms] = found.equity_usd
    assert_same(expected(traded=traded, from_ms=from_ms), trades, equity)


def test_cut_anywhere_it_goes_on_as_if_it_had_not_been() -> None:
    rng = np.random.default_rng(5)
    found, trades, equity = walk(), [], {}
    n_cuts = n_held = 0
    for known_ms, bars in steps_of(market()):
        trades.append(found.step(known_ms, bars))
        equity[known_ms] = found.equity_usd
        if rng.random() < 0.08:
            text = json.dumps(found.state(), allow_nan=False)
            before = found
            found = walk()
            found.restore(json.loads(text))
            assert json.dumps(found.state(), allow_nan=False) == text
            assert (found.unrealised_usd, found.balance_usd) == (
                before.unrealised_usd,
                before.balance_usd,
            )
            assert dict(found.quantities) == dict(before.quantities)
            n_cuts, n_held = n_cuts + 1, n_held + bool(found.quantities)
    assert n_cuts > 40
    assert n_held > 20
    assert_same(expected(), trades, equity)


def test_what_it_says_about_itself_adds_up() -> None:
    found = walk()
    quantities: dict[str, float] = {}
    balance = found.balance_usd
    n_ordered = 0
    for known_ms, bars in steps_of(market()):
        for trade in found.step(known_ms, bars):
            name, kind = found.names[trade["symbol"]], ACTIONS[trade["action"]]
            sign = 1 if kind in ("OPEN_LONG", "ADD_LONG", "CLOSE_SHORT", "REDUCE_SHORT") else -1
            quantities[name] = quantities.get(name, 0.0) + sign * float(trade["qty"])
            balance = float(trade["balance_usd"])
        assert balance == found.balance_usd
        assert found.equity_usd == found.balance_usd + found.unrealised_usd
        for name in found.names:
            held = found.quantities.get(name, 0.0)
            assert held == pytest.approx(quantities.get(name, 0.0), abs=1e-9)
            n_ordered += found.is_entry_ordered(name)
            assert not found.is_entry_ordered(name) or name in found.quantities
    assert n_ordered > 20


def test_risk_set_from_outside_is_risk_configured() -> None:
    found, trades, equity = walk(), [], {}
    for name in NAMES:
        found.set_risk(name, {"sl_atr_mult": 1.1, "allocation_pct": 0.07, "slippage_bps": 4.0})
    changed = {
        "trade.sl_atr_mult": 1.1,
        "trade.allocation_pct": 0.07,
        "trade.slippage_bps": 4.0,
    }
    configs = SymbolConfigs(CONFIG | changed, {"ETH/USDT": WIDE | changed})
    for known_ms, bars in steps_of(market()):
        trades.append(found.step(known_ms, bars))
        equity[known_ms] = found.equity_usd
    inputs = ReplayInputs(candles_of(market()), lookback=LOOKBACK)
    assert_same(replay(inputs, configs, STRICT), trades, equity)


def test_fees_and_the_account_come_from_outside() -> None:
    free, dear = walk(fee_rate=0.0), walk(fee_rate=0.001)
    for known_ms, bars in steps_of(market()):
        free.set_account(5_000.0)
        dear.set_account(5_000.0, 700.0)
        trades = free.step(known_ms, bars)
        assert not trades["fee_usd"].any()
        assert free.balance_usd == pytest.approx(5_000.0 + trades["pnl_usd"].sum())
        paid = dear.step(known_ms, bars)
        assert dear.equity_usd == pytest.approx(dear.balance_usd + dear.unrealised_usd + 700.0)
        value = paid["qty"] * paid["price"]
        assert paid["fee_usd"] == pytest.approx(0.001 * value)


def test_steps_that_cannot_be_are_refused() -> None:
    found = walk()
    bar = Bar(START_MS, START_MS + MINUTE_MS, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(DataError, match="one of BTC, BTC/USDT"):
        found.step(bar.close_ms, {"DOGE": bar})
    with pytest.raises(DataError, match="must become known at"):
        found.step(bar.close_ms + 1, {"BTC": bar})
    found.step(bar.close_ms, {"BTC": bar})
    with pytest.raises(DataError, match="must ascend"):
        found.step(bar.close_ms, {"ETH/USDT": bar})
    for name in ("max_open_positions", "min_adx"):
        with pytest.raises(ConfigError, match=name):
            found.set_risk("BTC", {name: 3})


def test_a_state_of_something_else_is_refused() -> None:
    found = walk()
    for known_ms, bars in list(steps_of(market()))[:30]:
        found.step(known_ms, bars)
    content = found.state()
    for wrong in ({**content, "layout": 0}, {**content, "books": {"BTC": {}}}):
        with pytest.raises(DataError, match="layout"):
            walk().restore(wrong)
    longer = {**CONFIG, "indicators.bb_window": 90}
    other = LiveWalk(NAMES, SymbolConfigs(longer), LiveTerms(MINUTE_MS, lookback=LOOKBACK))
    with pytest.raises(DataError, match="other windows"):
        other.restore(content)
