"""Two processes that download into one file: what one has looked up may be stale when it comes to write."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mei.data import candle_import, sqlite_wal
from mei.data.candle_writer import CandleWriter, Series, open_candle_writer
from mei.data.funding_writer import FundingRate, FundingWriter
from mei.data.sqlite_wal import switch_to_wal
from mei.data.trading_db import open_trading_db
from mei.data.universe_writer import add_snapshot
from mei.model.errors import ConfigError

SPOT = Series("BTC/USDT", "1m", "binance", "BTC/USDT")
N_ROUNDS, N_WRITERS = 20, 4

Claimed = Callable[[Series, Series], int]


@pytest.fixture
def claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Claimed]:
    """Claims the first series; another writer claims the second one between its look and its transaction."""
    path = tmp_path / "candles_1m.db"
    transaction = CandleWriter._transaction
    with open_candle_writer(path) as writer, open_candle_writer(path) as other:

        def claim(series: Series, faster: Series) -> int:
            @contextmanager
            def late(self: CandleWriter) -> Iterator[None]:
                monkeypatch.setattr(CandleWriter, "_transaction", transaction)
                other.claim(faster)
                with transaction(self):
                    yield

            monkeypatch.setattr(CandleWriter, "_transaction", late)
            return writer.claim(series)

        yield claim


def sources_of(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT * FROM download_sources").fetchall()


def test_the_same_claim_by_two(claimed: Claimed, tmp_path: Path) -> None:
    assert claimed(SPOT, SPOT) == 0
    assert sources_of(tmp_path / "candles_1m.db") == [("BTC/USDT", "1m", "binance", "BTC/USDT")]


def test_another_source_was_faster(claimed: Claimed, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is BTC/USDT of bybit here and was asked for from"):
        claimed(SPOT, SPOT._replace(source="bybit"))
    assert sources_of(tmp_path / "candles_1m.db") == [("BTC/USDT", "1m", "bybit", "BTC/USDT")]


def claimed_at_once(path: Path) -> list[int]:
    start = threading.Barrier(N_WRITERS)
    answers: list[int] = []

    def claim() -> None:
        with open_candle_writer(path) as writer:
            start.wait()
            answers.append(writer.claim(SPOT))

    threads = [threading.Thread(target=claim) for _ in range(N_WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_many_claims_at_once(tmp_path: Path) -> None:
    for number in range(N_ROUNDS):
        path = tmp_path / f"{number}.db"
        assert claimed_at_once(path) == [0] * N_WRITERS
        assert len(sources_of(path)) == 1


@pytest.mark.parametrize("is_there", [True, False])
def test_rates_of_another_kind_came_first(tmp_path: Path, is_there: bool) -> None:
    path = tmp_path / "funding_rates.db"
    if is_there:
        FundingWriter(path).add("ETH", [FundingRate(0, 1e-4)])
    ours, theirs = FundingWriter(path), FundingWriter(path)
    ours.claim("BTC", "binance", "as told")
    theirs.claim("BTC", "binance", "hourly")
    assert theirs.add("BTC", [FundingRate(0, 1e-5)]) == 1
    with pytest.raises(ConfigError, match="are those of binance hourly and binance as told was to"):
        ours.add("BTC", [FundingRate(3_600_000, 8e-5)])
    ours.close()
    theirs.close()
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT time FROM funding_rates WHERE symbol = 'BTC'").fetchall()
    assert rows == [(0,)]


def makes_a_universe(path: Path) -> None:
    assert add_snapshot(path, ["BTC"], 1) == 1


def makes_a_trading_db(path: Path) -> None:
    with open_trading_db(path, create=True):
        pass


@pytest.mark.parametrize("made", [makes_a_universe, makes_a_trading_db])
def test_a_switch_to_wal_waits_for_whoever_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.execute("BEGIN IMMEDIATE")
        n_pauses = 0

        def pause(_seconds: float) -> None:
            nonlocal n_pauses
            n_pauses += 1
            if n_pauses == 3:
                other.execute("ROLLBACK")

        monkeypatch.setattr(sqlite_wal, "sleep", pause)
        made(path)
    assert n_pauses == 3
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_switch_to_wal_does_not_wait_for_what_never_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mei.data.sqlite_wal._WAIT_S", 0.0)
    path = tmp_path / "a.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(sqlite3.connect(path)) as database,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            switch_to_wal(database)


def test_an_import_waits_as_long_for_its_turn_as_a_download(tmp_path: Path) -> None:
    with candle_import._transaction(tmp_path / "a.db") as database:
        assert database.execute("PRAGMA busy_timeout").fetchone() == (60_000,)
