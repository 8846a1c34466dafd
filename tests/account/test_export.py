"""The live account as init-state: what the exchange says, with what the live trader's database knows of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mei.data.init_state import init_state_text, read_init_state
from mei.data.trading_db import (
    PositionRow,
    TradeRow,
    insert_trades,
    open_trading_db,
    replace_positions,
    writing,
)
from mei.model.errors import DataError, ServiceUnavailableError
from mei.model.replay import InitPosition, InitState
from mei.workflows.account.export import live_init_state
from tests.account.conftest import Bench
from tests.account.fake_hyperliquid import Fault
from tests.tools.loading import exit_code, tool

NOW_MS = 1_795_000_000_000
OPENED, OPENED_MS = "2026-11-20T10:00:00+00:00", 1_795_168_800_000


def trade(symbol: str, action: str, kind: str = "LONG", **rest: object) -> TradeRow:
    """A row of trades."""
    return TradeRow(
        timestamp=str(rest.pop("at", OPENED)),
        symbol=symbol,
        type=kind,
        action=action,
        **rest,  # type: ignore[arg-type]
    )


def database(folder: Path, trades: list[TradeRow], positions: list[PositionRow]) -> Path:
    """A live trader's database."""
    path = folder / "trading_engine_live.db"
    with open_trading_db(path, create=True) as conn, writing(conn):
        insert_trades(conn, trades)
        replace_positions(conn, positions)
    return path


def exported(bench: Bench, path: Path) -> tuple[InitState, list[str]]:
    """The state, and what was told."""
    told: list[str] = []
    return live_init_state(bench.account, path, NOW_MS, tell=told.append), told


def test_a_position_with_everything(bench: Bench, tmp_path: Path) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.hold("ETH", "-2.5")
    trades = [
        trade("BTC", "OPEN", entry_atr=1.0, confidence="low", at="2026-11-19T10:00:00Z"),
        trade("BTC", "CLOSE"),
        trade("BTC", "OPEN", entry_atr=800.123456789012, confidence="High"),
        trade("BTC", "ADD", entry_atr=810.5, confidence="low", at="2026-11-21T00:00:00Z"),
        trade("BTC", "ADD", entry_atr=None),
        trade("BTC", "REDUCE", entry_atr=1.0),
        trade("eth", "OPEN", "SHORT", entry_atr=40.0, at="2026-11-20T10:00:00"),
    ]
    positions = [
        PositionRow(
            symbol="BTC",
            open_trade_id=1,  # of another trade: the exchange has one position a symbol
            trailing_sl=95000.12345678912,
            adds_count=2,
            tp1_taken=1,
            last_add_time=1_795_000_000_001,
            entry_adx_threshold=22.123456,
        )
    ]
    state, told = exported(bench, database(tmp_path, trades, positions))
    assert told == []
    assert state == InitState(
        version=1,
        source="live",
        exported_at_ms=NOW_MS,
        balance_usd=1000.1235,
        positions=(
            InitPosition(
                symbol="BTC",
                side=1,
                qty=0.5,
                entry_px=97123.5,
                entry_atr=810.5,
                confidence=2,
                leverage=5.0,
                margin_usd=9712.35,
                trailing_px=95000.1234567891,
                adds_count=2,
                tp1_taken=True,
                opened_ms=OPENED_MS,
                last_add_ms=1_795_000_000_001,
                entry_adx_threshold=22.1235,
            ),
            InitPosition(
                symbol="ETH",
                side=-1,
                qty=2.5,
                entry_px=3201.55,
                entry_atr=40.0,
                confidence=1,
                leverage=5.0,
                margin_usd=1600.775,
                opened_ms=OPENED_MS,
            ),
        ),
    )
    path = tmp_path / "state.json"
    path.write_text(init_state_text(state))
    read = read_init_state(str(path), ("BTC", "ETH"), told.append, strict=True)
    assert read == state
    assert told == []


