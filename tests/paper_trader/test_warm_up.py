"""What /state tells of symbols that do not trade yet, and of those that are not waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.workflows.paper.warm_up import WarmUp, summary
from tests.paper_trader.desk import LOOKBACK, WARM_HOURS, Desk
from tests.paper_trader.market import HOUR_MS, START_MS, Market, make_market
from tests.paper_trader.test_service import Service
from tests.paper_trader.test_signals import inputs_of, strategy_of

N_HOURS = 130
#: Symbols of the market that have no bars before these hours.
LATE = {"SOL": 45, "XRP": 80}


def late_market(folder: Path) -> Market:
    market = make_market(folder / "databases", 91, N_HOURS)
    market.lacking = {
        row.values[:3]
        for row in market.rows
        if row.values[2] < START_MS + LATE.get(row.values[0], 0) * HOUR_MS
    }
    return market


@pytest.mark.parametrize(("lookback", "n_needed"), [(LOOKBACK, 50), (55, 55)])
def test_a_symbol_is_warm_where_the_engine_begins_to_judge_its_bars(
    tmp_path: Path, lookback: int, n_needed: int
) -> None:
    desk = Desk(tmp_path, late_market(tmp_path), lookback=lookback)
    desk.open(whole=True)
    n_judged = 0
    for at_ms in desk.boundaries():
        desk.trader.advance(at_ms)
        found = desk.trader.warm_up(desk.state())
        # Every symbol that is there has a bar at every boundary.
        n_judged += sum(not one.is_warming_up for one in found)
        for one in found:
            assert one.n_bars == (at_ms - START_MS) // HOUR_MS - LATE.get(one.symbol, 0)
    assert {one.n_needed for one in found} == {n_needed}
    inputs = inputs_of(desk)
    inputs = type(inputs)(
        **{name: getattr(inputs, name) for name in inputs.__slots__ if name != "lookback"},
        lookback=lookback,
    )
    assert n_judged == strategy_of(desk).run(inputs).gates["total_checks"]
    assert desk.signals()


def test_state_names_what_warms_up(tmp_path: Path) -> None:
    desk = Desk(tmp_path, late_market(tmp_path))
    desk.market.feed(desk.start_ms)
    service = Service(desk)
    state = service.state()
    assert [one["symbol"] for one in state["warm_up"]] == ["BTC", "ETH", "SOL"]
    assert state["warm_up"][2] == {"symbol": "SOL", "bars": 15, "bars_needed": 50}
    assert (state["warming_up"], state["not_waited_for"]) == (["SOL"], [])
    service.step(desk.start_ms + 35 * HOUR_MS)
    state = service.state()
    assert state["warm_up"][2] == {"symbol": "SOL", "bars": 50, "bars_needed": 50}
    assert state["warming_up"] == ["XRP"]
    service.app.state.close()


def test_a_symbols_own_windows_count(tmp_path: Path) -> None:
    desk = Desk(tmp_path, late_market(tmp_path))
    layer = "symbols:\n  ETH: {indicators: {adx_window: 35}}\n"
    desk.config.write_text(desk.config.read_text() + layer)
    desk.open(whole=True)
    for _ in range(2):
        needed = {one.symbol: one.n_needed for one in desk.trader.warm_up(desk.state())}
        assert needed == {"BTC": 50, "ETH": 70, "SOL": 50}
        # Also where no step was taken since the start.
        desk.restart()
        desk.trader.open(desk.start_ms)


def test_only_what_is_traded_is_named(tmp_path: Path) -> None:
    desk = Desk(tmp_path, late_market(tmp_path))
    desk.market.feed(desk.start_ms)
    service = Service(desk, paper_symbol="ETH")
    assert [one["symbol"] for one in service.state()["warm_up"]] == ["ETH"]
    service.app.state.close()


def test_a_start_says_it_in_a_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path, late_market(tmp_path))
    desk.open()
    said = "[paper] 2 of 3 symbols may signal; warming up (bars seen/needed): SOL 15/50"
    assert desk.lines[-1] == said
    assert desk.lines[-2].startswith("[paper] STARTED")
    assert desk.lines.count(said) == 1


def test_symbols_are_named_up_to_ten() -> None:
    found = [WarmUp(f"S{i:02}", i, 50, is_waited_for=i != 3) for i in range(12)]
    assert summary(found) == (
        "[paper] 0 of 12 symbols may signal; warming up (bars seen/needed): S00 0/50, S01 1/50, S02 2/50, S03 3/50, "
        "S04 4/50, S05 5/50, S06 6/50, S07 7/50, S08 8/50, S09 9/50 and 2 more; not waited for: S03"
    )
    assert summary([WarmUp("A", 50, 50, is_waited_for=True)]) == "[paper] 1 of 1 symbols may signal"


def test_what_is_not_waited_for_is_what_no_boundary_waits_for(tmp_path: Path) -> None:
    market = make_market(tmp_path / "databases", 92, N_HOURS)
    gone_ms = START_MS + (WARM_HOURS + 8) * HOUR_MS
    market.lacking = {
        row.values[:3] for row in market.rows if row.values[0] == "XRP" and row.values[2] >= gone_ms
    }
    # Nothing is opened: what is held is always waited for.
    desk = Desk(tmp_path, market, grace_ms=HOUR_MS // 2, lookback=10_000)
    desk.open()
    seen = set()
    for at_ms in desk.boundaries():
        state = desk.state()
        if state.as_of_ms != at_ms - HOUR_MS:
            desk.trader.advance(at_ms - HOUR_MS // 2)
            state = desk.state()
        names = [one.symbol for one in desk.trader.warm_up(state) if not one.is_waited_for]
        has_gone = at_ms > gone_ms
        waits = desk.advance(at_ms).as_of_ms < at_ms
        assert waits == (has_gone and names == []), at_ms
        assert names in ([], ["XRP"])
        seen.add((waits, tuple(names)))
    assert seen == {(False, ()), (True, ()), (False, ("XRP",))}
