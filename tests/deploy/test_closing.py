"""Positions closed before a deployment: those of an account, those on paper, and what is said when something fails."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from mei.data.trading_db import (
    PositionRow,
    TradeRow,
    insert_trades,
    open_trading_db,
    replace_positions,
    writing,
)
from tests.account.fake_hyperliquid import FakeHyperliquid
from tests.deploy.desk import STRATEGY, Desk
from tests.tools.loading import exit_code, tool


@pytest.fixture(name="exchange")
def _exchange(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHyperliquid]:
    """An exchange on this machine where two positions are held; time passes there while the tool sleeps."""
    wallet = Account.create()
    fake = FakeHyperliquid(account=wallet.address.lower())
    fake.list_market("BTC", 5, "97123.5")
    fake.list_market("ETH", 4, "3201.55")
    fake.hold("BTC", "0.5")
    fake.hold("ETH", "-2")
    path = desk.folder / "secrets.json"
    path.touch(mode=0o600)
    key = "0x" + bytes(wallet.key).hex()
    path.write_text(json.dumps({"secret_key": key, "account_address": wallet.address}))
    monkeypatch.setattr("time.sleep", fake.advance)
    yield fake
    fake.close()


@pytest.fixture(name="paper_db")
def _paper_db(desk: Desk) -> Path:
    """A paper trader's database with two positions, as the original program leaves it."""
    path = desk.folder / "trading_engine.db"
    row = TradeRow(
        timestamp="2026-01-02T03:04:05Z", symbol="BTC", type="LONG", action="OPEN", balance=987.5
    )
    with open_trading_db(path, create=True) as conn, writing(conn):
        (trade_id,) = insert_trades(conn, [row])
        held = [PositionRow(symbol=name, open_trade_id=trade_id) for name in ("BTC", "ETH")]
        replace_positions(conn, held)
    return path