@pytest.mark.parametrize(
    "trades",
    [
        [],
        [trade("ETH", "OPEN", entry_atr=3.0)],
        [trade("BTC", "OPEN", entry_atr=3.0), trade("BTC", "CLOSE")],
        [trade("BTC", "OPEN", entry_atr=3.0), trade("BTC", "CLOSE", "SYSTEM")],
        [trade("BTC", "OPEN", "SHORT", entry_atr=3.0)],
        [trade("BTC", "ADD", entry_atr=3.0)],
    ],
)
def test_rows_of_another_position_are_not_taken_for_its_own(
    bench: Bench, tmp_path: Path, trades: list[TradeRow]
) -> None:
    bench.fake.hold("BTC", "0.5")
    state, told = exported(bench, database(tmp_path, trades, []))
    (position,) = state.positions
    assert (position.entry_atr, position.confidence, position.opened_ms) == (0.0, 1, 0)
    assert len(told) == 1
    assert told[0].startswith("BTC: no OPEN of this LONG in ")


def test_no_database_and_no_positions(bench: Bench, tmp_path: Path) -> None:
    state, told = exported(bench, tmp_path / "no.db")
    assert state.positions == ()
    assert told == [
        f"{tmp_path / 'no.db'}: there is no such file: positions come without ATR, stops and times"
    ]
    assert not (tmp_path / "no.db").exists()


def test_a_time_that_is_none(bench: Bench, tmp_path: Path) -> None:
    bench.fake.hold("BTC", "0.5")
    state, told = exported(bench, database(tmp_path, [trade("BTC", "OPEN", at="noon")], []))
    assert state.positions[0].opened_ms == 0
    assert told == ["BTC: opened at 'noon', which is no time: taken as unknown"]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("trades", "entry_atr", "wide"),
        ("trades", "entry_atr", -1.0),
        ("position_state", "trailing_sl", "up"),
        ("position_state", "adds_count", -1),
        ("position_state", "entry_adx_threshold", float("inf")),
    ],
)
def test_cells_that_are_no_numbers(
    bench: Bench, tmp_path: Path, table: str, column: str, value: object
) -> None:
    bench.fake.hold("BTC", "0.5")
    path = database(tmp_path, [trade("BTC", "OPEN")], [PositionRow(symbol="BTC")])
    conn = sqlite3.connect(path)
    conn.execute(f"UPDATE {table} SET {column} = ?", (value,))
    conn.commit()
    conn.close()
    with pytest.raises(DataError, match=f"BTC: {column} must be a number from 0 on, is "):
        exported(bench, path)


def test_what_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database")
    with pytest.raises(DataError, match="must be a usable trading database"):
        exported(bench, tmp_path / "text.db")
    bench.fake.misbehave("clearinghouseState", Fault("http", 500), Fault("drop"))
    with pytest.raises(ServiceUnavailableError, match="must answer clearinghouseState"):
        exported(bench, tmp_path / "no.db")


def test_through_the_tool(
    bench: Bench,
    secrets_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(secrets_file.parent)
    monkeypatch.delenv("AI_QUANT_SECRETS_PATH", raising=False)
    bench.fake.hold("BTC", "0.5")
    database(secrets_file.parent, [trade("BTC", "OPEN", entry_atr=3.0, confidence="low")], [])
    flags = f"--source live --output state.json --exchange {bench.fake.url}"
    assert exit_code(tool("export_state"), flags.split()) == 0
    state = read_init_state("state.json", ("BTC",), print, strict=True)
    assert (state.positions[0].entry_atr, state.positions[0].confidence) == (3.0, 0)
    told = capsys.readouterr().err
    assert "BTC long size=0.500000 entry=$97123.5000 atr=3.0000 lev=5.0x margin=$9712.35" in told
    secrets_file.unlink()
    assert exit_code(tool("export_state"), flags.split()) == 1
