"""Funding rates: pages, going on, what has no funding; and the two tools that ask Hyperliquid."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mei.data.funding_db import load_funding
from mei.data.funding_writer import FundingRate
from mei.data.universe_db import active_symbols
from mei.workflows.download.funding import _hourly
from tests.data_ingester.conftest import Desk
from tests.data_ingester.fake_exchange import FakeExchange, Reply, broken, busy, hung_up, torn
from tests.data_ingester.fake_market import DAY_MS, HOUR_MS, START_MS
from tests.data_ingester.house import table
from tests.tools.loading import exit_code, tool

YEAR_MS = 365 * DAY_MS
PATHS = {"binance": "/fapi/v1/fundingRate", "bybit": "/v5/market/funding/history"}


def rates_of(path: Path) -> list[tuple[Any, ...]]:
    return table(path, "SELECT symbol, time, funding_rate FROM funding_rates ORDER BY 1, 2")


@pytest.mark.parametrize("name", PATHS)
def test_pages_of_funding_and_only_what_is_new(desk: Desk, name: str) -> None:
    market = desk.exchange.market
    market.now_ms, market.listed_ms = START_MS + 2 * YEAR_MS, START_MS + 90 * DAY_MS + 1
    flags = {"exchange": name, "timeframe": "1d", "symbols": "BTC/USDT"}
    desk.exchange.plan.extend([None, None, None, broken(), busy(), torn(), None, hung_up()])
    assert desk.run("--funding", "--base-names", **flags) == 0, desk.err
    wanted = market.funding("BTCUSDT", 8 * HOUR_MS, START_MS, market.now_ms)
    path = desk.folder / "dbs/funding_rates.db"
    assert rates_of(path) == [("BTC", *rate) for rate in wanted]
    assert len(wanted) > 1900
    assert "they are 8h apart and stored as the exchange tells them" in desk.out
    assert "--hourly-funding divides them" in desk.out
    desk.exchange.asked.clear()
    market.now_ms += DAY_MS
    assert desk.run("--funding", "--base-names", **flags) == 0
    assert desk.exchange.asked[PATHS[name]] == 1
    assert len(rates_of(path)) == len(wanted) + 3
    loaded = load_funding(str(path), from_ms=None, to_ms=None, tell=lambda _: None)
    assert loaded.symbols == ("BTC",)


@pytest.mark.parametrize("unit", [(), ("--hourly-funding",)])
@pytest.mark.parametrize("name", PATHS)
def test_an_earlier_since_brings_what_lies_before(
    desk: Desk, name: str, unit: tuple[str, ...]
) -> None:
    market = desk.exchange.market
    market.now_ms, market.listed_ms = START_MS + 60 * DAY_MS, START_MS + 5 * DAY_MS
    flags = {"exchange": name, "timeframe": "1d"}
    assert desk.run("--funding", *unit, since="2024-02-01", **flags) == 0, desk.err
    # Stopped in the middle of what is before.
    path = desk.folder / "dbs/funding_rates.db"
    assert rates_of(path)[0][1] == START_MS + 31 * DAY_MS
    desk.exchange.plan.extend([None] * 2 + [broken()] * 40)
    assert desk.run("--funding", *unit, since="2024-01-01", **flags) == 3
    desk.exchange.plan.clear()
    assert desk.run("--funding", *unit, since="2024-01-01", **flags) == 0, desk.err
    wanted = market.funding("BTCUSDT", 8 * HOUR_MS, START_MS, market.now_ms)
    hours = 8 if unit else 1
    assert rates_of(path) == [("BTC/USDT", ms, rate / hours) for ms, rate in wanted]
    desk.exchange.asked.clear()
    assert desk.run("--funding", *unit, since="2024-01-01", **flags) == 0, desk.err
    # Before the listing there is nothing, which is known now.
    assert desk.exchange.asked[PATHS[name]] == 0


@pytest.mark.parametrize("name", PATHS)
def test_a_later_since_leaves_no_gap_and_one_that_is_there_is_closed(desk: Desk, name: str) -> None:
    market = desk.exchange.market
    market.now_ms = START_MS + 20 * DAY_MS
    flags = {"exchange": name, "timeframe": "1d"}
    assert desk.run("--funding", until="2024-01-03", **flags) == 0, desk.err
    assert desk.run("--funding", since="2024-01-12", **flags) == 0, desk.err
    wanted = market.funding("BTCUSDT", 8 * HOUR_MS, START_MS, market.now_ms)
    path = desk.folder / "dbs/funding_rates.db"
    assert rates_of(path) == [("BTC/USDT", *rate) for rate in wanted]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        where = (START_MS + 3 * DAY_MS, START_MS + 6 * DAY_MS)
        database.execute("DELETE FROM funding_rates WHERE time BETWEEN ? AND ?", where)
    assert desk.run("--funding", **flags) == 0, desk.err
    assert rates_of(path) == [("BTC/USDT", *rate) for rate in wanted]


def test_until_and_a_perpetual_named_as_such(desk: Desk) -> None:
    code = desk.run("--funding", symbols="BTC/USDT:USDT", until="2024-01-01T16:00:00Z")
    assert code == 0, desk.err
    times = [row[1] for row in rates_of(desk.folder / "dbs/funding_rates.db")]
    assert times == [START_MS, START_MS + 8 * HOUR_MS]


@pytest.mark.parametrize("listed_ms", [START_MS - 30 * DAY_MS, START_MS + HOUR_MS])
def test_rates_made_hourly(desk: Desk, listed_ms: int) -> None:
    market = desk.exchange.market
    market.listed_ms = listed_ms
    # A rate that is left out does not make the next one smaller than those of eight hours are.
    market.missing_funding = {START_MS + 24 * HOUR_MS}
    assert desk.run("--funding", "--hourly-funding", until="2024-01-01T20:00:00Z") == 0, desk.err
    assert "rates, the newest of 2024-01-01T16:00:00Z, made hourly" in desk.out
    assert "warning" not in desk.out
    assert desk.run("--funding", "--hourly-funding") == 0, desk.err
    wanted = market.funding("BTCUSDT", 8 * HOUR_MS, START_MS, market.now_ms)
    path = desk.folder / "dbs/funding_rates.db"
    assert rates_of(path) == [("BTC/USDT", ms, rate / 8) for ms, rate in wanted]
    assert len(wanted) == (6 if listed_ms < START_MS else 5)
    before = path.read_bytes()
    assert desk.run("--funding") == 2
    assert "are those of binance hourly and binance as told was to be added" in desk.err
    assert path.read_bytes() == before


def test_a_first_rate_is_divided_by_the_hours_since_the_one_before(desk: Desk) -> None:
    asked = {"exchange": "hyperliquid", "symbols": "BTC/USDC:USDC"}
    span = {"since": "2024-01-02T05:00:00Z", "until": "2024-01-02T05:30:00Z"}
    assert desk.run("--funding", "--hourly-funding", **asked, **span) == 0, desk.err
    at_ms = START_MS + 29 * HOUR_MS
    ((_, rate),) = desk.exchange.market.funding("BTC", HOUR_MS, at_ms, at_ms)
    path = desk.folder / "dbs/funding_rates.db"
    assert rates_of(path) == [("BTC/USDC", at_ms + 31, rate)]


def test_rates_of_changing_lengths_made_hourly() -> None:
    hours = [0, 8, 12, 16, 17, 18]
    rates = [FundingRate(START_MS + hour * HOUR_MS + 7 * hour, 0.008) for hour in hours]
    made = [rate.rate for rate in _hourly(rates, None)]
    assert made == [0.001, 0.001, 0.002, 0.002, 0.008, 0.008]
    assert _hourly(rates[:1], None)[0].rate == 0.001
    assert _hourly(rates[:1], START_MS - HOUR_MS)[0].rate == 0.008


def test_funding_of_two_exchanges_is_not_mixed(desk: Desk, bench: Tool) -> None:
    assert desk.run("--funding", "--base-names") == 0
    path = desk.folder / "dbs/funding_rates.db"
    before = path.read_bytes()
    assert bench.fetch("--db", str(path)) == 2
    assert "are those of binance as told and hyperliquid as told was to be added" in bench.err
    assert path.read_bytes() == before


def test_an_empty_page_is_asked_for_again(desk: Desk) -> None:
    desk.exchange.twists.extend([None] * 3 + [lambda page: []])
    assert desk.run("--funding") == 0
    assert len(rates_of(desk.folder / "dbs/funding_rates.db")) == 7


class Tool:
    """Runs one of the two tools in a folder against the exchange."""

    def __init__(
        self, folder: Path, exchange: FakeExchange, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self.exchange = exchange
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, name: str, *flags: str) -> int:
        """The exit code."""
        self._capsys.readouterr()
        code = exit_code(tool(name), ["--base-url", self.exchange.url, *flags])
        self.out, self.err = self._capsys.readouterr()
        return code

    def fetch(self, *flags: str) -> int:
        """fetch_funding_rates up to the exchange's now."""
        return self.run("fetch_funding_rates", "--now-ms", str(self.exchange.market.now_ms), *flags)

    def sync(self, *flags: str) -> int:
        """sync_universe_history."""
        return self.run("sync_universe_history", *flags)

    def starts_of_history(self) -> list[tuple[str, int]]:
        """Coin and start of every request for funding."""
        asked = [query for path, query in self.exchange.queries if path == "/info"]
        return [(q["coin"], q["startTime"]) for q in asked if q["type"] == "fundingHistory"]


