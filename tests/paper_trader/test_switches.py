"""Kill switches and pauses: entries stop, exits go on as they would, and nothing is traded in the past."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mei.model.bars import DAY_MS
from mei.workflows.paper.feed import Feed
from mei.workflows.paper.request import Limits
from mei.workflows.paper.risk import DAILY_LOSS, DRAWDOWN, Memory, follow, paused_by
from tests.paper_trader.desk import Desk
from tests.paper_trader.market import CONFIG, HOUR_MS, START_MS, make_market

NO_ADDS = CONFIG.replace("enable_pyramiding: true", "enable_pyramiding: false")
ENTERS = ("OPEN", "ADD")


def made(folder: Path, *, seed: int = 44, config: str = NO_ADDS, **more: Any) -> Desk:
    market = make_market(folder / "databases", seed, 130, sub_bars=True, funding=True)
    desk = Desk(folder, market, **more)
    desk.config.write_text(config)
    return desk


def whole(folder: Path, **more: Any) -> Desk:
    """A trader that nothing stopped."""
    desk = made(folder, **more)
    desk.open(whole=True)
    desk.through(desk.boundaries())
    return desk


def entries(desk: Desk, from_ms: int, to_ms: int = 1 << 60) -> list[Any]:
    return [
        deal
        for deal in desk.deals()
        if deal[2].partition("_")[0] in ENTERS and from_ms < deal[0] <= to_ms
    ]


def without_balance(deals: list[Any]) -> list[Any]:
    return [(*deal[:7], *deal[8:]) for deal in deals]


@pytest.mark.slow
def test_exits_go_on_as_if_nothing_had_stopped_entries(tmp_path: Path) -> None:
    """Every deal of a position held when entries stopped is the one of the run that went on, but for the balance."""
    free = whole(tmp_path / "free")
    pause = tmp_path / "pause"
    desk = made(tmp_path / "stopped", pause_file=str(pause))
    desk.open(whole=True)
    stops = list(desk.boundaries())
    middle = next(
        i
        for i in range(len(stops) // 3, len(stops))
        if desk.advance(stops[i]) and len(desk.state().held()) == 3
    )
    at_ms, held = stops[middle], {*desk.state().held()}
    pause.write_text("close_only\n")
    desk.through(stops[middle + 1 :])
    assert desk.state().is_flat
    assert entries(desk, at_ms) == []
    assert len(entries(free, at_ms)) > 5
    ended = set()
    expected = []
    for deal in free.deals():
        if deal[0] > at_ms and deal[1] in held - ended:
            expected.append(deal)
            if deal[2].startswith("CLOSE"):
                ended.add(deal[1])
    found = [deal for deal in desk.deals() if deal[0] > at_ms]
    assert without_balance(found) == without_balance(expected)
    assert {deal[1] for deal in found if deal[2].startswith("CLOSE")} == held


def test_adds_stop_with_entries(tmp_path: Path) -> None:
    """What is held when entries stop would have been added to, and is not."""
    adds = CONFIG.replace("tp_atr_mult: 1.2", "tp_atr_mult: 3.0")
    free, desk = (
        Desk(folder, make_market(folder / "databases", 3, 120), pause_file=str(folder / "pause"))
        for folder in (tmp_path / "free", tmp_path / "desk")
    )
    for one in (free, desk):
        one.config.write_text(adds)
        one.open(whole=True)
    free.through(free.boundaries())
    opened: dict[str, int] = {}
    added = ("", 0)
    for deal in free.deals():
        if deal[2].startswith("OPEN"):
            opened[deal[1]] = deal[0]
        if deal[2].startswith("ADD") and deal[0] >= opened[deal[1]] + 3 * desk.step_ms:
            added = (deal[1], deal[0])
            break
    # Two bars before the add was known nothing of it is ordered yet, and the position is held.
    at_ms = added[1] - 2 * desk.step_ms
    desk.advance(at_ms)
    assert added[0] in desk.state().held()
    (tmp_path / "desk" / "pause").write_text("close_only")
    # In one leap: an add that is ordered in it would be filled in it.
    desk.advance(desk.market.end_ms)
    assert entries(desk, at_ms) == []
    assert desk.state().is_flat


def test_orders_to_enter_are_cancelled(tmp_path: Path) -> None:
    pause = tmp_path / "pause"
    desk = made(tmp_path, pause_file=str(pause))
    desk.open(whole=True)
    ordered_ms = next(at for at in desk.boundaries() if desk.advance(at) and desk.state().ordered())
    pause.write_text("close_only")
    desk.advance(ordered_ms + desk.step_ms)
    assert desk.state().ordered() == {}
    # In one leap: what is decided in it would be filled in it.
    desk.advance(ordered_ms + 80 * desk.step_ms)
    assert entries(desk, ordered_ms) == []
    pause.unlink()
    desk.through(at for at in desk.boundaries() if at > ordered_ms + 80 * desk.step_ms)
    assert len(entries(desk, ordered_ms)) > 5
    modes = [event.data["to"] for event in desk.audits("MODE_CHANGED")]
    assert modes == ["close_only", "run"]


@pytest.mark.slow
def test_a_drawdown_stops_entries_until_somebody_resumes(tmp_path: Path) -> None:
    limits = Limits(max_drawdown_pct=0.8)
    desk = made(tmp_path / "one", limits=limits)
    desk.open(whole=True)
    stops = list(desk.boundaries())
    killed = next(i for i, at in enumerate(stops) if desk.advance(at).mode == "close_only")
    (event,) = desk.audits("RISK_KILL_DRAWDOWN")
    at_ms = event.data["at_ms"]
    assert at_ms == stops[killed]
    points = desk.points()
    falls, peak = [], 10_000.0
    for _, usd in points:
        peak = max(peak, usd)
        falls.append((peak - usd) / peak * 100.0)
    assert event.data["from_usd"] == peak
    assert event.data["equity_usd"] == points[-1][1]
    assert falls[-1] >= 0.8 > max(falls[:-1])
    half = killed + (len(stops) - killed) // 2
    desk.through(stops[killed + 1 : half])
    # Another process knows it, too.
    desk.restart()
    desk.through(stops[half : half + 2])
    assert entries(desk, at_ms) == []
    leap = made(tmp_path / "leap", limits=limits)
    leap.open(whole=True)
    leap.advance(stops[half + 1])
    assert leap.deals() == desk.deals()
    assert leap.points() == desk.points()
    desk.trader.resume(stops[half + 1])
    desk.through(stops[half + 2 :])
    assert entries(desk, at_ms) != []


@pytest.mark.slow
def test_a_daily_loss_stops_entries_until_the_day_is_over(tmp_path: Path) -> None:
    limits = Limits(max_daily_loss_pct=0.1)
    desk = made(tmp_path / "one", limits=limits)
    desk.open(whole=True)
    desk.through(desk.boundaries())
    kills = desk.audits("RISK_KILL_DAILY_LOSS")
    assert len(kills) >= 2
    assert len(desk.audits("RISK_RESET_DAILY_LOSS")) >= len(kills) - 1
    for event in kills:
        at_ms = event.data["at_ms"]
        over_ms = ((at_ms - 1) // DAY_MS + 1) * DAY_MS
        assert entries(desk, at_ms, over_ms) == []
        assert event.data["lost_pct"] >= 0.1
    assert entries(desk, kills[0].data["at_ms"]) != []
    leap = made(tmp_path / "leap", limits=limits)
    leap.open(whole=True)
    leap.advance(leap.market.end_ms)
    assert leap.deals() == desk.deals()
    assert leap.points() == desk.points()
    assert [e.data for e in leap.audits("RISK_KILL_DAILY_LOSS")] == [e.data for e in kills]


@pytest.mark.slow
def test_nothing_is_traded_in_the_time_of_a_halt(tmp_path: Path) -> None:
    pause = tmp_path / "pause"
    desk = made(tmp_path, pause_file=str(pause))
    desk.open(whole=True)
    stops = list(desk.boundaries())
    middle = next(
        i
        for i in range(len(stops) // 4, len(stops))
        if desk.advance(stops[i]) and len(desk.state().held()) >= 2
    )
    from_ms, before = stops[middle], desk.state()
    pause.write_text("halt_all")
    away = 4 * 13
    for at_ms in stops[middle + 1 : middle + away]:
        assert desk.advance(at_ms).mode == "halt_all"
    assert desk.state().continuation == before.continuation
    pause.unlink()
    to_ms = stops[middle + away]
    desk.advance(to_ms)
    assert [deal for deal in desk.deals() if deal[0] > from_ms] == []
    (event,) = desk.audits("RESUMED_AFTER_HALT")
    assert (event.data["from_ms"], event.data["to_ms"]) == (from_ms, to_ms)
    after = desk.state()
    assert after.as_of_ms == to_ms
    assert {s: slot["qty"] for s, slot in after.held().items()} == {
        s: slot["qty"] for s, slot in before.held().items()
    }
    assert after.balance_usd == before.balance_usd
    desk.through(stops[middle + away + 1 :])
    late = [deal for deal in desk.deals() if deal[0] > from_ms]
    assert min(deal[0] for deal in late) > to_ms
    # The hours of the halt are not paid for.
    paid = [deal for deal in late if deal[2] == "FUNDING" and deal[0] <= to_ms + HOUR_MS]
    assert len(paid) <= len(before.held())
    assert len(late) > 10


def test_a_halt_that_comes_in_the_middle_of_a_look_holds_from_the_next_one_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look has one mode: a step never runs in halt_all, with entries least of all."""
    pause = tmp_path / "pause"
    desk = made(tmp_path, pause_file=str(pause))
    desk.open(whole=True)
    stops = list(desk.boundaries())
    settled = Feed.settled_ms

    def halting(*asked: Any, **more: Any) -> int:
        pause.write_text("halt_all")
        return settled(*asked, **more)

    monkeypatch.setattr(Feed, "settled_ms", halting)
    advanced = desk.trader.advance(stops[20])
    assert (advanced.mode, advanced.n_steps) == ("run", 1)
    before = desk.deals()
    advanced = desk.trader.advance(stops[40])
    assert (advanced.mode, advanced.n_steps, advanced.as_of_ms) == ("halt_all", 0, stops[20])
    assert desk.deals() == before
    (event,) = desk.audits("MODE_CHANGED")
    assert event.data["to"] == "halt_all"


