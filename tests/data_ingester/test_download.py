"""Candles through ccxt from an exchange on loopback: whole, by its clock, whatever it does on the way."""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.data.candle_db import load_candles
from mei.data.research import read_series, scan_series
from tests.data_ingester.conftest import Desk
from tests.data_ingester.fake_exchange import Reply, broken, busy, hung_up, slow, torn
from tests.data_ingester.fake_market import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    STEPS_MS,
    Candle,
    true_candle,
)
from tests.data_ingester.house import candles_of, empty_of, table

#: The newest open that is closed, and settled, when the exchange's clock stands at 2024-01-03.
NEWEST_MS = START_MS + 2 * DAY_MS - 2 * MINUTE_MS
KLINES = {"binance": "/api/v3/klines", "bybit": "/v5/market/kline"}


def rows(
    name: str = "BTC/USDT",
    step: str = "1m",
    *,
    first_ms: int = START_MS,
    last_ms: int = NEWEST_MS,
    without: set[int] | None = None,
) -> list[tuple[Any, ...]]:
    """What a database must hold."""
    step_ms = STEPS_MS[step]
    market = name.partition(":")[0].replace("/", "")
    found = []
    for open_ms in range(first_ms, last_ms + 1, step_ms):
        if open_ms not in (without or ()):
            _, *prices = true_candle(market, open_ms, step_ms)
            found.append((name, step, open_ms, open_ms + step_ms - 1, *prices))
    return found


def minutes(first: int, last: int) -> set[int]:
    """Opens by their minute after the start, both included."""
    return {START_MS + minute * MINUTE_MS for minute in range(first, last + 1)}


def run_of(first: int, last: int, why: str = "no bar", source: str = "binance") -> tuple[Any, ...]:
    """A row of `known_empty`."""
    ends = (START_MS + first * MINUTE_MS, START_MS + last * MINUTE_MS)
    return (source, "BTC/USDT", "1m", *ends, why)


@pytest.mark.parametrize("name", KLINES)
def test_everything_closed_is_there_and_the_same_again_asks_for_nothing(
    desk: Desk, name: str
) -> None:
    asked = {"exchange": name, "symbols": "BTC/USDT,ETH/USDT", "timeframe": "1m,1h"}
    assert desk.run(**asked) == 0, desk.err
    assert candles_of(desk.database()) == rows("BTC/USDT") + rows("ETH/USDT")
    last_ms = START_MS + 2 * DAY_MS - 2 * HOUR_MS
    assert candles_of(desk.database("1h")) == [
        row for symbol in ("BTC/USDT", "ETH/USDT") for row in rows(symbol, "1h", last_ms=last_ms)
    ]
    assert empty_of(desk.database()) == []
    assert "BTC/USDT 1m: 2879 new bars" in desk.out
    n_asked = desk.exchange.asked[KLINES[name]]
    assert desk.run(**asked) == 0
    assert desk.exchange.asked[KLINES[name]] == n_asked
    assert "BTC/USDT 1m: 0 new bars" in desk.out


def test_perpetuals_weeks_and_a_window(desk: Desk) -> None:
    assert desk.run("--base-names", symbols="BTC/USDT:USDT", until="2024-01-01T02:00:00Z") == 0
    found = rows("BTC/USDT", last_ms=START_MS + 119 * MINUTE_MS)
    assert candles_of(desk.database()) == [("BTC", *row[1:]) for row in found]
    assert desk.exchange.asked["/fapi/v1/klines"] > 0
    assert desk.exchange.asked["/api/v3/exchangeInfo"] == 0
    desk.exchange.market.now_ms = START_MS + 30 * DAY_MS
    # The first Monday on or after it: 2024-01-08.
    assert desk.run(timeframe="1w", since="2024-01-02") == 0
    opens = [row[2] for row in candles_of(desk.database("1w"))]
    assert opens == [START_MS + 7 * DAY_MS * week for week in (1, 2, 3)]


