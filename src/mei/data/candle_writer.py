"""Candle databases that a download writes: bars, what is known to be empty, and whose bars they are.

Beside `candles` (see `candle_db`) such a file has three tables that readers of candles pass over:

known_empty(source, symbol, interval, first_ms, last_ms, reason)   runs of opens for which the source has no bar
open_holes(source, symbol, interval, first_ms, last_ms, seen_ms)   large holes, and when they were seen first
download_sources(symbol, interval, source, market)                 where a series comes from

What is still to be asked for is a question to the file alone: the grid without the bars and without what is known to be
empty. So a download that was killed goes on where it was, and a hole is not asked for again for ever.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mei.data.candle_import import CREATE_CANDLES
from mei.data.place import require_place
from mei.data.sqlite_file import require_columns
from mei.model import faults
from mei.model.bars import BAR_DTYPE, BarArray, interval_ms
from mei.model.errors import ConfigError, OutputError
from mei.model.market_names import market_of

_CREATE_EMPTY = """
CREATE TABLE IF NOT EXISTS known_empty (
  source TEXT NOT NULL, symbol TEXT NOT NULL, interval TEXT NOT NULL, first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (source, symbol, interval, first_ms)
) WITHOUT ROWID
"""
_CREATE_HOLES = """
CREATE TABLE IF NOT EXISTS open_holes (
  source TEXT NOT NULL, symbol TEXT NOT NULL, interval TEXT NOT NULL, first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL, PRIMARY KEY (source, symbol, interval, first_ms)
) WITHOUT ROWID
"""
_CREATE_SOURCES = """
CREATE TABLE IF NOT EXISTS download_sources (
  symbol TEXT NOT NULL, interval TEXT NOT NULL, source TEXT NOT NULL, market TEXT NOT NULL,
  PRIMARY KEY (symbol, interval)
) WITHOUT ROWID
"""
_COLUMNS = ("symbol", "interval", "t", "t_close", "o", "h", "l", "c", "v")
#: How long a writer waits for another one, s.
_BUSY_S = 60.0
_OF_SERIES = "symbol = :symbol AND interval = :interval"


class Series(NamedTuple):
    """Bars of one market: `symbol` as the database names it, `source` the exchange, `market` its name there."""

    symbol: str
    interval: str
    source: str
    market: str


@dataclass(frozen=True, slots=True, order=True)
class EmptyRun:
    """Opens without a bar, both ends included, epoch ms UTC, and why: `no bar` or `impossible`."""

    first_ms: int
    last_ms: int
    reason: str


class SeenHole(NamedTuple):
    """Opens without a bar, both ends included, that were found at `seen_ms` first; all epoch ms UTC."""

    first_ms: int
    last_ms: int
    seen_ms: int


class CandleWriter:
    """One open database. Every `add` is one transaction, flushed to the disk when it returns."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database

    def claim(self, series: Series) -> int:
        """Note whose bars these are; nothing is written when that is known. How many are there of no known source.

        ConfigError when the file has this series from another source, or this market under another name.
        """
        with self._errors():
            if self._is_claimed(series):
                return 0
            # Asked again: another process may have claimed it since, and only now can none.
            with self._transaction():
                if self._is_claimed(series):
                    return 0
                self._refuse_other_name(series)
                self._database.execute(
                    "INSERT INTO download_sources VALUES (:symbol, :interval, :source, :market)",
                    series._asdict(),
                )
        return self.count(series)

    def missing(self, series: Series, first_ms: int, last_ms: int) -> list[tuple[int, int]]:
        """Runs of opens in first_ms..last_ms (both on the grid) that are neither there nor known to be empty."""
        step_ms = interval_ms(series.interval)
        if last_ms < first_ms:
            return []
        is_known = np.zeros((last_ms - first_ms) // step_ms + 1, dtype=np.bool_)
        bounds = {**series._asdict(), "first": first_ms, "last": last_ms}
        with self._errors():
            rows = self._database.execute(
                f"SELECT t FROM candles WHERE {_OF_SERIES} AND t BETWEEN :first AND :last", bounds
            )
            opens = np.fromiter((row[0] for row in rows), dtype=np.int64) - first_ms
            empty = self._empty(series, first_ms, last_ms)
        is_known[opens[opens % step_ms == 0] // step_ms] = True
        for run in empty:
            from_slot = max(run.first_ms - first_ms, 0) // step_ms
            is_known[from_slot : (run.last_ms - first_ms) // step_ms + 1] = True
        edges = np.flatnonzero(np.diff(np.concatenate(([True], is_known, [True]))))
        return [
            (first_ms + int(left) * step_ms, first_ms + (int(right) - 1) * step_ms)
            for left, right in edges.reshape(-1, 2)
        ]

    def seen_holes(self, series: Series, first_ms: int, last_ms: int) -> list[SeenHole]:
        """What was found to have no bar, and not noted as empty, and touches first_ms..last_ms; ascending."""
        bounds = {**series._asdict(), "first": first_ms, "last": last_ms}
        with self._errors():
            rows = self._database.execute(
                f"SELECT first_ms, last_ms, seen_ms FROM open_holes WHERE source = :source AND {_OF_SERIES}"
                " AND first_ms <= :last AND last_ms >= :first ORDER BY first_ms",
                bounds,
            )
            return [SeenHole(*row) for row in rows]

    def add(
        self,
        series: Series,
        bars: BarArray,
        empty: Iterable[EmptyRun] = (),
        seen: Iterable[SeenHole] = (),
    ) -> int:
        """Put in the bars that are absent, what is empty, and holes seen first; how many bars were new.

        One transaction. A hole in what is empty now is forgotten. A bar that is there stays as it is. OutputError when
        the file cannot be written.
        """
        step_ms = interval_ms(series.interval)
        rows = [
            (series.symbol, series.interval, at_ms, at_ms + step_ms - 1, *prices, at_ms)
            for at_ms, *prices in bars.tolist()
        ]
        with self._errors(), self._transaction():
            n_before = self._database.total_changes
            self._database.executemany(
                "INSERT INTO candles (symbol, interval, t, t_close, o, h, l, c, v) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, "
                "?8, ?9 WHERE NOT EXISTS "
                "(SELECT 1 FROM candles WHERE symbol = ?1 AND interval = ?2 AND t = ?10)",
                rows,
            )
            n_new = self._database.total_changes - n_before
            for run in empty:
                self._add_empty(series, run, step_ms)
                self._database.execute(
                    f"DELETE FROM open_holes WHERE source = :source AND {_OF_SERIES}"
                    " AND first_ms >= :first AND last_ms <= :last",
                    {**series._asdict(), "first": run.first_ms, "last": run.last_ms},
                )
            self._database.executemany(
                "INSERT OR IGNORE INTO open_holes VALUES (?, ?, ?, ?, ?, ?)",
                [(series.source, series.symbol, series.interval, *hole) for hole in seen],
            )
        return n_new

    def ends(self, series: Series) -> tuple[int, int] | None:
        """Opens of the oldest and the newest bar of the series; None when it has none."""
        where = f"FROM candles WHERE {_OF_SERIES}"
        with self._errors():
            found = self._database.execute(
                f"SELECT (SELECT min(t) {where}), (SELECT max(t) {where})", series._asdict()
            ).fetchone()
        return None if found[0] is None else (int(found[0]), int(found[1]))

    def count(self, series: Series) -> int:
        """How many bars the series has."""
        with self._errors():
            found = self._database.execute(
                f"SELECT count(*) FROM candles WHERE {_OF_SERIES}", series._asdict()
            ).fetchone()
        return int(found[0])

    def known_empty(self, series: Series) -> list[EmptyRun]:
        """Every run known to be empty, ascending."""
        with self._errors():
            return self._empty(series, 0, 2**62)

    def bars(self, series: Series, from_ms: int, to_ms: int, at_most: int = -1) -> BarArray:
        """The first `at_most` bars (-1: all) with from_ms <= open <= to_ms, ascending."""
        query = (
            f"SELECT t, o, h, l, c, v FROM candles WHERE {_OF_SERIES} AND t BETWEEN :first AND :last"
            " ORDER BY t LIMIT :most"
        )
        asked = {**series._asdict(), "first": from_ms, "last": to_ms, "most": at_most}
        with self._errors():
            return np.fromiter(self._database.execute(query, asked), dtype=BAR_DTYPE)

    def newest_before(self, series: Series, before_ms: int) -> BarArray:
        """The newest bar that opens before `before_ms`: one bar, or an empty array when there is none."""
        query = (
            f"SELECT t, o, h, l, c, v FROM candles WHERE {_OF_SERIES} AND t < :before"
            " ORDER BY t DESC LIMIT 1"
        )
        asked = {**series._asdict(), "before": before_ms}
        with self._errors():
            return np.fromiter(self._database.execute(query, asked), dtype=BAR_DTYPE)

    def _is_claimed(self, series: Series) -> bool:
        found = self._database.execute(
            f"SELECT source, market FROM download_sources WHERE {_OF_SERIES}", series._asdict()
        ).fetchone()
        if found not in (None, (series.source, series.market)):
            raise ConfigError(
                f"{self.path}: {series.symbol} {series.interval} must come from one market, is "
                f"{found[1]} of {found[0]} here and was asked for from {series.market} of {series.source}; "
                "give another folder"
            )
        return found is not None

    def _refuse_other_name(self, series: Series) -> None:
        names = self._database.execute(
            "SELECT DISTINCT symbol FROM candles WHERE interval = ?", (series.interval,)
        )
        for (name,) in names.fetchall():
            if name != series.symbol and market_of(str(name)) == market_of(series.symbol):
                raise ConfigError(
                    f"{self.path}: a market must have one name, {name} is there and {series.symbol} was to be added; "
                    "give --base-names (BTC/USDT as BTC) if that is how the file names markets, or another folder"
                )

    def _empty(self, series: Series, first_ms: int, last_ms: int) -> list[EmptyRun]:
        rows = self._database.execute(
            f"SELECT first_ms, last_ms, reason FROM known_empty WHERE source = :source AND {_OF_SERIES}"
            " AND first_ms <= :last AND last_ms >= :first ORDER BY first_ms",
            {**series._asdict(), "first": first_ms, "last": last_ms},
        )
        return [EmptyRun(*row) for row in rows]

    def _add_empty(self, series: Series, run: EmptyRun, step_ms: int) -> None:
        """Put a run in, made one with what it touches, so that the table does not tell how it came about."""
        first_ms, last_ms = run.first_ms, run.last_ms
        for other in self._empty(series, first_ms - step_ms, last_ms + step_ms):
            if other.reason != run.reason:
                continue
            first_ms, last_ms = min(first_ms, other.first_ms), max(last_ms, other.last_ms)
            self._database.execute(
                f"DELETE FROM known_empty WHERE source = :source AND {_OF_SERIES} AND first_ms = :at",
                {**series._asdict(), "at": other.first_ms},
            )
        self._database.execute(
            "INSERT OR REPLACE INTO known_empty VALUES (:source, :symbol, :interval, :first, :last, :reason)",
            {**series._asdict(), "first": first_ms, "last": last_ms, "reason": run.reason},
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            faults.hit("data.candles.before_commit")
            self._database.execute("COMMIT")
            faults.hit("data.candles.after_commit")
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from None


@contextmanager
def open_candle_writer(path: Path) -> Iterator[CandleWriter]:
    """A candle database to download into, made if absent. One thread at a time.

    OutputError when it cannot be written, DataError when it is no candle database.
    """
    require_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The caller sees to it that one thread at a time uses it.
        database = sqlite3.connect(
            path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from None
    with closing(database):
        try:
            database.execute("BEGIN IMMEDIATE")
            for create in (CREATE_CANDLES, _CREATE_EMPTY, _CREATE_HOLES, _CREATE_SOURCES):
                database.execute(create)
            require_columns(database, str(path), "candles", _COLUMNS, "candle database")
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(path, error) from None
        yield CandleWriter(path, database)


def _unusable(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"{path}: must be a candle database that can be written to, SQLite says: {error}; check the path, its rights "
        "and the disk; what was written before is kept"
    )
