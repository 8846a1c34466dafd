"""Small databases of made-up candles, in the folder that a run looks in."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HOUR_MS = 3_600_000
START_MS = 1_748_736_000_000
_CANDLES = (
    "symbol TEXT, interval TEXT, t INTEGER, t_close INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, n INTEGER, "
    "PRIMARY KEY (symbol, interval, t)"
)


def write_table(path: Path, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """A database with one table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE {table} ({columns})")
        for row in rows:
            database.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)


def write_candles(
    folder: Path,
    interval: str,
    interval_ms: int,
    n_bars: int,
    *,
    symbols: tuple[str, ...] = ("BTC", "ETH"),
    start_ms: int = START_MS,
) -> Path:
    """Waves of some hundred bars with a ripple on them, each symbol its own; the database's path."""
    rows = []
    for number, symbol in enumerate(symbols):
        before = _price(number, start_ms - interval_ms)
        for bar in range(n_bars):
            at_ms = start_ms + bar * interval_ms
            close = _price(number, at_ms)
            high, low = max(before, close) * 1.002, min(before, close) * 0.998
            volume = 100.0 + 50.0 * (bar % 7 == 0)
            rows.append(
                (
                    symbol,
                    interval,
                    at_ms,
                    at_ms + interval_ms - 1,
                    before,
                    high,
                    low,
                    close,
                    volume,
                    5,
                )
            )
            before = close
    path = folder / "candles_dbs" / f"candles_{interval}.db"
    write_table(path, "candles", _CANDLES, rows)
    return path


def _price(number: int, at_ms: int) -> float:
    hours = (at_ms - START_MS) / HOUR_MS
    wave = 0.12 * math.sin(hours / 31.0 + number) + 0.01 * math.sin(hours * 1.7 + 2.0 * number)
    return 100.0 * (number + 1) * (1.0 + wave)


def write_funding(folder: Path, n_hours: int, *, symbols: tuple[str, ...] = ("BTC", "ETH")) -> Path:
    """A rate every hour; the database's path."""
    path = folder / "candles_dbs" / "funding_rates.db"
    rates = [
        (symbol, START_MS + hour * HOUR_MS, 1e-5 * (hour % 5 - 1))
        for symbol in symbols
        for hour in range(n_hours)
    ]
    columns = "symbol TEXT, time INTEGER, funding_rate REAL, PRIMARY KEY (symbol, time)"
    write_table(path, "funding_rates", columns, rates)
    return path


def write_universe(folder: Path, listed: Iterable[tuple[str, int, int]]) -> Path:
    """When symbols were listed; the database's path."""
    path = folder / "candles_dbs" / "universe_history.db"
    columns = "symbol TEXT PRIMARY KEY, first_seen_ms INTEGER, last_seen_ms INTEGER"
    write_table(path, "universe_listings", columns, listed)
    return path