def test_hyperliquid_has_the_newest_five_thousand(desk: Desk) -> None:
    market = desk.exchange.market
    market.now_ms = START_MS + 4 * DAY_MS
    asked = {"exchange": "hyperliquid", "symbols": "BTC/USDC:USDC"}
    first_ms, last_ms = market.now_ms - 5000 * MINUTE_MS, market.now_ms - 2 * MINUTE_MS
    assert desk.run_again_later("--base-names", "--funding", **asked) == 0, desk.err
    found = [row[2:] for row in candles_of(desk.database())]
    assert found == [
        (open_ms, open_ms + MINUTE_MS - 1, *true_candle("BTC", open_ms, MINUTE_MS)[1:])
        for open_ms in range(first_ms, last_ms + 1, MINUTE_MS)
    ]
    assert {row[0] for row in candles_of(desk.database())} == {"BTC"}
    assert empty_of(desk.database()) == [
        ("hyperliquid", "BTC", "1m", START_MS, first_ms - MINUTE_MS, "no bar")
    ]
    rates = table(desk.folder / "dbs/funding_rates.db", "SELECT * FROM funding_rates ORDER BY 2")
    times = [ms + 31 for ms, _ in market.funding("BTC", HOUR_MS, START_MS, last_ms)]
    assert [(row[0], row[1], row[3]) for row in rates] == [("BTC", ms, 0.0001) for ms in times]
    assert "warning" not in desk.out


def test_a_database_is_what_a_backtest_reads(desk: Desk) -> None:
    assert desk.run() == 0
    candles = load_candles(
        str(desk.database()), "1m", from_ms=None, to_ms=None, tell=lambda _: None
    )
    assert candles.symbols == ("BTC/USDT",)
    assert candles.n_rows == 2879


def once(*replies: Reply | None) -> Callable[[Desk], None]:
    """A disturbance: these instead of answers."""
    return lambda desk: desk.exchange.plan.extend(replies)


def twisted(*twists: Any) -> Callable[[Desk], None]:
    """A disturbance: these on the rows of answers."""
    return lambda desk: desk.exchange.twists.extend(twists)


def shuffled(page: list[Any]) -> list[Any]:
    return random.Random(3).sample(page, len(page))


def two_of_each_differ(page: list[Any]) -> list[Any]:
    wrong = [
        [cell if i != 4 else str(float(cell) * 1.0001) for i, cell in enumerate(row)]
        for row in page[:9]
    ]
    # The wrong ones first: neither the first nor the last is to be believed.
    return [*wrong, *page]


def with_nonsense(page: list[Any]) -> list[Any]:
    nonsense = [
        [page[7][0], "abc", *page[7][2:]],
        [page[8][0], None, *page[8][2:]],
        [page[9][0], *page[9][1:4], "-1", *page[9][5:]],
        [page[10][0], *page[10][1:5], "NaN", *page[10][6:]],
        [page[11][0], *page[11][1:3], "0", *page[11][4:]],
    ]
    return [*page[:7], *nonsense, *page[12:]]


DISTURBANCES = {
    "429": once(busy(), None, busy(429, None), None),
    "418": once(None, busy(418)),
    "5xx": once(broken(500), broken(502), broken(503), None, broken(504)),
    "torn JSON": once(torn(), None, torn(), torn()),
    "hung up": once(hung_up(), None, hung_up()),
    "timeout": once(slow(1.5)),
    "an error page that is well": once(Reply(200, b"<html></html>"), Reply(200, b"")),
    "another shape": once(Reply(200, b'{"a": 1}'), Reply(200, b"[[]]"), Reply(200, b"[3]")),
    "nothing, then all": twisted(lambda page: []),
    "nothing in the middle": twisted(None, lambda page: [], None, lambda page: []),
    "holes, then all": twisted(lambda page: page[::2], None, lambda page: page[:5] + page[700:]),
    "short pages": twisted(lambda page: page[:3], lambda page: page[:1], lambda page: page[:400]),
    "twice the same": twisted(lambda page: page + page[:200]),
    "twice, not the same": twisted(two_of_each_differ),
    "any order": twisted(shuffled, shuffled, shuffled),
    "nonsense among it": twisted(with_nonsense),
    "a price of 0": twisted(lambda page: [*page[:5], [*page[5][:3], "0", *page[5][4:]], *page[6:]]),
    "a negative volume": twisted(
        lambda page: [*page[:5], [*page[5][:5], "-1", *page[5][6:]], *page[6:]]
    ),
    "rows of before": twisted(
        lambda page: page, lambda page: [["1704067200000", "1", "1", "1", "1", "1"], *page]
    ),
    "a row off the grid": twisted(lambda page: [*page, [page[5][0] + 1, *page[5][1:]]]),
}


