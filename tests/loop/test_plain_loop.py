"""The loop trades what the specification says: its worked table, and a plain loop written from the text alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from mei.model.bars import BarArray
from mei.model.settings import Costs, LoopSettings
from mei.strategies.momentum_breakout import MomentumBreakout
from tests.loop.harness import OnePreset, bars_of, make_driver, random_bars, run_driver
from tests.oracles.momentum_breakout_loop import plain_loop

#: The specification's table: open, high, low, close, equity.
WORKED = [
    (100, 100.5, 99.5, 100, 10000),
    (100, 100.6, 99.8, 100.4, 10000),
    (100.4, 101.2, 100.2, 101.0, 10000),
    (101.0, 103.5, 99.9, 101.2, 9988.805999),
    (101.2, 101.6, 101.0, 101.4, 9988.805999),
    (101.4, 103.0, 101.3, 102.9, 9988.805999),
    (102.9, 104.5, 102.8, 104.2, 9988.805999),
    (104.2, 104.9, 103.6, 104.4, 9990.125305),
    (102.5, 102.9, 102.0, 102.6, 9971.301007),
    (102.6, 102.8, 101.9, 102.0, 9971.301007),
    (102.0, 102.1, 101.0, 101.2, 9971.301007),
    (101.2, 101.5, 100.9, 101.1, 9971.68923),
    (101.1, 101.3, 100.7, 100.9, 9973.665514),
    (100.9, 101.0, 100.6, 100.8, 9974.653657),
    (100.8, 100.9, 100.6, 100.7, 9975.641799),
    (100.65, 100.8, 100.5, 100.6, 9975.539051),
]
WORKED_PARAMS = dict(
    lookback=2, stop_bps=100.0, take_profit_bps=200.0, max_hold_bars=3, notional_usd=1000.0
)


def run_loop(
    folder: Path, bars: BarArray, params: dict[str, Any], settings: LoopSettings, batch_bars: int
) -> tuple[list[dict[str, str]], list[float]]:
    driver, _, _ = make_driver(
        folder,
        {"BTC/USDT": bars},
        [MomentumBreakout],
        OnePreset(params),
        settings=settings,
        strategy_settings={},
        batch_bars=batch_bars,
    )
    assert run_driver(driver)
    with (folder / "trades.csv").open() as file:
        trades = list(csv.DictReader(file))
    with (folder / "equity.csv").open() as file:
        equity = [float(row["equity"]) for row in csv.DictReader(file)]
    return trades, equity


def test_worked_table_of_the_specification(tmp_path: Path) -> None:
    settings = LoopSettings(costs=Costs(4.0, 2.0), training="off")
    bars = bars_of([row[:4] for row in WORKED])
    trades, equity = run_loop(tmp_path, bars, WORKED_PARAMS, settings, 100)
    assert [round(value, 6) for value in equity] == [row[4] for row in WORKED]
    assert [(t["action"], t["reason"]) for t in trades] == [
        ("open", "breakout_long"),
        ("close", "stop"),
        ("open", "breakout_long"),
        ("close", "stop"),
        ("open", "breakout_short"),
        ("close", "time"),
    ]
    assert [round(float(t["price"]), 6) for t in trades] == [
        101.0202, 99.970002, 104.22084, 102.479500, 101.17976, 100.67013,
    ]  # fmt: skip
    assert [round(float(t["pnl"]), 6) for t in trades[1::2]] == [-10.398, -16.711516, 5.03587]


@pytest.mark.parametrize("entry_fill", ["next_open", "signal_close"])
@pytest.mark.parametrize("signal", ["channel", "zscore"])
@pytest.mark.parametrize("seed", range(6))
def test_loop_equals_plain_loop_bit_for_bit(
    tmp_path: Path, seed: int, signal: str, entry_fill: Any
) -> None:
    params = dict(
        signal=signal,
        lookback=[3, 20, 60][seed % 3],
        breakout_bps=[0.0, 1.0][seed % 2],
        breakout_z=[1.0, 1.5, 1.5][seed % 3],
        allow_short=seed % 3 != 1,
        stop_bps=[20.0, 0.0, 50.0][seed % 3],
        take_profit_bps=[30.0, 40.0][seed % 2],
        max_hold_bars=[0, 7, 30][seed % 3],
        allocation_frac=0.3,
    )
    bars = random_bars(2500, seed)
    settings = LoopSettings(
        costs=Costs(1.5, 0.7), training="off", entry_fill=entry_fill, chunk_rows=333
    )
    trades, equity = run_loop(tmp_path, bars, params, settings, 37)
    rows = [(r[0] + 60_000, r[1], r[2], r[3], r[4]) for r in bars.tolist()]
    fills, curve = plain_loop(
        rows, params, fee_bps=1.5, slippage_bps=0.7, cash=10_000.0, entry_fill=entry_fill
    )
    assert len(fills) > 20
    assert equity == curve
    for trade, fill in zip(trades, fills, strict=True):
        assert int(trade["timestamp"]) == fill["t"]
        assert trade["action"] == fill["action"]
        for column in ("qty", "price", "fee", "pnl"):
            assert float(trade[column] or 0.0) == fill[column], column
