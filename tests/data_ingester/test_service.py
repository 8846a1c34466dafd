"""data_ingester over its real routes: passes, chunks of the live stream, watermarks, what is refused and told."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.data.candle_writer import Series, open_candle_writer
from mei.data.chunks import read_chunk
from mei.ledger.database import Ledger
from mei.ledger.series import SeriesKey
from mei.model.errors import ConfigError
from services.data_ingester.app.chunker import Chunker
from services.data_ingester.app.main import create_app
from services.data_ingester.app.settings import Settings
from tests.data_ingester.fake_exchange import FakeExchange, Reply, broken, busy, torn
from tests.data_ingester.fake_market import DAY_MS, HOUR_MS, MINUTE_MS, START_MS
from tests.data_ingester.house import House, candles_of, files_of, settings_of, table
from tests.data_ingester.test_download import NEWEST_MS, minutes, rows

Open = Callable[..., House]


def chunk_bars(folder: Path) -> list[tuple[Any, ...]]:
    """Every bar of the registered chunks, chunk by chunk."""
    found = []
    for *_, n_bars, sha256, path in files_of(folder / "manifest.sqlite"):
        bars = read_chunk(folder / "incoming", path, sha256)
        assert len(bars) == n_bars
        found += [tuple(bar) for bar in bars.tolist()]
    return found


@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_a_pass_and_the_next_one(
    open_house: Open, exchange: FakeExchange, tmp_path: Path, kind: str
) -> None:
    house = open_house(chunk_format=kind, symbols="BTC/USDT,ETH_USDT")
    reply = house.ask("POST", "/ingest_once")
    assert reply.status_code == 200, reply.text
    first, second = reply.json()["series"]
    assert first == {
        "symbol": "BTC/USDT",
        "timeframe": "1m",
        "new_bars": 2879,
        "empty_slots": 0,
        "faulty_rows": 0,
        "through_ms": NEWEST_MS,
        "newest_closed_ms": NEWEST_MS,
        "new_chunks": 5,
        "deleted_chunks": 0,
    }
    assert (second["symbol"], second["new_chunks"]) == ("ETH/USDT", 5)
    database = tmp_path / "candles_dbs/candles_1m.db"
    assert candles_of(database) == rows("BTC/USDT") + rows("ETH/USDT")
    wanted = [(row[2], *row[4:]) for name in ("BTC/USDT", "ETH/USDT") for row in rows(name)[:2500]]
    assert chunk_bars(tmp_path) == wanted
    assert all(path[-1].endswith(f".{kind}") for path in files_of(tmp_path / "manifest.sqlite"))
    again = house.ingest()
    assert (again["new_bars"], again["new_chunks"]) == (0, 0)
    exchange.market.now_ms += 2 * HOUR_MS + MINUTE_MS
    third = house.ingest(symbols=["BTC_USDT"], timeframes=["1m"])
    assert (third["new_bars"], third["new_chunks"]) == (121, 1)
    assert len(chunk_bars(tmp_path)) == 5500
    assert house.ask("POST", "/ingest_once", {}).json()["series"][1]["new_bars"] == 121
    mark = house.watermark()
    assert mark["bars"] == 3000
    assert (mark["oldest_ms"], mark["newest_ms"]) == (START_MS, NEWEST_MS + 121 * MINUTE_MS)
    assert mark["chunks_through_ms"] == START_MS + 2999 * MINUTE_MS
    assert mark["chunk_files"] == {"downloaded": 6}
    assert mark["last_error"] == ""


def test_the_first_bar_is_a_window_ago_or_the_oldest_there_is(open_house: Open) -> None:
    house = open_house(ingest_since="", train_window_days=0.5)
    assert house.ingest()["new_bars"] == 719
    oldest_ms = house.watermark()["oldest_ms"]
    assert oldest_ms == START_MS + DAY_MS + 12 * HOUR_MS
    later = open_house(ingest_since="", train_window_days=2.0)
    assert later.ingest()["new_bars"] == 0
    assert later.watermark()["oldest_ms"] == oldest_ms


def test_until(open_house: Open) -> None:
    house = open_house()
    assert house.ingest(until="2024-01-01T10:00:00Z")["new_bars"] == 600
    assert house.ingest(until="2024-01-01T09:00:00Z")["new_bars"] == 0
    assert house.watermark()["chunk_files"] == {"downloaded": 1}
    assert house.ingest()["new_bars"] == 2279


def test_a_series_that_fails_does_not_stop_the_others(
    open_house: Open, exchange: FakeExchange, tmp_path: Path
) -> None:
    house = open_house(symbols="NOPE/USDT,BTC/USDT,ETH/USDT")
    exchange.plan.extend([None, *[broken()] * 4])
    reply = house.ask("POST", "/ingest_once")
    assert reply.status_code == 503
    told = reply.json()
    assert told["code"] == "service_unavailable"
    assert "2 of 3 series failed, the others are done" in told["message"]
    assert "NOPE/USDT 1m: binance must have the market NOPE/USDT" in told["message"]
    assert "BTC/USDT 1m: binance BTC/USDT 1m at 2024-01-01T16:40:00Z must" in told["message"]
    assert len(candles_of(tmp_path / "candles_dbs/candles_1m.db")) == 1000 + 2879
    marks = house.ask("GET", "/watermarks").json()["series"]
    assert [bool(mark["last_error"]) for mark in marks] == [True, True, False]
    assert house.ask("GET", "/ready").json()["failing"] == ["NOPE/USDT 1m", "BTC/USDT 1m"]
    exchange.plan.extend([busy(), torn(), Reply(418, b"", {"Retry-After": "0"})])
    assert house.ingest(symbols=["BTC/USDT"])["new_chunks"] == 5
    assert house.ask("GET", "/watermarks").json()["series"][1]["last_error"] == ""


def test_no_chunk_is_known_before_it_has_closed(open_house: Open, tmp_path: Path) -> None:
    # This machine's clock is years behind the exchange's.
    assert open_house(now_ms=lambda: 7).ingest()["new_chunks"] == 5
    known = table(tmp_path / "manifest.sqlite", "SELECT registered_at_ms, last_ms FROM files")
    assert [at_ms for at_ms, _ in known] == [last_ms + MINUTE_MS for _, last_ms in known]


def test_chunks_wait_for_a_young_hole(
    open_house: Open, exchange: FakeExchange, tmp_path: Path
) -> None:
    house = open_house(chunk_rows=10)
    exchange.market.missing = minutes(2873, 2873)
    assert house.ingest()["new_chunks"] == 287
    exchange.market.now_ms += 2 * MINUTE_MS
    assert house.ingest()["new_chunks"] == 0
    exchange.market.missing = set()
    assert house.ingest()["new_chunks"] == 1
    wanted = rows(last_ms=NEWEST_MS + MINUTE_MS)
    assert chunk_bars(tmp_path) == [(row[2], *row[4:]) for row in wanted]


def test_chunks_go_over_a_hole_that_is_known(
    open_house: Open, exchange: FakeExchange, tmp_path: Path
) -> None:
    house = open_house()
    exchange.market.missing = minutes(490, 509) | minutes(600, 600)
    # A large hole is looked at twice.
    assert house.ingest()["new_chunks"] == 0
    exchange.market.now_ms += 10 * MINUTE_MS
    assert house.ingest()["new_chunks"] == 5
    wanted = rows(without=exchange.market.missing)[:2500]
    assert chunk_bars(tmp_path) == [(row[2], *row[4:]) for row in wanted]
    assert house.watermark()["empty_slots"] == 21


def test_a_restart_goes_on(open_house: Open, exchange: FakeExchange, tmp_path: Path) -> None:
    open_house().ingest(until="2024-01-01T20:00:00Z")
    n_asked = exchange.n_data
    assert open_house().ingest()["new_bars"] == 2879 - 1200
    assert exchange.n_data - n_asked == 2
    assert [row[2] for row in files_of(tmp_path / "manifest.sqlite")] == [
        START_MS + 500 * MINUTE_MS * number for number in range(5)
    ]


def test_older_bars_make_no_chunk(open_house: Open, tmp_path: Path) -> None:
    open_house(ingest_since="2024-01-02").ingest()
    before = files_of(tmp_path / "manifest.sqlite")
    assert open_house(ingest_since="2024-01-01").ingest()["new_bars"] == 1440
    assert files_of(tmp_path / "manifest.sqlite") == before


def test_databases_alone(open_house: Open, tmp_path: Path) -> None:
    house = open_house(ingest_chunks=False, ingest_base_names=True, ingest_timeframes="1h,1d")
    reply = house.ask("POST", "/ingest_once")
    assert [one["new_bars"] for one in reply.json()["series"]] == [47, 1]
    assert {row[0] for row in candles_of(tmp_path / "candles_dbs/candles_1h.db")} == {"BTC"}
    assert not (tmp_path / "incoming").exists()


def test_passes_by_the_clock(open_house: Open, exchange: FakeExchange, tmp_path: Path) -> None:
    exchange.plan.extend([*[broken()] * 4])
    house = open_house(ingest_seconds=0.05)
    until(lambda: house.watermark()["bars"] == 2879)
    exchange.market.now_ms += HOUR_MS
    until(lambda: house.watermark()["bars"] == 2939)
    assert house.ask("GET", "/ready").status_code == 200
    house.close()
    reply = house.ask("GET", "/ready")
    assert reply.status_code == 503
    assert "the thread of passes by the clock has ended" in reply.json()["message"]


def test_not_ready_while_every_series_fails(open_house: Open, exchange: FakeExchange) -> None:
    house = open_house(symbols="BTC/USDT,ETH/USDT")
    exchange.failing = lambda number: broken()
    assert house.ask("POST", "/ingest_once").status_code == 503
    reply = house.ask("GET", "/ready")
    assert reply.status_code == 503
    assert "every series fails, the first: binance BTC/USDT 1m at" in reply.json()["message"]
    exchange.failing = None
    house.ingest(symbols=["ETH/USDT"])
    reply = house.ask("GET", "/ready")
    assert (reply.status_code, reply.json()["failing"]) == (200, ["BTC/USDT 1m"])


def test_not_ready_while_a_series_is_behind_and_fails(
    open_house: Open, exchange: FakeExchange
) -> None:
    def failing(number: int) -> Reply | None:
        return broken() if exchange.queries[-1][1]["symbol"] == "BTCUSDT" else None

    house = open_house(
        symbols="BTC/USDT,ETH/USDT", ingest_seconds=0.05, now_ms=lambda: exchange.market.now_ms
    )
    until(lambda: house.ask("GET", "/watermarks").json()["series"][1]["bars"] == 2879)
    exchange.failing = failing
    # As old as it may be: 2 bars and a minute.
    exchange.market.now_ms += MINUTE_MS
    until(lambda: house.ask("GET", "/ready").json()["failing"] == ["BTC/USDT 1m"])
    assert house.ask("GET", "/ready").status_code == 200
    exchange.market.now_ms += MINUTE_MS
    reply = house.ask("GET", "/ready")
    assert reply.status_code == 503
    assert "BTC/USDT 1m is behind and fails: binance BTC/USDT 1m at" in reply.json()["message"]
    exchange.failing = None
    until(lambda: house.ask("GET", "/ready").status_code == 200)


def test_two_at_once_are_one_after_the_other(open_house: Open, tmp_path: Path) -> None:
    house, other = open_house(), open_house()
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda one=one: answers.append(one.ask("POST", "/ingest_once")))
        for one in (house, house, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status_code for reply in answers] == [200] * 3
    assert candles_of(tmp_path / "candles_dbs/candles_1m.db") == rows()
    assert chunk_bars(tmp_path) == [(row[2], *row[4:]) for row in rows()[:2500]]


def test_a_chunk_that_another_process_was_faster_with(open_house: Open, tmp_path: Path) -> None:
    open_house(ingest_chunks=False).ingest()
    ledger = Ledger.open(str(tmp_path / "manifest.sqlite"))
    incoming, key = tmp_path / "incoming", SeriesKey("live", "BTC/USDT", "1m")
    series = Series("BTC/USDT", "1m", "binance", "BTC/USDT")
    with open_candle_writer(tmp_path / "candles_dbs/candles_1m.db") as writer:

        def cut(chunk_rows: int, now_ms: Callable[[], int]) -> int:
            chunker = Chunker(ledger, incoming, chunk_rows, "csv", now_ms)
            return chunker.cut(key, series, writer, START_MS, NEWEST_MS)

        # The clock is read between a chunk's file and its row.
        others: list[int] = []
        n_chunks = cut(500, lambda: others.append(cut(300, lambda: 0)) or 0)
    ledger.close()
    assert (n_chunks, others) == (0, [9])
    assert chunk_bars(tmp_path) == [(row[2], *row[4:]) for row in rows()[:2700]]
    assert {path.relative_to(incoming).as_posix() for path in incoming.rglob("*.csv")} == {
        row[-1] for row in files_of(tmp_path / "manifest.sqlite")
    }


def test_a_shutdown_does_not_wait_for_an_exchange_that_is_away(
    open_house: Open, exchange: FakeExchange
) -> None:
    exchange.failing = lambda number: broken()
    house = open_house(ingest_seconds=60.0, exchange_attempts=1000, exchange_retry_seconds=30.0)
    until(lambda: exchange.n_data > 0)
    house.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ingest"]


BODIES = [
    ({"symbols": ["SOL/USDT"]}, "symbols must be of those the service is set to (BTC/USDT)"),
    ({"symbols": ["../x"]}, "symbols"),
    ({"timeframes": ["1h"]}, "timeframes must be of those the service is set to (1m), was 1h"),
    ({"timeframes": ["1M"]}, "timeframes"),
    ({"until": "soon"}, "until: a time must be a moment"),
    ({"since": "2024-01-01"}, "since"),
    ([1], "the body must be a IngestBody"),
]


@pytest.mark.parametrize(("body", "said"), BODIES)
def test_bodies_that_are_refused(
    open_house: Open, exchange: FakeExchange, body: Any, said: str
) -> None:
    reply = open_house().ask("POST", "/ingest_once", body)
    assert reply.status_code == 422
    assert reply.json()["code"] == "request"
    assert said in reply.json()["message"]
    assert exchange.queries == []


def test_operations(open_house: Open, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    house = open_house()
    assert house.ask("GET", "/health").json()["service"] == "data_ingester"
    assert house.ask("GET", "/ready").json()["ready"] is True
    assert b'route="/ready"' in house.ask("GET", "/metrics").content
    paths = house.ask("GET", "/openapi.json").json()["paths"]
    assert set(paths) == {"/ingest_once", "/watermarks", "/health", "/ready", "/metrics"}
    closed = open_house(auth_token_file=tmp_path / "token")
    assert closed.ask("POST", "/ingest_once").status_code == 401
    assert closed.ask("GET", "/watermarks").status_code == 401
    assert closed.ask("GET", "/health").status_code == 200


WRONG = [
    ({"exchange": "binanze"}, "EXCHANGE must be one that ccxt knows"),
    ({"exchange_url": "nowhere"}, "EXCHANGE_URL must be an address"),
    ({"symbols": ","}, "SYMBOLS must name a market"),
    ({"symbols": "BTC/USDT,BTCUSDT"}, "one to a backtest"),
    ({"symbols": "BTC"}, "SYMBOLS must be written BASE/QUOTE"),
    ({"timeframe": "7m"}, "TIMEFRAME must divide a day"),
    ({"ingest_timeframes": ","}, "INGEST_TIMEFRAMES must name one"),
    ({"timeframe": "2m"}, "TIMEFRAME must be one that binance has"),
    ({"ingest_since": "soon"}, "INGEST_SINCE: a time must be"),
    ({"require_auth": True}, "REQUIRE_AUTH"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_wrong_settings(
    tmp_path: Path, exchange: FakeExchange, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        create_app(Settings(**settings_of(tmp_path, exchange, **given)))
    assert exchange.queries == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INGEST_SECONDS", "-1"),
        ("CHUNK_ROWS", "0"),
        ("CHUNK_FORMAT", "parquet"),
        ("DELETE_AFTER_PROCESS", "maybe"),
        ("TRAIN_WINDOW_DAYS", "0"),
        ("EXCHANGE_ATTEMPTS", "0"),
    ],
)
def test_wrong_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name} must be"):
        Settings.load()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it, a minute at most."""
    deadline_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
