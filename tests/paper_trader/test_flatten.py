"""Everything closed at once: rows, state, balance; a trader that goes on; a database of the original program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mei.data.trading_db import PositionRow, open_trading_db, position_rows, trades_since
from mei.model.errors import ConflictError
from mei.rules.mei_alpha.book import FEE_RATE
from mei.workflows.paper import trader as trader_module
from mei.workflows.paper.flatten import close_paper
from tests.paper_trader.desk import Desk
from tests.paper_trader.market import make_market
from tests.paper_trader.test_export import foreign, row


def holding(folder: Path, n_held: int = 2) -> tuple[Desk, int]:
    """A trader that holds and waits for something, and the boundary it is at."""
    desk = Desk(folder, make_market(folder / "databases", 71, 110))
    desk.open(whole=True)
    for at_ms in desk.boundaries():
        desk.trader.advance(at_ms)
        state = desk.state()
        if len(state.held()) >= n_held and state.ordered():
            return desk, at_ms
    raise AssertionError("the market must lead to positions and orders")


def test_everything_is_closed_at_the_last_close(tmp_path: Path) -> None:
    desk, at_ms = holding(tmp_path)
    before, n_before = desk.state(), len(desk.rows())
    now_ms = at_ms + 1234
    closed = close_paper(desk.request.db, reason="enough", now_ms=now_ms, meta={"flat_now": True})
    assert [one.symbol for one in closed] == list(before.held())
    rows = desk.rows()[n_before:]
    balance_usd = before.balance_usd
    for one, found in zip(closed, rows, strict=True):
        slot = before.held()[one.symbol]
        px = before.last_close(one.symbol)
        assert px is not None
        pnl = (px - slot["entry_px"]) * slot["qty"] * slot["side"]
        fee = slot["qty"] * px * FEE_RATE
        balance_usd += pnl - fee
        assert (found.type, found.action, found.reason) == ("SYSTEM", "CLOSE", "enough")
        assert (found.price, found.size, found.confidence) == (px, slot["qty"], "N/A")
        assert (found.pnl, found.fee_usd, found.balance) == (pnl, fee, balance_usd)
        assert (one.px, one.qty, one.pnl_usd, one.is_priced) == (px, slot["qty"], pnl, True)
        assert json.loads(found.meta_json or "")["flat_now"] is True
    after = desk.state()
    assert after.is_flat
    assert (after.balance_usd, after.revision) == (balance_usd, before.revision + 1)
    assert after.as_of_ms == before.as_of_ms
    with open_trading_db(desk.request.db, create=False) as conn:
        assert position_rows(conn) == []
    assert close_paper(desk.request.db, reason="again", now_ms=now_ms + 1) == []
    assert desk.state().revision == after.revision


def test_the_trader_goes_on_flat(tmp_path: Path) -> None:
    desk, at_ms = holding(tmp_path)
    close_paper(desk.request.db, reason="enough", now_ms=at_ms + 1)
    n_closed, state = len(desk.rows()), desk.state()
    rest = [at for at in desk.boundaries() if at > at_ms]
    desk.advance(rest[0])
    assert len(desk.rows()) == n_closed
    desk.restart()
    desk.through(rest[1:])
    later = desk.rows()[n_closed:]
    assert len(later) > 5
    assert later[0].action == "OPEN"
    assert later[0].balance == pytest.approx(state.balance_usd - (later[0].fee_usd or 0.0))


def test_only_the_symbols_asked_for(tmp_path: Path) -> None:
    desk, at_ms = holding(tmp_path)
    names = list(desk.state().held())
    closed = close_paper(
        desk.request.db, reason="one", now_ms=at_ms, symbols=[names[0].lower(), "DOGE"]
    )
    assert [one.symbol for one in closed] == names[:1]
    assert list(desk.state().held()) == names[1:]
    with open_trading_db(desk.request.db, create=False) as conn:
        assert [one.symbol for one in position_rows(conn)] == names[1:]


def test_a_step_that_was_overtaken_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions closed while a step is computed: the step is not written, the next one goes on flat."""
    desk, at_ms = holding(tmp_path)
    run = trader_module.go_on

    def meanwhile(*given: object, **more: object) -> object:
        step = run(*given, **more)  # type: ignore[arg-type]
        close_paper(desk.request.db, reason="meanwhile", now_ms=at_ms + 1)
        return step

    monkeypatch.setattr(trader_module, "go_on", meanwhile)
    with pytest.raises(ConflictError, match="another program has written it"):
        desk.advance(at_ms + desk.step_ms)
    monkeypatch.undo()
    assert [one.type for one in desk.rows()][-1] == "SYSTEM"
    assert desk.advance(at_ms + desk.step_ms).n_steps == 1
    assert desk.state().is_flat or desk.state().as_of_ms == at_ms + desk.step_ms


def test_a_database_of_the_original_program_tells_no_prices(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    positions = [PositionRow(symbol="eth", open_trade_id=1), PositionRow(symbol="BTC")]
    foreign(path, [row("eth", "OPEN", balance=77.5)], positions)
    closed = close_paper(path, reason="deploy_sweep close", now_ms=1_748_736_000_000)
    assert [(one.symbol, one.px, one.balance_usd, one.is_priced) for one in closed] == [
        ("BTC", 0.0, 77.5, False),
        ("ETH", 0.0, 77.5, False),
    ]
    with open_trading_db(path, create=False) as conn:
        assert position_rows(conn) == []
        rows = trades_since(conn, 1)
    assert [(one.type, one.action, one.price, one.size, one.pnl) for one in rows] == [
        ("SYSTEM", "CLOSE", 0.0, 0.0, 0.0)
    ] * 2
    assert rows[0].timestamp == "2025-06-01T00:00:00Z"
    assert close_paper(path, reason="again", now_ms=0) == []
    assert close_paper(tmp_path / "absent.db", reason="none", now_ms=0) == []
    assert not (tmp_path / "absent.db").exists()


def test_a_database_has_one_trader(tmp_path: Path) -> None:
    desk, at_ms = holding(tmp_path)
    other = Desk(tmp_path, desk.market)
    with pytest.raises(ConflictError, match="must have one trader"):
        other.trader.open(at_ms)
    desk.trader.close()
    assert other.trader.open(at_ms) == desk.state()