@pytest.mark.parametrize("what", DISTURBANCES)
def test_what_passes_leaves_no_trace(desk: Desk, what: str) -> None:
    DISTURBANCES[what](desk)
    # A late answer is a timeout only there.
    more = {"timeout_s": "1"} if what == "timeout" else {}
    assert desk.run(**more) == 0, desk.err
    assert candles_of(desk.database()) == rows()
    assert empty_of(desk.database()) == []
    assert not desk.exchange.plan
    assert not desk.exchange.twists


def test_a_torn_answer_is_not_taken_for_an_empty_one(desk: Desk) -> None:
    desk.exchange.plan.append(torn())
    assert desk.run() == 0
    assert "BadResponse, HTTP 200: the answer must be JSON" in desk.out


@pytest.mark.parametrize("name", KLINES)
@pytest.mark.parametrize(
    ("gone", "noted"),
    [
        ([(10, 12), (50, 50)], [(10, 12), (50, 50)]),
        ([(999, 1000)], [(999, 1000)]),
        ([(0, 0), (2860, 2860)], [(0, 0), (2860, 2860)]),
        ([(3, 1602)], [(3, 1602)]),
        ([(0, 2500)], [(0, 2500)]),
        ([(100, 101), (102, 103), (105, 2200)], [(100, 103), (105, 2200)]),
    ],
)
def test_holes_are_asked_for_again_noted_and_told(
    desk: Desk, name: str, gone: list[tuple[int, int]], noted: list[tuple[int, int]]
) -> None:
    missing = {open_ms for ends in gone for open_ms in minutes(*ends)}
    desk.exchange.market.missing = set(missing)
    until = "2024-01-02T23:59:00Z"
    assert desk.run(exchange=name, until=until) == 0, desk.err
    assert candles_of(desk.database()) == rows(without=missing)
    large = [ends for ends in noted if ends[1] - ends[0] >= 10]
    small = [run_of(*ends, source=name) for ends in noted if ends not in large]
    assert empty_of(desk.database()) == small
    assert ("holes still open, to be asked for again: " in desk.out) == bool(large)
    desk.exchange.market.now_ms += 600_000
    said = desk.out
    assert desk.run(exchange=name, until=until) == 0, desk.err
    assert empty_of(desk.database()) == [run_of(*ends, source=name) for ends in noted]
    assert table(desk.database(), "SELECT * FROM open_holes") == []
    assert "still open" not in desk.out
    told = [re.findall(r"(\d+) noted as empty", text) for text in (said, desk.out)]
    assert sum(int(number) for numbers in told for number in numbers) == len(missing)
    assert "not asked for again" in said + desk.out
    n_asked = desk.exchange.asked[KLINES[name]]
    assert n_asked < 40
    desk.exchange.market.missing = set()
    assert desk.run(exchange=name, until=until) == 0
    assert desk.exchange.asked[KLINES[name]] == n_asked


