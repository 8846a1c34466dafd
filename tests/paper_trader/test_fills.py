"""A line a fill: after the commit, once, with fields; none of a step that is given up."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from mei.data.trading_db import TradeRow, open_trading_db, trades_since
from mei.model import faults
from mei.model.errors import ConflictError
from mei.web.logs import JsonLines
from mei.workflows.paper import trader as trader_module
from mei.workflows.paper.fills import Fill
from mei.workflows.paper.flatten import close_paper
from mei.workflows.paper.trader import PaperTrader
from tests.paper_trader.desk import Desk
from tests.paper_trader.market import make_market
from tests.paper_trader.test_service import Service


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, make_market(tmp_path / "databases", 61, 90, funding=True))
    yield made
    faults.install(None)


def listening(desk: Desk) -> list[Fill]:
    """Another process over the same files; what it says of fills."""
    fills: list[Fill] = []
    desk.trader.close()
    desk.trader = PaperTrader(desk.request, desk.lines.append, hear_fill=fills.append)
    return fills


def told(row: TradeRow) -> tuple[object, ...]:
    return (row.timestamp, row.symbol, row.action, row.type, row.size, row.price, row.reason)


def shown(fill: Fill) -> tuple[object, ...]:
    return (fill.at, fill.symbol, fill.action, fill.side, fill.qty, fill.px, fill.reason)


def test_each_row_is_told_once_after_it_is_written(desk: Desk) -> None:
    fills = listening(desk)
    desk.open(whole=True)

    def hear(fill: Fill) -> None:
        # From outside: what is not committed is not seen.
        with open_trading_db(desk.request.db, create=False, read_only=True) as conn:
            there = trades_since(conn, 0)
        assert fill.action == "FUNDING" or shown(fill) in [told(row) for row in there]
        fills.append(fill)

    desk.trader.close()
    desk.trader = PaperTrader(desk.request, desk.lines.append, hear_fill=hear)
    stops = list(desk.boundaries())
    for at_ms in [*stops[:10], stops[-1]]:
        n_rows, n_fills = len(desk.rows()), len(fills)
        desk.trader.advance(at_ms)
        rows = desk.rows()[n_rows:]
        paid = [row for row in rows if row.action == "FUNDING"]
        new = fills[n_fills:]
        traded = [row for row in rows if row.action != "FUNDING"]
        assert [shown(fill) for fill in new if fill.action != "FUNDING"] == [
            told(row) for row in traded
        ]
        assert [(fill.pnl_usd, fill.balance_usd) for fill in new if fill.action != "FUNDING"] == [
            (row.pnl, row.balance) for row in traded
        ]
        funding = [fill for fill in new if fill.action == "FUNDING"]
        assert len(funding) == (1 if paid else 0)
        if paid:
            assert funding[0].pnl_usd == sum(row.pnl or 0.0 for row in paid)
            assert funding[0].balance_usd == paid[-1].balance
            assert funding[0].symbol == ",".join(sorted({row.symbol for row in paid}))
            assert new[-1] == funding[0]
    assert {fill.action for fill in fills} >= {"OPEN", "ADD", "REDUCE", "CLOSE", "FUNDING"}


def test_a_step_given_up_says_nothing_and_is_told_when_it_is_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    fills = listening(desk)
    desk.open(whole=True)
    end_ms = desk.market.end_ms
    run = trader_module.go_on

    def meanwhile(*given: object, **more: object) -> object:
        step = run(*given, **more)  # type: ignore[arg-type]
        before = desk.state()
        close_paper(desk.request.db, reason="meanwhile", now_ms=end_ms)
        if desk.state().revision == before.revision:
            raise AssertionError("there must be something to close")
        return step

    for at_ms in desk.boundaries():
        desk.trader.advance(at_ms)
        if desk.state().held():
            break
    n_rows, n_signals, n_fills = len(desk.rows()), len(desk.signals()), len(fills)
    monkeypatch.setattr(trader_module, "go_on", meanwhile)
    with pytest.raises(ConflictError):
        desk.trader.advance(end_ms)
    monkeypatch.undo()
    assert (len(fills), len(desk.signals())) == (n_fills, n_signals)
    n_closed = len([row for row in desk.rows()[n_rows:] if row.type == "SYSTEM"])
    desk.trader.advance(end_ms)
    taken = [row for row in desk.rows()[n_rows + n_closed :] if row.action != "FUNDING"]
    assert taken
    assert [shown(fill) for fill in fills[n_fills:] if fill.action != "FUNDING"] == [
        told(row) for row in taken
    ]


@pytest.mark.parametrize(
    ("point", "is_told"), [("paper.step.before_commit", True), ("paper.step.after_commit", False)]
)
def test_a_kill_costs_the_lines_of_the_step_just_written_and_doubles_none(
    desk: Desk, point: str, is_told: bool
) -> None:
    fills = listening(desk)
    desk.open(whole=True)

    def handler(name: str) -> None:
        if name == point:
            raise Killed

    faults.install(handler)
    with pytest.raises(Killed):
        desk.trader.advance(desk.market.end_ms)
    faults.install(None)
    assert fills == []
    assert bool(desk.rows()) is not is_told
    again = listening(desk)
    desk.trader.advance(desk.market.end_ms)
    rows = [told(row) for row in desk.rows() if row.action != "FUNDING"]
    assert len(rows) > 20
    assert [shown(fill) for fill in again if fill.action != "FUNDING"] == (rows if is_told else [])


def test_a_line_of_the_service_has_fields(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "paper_trader")
    desk.market.feed(desk.start_ms)
    service = Service(desk, paper_funding_db=desk.request.market.funding_db or "")
    service.step(desk.market.end_ms)
    service.app.state.close()
    formatter = JsonLines("paper_trader")
    lines = [json.loads(formatter.format(record)) for record in caplog.records]
    fills = [line for line in lines if "action" in line]
    rows = [row for row in desk.rows() if row.action != "FUNDING"]
    assert [line["action"] for line in fills] == [*(row.action for row in rows), "FUNDING"]
    first, row = fills[0], rows[0]
    names = ("symbol", "action", "side", "qty", "price", "reason", "pnl", "balance", "at")
    assert [first[name] for name in names] == [
        row.symbol,
        row.action,
        row.type,
        row.size,
        row.price,
        row.reason,
        row.pnl,
        row.balance,
        row.timestamp,
    ]
    assert (first["level"], first["logger"]) == ("info", "paper_trader")
    assert first["message"].startswith(f"[paper] OPEN {row.type} {row.symbol}: ")
    assert fills[-1]["message"].startswith("[paper] FUNDING ")
    assert (fills[-1]["side"], fills[-1]["qty"], fills[-1]["price"]) == (None, None, None)
