"""The table `signals`: what an uninterrupted run over the same candles signals, once each, of the boundaries taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.data.candle_db import load_candles
from mei.data.trading_db import SignalRow
from mei.engines.mei_alpha import indicators
from mei.model.replay import ReplayInputs
from mei.model.semantics import STRICT
from mei.workflows.strategy import MEI_ALPHA, BacktestStrategy, load_strategy
from tests.paper_trader.desk import LOOKBACK, Desk, nothing
from tests.paper_trader.market import HOUR_MS, make_market

N_HOURS = 110
KINDS: dict[str, dict[str, Any]] = {
    "main bars": {"holes": 0.04},
    "sub-bars": {"sub_bars": True, "holes": 0.04},
}


def made(folder: Path, kind: str) -> Desk:
    return Desk(folder, make_market(folder / "databases", 51, N_HOURS, **KINDS[kind]))


def strategy_of(desk: Desk) -> BacktestStrategy:
    return load_strategy(
        MEI_ALPHA,
        config=str(desk.config),
        live=False,
        symbol=None,
        slippage_bps=None,
        semantics=STRICT,
        tell=nothing,
    )


def inputs_of(desk: Desk) -> ReplayInputs:
    """Everything there is, from the start of the trader on."""
    request = desk.request.market
    bars = load_candles(str(request.candles_db), "1h", tell=nothing)
    finer = None
    if request.entry_candles_db is not None:
        finer = load_candles(request.entry_candles_db, "15m", tell=nothing)
    return ReplayInputs(
        candles=bars,
        exit_candles=finer,
        entry_candles=finer,
        from_ms=desk.start_ms + 1,
        to_ms=desk.market.end_ms,
        lookback=LOOKBACK,
        exports_state=True,
    )


def at_ms(row: SignalRow) -> int:
    return int(json.loads(row.meta_json or "")["timestamp_ms"])


@pytest.mark.parametrize("kind", KINDS)
def test_signals_are_those_of_one_run_however_boundaries_are_taken(
    tmp_path: Path, kind: str
) -> None:
    one, leap = made(tmp_path / "one", kind), made(tmp_path / "leap", kind)
    one.open(whole=True)
    for boundary_ms in one.boundaries():
        n_before, as_of_ms = len(one.signals()), one.state().as_of_ms
        one.trader.advance(boundary_ms)
        fresh = [at_ms(row) for row in one.signals()[n_before:]]
        assert all(as_of_ms < moment <= boundary_ms for moment in fresh)
    leap.open(whole=True)
    stops = np.random.default_rng(3).choice(list(leap.boundaries()), 9, replace=False)
    leap.through([*sorted(stops.tolist()), leap.market.end_ms])

    strategy, inputs = strategy_of(one), inputs_of(one)
    expected = strategy.signals(strategy.run(inputs))
    found = one.signals()
    assert len(found) > 60
    assert {row.signal for row in found} == {"BUY", "SELL"}
    assert found == leap.signals()
    assert [row.id for row in found] == list(range(1, len(found) + 1))
    assert [(at_ms(row), row.symbol, row.price, row.rsi) for row in found] == [
        (signal.at_ms, signal.symbol, signal.px, signal.rsi) for signal in expected
    ]


def test_a_signal_tells_the_indicators_of_its_bar(tmp_path: Path) -> None:
    desk = made(tmp_path, "main bars")
    desk.open(whole=True)
    desk.advance(desk.market.end_ms)
    strategy, inputs = strategy_of(desk), inputs_of(desk)
    result = strategy.run(inputs)
    # Reversal and regime filter are off: every signal that the report counts has its row.
    assert len(desk.signals()) == result.n_signals
    columns = {
        name: indicators(inputs.candles, name, strategy._of_symbol(name))  # type: ignore[attr-defined]
        for name in inputs.candles.symbols
    }
    sides = {}
    for row in desk.signals():
        bars = inputs.candles.rows_of(row.symbol)
        opens = inputs.candles.open_ms[bars]
        number = int(np.searchsorted(opens, at_ms(row) - HOUR_MS))
        assert opens[number] + HOUR_MS == at_ms(row)
        assert row.price == inputs.candles.close[bars][number]
        own = columns[row.symbol]
        assert (row.rsi, row.ema_fast, row.ema_slow) == tuple(
            own[name][number] for name in ("rsi", "ema_fast", "ema_slow")
        )
        meta = json.loads(row.meta_json or "")
        assert (meta["bar"], meta["adx"]) == ("main", own["adx"][number])
        sides[at_ms(row), row.symbol] = row.signal, meta["blocked"]
    # What is opened at the next open was signalled, to that side and by no filter held back.
    opened = [row for row in desk.rows() if row.action == "OPEN"]
    assert opened
    for row in opened:
        said = [
            sides.get((moment, row.symbol))
            for moment in range(desk.start_ms, desk.market.end_ms, HOUR_MS)
            if moment < json.loads(row.meta_json or "")["timestamp_ms"]
        ]
        wanted = "BUY" if row.type == "LONG" else "SELL"
        assert (wanted, []) in said


def test_filters_that_hold_a_signal_back_are_named(tmp_path: Path) -> None:
    desk = made(tmp_path, "main bars")
    text = desk.config.read_text()
    desk.config.write_text(text.replace("entry_min_confidence: low", "entry_min_confidence: high"))
    desk.open(whole=True)
    desk.advance(desk.market.end_ms)
    rows = desk.signals()
    low = [row for row in rows if row.confidence != "high"]
    assert low
    assert all("confidence" in json.loads(row.meta_json or "")["blocked"] for row in low)
    assert all(
        "confidence" not in json.loads(row.meta_json or "")["blocked"]
        for row in rows
        if row not in low
    )