def test_what_is_brought_along_counts_with_its_loss(tmp_path: Path) -> None:
    """A loss of before the start throws no switch: days and peaks begin with the equity."""
    brought = {
        "symbol": "BTC",
        "side": "long",
        "size": 20.0,
        "entry_price": 140.0,
        "entry_atr": 20.0,
        "confidence": "high",
        "leverage": 3.0,
        "margin_used": 900.0,
        "trailing_sl": None,
        "adds_count": 0,
        "tp1_taken": False,
        "open_time_ms": START_MS,
        "last_add_time_ms": 0,
        "entry_adx_threshold": 0.0,
    }
    path = tmp_path / "state.json"
    content = {"version": 1, "source": "paper", "exported_at_ms": START_MS, "balance": 10_000.0}
    path.write_text(json.dumps(content | {"positions": [brought]}))
    limits = Limits(max_drawdown_pct=3.0, max_daily_loss_pct=3.0)
    desk = made(tmp_path, init_state=str(path), limits=limits)
    desk.open()
    assert desk.state().equity_usd() < 0.97 * desk.state().balance_usd
    desk.through(list(desk.boundaries())[:5])
    assert desk.audits("RISK_KILL_DAILY_LOSS") == desk.audits("RISK_KILL_DRAWDOWN") == []