@pytest.mark.parametrize("wait_ms", [0, 599_999])
@pytest.mark.parametrize("name", KLINES)
def test_a_moment_in_which_bars_are_not_told_notes_nothing(
    desk: Desk, name: str, wait_ms: int
) -> None:
    # A page, its repetitions, and the look at what follows.
    desk.exchange.twists.extend([None, *[lambda page: []] * 4])
    until = "2024-01-02T23:59:00Z"
    assert desk.run(exchange=name, until=until) == 0, desk.err
    assert candles_of(desk.database()) == rows(without=minutes(1000, 1999))
    assert empty_of(desk.database()) == []
    hole = "2024-01-01T16:40:00Z to 2024-01-02T09:19:00Z"
    assert f"{name} told of no bar for 1000 slots, {hole}; left open" in desk.out
    assert f"holes still open, to be asked for again: {hole}" in desk.out
    # Nor does the next run, if it comes at once.
    desk.exchange.market.now_ms += wait_ms
    desk.exchange.twists.extend([lambda page: []] * 4)
    assert desk.run(exchange=name, until=until) == 0, desk.err
    assert empty_of(desk.database()) == []
    assert desk.run(exchange=name, until=until) == 0, desk.err
    assert candles_of(desk.database()) == rows()
    assert "still open" not in desk.out


def test_a_large_hole_is_noted_as_far_as_it_was_seen_before(desk: Desk) -> None:
    until = "2024-01-02T23:59:00Z"
    desk.exchange.market.missing = minutes(100, 199)
    assert desk.run(until=until, since="2024-01-01T02:00:00Z") == 0
    desk.exchange.market.now_ms += 600_000
    assert desk.run(until=until) == 0
    assert empty_of(desk.database()) == [run_of(120, 199)]
    assert "noted when a run in 10 minutes or later finds the same" in desk.out
    desk.exchange.market.now_ms += 600_000
    assert desk.run(until=until) == 0
    assert empty_of(desk.database()) == [run_of(100, 199)]


@pytest.mark.parametrize("name", KLINES)
def test_a_market_that_was_listed_later(desk: Desk, name: str) -> None:
    desk.exchange.market.listed_ms = START_MS + 7 * MINUTE_MS
    assert desk.run_again_later(exchange=name, since="2023-12-30") == 0
    assert candles_of(desk.database()) == rows(first_ms=START_MS + 7 * MINUTE_MS)
    assert empty_of(desk.database()) == [run_of(-2 * 1440, 6, source=name)]


@pytest.mark.parametrize("name", KLINES)
def test_nothing_at_the_end_is_not_noted_before_something_follows(desk: Desk, name: str) -> None:
    desk.exchange.market.missing = minutes(2800, 4000)
    assert desk.run(exchange=name) == 0
    assert empty_of(desk.database()) == []
    assert "nothing there after it" in desk.out
    desk.exchange.market.missing = minutes(2800, 2850)
    assert desk.run_again_later(exchange=name) == 0
    assert candles_of(desk.database()) == rows(without=minutes(2800, 2850))
    assert empty_of(desk.database()) == [run_of(2800, 2850, source=name)]


@pytest.mark.parametrize("name", KLINES)
def test_a_hole_between_bars_that_are_there_is_noted_by_the_next_run(desk: Desk, name: str) -> None:
    assert desk.run(exchange=name, until="2024-01-01T01:00:00Z") == 0
    assert desk.run(exchange=name, since="2024-01-02") == 0
    # Longer than a page, so that an exchange that answers for a span does not tell what follows.
    desk.exchange.market.missing = minutes(60, 1600)
    assert desk.run_again_later(exchange=name) == 0
    assert empty_of(desk.database()) == [run_of(60, 1439, source=name)]
    assert f"{name} has 1380 bars less (no bar), 2024-01-01T01:00:00Z to" in desk.out
    desk.exchange.market.missing = set()
    desk.exchange.market.now_ms -= 600_000
    assert desk.run(exchange=name, since="2023-12-31T23:00:00Z") == 0
    found = rows(first_ms=START_MS - HOUR_MS, without=minutes(60, 1439))
    assert candles_of(desk.database()) == found


