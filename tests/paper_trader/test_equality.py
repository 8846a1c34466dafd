"""What is traded on paper, bar by bar or in leaps, is what a replay over the same candles trades, bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mei.data.trading_db import equity_since, open_trading_db, position_rows
from tests.paper_trader.desk import Desk
from tests.paper_trader.market import SYMBOLS, make_market
from tests.workflows.databases import write_universe

KINDS = {
    "main bars": {},
    "sub-bars": {"sub_bars": True},
    "funding": {"funding": True},
    "all, with holes": {"sub_bars": True, "funding": True, "holes": 0.04},
}


def made(tmp_path: Path, kind: str, seed: int, n_hours: int = 120) -> Desk:
    market = make_market(tmp_path / "databases", seed, n_hours, **KINDS[kind])
    return Desk(tmp_path, market)


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_paper_equals_a_replay(tmp_path: Path, kind: str, seed: int) -> None:
    desk = made(tmp_path, kind, seed)
    rng = np.random.default_rng(seed)
    desk.open()
    # One boundary at a time at first, then leaps.
    stops = list(desk.boundaries())
    alone, rest = stops[: len(stops) // 2], stops[len(stops) // 2 :]
    leaps = sorted(rng.choice(rest, len(rest) // 5, replace=False).tolist())
    desk.through([*alone, *leaps, stops[-1]])
    deals, points = desk.replayed()
    assert desk.deals() == deals
    assert desk.points() == points
    assert {deal[2].partition("_")[0] for deal in deals} >= {"OPEN", "CLOSE"}
    assert len(deals) > 30


def test_grouping_changes_nothing(tmp_path: Path) -> None:
    one = made(tmp_path / "one", "all, with holes", 7)
    leap = made(tmp_path / "leap", "all, with holes", 7)
    one.open(whole=True)
    one.through(one.boundaries())
    leap.open(whole=True)
    leap.advance(leap.market.end_ms)
    assert [row.fill_hash for row in one.rows()] == [row.fill_hash for row in leap.rows()]
    assert one.deals() == leap.deals()
    assert one.signals() == leap.signals()
    assert len(one.signals()) > 30
    assert one.points() == leap.points()
    assert without_banks(one) == without_banks(leap)


def without_banks(desk: Desk) -> dict[str, object]:
    """The state without columns that nothing reads any more."""
    content = dict(desk.state().continuation)
    symbols = content.pop("symbols")
    return content | {
        name: {key: value for key, value in kept.items() if key != "bank"}
        for name, kept in symbols.items()
    }


def test_rows_are_what_the_schema_says(tmp_path: Path) -> None:
    desk = made(tmp_path, "all, with holes", 5)
    desk.open(whole=True)
    desk.through(desk.boundaries())
    rows = desk.rows()
    assert all(row.timestamp.endswith("Z") for row in rows)
    assert {row.type for row in rows} == {"LONG", "SHORT"}
    assert {row.action for row in rows} >= {"OPEN", "REDUCE", "CLOSE", "FUNDING"}
    assert len({(row.fill_hash, row.fill_tid) for row in rows}) == len(rows)
    assert {row.confidence for row in rows} <= {"low", "medium", "high"}
    held = desk.state().held()
    assert held
    with open_trading_db(desk.request.db, create=False) as conn:
        kept = position_rows(conn)
    assert [row.symbol for row in kept] == list(held)
    by_id = {row.id: row for row in rows}
    for position in kept:
        opened = by_id[position.open_trade_id]
        slot = held[position.symbol]
        assert (opened.action, opened.symbol) == ("OPEN", position.symbol)
        assert json.loads(opened.meta_json or "")["position_id"] == slot["position_id"]
        assert opened.type == ("LONG" if slot["side"] > 0 else "SHORT")
        assert position.adds_count == slot["adds_count"]
        assert position.last_add_time == slot["last_add_ms"]


def test_only_one_symbol_is_traded_and_the_others_are_context(tmp_path: Path) -> None:
    market = make_market(tmp_path / "databases", 11, 140)
    desk = Desk(tmp_path, market)
    desk.restart(market=replace(market.request, symbol="ETH"))
    desk.open(whole=True)
    desk.through(desk.boundaries())
    deals, points = desk.replayed()
    assert desk.deals() == deals
    assert desk.points() == points
    assert {deal[1] for deal in deals} == {"ETH"}


def test_only_what_is_listed_is_traded(tmp_path: Path) -> None:
    market = make_market(tmp_path / "databases", 12, 120)
    end_ms = market.end_ms
    listed = [(name, 0, end_ms if name != "SOL" else 1) for name in SYMBOLS]
    universe = str(write_universe(tmp_path, listed))
    desk = Desk(tmp_path, market)
    request = replace(market.request, universe_filter=True, universe_db=universe)
    desk.restart(market=request)
    desk.open(whole=True)
    desk.through(desk.boundaries())
    deals, points = desk.replayed()
    assert (desk.deals(), desk.points()) == (deals, points)
    assert {deal[1] for deal in deals} == {"BTC", "ETH", "XRP"}


def test_points_have_the_balance_of_their_moment(tmp_path: Path) -> None:
    one = made(tmp_path / "one", "all, with holes", 8, 90)
    leap = made(tmp_path / "leap", "all, with holes", 8, 90)
    one.open(whole=True)
    cash = {}
    for at_ms in one.boundaries():
        one.advance(at_ms)
        cash[at_ms] = one.state().balance_usd
    leap.open(whole=True)
    leap.advance(leap.market.end_ms)
    for desk in (one, leap):
        with open_trading_db(desk.request.db, create=False) as conn:
            points = equity_since(conn, 0)
        assert len(points) > 20
        assert all(point.balance_usd == cash[point.timestamp_ms] for point in points)