@pytest.fixture
def bench(
    tmp_path: Path,
    exchange: FakeExchange,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Tool:
    """The tools in a folder, without waiting and without anybody's settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("SYMBOLS", "UNIVERSE_ENV", "CANDLES_DB_DIR", "HL_TIMEOUT_S", "HL_BASE_URL"):
        monkeypatch.delenv(f"AI_QUANT_{name}", raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Tool(tmp_path, exchange, capsys)


def hourly(symbol: str, exchange: FakeExchange, from_ms: int) -> list[tuple[Any, ...]]:
    """What the funding database must hold of a symbol."""
    coin = next(coin for coin in exchange.coins if coin.upper() == symbol)
    rates = exchange.market.funding(coin, HOUR_MS, from_ms, exchange.market.now_ms)
    times = [(ms + 31, rate) for ms, rate in rates if from_ms <= ms + 31 <= exchange.market.now_ms]
    return [(symbol, *rate, 0.0001) for rate in times]


def stored(path: Path) -> list[tuple[Any, ...]]:
    return table(
        path, "SELECT symbol, time, funding_rate, premium FROM funding_rates ORDER BY 1, 2"
    )


def test_history_of_many_pages(bench: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_QUANT_SYMBOLS", "eth, BTC,,kpepe")
    now_ms = bench.exchange.market.now_ms
    bench.exchange.market.listed_ms = 0
    assert bench.fetch("--days", "100") == 0, bench.err
    path = bench.folder / "candles_dbs/funding_rates.db"
    symbols = ("BTC", "ETH", "KPEPE")
    assert stored(path) == [
        row for name in symbols for row in hourly(name, bench.exchange, now_ms - 100 * DAY_MS)
    ]
    assert len(stored(path)) == 3 * 2400
    assert "ETH: 2400 new rates in candles_dbs/funding_rates.db" in bench.out
    bench.exchange.queries.clear()
    bench.exchange.market.now_ms += HOUR_MS
    assert bench.fetch("--days", "1") == 0
    last_ms = now_ms - HOUR_MS + 31
    assert bench.starts_of_history()[0] == ("ETH", last_ms + 1)
    assert len(stored(path)) == 3 * 2401


def test_symbols_of_a_universe_file_and_of_nobody(bench: Tool) -> None:
    (bench.folder / "u.env").write_text("# x\nexport AI_QUANT_SIDECAR_SYMBOLS='sol,ETH'\n")
    assert bench.fetch("--universe-env", "u.env", "--db", "f.db") == 0
    assert {row[0] for row in stored(bench.folder / "f.db")} == {"SOL", "ETH"}
    (bench.folder / "u.env").write_text("OTHER=1\n")
    assert bench.fetch("--universe-env", "u.env", "--db", "g.db") == 0
    assert {row[0] for row in stored(bench.folder / "g.db")} == {"BTC", "ETH", "SOL"}
    assert "no symbols named: BTC,ETH,SOL are taken" in bench.err


def test_a_symbol_that_fails_is_a_warning(bench: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_QUANT_SYMBOLS", "NOPE,BTC")
    bench.exchange.info_plan.extend([broken(), hung_up()])
    assert bench.fetch("--db", "f.db") == 0
    assert "warning: NOPE:" in bench.err
    assert "has no funding history of NOPE" in bench.err
    assert "1 of 2 symbols failed: NOPE" in bench.err
    assert {row[0] for row in stored(bench.folder / "f.db")} == {"BTC"}
    monkeypatch.setenv("AI_QUANT_SYMBOLS", "NOPE")
    assert bench.fetch("--db", "none/f.db") == 1
    assert not (bench.folder / "none").exists()


def test_a_failure_in_the_middle_keeps_what_came(
    bench: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_QUANT_SYMBOLS", "BTC")
    bench.exchange.market.listed_ms = 0
    true_page = Reply(
        body=json.dumps(
            bench.exchange._info(
                {"type": "fundingHistory", "coin": "BTC", "startTime": START_MS - 50 * DAY_MS}
            )
        ).encode()
    )
    bench.exchange.info_plan.extend([true_page, *[broken(500)] * 4])
    assert bench.fetch("--days", "52", "--db", "f.db") == 1
    assert "was not in 4 attempts, the last: HTTP 500" in bench.err
    assert len(stored(bench.folder / "f.db")) == 500
    assert bench.fetch("--days", "52", "--db", "f.db") == 0
    now_ms = bench.exchange.market.now_ms
    assert stored(bench.folder / "f.db") == hourly("BTC", bench.exchange, now_ms - 52 * DAY_MS)


def test_a_database_without_premiums(bench: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_QUANT_SYMBOLS", "BTC")
    with contextlib.closing(sqlite3.connect("f.db")) as database, database:
        database.execute(
            "CREATE TABLE funding_rates (symbol TEXT, time INTEGER, funding_rate REAL, "
            "PRIMARY KEY (symbol, time))"
        )
    assert bench.fetch("--days", "1", "--db", "f.db") == 0
    assert [row[1:] for row in rates_of(Path("f.db"))] == [
        row[1:3] for row in hourly("BTC", bench.exchange, bench.exchange.market.now_ms - DAY_MS)
    ]


def test_the_universe_grows_and_the_order_does_not_matter(
    bench: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = bench.exchange
    moments = [(3_000, ("BTC", "kPEPE")), (1_000, ("BTC", "OLD")), (2_000, ("BTC", "btc"))]
    for ts_ms, coins in moments:
        exchange.coins = coins
        assert bench.sync("--ts-ms", str(ts_ms)) == 0, bench.err
        assert bench.sync("--ts-ms", str(ts_ms)) == 0
    path = bench.folder / "candles_dbs/universe_history.db"
    assert table(path, "SELECT * FROM universe_listings ORDER BY 1") == [
        ("BTC", 1_000, 3_000),
        ("KPEPE", 3_000, 3_000),
        ("OLD", 1_000, 1_000),
    ]
    assert table(path, "SELECT * FROM universe_snapshots ORDER BY 1, 2") == [
        (1_000, "BTC"),
        (1_000, "OLD"),
        (2_000, "BTC"),
        (3_000, "BTC"),
        (3_000, "KPEPE"),
    ]
    assert table(path, "PRAGMA journal_mode") == [("wal",)]
    assert active_symbols(str(path), 1_500, 2_500) == {"BTC"}
    monkeypatch.setenv("AI_QUANT_CANDLES_DB_DIR", "elsewhere")
    assert bench.sync() == 0
    (now_ms,) = table(
        Path("elsewhere/universe_history.db"), "SELECT max(ts_ms) FROM universe_snapshots"
    )[0]
    assert now_ms > START_MS
    assert "1 symbols listed at ts_ms=" in bench.out


def test_delisted_names_are_not_listed_now(bench: Tool) -> None:
    told = {"universe": [{"name": "BTC"}, {"name": "GONE", "isDelisted": True}]}
    bench.exchange.info_plan.append(Reply(body=json.dumps(told).encode()))
    assert bench.sync("--db", "u.db") == 0
    assert table(Path("u.db"), "SELECT symbol FROM universe_listings") == [("BTC",)]


SYNC_FAILURES = [
    (["--db", "file/u.db"], [], 2, "file is in the way"),
    (["--db", "folder"], [], 2, "folder is in the way"),
    (["--db", "file"], [], 2, "must be a universe database that can be written to"),
    (["--db", "other.db"], [], 2, "must have the columns"),
    ([], [broken()] * 3, 3, "was not in 3 attempts, the last: HTTP 503"),
    ([], [Reply(403)], 3, "refused meta with HTTP 403"),
    ([], [Reply(body=b"[1]")], 3, "must answer meta with a universe"),
    ([], [torn()] * 3, 3, "the answer must be JSON"),
    ([], [busy(429, "9000")], 3, "only in 9000 s"),
    ([], [Reply(body=b'{"universe": []}')], 4, "lists none: nothing was written"),
    (["--base-url", "nowhere"], [], 2, "--base-url must be an address"),
    (["--timeout-s", "nan"], [], 2, "--timeout-s must be above 0"),
    (["--timeout-s", "x"], [], 2, "invalid float"),
    (["--ts-ms", "1.5"], [], 2, "invalid int"),
]


@pytest.mark.parametrize(("flags", "plan", "code", "said"), SYNC_FAILURES)
def test_a_universe_that_cannot_be_noted(
    bench: Tool, flags: list[str], plan: list[Reply], code: int, said: str
) -> None:
    Path("file").write_text("no database, and long enough to be looked at" * 40)
    Path("folder").mkdir()
    with contextlib.closing(sqlite3.connect("other.db")) as database, database:
        database.execute("CREATE TABLE universe_listings (name TEXT)")
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    bench.exchange.info_plan.extend(plan)
    assert bench.sync(*flags) == code
    assert said in bench.err
    assert not Path("candles_dbs").exists()
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


FETCH_FAILURES = [
    (["--days", "0"], 2, "--days must be above 0"),
    (["--days", "-3"], 2, "--days must be above 0"),
    (["--days", "inf"], 2, "must be a number"),
    (["--days", "many"], 2, "invalid"),
    (["--universe-env", "absent.env"], 2, "must be a readable file of NAME=value lines"),
    (["--base-url", "ftp://x"], 2, "--base-url must be an address"),
    (["--timeout-s", "0"], 2, "--timeout-s must be above 0"),
    (["--db", "file"], 1, "must be a funding database that can be written to"),
    (["--db", "file/f.db"], 1, "file is in the way"),
    (["--db", "other.db"], 1, "must have the columns"),
]


@pytest.mark.parametrize(("flags", "code", "said"), FETCH_FAILURES)
def test_a_history_that_cannot_be_brought(
    bench: Tool, flags: list[str], code: int, said: str
) -> None:
    Path("file").write_text("no database, and long enough to be looked at" * 40)
    with contextlib.closing(sqlite3.connect("other.db")) as database, database:
        database.execute("CREATE TABLE funding_rates (coin TEXT)")
    assert bench.fetch(*flags) == code
    assert said in bench.err
    assert sorted(path.name for path in Path().iterdir()) == ["file", "other.db"]
    assert Path("file").read_text().startswith("no database")
    assert bench.exchange.queries == []