def test_impossible_candles_are_left_out_noted_and_told(desk: Desk) -> None:
    desk.exchange.market.impossible = minutes(20, 21)
    desk.exchange.market.missing = minutes(19, 19)
    assert desk.run() == 0
    assert candles_of(desk.database()) == rows(without=minutes(19, 21))
    assert empty_of(desk.database()) == [run_of(19, 19), run_of(20, 21, "impossible")]
    assert "left out: 2024-01-01T00:20:00Z is impossible: o=" in desk.out


@pytest.mark.parametrize("lacks", ["missing", "impossible"])
def test_a_young_hole_stays_open(desk: Desk, lacks: str) -> None:
    # Candles after it are there, one of them closed: only time tells.
    setattr(desk.exchange.market, lacks, minutes(2874, 2877))
    assert desk.run() == 0
    assert candles_of(desk.database()) == rows(without=minutes(2874, 2877))
    assert empty_of(desk.database()) == []
    assert "no bar yet at 2024-01-02T23:54:00Z; the next run asks for it again" in desk.out
    assert ("left out: 2024-01-02T23:54:00Z is impossible" in desk.out) == (lacks == "impossible")
    desk.exchange.market.now_ms += 6 * MINUTE_MS
    assert desk.run() == 0
    why = "no bar" if lacks == "missing" else lacks
    assert empty_of(desk.database()) == [run_of(2874, 2875, why)]
    setattr(desk.exchange.market, lacks, minutes(2874, 2876))
    assert desk.run() == 0
    newest_ms = NEWEST_MS + 6 * MINUTE_MS
    assert candles_of(desk.database()) == rows(last_ms=newest_ms, without=minutes(2874, 2876))
    desk.exchange.market.now_ms += MINUTE_MS
    assert desk.run() == 0
    assert empty_of(desk.database()) == [run_of(2874, 2876, why)]


def test_the_last_candle_impossible_is_told_and_asked_for_again(desk: Desk) -> None:
    desk.exchange.market.impossible = {NEWEST_MS}
    assert desk.run() == 0
    assert "left out: 2024-01-02T23:58:00Z is impossible" in desk.out
    assert empty_of(desk.database()) == []
    desk.exchange.market.impossible = set()
    assert desk.run() == 0
    assert candles_of(desk.database()) == rows()


@pytest.mark.parametrize("name", KLINES)
@pytest.mark.parametrize("skew_ms", [-5 * 365 * DAY_MS, 0, 365 * DAY_MS])
def test_the_exchange_decides_what_is_closed(desk: Desk, name: str, skew_ms: int) -> None:
    # Its clock is years away from this machine's, and the candle under way changes with every look at it.
    start_ms = START_MS + skew_ms
    market = desk.exchange.market
    market.listed_ms = 0
    market.now_ms = start_ms + 90 * MINUTE_MS + 30_000
    assert desk.run(exchange=name, since=str(start_ms)) == 0, desk.err
    assert candles_of(desk.database()) == rows(first_ms=start_ms, last_ms=start_ms + 89 * MINUTE_MS)
    market.now_ms = start_ms + 91 * MINUTE_MS
    # Over, but not settled yet.
    assert desk.run(exchange=name, since=str(start_ms)) == 0
    assert len(candles_of(desk.database())) == 90
    market.now_ms += 2_000
    assert desk.run(exchange=name, since=str(start_ms)) == 0
    assert candles_of(desk.database()) == rows(first_ms=start_ms, last_ms=start_ms + 90 * MINUTE_MS)


def test_bars_that_are_there_stay_as_they_are(desk: Desk) -> None:
    assert desk.run(until="2024-01-01T01:00:00Z") == 0
    before = candles_of(desk.database())
    desk.exchange.twists.extend([lambda page: [[row[0], *["9"] * 5, *row[6:]] for row in page]] * 9)
    assert desk.run() == 0
    assert candles_of(desk.database())[:60] == before


