"""How fresh and how whole the newest funding rates of a database are. Times in epoch ms UTC, rates in fractions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from mei.data.funding_db import TABLE
from mei.data.sqlite_file import reading, shown, symbols_in
from mei.data.stamps import unit_of
from mei.model.errors import DataError

_COLUMNS = ("symbol", "time", "funding_rate")


class Rate(NamedTuple):
    """A rate and when it was set."""

    time_ms: int
    rate: float


class FundingHealth(NamedTuple):
    """An open funding database."""

    path: str
    database: sqlite3.Connection

    def symbols(self) -> list[str]:
        """All symbols, ascending."""
        return symbols_in(self.database, self.path, TABLE)

    def newest_ms(self, symbol: str) -> int | None:
        """Time of the newest rate; None if there is none. DataError for one that is no time in ms."""
        query = f"SELECT max(time) FROM {TABLE} WHERE symbol = ?"
        newest = self.database.execute(query, (symbol,)).fetchone()[0]
        if newest is None:
            return None
        unit = unit_of(newest) if isinstance(newest, int) else None
        if unit is None or unit.name != "ms":
            looks = "" if unit is None else f", which is a time in {unit.name}"
            raise DataError(
                f"{self.path}: time must be in epoch ms from 2009 to 2099, found {shown(newest)} of {symbol}{looks}: "
                "convert the column, or import the file again"
            )
        return int(newest)

    def rates(self, symbol: str, from_ms: int, to_ms: int) -> list[Rate]:
        """Rates with from_ms <= time <= to_ms, ascending. DataError for a cell that is NULL or no number."""
        rows = self.database.execute(
            f"SELECT time, funding_rate FROM {TABLE} WHERE symbol = ? AND time BETWEEN ? AND ? ORDER BY time",
            (symbol, from_ms, to_ms),
        ).fetchall()
        for time, rate in rows:
            if not (isinstance(time, int) and isinstance(rate, (int, float))):
                raise DataError(
                    f"{self.path}: time must be an integer (epoch ms) and funding_rate a number, found "
                    f"time={shown(time)} funding_rate={shown(rate)} of {symbol}; correct the row"
                )
        return [Rate(time, float(rate)) for time, rate in rows]


@contextmanager
def funding_health(path: str) -> Iterator[FundingHealth]:
    """Open the funding database `path` to look at it. DataError, naming the file, when it cannot be read."""
    with reading(path, TABLE, _COLUMNS, "funding database") as database:
        yield FundingHealth(path, database)
