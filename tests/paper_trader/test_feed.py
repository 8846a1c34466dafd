"""Bars that are missing, late or changed; the grace; the settings read again while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mei.data.candle_db import load_candles
from mei.model.candles import Candles
from mei.model.errors import ConfigError, ConflictError, DataError
from mei.workflows.paper.flatten import close_paper
from mei.workflows.paper.trader import PaperTrader
from tests.paper_trader.desk import WARM_HOURS, Desk
from tests.paper_trader.market import CONFIG, HOUR_MS, START_MS, Row, make_market
from tools.export_state import main as export

N_HOURS = 110
GRACE_MS = 60_000


def made(folder: Path, seed: int = 51, **more: Any) -> Desk:
    return Desk(folder, make_market(folder / "databases", seed, N_HOURS), **more)


def open_ms(hour: int) -> int:
    return START_MS + hour * HOUR_MS


def test_a_bar_that_comes_late_is_told_and_never_used(tmp_path: Path) -> None:
    lost = {("ETH", "1h", open_ms(WARM_HOURS + 10)), ("SOL", "1h", open_ms(WARM_HOURS + 11))}
    never, late = made(tmp_path / "never"), made(tmp_path / "late")
    never.market.lacking = late.market.lacking = lost
    for desk in (never, late):
        desk.open()
    never.through(never.boundaries())
    for number, at_ms in enumerate(late.boundaries()):
        late.advance(at_ms)
        # One before the symbol's next bar, one after it.
        if number in (10, 12):
            name = "ETH" if number == 10 else "SOL"
            late.market.put([late.market.find(*key) for key in lost if key[0] == name])
    assert late.deals() == never.deals()
    assert late.points() == never.points()
    missing = [event.data["bars"] for event in late.audits("MISSING_BARS")]
    assert missing == [{"main": {"ETH": 1}}, {"main": {"SOL": 1}}]
    told = [bar for event in late.audits("LATE_BARS") for bar in event.data["bars"]]
    assert len(told) == 2
    assert {(bar["symbol"], "1h", bar["open_ms"]) for bar in told} == lost
    assert never.audits("LATE_BARS") == []
    # With the bars the run is another one.
    assert late.replayed()[1] != late.points()


def test_a_bar_that_changes_afterwards_is_told(tmp_path: Path) -> None:
    desk = made(tmp_path)
    desk.open()
    stops = list(desk.boundaries())
    desk.through(stops[:5])
    row = desk.market.find("ETH", "1h", stops[4] - HOUR_MS)
    values = (*row.values[:7], row.values[7] * 1.0001, *row.values[8:])
    desk.market.put([Row(row.known_ms, row.file, row.table, values)])
    desk.through(stops[5:9])
    (event,) = desk.audits("CHANGED_BARS")
    bar = {"series": "main", "symbol": "ETH", "open_ms": stops[4] - HOUR_MS}
    assert event.data["bars"] == [bar]


def test_a_boundary_waits_for_its_bars_as_long_as_the_grace(tmp_path: Path) -> None:
    desk = made(tmp_path, grace_ms=GRACE_MS)
    desk.market.feed(desk.start_ms)
    desk.trader.open(desk.start_ms)
    first, second, third = list(desk.boundaries())[:3]
    key = ("XRP", "1h", first - HOUR_MS)
    desk.market.lacking = {key}
    # Not there: waited for. There within the grace: used, and nobody is told.
    assert desk.advance(first).as_of_ms == desk.start_ms
    assert desk.advance(first + GRACE_MS - 1).as_of_ms == desk.start_ms
    desk.market.put([desk.market.find(*key)])
    assert desk.advance(first + GRACE_MS - 1).as_of_ms == first
    assert desk.audits("MISSING_BARS") == []
    # Everything there: at once.
    assert desk.advance(second - 1).as_of_ms == first
    assert desk.advance(second).as_of_ms == second
    # Never there: after the grace, and told.
    desk.market.lacking = {("XRP", "1h", third - HOUR_MS)}
    assert desk.advance(third + 1).as_of_ms == second
    assert desk.advance(third + GRACE_MS).as_of_ms == third
    (event,) = desk.audits("MISSING_BARS")
    assert event.data["bars"] == {"main": {"XRP": 1}}
    kept = desk.state().symbols
    assert kept["BTC"]["bars"]["open_ms"][-1] == third - HOUR_MS
    assert kept["XRP"]["bars"]["open_ms"][-1] == second - HOUR_MS


def test_an_hour_without_a_bar_at_all_passes(tmp_path: Path) -> None:
    desk = made(tmp_path)
    stops = list(desk.boundaries())
    gone = {(symbol, "1h", stops[6] - HOUR_MS) for symbol in ("BTC", "ETH", "SOL", "XRP")}
    desk.market.lacking = gone
    desk.open()
    desk.through(stops)
    deals, points = desk.replayed()
    assert desk.deals() == deals
    assert desk.points() == points
    assert stops[6] not in {at_ms for at_ms, _ in points}
    assert len(desk.audits("MISSING_BARS")) == 1


def test_an_impossible_bar_stops_the_step_and_nothing_is_lost(tmp_path: Path) -> None:
    desk = made(tmp_path)
    desk.open()
    stops = list(desk.boundaries())
    desk.through(stops[:5])
    row = desk.market.find("ETH", "1h", stops[5] - HOUR_MS)
    desk.market.feed(stops[5])
    broken = (*row.values[:6], -1.0, *row.values[7:])
    desk.market.put([Row(row.known_ms, row.file, row.table, broken)])
    before = desk.state()
    lost = desk.market.find("BTC", "1h", stops[5] - HOUR_MS)
    desk.market.remove(lost)
    for _ in range(3):
        with pytest.raises(DataError, match="ETH"):
            desk.trader.advance(stops[5])
    assert desk.state() == before
    assert desk.audits("MISSING_BARS") == []
    desk.market.put([lost])
    desk.market.put([row])
    desk.through(stops[5:])
    deals, points = desk.replayed()
    assert (desk.deals(), desk.points()) == (deals, points)


OTHER_STOP = CONFIG.replace("sl_atr_mult: 1.5", "sl_atr_mult: 0.6")
OTHER_WINDOW = CONFIG.replace("ema_slow_window: 9", "ema_slow_window: 13")


def v2_of(desk: Desk) -> str:
    path = str(desk.folder / "v2.json")
    line = f"--source paper --db {desk.request.db} --format v2 --output {path}"
    assert export(line.split()) == 0
    return path


@pytest.mark.parametrize("restarts", [False, True])
def test_new_settings_hold_from_the_next_boundary_on(tmp_path: Path, restarts: bool) -> None:
    desk = made(tmp_path)
    desk.open(whole=True)
    stops = list(desk.boundaries())
    middle = len(stops) // 2
    desk.through(stops[:middle])
    before, state = desk.deals(), v2_of(desk)
    assert before == [deal for deal in desk.replayed()[0] if deal[0] <= stops[middle - 1]]
    desk.config.write_text(OTHER_STOP)
    if restarts:
        desk.restart()
    desk.through(stops[middle:])
    deals, points = desk.replayed(init_state=state)
    assert desk.deals() == before + deals
    assert desk.points()[middle:] == points
    (event,) = desk.audits("CONFIG_RELOADED")
    assert not event.data["rebased"]
    assert event.data["to"] == desk.state().config_id != event.data["from"]
    desk.config.write_text(CONFIG)
    assert desk.replayed(init_state=state)[0] != deals


@pytest.mark.parametrize("restarts", [False, True])
def test_other_windows_are_warmed_up_anew_under_the_same_book(
    tmp_path: Path, restarts: bool
) -> None:
    desk = made(tmp_path)
    desk.open(whole=True)
    stops = list(desk.boundaries())
    middle = next(i for i in range(8, len(stops)) if desk.advance(stops[i]) and desk.state().held())
    before = desk.state()
    desk.config.write_text(OTHER_WINDOW)
    if restarts:
        desk.restart()
        desk.trader.open(stops[middle])
    else:
        desk.trader.advance(stops[middle] + 1)
    after = desk.state()
    (event,) = desk.audits("CONFIG_RELOADED")
    assert event.data["rebased"]
    assert after.as_of_ms == before.as_of_ms
    assert after.held() == before.held()
    assert after.continuation["account"] == before.continuation["account"]
    assert after.continuation["equity_peak_usd"] == before.continuation["equity_peak_usd"]
    # What was warmed up is what a trader that begins here with these settings has.
    fresh = Desk(tmp_path / "fresh", desk.market)
    fresh.config.write_text(OTHER_WINDOW)
    fresh.trader.open(stops[middle])
    for name, kept in fresh.state().symbols.items():
        for part in ("n_bars", "bars", "rows", "state", "windows"):
            assert after.symbols[name][part] == kept[part], (name, part)
    desk.through(stops[middle + 1 :])
    assert len([deal for deal in desk.deals() if deal[0] > stops[middle]]) > 5


BAD = {
    "yaml": ("global: [", "c.yaml"),
    "unknown key": ("global: {trade: {sl_atr: 1.0}}", "sl_atr"),
    "windows that cross": (
        CONFIG.replace("ema_fast_window: 4", "ema_fast_window: 0"),
        "ema_fast_window",
    ),
    "no mapping": ("[1, 2]", "mapping"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_told_once_and_changes_nothing(tmp_path: Path, fault: str) -> None:
    text, said = BAD[fault]
    free, desk = made(tmp_path / "free"), made(tmp_path / "desk")
    for one in (free, desk):
        one.open(whole=True)
    free.through(free.boundaries())
    stops = list(desk.boundaries())
    desk.through(stops[:10])
    desk.config.write_text(text)
    desk.through(stops[10:30])
    (event,) = desk.audits("CONFIG_REFUSED")
    assert said in event.data["fault"]
    assert said in desk.trader.config_fault
    assert len([line for line in desk.lines if "CONFIG_REFUSED" in line]) == 1
    desk.config.write_text(CONFIG)
    desk.through(stops[30:])
    assert desk.trader.config_fault == ""
    assert desk.deals() == free.deals()
    assert desk.audits("CONFIG_RELOADED") == []
    desk.config.write_text(text)
    desk.restart()
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        desk.trader.open(stops[-1])


def test_other_intervals_need_a_restart_with_nothing_held(tmp_path: Path) -> None:
    market = make_market(tmp_path / "databases", 52, N_HOURS, sub_bars=True)
    desk = Desk(tmp_path, market)
    from_config = replace(
        market.request,
        candles_db=str(market.folder),
        interval=None,
        exit_candles_db=None,
        exit_interval=None,
        entry_candles_db=None,
        entry_interval=None,
    )
    desk.restart(market=from_config)
    desk.open(whole=True)
    stops = list(range(desk.start_ms + HOUR_MS, market.end_ms + 1, HOUR_MS))
    held_at = next(i for i, at in enumerate(stops) if desk.advance(at) and desk.state().held())
    desk.config.write_text(CONFIG.replace("global:", "global:\n  engine: {interval: 15m}"))
    desk.advance(stops[held_at + 1])
    (event,) = desk.audits("CONFIG_REFUSED")
    assert "intervals of a running trader must stay main 1h" in event.data["fault"]
    desk.restart()
    if not desk.state().held():
        pytest.fail("the market must leave something held here")
    with pytest.raises(ConfigError, match="while something is held"):
        desk.trader.open(stops[held_at + 1])
    closed = close_paper(desk.request.db, reason="other bars", now_ms=stops[held_at + 1])
    assert closed
    desk.restart()
    desk.through(stops[held_at + 2 :])
    assert desk.state().continuation["interval_ms"] == HOUR_MS // 4
    assert len(desk.audits("INTERVALS_CHANGED")) == 1
    assert [deal for deal in desk.deals() if deal[0] > stops[held_at + 2]]


def meeting(desk: Desk, meet: Callable[[], None]) -> None:
    """Let something happen at the next load of the whole history, once."""
    done: list[bool] = []

    def load(*place: Any, **bounds: Any) -> Candles:
        if bounds["from_ms"] is None and not done:
            done.append(True)
            meet()
        return load_candles(*place, **bounds)

    desk.trader.close()
    desk.trader = PaperTrader(desk.request, desk.lines.append, load)


def test_a_file_that_is_written_in_two_goes_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    """What is refused is the half that was read, not what is there by then."""
    desk = made(tmp_path)
    desk.open(whole=True)
    stops = list(desk.boundaries())
    desk.through(stops[:3])

    desk.config.write_text(OTHER_STOP.partition("thresholds")[0] + "thresholds: [")
    read = Path.read_bytes
    seen: list[bytes] = []

    def reading(path: Path) -> bytes:
        found = read(path)
        if path == desk.config:
            seen.append(found)
            if len(seen) == 2:
                # The writer ends while the first half is being looked at.
                desk.config.write_text(OTHER_STOP)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", reading)
        desk.advance(stops[3])
    assert desk.config.read_text() == OTHER_STOP
    desk.advance(stops[4])
    assert desk.trader.config_fault == ""
    (event,) = desk.audits("CONFIG_RELOADED")
    assert event.data["as_of_ms"] == stops[3]


def test_candles_that_cannot_be_read_do_not_condemn_a_file(tmp_path: Path) -> None:
    desk = made(tmp_path)
    desk.open(whole=True)
    stops = list(desk.boundaries())
    desk.through(stops[:5])
    desk.config.write_text(OTHER_WINDOW)
    there = Path(desk.request.market.candles_db or "")
    away = there.rename(there.with_suffix(".away"))
    with pytest.raises(DataError):
        desk.trader.advance(stops[5])
    assert desk.trader.config_fault != ""
    away.rename(there)
    desk.advance(stops[5])
    assert desk.trader.config_fault == ""
    (event,) = desk.audits("CONFIG_RELOADED")
    assert event.data["as_of_ms"] == stops[4]


def test_a_file_is_tried_again_when_somebody_wrote_meanwhile(tmp_path: Path) -> None:
    desk = made(tmp_path)
    desk.open(whole=True)
    stops = list(desk.boundaries())
    number = next(i for i, at in enumerate(stops) if desk.advance(at) and desk.state().held())
    at_ms = stops[number]
    meeting(desk, lambda: close_paper(desk.request.db, reason="deploy", now_ms=at_ms) and None)
    desk.trader.open(at_ms)
    desk.config.write_text(OTHER_STOP)
    with pytest.raises(ConflictError):
        desk.advance(stops[number + 1])
    desk.advance(stops[number + 1])
    assert desk.trader.config_fault == ""
    assert len(desk.audits("CONFIG_RELOADED")) == 1
    assert desk.audits("CONFIG_REFUSED") == []