def rows(path: Path, query: str) -> list[Any]:
    """The rows of a query."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def live_flags(exchange: FakeHyperliquid) -> str:
    """What closes its positions."""
    return f"--yes --close-live --exchange {exchange.url}"


def test_paper_positions_are_closed_as_specified(desk: Desk, paper_db: Path) -> None:
    assert desk.run("--dry-run --close-paper") == 0
    assert len(rows(paper_db, "SELECT * FROM position_state")) == 2
    assert desk.run("--yes --close-paper") == 0
    found = rows(
        paper_db,
        "SELECT symbol, price, size, notional, pnl, fee_usd, entry_atr, leverage, margin_used, reason, confidence, "
        "balance FROM trades WHERE type = 'SYSTEM' AND action = 'CLOSE' ORDER BY symbol",
    )
    zeros = (0.0,) * 8
    rest = ("deploy_sweep close", "N/A", 987.5)
    assert found == [("BTC", *zeros, *rest), ("ETH", *zeros, *rest)]
    assert rows(paper_db, "SELECT * FROM position_state") == []
    assert desk.document["global"]["trade"]["sl_atr_mult"] == 1.5
    assert desk.run("--yes --close-paper") == 0
    assert len(rows(paper_db, "SELECT * FROM trades WHERE action = 'CLOSE'")) == 2


def test_without_a_paper_database_there_is_nothing_to_close(desk: Desk) -> None:
    assert desk.run("--yes --close-paper") == 0
    assert not (desk.folder / "trading_engine.db").exists()


def test_the_paper_database_may_be_named(
    desk: Desk, paper_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = desk.folder / "other.db"
    paper_db.rename(other)
    monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", "other.db")
    assert desk.run("--yes --close-paper") == 0
    assert rows(other, "SELECT * FROM position_state") == []


def test_live_positions_are_closed_first(desk: Desk, exchange: FakeHyperliquid) -> None:
    assert desk.run("--dry-run --close-live") == 0
    assert exchange.asked == []
    assert desk.run(live_flags(exchange)) == 0
    assert "live positions to close: BTC LONG 0.5, ETH SHORT 2" in desk.err
    assert exchange.size("BTC") == exchange.size("ETH") == 0
    assert len(exchange.orders) == 2
    assert exchange.violations == []
    assert desk.changelog["current_version"] == "v6.001"


def test_a_position_that_stays_open_stops_the_deployment(
    desk: Desk, exchange: FakeHyperliquid, paper_db: Path
) -> None:
    exchange.misbehave("order", "none", *["reject"] * 3)
    assert desk.run(f"{live_flags(exchange)} --close-paper") == 1
    assert exchange.size("BTC") == 0
    assert exchange.size("ETH") == -2
    assert len(exchange.orders) == 4
    assert "error: every live position must be closed before a deployment, ETH could not be" in (
        desk.err
    )
    assert "live: BTC LONG 0.5: closed, 1 order (this cannot be taken back)" in desk.err
    assert "live: ETH SHORT 2: NOT CLOSED, 2 left" in desk.err
    assert "cut short" not in desk.err
    assert desk.path.read_text() == STRATEGY
    assert desk.backups == []
    assert len(rows(paper_db, "SELECT * FROM position_state")) == 2
    assert not list(desk.folder.glob("**/*.deploy.json"))


def test_nothing_is_closed_when_it_is_not_confirmed(
    desk: Desk, exchange: FakeHyperliquid, paper_db: Path
) -> None:
    flags = f"{live_flags(exchange)} --close-paper".replace("--yes ", "")
    assert desk.run(flags) == 0
    assert exchange.orders == []
    assert len(rows(paper_db, "SELECT * FROM position_state")) == 2


def test_an_account_that_does_not_answer_is_found_before_it_is_asked_for(
    desk: Desk, exchange: FakeHyperliquid, paper_db: Path
) -> None:
    exchange.misbehave("clearinghouseState", *["drop"] * 3)
    before = desk.files()
    assert desk.run(f"{live_flags(exchange)} --close-paper") == 1
    assert "must answer clearinghouseState" in desk.err
    assert desk.files() == before


def test_a_secrets_file_that_others_may_read_is_refused(
    desk: Desk, exchange: FakeHyperliquid
) -> None:
    (desk.folder / "secrets.json").chmod(0o644)
    assert desk.run(live_flags(exchange)) == 1
    assert "must be readable by its owner alone (mode 0600 or 0400), has mode 0644" in desk.err
    assert exchange.asked == []


def test_what_was_closed_is_told_when_the_paper_trader_cannot_be(
    desk: Desk, exchange: FakeHyperliquid, paper_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(paper_db)) as other:
        other.execute(
            "CREATE TRIGGER t BEFORE DELETE ON position_state BEGIN SELECT RAISE(ABORT, 'held'); END"
        )
        other.commit()
    assert desk.run(f"{live_flags(exchange)} --close-paper") == 1
    assert exchange.size("BTC") == 0
    assert "live: BTC LONG 0.5: closed, 1 order (this cannot be taken back)" in desk.err
    assert "held" in desk.err.splitlines()[-1]
    assert len(rows(paper_db, "SELECT * FROM position_state")) == 2
    assert desk.path.read_text() == STRATEGY


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "is_closed", "words"),
    [
        ("deploy.close_paper.begun:1", False, "it was cut short while at close_paper: check what"),
        ("paper.flatten.before_commit:1", False, "cut short while at close_paper"),
        ("paper.flatten.after_commit:1", True, "cut short while at close_paper"),
        ("deploy.close_paper.done:1", True, "paper: BTC: closed, at no known price (this cannot"),
        ("deploy.backup.done:1", True, "paper: BTC: closed, at no known price (this cannot"),
    ],
)
def test_killed_while_closing_paper(
    desk: Desk, paper_db: Path, fault: str, is_closed: bool, words: str
) -> None:
    process = desk.start("--yes --close-paper", {"MEI_FAULT": fault})
    _, said = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said[-2000:]
    assert len(rows(paper_db, "SELECT * FROM position_state")) == (0 if is_closed else 2)
    assert desk.path.read_text() == STRATEGY
    assert desk.run("") == 0
    assert "the file is as it was, the deployment is called off" in desk.err
    assert words in desk.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "left", "words"),
    [
        ("deploy.close_live.begun:1", "0.5", "it was cut short while at close_live: check what is"),
        ("deploy.close_live.done:1", "0", "live: BTC LONG 0.5: closed, 1 order (this cannot be"),
    ],
)
def test_killed_while_closing_live(
    desk: Desk, exchange: FakeHyperliquid, fault: str, left: str, words: str
) -> None:
    process = desk.start(live_flags(exchange), {"MEI_FAULT": fault, "PATH": os.environ["PATH"]})
    _, said = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said[-2000:]
    assert str(exchange.size("BTC").normalize()) == left
    assert desk.path.read_text() == STRATEGY
    assert desk.run("") == 0
    assert words in desk.err


@pytest.mark.parametrize("edited", ["strategy", "changelog"])
def test_nothing_is_closed_for_a_deployment_that_cannot_be(
    desk: Desk,
    exchange: FakeHyperliquid,
    paper_db: Path,
    monkeypatch: pytest.MonkeyPatch,
    edited: str,
) -> None:
    """A file that is edited while the question is open is found before the first order."""

    def ask(_question: str) -> str:
        if edited == "strategy":
            desk.path.write_text(f"{STRATEGY}# edited\n")
        else:
            (desk.folder / "strategy_changelog.json").write_text("{")
        return "y"

    program = tool("deploy_sweep")
    monkeypatch.setattr(program, "_ask", ask)
    flags = live_flags(exchange).replace("--yes ", "")
    words = f"--sweep-results rows.jsonl --ledger none --close-paper {flags}".split()
    assert exit_code(program, words) == 1
    assert exchange.orders == []
    assert len(rows(paper_db, "SELECT * FROM position_state")) == 2


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_paper_database_that_is_named_must_be_there(
    desk: Desk,
    exchange: FakeHyperliquid,
    monkeypatch: pytest.MonkeyPatch,
    by_flag: bool,
) -> None:
    if not by_flag:
        monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", "typo.db")
    before = desk.path.read_text()
    named = "--paper-db typo.db" if by_flag else ""
    assert desk.run(f"{live_flags(exchange)} --close-paper {named}") == 1
    assert "typo.db is none" in desk.err
    assert exchange.orders == []
    assert desk.path.read_text() == before
    assert not (desk.folder / "typo.db").exists()
