"""Trading databases: what is written is read back, whole transactions, foreign databases, doubled fills."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mei.data.trading_db import (
    EngineStateRow,
    EquityPoint,
    PositionRow,
    TradeRow,
    audit_since,
    equity_since,
    insert_audit,
    insert_equity,
    insert_trades,
    last_balance_usd,
    open_trading_db,
    position_rows,
    read_engine_state,
    read_trader_state,
    replace_positions,
    stamp_ms,
    stamp_text,
    trades_since,
    write_engine_state,
    write_trader_state,
    writing,
)
from mei.model.errors import ConflictError, DataError, OutputError


def trade(
    symbol: str = "BTC", tid: int | None = None, at: str = "2026-01-01T00:00:00Z"
) -> TradeRow:
    fill = None if tid is None else "paper"
    return TradeRow(
        timestamp=at,
        symbol=symbol,
        type="LONG",
        action="OPEN",
        price=100.5,
        size=2.0,
        balance=9_000.25,
        fill_hash=fill,
        fill_tid=tid,
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    state = EngineStateRow(
        revision=1, as_of_ms=5, config_id="c", state_json="{}", updated_at="2026-01-01T00:00:00Z"
    )
    held = PositionRow(symbol="BTC", open_trade_id=1, trailing_sl=99.5, adds_count=2, tp1_taken=1)
    with open_trading_db(tmp_path / "new" / "paper.db", create=True) as conn:
        assert read_engine_state(conn) is None
        assert last_balance_usd(conn) is None
        assert read_trader_state(conn) is None
        with writing(conn):
            assert insert_trades(conn, [trade(), trade("ETH")]) == [1, 2]
            replace_positions(conn, [PositionRow(symbol="OLD")])
            replace_positions(conn, [held])
            write_engine_state(conn, state)
            insert_equity(conn, [EquityPoint(1, 2.0, 3.0), EquityPoint(4, 5.0, 6.0)])
            insert_audit(
                conn, timestamp="t", symbol="BTC", event="E", level="info", data={"b": 1, "a": 2}
            )
            write_trader_state(conn, {"mode": "run"})
    with open_trading_db(tmp_path / "new" / "paper.db", create=False, read_only=True) as conn:
        rows = trades_since(conn, 1)
        assert [(row.id, row.symbol, row.price, row.balance) for row in rows] == [
            (2, "ETH", 100.5, 9_000.25)
        ]
        assert position_rows(conn) == [held]
        assert read_engine_state(conn) == state
        assert last_balance_usd(conn) == 9_000.25
        assert equity_since(conn, 2) == [EquityPoint(4, 5.0, 6.0)]
        assert [(e.event, e.data) for e in audit_since(conn, 0)] == [("E", {"a": 2, "b": 1})]
        assert read_trader_state(conn) == {"mode": "run"}


def test_a_transaction_is_whole(tmp_path: Path) -> None:
    with open_trading_db(tmp_path / "paper.db", create=True) as conn:
        with pytest.raises(ZeroDivisionError), writing(conn):
            _ = (insert_trades(conn, [trade()]), 1 // 0)
        assert trades_since(conn, 0) == []
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert conn.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_doubled_fill_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "paper.db"
    with open_trading_db(path, create=True) as conn, writing(conn):
        insert_trades(conn, [trade(tid=1), trade(tid=2), trade(), trade()])
    with (
        pytest.raises(DataError, match=r"paper\.db.*UNIQUE"),
        open_trading_db(path, create=False) as conn,
        writing(conn),
    ):
        insert_trades(conn, [trade("ETH"), trade(tid=2)])
    with open_trading_db(path, create=False) as conn:
        assert len(trades_since(conn, 0)) == 4


def test_the_state_is_written_by_who_has_read_it(tmp_path: Path) -> None:
    first = EngineStateRow(revision=1, as_of_ms=1, config_id="", state_json="{}", updated_at="")
    with open_trading_db(tmp_path / "paper.db", create=True) as conn:
        with writing(conn):
            write_engine_state(conn, first)
        with pytest.raises(ConflictError, match="from revision 0 to 1, it is at 1"), writing(conn):
            write_engine_state(conn, first)


def test_trades_since_a_time(tmp_path: Path) -> None:
    stamps = [
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00+01:00",
        "2026-01-01T00:30:00.250000",
        "soon",
        "2026-01-01T02:00:00+00:00",
    ]
    with open_trading_db(tmp_path / "paper.db", create=True) as conn:
        with writing(conn):
            insert_trades(conn, [trade(at=stamp) for stamp in stamps])
        found = trades_since(conn, "2026-01-01T00:30:00Z")
        assert [row.timestamp for row in found] == [stamps[2], stamps[4]]
        assert len(trades_since(conn, "2026-01-01T00:00:00")) == 4
        with pytest.raises(DataError, match="'yesterday'"):
            trades_since(conn, "yesterday")


def test_a_database_of_the_original_program(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE trades (id INTEGER PRIMARY KEY, timestamp TEXT, symbol TEXT, type TEXT, action TEXT, "
            "price REAL, balance REAL)"
        )
        database.execute("INSERT INTO trades VALUES (7, 't', 'btc', 'LONG', 'OPEN', 5.0, 70.5)")
    before = path.read_bytes()
    with open_trading_db(path, create=False, read_only=True) as conn:
        assert position_rows(conn) == []
        assert read_engine_state(conn) is None
        assert equity_since(conn, 0) == []
        assert audit_since(conn, 0) == []
        assert last_balance_usd(conn) == 70.5
        (row,) = trades_since(conn, 0)
        assert (row.id, row.symbol, row.size, row.meta_json) == (7, "btc", None, None)
    assert path.read_bytes() == before
    with open_trading_db(path, create=False) as conn, writing(conn):
        insert_trades(conn, [trade()])
        replace_positions(conn, [])
    with open_trading_db(path, create=False) as conn:
        assert [row.id for row in trades_since(conn, 0)] == [7, 8]


def test_what_is_no_trading_database_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="no such file"),
        open_trading_db(tmp_path / "a", create=False),
    ):
        pass
    text = tmp_path / "text.db"
    text.write_text("no database at all, but long enough to be looked at" * 20)
    with pytest.raises(DataError, match="not a database"), open_trading_db(text, create=False):
        pass
    with pytest.raises(OutputError), open_trading_db(text / "below.db", create=True):
        pass
    bare = tmp_path / "bare.db"
    with closing(sqlite3.connect(bare)) as database, database:
        database.execute("CREATE TABLE trades (id INTEGER, symbol TEXT)")
    with (
        pytest.raises(
            DataError, match=r"bare\.db: the table trades must have the column timestamp"
        ),
        open_trading_db(bare, create=False) as conn,
    ):
        trades_since(conn, 0)


def test_times_come_back_as_they_were() -> None:
    for at_ms in (0, 1_748_736_000_000, 1_748_736_000_007):
        assert stamp_ms(stamp_text(at_ms)) == at_ms
    assert stamp_text(1_748_736_000_007) == "2025-06-01T00:00:00.007Z"
    assert stamp_ms("2025-06-01T00:00:00") == 1_748_736_000_000
    assert stamp_ms(None) is None