def test_an_exchange_that_stays_away_and_the_same_command_later(desk: Desk) -> None:
    desk.exchange.plan.extend([None, *[broken(503)] * 50])
    assert desk.run() == 3
    assert "binance BTC/USDT 1m at 2024-01-01T16:40:00Z must be answered, was not in 4" in desk.err
    assert "HTTP 503" in desk.err
    assert "give the same command again" in desk.err
    assert desk.err.count("\n") == 1
    assert candles_of(desk.database()) == rows()[:1000]
    desk.exchange.plan.clear()
    assert desk.run() == 0
    assert candles_of(desk.database()) == rows()


def test_a_long_ban_ends_the_download_at_once(desk: Desk) -> None:
    desk.exchange.plan.extend([None, busy(418, "7200")])
    assert desk.run() == 3
    assert "wants to be asked again only in 7200 s" in desk.err
    assert desk.exchange.n_data == 2


def test_a_refusal_is_not_repeated(desk: Desk) -> None:
    desk.exchange.plan.extend([Reply(403, b"<html>no</html>")])
    assert desk.run() == 4
    assert "binance refused" in desk.err
    assert "HTTP 403" in desk.err
    assert desk.exchange.n_data == 1


def test_research_files_are_what_the_loop_reads(desk: Desk) -> None:
    research = desk.folder / "research"
    flags = {"since": "2023-12-31", "research_dir": str(research)}
    assert desk.run(**flags) == 0
    names = sorted(path.name for path in (research / "BTC_USDT/1m").iterdir())
    assert names == ["BTC_USDT-1m-2023-12.csv", "BTC_USDT-1m-2024-01.csv"]
    scan = scan_series(research, "BTC/USDT", "1m", "error")
    found: list[Candle] = [tuple(bar) for block in read_series(scan) for bar in block.tolist()]
    wanted = rows(first_ms=START_MS - DAY_MS)
    assert found == [(row[2], *row[4:]) for row in wanted]
    stamps = {path: path.stat().st_mtime_ns for path in (research / "BTC_USDT/1m").iterdir()}
    desk.exchange.market.now_ms += HOUR_MS
    assert desk.run(**flags) == 0
    changed = [p.name for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp]
    assert changed == ["BTC_USDT-1m-2024-01.csv"]
    assert scan_series(research, "BTC/USDT", "1m", "error").n_bars == len(wanted) + 60


def test_how_far_it_is(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 10**15, 6_000_000_000))
    monkeypatch.setattr("time.time_ns", lambda: next(ticks))
    assert desk.run() == 0
    lines = [line for line in desk.out.splitlines() if " %, " in line]
    assert [line.split(", ")[1] for line in lines] == ["34.7 %", "69.5 %", "100.0 %"]
    assert "1000 new bars" in lines[0]


def test_sources_are_not_mixed(desk: Desk) -> None:
    assert desk.run() == 0
    assert desk.run(exchange="bybit", since="2023-12-31") == 2
    assert "must come from one market, is BTC/USDT of binance here" in desk.err
    assert desk.run(symbols="BTC/USDT:USDT", since="2023-12-31") == 2
    assert "was asked for from BTC/USDT:USDT of binance" in desk.err
    assert desk.run("--base-names", since="2023-12-31") == 2
    assert "a market must have one name, BTC/USDT is there and BTC was to be added" in desk.err
    assert candles_of(desk.database()) == rows()
    assert table(desk.database(), "SELECT * FROM download_sources") == [
        ("BTC/USDT", "1m", "binance", "BTC/USDT")
    ]


def scaled(desk: Desk, factor: float, *, known: bool) -> None:
    """Make the bars that are there another market's."""
    with contextlib.closing(sqlite3.connect(desk.database())) as database, database:
        if not known:
            database.execute("DROP TABLE download_sources")
        prices = ", ".join(f"{name} = {name} * {factor}" for name in "ohlc")
        database.execute(f"UPDATE candles SET {prices}")


