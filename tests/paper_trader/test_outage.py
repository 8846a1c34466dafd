"""Candles that stop, come late, or are still being fetched when the trader starts; settings chosen in a downtime."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from mei.model.errors import DataError
from tests.paper_trader.desk import WARM_HOURS, Desk
from tests.paper_trader.market import CONFIG, HOUR_MS, START_MS, SUB_MS, Row, make_market

N_HOURS = 110
GRACE_MS = 30_000


def made(folder: Path, seed: int = 51, *, n_hours: int = N_HOURS, **more: Any) -> Desk:
    kinds = {name: more.pop(name) for name in ("sub_bars", "funding") if name in more}
    market = make_market(folder / "databases", seed, n_hours, **kinds)
    return Desk(folder, market, **{"grace_ms": GRACE_MS, **more})


def known(desk: Desk, until_ms: int, symbols: Collection[str]) -> list[Row]:
    """Rows of some symbols that are known by a moment."""
    return [
        row for row in desk.market.rows if row.known_ms <= until_ms and row.values[0] in symbols
    ]


@pytest.mark.parametrize("sub_bars", [False, True])
def test_bars_that_an_outage_kept_back_are_traded_as_in_a_replay(
    tmp_path: Path, sub_bars: bool
) -> None:
    desk = made(tmp_path, sub_bars=sub_bars)
    desk.open()
    stops = list(desk.boundaries())
    first, last = (40, 63) if sub_bars else (10, 16)
    for number, at_ms in enumerate(stops):
        if not first <= number < last:
            desk.market.feed(at_ms)
        advanced = desk.trader.advance(at_ms + GRACE_MS + 1000)
        if first <= number < last:
            assert advanced.as_of_ms == stops[first - 1]
    assert (desk.deals(), desk.points()) == desk.replayed()
    assert [deal for deal in desk.deals() if stops[first] <= deal[0] < stops[last]]
    assert desk.audits("MISSING_BARS") == desk.audits("LATE_BARS") == []


def test_bars_of_an_outage_that_come_symbol_by_symbol_are_all_waited_for(tmp_path: Path) -> None:
    desk = made(tmp_path, awaits_fetches=True)
    stops = list(desk.boundaries())
    # One never comes: it is waited for as long as others come, and the grace.
    desk.market.lacking = {("XRP", "1h", stops[12] - HOUR_MS)}
    desk.open()
    desk.through(stops[:10])
    now_ms = stops[39] + 2 * GRACE_MS
    for symbol in ("BTC", "ETH", "SOL"):
        desk.market.put(known(desk, stops[39], [symbol]))
        now_ms += GRACE_MS - 1000
        assert desk.trader.advance(now_ms).as_of_ms == stops[9]
    desk.market.feed(stops[39])
    now_ms += GRACE_MS - 1000
    assert desk.trader.advance(now_ms).as_of_ms == stops[11]
    assert desk.trader.advance(now_ms + GRACE_MS - 1).as_of_ms == stops[11]
    assert desk.trader.advance(now_ms + GRACE_MS).as_of_ms == stops[39]
    desk.through(at_ms + GRACE_MS for at_ms in stops[40:])
    assert (desk.deals(), desk.points()) == desk.replayed()
    assert desk.audits("LATE_BARS") == []


def test_bars_that_come_for_ever_are_not_waited_for_for_ever(tmp_path: Path) -> None:
    desk = made(tmp_path, awaits_fetches=True)
    stops = list(desk.boundaries())
    desk.open()
    desk.through(stops[:10])
    desk.market.put(known(desk, stops[39], ["BTC"]))
    now_ms = stops[39]
    for number in range(20):
        assert desk.trader.advance(now_ms + number * GRACE_MS).as_of_ms == stops[9]
        desk.market.put(known(desk, stops[11 + number], ["SOL"]))
    assert desk.trader.advance(now_ms + 20 * GRACE_MS).as_of_ms == stops[39]


def test_after_a_halt_the_candles_of_it_are_waited_for(tmp_path: Path) -> None:
    pause = tmp_path / "pause"
    desk = made(tmp_path, pause_file=str(pause))
    desk.open()
    stops = list(desk.boundaries())
    desk.through(stops[:10])
    deals = desk.deals()
    pause.write_text("halt_all")
    desk.advance(stops[15])
    pause.unlink()
    with pytest.raises(DataError, match="waiting"):
        desk.trader.advance(stops[30])
    desk.advance(stops[30])
    assert (desk.state().as_of_ms, desk.deals()) == (stops[30], deals)


def test_a_clock_that_is_ahead_takes_nothing_that_has_no_bars(tmp_path: Path) -> None:
    desk = made(tmp_path)
    desk.open()
    stops = list(desk.boundaries())
    desk.through(stops[:5])
    assert desk.trader.advance(stops[5] + 24 * HOUR_MS).as_of_ms == stops[4]
    desk.through(at_ms + GRACE_MS for at_ms in stops[5:])
    assert (desk.deals(), desk.points()) == desk.replayed()


def test_a_sub_bar_does_not_take_a_main_close_without_main_bars(tmp_path: Path) -> None:
    desk = made(tmp_path, sub_bars=True)
    desk.open()
    late = [row for row in desk.market.rows if row.file == "candles_1h.db"]
    desk.market.rows = [row for row in desk.market.rows if row.file != "candles_1h.db"]
    close_ms = desk.start_ms + HOUR_MS
    # Sub-bars are there well past the main close, and so is the grace.
    assert desk.advance(close_ms + 2 * SUB_MS).as_of_ms == close_ms - SUB_MS
    desk.market.put([row for row in late if row.known_ms == close_ms])
    assert desk.trader.advance(close_ms + 2 * SUB_MS).as_of_ms == close_ms + 2 * SUB_MS
    desk.market.put(late)
    desk.advance(desk.market.end_ms)
    assert (desk.deals(), desk.points()) == desk.replayed()


def test_every_bar_of_a_symbol_that_was_away_is_told(tmp_path: Path) -> None:
    desk = made(tmp_path)
    stops = list(desk.boundaries())
    lost = {("ETH", "1h", at_ms - HOUR_MS) for at_ms in stops[10:30]}
    desk.market.lacking = lost
    desk.open()
    desk.through(at_ms + GRACE_MS for at_ms in stops[:32])
    desk.market.put([desk.market.find(*key) for key in lost])
    desk.through(at_ms + GRACE_MS for at_ms in stops[32:])
    (event,) = desk.audits("LATE_BARS")
    assert {(bar["symbol"], "1h", bar["open_ms"]) for bar in event.data["bars"]} == lost


def test_a_first_start_waits_until_the_candles_are_there(tmp_path: Path) -> None:
    """They are fetched symbol by symbol, page by page; what is made of a part of them is another trader."""
    desk, whole = made(tmp_path / "race"), made(tmp_path / "whole")
    now_ms = desk.start_ms + 1000
    desk.market.put(known(desk, START_MS + 20 * HOUR_MS, ["BTC"]))
    with pytest.raises(DataError, match="end at 2025-06-01T20:00:00Z: waiting"):
        desk.trader.open(now_ms)
    desk.market.put(known(desk, desk.start_ms, ["BTC"]))
    desk.market.put(known(desk, START_MS + 30 * HOUR_MS, ["ETH", "SOL"]))
    with pytest.raises(DataError, match=r"those of 2 do not \(ETH ends at 2025-06-02T06"):
        desk.trader.open(now_ms)
    for one in (desk, whole):
        one.market.feed(one.start_ms)
        one.trader.open(now_ms)
        one.through(at_ms + GRACE_MS for at_ms in one.boundaries())
    assert desk.deals() == whole.deals() == whole.replayed()[0]


def test_a_first_start_over_old_candles_waits(tmp_path: Path) -> None:
    desk = made(tmp_path)
    desk.market.feed(desk.start_ms)
    late_ms = desk.start_ms + 40 * HOUR_MS
    with pytest.raises(DataError, match="waiting"):
        desk.trader.open(late_ms)
    # The newest bar may be two intervals and the grace old.
    desk.trader.open(desk.start_ms + 2 * HOUR_MS + GRACE_MS)
    assert desk.state().as_of_ms == desk.start_ms


def test_a_first_start_does_not_wait_for_a_symbol_that_left_long_ago(tmp_path: Path) -> None:
    desk = made(tmp_path, n_hours=300)
    desk.start_ms = START_MS + 250 * HOUR_MS
    gone_ms = desk.start_ms - 169 * HOUR_MS
    rows = desk.market.rows
    desk.market.rows = [r for r in rows if r.values[0] != "XRP" or r.known_ms <= gone_ms]
    desk.open()
    (event,) = desk.audits("STARTED")
    assert event.data["not_waited_for"] == ["XRP"]


NEW = CONFIG.replace("sl_atr_mult: 1.5", "sl_atr_mult: 0.6")


@pytest.mark.parametrize("are_late", [False, True])
def test_settings_chosen_in_a_downtime_trade_nothing_before_it(
    tmp_path: Path, are_late: bool
) -> None:
    """The candles of the downtime may have told which settings to choose."""
    desk = made(tmp_path)
    desk.open()
    stops = list(desk.boundaries())
    n_before = next(
        i for i in range(8, len(stops)) if desk.advance(stops[i]) and desk.state().held()
    )
    before, deals = desk.state(), desk.deals()
    back_ms = stops[n_before + 20]
    desk.config.write_text(NEW)
    desk.restart()
    if are_late:
        # The candles were away, too: they are waited for.
        with pytest.raises(DataError, match="waiting"):
            desk.trader.open(back_ms)
        assert desk.state() == before
    desk.market.feed(back_ms)
    desk.trader.advance(back_ms)
    after = desk.state()
    assert (desk.deals(), after.as_of_ms) == (deals, back_ms)
    assert after.balance_usd == before.balance_usd
    assert list(after.held()) == list(before.held())
    (event,) = desk.audits("CONFIG_RELOADED")
    assert (event.data["from"], event.data["to"]) == (before.config_id, after.config_id)
    assert (event.data["from_ms"], event.data["as_of_ms"]) == (before.as_of_ms, back_ms)
    desk.through(stops[n_before + 21 :])
    late = desk.deals()[len(deals) :]
    assert late
    assert min(deal[0] for deal in late) > back_ms


def test_the_same_settings_take_what_a_downtime_left(tmp_path: Path) -> None:
    desk = made(tmp_path)
    desk.open()
    stops = list(desk.boundaries())
    desk.through(stops[:10])
    desk.restart()
    desk.through(stops[30:])
    assert (desk.deals(), desk.points()) == desk.replayed()


def test_rates_that_stop_are_told_every_day(tmp_path: Path) -> None:
    desk = made(tmp_path, funding=True, n_hours=WARM_HOURS + 150, grace_ms=0)
    stopped_ms = desk.start_ms + 10 * HOUR_MS
    rows = desk.market.rows
    desk.market.rows = [r for r in rows if r.table == "candles" or r.known_ms <= stopped_ms]
    desk.open()
    days: dict[int, list[str]] = {}
    held_on: dict[int, set[str]] = {}
    for at_ms in desk.boundaries():
        n_told = len(desk.audits("MISSING_BARS"))
        held = desk.state().held()
        desk.advance(at_ms)
        if at_ms > stopped_ms + 3 * HOUR_MS:
            day = at_ms // (24 * HOUR_MS)
            held_on.setdefault(day, set()).update(held)
            for event in desk.audits("MISSING_BARS")[n_told:]:
                days.setdefault(day, []).extend(event.data["funding"])
    assert {day: sorted(names) for day, names in days.items()} == {
        day: sorted(names) for day, names in held_on.items() if names
    }
    assert len(days) >= 6


def test_a_symbol_held_that_never_had_a_rate_is_told(tmp_path: Path) -> None:
    desk = made(tmp_path, funding=True, grace_ms=0)
    rows = desk.market.rows
    desk.market.rows = [r for r in rows if r.table == "candles" or r.values[0] == "BTC"]
    desk.open()
    desk.through(desk.boundaries())
    told = {name for event in desk.audits("MISSING_BARS") for name in event.data["funding"]}
    assert told == {deal[1] for deal in desk.deals()} - {"BTC"}
