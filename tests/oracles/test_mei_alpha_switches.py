"""What each strict switch must bring about, whatever the case: the oracle held against plain facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.oracles.mei_alpha import DEFAULTS, REFERENCE, STRICT, Result
from tests.oracles.mei_alpha.bank import Bar
from tests.oracles.mei_alpha.cases import FEATURES, LOOSE, VALUES, WITHOUT_EFFECT, Case, cases
from tests.oracles.mei_alpha.cases import switches as any_switches

few = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
AT_A_LEVEL = ("Stop Loss", "Trailing Stop", "Take Profit", "Take Profit (Partial)")


def only(**switch: str) -> dict[str, str]:
    return REFERENCE | switch


def exits(result: Result) -> list[dict[str, Any]]:
    return [t for t in result.trades if t["action"].startswith(("CLOSE", "REDUCE"))]


def bars_by_known_time(case: Case, symbol: str) -> Iterator[tuple[int, Bar]]:
    for bars, interval in (
        (case.candles, case.interval_ms),
        (case.exit_bars, case.exit_interval_ms),
        (case.entry_bars, case.entry_interval_ms),
    ):
        for bar in (bars or {}).get(symbol, []):
            yield bar[0] + interval, bar


def unslipped(case: Case, trade: dict[str, Any], *, leaving_bps: float | None) -> float:
    """The price before slippage; leaving_bps None: exits slip as entries do."""
    config = (case.symbol_configs or {}).get(trade["symbol"], case.config)
    bps = float(config["trade.slippage_bps"])
    leaving = trade["action"].startswith(("CLOSE", "REDUCE"))
    if leaving:
        bps = max(bps, 0.0) if leaving_bps is None else leaving_bps
    buying = trade["action"].endswith("LONG") != leaving
    return float(trade["price"]) / (1 + bps / 1e4 if buying else 1 - bps / 1e4)


def test_every_key_is_drawn_or_without_effect() -> None:
    assert VALUES.keys() | WITHOUT_EFFECT == DEFAULTS.keys()
    assert not VALUES.keys() & WITHOUT_EFFECT
    assert all(feature.keys() <= DEFAULTS.keys() for feature in FEATURES)
    assert LOOSE.keys() == DEFAULTS.keys()


@few
@given(cases(), any_switches())
def test_money_adds_up(case: Case, semantics: dict[str, str]) -> None:
    result = case.run(semantics)
    start = case.initial_balance if case.init_state is None else case.init_state["balance"]
    moved = sum(t["pnl"] - t["fee"] for t in result.trades)
    assert result.final_balance == pytest.approx(start + moved, rel=1e-9, abs=1e-6)
    assert case.run(semantics) == result


@few
@given(cases(sub_bars=False, contexts=False))
def test_close_time_only_shifts_a_run_without_sub_bars_and_funding(case: Case) -> None:
    case = replace(case, funding=None, init_state=None)
    shift = case.interval_ms
    opens = case.run(REFERENCE)
    moved = replace(
        case,
        from_ms=None if case.from_ms is None else case.from_ms + shift,
        to_ms=None if case.to_ms is None else case.to_ms + shift,
    )
    closes = moved.run(only(bar_time="close"))
    shifted = [t | {"timestamp": t["timestamp"] + shift} for t in opens.trades]
    assert closes.trades == shifted
    assert closes.gates == opens.gates
    assert closes.equity == [(t + shift, value) for t, value in opens.equity]


@few
@given(cases())
def test_strict_fills_at_an_open_or_a_level_of_a_bar_known_then(case: Case) -> None:
    for trade in case.run(STRICT).trades:
        if trade["action"] == "FUNDING" or trade["reason"] == "End of Backtest":
            continue
        px = unslipped(case, trade, leaving_bps=None)
        bars = [
            bar
            for known, bar in bars_by_known_time(case, trade["symbol"])
            if known == trade["timestamp"]
        ]
        at_open = any(px == pytest.approx(bar[1], rel=1e-12) for bar in bars)
        inside = any(bar[3] * (1 - 1e-12) <= px <= bar[2] * (1 + 1e-12) for bar in bars)
        assert at_open or (trade["reason"] in AT_A_LEVEL and inside), trade


@few
@given(cases())
def test_signal_close_fills_at_a_close(case: Case) -> None:
    for trade in case.run(STRICT | {"entry_fill": "signal_close", "exit_fill": "close"}).trades:
        if trade["action"] == "FUNDING" or trade["reason"] == "End of Backtest":
            continue
        px = unslipped(case, trade, leaving_bps=None)
        closes = [
            bar[4]
            for known, bar in bars_by_known_time(case, trade["symbol"])
            if known == trade["timestamp"]
        ]
        assert any(px == pytest.approx(close, rel=1e-12) for close in closes), trade


@few
@given(cases(), any_switches())
def test_latched_take_profit_reduces_a_position_once(case: Case, semantics: dict[str, str]) -> None:
    reduced: Counter[str] = Counter()
    for trade in case.run(semantics | {"take_profit": "latches"}).trades:
        if trade["action"].startswith("OPEN"):
            reduced[trade["symbol"]] = 0
        elif trade["action"].startswith("REDUCE"):
            reduced[trade["symbol"]] += 1
            assert reduced[trade["symbol"]] == 1


@few
@given(cases(), any_switches())
def test_window_end_leaves_nothing_outside_the_window(
    case: Case, semantics: dict[str, str]
) -> None:
    result = case.run(semantics | {"run_end": "window", "bar_time": "close", "funding": "held"})
    low = -(1 << 62) if case.from_ms is None else case.from_ms
    high = 1 << 62 if case.to_ms is None else case.to_ms
    stamps = [t["timestamp"] for t in result.trades] + [t for t, _ in result.equity]
    assert all(low <= t <= high for t in stamps)
    if result.equity:
        assert result.equity[-1][1] == result.final_balance


@few
@given(cases(), any_switches())
def test_both_sides_costs_price_every_fill(case: Case, semantics: dict[str, str]) -> None:
    for trade in case.run(semantics | {"costs": "both_sides"}).trades:
        if trade["action"] != "FUNDING":
            assert trade["fee"] == trade["size"] * trade["price"] * 0.00035


@few
@given(cases(), any_switches())
def test_ready_warm_up_opens_nothing_before_its_bars(case: Case, semantics: dict[str, str]) -> None:
    result = case.run(semantics | {"warm_up": "ready", "bar_time": "close"})
    for trade in result.trades:
        if trade["action"].startswith("OPEN"):
            rows = case.candles[trade["symbol"]]
            known = sum(bar[0] + case.interval_ms <= trade["timestamp"] for bar in rows)
            assert known >= 34


@few
@given(cases(), any_switches())
def test_limits_hold_over_positions_and_pending_orders(
    case: Case, semantics: dict[str, str]
) -> None:
    case = replace(case, init_state=None)
    most = int(case.config["trade.max_open_positions"])
    open_now: set[str] = set()
    for trade in case.run(semantics | {"bar_time": "close"}).trades:
        if trade["action"].startswith("OPEN"):
            assert trade["symbol"] not in open_now
            open_now.add(trade["symbol"])
        elif trade["action"].startswith("CLOSE"):
            open_now.remove(trade["symbol"])
        # Under next_open a position that leaves may overlap the one that takes its place.
        if semantics["entry_fill"] == "signal_close":
            assert len(open_now) <= most
