"""Funding databases: SQLite files with a table `funding_rates(symbol, time, funding_rate)`, key (symbol, time)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mei.data.sqlite_file import reading, shown, symbols_in
from mei.model.candles import FundingRates, offsets_of
from mei.model.errors import DataError

TABLE = "funding_rates"
_COLUMNS = ("symbol", "time", "funding_rate")
_ROW_DTYPE = np.dtype([("time", "<i8"), ("rate", "<f8"), ("plain", "?")])
#: The time of the rate that holds at ?2, or ?2.
_HOLDING = f"coalesce((SELECT max(time) FROM {TABLE} WHERE symbol = ?1 AND time <= ?2), ?2)"
_USABLE = "typeof(time) = 'integer' AND typeof(funding_rate) IN ('real', 'integer')"


def load_funding(
    path: str,
    *,
    from_ms: int | None,
    to_ms: int | None,
    tell: Callable[[str], None],
    and_before: bool = False,
) -> FundingRates:
    """Every rate (fraction of notional) with from_ms <= time <= to_ms (epoch ms UTC; None = open).

    and_before: also the newest one before from_ms, which holds then. `tell` hears one line. Of equal times of a symbol
    the first stays. DataError, naming the file, when it cannot be read, and naming symbol and time for a cell that is
    NULL or no number.
    """
    started = time.perf_counter()
    bounds = [bound for bound in (from_ms, to_ms) if bound is not None]
    where = "symbol = ?1" + f" AND time >= {_HOLDING if and_before else '?2'}" * (
        from_ms is not None
    )
    where += f" AND time <= ?{1 + len(bounds)}" * (to_ms is not None)
    query = f"SELECT time, funding_rate, {_USABLE} FROM {TABLE} WHERE {where} ORDER BY time"
    loaded: dict[str, npt.NDArray[Any]] = {}
    with reading(path, TABLE, _COLUMNS, "funding database") as database:
        for symbol in symbols_in(database, path, TABLE):
            answers = database.execute(query, (symbol, *bounds)).fetchall()
            faulty = next((row for row in answers if not row[2]), None)
            if faulty is not None:
                raise DataError(
                    f"{path}: time must be an integer (epoch ms) and funding_rate a number, found"
                    f" time={shown(faulty[0])} funding_rate={shown(faulty[1])} of {symbol}; correct the row"
                )
            rows = np.array(answers, dtype=_ROW_DTYPE)
            if len(rows):
                loaded[symbol] = rows[np.concatenate(([True], np.diff(rows["time"]) != 0))]
    rows = np.concatenate([np.zeros(0, dtype=_ROW_DTYPE), *loaded.values()])
    took_s = time.perf_counter() - started
    tell(
        f"[bt-data] Loaded {len(rows)} funding rate entries across {len(loaded)} symbols"
        f' in {took_s:.2f}s from "{path}"'
    )
    return FundingRates(
        tuple(loaded),
        offsets_of([len(part) for part in loaded.values()]),
        np.ascontiguousarray(rows["time"]),
        np.ascontiguousarray(rows["rate"]),
    )


def funding_extents(path: str) -> dict[str, tuple[int, int]]:
    """First and last time of every symbol, as they stand, whatever their unit. DataError when it cannot be read."""
    where = f"FROM {TABLE} WHERE symbol = ?1"
    query = f"SELECT (SELECT min(time) {where}), (SELECT max(time) {where})"
    found: dict[str, tuple[int, int]] = {}
    with reading(path, TABLE, _COLUMNS, "funding database") as database:
        for symbol in symbols_in(database, path, TABLE):
            ends = database.execute(query, (symbol,)).fetchone()
            for end in ends:
                if not isinstance(end, int):
                    raise DataError(
                        f"{path}: time must be an integer (epoch ms), found {shown(end)} of {symbol}; correct the row"
                    )
            found[symbol] = ends
    return found