@pytest.mark.slow
def test_a_halt_between_two_boundaries_changes_nothing(tmp_path: Path) -> None:
    free = whole(tmp_path / "free")
    pause = tmp_path / "pause"
    desk = made(tmp_path / "halted", pause_file=str(pause))
    desk.open(whole=True)
    for number, at_ms in enumerate(desk.boundaries()):
        desk.advance(at_ms)
        if number % 40 == 20:
            pause.write_text("halt_all")
            desk.advance(at_ms + 1000)
            pause.unlink()
            desk.advance(at_ms + 2000)
    assert desk.deals() == free.deals()
    assert desk.points() == free.points()


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("close_only\n", "close_only", None),
        (" HALT_ALL ", "halt_all", None),
        ("", "close_only", "says ''"),
        ("stop!", "close_only", "says 'stop!'"),
    ],
)
def test_a_pause_file_that_says_something_else_stops_entries(
    tmp_path: Path, text: str, mode: str, said: str | None
) -> None:
    path = tmp_path / "pause"
    assert paused_by(str(path)) == ("", None)
    path.write_text(text)
    found, fault = paused_by(str(path))
    assert found == mode
    assert (fault is None) == (said is None)
    assert said is None or said in (fault or "")
    assert paused_by(str(tmp_path))[0] == "close_only"


def test_losses_are_told_from_points() -> None:
    limits = Limits(max_drawdown_pct=10.0, max_daily_loss_pct=5.0)
    start = Memory(last_usd=100.0, peak_usd=100.0)
    hour = DAY_MS // 24
    calm, trip = follow(start, [(hour, 101.0), (DAY_MS, 97.0)], limits)
    assert (trip, calm.day, calm.day_start_usd, calm.peak_usd) == (None, 0, 100.0, 101.0)
    # The point at midnight was the last of its day: the next one is measured from it.
    after, trip = follow(calm, [(DAY_MS + hour, 92.5), (DAY_MS + 2 * hour, 92.0)], limits)
    assert trip is not None
    assert (trip.kind, trip.from_usd) == (DAILY_LOSS, 97.0)
    deeper, trip = follow(after, [(DAY_MS + 3 * hour, 90.0)], limits)
    assert trip is not None
    assert (trip.kind, trip.from_usd) == (DRAWDOWN, 101.0)
    assert follow(deeper, [(DAY_MS + 4 * hour, 1.0)], limits)[1] is None
