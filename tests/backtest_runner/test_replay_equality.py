"""The replay trades what the learning loop trades when it does not learn, bit for bit: every action, every point."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mei.data.research import read_series, scan_series
from mei.data.sample import sample_bars
from mei.engines.momentum_breakout import replay
from mei.model.bars import BarArray, path_name
from mei.model.replay import ACTIONS, ReplayInputs, ReplayResult
from mei.model.settings import Costs
from mei.rules.momentum_breakout.reasons import reason_text
from tests.backtest_runner.conftest import ROOT, Bench
from tests.momentum_breakout.market import candles_of, with_holes

REAL_CANDLES = ROOT.parent / "shared/data/binance-spot-timealiver/BTCUSDT_2023_1m.csv.gz"
FEE_BP, SLIPPAGE_BP, CASH = 1.3, 0.9, 12_345.0

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "channel with everything": ("next_open", dict(
        lookback=30, stop_bps=15.0, take_profit_bps=25.0, max_hold_bars=90, allocation_frac=0.4)),
    "channel at the close": ("signal_close", dict(
        lookback=30, breakout_bps=1.5, stop_bps=20.0, take_profit_bps=30.0, max_hold_bars=45)),
    "reversals only, long and short": ("next_open", dict(lookback=20, allocation_frac=0.7)),
    "long only, out by time": ("next_open", dict(
        lookback=60, allow_short=False, max_hold_bars=17, notional_usd=2_500.0)),
    "stops only, at the close": ("signal_close", dict(lookback=45, stop_bps=12.5)),
    "z-score with everything": ("next_open", dict(
        signal="zscore", lookback=40, breakout_z=1.7, stop_bps=18.0, take_profit_bps=22.0,
        max_hold_bars=60, allocation_frac=0.25)),
    "z-score at the close, long only": ("signal_close", dict(
        signal="zscore", lookback=25, breakout_z=2.1, allow_short=False, take_profit_bps=10.0,
        max_hold_bars=33, notional_usd=900.0)),
    "z-score, reversals only": ("next_open", dict(signal="zscore", lookback=15, breakout_z=1.2)),
}  # fmt: skip


def write_candles(folder: Path, series: dict[str, BarArray]) -> None:
    """A research folder of exactly these bars."""
    for symbol, bars in series.items():
        path = folder / path_name(symbol) / "1m" / "candles.csv"
        path.parent.mkdir(parents=True)
        rows = [",".join(map(repr, row)) for row in bars.tolist()]
        path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")


def configured(bench: Bench, params: dict[str, Any]) -> Path:
    """A config whose preset `wanted` and static settings together are `params`."""
    config = bench.folder / "config"
    shutil.copytree(ROOT / "config", config)
    path = config / "strategy_schemas" / "momentum_breakout.yaml"
    schema = yaml.safe_load(path.read_text())
    tuned = {name: params.get(name, 0) for name in schema["parameters"]}
    for name, value in tuned.items():
        schema["parameters"][name]["min"] = min(schema["parameters"][name]["min"], value)
    schema["presets"] = {"wanted": tuned}
    path.write_text(yaml.safe_dump(schema, sort_keys=False))
    static = {name: value for name, value in params.items() if name not in tuned}
    static["regimes"] = []
    (config / "strategy.yaml").write_text(yaml.safe_dump({"momentum_breakout": static}))
    return config


def assert_equal(bench: Bench, fill: Any, params: dict[str, Any], **environment: str) -> int:
    """Run both on the same candles; the number of actions."""
    code, _, err = bench.loop(
        CONFIG_DIR=str(configured(bench, params)),
        POLICY="fixed:wanted",
        TRAINING="off",
        ENTRY_FILL=fill,
        FEE_BP=str(FEE_BP),
        SLIPPAGE_BP=str(SLIPPAGE_BP),
        INITIAL_CASH=str(CASH),
        **environment,
    )
    assert code == 0, err
    symbols = environment["SYMBOLS"].split(",")
    end_ms = bench.end_ms(environment["END_TS"])
    series = {}
    for symbol in symbols:
        scan = scan_series(bench.research, symbol, "1m", "keep", None, end_ms)
        series[symbol] = np.concatenate(list(read_series(scan)))
    inputs = ReplayInputs(candles_of(series), initial_balance_usd=CASH)
    result = replay(inputs, params, Costs(FEE_BP, SLIPPAGE_BP), fill)
    outputs = bench.outputs()
    equity = list(csv.DictReader(io.StringIO(outputs["equity.csv"].decode())))
    assert result.equity_ms.tolist() == [int(row["timestamp"]) for row in equity]
    assert result.equity_usd.tolist() == [float(row["equity"]) for row in equity]
    trades = list(csv.DictReader(io.StringIO(outputs["trades.csv"].decode())))
    assert actions_of(result) == [as_action(row) for row in trades]
    assert result.final_balance_usd == float(equity[-1]["equity"])
    return len(trades)


def as_action(row: dict[str, str]) -> tuple[Any, ...]:
    """A row of trades.csv with its numbers as numbers."""
    numbers = [float(row[name] or 0.0) for name in ("qty", "price", "notional", "fee", "pnl")]
    words = (row["instrument"], row["action"], row["side"], row["reason"])
    return int(row["timestamp"]), *words, *numbers, float(row["slippage"])


def actions_of(result: ReplayResult) -> list[tuple[Any, ...]]:
    """The replay's trades in the loop's words; slippage from the price before it (detail_1)."""
    actions = []
    for trade in result.trades:
        kind, _, side = ACTIONS[trade["action"]].partition("_")
        is_buy = (kind == "OPEN") == (side == "LONG")
        words = (
            result.symbols[trade["symbol"]],
            kind.lower(),
            "buy" if is_buy else "sell",
            reason_text(int(trade["reason"]), int(trade["confidence"]), 0.0, 0.0),
        )
        names = ("qty", "price", "notional_usd", "fee_usd", "pnl_usd")
        numbers = [float(trade[name]) for name in names]
        slippage = float(trade["qty"]) * abs(float(trade["price"]) - float(trade["detail_1"]))
        actions.append((int(trade["timestamp_ms"]), *words, *numbers, slippage))
    return actions


@pytest.fixture(scope="module")
def two_symbols(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of two symbols with an outage in common and holes of their own; the second begins later."""
    folder = tmp_path_factory.mktemp("two-symbols")
    btc = with_holes(sample_bars("BTC/USDT", days=3), 1, 0.01)
    eth = with_holes(sample_bars("ETH/USDT", days=3), 2)[200:]
    write_candles(folder, {"BTC/USDT": btc, "ETH/USDT": eth})
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_symbols_with_holes(bench: Bench, two_symbols: Path, case: str) -> None:
    fill, params = CASES[case]
    n_actions = assert_equal(
        bench,
        fill,
        params,
        RESEARCH_DIR=str(two_symbols),
        SYMBOLS="BTC/USDT,ETH/USDT",
        END_TS="2024-01-03T06:00",
    )
    assert n_actions > 60


@pytest.mark.skipif(not REAL_CANDLES.exists(), reason=f"needs the real candles {REAL_CANDLES.name}")
@pytest.mark.parametrize("case", ["channel with everything", "z-score with everything"])
def test_days_of_real_candles(bench: Bench, case: str) -> None:
    folder = bench.folder / "real" / "BTC_USDT" / "1m"
    folder.mkdir(parents=True)
    (folder / "c.csv.gz").symlink_to(REAL_CANDLES.resolve())
    fill, params = CASES[case]
    n_actions = assert_equal(
        bench,
        fill,
        params,
        RESEARCH_DIR=str(bench.folder / "real"),
        SYMBOLS="BTC/USDT",
        END_TS="2023-01-08",
    )
    assert n_actions > 60
