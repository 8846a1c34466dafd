"""replay, sweep and dump-indicators from the command line, over data that are not what they seem."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.databases import HOUR_MS, START_MS, write_candles

N_HOURS = 700
CONFIG = """
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, slippage_bps: 4.0}
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}
symbols:
  ETH: {trade: {slippage_bps: 9.0}}
"""
SPEC = """
axes:
- {path: trade.sl_atr_mult, values: [0.3, 2.5]}
lookback: 701
"""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases for all tests; nothing is written to them."""
    folder = tmp_path_factory.mktemp("market")
    write_candles(folder, "1h", HOUR_MS, N_HOURS, symbols=("BTC", "ETH", "SOL"))
    return folder


@pytest.fixture
def folder(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the databases and a strategy file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candles_dbs").symlink_to(market / "candles_dbs")
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "replay --config c.yaml --lookback 100000000",
        "replay --config c.yaml --lookback 701",
        "replay --config slow.yaml --lookback 1",
        "replay --strategy momentum_breakout --config slow.yaml",
        "sweep --config c.yaml --sweep-spec late.yaml",
    ],
)
def test_a_run_that_trades_no_bar_is_refused_in_strict(run: Any, folder: Path, line: str) -> None:
    indicators = "{ema_slow_window: 800, ema_macro_window: 900}"
    breakout = "momentum_breakout: {lookback: 1000, max_lookback: 1000}"
    (folder / "slow.yaml").write_text(f"global: {{indicators: {indicators}}}\n")
    if "momentum" in line:
        (folder / "slow.yaml").write_text(f"{breakout}\n")
    (folder / "late.yaml").write_text(SPEC)
    said = run(line)
    assert said.code == 1
    assert "error: no bar is traded: symbols of candles_dbs/candles_1h.db (1h) must" in said.err
    if "momentum" not in line:
        assert run(f"{line} --semantics reference").code == 0


def test_an_unknown_symbol_of_a_dump_comes_with_what_could_be_meant(run: Any) -> None:
    said = run("dump-indicators --config c.yaml --symbol SOL/USDT")
    assert said.code == 1
    assert "candles of candles_dbs/candles_1h.db, BTC, ETH, SOL; did you mean SOL?" in said.err


def test_indicators_of_bars_with_a_wrong_label_are_not_dumped_in_strict(
    run: Any, tmp_path: Path
) -> None:
    db = write_candles(tmp_path / "w", "1m", HOUR_MS, 40, symbols=("SOL",))
    line = f"dump-indicators --config c.yaml --symbol SOL --candles-db {db}"
    said = run(f"{line} --interval 1m")
    assert said.code == 1
    assert "bars labelled 1m must open 1m apart, those of SOL mostly open 1h apart" in said.err
    assert run(f"{line} --interval 1m --semantics reference").code == 0
    said = run(f"{line} --interval 1M")
    assert said.code == 2
    assert "did you mean 1m (minutes)?" in said.err


@pytest.mark.parametrize(
    ("asked", "semantics", "traded"),
    [
        ("kPEPE", "strict", "kPEPE"),
        ("kPEPE", "strict,symbol_layer=alone", "kPEPE"),
        ("kPEPE", "reference", "KPEPE"),
        ("KPEPE", "strict", "KPEPE"),
        ("eth", "strict", "ETH"),
        ("eth", "strict,symbol_layer=alone", "ETH"),
        ("eth", "reference", "ETH"),
        ("Kpepe", "strict", "KPEPE"),
    ],
)
def test_symbol_is_taken_as_written_where_there_is_such_a_one(
    run: Any, tmp_path: Path, asked: str, semantics: str, traded: str
) -> None:
    write_candles(tmp_path / "k", "1h", HOUR_MS, 400, symbols=("ETH", "KPEPE", "kPEPE"))
    bps = "\n".join(
        f"  {name}: {{trade: {{slippage_bps: {value}}}}}"
        for name, value in (("ETH", 9.0), ("KPEPE", 11.0), ("kPEPE", 13.0))
    )
    (tmp_path / "k.yaml").write_text(f"{CONFIG.split('symbols:')[0]}symbols:\n{bps}\n")
    line = "replay --config k.yaml --candles-db k/candles_dbs/candles_1h.db"
    said = run(f"{line} --symbol {asked} --semantics {semantics}")
    assert said.code == 0
    assert f'symbol=Some("{traded}")' in said.err
    report = json.loads(said.out)
    assert set(report["per_symbol"]) == {traded}
    assert report["slippage_bps"] == {"ETH": 9.0, "KPEPE": 11.0, "kPEPE": 13.0}[traded]
    assert f"[replay] slippage_bps={report['slippage_bps']:.2f}\n" in said.err


def test_symbol_of_another_interval_alone_is_not_taken_as_written(run: Any, tmp_path: Path) -> None:
    hours = write_candles(tmp_path / "a", "1h", HOUR_MS, 400, symbols=("KPEPE",))
    days = write_candles(tmp_path / "b", "1d", 24 * HOUR_MS, 30, symbols=("kPEPE",))
    said = run(f"replay --config c.yaml --candles-db {hours},{days} --symbol kPEPE")
    assert set(json.loads(said.out)["per_symbol"]) == {"KPEPE"}


@pytest.fixture
def glued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ETH's second half is of another market."""
    inside = folder / "glued"
    path = write_candles(inside, "1h", HOUR_MS, N_HOURS, symbols=("BTC", "ETH", "SOL"))
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        middle_ms = START_MS + N_HOURS // 2 * HOUR_MS
        database.execute(
            "UPDATE candles SET o = o * 9, h = h * 9, l = l * 9, c = c * 9 WHERE symbol = 'ETH' AND t >= ?",
            (middle_ms,),
        )
    (inside / "c.yaml").write_text(CONFIG)
    (inside / "s.yaml").write_text(SPEC.replace("701", "100"))
    monkeypatch.chdir(inside)


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("replay --config c.yaml --lookback 100 --output r.json", "replay"),
        ("sweep --config c.yaml --sweep-spec s.yaml --output rows.jsonl", "sweep"),
        ("validate slippage-stress --config c.yaml --output v.json", "replay"),
    ],
)
def test_markets_glued_together_are_told_and_refuse_nothing(
    run: Any, glued: None, line: str, program: str
) -> None:
    found = run(line)
    assert found.code == 0, found.err
    told, *again = (text for text in found.err.splitlines() if "were glued" in text)
    assert told.startswith(f"[{program}] Warning: the 1h candles of candles_dbs/candles_1h.db must")
    # A sweep runs its best again as replays.
    assert {text.partition("] ")[2] for text in again} <= {told.partition("] ")[2]}
    assert "1 of 3 symbols jump, 1 times" in told
    assert "(ETH 2025-06-15T14:00:00Z from " in told
    assert "were glued" not in found.out


def test_reference_says_nothing_of_markets_glued_together(run: Any, glued: None) -> None:
    found = run("replay --config c.yaml --lookback 100 --output r.json --semantics reference")
    assert found.code == 0
    assert "were glued" not in found.err
