"""Bars and funding rates into databases: whole transactions, and importing the same again changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mei.data.sqlite_file import require_columns
from mei.data.stamps import utc_text
from mei.model.bars import BarArray, FloatArray, IntArray, interval_ms
from mei.model.errors import DataError, OutputError

CREATE_CANDLES = """
CREATE TABLE IF NOT EXISTS candles (
  symbol TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL, t_close INTEGER,
  o REAL, h REAL, l REAL, c REAL, v REAL, n INTEGER,
  PRIMARY KEY (symbol, interval, t)
) WITHOUT ROWID
"""
CREATE_FUNDING = """
CREATE TABLE IF NOT EXISTS funding_rates (
  symbol TEXT NOT NULL, time INTEGER NOT NULL, funding_rate REAL NOT NULL,
  PRIMARY KEY (symbol, time)
) WITHOUT ROWID
"""
#: How long a writer waits for another one, s.
_BUSY_S = 60.0


class Written(NamedTuple):
    """What one import did to one database: rows put in, rows that were there alike, rows replaced."""

    path: Path
    n_new: int
    n_same: int
    n_replaced: int

    def describe(self) -> str:
        """One line for people."""
        return f"{self.path}: {self.n_new} new, {self.n_same} already there, {self.n_replaced} replaced"


class _Target(NamedTuple):
    """A table and how its rows are known: `key` has the fixed values, `time` the column that tells rows apart."""

    table: str
    create: str
    key: dict[str, str]
    time: str
    values: tuple[str, ...]


def write_bars(
    path: Path, symbol: str, interval: str, bars: BarArray, *, replace: bool = False
) -> Written:
    """Put `bars` (ascending, unique) into the candle database `path`, made if absent, in one transaction.

    t_close is the last millisecond of the bar. A bar that is there with other values is a DataError that names it,
    unless `replace`; then nothing at all is written. OutputError when the file cannot be written.
    """
    target = _Target(
        "candles",
        CREATE_CANDLES,
        {"symbol": symbol, "interval": interval},
        "t",
        ("t_close", "o", "h", "l", "c", "v"),
    )
    names = ("open", "high", "low", "close", "volume")
    opens = bars["timestamp"]
    columns = [opens, opens + interval_ms(interval) - 1, *(bars[name] for name in names)]
    return _write(path, target, columns, replace=replace)


def write_bars_by_month(
    folder: Path, symbol: str, interval: str, bars: BarArray, *, replace: bool = False
) -> list[Written]:
    """As `write_bars`, into `candles_<interval>_<YYYY-MM>.db` of `folder` by the UTC month of the open.

    One transaction for each month.
    """
    months = bars["timestamp"].astype("datetime64[ms]").astype("datetime64[M]")
    return [
        write_bars(
            folder / f"candles_{interval}_{month}.db",
            symbol,
            interval,
            bars[months == month],
            replace=replace,
        )
        for month in np.unique(months)
    ]


def write_funding(
    path: Path, symbol: str, time_ms: IntArray, rate: FloatArray, *, replace: bool = False
) -> Written:
    """Put funding rates (fractions of notional) into the funding database `path`, as `write_bars` does."""
    key = {"symbol": symbol}
    target = _Target("funding_rates", CREATE_FUNDING, key, "time", ("funding_rate",))
    return _write(path, target, [time_ms, rate], replace=replace)


def _write(
    path: Path,
    target: _Target,
    columns: Sequence[IntArray | FloatArray],
    *,
    replace: bool,
) -> Written:
    with _transaction(path) as database:
        database.execute(target.create)
        named = (*target.key, target.time, *target.values)
        require_columns(database, str(path), target.table, named, f"database of {target.table}")
        names = (target.time, *target.values)
        database.execute(
            f"CREATE TEMP TABLE incoming ({names[0]} INTEGER PRIMARY KEY, {', '.join(names[1:])})"
        )
        rows = zip(*(column.tolist() for column in columns), strict=True)
        database.executemany(f"INSERT INTO incoming VALUES ({', '.join('?' * len(names))})", rows)
        n_changed = _n_changed(database, target)
        if n_changed and not replace:
            raise _conflict(database, path, target, n_changed)
        n_new = _take_over(database, target) - n_changed
        database.execute("DROP TABLE incoming")
    return Written(path, n_new, len(columns[0]) - n_new - n_changed, n_changed)


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)) as database:
            database.execute("PRAGMA temp_store = MEMORY")
            database.execute("BEGIN IMMEDIATE")
            # Closing without a commit rolls back.
            yield database
            database.execute("COMMIT")
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"{path}: must be a database that can be written to: {error}") from None


def _same_bar(target: _Target) -> str:
    fixed = " AND ".join(f"there.{name} = :{name}" for name in target.key)
    return f"{fixed} AND there.{target.time} = incoming.{target.time}"


def _differing(target: _Target) -> str:
    there = ", ".join(f"there.{name}" for name in target.values)
    incoming = ", ".join(f"incoming.{name}" for name in target.values)
    return f"FROM incoming JOIN {target.table} AS there ON {_same_bar(target)} WHERE ({there}) IS NOT ({incoming})"


def _n_changed(database: sqlite3.Connection, target: _Target) -> int:
    query = f"SELECT count(*) {_differing(target)}"
    return int(database.execute(query, target.key).fetchone()[0])


def _conflict(
    database: sqlite3.Connection, path: Path, target: _Target, n_changed: int
) -> DataError:
    cells = ", ".join(f"there.{name}, incoming.{name}" for name in target.values)
    time = f"incoming.{target.time}"
    row = database.execute(
        f"SELECT {time}, {cells} {_differing(target)} ORDER BY {time}", target.key
    ).fetchone()
    pairs = zip(target.values, row[1::2], row[2::2], strict=True)
    told = ", ".join(
        f"{name} {old!r} here, {new!r} in the files" for name, old, new in pairs if old != new
    )
    return DataError(
        f"{path}: what is there must not change, but {n_changed} rows of {' '.join(target.key.values())} would, the"
        f" first at {utc_text(row[0])}: {told}; nothing was written to it; add --replace to take the new values"
    )


def _take_over(database: sqlite3.Connection, target: _Target) -> int:
    """Remove the rows that differ and put in all that are absent; how many were put in."""
    times = f"SELECT incoming.{target.time} {_differing(target)}"
    fixed = " AND ".join(f"{name} = :{name}" for name in target.key)
    database.execute(
        f"DELETE FROM {target.table} WHERE {fixed} AND {target.time} IN ({times})", target.key
    )
    columns = ", ".join((*target.key, target.time, *target.values))
    given = ", ".join((*(f":{name}" for name in target.key), target.time, *target.values))
    absent = f"NOT EXISTS (SELECT 1 FROM {target.table} AS there WHERE {_same_bar(target)})"
    done = database.execute(
        f"INSERT INTO {target.table} ({columns}) SELECT {given} FROM incoming WHERE {absent}"
        f" ORDER BY {target.time}",
        target.key,
    )
    return done.rowcount
