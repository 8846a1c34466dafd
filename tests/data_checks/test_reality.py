"""reality_check: what traders did of late and how candles are, without writing anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.data.trading_db import (
    TradeRow,
    insert_audit,
    insert_trades,
    open_trading_db,
    stamp_text,
    writing,
)
from tests.data_checks.conftest import Bench, bar, ms
from tests.workflows.databases import HOUR_MS

NOW = ms("2026-03-10 12:00:00")


def trading(path: str, n_trades: int = 12) -> None:
    """A database with trades of BTC and ETH minute by minute, and audit events of some hours."""
    with open_trading_db(path, create=True) as conn, writing(conn):
        insert_trades(
            conn,
            [
                TradeRow(
                    timestamp=stamp_text(NOW - (n_trades - number) * 60_000),
                    symbol=symbol,
                    type="LONG",
                    action="OPEN",
                    price=100.0 + number,
                    reason=f"reason {number}",
                )
                for number in range(n_trades)
                for symbol in ("BTC", "ETH")
            ],
        )
        events = [
            (NOW - 2 * HOUR_MS - 1, "BTC", "TOO_OLD"),
            (NOW - 2 * HOUR_MS, "BTC", "ENTRY_SKIP"),
            (NOW - 1, "BTC", "ENTRY_SKIP"),
            (NOW - 1, "ETH", "OF_ANOTHER"),
            (NOW - 1, None, "RISK_KILL_DRAWDOWN"),
        ]
        for at_ms, symbol, event in events:
            insert_audit(
                conn,
                timestamp=stamp_text(at_ms),
                symbol=symbol,
                event=event,
                level="info",
                data=None,
            )


def test_what_is_printed(bench: Bench) -> None:
    trading("trading_engine.db")
    hours = [t for t in range(NOW - 5 * HOUR_MS, NOW, HOUR_MS) if t != NOW - 2 * HOUR_MS]
    bench.candles("candles_1h.db", [bar("BTC", t) for t in hours])
    before = {path: path.read_bytes() for path in bench.folder.rglob("*.db")}
    assert bench.run("reality_check", f"--symbol btc --hours 2 --now-ms {NOW}") == 0
    lines = bench.out.splitlines()
    assert lines[0] == "== paper: trading_engine.db"
    assert lines[2:5] == [
        "         2  ENTRY_SKIP",
        "         1  RISK_KILL_DRAWDOWN",
        "  last 10 trades of btc:",
    ]
    trades = lines[5:15]
    assert trades[0].strip() == "2026-03-10T11:59:00Z LONG OPEN price=111 reason 11"
    assert trades[-1].strip() == "2026-03-10T11:50:00Z LONG OPEN price=102 reason 2"
    assert lines[15] == "== live: trading_engine_live.db"
    assert "there is no such file" in lines[16]
    assert lines[17] == "== candles: candles_dbs/candles_1h.db"
    assert (
        "newest bar opens 2026-03-10T11:00:00Z, known to 2026-03-10T10:00:00Z, 7200 s" in lines[18]
    )
    assert lines[19:] == [
        "    1 of 1 bars of the last 2 hours are missing",
        "    whole: 1 from 2026-03-10T10:00:00Z",
    ]
    assert {path: path.read_bytes() for path in bench.folder.rglob("*.db")} == before


def test_where_databases_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trading("elsewhere.db", 1)
    bench.candles("hub.db", [bar("BTC", NOW, "4h", 4 * HOUR_MS)])
    monkeypatch.setenv("AI_QUANT_LIVE_DB_PATH", "elsewhere.db")
    monkeypatch.setenv("AI_QUANT_INTERVAL", "4h")
    monkeypatch.setenv("AI_QUANT_MARKET_DB_PATH", "candles_dbs/hub.db")
    assert bench.run("reality_check", f"--now-ms {NOW}") == 0
    assert "== live: elsewhere.db" in bench.out
    assert "hub.db: BTC (4h) newest bar opens 2026-03-10T12:00:00Z" in bench.out


def test_a_database_of_the_original_without_tables(bench: Bench) -> None:
    Path("trading_engine.db").touch()
    assert bench.run("reality_check") == 0
    assert bench.out.count("    none\n") == 2


def test_nothing_to_look_at(bench: Bench) -> None:
    assert bench.run("reality_check") == 1
    assert bench.out.count("not looked at") == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [("--hours 0", "--hours must be above 0"), ("--hours x", "Invalid value for '--hours'")],
)
def test_wrong_flags(bench: Bench, flags: str, said: str) -> None:
    assert bench.run("reality_check", flags) == 2
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")


@pytest.mark.parametrize("interval", ["1M", "hour"])
def test_a_wrong_interval(bench: Bench, monkeypatch: pytest.MonkeyPatch, interval: str) -> None:
    monkeypatch.setenv("AI_QUANT_INTERVAL", interval)
    assert bench.run("reality_check") == 2
    assert "AI_QUANT_INTERVAL must be a length of time" in bench.err