def jumps_told(desk: Desk) -> list[str]:
    """What was told last, from the first warning of a jump on."""
    lines = desk.out.splitlines()
    return [line for line in lines if line.startswith("Warning: ")]


@pytest.mark.parametrize("known", [False, True])
def test_a_jump_where_new_bars_join_others_is_told_at_the_end(desk: Desk, known: bool) -> None:
    assert desk.run(since="2024-01-01T10:00:00Z", until="2024-01-01T11:00:00Z") == 0
    assert jumps_told(desk) == []
    scaled(desk, 100.0, known=known)
    assert desk.run(symbols="BTC/USDT,ETH/USDT", timeframe="1m") == 0, desk.err
    start, end = (START_MS + hour * HOUR_MS for hour in (10, 11))
    before, after = (true_candle("BTCUSDT", at_ms, MINUTE_MS) for at_ms in (start, end))
    inside = true_candle("BTCUSDT", end - MINUTE_MS, MINUTE_MS)
    told = [
        ("10:00", f"{before[1]:.8g}", f"{before[1] * 100:.8g}"),
        ("11:00", f"{inside[4] * 100:.8g}", f"{after[1]:.8g}"),
    ]
    assert jumps_told(desk) == [
        f"Warning: BTC/USDT 1m: new bars must go on from those that were there, the price jumps at 2024-01-01T{at}:00Z "
        f"from {from_px} to {to_px}: check whether two markets were glued together (another --candles-dir keeps them "
        "apart)"
        for at, from_px, to_px in told
    ]
    assert desk.out.splitlines()[-2:] == jumps_told(desk)
    # Once: the next run brings nothing that joins them.
    assert desk.run() == 0
    assert jumps_told(desk) == []


def test_bars_that_go_on_where_others_end_are_not_told(desk: Desk) -> None:
    assert desk.run(until="2024-01-01T10:00:00Z") == 0
    scaled(desk, 1.2, known=False)
    assert desk.run() == 0
    assert "2279 new bars" in desk.out
    assert jumps_told(desk) == []


def test_a_jump_over_a_hole_is_told_when_it_is_further_than_prices_go(desk: Desk) -> None:
    assert desk.run(until="2024-01-01T10:00:00Z") == 0
    scaled(desk, 100.0, known=True)
    later = START_MS + 30 * HOUR_MS
    assert desk.run(since="2024-01-02T06:00:00Z") == 0
    (line,) = jumps_told(desk)
    opened = true_candle("BTCUSDT", later, MINUTE_MS)[1]
    assert "at 2024-01-02T06:00:00Z from " in line
    assert f" to {opened:.8g} after a hole of 20h: check" in line


def test_a_jump_is_told_when_the_exchange_goes_away_after_it(desk: Desk) -> None:
    assert desk.run(until="2024-01-01T10:00:00Z") == 0
    scaled(desk, 100.0, known=True)
    desk.exchange.failing = lambda number: busy() if number > 2 else None
    assert desk.run(attempts="1") == 3
    (line,) = jumps_told(desk)
    assert "the price jumps at 2024-01-01T10:00:00Z" in line


def test_bars_of_no_known_source_stay_and_are_told(desk: Desk) -> None:
    assert desk.run(until="2024-01-01T01:00:00Z") == 0
    with contextlib.closing(sqlite3.connect(desk.database())) as database, database:
        database.execute("DROP TABLE download_sources")
        database.execute("UPDATE candles SET v = 3")
    assert desk.run() == 0
    assert "has 60 bars that were not downloaded; they stay, and what is missing comes" in desk.out
    assert [row[-1] for row in candles_of(desk.database())[:60]] == [3.0] * 60
    assert candles_of(desk.database())[60:] == rows()[60:]
    assert desk.run() == 0
    assert "not downloaded" not in desk.out
