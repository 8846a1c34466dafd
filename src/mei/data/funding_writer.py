"""Funding databases that a download writes: `funding_rates(symbol, time, funding_rate, premium)`.

A rate that is there stays as it is. Files without the column `premium` (those of `import-candles`) are written without.
A table `funding_sources(symbol, source, unit)`, which readers pass over, says whose rates they are, and whether
they are as the exchange told them or made hourly. A table `funding_spans(symbol, from_ms)` says since when everything
was asked for: that there is no rate before the oldest one may be known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mei.data.place import require_place
from mei.data.sqlite_file import require_columns
from mei.model import faults
from mei.model.errors import ConfigError, OutputError

_CREATE = """
CREATE TABLE IF NOT EXISTS funding_rates (
  symbol TEXT NOT NULL, time INTEGER NOT NULL, funding_rate REAL NOT NULL, premium REAL,
  PRIMARY KEY (symbol, time)
) WITHOUT ROWID
"""
_CREATE_SOURCES = """
CREATE TABLE IF NOT EXISTS funding_sources (
  symbol TEXT PRIMARY KEY, source TEXT NOT NULL, unit TEXT NOT NULL
) WITHOUT ROWID
"""
_CREATE_SPANS = """
CREATE TABLE IF NOT EXISTS funding_spans (symbol TEXT PRIMARY KEY, from_ms INTEGER NOT NULL)
"""
_NOTE_SPAN = """
INSERT INTO funding_spans VALUES (?, ?) ON CONFLICT (symbol) DO UPDATE SET from_ms = min(from_ms, excluded.from_ms)
"""
#: Rates as the exchange tells them, or divided so that paying the newest one every hour comes to the same.
FundingUnit = Literal["as told", "hourly"]
_COLUMNS = ("symbol", "time", "funding_rate")
_BUSY_S = 60.0


class FundingRate(NamedTuple):
    """time_ms: when it was paid, epoch ms UTC; rate and premium are fractions; premium None = not told."""

    time_ms: int
    rate: float
    premium: float | None = None


class FundingWriter:
    """A database to download into. Every `add` is one transaction; the first one makes the file if it is absent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None
        self._has_premium = True
        self._claims: dict[str, tuple[str, FundingUnit]] = {}
        require_place(path)
        if path.exists():
            self._database = self._opened()

    def newest_ms(self, symbol: str) -> int | None:
        """Time of the newest rate of `symbol`; None when there is none."""
        return self._end_ms("max", symbol)

    def from_ms(self, symbol: str) -> int | None:
        """Since when everything of `symbol` was asked for: as noted, or else its oldest rate. None when it has none."""
        oldest_ms = self._end_ms("min", symbol)
        if oldest_ms is None:
            return None
        found = self._rows("SELECT from_ms FROM funding_spans WHERE symbol = ?", (symbol,))
        return int(found[0][0]) if found else oldest_ms

    def note_from(self, symbol: str, from_ms: int) -> None:
        """Note since when everything was asked for; the rates of `symbol` are there. OutputError if it cannot be."""
        self.add(symbol, (), from_ms)

    def gaps(self, symbol: str, from_ms: int, longer_ms: int) -> list[tuple[int, int]]:
        """Times of rates that follow each other, the later one after `from_ms`, and are more than `longer_ms` apart."""
        query = (
            "SELECT earlier, time FROM (SELECT time, lag(time) OVER (ORDER BY time) AS earlier FROM funding_rates "
            "WHERE symbol = ?) WHERE time > ? AND time - earlier > ? ORDER BY time"
        )
        return [
            (int(left), int(right))
            for left, right in self._rows(query, (symbol, from_ms, longer_ms))
        ]

    def claim(self, symbol: str, source: str, unit: FundingUnit) -> None:
        """Say whose rates of `symbol` will be added, and in which unit; it is noted together with the first of them.

        ConfigError when rates of another source or unit are there. Rates that nobody noted are taken as told.
        """
        self._claims[symbol] = (source, unit)
        if self._database is None:
            return
        try:
            self._refuse_other_kind(self._database, symbol)
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from None

    def add(self, symbol: str, rates: Sequence[FundingRate], from_ms: int | None = None) -> int:
        """Put in the rates that are absent; how many were new.

        OutputError when the file cannot be written; ConfigError when rates of another source or unit came in since the
        claim.

        from_ms: noted in the same transaction as that since when everything was asked for; the earliest one counts.
        """
        if self._database is None:
            self._database = self._opened()
        database = self._database
        names = "symbol, time, funding_rate" + ", premium" * self._has_premium
        values = "?, ?, ?" + ", ?" * self._has_premium
        width = 4 if self._has_premium else 3
        rows = [(symbol, *rate)[:width] for rate in rates]
        n_before = n_after = 0
        try:
            database.execute("BEGIN IMMEDIATE")
            if symbol in self._claims:
                # Once more: another process may have put in the first rates since the claim.
                self._refuse_other_kind(database, symbol)
                claim = (symbol, *self._claims[symbol])
                database.execute("INSERT OR IGNORE INTO funding_sources VALUES (?, ?, ?)", claim)
            if from_ms is not None:
                database.execute(_NOTE_SPAN, (symbol, from_ms))
            n_before = database.total_changes
            database.executemany(
                f"INSERT OR IGNORE INTO funding_rates ({names}) VALUES ({values})", rows
            )
            n_after = database.total_changes
            faults.hit("data.funding.before_commit")
            database.execute("COMMIT")
            faults.hit("data.funding.after_commit")
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from None
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
        return n_after - n_before

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()

    def _refuse_other_kind(self, database: sqlite3.Connection, symbol: str) -> None:
        source, unit = self._claims[symbol]
        query = "SELECT source, unit FROM funding_sources WHERE symbol = ?"
        found = database.execute(query, (symbol,)).fetchone()
        if found is None and self._end_ms("max", symbol) is not None:
            found = (source, "as told")
        if found is not None and found != (source, unit):
            raise ConfigError(
                f"{self.path}: rates of {symbol} must be of one kind, are those of {found[0]} {found[1]} and {source} "
                f"{unit} was to be added; give another folder"
            )

    def _end_ms(self, which: Literal["min", "max"], symbol: str) -> int | None:
        query = f"SELECT {which}(time) FROM funding_rates WHERE symbol = ?"
        found = self._rows(query, (symbol,))
        return int(found[0][0]) if found and found[0][0] is not None else None

    def _rows(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """The rows of a question; none where there is no file yet."""
        if self._database is None:
            return []
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from None

    def _opened(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, isolation_level=None, timeout=_BUSY_S)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(self.path, error) from None
        try:
            database.execute(_CREATE)
            require_columns(database, str(self.path), "funding_rates", _COLUMNS, "funding database")
            database.execute(_CREATE_SOURCES)
            database.execute(_CREATE_SPANS)
            columns = [row[1] for row in database.execute("PRAGMA table_info(funding_rates)")]
        except sqlite3.Error as error:
            database.close()
            raise _unusable(self.path, error) from None
        self._has_premium = "premium" in columns
        return database


@contextmanager
def open_funding_writer(path: Path) -> Iterator[FundingWriter]:
    """A funding database to download into; it is made when there is something to write.

    OutputError when it cannot be written, DataError when it is no funding database.
    """
    with closing(FundingWriter(path)) as writer:
        yield writer


def _unusable(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"{path}: must be a funding database that can be written to, SQLite says: {error}; check the path, its rights "
        "and the disk; what was written before is kept"
    )
