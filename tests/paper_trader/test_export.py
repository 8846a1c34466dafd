"""The state of a trader as a file: from a foreign database by the specification, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mei.data.trading_db import (
    PositionRow,
    TradeRow,
    insert_trades,
    open_trading_db,
    replace_positions,
    writing,
)
from mei.data.trading_schema import POSITION_STATE, TRADES
from mei.workflows.paper.export import paper_state_v1
from tests.paper_trader.desk import Desk
from tests.paper_trader.market import START_MS, make_market
from tools.export_state import main as export

OPENED_AT = "2025-06-01T00:00:00"


def row(symbol: str, action: str, **more: Any) -> TradeRow:
    values = {
        "timestamp": OPENED_AT,
        "type": "LONG",
        "price": 100.0,
        "size": 1.0,
        "confidence": "High",
        "balance": 1000.0,
        "entry_atr": 2.0,
        "leverage": 4.0,
        "margin_used": 25.0,
        **more,
    }
    return TradeRow(symbol=symbol, action=action, **values)


def foreign(path: Path, trades: list[TradeRow], positions: list[PositionRow]) -> None:
    """A database as the original program leaves it."""
    with closing(sqlite3.connect(path)) as database, database:
        for table, columns in (("trades", TRADES), ("position_state", POSITION_STATE)):
            inside = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            database.execute(f"CREATE TABLE {table} ({inside})")
    with open_trading_db(path, create=False) as conn, writing(conn):
        insert_trades(conn, trades)
        replace_positions(conn, positions)


def exported(tmp_path: Path, *more: str) -> dict[str, Any]:
    output = tmp_path / "state.json"
    line = ["--source", "paper", "--db", str(tmp_path / "t.db"), "--output", str(output), *more]
    assert export(line) == 0
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_a_foreign_database_by_the_specification(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trades = [
        row("BTC", "OPEN", price=90.0),
        row("BTC", "CLOSE", price=95.0),
        row("BTC", "OPEN", entry_atr=2.0),
        row("BTC", "ADD", price=112.0, size=2.0, entry_atr=5.0, margin_used=None),
        row("BTC", "REDUCE", size=1.5),
        row("BTC", "FUNDING", pnl=-1.0),
        row("eth", "OPEN", type="SHORT", confidence=None, leverage=None, timestamp="soon"),
        row("ETH", "ADD", entry_atr=None, margin_used=5.0),
        row("SOL", "OPEN"),
        row("SOL", "REDUCE", size=1.0),
        row("XRP", "OPEN"),
        row("XRP", "CLOSE", type="SYSTEM", price=0.0, size=0.0, balance=1234.567891),
    ]
    positions = [
        PositionRow(
            symbol="BTC",
            open_trade_id=3,
            trailing_sl=98.12345678912345,
            adds_count=1,
            tp1_taken=1,
            last_add_time=77,
            entry_adx_threshold=22.123456,
        ),
        PositionRow(symbol="ETH", open_trade_id=1, trailing_sl=1.0, adds_count=3),
    ]
    foreign(tmp_path / "t.db", trades, positions)
    before = (tmp_path / "t.db").read_bytes()
    found = exported(tmp_path)
    assert (found["version"], found["source"], found["balance"]) == (1, "paper", 1234.5679)
    btc, eth = found["positions"]
    assert btc == {
        "symbol": "BTC",
        "side": "long",
        "size": 1.5,
        "entry_price": 108.0,
        "entry_atr": 4.0,
        "trailing_sl": 98.1234567891,
        "confidence": "high",
        "leverage": 4.0,
        # The open's 25, the add's 2 * 112 / 4, and half of both is left.
        "margin_used": 40.5,
        "adds_count": 1,
        "tp1_taken": True,
        "open_time_ms": START_MS,
        "last_add_time_ms": 77,
        "entry_adx_threshold": 22.1235,
    }
    assert (eth["symbol"], eth["side"], eth["size"]) == ("ETH", "short", 2.0)
    assert (eth["confidence"], eth["leverage"], eth["entry_atr"]) == ("medium", 1.0, 2.0)
    # Of another position: not taken over.
    assert (eth["trailing_sl"], eth["adds_count"], eth["open_time_ms"]) == (None, 0, 0)
    told = capsys.readouterr().err
    line = "BTC long size=1.500000 entry=$108.0000 atr=4.0000 lev=4.0x margin=$40.50"
    assert line in told
    assert "'soon', which is no time" in told
    assert "SOL: reduced to nothing without a CLOSE" in told
    assert (tmp_path / "t.db").read_bytes() == before


def test_without_a_database_there_is_nothing_if_nobody_named_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AI_QUANT_PAPER_DB_PATH", raising=False)
    line = ["--source", "paper", "--output", "state.json"]
    assert export(line) == 0
    found = json.loads((tmp_path / "state.json").read_text())
    assert (found["balance"], found["positions"]) == (0.0, [])
    assert "WARNING: neither --db nor AI_QUANT_PAPER_DB_PATH names" in capsys.readouterr().err
    (tmp_path / "state.json").unlink()
    assert export([*line, "--db", "t.db"]) == 1
    assert "must be a file, 't.db' is none" in capsys.readouterr().err
    monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", "named.db")
    assert export(line) == 1
    assert "must be a file, 'named.db' is none" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_traders_variable_names_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(tmp_path / "t.db", [row("BTC", "OPEN")], [])
    monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", str(tmp_path / "t.db"))
    assert export(["--source", "paper", "--output", str(tmp_path / "state.json")]) == 0
    found = json.loads((tmp_path / "state.json").read_text())
    assert [one["symbol"] for one in found["positions"]] == ["BTC"]


def test_a_trader_that_has_not_traded_yet_has_its_balance(tmp_path: Path) -> None:
    desk = Desk(tmp_path, make_market(tmp_path / "databases", 1, 70), db=str(tmp_path / "t.db"))
    desk.open()
    assert exported(tmp_path)["balance"] == 10_000.0
    assert exported(tmp_path, "--format", "v2")["continuation"]["as_of_ms"] == desk.start_ms


def test_a_trader_goes_on_from_what_another_one_left(tmp_path: Path) -> None:
    """The export of one trader, of either version, is the start of the next one."""
    market = make_market(tmp_path / "databases", 61, 110, funding=True)
    scout = Desk(tmp_path / "scout", market)
    scout.open(whole=True)
    stops = list(scout.boundaries())
    ids = []
    for at_ms in stops:
        scout.advance(at_ms)
        ids.append({slot["position_id"] for slot in scout.state().held().values()})
    # Something is held there for long enough to be paid for.
    held_at = next(i for i in range(len(ids) - 3) if ids[i] & ids[i + 3])
    first = Desk(tmp_path / "first", market)
    first.trader.open(first.start_ms)
    first.advance(stops[held_at])
    for version in ("v1", "v2"):
        path = str(tmp_path / f"{version}.json")
        line = f"--source paper --db {first.request.db} --format {version} --output {path}"
        assert export(line.split()) == 0
        second = Desk(tmp_path / version, market, init_state=path)
        second.trader.open(stops[held_at])
        brought = second.rows()
        assert [one.symbol for one in brought] == list(first.state().held())
        assert all(json.loads(one.meta_json or "")["brought"] for one in brought)
        second.through(stops[held_at + 1 :])
        since = None if version == "v2" else stops[held_at] + 1
        deals, points = second.replayed(init_state=path, from_ms=since)
        assert second.deals()[len(brought) :] == deals
        assert second.points() == points
        assert any(deal[2] == "FUNDING" for deal in deals)


BAD: dict[str, tuple[str, int, str]] = {
    "no source": ("--output o.json", 2, "--source"),
    "another source": ("--source both --output o.json", 2, "both"),
    "no output": ("--source paper", 2, "--output"),
    "another format": ("--source paper --format v3 --output o.json", 2, "v3"),
    "a folder that is not there": ("--source paper --output no/o.json", 1, "no/o.json"),
    "a folder": ("--source paper --output .", 1, "is a directory"),
    "the database itself": ("--source paper --db t.db --output t.db", 2, "--output"),
    "a text": ("--source paper --db text.db --output o.json", 1, "text.db"),
    "other tables": ("--source paper --db other.db --output o.json", 1, "other.db"),
    "no trades": ("--source paper --db candles.db --output o.json", 1, "no table trades"),
    "a price that is none": ("--source paper --db price.db --output o.json", 1, "row 1"),
    "v2 of a foreign database": (
        "--source paper --db t.db --format v2 --output o.json",
        1,
        "has no engine_state",
    ),
    "v2 of nothing": ("--source paper --db no.db --format v2 --output o.json", 1, "no such file"),
    "a state that is none": (
        "--source paper --db state.db --format v2 --output o.json",
        1,
        "engine_state must be as the trader wrote it",
    ),
    "v2 of live": ("--source live --exchange testnet --format v2 --output o.json", 2, "v2"),
    "live without an exchange": ("--source live --output o.json", 2, "--exchange"),
    "live without secrets": (
        "--source live --exchange testnet --secrets-path no.json --output o.json",
        1,
        "no.json",
    ),
    "secrets of paper": ("--source paper --secrets-path s.json --output o.json", 2, "--secrets"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line, code, said = BAD[fault]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AI_QUANT_SECRETS_PATH", raising=False)
    foreign(tmp_path / "t.db", [row("BTC", "OPEN")], [])
    foreign(tmp_path / "price.db", [row("BTC", "OPEN", price=None)], [])
    Path("text.db").write_text("nothing of a database " * 100)
    with closing(sqlite3.connect("other.db")) as database, database:
        database.execute("CREATE TABLE trades (a, b)")
    with open_trading_db("state.db", create=True) as conn, writing(conn):
        conn.execute("INSERT INTO engine_state VALUES (1, 1, 5, 'c', '{\"continuation\": 3}', '')")
    with closing(sqlite3.connect("candles.db")) as database, database:
        database.execute("CREATE TABLE candles (a, b)")
    before = contents(tmp_path)
    assert export(line.split()) == code
    told = capsys.readouterr()
    assert told.out == ""
    lines = [one for one in told.err.splitlines() if one]
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but those that SQLite keeps beside a database while somebody reads it."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith(("-shm", "-wal"))
    }


def test_an_export_is_of_one_moment(tmp_path: Path) -> None:
    """The trader commits a step between the reads of trades and of what is held."""
    desk = Desk(tmp_path, make_market(tmp_path / "databases", 51, 110))
    desk.open(whole=True)
    n_changed = 0
    connect = sqlite3.connect
    for at_ms in desk.boundaries():
        before = paper_state_v1(desk.request.db, 0, print)
        todo = [at_ms]

        def meanwhile(query: str, todo: list[int] = todo) -> None:
            if "FROM position_state" in query and todo:
                desk.trader.advance(todo.pop())

        def traced(
            path: Any, see: Callable[[str], None] = meanwhile, **more: Any
        ) -> sqlite3.Connection:
            conn = connect(path, **more)
            if "mode=ro" in str(path) and "paper.db" in str(path):
                conn.set_trace_callback(see)
            return conn

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", traced)
            assert paper_state_v1(desk.request.db, 0, print) == before
        assert todo == []
        n_changed += paper_state_v1(desk.request.db, 0, print) != before
    assert n_changed > 10
