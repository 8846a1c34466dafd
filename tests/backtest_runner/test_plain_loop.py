"""With regimes empty and POLICY=fixed:medium the whole loop, services included, trades what a plain loop trades."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

from mei.data.research import read_series, scan_series
from tests.backtest_runner.conftest import ROOT, Bench
from tests.oracles.momentum_breakout_loop import plain_loop

REAL_CANDLES = ROOT.parent / "shared/data/binance-spot-timealiver/BTCUSDT_2023_1m.csv.gz"

#: The preset as the design states it; not read from the schema under test.
MEDIUM = dict(
    lookback=60,
    breakout_bps=0.0,
    stop_bps=50.0,
    take_profit_bps=100.0,
    max_hold_bars=240,
    allocation_frac=0.1,
)


def assert_loop_is_plain(bench: Bench, end_ts: str, min_fills: int) -> None:
    config = bench.folder / "config"
    shutil.copytree(ROOT / "config", config)
    (config / "strategy.yaml").write_text("momentum_breakout:\n  regimes: []\n")
    code, _, err = bench.loop(CONFIG_DIR=str(config), POLICY="fixed:medium", END_TS=end_ts)
    assert code == 0, err
    outputs = bench.outputs()
    trades = list(csv.DictReader(io.StringIO(outputs["trades.csv"].decode())))
    equity = [float(line.split(b",")[1]) for line in outputs["equity.csv"].splitlines()[1:]]
    scan = scan_series(bench.research, "BTC/USDT", "1m", "keep", None, bench.end_ms(end_ts))
    bars = [
        (t + 60_000, o, h, low, c)
        for block in read_series(scan)
        for t, o, h, low, c, _ in block.tolist()
    ]
    fills, curve = plain_loop(bars, MEDIUM, fee_bps=1.0, slippage_bps=2.0, cash=10_000.0)
    assert len(fills) >= min_fills
    assert equity == curve
    found = [
        (int(t["timestamp"]), t["action"], float(t["qty"]), float(t["price"]), float(t["fee"]))
        for t in trades
    ]
    assert found == [(f["t"], f["action"], f["qty"], f["price"], f["fee"]) for f in fills]
    assert [float(t["pnl"]) for t in trades if t["pnl"]] == [
        f["pnl"] for f in fills if f["action"] == "close"
    ]


def test_on_the_sample(bench: Bench) -> None:
    assert_loop_is_plain(bench, "2024-01-04", 40)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_CANDLES.exists(), reason=f"needs the real candles {REAL_CANDLES.name}")
def test_on_a_month_of_real_candles(bench: Bench) -> None:
    folder = bench.folder / "real" / "BTC_USDT" / "1m"
    folder.mkdir(parents=True)
    (folder / "c.csv.gz").symlink_to(REAL_CANDLES.resolve())
    bench.setenv("RESEARCH_DIR", str(Path(bench.folder) / "real"))
    assert_loop_is_plain(bench, "2023-01-31", 500)
