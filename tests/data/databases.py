"""Databases for tests, made as other programs make them: with a row id, an index of their own and more columns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from mei.data.candle_db import load_candles
from mei.model.candles import Candles

HOUR_MS = 3_600_000
START_MS = 1_700_006_400_000
CANDLES = """CREATE TABLE candles (symbol TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL,
 t_close INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, n INTEGER, updated_at TEXT,
 PRIMARY KEY (symbol, interval, t))"""
#: No types and no key: every cell stays what it was written as, and a bar may stand twice.
UNTYPED = "CREATE TABLE candles (symbol, interval, t, t_close, o, h, l, c, v, n, updated_at)"
FUNDING = """CREATE TABLE funding_rates (symbol TEXT NOT NULL, time INTEGER NOT NULL,
 funding_rate REAL, premium REAL, PRIMARY KEY (symbol, time))"""
UNIVERSE = """CREATE TABLE universe_listings (symbol TEXT PRIMARY KEY, first_seen_ms INTEGER,
 last_seen_ms INTEGER, updated_at TEXT)"""


def bar(symbol: str, hour: int, interval: str = "1h", **cells: object) -> tuple[object, ...]:
    """A good bar `hour` hours after START_MS; `cells` replaces what a test wants otherwise."""
    t = START_MS + hour * HOUR_MS
    good = {"symbol": symbol, "interval": interval, "t": t, "t_close": t + HOUR_MS - 1}
    prices = {"o": 100.5 + hour, "h": 110.25 + hour, "l": 90.125, "c": 101.0 + hour, "v": 3.5}
    return tuple((good | prices | {"n": 7, "updated_at": None} | cells).values())


def make(path: Path, table: str, rows: Iterable[Sequence[object]] = ()) -> Path:
    """A database with the one table that the DDL `table` makes."""
    name = table.split()[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(table)
        for row in rows:
            marks = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO {name} VALUES ({marks})", row)
    return path


def content(path: Path, table: str = "candles") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return sorted(database.execute(f"SELECT * FROM {table}").fetchall())


def load(db_set: object, interval: str = "1h", **bounds: int | None) -> Candles:
    return load_candles(str(db_set), interval, tell=lambda _: None, **bounds)


def hours(candles: Candles, symbol: str) -> list[int]:
    return ((candles.open_ms[candles.rows_of(symbol)] - START_MS) // HOUR_MS).tolist()


def assert_same(left: Candles, right: Candles) -> None:
    assert (left.interval, left.interval_ms) == (right.interval, right.interval_ms)
    assert left.symbols == right.symbols
    assert left.offsets.tolist() == right.offsets.tolist()
    for one, other in zip(left.columns(), right.columns(), strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
